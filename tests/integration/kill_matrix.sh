#!/bin/bash
# SIGKILL to each of Orlop's processes at random moments while containers write, end and restart, and the user
# works: first one or two at a time, never anchor and keeper both; then all five at once as well; then a power cut.
#
# After each: every line once and in order, exit codes as they were, no start doubled, addresses and ports unique,
# all that is wanted runs and nothing else. Only what ended while anchor and keeper both lacked may have lost its
# last lines and its exit code, and says so.
#
# The first line of its output plays the same moments again. The long form: tests/README.md.
. "$(dirname "$0")/../lib/node.sh"
seed=${ORLOP_KILL_SEED:-$(($(date +%s%N) % 1000000000))} kills=${ORLOP_KILLS:-300} containers=${ORLOP_KILL_CONTAINERS:-28}
echo "ORLOP_KILL_SEED=$seed ORLOP_KILLS=$kills ORLOP_KILL_CONTAINERS=$containers kill_matrix.sh"
tools=$ORLOP_BUILD/tests/integration
app=$test_dir/m
out=$app/out # what numbered.c says itself
gaps=$test_dir/gaps
steady=$((containers / 3)) ends=$((containers / 4)) again=$((containers / 6))
want=$((steady + 4)) # tasks that run all the time; beside them come and go those of `again`
export ORLOP_TEST_SNAPSHOT_ENTRIES=64 # many of them, so that some are cut off
mkdir -p "$out" "$test_dir/image/out"
cp "$tools/numbered" /bin/busybox "$test_dir/image/" || exit 1
: >"$gaps"
cd "$app" || exit 1

common='image: numbered, stop_grace_period: 1s'
numbered="$common, volumes: ['$out:/out'], logging: {options: {max-size: 256k, max-file: '1000'}}"
cat >compose.yaml <<YAML
name: m
services:
  steady: {$numbered, command: [/numbered, "0", "5000", "0"], restart: unless-stopped, deploy: {replicas: $steady}}
  churn: {$numbered, command: [/numbered, "0", "5000", "0"], restart: unless-stopped, deploy: {replicas: 2}}
  again:
    {$numbered, command: [/numbered, "40", "4000", "0"],
     deploy: {replicas: $again, restart_policy: {condition: any, delay: 300ms}}}
  web:
    {$common, command: [/busybox, nc, -ll, -p, "80", -e, /busybox, hostname], restart: unless-stopped,
     ports: ["127.0.0.1:8090:80", "8091:80"], deploy: {replicas: 2}}
YAML
# app_of NAME CODE: tasks without a restart policy; each ends at a time of its own, with CODE plus its number (0: with 0).
app_of() {
    cat >"$test_dir/$1.yaml" <<YAML
name: $1
services:
  ends: {$numbered, command: [/numbered, "150", "6000", "$2"], deploy: {replicas: $ends}}
YAML
}
# One line a task.
rows() { orlop ps -a -p "$1" --format json | tr -d '\n' | sed 's/}, *{/}\n{/g; s/$/\n/'; }
lasting() { rows m | grep -v '"service": *"again"' | grep '"state": *"running"'; }
number() { sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9]*\).*/\1/p"; }
# Until it is done: who does it may be dead just now.
insist() {
    for _ in $(seq 40); do timeout 100 "$ORLOP_BUILD/cli/orlop" "$@" >"$test_dir/insist" 2>&1 && return; done
    fail "orlop $*: $(cat "$test_dir/insist")"
}

