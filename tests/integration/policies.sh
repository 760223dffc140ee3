#!/bin/bash
# Restart policies, dependencies and health, also over a node that is stopped and started again.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/p
mkdir "$app" "$app/wait"
cd "$app" || exit 1
mkfifo wait/migrate
node_start
import busybox
cat >compose.yaml <<'YAML'
name: p
services:
  always: {image: busybox, command: ["sh", "-c", "exit 0"], restart: always}
  counted: {image: busybox, command: ["sh", "-c", "echo try; exit 3"], restart: "on-failure:2"}
  fine: {image: busybox, command: ["true"], restart: on-failure}
  once: {image: busybox, command: ["sh", "-c", "exit 7"]}
  keeps: {image: busybox, command: ["sleep", "inf"], init: true, restart: unless-stopped}
  plain: {image: busybox, command: ["sleep", "inf"], init: true}
  migrate: {image: busybox, command: ["sh", "-c", "read x </wait/migrate; exit $$x"], volumes: ["./wait:/wait"]}
  server:
    image: busybox
    command: ["sleep", "inf"]
    init: true
    volumes: ["./wait:/wait"]
    depends_on: {migrate: {condition: service_completed_successfully}}
    healthcheck: {test: ["CMD", "test", "-e", "/wait/healthy"], interval: 100ms, retries: 2}
  front:
    image: busybox
    command: ["sleep", "inf"]
    init: true
    depends_on: {server: {condition: service_healthy}}
YAML
rows() { orlop ps -a --format json | tr -d '\n' | sed 's/}, *{/}\n{/g'; }
is() { rows | grep "\"service\": *\"$1\"" | grep -Eq "$2"; }
shows() { wait_until 30 is "$1" "$2" || fail "$1 does not come to $2: $(rows | grep "\"$1\"")"; }
absent() { ! is "$1" '"pid": *[1-9]'; }
orlop up -d >/dev/null 2>&1 || fail up
shows always '"restarts": *[3-9]'
shows counted '"exit_code": *3.*"restarts": *2|"restarts": *2.*"exit_code": *3'
expect "tries of on-failure:2" 3 "$(orlop logs --no-log-prefix counted | grep -c try)"
shows fine '"state": *"complete"'
shows once '"exit_code": *7'
shows keeps '"state": *"running"'

# In order: nothing of the chain runs before the one in front of it is done, or healthy.
absent server || fail "server runs before the migration is over"
echo 0 >wait/migrate
shows server '"state": *"running"'
absent front || fail "front runs before server is healthy"
touch wait/healthy
shows front '"state": *"running"'
rm wait/healthy
shows server '"health": *"unhealthy"'
is front '"state": *"running"' || fail "front was stopped when server became unhealthy"
touch wait/healthy
shows server '"health": *"healthy"'

# A process that is killed from outside, with and without a policy.
kill_task() { kill -9 "$(rows | grep "\"service\": *\"$1\"" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')"; }
kill_task keeps
shows keeps '"state": *"running".*"restarts": *1|"restarts": *1.*"state": *"running"'
kill_task plain
shows plain '"exit_code": *137'
orlop restart plain >/dev/null 2>&1 || fail "restart plain"
shows plain '"state": *"running"'

# The node stops; what should run runs again, and is shown so.
orlop dev --stop >/dev/null || fail "dev --stop"
orlop dev --detach >/dev/null || fail "dev"
shows keeps '"state": *"running"'
shows always '"state": *"(running|preparing|starting)"'
is plain '"state": *"running"' && fail "plain was started again without a policy"
is once '"state": *"running"' && fail "once was started again"
# up starts what is over, and says what cannot be.
expect_code 6 orlop up
expect_match "why up fails" "service once of p failed: .*exited with code 7" "$out"
shows plain '"state": *"running"'
orlop down >/dev/null 2>&1 || fail down

# A condition that does not come true.
cat >compose.yaml <<'YAML'
name: q
services:
  job: {image: busybox, command: ["sh", "-c", "exit 4"]}
  waits:
    image: busybox
    command: ["sleep", "inf"]
    depends_on: {job: {condition: service_completed_successfully}}
YAML
expect_code 6 orlop up
expect_match "why up fails" "job" "$out"
absent waits || fail "waits was started though job has failed"
expect_match "why it waits" "job" "$(orlop why waits)"
orlop down >/dev/null 2>&1 || fail down
node_stop
