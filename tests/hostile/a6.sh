#!/bin/bash
# A6: the job as an attack (GO-2022-1062, GO-2022-0560, GO-2022-0577, GO-2024-2538, CVE-2019-11253):
# through YAML, and past the command line straight into the scheduler's socket.
# The scheduler is all that is needed: nothing that it accepts here wants a replica.
set -u
export LC_ALL=C
test_root=$(cd "$(dirname "$0")/../.." && pwd)
ORLOP_BUILD=${ORLOP_BUILD:-$test_root/build/release}
[ -x "$ORLOP_BUILD/tests/hostile/hostile_api" ] || { echo "SKIP: hostile_api is not built"; exit 77; }
test_dir=$(mktemp -d /tmp/orlop-a6-XXXXXX)
export ORLOP_RUN_DIR=$test_dir/run ORLOP_STATE_DIR=$test_dir/state
mkdir "$ORLOP_RUN_DIR" "$ORLOP_STATE_DIR" "$test_dir/app"
cd "$test_dir/app" || exit 1
"$ORLOP_BUILD/cli/orlop" scheduler >"$test_dir/log" 2>&1 &
scheduler=$!
trap 'kill $scheduler 2>/dev/null; wait; rm -rf "$test_dir"' EXIT
fail() { echo "FAILED: $*"; tail -n 5 "$test_dir/log"; exit 1; }
expect() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$(head -c 300 <<<"$3")'"; }
orlop() { "$ORLOP_BUILD/cli/orlop" "$@"; }
# refuse NAME: `config` of compose.yaml ends by itself, in little memory, with a sentence
refuse() {
    local code=0
    out=$(ulimit -v 1500000; timeout 30 "$ORLOP_BUILD/cli/orlop" config 2>&1) || code=$?
    case $code in 1 | 2 | 3) ;; *) fail "$1: exit code $code: $(head -c 300 <<<"$out")" ;; esac
    [ ${#out} -gt 15 ] || fail "$1: no sentence"
    expect "control characters in $1" "" "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <<<"$out")"
}
head='services: {a: {image: x}}'
{ # ten levels of ten aliases
    echo 'x-a: &a0 [x,x,x,x,x,x,x,x,x,x]'
    for i in 1 2 3 4 5 6 7 8 9; do
        p=$((i - 1))
        echo "x-$i: &a$i [*a$p,*a$p,*a$p,*a$p,*a$p,*a$p,*a$p,*a$p,*a$p,*a$p]"
    done
    echo "services: {a: {image: x, command: *a9}}"
} >compose.yaml && refuse "billion laughs"
{ for i in $(seq 20000); do printf '['; done; } >compose.yaml && refuse "deep flow"
{ printf 'services:\n  a:\n    image: x\n    labels:\n'; for i in $(seq 400); do printf "%$((6 + i))sk$i:\n" ''; done; } >compose.yaml && refuse "deep blocks"
printf 'a: &a [*a]\n%s\n' "$head" >compose.yaml && refuse "an alias of itself"
printf 'a: &a {<<: *a}\n%s\n' "$head" >compose.yaml && refuse "a merge of itself"
head -c 70000000 /dev/zero | tr '\0' 'a' >compose.yaml && refuse "a huge scalar"
head -c 100000 /dev/urandom >compose.yaml && refuse "noise"
printf 'services: {a: {image: x}}\0\1' >compose.yaml && refuse "a NUL"
printf 'services: {"\\e[2J\\u009b31m": {image: x, "\\e]0;t": 1}}\n' >compose.yaml && refuse "control characters"
for port in 99999999999999999999:1 0:1 1-70000:1-70000 5-1:5-1 -1:80 '1.2.3.4.5:80:80' 80:80:80:80:80; do
    printf 'services: {a: {image: x, ports: ["%s"]}}\n' "$port" >compose.yaml
    [ "$port" = 0:1 ] || refuse "port $port"
done
for value in 99999999999999999999999999g -1 1e400 0x1p1023 nan '1g1g' ''; do
    printf 'services: {a: {image: x, mem_limit: "%s"}}\n' "$value" >compose.yaml
    [ -z "$value" ] || refuse "mem_limit $value"
done
printf 'services: {a: {image: x, deploy: {replicas: 4000000000}}}\n' >compose.yaml && refuse "replicas"
printf 'services: {a: {extends: {file: ./compose.yaml, service: a}}}\n' >compose.yaml && refuse "extends itself"
printf 'include: [compose.yaml]\n%s\n' "$head" >compose.yaml && refuse "includes itself"
echo 'services: {a: {image: "${A:-${A:-${A:-"}}' >compose.yaml && refuse "a variable without end"
printf 'services: {a: {image: x, env_file: /dev/zero}}\n' >compose.yaml && refuse "env_file /dev/zero"

# Straight into the socket.
accepted=$("$ORLOP_BUILD/tests/hostile/hostile_api" "$ORLOP_RUN_DIR") || fail "by protobuf: $accepted"
expect "by protobuf" "" "$accepted"
kill -0 $scheduler || fail "the scheduler has ended"
expect "apps" "[]" "$(orlop app ls --format json | tr -d ' \n')"
memory=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$scheduler/status")
[ "$memory" -lt 400000 ] || fail "the scheduler took $memory KiB"
echo "scheduler: $memory KiB"
