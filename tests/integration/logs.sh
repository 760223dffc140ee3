#!/bin/bash
# Logs: every byte, lines of replicas never torn, bounded on disk, an end although the writer has none.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/g
mkdir "$app" "$app/out"
cd "$app" || exit 1
node_start
import busybox
cat >compose.yaml <<'YAML'
name: g
services:
  endless:
    image: busybox
    command: ["yes", "a line of an endless writer"]
    logging: {driver: json-file, options: {max-size: 1m, max-file: "3"}}
  exact:
    image: busybox
    command: ["sh", "-c", "cat /data/bytes; printf 'no newline at the end'; sleep 1000"]
    init: true
    volumes: ["./out:/data:ro"]
  replicas:
    image: busybox
    command: ["sh", "-c", "i=0; while [ $$i -lt 300 ]; do echo $$HOSTNAME $$i; i=$$((i+1)); done; sleep 1000"]
    init: true
    deploy: {replicas: 3}
YAML
# A line of 3 MB, NULs, a carriage return, bytes that are no UTF-8, an empty line.
{ head -c 3000000 /dev/zero | tr '\0' x; printf '\nnul \0 cr \r utf \377\376\n\nlast\n'; } >out/bytes
orlop up >/dev/null 2>&1 || fail "up: $(orlop why g)"

# Without -f it ends, though the writer never does; and the disk holds what was asked for.
timeout 60 "$ORLOP_BUILD/cli/orlop" logs --no-log-prefix endless >lines || fail "logs of an endless writer: $?"
[ "$(wc -l <lines)" -gt 100 ] || fail "too few lines"
expect "whole lines" "a line of an endless writer" "$(sed '1d;$d' lines | sort -u)" # it may be cut where it was not yet written on
expect "tail" 7 "$(timeout 60 "$ORLOP_BUILD/cli/orlop" logs --no-log-prefix --tail 7 endless | grep -c '')"
bytes=$(du -bc "$ORLOP_STATE_DIR"/tasks/*/log/*.log | tail -1 | cut -f1)
[ "$bytes" -lt 8000000 ] || fail "$bytes bytes of logs on the disk"
# -f of it, by a reader that goes away.
timeout 60 "$ORLOP_BUILD/cli/orlop" logs -f endless | head -1000 | tail -1 >line
expect_match "followed" "a line of an endless writer" "$(cat line)"

# Exact bytes, per stream in order.
whole() { orlop logs --no-log-prefix exact | grep -q 'no newline at the end'; }
wait_until 30 whole || fail "the end is missing"
orlop logs --no-log-prefix exact >lines || fail logs
{ cat out/bytes; printf 'no newline at the end'; } >want
cmp want lines || fail "the bytes are not those written: $(tr -d x <lines | od -c | tail -20)"
orlop logs exact | head -c 200 | grep -q '^g-exact-1  *| xxx' || fail "no prefix"

# Replicas: each line once, in the order of its replica.
all() { [ "$(orlop logs --no-log-prefix replicas | wc -l)" = 900 ]; }
wait_until 30 all || fail "not all lines: $(orlop logs --no-log-prefix replicas | wc -l)"
orlop logs --no-log-prefix replicas | awk '$2 != n[$1]++ {print "torn or out of order: " $0; exit 1}' || fail "lines"
expect "tail of each" 6 "$(orlop logs --no-log-prefix --tail 2 replicas | wc -l)"
expect "since now" 0 "$(orlop logs --no-log-prefix --since "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)" replicas | wc -l)"
expect "since an hour ago" 900 "$(orlop logs --no-log-prefix --since 1h replicas | wc -l)"
orlop logs -t --tail 1 replicas | grep -Eq '\| [0-9]{4}-[0-9]{2}-[0-9]{2}T' || fail "no times"
expect_code 2 orlop logs --since yesterday
expect_code 2 orlop logs --tail -5
expect_code 5 orlop logs nosuch

# Following goes over scaling: a replica that comes later is there, too.
orlop logs -f --no-log-prefix --tail 0 replicas >followed 2>&1 &
follower=$!
orlop scale replicas=4 >/dev/null 2>&1 || fail scale
fourth() { [ "$(grep -c '^g-replicas-4 ' followed)" = 300 ]; }
wait_until 30 fourth || fail "the new replica is not followed: $(wc -l <followed)"
kill $follower
wait $follower 2>/dev/null
orlop down >/dev/null 2>&1 || fail down
[ -z "$(ls "$ORLOP_STATE_DIR/tasks")" ] || fail "something of the tasks is left: $(ls "$ORLOP_STATE_DIR/tasks")"
node_stop
