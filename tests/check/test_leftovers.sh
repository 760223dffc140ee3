#!/bin/bash
# Plants one thing of each kind and proves that the checker names it, and that it names nothing once the
# thing is gone. In a network namespace of its own; what is planted outside of that is removed by name.
set -eu
if [ "${1-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "SKIP: needs root"; exit 77; }
    exec unshare --net "$0" inside
fi
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d /tmp/plant-XXXXXX)
saved=$dir/saved
tag=orlop-plant-$$
failed=0
ip link set lo up

# What the checker names of KIND; of the kinds that the whole machine shares, only what was planted here:
# somebody else may be working.
found() { # KIND
    "$here/leftovers" compare "$saved" "$1" >"$dir/all" || true # first all: a grep beside it would be found
    case $1 in
    process | cgroup | mount | namespace | file) grep -e "$tag" -e "$dir" "$dir/all" ;;
    *) grep . "$dir/all" ;;
    esac
}

check() { # KIND PLANT REMOVE
    "$here/leftovers" save "$saved" "$1"
    eval "$2" >/dev/null 2>"$dir/err" || { echo "cannot plant a $1: $(cat "$dir/err")"; failed=1; return; }
    if ! found "$1" >"$dir/found"; then
        echo "not found: a planted $1"
        failed=1
    fi
    eval "$3" >/dev/null
    if found "$1" >"$dir/found"; then
        echo "still found after its removal: $(cat "$dir/found")"
        failed=1
    fi
}

cgroup_of() { awk -v fs="$1" '$0 ~ (" - " fs " ") {print $5; exit}' /proc/self/mountinfo; }
# A process that waits for its own end of a pipe: no sleep, gone with the descriptor.
start_process() { exec {hold}> >(exec -a "$tag" cat >/dev/null); process=$!; until grep -q "$tag" "/proc/$process/cmdline"; do :; done; }
stop_process() { exec {hold}>&-; while [ -d "/proc/$process" ]; do :; done; }

check process start_process stop_process
for fs in cgroup cgroup2; do
    m=$(cgroup_of $fs)
    [ -z "$m" ] || check cgroup "mkdir $m/$tag" "rmdir $m/$tag"
done
check mount "mkdir -p $dir/m && mount -t tmpfs orlop $dir/m" "umount $dir/m"
check namespace "ip netns add $tag" "ip netns del $tag"
check link "ip link add olplant type bridge" "ip link del olplant"
check address "ip address add 10.255.254.1/32 dev lo" "ip address del 10.255.254.1/32 dev lo"
check route "ip route add unreachable 10.255.0.0/16" "ip route del unreachable 10.255.0.0/16"
check rule "ip rule add pref 4242 fwmark 0x4f000001 lookup 10001" "ip rule del pref 4242"
check sysctl "echo 1 >/proc/sys/net/ipv4/conf/lo/proxy_arp" "echo 0 >/proc/sys/net/ipv4/conf/lo/proxy_arp"
check nft "nft add table inet orlop" "nft delete table inet orlop"
check conntrack "conntrack -I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport 4242 --dport 4243 -t 60" "conntrack -D -p udp --sport 4242"
check socket "exec {sock}> >(exec nc -l -u 127.0.0.1 4244 >/dev/null 2>&1); nc_pid=\$!; until ss -Hlnu | grep -q 4244; do :; done" "kill \$nc_pid; while ss -Hlnu | grep -q 4244; do :; done; exec {sock}>&-"
check file "touch /run/$tag" "rm /run/$tag"

rm -r "$dir"
exit "$failed"
