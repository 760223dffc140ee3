#!/bin/bash
# Floods of log lines: many containers that write both streams as fast as they can, one line without an
# end, readers that stall. The others start as before, lose no line, and what it costs has its limits.
#
# The long form: ORLOP_FLOOD_WRITERS=50 ORLOP_FLOOD_LINE=$((1 << 30)) ORLOP_FLOOD_READERS=10000
# (defaults 10, 16 MiB, 1000).
. "$(dirname "$0")/../lib/node.sh"
writers=${ORLOP_FLOOD_WRITERS:-10} line_bytes=${ORLOP_FLOOD_LINE:-$((16 << 20))} readers=${ORLOP_FLOOD_READERS:-1000}
app=$test_dir/f
mkdir "$app"
cd "$app" || exit 1
test_cleanup() { kill "${jobs[@]}" 2>/dev/null; }
jobs=()
node_start
import busybox
cat >compose.yaml <<YAML
name: f
services:
  quiet:
    image: busybox
    command: ["sh", "-c", "i=0; while :; do echo \$\$i; i=\$\$((i+1)); usleep 5000; done"]
    stop_grace_period: 200ms
  probe: {image: busybox, command: [sleep, inf], init: true}
  flood:
    image: busybox
    command: ["sh", "-c", "yes out & exec yes err >&2"]
    stop_grace_period: 200ms
    deploy: {replicas: 0}
    logging: {driver: json-file, options: {max-size: 1m, max-file: "3"}}
  line:
    image: busybox
    command: ["sh", "-c", "head -c $line_bytes /dev/zero | tr '\\\\0' x; echo; echo the end; sleep 100000"]
    init: true
    deploy: {replicas: 0}
    logging: {driver: json-file, options: {max-size: 1m, max-file: "3"}}
YAML
orlop up --wait >out 2>&1 || fail "up: $(cat out)"
"$ORLOP_BUILD/cli/orlop" logs -f --no-log-prefix quiet >followed 2>followed.err &
jobs+=($!)

pss_kib() { awk '/^Pss:/ {print $2}' "/proc/$(holder "$1")/smaps_rollup"; }
pss() { local r; for r in anchor keeper proxy agent scheduler; do printf '%s=%s ' $r "$(pss_kib $r)"; done; }
# bounded WHEN: what README.md promises, KiB
bounded() {
    local r limit
    echo "PSS $1 (KiB): $(pss)"
    for r in anchor=2048 keeper=4096 proxy=4096 agent=65536 scheduler=131072; do
        limit=${r#*=} r=${r%=*}
        [ "$(pss_kib $r)" -le "$limit" ] || fail "$1: $r has more than $limit KiB: $(pss)"
    done
}
# The median of 7 starts in milliseconds: one replica more each time.
probes=1
start_ms() {
    local i before
    for i in 1 2 3 4 5 6 7; do
        probes=$((probes + 1)) before=${EPOCHREALTIME/./}
        orlop scale probe=$probes >out 2>&1 || fail "scale probe=$probes: $(cat out)"
        echo $(((${EPOCHREALTIME/./} - before) / 1000))
    done | sort -n | sed -n 4p
    orlop scale probe=1 >/dev/null 2>&1
}
log_bytes() { du -bsc "$ORLOP_STATE_DIR"/tasks/*/log 2>/dev/null | tail -1 | cut -f1; } # files come and go

before=$(start_ms)
bounded "before"

orlop scale flood="$writers" >out 2>&1 || fail "scale flood=$writers: $(cat out)"
rotated() { [ "$(find "$ORLOP_STATE_DIR/tasks" -name '[4-9]*.log' -o -name '??*.log' | wc -l)" -ge "$writers" ]; }
wait_until 120 rotated || fail "the logs of the flood do not rotate: $(find "$ORLOP_STATE_DIR/tasks" -name '*.log')"
during=$(start_ms)
echo "a start takes $before ms, $during ms in the flood"
[ "$during" -le $((before * 20 + 200)) ] || fail "starts suffer from the flood: $before ms, then $during ms"
bounded "in the flood"
# A file is at most 1 MiB and what one turn or an unfinished line adds; there are 3, and their index.
[ "$(log_bytes)" -le $((writers * 3 * (1 << 20) * 3 / 2 + (32 << 20))) ] || fail "$(log_bytes) bytes of logs"
orlop logs --no-log-prefix --tail 500 flood >lines || fail logs
expect "lines of the flood are whole" "err out" "$(sort -u lines | tr '\n' ' ' | sed 's/ $//')"

# Readers that stall, and readers that come on top of them.
"$ORLOP_BUILD/tests/lib/followers" "$ORLOP_RUN_DIR/api.sock" f "$readers" flood >stalled &
jobs+=($!) stalled=$!
wait_until 120 grep -q "^asked $readers" stalled || fail "not all readers were heard: $(cat stalled)"
refusal() { kill -USR1 $stalled; grep -q "^refused [1-9].*\(as there may be\|too slowly\)" stalled; }
wait_until 60 refusal || fail "nobody is refused: $(tail -1 stalled)"
bounded "with $readers readers that stall"
expect "exec beside them" hello "$(orlop exec quiet echo hello)"
orlop scale probe=2 >out 2>&1 || fail "scale beside stalled readers: $(cat out)"
tail -1 stalled
kill $stalled
wait $stalled
again() { orlop logs --tail 1 quiet >/dev/null 2>&1; }
wait_until 60 again || fail "no logs after the stalled readers have gone: $(orlop logs --tail 1 quiet 2>&1)"

orlop scale flood=0 line=1 >out 2>&1 || fail "scale: $(cat out)"
ended() { [ "$(orlop logs --no-log-prefix --tail 1 line)" = "the end" ]; }
wait_until 600 ended || fail "the end of the long line does not come: $(orlop logs --tail 1 line | tail -c 200)"
bounded "after a line of $line_bytes bytes"
bytes=$(orlop logs --no-log-prefix line | wc -c)
[ "$bytes" -le $((12 << 20)) ] || fail "$bytes bytes of one log"
orlop logs --no-log-prefix line | tr -d 'x\n' | grep -qx "the end" || fail "the long line holds something else"

# The one who wrote all the time has every line, in the files and at the one who read along.
kill "${jobs[0]}"
wait "${jobs[0]}" 2>/dev/null
orlop logs --no-log-prefix quiet >lines || fail logs
for f in lines followed; do
    awk '$0 != NR - 1 {print "line " NR ": " $0; exit 1}' $f || fail "$f: a line is lost or doubled"
done
[ "$(wc -l <followed)" -gt 100 ] || fail "too few lines"
echo "$(wc -l <lines) lines of the quiet writer, $(wc -l <followed) followed"
jobs=()
orlop down >/dev/null 2>&1 || fail down
node_stop
