#!/bin/bash
# deploy/quickstart, twice, then `orlop dev --stop` leaves nothing.
. "$(dirname "$0")/../lib/node.sh"
for round in 1 2; do
    "$test_root/deploy/quickstart" >"$test_dir/out" 2>&1 || fail "round $round: $(tail -20 "$test_dir/out")"
    expect "replicas in round $round" 3 "$(sed -n 's/.*"replica": *"\([^"]*\)".*/\1/p' "$test_dir/out" | sort -u | wc -l)"
done
node_stop