# --- the user's work meanwhile. It may fail; a crash or a hang of the command line may not be.
try() { # COMMAND...
    local code=0
    timeout 100 "$@" >"$said" 2>"$said.err" || code=$?
    [ $code -lt 124 ] || [ $code = 137 ] || echo "$code: $*: $(head -c 300 "$said" "$said.err")" >>"$test_dir/broken"
    return $code
}
user() { try "$ORLOP_BUILD/cli/orlop" "$@" </dev/null; }
# What an exec'ed process wrote: a beginning of its lines, each once; all of them, and its code, unless it was cut off.
exec_one() { # -t|-T
    local code=0
    echo >>"$test_dir/execs"
    try "$ORLOP_BUILD/tests/lib/ptyrun" 24 80 "$ORLOP_BUILD/cli/orlop" exec "$1" --index $((RANDOM % steady + 1)) steady /busybox sh -c \
        'echo >>/out/execs; i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; exit 42' <<<rest || code=$?
    grep -a '^line' "$said" | tr -d '\r' | awk -v code=$code '$2 != NR - 1 {bad = 1} END {exit bad || (code == 42 && NR != 200)}' ||
        echo "exec $1 ($code): $(head -c 2000 "$said")" >>"$test_dir/broken"
}
work() { # NUMBER
    local said=$test_dir/said.$1
    RANDOM=$((seed % 32768 + $1))
    until [ -e "$test_dir/enough" ]; do
        case $((RANDOM % 14)) in
        0 | 1) user scale -p m -d churn=$((RANDOM % 4)) ;;
        2) user up -d -f "$test_dir/other.yaml" ;;
        3) user down -p other ;;
        4) user restart -p m -d churn ;;
        5) user image import "$test_dir/image" "image$((RANDOM % 3))" ;;
        6) user image rm "image$((RANDOM % 3))" ;;
        7) nft flush ruleset ;;
        8 | 9 | 10) exec_one -t ;;
        *) exec_one -T ;;
        esac
    done
    return 0
}
# at_work COMMAND...: while two users work; what they leave is brought into order.
at_work() {
    local workers=() w
    rm -f "$test_dir/enough"
    for w in 1 2; do work $w & workers+=($!); done
    "$@"
    touch "$test_dir/enough"
    for w in "${workers[@]}"; do wait "$w" || fail "a user's work ended with $?"; done
    [ ! -e "$test_dir/broken" ] || fail "$(cat "$test_dir/broken")"
    insist scale -p m churn=2
    insist down -p other
}

