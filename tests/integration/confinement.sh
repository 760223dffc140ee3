#!/bin/bash
# What a container sees and may do: identity, capabilities, read-only root, tmpfs, secrets, limits of
# resources, and that the machine's own files are out of its reach.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/c
mkdir "$app" "$app/shared"
cd "$app" || exit 1
node_start
import busybox
echo topsecret >secret
echo fromhost >shared/file
cat >compose.yaml <<'YAML'
name: c
services:
  tight:
    image: busybox
    command: ["sleep", "inf"]
    init: true
    user: "1000:2000"
    hostname: tight-host
    working_dir: /made/for/it
    read_only: true
    cap_drop: [ALL]
    tmpfs: ["/scratch:size=1m,mode=1777"]
    ulimits: {nofile: {soft: 100, hard: 200}, core: 0}
    environment: {SPACES: "b c", EMPTY: ""}
    secrets: [s]
    configs: [{source: c, target: /etc/app.conf, uid: "1000", gid: "2000", mode: 0440}]
  plain:
    image: busybox
    command: ["sleep", "inf"]
    init: true
    volumes: ["./shared:/shared:ro"]
secrets: {s: {file: ./secret}}
configs: {c: {content: "key = $${value}\n"}}
YAML
orlop up >/dev/null 2>&1 || fail "up: $(orlop why c)"
in_tight() { orlop exec tight sh -c "$1" 2>&1; }
in_plain() { orlop exec plain sh -c "$1" 2>&1; }

expect identity "1000 2000" "$(in_tight 'echo $(id -u) $(id -g)')"
expect hostname "tight-host tight-host" "$(in_tight 'echo $(hostname) $(cat /etc/hostname)')"
expect "working directory" /made/for/it "$(in_tight pwd)"
expect environment "b c||" "$(in_tight 'echo "$SPACES|$EMPTY|"')"
expect "no environment of ours" "" "$(in_tight 'env | grep -i orlop')"
expect limits "100 200 0" "$(in_tight 'echo $(ulimit -Sn) $(ulimit -Hn) $(ulimit -c)')"
expect capabilities "0000000000000000 0000000000000000" \
    "$(in_tight 'echo $(sed -n "s/^Cap\(Eff\|Bnd\):\t//p" /proc/1/status)')"
expect "new privileges, seccomp" "1 2" "$(in_tight 'echo $(sed -n "s/^\(NoNewPrivs\|Seccomp\):\t//p" /proc/self/status)')"
expect_match "root is read-only" "Read-only file system" "$(in_tight 'touch /x')"
expect tmpfs "1" "$(in_tight 'dd if=/dev/zero of=/scratch/f bs=64k count=17 2>/dev/null; du -m /scratch/f | cut -f1')"
expect secret "topsecret" "$(in_tight 'cat /run/secrets/s')"
expect config 'key = ${value} 440 1000 2000' "$(in_tight 'echo $(cat /etc/app.conf; stat -c "%a %u %g" /etc/app.conf)')"
expect "pid 1 and its child only" "1 2" "$(in_tight 'cd /proc; for p in [0-9]*; do [ $p -lt 3 ] && echo -n "$p "; done' | sed 's/ $//')"

expect "read-only bind" "fromhost" "$(in_plain 'cat /shared/file')"
expect_match "read-only bind written" "Read-only file system" "$(in_plain 'echo x >/shared/file')"
# Root in a container is not root of the machine.
for what in 'mount -t tmpfs x /mnt' 'unshare -m true' 'echo 1 >/proc/sys/kernel/panic' \
    'echo b >/proc/sysrq-trigger' 'hostname other' 'mknod /d b 8 0 && cat /d' 'chroot /proc/1/root/../.. true && ls /work' \
    'dmesg' 'ip link add d type dummy' 'reboot -f' 'mkdir /sys/fs/cgroup/cpu/x' 'nsenter -t 1 -m -r/ true'; do
    out=$(in_plain "($what) >/dev/null 2>&1 && echo DONE")
    [ "$out" = "" ] || fail "a container could: $what ($out)"
done
# What is masked holds nothing of the machine's.
expect "masked files" "" "$(in_plain 'cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | head -c 10')"
expect "masked folders" "" "$(in_plain 'ls -A /sys/firmware; ls -A /proc/acpi 2>/dev/null')"
# No descriptor of ours: 0, 1, 2 and the one that ls reads with.
expect "descriptors" "0 1 2 3" "$(in_plain 'ls /proc/self/fd' | tr '\n' ' ' | sed 's/ $//')"
orlop down >/dev/null 2>&1 || fail down
node_stop
