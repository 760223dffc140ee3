#!/bin/bash
# A container that takes what it can get: memory, processes, descriptors of the keeper; one that does
# not want to end. The others do not notice, and each gets a sentence.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/l
mkdir "$app"
cd "$app" || exit 1
node_start
import busybox
cat >compose.yaml <<'YAML'
name: l
services:
  oom: {image: busybox, mem_limit: 16m, command: ["tail", "/dev/zero"]}
  worker: # its first process goes on
    image: busybox
    mem_limit: 16m
    command: ["sh", "-c", "while :; do read l </tmp/go 2>/dev/null && { rm /tmp/go; dd if=/dev/zero of=/dev/null bs=64M count=1; }; usleep 100000; done"]
    stop_grace_period: 200ms
  bomb:
    image: busybox
    pids_limit: 20
    command: ["sh", "-c", "while :; do sleep 1000 & done"]
    restart: always
    init: true
  stubborn:
    image: busybox
    stop_grace_period: 500ms
    command: ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
  polite:
    image: busybox
    stop_signal: SIGUSR1
    command: ["sh", "-c", "trap 'echo bye; exit 9' USR1; trap 'exit 1' TERM; echo ready; while :; do usleep 10000; done"]
  quiet: {image: busybox, command: ["sleep", "inf"], init: true}
YAML
orlop up -d >/dev/null 2>&1 || fail up
ps_has() { orlop ps -a --format json | tr -d '\n' | sed 's/}, *{/}\n{/g' | grep "\"service\": *\"$1\"" | grep -Eq "$2"; }
wait_until 30 ps_has oom '"oom": *true' || fail "no OOM is seen: $(orlop ps -a)"
expect_match "why of an OOM" "more memory than its limit" "$(orlop why oom)"
wait_until 30 ps_has quiet '"state": *"running"' || fail "quiet does not run"

# Only a child is killed, twice: the container goes on, and says so.
for n in "1 process" "2 processes"; do
    orlop exec worker sh -c 'echo now >/tmp/go' || fail "exec worker"
    wait_until 60 ps_has worker "\"state\": *\"running\".*killed $n of it" || fail "the OOM of a child is not seen: $(orlop ps -a)"
done
ps_has worker '"oom": *true' || fail "oom is not set: $(orlop ps --format json worker)"
expect_match "ps of an OOM of a child" "Up .*out of memory: the kernel killed 2 processes of it" "$(orlop ps worker)"
expect_match "why of an OOM of a child" "worker-1: out of memory: the kernel killed 2 processes of it" "$(orlop why worker)"
expect_match "event of an OOM of a child" "task.oom.*killed 2 processes" "$(orlop events --since 10m --no-follow)"

said() { orlop logs --no-log-prefix "$1" | grep -q "$2"; }
wait_until 30 said bomb "can't fork: Resource temporarily unavailable" || fail "the fork bomb has no limit"
expect "the others go on" hello "$(orlop exec quiet echo hello)"

for s in stubborn polite; do wait_until 30 said $s ready || fail "$s is not ready"; done
started=$SECONDS
out=$(orlop scale stubborn=0 polite=0 bomb=0 2>&1) || fail "scale to 0: $out"
[ $((SECONDS - started)) -lt $((30 * ${ORLOP_TEST_PATIENCE:-1})) ] || fail "a process that ignores TERM was waited for"

# Many at once, and back: the node stays up all the time (an emulated one may be late with a heartbeat).
orlop scale quiet=30 >/dev/null 2>&1 || fail "scale to 30"
expect "30 replicas" 30 "$(orlop ps -q quiet | wc -l)"
orlop scale quiet=1 >/dev/null 2>&1 || fail "scale to 1"
expect "1 replica" 1 "$(orlop ps -q quiet | wc -l)"
[ -z "${ORLOP_TEST_PATIENCE-}" ] && grep -h "node.down" "$ORLOP_RUN_DIR/logs/scheduler.log" && fail "the node was taken for dead"

# What is too much for the keeper is refused with a sentence, and nobody else feels it.
orlop exec quiet sleep 1000 >/dev/null 2>&1 &
other=$!
expect_code 1 orlop exec quiet true $(seq 1 5000)
expect_match "too many words" "at most 4096" "$out"
kill -0 $other 2>/dev/null || fail "somebody else's exec ended"
kill $other
wait $other 2>/dev/null
expect "closed standard input" "" "$(orlop exec quiet cat <&-)"
orlop down >/dev/null 2>&1 || fail down
node_stop
