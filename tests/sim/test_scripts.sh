#!/bin/bash
# usage: test_scripts.sh SIM: every golden trace of scenarios/ is what the code does.
cd "$(dirname "$0")/scenarios" || exit 1
bad=0
for f in *.txt; do
    "$1" --script "$f" >/tmp/.orlop-sim-$$ || {
        echo "$f: the trace is another:"
        tail -n +2 /tmp/.orlop-sim-$$ | diff "$f" - | head -20
        bad=1
    }
done
rm -f /tmp/.orlop-sim-$$
exit $bad
