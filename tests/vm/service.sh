#!/bin/bash
# tests/vm/service.sh STEP: in the guest, Orlop as it is installed, under systemd. The steps run in the order of the
# list `tests`; what one leaves the next one finds, also after a reboot.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib/expect.sh"
work=/root/service
count=$work/count shop=$work/shop
mkdir -p "$count"
at_end() {
    [ $? = 0 ] || { systemctl --no-pager status orlop orlop-drain; journalctl --no-pager -n 40; tail -n 20 /run/orlop/logs/*.log; }
}
trap at_end EXIT

main_pid() { systemctl show -P MainPID orlop; }
# Processes of the unit's cgroup, "ROLE PID" a line: without a fork, for who must be quick. An agent's helpers have no role.
unit=/sys/fs/cgroup/system.slice/orlop.service
role_pids() {
    local p words
    while read -r p; do
        mapfile -d '' -t words <"/proc/$p/cmdline" && [[ ${words[1]-} = [a-z]* ]] && echo "${words[1]} $p"
    done 2>/dev/null <$unit/cgroup.procs
}
roles() { role_pids | cut -d ' ' -f 1 | sort | paste -sd ' '; }
role_pid() { role_pids | sed -n "s/^$1 //p"; }
started() { echo "$1 $(awk '{print $22}' "/proc/$1/stat" 2>/dev/null)"; } # a process, not only its number
containers() { # "NAME PID START" a line
    local app name pid
    for app in shop count; do
        { orlop ps --format json -p $app | tr -d ' \n'; echo; } | sed 's/},{/}\n{/g' | sed -n 's/.*"name":"\([^"]*\)".*"pid":\([0-9]*\).*/\1 \2/p'
    done | sort | while read -r name pid; do echo "$name $(started "$pid")"; done
}
n_containers=7
running() { [ "$(containers | grep -Ec ' [0-9]+ [0-9]+$')" = $n_containers ]; }
all_live() { # those that were saved, asked of the kernel
    local name pid ticks
    while read -r name pid ticks; do
        [ "$(started "$pid")" = "$pid $ticks" ] || { echo "$name is gone"; return 1; }
    done <$work/containers
}
visits() { curl -fsS --max-time 20 http://127.0.0.1:8080/api/ | sed -n 's/.*"visits": *\([0-9]*\).*/\1/p'; }
answers() { [ -n "$(visits)" ]; }
is_active() { [ "$(systemctl is-active orlop)" = active ]; }
known() { [ "$(containers)" = "$(cat $work/containers)" ]; }
# The same containers, the same processes, and they answer.
unharmed() {
    all_live || fail "after $1: a container is gone"
    wait_until 120 answers || fail "after $1: the shop does not answer"
    wait_until 120 known || fail "after $1: ps says $(containers)"
    wait_until 60 eval '[ "$(roles)" = "agent anchor keeper proxy scheduler" ]' || fail "after $1: these run: $(roles)"
}

start() {
    systemctl enable --now orlop || fail "systemctl enable --now orlop"
    wait_until 60 eval 'orlop node ls | grep -q up' || fail "no node"
    for image in busybox nginx redis shop-api; do
        orlop image import "$ORLOP_TEST_IMAGES/$image.tar" $image >/dev/null || fail "import $image"
    done
    cp -r "$here/../../deploy/examples/shop" $shop
    patient $shop/compose.yaml
    cat >$count/compose.yaml <<'YAML'
name: count
services:
  count:
    image: busybox
    command: ["sh", "-c", "i=0; while :; do echo line $$i; i=$$((i+1)); usleep 100000; done"]
    restart: unless-stopped
  polite: # told to end by its own signal only, and it takes its time
    image: busybox
    stop_signal: SIGUSR1
    command: ["sh", "-c", "trap 'usleep 500000; echo bye >> /log/said; exit 0' USR1; trap '' TERM; echo hello >> /log/said; while :; do usleep 50000; done"]
    volumes: ["log:/log"]
    restart: unless-stopped
volumes:
  log: {}
YAML
    (cd $count && orlop up --wait) || fail "up count"
    (cd $shop && orlop up --wait) || fail "up shop"
    wait_until 60 answers || fail "the shop does not answer"
    containers >$work/containers
    running || fail "not $n_containers containers: $(cat $work/containers)"
    # Where things lie: containers in a folder of their own, our processes in the unit, without sub-groups.
    expect "sub-groups of the unit" "" "$(find $unit -mindepth 1 -type d)"
    expect "processes of the unit" "agent anchor keeper proxy scheduler" "$(roles)"
    for pid in $(cut -d ' ' -f 2 $work/containers); do
        expect_match "cgroup of $pid" '^0::/orlop/' "$(cat "/proc/$pid/cgroup")"
    done
    for role in $(cat $unit/cgroup.procs); do
        [ "$(awk '/Max open files/ {print $5}' "/proc/$role/limits")" -ge 524288 ] || fail "open files of $role: $(cat "/proc/$role/limits")"
    done
    expect_code 1 orlop dev --stop
    expect_match "dev --stop under systemd" "systemctl stop orlop" "$out"
}

restart() {
    systemctl restart orlop || fail "systemctl restart"
    unharmed "a restart"
}

stop_start() {
    systemctl stop orlop || fail "systemctl stop"
    all_live || fail "a container ended with the service"
    expect "how it ended" success "$(systemctl show -P Result orlop)"
    expect "roles after stop" keeper "$(roles)"
    systemctl start orlop || fail "systemctl start"
    unharmed "stop and start"
}

# systemd starts the new anchor, and not the keeper; more often than a start limit would allow.
anchor_killed() {
    keeper=$(role_pid keeper) agent=$(role_pid agent)
    for _ in 1 2 3 4 5 6; do
        old=$(role_pid anchor)
        [ "${old:-0}" -gt 1 ] || fail "no anchor: $(roles)"
        kill -9 "$old"
        another() { local now; now=$(role_pid anchor) && [[ $now =~ ^[0-9]+$ && $now != "$old" ]]; } # one, also between fork and exec
        wait_until 60 another || fail "systemd did not start another anchor"
    done
    wait_until 60 is_active || fail "not active after the anchor's deaths"
    unharmed "the anchor's deaths"
    expect "the keeper" "$keeper" "$(role_pid keeper)"
    expect "the agent" "$agent" "$(role_pid agent)"
    expect "the new anchor's parent" 1 "$(awk '{print $4}' "/proc/$(main_pid)/stat")"
}

# New files under the old names, as dpkg puts them there, and a restart.
upgrade() {
    for file in /usr/bin/orlop /usr/libexec/orlop/orlop-keeper; do
        cp $file $file.new
        echo new >>$file.new
        mv -f $file.new $file
    done
    keeper=$(role_pid keeper)
    systemctl restart orlop || fail "systemctl restart"
    unharmed "an upgrade"
    wait_until 60 cmp "/proc/$keeper/exe" /usr/libexec/orlop/orlop-keeper || fail "the keeper runs from another file"
    expect "the keeper" "$keeper" "$(role_pid keeper)"
    unharmed "the keeper's upgrade"
    for role in anchor proxy; do expect "$role runs from" /usr/libexec/orlop/orlop-keeper "$(readlink "/proc/$(role_pid $role)/exe")"; done
    for role in agent scheduler; do expect "$role runs from" /usr/bin/orlop "$(readlink "/proc/$(role_pid $role)/exe")"; done
    # The keeper still learns how containers of before end: kernel 6.1 tells nobody but the parent.
    kill -KILL "$(sed -n 's/^count-polite-1 \([0-9]*\) .*/\1/p' $work/containers)"
    wait_until 60 grep -q 'name=count-polite-1 .*reason="killed by signal 9' /run/orlop/logs/agent.log || fail "nobody knows how it was killed"
    wait_until 60 eval '[ "$(said)" = "hello hello" ]' || fail "the killed one does not run again: $(said)"
    (cd $count && orlop exec -T polite sh -c 'echo hello >/log/said') || fail "exec in the one that was killed"
    containers >$work/containers
    # The new agent and the keeper work together.
    (cd $shop && orlop scale api=4 --wait >/dev/null) || fail "scale after an upgrade"
    expect "exec after an upgrade" hello "$(cd $shop && orlop exec -T redis echo hello)"
    (cd $shop && orlop scale api=3 --wait >/dev/null) || fail "scale back after an upgrade"
    unharmed "scale"
}

# What others do to the machine: limits stay, an OOM kill beside us does not stop the service.
foreign() {
    limits() { cat /sys/fs/cgroup/orlop/*/{cpu,memory,pids}.max | sort | uniq -c; }
    before=$(limits) main=$(main_pid)
    systemctl daemon-reload && systemctl daemon-reexec || fail "daemon-reexec"
    systemd-run --quiet --wait -p CPUQuota=20% -p IOWeight=50 true || fail "systemd-run"
    systemctl daemon-reload
    expect "limits" "$before" "$(limits)"
    expect_match "a limit of half a CPU" "50000 100000" "$before"
    systemctl set-property --runtime orlop.service MemoryMax=200M
    sh -c 'echo $$ >"$1/cgroup.procs"; exec dd if=/dev/zero of=/dev/null bs=400M' hog $unit
    systemctl set-property --runtime orlop.service MemoryMax=infinity
    grep -q '^oom_kill [1-9]' $unit/memory.events || fail "nothing was OOM killed"
    unharmed "an OOM kill"
    expect "the main process" "$main" "$(main_pid)"
}

# Over all of the above: no line lost or doubled. What is to be there after the reboot.
lines() {
    (cd $count && orlop logs --no-log-prefix count) >$work/lines || fail logs
    awk '$1 != "line" || $2 != NR - 1 {print "line " NR ": " $0; exit 1}' $work/lines || fail "a line is lost or doubled"
    [ "$(wc -l <$work/lines)" -gt 50 ] || fail "too few lines: $(wc -l <$work/lines)"
    visits >$work/visits
    [ "$(cat $work/visits)" -gt 0 ] || fail "no visits"
}

back() {
    wait_until 180 is_active || fail "systemd did not start it"
    wait_until 180 answers || fail "the shop is not back"
    [ "$(visits)" -gt "$(cat $work/visits)" ] || fail "visits went back: $(visits), before $(cat $work/visits)"
    wait_until 180 running || fail "not all are back: $(containers)"
}
said() { (cd $count && orlop exec -T polite cat /log/said) | paste -sd ' '; }

# Shut down: every container was stopped by its own signal, and had its time.
rebooted() {
    back
    wait_until 60 eval '[ "$(said | wc -w)" = 3 ]'
    expect "what the polite one said" "hello bye hello" "$(said)"
    visits >$work/visits
    sync # appendfsync everysec: the next power cut may take the last second
}

power_cut() {
    back
    wait_until 60 eval '[ "$(said | wc -w)" = 4 ]'
    expect "what the polite one said" "hello bye hello hello" "$(said)"
}

removed() {
    (cd $shop && orlop down -v >/dev/null) || fail "down shop"
    (cd $count && orlop down -v >/dev/null) || fail "down count"
    systemctl disable --now orlop || fail "disable"
    orlop dev --stop || fail "dev --stop"
    expect "cgroups" "" "$(find /sys/fs/cgroup/orlop $unit -type d 2>/dev/null)"
    expect "tables" "" "$(nft list tables | grep orlop)"
    expect "links" "" "$(ip -o link show | grep -o 'ol[vg][^:@]*')"
    expect "mounts" "" "$(grep -E ' /(var/lib|run)/orlop' /proc/self/mounts)"
    expect "processes" "" "$(find /proc -maxdepth 2 -name exe -exec readlink {} + 2>/dev/null | grep orlop)"
}

"$1"
