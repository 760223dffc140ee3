#!/bin/bash
# Keys of a Compose file as a container sees them: each is asked of the running task itself.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/k
mkdir "$app"
cd "$app" || exit 1
node_start
import busybox
cat >seccomp.json <<'JSON'
{
  "defaultAction": "SCMP_ACT_ALLOW",
  "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
  "syscalls": [
    {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
    {"names": ["rmdir", "unlinkat"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
    {"name": "socket", "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}
  ]
}
JSON
cat >compose.yaml <<'YAML'
name: k
x-box: &box {image: busybox, command: ["sleep", "inf"], init: true, stop_grace_period: 1s}
services:
  open: {<<: *box, command: ["cat"], stdin_open: true}
  shut: {<<: *box, command: ["cat"]}
  all:
    <<: *box
    user: "1000"
    group_add: [2000, "3000"]
    shm_size: 5m
    oom_score_adj: 321
    sysctls: {net.core.somaxconn: 77, kernel.shmmni: 99, net.ipv4.ip_forward: "1"}
    hostname: box
    domainname: example.org
    dns_search: [one.example, two.example]
    dns_opt: ["ndots:3", rotate]
  plain: *box
  device: {<<: *box, cap_add: [SYSLOG], devices: ["/dev/kmsg:/dev/messages:r"]}
  rule: {<<: *box, cap_add: [SYSLOG], device_cgroup_rules: ["c 1:11 r"]}
  norule: {<<: *box, cap_add: [SYSLOG], device_cgroup_rules: ["a 1:3 r"]}
  free: {<<: *box, security_opt: ["no-new-privileges:false", "seccomp:unconfined"]}
  filtered: {<<: *box, security_opt: ["seccomp=seccomp.json"], healthcheck: {test: mkdir /m && exit 5; true, interval: 1s}}
  all-of-it: {<<: *box, privileged: true, cap_drop: [SYS_BOOT]}
  pids: {<<: *box, pid: host, ipc: host, command: ["sh", "-c", "sleep 4321 & exec sleep inf"]}
  none: {<<: *box, network_mode: none}
  host: {<<: *box, network_mode: host, uts: host}
  named:
    <<: *box
    container_name: my-box
    labels: {tier: back}
    deploy: {mode: global, labels: ["team=a"], placement: {constraints: ["node.role == manager", "node.labels.gpu != true"]}}
  tool: {<<: *box, profiles: [tools]}
  job: {image: busybox, command: ["sh", "-c", "echo done"], deploy: {mode: replicated-job, replicas: 2}}
YAML
orlop up -d >/dev/null 2>"$test_dir/up" || fail "up: $(cat "$test_dir/up")"
running() { orlop ps "$1" | grep -q " Up "; }
for s in open all plain device rule norule free filtered all-of-it pids none host named; do wait_until 30 running $s || fail "$s: $(orlop why $s)"; done
in_() { orlop exec "$@"; }

# stdin_open: cat waits for ever; without it, it is at its end at once.
ended() { orlop ps -a shut | grep -q "Exited (0)"; }
wait_until 30 ended || fail "stdin of shut: $(orlop ps -a shut)"
running open || fail "stdin_open: $(orlop why open)"

expect groups "2000 3000" "$(in_ all id -G | tr ' ' '\n' | grep -v '^0$' | sort -n | tr '\n' ' ' | sed 's/ $//')"
expect "shm_size" "5120" "$(in_ all df -k /dev/shm | awk 'END {print $2}')"
expect "shm_size, default" "65536" "$(in_ plain df -k /dev/shm | awk 'END {print $2}')"
expect "oom_score_adj" 321 "$(in_ all cat /proc/1/oom_score_adj)"
expect "sysctl of the network" 77 "$(in_ all cat /proc/sys/net/core/somaxconn)"
expect "sysctl of IPC" 99 "$(in_ all cat /proc/sys/kernel/shmmni)"
expect "sysctl, ip_forward" 1 "$(in_ all cat /proc/sys/net/ipv4/ip_forward)"
expect "sysctl of the others" 0 "$(in_ plain cat /proc/sys/net/ipv4/ip_forward)"
expect "domainname" example.org "$(in_ all cat /proc/sys/kernel/domainname)"
expect_match "domainname in hosts" $'\tbox.example.org box$' "$(in_ all cat /etc/hosts)"
expect_match "dns_search" "^search one.example two.example$" "$(in_ all cat /etc/resolv.conf)"
expect_match "dns_opt" "^options ndots:3 rotate$" "$(in_ all cat /etc/resolv.conf)"

# A device may be opened as its permissions say, and nowhere else; a chmod of it is the task's own.
before=$(stat -c %a:%u:%g /dev/kmsg)
expect_code 0 in_ device dd if=/dev/messages of=/dev/null bs=8192 count=1
expect_code 1 in_ device sh -c ': >/dev/messages'
expect_match "a device to be read, written" "Operation not permitted" "$out"
expect_code 0 in_ device sh -c 'chmod 777 /dev/messages; chown 7:7 /dev/messages'
expect "the node's own device" "$before" "$(stat -c %a:%u:%g /dev/kmsg)"
reads='mknod /tmp/m c 1 11 && dd if=/tmp/m of=/dev/null bs=8192 count=1'
expect_code 0 in_ rule sh -c "$reads"
expect_code 1 in_ norule sh -c "$reads"
expect_match "a device without a rule" "Operation not permitted" "$out"

status() { in_ "$1" sed -n "s/^$2:\t//p" /proc/1/status; }
expect "new privileges, default" 1 "$(status plain NoNewPrivs)"
expect "no-new-privileges:false" 0 "$(status free NoNewPrivs)"
expect "seccomp, default" 2 "$(status plain Seccomp)"
expect "seccomp:unconfined" 0 "$(status free Seccomp)"
expect "exec is as its service" "0 0" "$(in_ free sh -c "echo \$(sed -n 's/^NoNewPrivs:\t//p;s/^Seccomp:\t//p' /proc/self/status)")"

# A profile of one's own: its errors, and what it says of capabilities; execs and health checks obey it.
expect "seccomp: a file" 2 "$(status filtered Seccomp)"
expect_code 1 in_ filtered mkdir /x
expect_match "its errno" "No space left" "$out"
expect_code 0 in_ filtered rmdir /var/tmp
expect_code 1 in_ plain rmdir /nowhere
expect_match "a call of a capability that is there" "No such file" "$out"
expect_code 2 in_ filtered ip link
expect_match "an argument" "Operation not permitted" "$out"
healthy() { orlop ps filtered | grep -q "(healthy)"; }
wait_until 30 healthy || fail "a health check under the profile: $(orlop ps filtered)"

# privileged: what the node itself may, and all of its devices; nothing of /proc and /sys is hidden.
node_caps=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
expect "privileged, capabilities" "$(printf %016x $((0x$node_caps & ~(1 << 22))))" "$(status all-of-it CapEff)"
expect "privileged, seccomp" 0 "$(status all-of-it Seccomp)"
expect "privileged, no_new_privs" 0 "$(status all-of-it NoNewPrivs)"
devices='find /dev -xdev -type c -o -xdev -type b | grep -v console | sort'
expect "privileged, devices" "$(sh -c "$devices")" "$(in_ all-of-it sh -c "$devices" | grep -v '^/dev/tty$\|^/dev/ptmx$' | cat - <(sh -c "$devices" | grep '^/dev/tty$\|^/dev/ptmx$') | sort)"
expect_code 0 in_ all-of-it dd if=/dev/kmsg of=/dev/null bs=8192 count=1
sys() { in_ "$1" awk '$2 == "/sys" {print substr($4, 1, 2)}' /proc/mounts; }
expect "privileged, /sys" rw "$(sys all-of-it)"
expect "/sys" ro "$(sys plain)"
expect_match "privileged, /proc/interrupts" "^-" "$(in_ all-of-it ls -l /proc/interrupts)"
expect_match "/proc/interrupts" "^c" "$(in_ plain ls -l /proc/interrupts)"

# pid, ipc: host. What the task leaves in the node's namespace ends with it.
expect "pid: host" "$(readlink /proc/self/ns/pid)" "$(in_ pids readlink /proc/self/ns/pid)"
expect "ipc: host" "$(readlink /proc/self/ns/ipc)" "$(in_ pids readlink /proc/self/ns/ipc)"
expect "ipc: host, /dev/shm" "$(stat -c %d /dev/shm)" "$(in_ pids stat -c %d /dev/shm)"
left() { grep -zqs '^4321$' /proc/[0-9]*/cmdline; }
left || fail "the task's second process is not to be seen"
orlop scale pids=0 >/dev/null 2>&1 || fail "scale pids=0"
gone() { ! left; }
wait_until 30 gone || fail "a process of a task in the node's PID namespace runs on"

expect "network_mode: none" "lo" "$(in_ none ls /sys/class/net | tr '\n' ' ' | sed 's/ $//')"
expect "network_mode: host" "$(readlink /proc/self/ns/net)" "$(in_ host readlink /proc/self/ns/net)"
expect "uts: host" "$(hostname)" "$(in_ host hostname)"
expect "uts: host, the file" "$(hostname)" "$(in_ host cat /etc/hostname)"
expect "network_mode: host, names" "$(cat /etc/resolv.conf)" "$(in_ host cat /etc/resolv.conf)"
[ "$(in_ plain readlink /proc/self/ns/net)" != "$(readlink /proc/self/ns/net)" ] || fail "plain is in the network of the node"

expect "container_name" my-box "$(orlop ps --format json named | sed -n 's/.*"name": "\(.*\)".*/\1/p')"
expect_match "its name in the network" "^[0-9.]+ +my-box" "$(in_ plain nslookup my-box 2>&1 | sed -n 's/^Address.*: \([0-9.]*\)$/\1  my-box/p' | tail -n 1)"
expect_match "labels" '"tier": "back"' "$(orlop ps --format json named)"
expect_match "deploy.labels" '"team": "a"' "$(orlop ps --format json named)"
expect_code 0 orlop why my-box
expect_code 1 orlop scale named=2
expect_match "a global service has no number" "global" "$out"
both() { [ "$(orlop ps -a job | grep -c 'Exited (0)')" = 2 ]; }
wait_until 30 both || fail "job: $(orlop ps -a job)"

# Who is named runs, whatever its profiles; the others stay as they are.
expect "a service of a profile" "" "$(orlop ps -q tool 2>/dev/null)"
expect_code 0 orlop up tool
running tool || fail "tool: $(orlop why tool)"
running plain || fail "plain beside tool: $(orlop why plain)"

cat >nowhere.yaml <<'YAML'
name: nowhere
services:
  a: {image: busybox, command: ["sleep", "inf"], deploy: {placement: {constraints: ["node.labels.gpu == true"]}}}
YAML
expect_code 6 orlop -f nowhere.yaml up
expect_match "why it is nowhere" "a wants a node with node.labels.gpu == true; node .* is none" "$(orlop -f nowhere.yaml why a)"
orlop -f nowhere.yaml down >/dev/null 2>&1 || fail "down of nowhere"

# What is the node's cannot be had, by the file or by its name.
cat >bad.yaml <<'YAML'
services:
  a: {image: busybox, sysctls: {kernel.hostname: x, net.core.somaxconn: 1}, network_mode: host}
YAML
expect_code 0 orlop -f bad.yaml config -q
expect_code 3 orlop -f bad.yaml up -d
expect_match "a sysctl of the node" "bad.yaml:2:[0-9]+: services.a.sysctls.kernel.hostname: .* not the task's own" "$out"
expect_match "a sysctl of the host's network" "sysctl .net.core.somaxconn. is not supported" "$out"

orlop down >/dev/null 2>&1 || fail down
node_stop
