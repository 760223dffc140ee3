# Sourced by shell tests: what they say when something is not as expected, and how they wait.
# shellcheck shell=bash
fail() {
    echo "FAILED: $*"
    exit 1
}
# wait_until SECONDS COMMAND...: the deadline is only there so that a failure ends; nothing measures it. An emulated
# machine (tests/vm) has ORLOP_TEST_PATIENCE times that.
wait_until() {
    local deadline=$((SECONDS + $1 * ${ORLOP_TEST_PATIENCE:-1}))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}
# patient COMPOSE-FILE: probes of an emulated machine take their time.
patient() { [ -z "${ORLOP_TEST_PATIENCE-}" ] || sed -i 's/timeout: 3s/timeout: 60s/; s/start_period: 10s/start_period: 600s/' "$1"; }
# expect NAME EXPECTED ACTUAL
expect() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; }
# expect_match NAME PATTERN ACTUAL (extended regular expression)
expect_match() { printf '%s' "$3" | grep -Eq -- "$2" || fail "$1: expected something like '$2', got '$3'"; }
# expect_code CODE COMMAND...: also keeps stdout and stderr in $out
expect_code() {
    local want=$1 code=0
    shift
    out=$("$@" 2>&1) || code=$?
    [ "$code" = "$want" ] || fail "$*: expected exit code $want, got $code: $out"
}
