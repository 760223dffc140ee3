# Sourced by the rows that need an image store but no node: a folder, a store in it, the archives of tars.c.
# shellcheck shell=bash
set -u
export LC_ALL=C
test_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
programs=${ORLOP_BUILD:-$test_root/build/release}/tests/hostile
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
[ -x "$programs/hostile_store" ] || { echo "SKIP: $programs/hostile_store is not built"; exit 77; }
test_dir=$(mktemp -d /tmp/orlop-store-XXXXXX)
store=$test_dir/images canary=$test_dir/canary
trap 'rm -rf "$test_dir"' EXIT
mkdir "$canary" "$test_dir/tars"
fail() {
    echo "FAILED: $*"
    exit 1
}
expect() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }
# import FILE NAME: its sentence in $said, the memory that it took (KiB) in $memory; returns 0 or 1
import() {
    local code=0
    said=$("$programs/hostile_store" "$store" "$2" <"$1" 2>"$test_dir/memory") || code=$?
    memory=$(tail -n 1 "$test_dir/memory")
    [ $code -le 1 ] || fail "$2: exit code $code: $said $memory"
    return $code
}
"$programs/hostile_tars" "$test_dir/tars" "$canary" || fail "make the archives"
