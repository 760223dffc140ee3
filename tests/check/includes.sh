#!/bin/bash
# The direction of dependencies (top-level README), read off the #include lines.
set -u
bad=0
# forbid FOLDER PATTERN: no file of FOLDER includes a header whose path matches PATTERN
forbid() {
    if grep -rnE --include='*.[ch]' "^#include \"($2)" "$1" | grep -v '^cli/main.c:'; then
        echo "  ^ $1 must not include $2"
        bad=1
    fi
}
forbid runtime/base '(agent|cli|proto|scheduler|runtime/(container|keeper|image|net))/|[a-z]+\.pb-c'
forbid proto '(agent|cli|scheduler|runtime/(container|keeper|image|net))/'
forbid runtime '(agent|cli|scheduler)/'
forbid scheduler '(agent|cli|runtime/(container|keeper|image|net))/'
forbid agent '(cli|scheduler)/'
forbid cli '(agent|scheduler|runtime/(container|keeper|image|net))/'
if grep -rnE --include='*.[ch]' '^#include <nng/' . | grep -v '^./proto/bus/\|^./build'; then
    echo "  ^ only proto/bus knows nng"
    bad=1
fi
if grep -rnE --include='*.[ch]' '^#include <raft' . | grep -v '^./scheduler/raft/\|^./build'; then
    echo "  ^ only scheduler/raft knows raft"
    bad=1
fi
exit $bad
