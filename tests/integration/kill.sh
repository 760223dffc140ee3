#!/bin/bash
# Kill each of our processes while the app runs: containers, logs and exit codes go on, nothing is
# started twice.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/k
mkdir "$app"
cd "$app" || exit 1
export INVOCATION_ID=0123456789abcdef0123456789abcdef # as in a desktop's terminal: no systemd will start the anchor again
node_start
import busybox
cat >compose.yaml <<'YAML'
name: k
services:
  count:
    image: busybox
    command: ["sh", "-c", "i=0; while :; do echo line $$i; i=$$((i+1)); usleep 2000; done"]
  ends:
    image: busybox
    command: ["sh", "-c", "read x < /wait/go; exit 42"]
    volumes: ["./wait:/wait"]
YAML
mkdir wait
mkfifo wait/go
orlop up -d >/dev/null || fail "up"
running() { [ "$(orlop ps --format json | grep -c '"state": *"running"')" = "$1" ]; }
wait_until 60 running 2 || fail "not running: $(orlop ps)"
pid_of() { orlop ps --format json | tr -d ' \n' | sed 's/},{/}\n{/g' | grep "\"$1\"" | sed -n 's/.*"pid":\([0-9]*\).*/\1/p'; }
count=$(pid_of k-count-1)
[ -n "$count" ] || fail "no pid"
# A known exit code, with the keeper killed in between. Before the anchor is: an orphan's is told from kernel 6.15 on only.
kill -9 "$(holder keeper)"
echo >wait/go
ended() { orlop ps -a --format json | grep -q '"exit_code": *42'; }
wait_until 30 ended || fail "exit code 42 is lost: $(orlop ps -a)"

answers() { orlop ps >/dev/null 2>&1; }
# What an agent that is killed has mounted to make a root: the next one unmounts it.
place=$(printf '%s\n' "$ORLOP_STATE_DIR"/tasks/*/scratch | head -n 1)
mount -t tmpfs none "$place" && mount -t tmpfs none "$place" || fail "mount"
for role in agent keeper proxy scheduler anchor keeper agent; do
    victim=$(holder $role)
    [ -n "$victim" ] || fail "nobody holds $role.lock"
    kill -9 "$victim"
    back() { local now; now=$(holder $role) && [ -n "$now" ] && [ "$now" != "$victim" ]; }
    wait_until 30 back || fail "$role did not come back"
    wait_until 30 answers || fail "no answer after the death of $role"
    [ -d "/proc/$count" ] || fail "the container died with $role"
done
wait_until 60 running 1 || fail "not running after the kills: $(orlop ps)"
expect "what an agent had mounted" "" "$(grep " $place " /proc/self/mountinfo)"
expect "same process after all the kills" "$count" "$(pid_of k-count-1)"

# every line once, in order
orlop logs --no-log-prefix count >"$test_dir/lines" || fail "logs"
awk '$1 != "line" || $2 != NR - 1 {print "line " NR ": " $0; exit 1}' "$test_dir/lines" || fail "a line is lost or doubled"
[ "$(wc -l <"$test_dir/lines")" -gt 100 ] || fail "too few lines"

# Nobody is left to start anybody: the containers go on, and --stop still finds all of it.
# shellcheck disable=SC2046
kill -9 $(holder anchor) $(holder keeper)
[ -d "/proc/$count" ] || fail "the container died with anchor and keeper"
node_stop
[ ! -d "/proc/$count" ] || fail "the container goes on after --stop"
for role in anchor keeper proxy scheduler agent; do [ -z "$(holder $role)" ] || fail "$role goes on after --stop"; done
node_start
orlop down >/dev/null || fail "down"
node_stop
