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
    command: ["sh", "-c", "echo first >> /log/order; exec sleep 100000"]
    volumes: ["log:/log"]
  second:
    image: busybox
    restart: unless-stopped
    depends_on: [first]
    command: ["sh", "-c", "echo second >> /log/order; exec sleep 100000"]
    volumes: ["log:/log"]
volumes:
  log: {}
YAML
orlop up --wait >"$test_dir/out" 2>&1 || fail "up: $(cat "$test_dir/out")"
node_stop
node_start
running() { [ "$(orlop ps --format json | grep -c '"state": *"running"')" = 2 ]; }
wait_until 60 running || fail "not back after stop and start: $(orlop ps)"
expect "order of starts" "first second first second" "$(orlop exec -T first cat /log/order | tr '\n' ' ' | sed 's/ $//')"
orlop down -v >/dev/null || fail "down -v"
expect "volumes after down -v" "" "$(ls "$ORLOP_STATE_DIR/volumes" 2>/dev/null)"
node_stop
