#!/bin/bash
# Apps up and down in a loop, each under a name of its own, and exec in a loop: afterwards nothing has grown. Memory,
# descriptors and threads of each process, cgroups (dying ones too), mounts, links, conntrack entries, rules, log
# directories and the scheduler's state are what they were.
#
# The long form: ORLOP_CHURN_SECONDS=1800 ORLOP_CHURN_APPS=100 ORLOP_CHURN_EXECS=5000 (default 8 s, 2 apps, 100).
. "$(dirname "$0")/../lib/node.sh"
seconds=${ORLOP_CHURN_SECONDS:-8} apps=${ORLOP_CHURN_APPS:-2} execs=${ORLOP_CHURN_EXECS:-100}
all_roles="anchor keeper proxy agent scheduler"
cd "$test_dir" || exit 1
node_start
import busybox
cat >compose.yaml <<'YAML'
services:
  web:
    image: busybox
    init: true
    # The page cache of /file is the cgroup's: what keeps dying ones alive.
    command: ["sh", "-c", "head -c 1000000 /dev/zero >/file; exec httpd -f -p 80 -h /"]
    deploy: {replicas: 2}
    volumes: ["data:/data"]
    mem_limit: 64m
  job:
    image: busybox
    command: ["sh", "-c", "until wget -q -O /dev/null http://web/file; do usleep 50000; done"]
volumes:
  data: {}
YAML
# once: all apps up, used, down
once() {
    local i app
    rounds=$((rounds + 1))
    for i in $(seq "$apps"); do orlop up -d -p "churn$rounds-$i" >out 2>&1 || fail "up: $(cat out)"; done
    for i in $(seq "$apps"); do
        app=churn$rounds-$i
        done_with() { orlop ps -a -p "$app" | grep -q 'Exited (0)'; }
        wait_until 120 done_with || fail "$app: $(orlop ps -a -p "$app"; orlop why -p "$app" job)"
        expect_code 3 orlop exec -p "$app" web sh -c 'exit 3'
        started=$((started + 3))
    done
    for i in $(seq "$apps"); do orlop down -v -p "churn$rounds-$i" >out 2>&1 || fail "down: $(cat out)"; done
}
# Cgroups that are deleted, but that the kernel still has. On v2 those below ours. On v1 only the machine's are
# counted: in the long form, which is alone there.
dying() {
    local ours
    ours=$(find /sys/fs/cgroup -maxdepth 3 -path '*orlop*' -name cgroup.stat | head -n 1)
    if grep -q '^0::/' /proc/self/cgroup && [ "$(wc -l </proc/self/cgroup)" = 1 ]; then
        sed -n 's/^nr_dying_descendants //p' "$ours"
    elif [ -n "${ORLOP_CHURN_SECONDS-}" ]; then
        echo $(($(awk '$1 == "memory" {print $3}' /proc/cgroups) - $(find /sys/fs/cgroup/memory -type d | wc -l)))
    else
        echo 0
    fi
}
# What must not grow, a line each: name and number.
counts() { list_counts | sort; }
list_counts() {
    local r pid
    for r in $all_roles; do
        pid=$(holder "$r")
        echo "$r-fds $(find "/proc/$pid/fd" -mindepth 1 | wc -l)"
        echo "$r-threads $(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)"
    done
    echo "mounts $(wc -l <"/proc/$(holder agent)/mountinfo")"
    echo "cgroups $(find /sys/fs/cgroup -type d -path '*orlop*' 2>/dev/null | wc -l)"
    echo "links $(ip -o link show | wc -l)"
    echo "routes $(ip route show table all | wc -l)"
    echo "rules $(nft list ruleset | wc -l)"
    echo "conntrack $(conntrack -L 2>/dev/null | grep -vc 'src=127')"
    echo "volumes $(orlop volume ls -q 2>/dev/null | wc -l)"
    echo "files $(find "$ORLOP_STATE_DIR" "$ORLOP_RUN_DIR" -mindepth 1 -not -path '*/raft/*' | wc -l)"
}
no_more() { counts >after && join before after | awk '$3 > $2 {print; bad = 1} END {exit bad}' >grown; }
# not_grown WHAT: a while for what is torn down behind an answer
not_grown() { wait_until 30 no_more || fail "after $1 (name, before, after): $(cat grown)"; }
pss() { awk '/^Pss:/ {print $2}' "/proc/$(holder "$1")/smaps_rollup"; }
snapshot_bytes() { find "$ORLOP_STATE_DIR/raft" -name 'snapshot-*' ! -name '*.meta' -printf '%T@ %s\n' | sort -n | tail -n 1 | cut -d' ' -f2; }

rounds=0 started=0
once
once # caches are warm, the threads of the pools are there
read -rt 1 <> <(:)
counts >before
declare -A pss_before
for r in $all_roles; do pss_before[$r]=$(pss "$r"); done
dying_before=$(dying) snapshot_first="" started=0 first=$rounds
until=$((SECONDS + seconds))
while [ $SECONDS -lt $until ]; do
    once
    [ -n "$snapshot_first" ] || snapshot_first=$(snapshot_bytes)
done
echo "$((rounds - first)) rounds of $apps apps, $started containers"
not_grown "$rounds rounds"

orlop up -p x >out 2>&1 || fail "up: $(cat out)"
counts >before
for i in $(seq "$execs"); do [ "$(orlop exec -p x web echo "$i")" = "$i" ] || fail "exec $i"; done
not_grown "$execs execs"
orlop down -v -p x >out 2>&1 || fail "down: $(cat out)"

echo "$(tr '\n' ' ' <after)"
echo "dying cgroups: $dying_before, then $(dying)"
few_die() { [ "$(dying)" -le $((dying_before + started / 4 + 20)) ]; }
wait_until 30 few_die || fail "cgroups are deleted, but not freed: $dying_before, then $(dying)"
# An allocator's slack is no growth; what grows with each container is.
for r in $all_roles; do
    now=$(pss "$r")
    echo "PSS of $r: ${pss_before[$r]} KiB, then $now KiB"
    [ "$now" -le $((pss_before[$r] * 3 / 2 + 2048)) ] || fail "$r grows: ${pss_before[$r]} KiB, then $now KiB"
done
if [ -n "$snapshot_first" ]; then
    echo "the scheduler's state: $snapshot_first bytes, then $(snapshot_bytes)"
    [ "$(snapshot_bytes)" -le $((snapshot_first * 2 + 65536)) ] || fail "the scheduler's state grows"
fi
node_stop
