#!/bin/bash
# R10, R11, I8, A3: what a running app may reach, and what may be reached of it; one node for all of them. Each
# row goes to its end, and is named when it fails.
. "$(dirname "$0")/lib.sh"
node_start
chmod 711 "$test_dir"
root_at "$test_dir/root"
import_root base "$test_dir/root"
chmod 4755 "$test_dir/root/bin/busybox"
import_root setuid "$test_dir/root"
start_app <<'YAML'
name: hostile
services:
  plain: {image: base, command: [/bin/sleep, inf]}
  tight:
    image: base
    command: [/bin/sleep, inf]
    user: "1000:2000"
    cap_drop: [ALL]
    read_only: true
    ulimits: {nofile: {soft: 100, hard: 200}, core: 0}
    deploy: {resources: {limits: {memory: 64m, pids: 50}}}
  more: {image: base, command: [/bin/sleep, inf], cap_add: [NET_ADMIN, SYS_PTRACE]}
  other:
    image: base
    command: [/bin/sleep, inf]
    cap_add: [NET_ADMIN, SYS_PTRACE, DAC_READ_SEARCH, SYS_RAWIO, SYS_NICE]
    deploy: {resources: {limits: {memory: 64m, pids: 50}}}
  setuid: {image: setuid, command: [/bin/sh, -c, "echo hello; sleep inf"], volumes: ["data:/data"], environment: {PASSWORD: x}}
  user: {image: setuid, command: [/bin/sh, -c, "echo hello; sleep inf"], user: "1000:1000"}
  web: {image: base, command: [/bin/sh, -c, "while :; do nc -l -p 80 </dev/null; done"], ports: ["127.0.0.1:8070:80"]}
volumes: {data: {}}
YAML

# An exec that enters less, or drops less, than its container (CVE-2026-109569): all that /proc tells of a
# process, of pid 1 and of an exec, must agree.
r10() {
    local one self
    # what PID: one line a fact
    what="p=\$1
for n in cgroup ipc mnt net pid user uts; do readlink /proc/\$p/ns/\$n; done
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Seccomp_filters|Sig(Blk|Ign)|Umask|Cpus_allowed|Mems_allowed|CoreDumping)' /proc/\$p/status
cat /proc/\$p/cgroup /proc/\$p/limits /proc/\$p/oom_score_adj
stat -L -c '%d:%i' /proc/\$p/root
readlink /proc/\$p/cwd
cat /proc/\$p/mountinfo
wc -l </proc/\$p/mountinfo"
    for service in plain tight more; do
        one=$(orlop exec -T $service /bin/sh -c "$what" what 1) || fail "look at pid 1 of $service"
        [ "$(wc -l <<<"$one")" -gt 60 ] || fail "too few facts: $one"
        self=$(orlop exec -T $service /bin/sh -c "$what" what self) || fail "look at an exec in $service"
        [ "$one" = "$self" ] || fail "$service: $(diff <(echo "$one") <(echo "$self"))"
        # The same on a terminal; what it says goes into a file, as a terminal's lines would be cut.
        "$ORLOP_BUILD/tests/lib/ptyrun" 24 80 "$ORLOP_BUILD/cli/orlop" exec -t $service \
            /bin/sh -c "($what) >/dev/shm/facts 2>&1" what self </dev/null || fail "an exec on a terminal of $service"
        self=$(orlop exec -T $service cat /dev/shm/facts)
        [ "$one" = "$self" ] || fail "$service, on a terminal: $(diff <(echo "$one") <(echo "$self"))"
    done
    # What nobody passes on: our environment, our descriptors, our session.
    export ORLOP_CANARY=canary-of-the-cli LD_LIBRARY_PATH=/canary
    expect "environment of an exec" "HOME PATH PWD SHLVL" \
        "$(orlop exec -T plain /bin/sh -c env | cut -d= -f1 | grep -v HOSTNAME | sort | tr '\n' ' ' | sed 's/ $//')"
    unset LD_LIBRARY_PATH
    expect "descriptors of an exec" "0 1 2" "$(orlop exec -T plain /bin/attack descriptors)"
}