# --- what is right
# The kernel tells the exit code of a process that is no child of ours since 6.15; before, it may be lost with the keeper.
untold=both
[ "$(printf '6.15\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.15 ] || untold=keeper
may_be_unknown() { awk -v kind=$untold -v t="$1" '$1 == kind && t > $2 - 3e9 && t < $3 {found = 1} END {exit !found}' "$gaps"; }
# What had ended by now; its last lines may be on their way for a moment, what is lost stays lost.
check_lines() { # APP SERVICE
    cp "$out/events" "$test_dir/events"
    complete() {
        orlop logs --no-log-prefix -p "$1" "$2" >"$test_dir/lines" 2>/dev/null &&
            awk -v gaps="$gaps" -v events="$test_dir/events" -v name="$1-$2-" \
                -f "$test_root/tests/integration/kill_lines.awk" "$test_dir/lines" >"$test_dir/verdict"
    }
    wait_until 10 complete "$1" "$2" || fail "a line is lost or doubled: $(cat "$test_dir/verdict")"
    lines=$((lines + $(cat "$test_dir/verdict")))
}
check_ends() { # APP
    local row host code t own
    all() { [ "$(rows "$1" | grep -Ec '"state": *"(complete|failed)"')" = "$ends" ]; }
    wait_until 90 all "$1" || fail "$1: not all ended: $(orlop ps -a -p "$1")"
    while read -r row; do
        host=$(sed -n 's/.*"name": *"\([^"]*\)".*/\1/p' <<<"$row")
        code=$(number exit_code <<<"$row")
        read -r _ _ _ t _ own < <(grep "^end $host " "$out/events") || fail "$host has not ended by itself: $row"
        expect "starts of $host" 1 "$(stat -c %s "$out/$host.starts")"
        codes=$((codes + 1))
        if [ -n "$code" ]; then
            expect "exit code of $host" "$own" "$code"
        else
            grep -q 'exit unknown' <<<"$row" || fail "$host: no code and no word about it: $row"
            may_be_unknown "$t" || fail "the exit code of $host is lost: $row"
            unknown=$((unknown + 1))
        fi
    done < <(rows "$1")
}
between() { [ "$1" -ge "$want" ] && [ "$1" -le $((want + again)) ]; }
cgroups() { between "$(node_cgroups -mindepth 1 -type d -name '*.*-*' -printf '%f\n' | sort -u | wc -l)"; }
links() { between "$(ip -o link show | grep -c ' olv')"; }
# At most as many descriptors as at the start, but for those of the tasks that come and go.
descriptors() { for r in anchor keeper proxy scheduler agent; do echo "$r $(ls "/proc/$(holder $r)/fd" | wc -l)"; done; }
few_descriptors() { descriptors | awk -v room=$((8 * again)) 'NR == FNR {n[$1] = $2; next} $2 > n[$1] + room {exit 1}' "$test_dir/descriptors" -; }
answers() { timeout 5 nc 127.0.0.1 "$1" </dev/null | grep -q '^m-web-'; }
runs() { [ "$(lasting | wc -l)" = "$want" ]; }
check_runs() { wait_until 120 runs || fail "not all that is wanted runs: $(orlop ps -a -p m)"; }
check_machine() {
    local pids p
    check_runs
    pids=$(lasting | number pid)
    expect "addresses" "$want" "$(for p in $pids; do nsenter -t "$p" -n ip -o -4 address show scope global; done | awk '{print $4}' | sort -u | wc -l)"
    for p in 8090 8091; do wait_until 30 answers $p || fail "nobody answers on $p"; done
    wait_until 20 cgroups || fail "cgroups of $want tasks: $(node_cgroups -type d)"
    wait_until 20 links || fail "links of $want tasks: $(ip -o link show)"
    wait_until 30 few_descriptors || fail "descriptors, at first: $(cat "$test_dir/descriptors") now: $(descriptors)"
}
# No role has ended but by our hand, because it was told to, or because another one was there: an anchor that is
# killed just after it has forked a role leaves one that the next anchor does not know until that holds its lock.
ends_well() {
    local odd beside
    odd=$(grep -h 'ev=role.end' "$ORLOP_RUN_DIR/logs/anchor.log" | grep -v 'status=0x[09] ')
    beside=$(cat "$ORLOP_RUN_DIR"/logs/*.log | grep -cE "(keeper|proxy).lock is held by|another agent \(pid|a scheduler runs already")
    grep -v 'status=0x100 ' <<<"${odd:-status=0x100 }" && fail "a role ended by itself"
    [ "$(grep -c . <<<"$odd")" -le "$beside" ] || fail "a role ended by itself: $odd"
}

# --- the rows
kill_some() { # apart|all KILLS
    insist up -d -f "$test_dir/$1.yaml" &
    starting=$!
    "$tools/killer" "$ORLOP_RUN_DIR" $((seed + $2)) "$2" "$1" "$gaps" "$ORLOP_KEEPER" anchor --orlop "$ORLOP_BUILD/cli/orlop" \
        >"$test_dir/killed" 2>>"$ORLOP_RUN_DIR/logs/anchor.log" || fail "$1: $(cat "$test_dir/killed")"
    wait $starting || fail "$1: up"
    echo "$1: $(cat "$test_dir/killed")"
}
row() { # apart|all KILLS
    app_of "$1" 10
    at_work kill_some "$1" "$2"
    ends_well
    check_ends "$1"
    check_lines "$1" ends
    insist down -p "$1"
    check_machine
}
cut() { # MILLISECONDS from now
    read -rt "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))" <> <(:)
    read -r uptime _ </proc/uptime
    power_cut
    node_start
    awk -v from="$uptime" '{printf "both %.0f %.0f\n", from * 1e9, $1 * 1e9}' /proc/uptime >>"$gaps"
}

test_cleanup() { # after a failure somebody may be at work still
    touch "$test_dir/enough"
    wait
}
lines=0 codes=0 unknown=0 cuts=$((kills / 300))
node_start
orlop image import "$test_dir/image" numbered >/dev/null || fail "import"
app_of other 0
orlop up -d >"$test_dir/insist" 2>&1 || fail "up: $(cat "$test_dir/insist")"
check_runs
descriptors >"$test_dir/descriptors"
row apart $((kills / 2))
row all $((kills / 2))
RANDOM=$((seed % 32768))
for _ in $(seq $cuts); do
    at_work cut $((RANDOM % 2000))
    check_machine
done

check_lines m steady
check_lines m again
for i in $(seq $steady); do expect "starts of m-steady-$i" $((1 + cuts)) "$(stat -c %s "$out/m-steady-$i.starts")"; done
expect "doubled starts" "" "$(grep double "$out/events" | grep -v -e churn -e other)" # those: two tasks of one name, one of them leaving
[ "$(wc -l <"$out/execs")" -le "$(wc -l <"$test_dir/execs")" ] || fail "an exec ran twice"
echo "power cuts $cuts, lines $lines, exit codes $codes, of them unknown $unknown, execs $(wc -l <"$out/execs")"
# Stopped in good order while tasks end and start.
for _ in 1 2; do
    node_stop
    ends_well
    node_start
    check_machine
done
insist down
node_stop
ends_well
