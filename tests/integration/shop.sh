#!/bin/bash
# The whole shop by hand: up, three replicas behind one port, logs -f while scaling, exec on a terminal,
# restart, an edited file, down, up (the counter goes on), down -v.
. "$(dirname "$0")/../lib/node.sh"
shop=$test_dir/shop
cp -r "$test_root/deploy/examples/shop" "$shop"
cd "$shop" || exit 1
patient compose.yaml

node_start
import nginx redis shop-api
orlop up --wait >"$test_dir/up.out" 2>&1 || fail "up: $(cat "$test_dir/up.out")"

ask() { curl -fsS --max-time 10 "http://${1:-127.0.0.1}:8080/api/"; }
counter() { ask | sed -n 's/.*"visits": *\([0-9]*\).*/\1/p'; }
names() { for _ in $(seq "$1"); do ask | sed -n 's/.*"replica": *"\([^"]*\)".*/\1/p'; done | sort -u; }
three_names() { [ "$(names 30 | wc -l)" = 3 ]; }
three_names || fail "three replicas should answer, got: $(names 30 | tr '\n' ' ')"
a=$(counter) b=$(counter)
[ "$b" -gt "$a" ] || fail "the counter does not rise: $a, $b"
expect_match "front page" '<' "$(curl -fsS http://127.0.0.1:8080/)"

# Only what was published is reachable, where it was published.
curl -fsS --max-time 5 "http://127.0.0.2:8080/" >/dev/null 2>&1 && fail "127.0.0.2:8080 answers though 127.0.0.1 was published"

# logs -f while scaling: lines of replicas that come later appear too.
mkfifo "$test_dir/logs"
orlop logs -f api >"$test_dir/logs.out" 2>&1 &
follower=$!
orlop scale api=5 --wait >/dev/null || fail "scale api=5"
five() { [ "$(names 60 | wc -l)" = 5 ]; }
wait_until 60 five || fail "five replicas should answer"
wait_until 20 grep -q 'shop-api-5' "$test_dir/logs.out" || fail "logs -f does not show the new replica: $(tail -5 "$test_dir/logs.out")"
orlop scale api=3 --wait >/dev/null || fail "scale api=3"
kill "$follower"
wait "$follower" 2>/dev/null

# exec: exit code, stdin, a terminal with a resized window and ^C.
expect "exec without terminal" "hello" "$(orlop exec -T redis sh -c 'echo hello')"
expect_code 7 orlop exec -T redis sh -c 'exit 7'
expect_code 127 orlop exec -T redis no-such-program
expect_match "exec of no program" 'no-such-program.*not found' "$out"
expect_code 126 orlop exec -T redis /etc
expect "exec stdin" "abc" "$(printf abc | orlop exec -T redis cat)"
"$ORLOP_BUILD/tests/lib/ptyrun" 24 80 "$ORLOP_BUILD/cli/orlop" exec -it redis sh <<'PTY' || fail "exec -it: $?"
send stty size\n
expect 24 80
size 40 132
send stty size\n
expect 40 132
send sh -c 'echo be""gun; exec sleep 1000'\n
expect begun
send \x03
send echo after=$?\n
expect after=130
send tty\n
expect /dev/pts/
send exit 0\n
eof
PTY

# restart replaces or restarts every replica of the service, and nothing else.
pid_of() { orlop ps --format json | tr -d ' \n' | sed 's/},{/}\n{/g' | grep "\"$1\"" | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'; }
redis_before=$(pid_of shop-redis-1) api_before=$(pid_of shop-api-1)
[ -n "$redis_before" ] && [ -n "$api_before" ] || fail "ps --format json has no pids: $(orlop ps --format json)"
orlop restart api >/dev/null || fail "restart api"
restarted() { [ -n "$(pid_of shop-api-1)" ] && [ "$(pid_of shop-api-1)" != "$api_before" ]; }
wait_until 60 restarted || fail "restart did not restart api"
wait_until 60 three_names || fail "after restart three replicas should answer"
expect "redis after restart api" "$redis_before" "$(pid_of shop-redis-1)"

# An edited file: only what changed is replaced.
web_before=$(pid_of shop-web-1)
sed -i 's/^\( *\)api:$/&\n\1  labels: {edited: "yes"}/' compose.yaml
grep -q edited compose.yaml || fail "the test could not edit the file"
orlop up --wait >"$test_dir/up.out" 2>&1 || fail "second up: $(cat "$test_dir/up.out")"
expect "web after an edit of api" "$web_before" "$(pid_of shop-web-1)"
expect "redis after an edit of api" "$redis_before" "$(pid_of shop-redis-1)"
[ "$(pid_of shop-api-1)" != "$api_before" ] || fail "api was not replaced"

# down keeps the volume, down -v does not.
before=$(counter)
orlop down >/dev/null || fail "down"
curl -fsS --max-time 5 http://127.0.0.1:8080/ >/dev/null 2>&1 && fail "the port answers after down"
orlop up --wait >/dev/null 2>&1 || fail "up after down"
after=$(counter)
[ "$after" -gt "$before" ] || fail "the counter started anew: $before, then $after"
orlop down -v >/dev/null || fail "down -v"
orlop up --wait >/dev/null 2>&1 || fail "up after down -v"
after=$(counter)
[ "$after" -lt "$before" ] || fail "down -v kept the volume: $before, then $after"
orlop down -v >/dev/null || fail "last down"

node_stop