# Out by way of cgroups (CVE-2022-0492, CVE-2023-25809): release_agent, a mount of one's own, "..", another
# group's processes. No way may be open to a default container, nor to one with other powers.
r11() {
    local before
    agents() { cat /sys/fs/cgroup/*/release_agent 2>/dev/null; }
    before=$(agents)
    for service in plain other; do
        expect "ways out of $service" "" "$(orlop exec -T $service /bin/attack cgroup 2>&1)"
        # The namespace hides where the group lies: no name of ours, no "..".
        expect "groups as $service sees them" "" \
            "$(orlop exec -T $service cat /proc/self/cgroup | grep -v ':/$')"
    done
    expect "release agents of the machine" "$before" "$(agents)"
    # It is the container's own limit that it sees.
    expect_match "limit of memory" '^67108864$' \
        "$(orlop exec -T other sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null')"
}

# What a local user can reach of our state (GO-2022-0938, GO-2024-2500, GO-2025-4100): nothing of the store,
# above all no set-user-id program of an image; nothing of logs, secrets, volumes.
i8() {
    local f streams pid
    orlop exec -T setuid sh -c 'cp /bin/busybox /data/su; chmod 4755 /data/su; chmod 777 /data' || fail "set up"
    # The bit is there, as the image says...
    [ -n "$(find "$ORLOP_STATE_DIR" -perm -4000 -type f)" ] || fail "no set-user-id file to protect"
    as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
    # ...and out of reach: by walking, and by its whole name.
    expect "walk of the state" "" "$(as_nobody find "$ORLOP_STATE_DIR" -mindepth 1 2>/dev/null)"
    find "$ORLOP_STATE_DIR" -type f -size -200k | head -n 2000 >"$test_dir/names"
    chmod 644 "$test_dir/names"
    expect "files of the state by name" "" \
        "$(as_nobody sh -c 'while read -r f; do [ ! -r "$f" ] || echo "$f"; done <'"$test_dir/names")"
    expect "run directory" "" "$(as_nobody find "$ORLOP_RUN_DIR" -type f -readable 2>/dev/null)"
    expect "run directory, to write" "" "$(as_nobody find "$ORLOP_RUN_DIR" -writable ! -type l 2>/dev/null)"
    # Nor to a local user whose number a container's user has, who owns the streams there.
    as_app() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
    streams=$(find "$ORLOP_RUN_DIR/fifo" -type p -uid 1000)
    [ -n "$streams" ] || fail "no stream belongs to user 1000"
    for f in $streams; do ! as_app test -r "$f" -o -w "$f" || fail "user 1000 of the machine reaches $f"; done
    # What is open at our processes is no way either.
    for pid in $(role_pids); do
        ! as_nobody ls "/proc/$pid/fd" >/dev/null 2>&1 || fail "nobody looks at descriptors of $pid"
        ! as_nobody cat "/proc/$pid/environ" >/dev/null 2>&1 || fail "nobody reads the environment of $pid"
    done
}

# Our sockets, from where they must not be reached (GO-2022-0784): no abstract ones, modes, another user, a
# container that scans its gateway and the host's addresses.
a3() {
    local s sockets gateway found
    expect "abstract sockets of this network namespace" "" "$(grep -o '@.*' /proc/net/unix)"
    sockets=$(find "$ORLOP_RUN_DIR" "$ORLOP_STATE_DIR" -type s)
    [ "$(wc -l <<<"$sockets")" -ge 3 ] || fail "where are the sockets? $sockets"
    for s in $sockets; do
        expect "mode and owner of $s" "600 0:0" "$(stat -c '%a %u:%g' "$s")"
        ! setpriv --reuid 65534 --regid 65534 --clear-groups nc -zU "$s" 2>/dev/null || fail "nobody may connect to $s"
    done
    # A wide-open mode is not all that is between us and another user: the peer's credentials are looked at.
    for s in keeper proxy hold; do
        s=$ORLOP_RUN_DIR/$s.sock
        [ -S "$s" ] || continue
        chmod 666 "$s"; chmod 711 "$ORLOP_RUN_DIR"
        expect "what a stranger is told by $s" "" \
            "$(setpriv --reuid 65534 --regid 65534 --clear-groups timeout 5 "$attack" knock "$s" 2>&1)"
        chmod 600 "$s"
    done
    # From inside: nothing of ours by name, and of the host's ports only what it may have.
    orlop exec -T more /bin/attack scan >"$test_dir/inside"
    expect "unix sockets in a container" "" "$(cat "$test_dir/inside")"
    gateway=$(orlop exec -T more ip route | awk '$1 == "default" { print $3 }')
    expect_match "a gateway" '^10\.' "$gateway"
    found=$(orlop exec -T more /bin/attack scan "$gateway" 127.0.0.1)
    expect "what the gateway answers on" "" "$(grep -vE ':53 answers|drops packets' <<<"$found")"
    # Listeners of this namespace: names, and the published port on the address that was written.
    expect "listeners" "" "$(ss -Hlnt | awk '{ print $4 }' | grep -vE '^10\.[0-9.]+(%[^:]*)?:53$|^127\.0\.0\.1:8070$')"
}

failed=
for row in R10 R11 I8 A3; do
    (${row,,}) || { echo "FAILED: $row"; failed="$failed $row"; }
done
orlop down -v >/dev/null 2>&1 || fail down
node_stop
[ -z "$failed" ] || fail "rows$failed"
