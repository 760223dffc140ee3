# Sourced by the integration tests: one Orlop in a network namespace, RUN and STATE of its own.
#
#   . "$(dirname "$0")/../lib/node.sh"     re-executes the test in a new network namespace
#   node_start; orlop ARGS...; node_stop
#
# ORLOP_BUILD: the build directory (default build/release). When the test ends, however it ends, the node
# is stopped, its directories are deleted and the leftover checker must find nothing.
# shellcheck shell=bash
set -u
export LC_ALL=C
test_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$test_root/tests/lib/expect.sh"
ORLOP_BUILD=${ORLOP_BUILD:-$test_root/build/release}
images=${ORLOP_TEST_IMAGES:-$test_root/deploy/images/out}

[ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
[ -x "$ORLOP_BUILD/cli/orlop" ] || { echo "SKIP: $ORLOP_BUILD/cli/orlop is not built"; exit 77; }
if [ "${NODE_INSIDE-}" != 1 ]; then
    NODE_INSIDE=1 exec unshare --net "$0" "$@"
fi
ip link set lo up

test_dir=$(mktemp -d /tmp/orlop-it-XXXXXX)
export ORLOP_RUN_DIR=$test_dir/run ORLOP_STATE_DIR=$test_dir/state
export ORLOP_KEEPER=$ORLOP_BUILD/runtime/keeper/orlop-keeper
saved=/tmp/.leftovers.$$
# Of a sanitizer's build only: every process writes its reports (an abort is one) into a file of its own.
report=log_path=$test_dir/sanitizer
export ASAN_OPTIONS=detect_leaks=1:handle_abort=1:$report UBSAN_OPTIONS=print_stacktrace=1:$report TSAN_OPTIONS=$report
"$test_root/tests/check/leftovers" save "$saved"

orlop() { "$ORLOP_BUILD/cli/orlop" "$@"; }
node_start() { orlop dev --detach || { node_logs; fail "orlop dev --detach"; }; }
node_stop() { orlop dev --stop || fail "orlop dev --stop"; }
# holder ROLE: the pid that holds RUN/ROLE.lock; nothing when nobody does
holder() {
    local inode
    inode=$(stat -c %i "$ORLOP_RUN_DIR/$1.lock") || return 1
    awk -v i=":$inode " 'index($0, i) {print $5; exit}' /proc/locks
}
# The directory of cgroups of this node: runtime/base/paths.c makes its name of RUN's.
node_cgroup() {
    local i hash=$((0xcbf29ce484222325))
    for ((i = 0; i < ${#ORLOP_RUN_DIR}; i++)); do
        hash=$(((hash ^ $(printf %d "'${ORLOP_RUN_DIR:i:1}")) * 0x100000001b3))
    done
    printf 'orlop-%08x' $((hash & 0xffffffff))
}
# node_cgroups FIND-ARGS...: what is below it, in every hierarchy.
node_cgroups() { find /sys/fs/cgroup -path "*/$(node_cgroup)*" "$@" 2>/dev/null; }
node_processes() { node_cgroups -name cgroup.procs -exec cat {} + | sort -u; }
# A power cut: every process at once, then what a boot would not bring back. node_start comes after it.
power_cut() {
    local r p
    r=$(for r in anchor keeper proxy scheduler agent; do holder $r; done)
    # shellcheck disable=SC2086
    kill -STOP $r # a keeper that sees its anchor die before it would start another
    # shellcheck disable=SC2086
    kill -KILL $r
    for p in $(node_processes); do kill -9 "$p" 2>/dev/null; done
    none() { [ -z "$(node_processes)" ]; }
    wait_until 20 none || fail "the sandboxes do not die"
    node_cgroups -depth -type d -exec rmdir {} +
    for p in $(awk -v dir="$test_dir/" 'index($5, dir) == 1 {print $5}' /proc/self/mountinfo | sort -r); do umount "$p"; done
    rm -rf "$ORLOP_RUN_DIR"
    nft flush ruleset
    for p in $(ip -o link show | grep -o ' ol[vg][^:@]*'); do ip link del "$p" 2>/dev/null; done
    ORLOP_TEST_BOOT_ID=$(cat /proc/sys/kernel/random/uuid)
    export ORLOP_TEST_BOOT_ID
}
node_logs() { tail -n 30 "$ORLOP_RUN_DIR"/logs/*.log 2>/dev/null; }

import() { for i in "$@"; do orlop image import "$images/$i.tar" "$i" >/dev/null || fail "import $i"; done; }

at_end() {
    local code=$?
    trap - EXIT
    [ $code = 0 ] || node_logs
    [ ! -d "$ORLOP_RUN_DIR" ] || orlop dev --stop >/dev/null 2>&1 || { echo "FAILED: dev --stop at the end"; code=1; }
    local log
    for log in "$test_dir"/sanitizer.*; do
        [ -e "$log" ] || continue
        echo "FAILED: a sanitizer's report"
        head -n 60 "$log"
        code=1
    done
    cd /
    if declare -F test_cleanup >/dev/null; then test_cleanup; fi # what the test itself made
    rm -rf "$test_dir" || code=1
    "$test_root/tests/check/leftovers" compare "$saved" || { echo "FAILED: the test left something behind"; code=1; }
    rm -f "$saved"
    exit $code
}
trap at_end EXIT
