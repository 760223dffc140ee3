#!/bin/bash
# tests/check/hardening.sh BUILD: reads the built ELFs. Flags can be listed in a build file and yet never
# reach the link line.
set -u
bad=0
no() {
    echo "$1: $2"
    bad=1
}
check() { # FILE KIND(dynamic|static)
    [ -f "$1" ] || { no "$1" "is missing"; return; }
    local h d
    h=$(readelf -hW "$1")
    d=$(readelf -dlW "$1")
    grep -q 'Type: *DYN' <<<"$h" || no "$1" "is not position independent (PIE)"
    grep -q 'GNU_RELRO' <<<"$d" || no "$1" "has no RELRO segment"
    grep -Eq 'BIND_NOW|FLAGS_1.*NOW' <<<"$d" || no "$1" "is not bound at start (BIND_NOW)"
    grep -E 'GNU_STACK' <<<"$d" | grep -q 'RWE' && no "$1" "has an executable stack"
    grep -q 'GNU_STACK' <<<"$d" || no "$1" "has no GNU_STACK segment"
    readelf -sW "$1" | grep -Eq '__[a-z]+_chk(@|$| )' || no "$1" "uses no fortified function"
    readelf -sW "$1" | grep -q '__stack_chk_fail' || no "$1" "has no stack protector"
    case $2 in
    static) grep -q 'NEEDED' <<<"$d" && no "$1" "links shared libraries" ;;
    esac
}
check "$1/cli/orlop" dynamic
check "$1/runtime/keeper/orlop-keeper" static
exit $bad
