#!/bin/bash
# A node is stopped, one of its stores is damaged, it is started again: it works and says what was lost, or
# it refuses with a sentence that names file and byte. What every single bit does: tests/unit/*/test_*damage.c.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/d
mkdir "$app"
cd "$app" || exit 1
S=$ORLOP_STATE_DIR R=$ORLOP_RUN_DIR

# flip FILE BYTE: another bit there
flip() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
middle() { echo $(($(stat -c %s "$1") / 2)); }
running() { [ "$(orlop ps --format json | grep -c '"state": *"running"')" = "$1" ]; }
# comes_back NAME: the node starts and the app runs again
comes_back() {
    node_start
    wait_until 60 running 1 || fail "$1: not back: $(orlop ps; orlop why web)"
}
# says NAME FILE PATTERN
says() { wait_until 20 grep -Eq -- "$3" "$2" || fail "$1: not said in $2: $3"; }
# refuses NAME LOG FILE PATTERN: the node does not come up and says why; with the file put back it does
refuses() {
    orlop dev --detach >"$test_dir/out" 2>&1 &
    local dev=$!
    says "$1" "$2" "$4"
    cp -a "$test_dir/good/${3#"$S"/}" "$3"
    wait $dev || fail "$1: not up with the file put back: $(cat "$test_dir/out")"
    wait_until 60 running 1 || fail "$1: not back: $(orlop ps; orlop why web)"
    node_stop
}

node_start
import busybox
cat >compose.yaml <<'YAML'
name: d
services:
  web:
    image: busybox
    restart: always
    stop_grace_period: 1s
    command: ["sh", "-c", "echo begin; exec sleep 987654"]
YAML
orlop up --wait >"$test_dir/out" 2>&1 || fail "up: $(cat "$test_dir/out")"
node_stop
cp -a "$S" "$test_dir/good"
again() { # the stores as they were
    rm -rf "$S"
    cp -a "$test_dir/good" "$S"
}

# the agent's store
flip "$S/agent/log" 200
refuses "a flipped bit in the agent's store" "$R/logs/agent.log" "$S/agent/log" 'log is damaged at byte [0-9]+'
again
truncate -s 300 "$S/agent/log"
refuses "a cut store of the agent" "$R/logs/agent.log" "$S/agent/log" 'log is cut off at byte [0-9]+'
# an agent that cannot start: neither up nor for ever in the way
again
truncate -s 300 "$S/agent/log"
expect_code 1 orlop dev --detach
expect_match "why it is not up" 'log is cut off at byte [0-9]+' "$out"
expect_match "what is left" 'its containers and networks have not' "$out"
again
flip "$S/agent/attempts" 20
comes_back "damaged attempts"
says "damaged attempts" "$R/logs/agent.log" 'store.damage.*attempts is damaged at byte 0.*kept aside as attempts.damaged'
node_stop

# the log
again
segment=$(find "$S/raft" -name '0*-0*' -size +0 | sort | tail -n 1)
flip "$segment" "$(middle "$segment")"
refuses "a flipped bit in the log" "$R/logs/scheduler.log" "$segment" "${segment##*/} is damaged at byte [0-9]+"
again
truncate -s "$(middle "$segment")" "$segment"
refuses "a cut segment of the log" "$R/logs/scheduler.log" "$segment" "${segment##*/} is cut off at byte [0-9]+"
again
truncate -s 8 "$S/raft/metadata1"
comes_back "a cut metadata1"
says "a cut metadata1" "$R/logs/scheduler.log" 'log.damage.*metadata1.*written anew'
node_stop

# the images
again
truncate -s 40 "$S/images/index.json"
refuses "a cut index.json" "$R/logs/agent.log" "$S/images/index.json" 'index.json'
again
manifest=$(grep -o 'sha256:[0-9a-f]*' "$S/images/index.json" | head -n 1)
flip "$S/images/blobs/sha256/${manifest#sha256:}" 30
node_start
wait_until 60 sh -c "'$ORLOP_BUILD/cli/orlop' why web | grep -q 'blob $manifest is damaged on the disk'" ||
    fail "a damaged blob: $(orlop why web)"
import busybox # the same image again makes it whole
orlop up -d >/dev/null || fail "up with the image imported again"
wait_until 60 running 1 || fail "not back with the image imported again: $(orlop why web)"

# the records of the keeper, while the container runs
container() { pgrep -cx -f 'sleep 987654'; }
damaged_records() { # NAME COMMAND...: with the keeper dead
    local name=$1 anchor old
    anchor=$(holder anchor) old=$(holder keeper)
    shift
    kill -STOP "$anchor"
    kill -9 "$old"
    "$@"
    kill -CONT "$anchor"
    another() { local now; now=$(holder keeper) && [ -n "$now" ] && [ "$now" != "$old" ]; }
    wait_until 30 another || fail "$name: no keeper came"
    wait_until 60 running 1 || fail "$name: $(orlop ps)"
}
damaged_records "a flipped bit in the start records" flip "$R/starts" 100
says "a flipped bit in the start records" "$R/logs/keeper.log" 'records.damage.*starts.*records=1 first_byte=0'
wait_until 30 eval '[ "$(container)" = 1 ]' || fail "containers of one task: $(container)"
damaged_records "cut start records" truncate -s 100 "$R/starts"
says "cut start records" "$R/logs/keeper.log" 'records.damage.*starts.*torn_bytes=100'
wait_until 30 eval '[ "$(container)" = 1 ]' || fail "containers of one task: $(container)"
orlop down -v >/dev/null || fail "down"
node_stop
