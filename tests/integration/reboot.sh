#!/bin/bash
# A simulated reboot: every process killed, network, mounts, cgroups and RUN gone, STATE kept. Everything
# comes back, in depends_on order, and a `restart: no` task is reported as ended.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/r
mkdir "$app"
cd "$app" || exit 1
node_start
import busybox
cat >compose.yaml <<'YAML'
name: r
services:
  first:
    image: busybox
    restart: always
    stop_grace_period: 1s
    command: ["sh", "-c", "echo first >> /log/order; exec sleep 100000"]
    volumes: ["log:/log"]
  second:
    image: busybox
    restart: unless-stopped
    stop_grace_period: 1s
    depends_on: [first]
    command: ["sh", "-c", "echo second >> /log/order; exec sleep 100000"]
    volumes: ["log:/log"]
  once:
    image: busybox
    command: ["sh", "-c", "echo once >> /log/once; exec sleep 100000"]
    volumes: ["log:/log"]
volumes:
  log: {}
YAML
orlop up --wait >"$test_dir/out" 2>&1 || fail "up: $(cat "$test_dir/out")"

running() { [ "$(orlop ps --format json | grep -c '"state": *"running"')" = "$1" ]; }
order() { orlop exec -T first cat /log/order | tr '\n' ' ' | sed 's/ $//'; }

power_cut
node_start
wait_until 60 running 2 || fail "not back after the power cut: $(orlop ps)"
expect "order of starts after the power cut" "first second first second" "$(order)"
expect "starts of the task without a restart policy" 1 "$(orlop exec -T first cat /log/once | wc -l)"
expect_match "its end" "reboot" "$(orlop ps -a) $(orlop why once)"

# Stop and start in good order.
node_stop
node_start
wait_until 60 running 2 || fail "not back after stop and start: $(orlop ps)"
expect "order of starts after stop and start" "first second first second first second" "$(order)"
orlop down -v >/dev/null || fail "down -v"
expect "volumes after down -v" "" "$(ls "$ORLOP_STATE_DIR/volumes" 2>/dev/null)"
node_stop
