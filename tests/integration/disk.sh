#!/bin/bash
# A full disk under logs, state and images, then under RUN: what cannot be done is refused with the reason, what
# runs goes on, nothing that was acknowledged is lost, and all of it goes on by itself when there is room again.
#
# STATE is a file system of 512 MiB (ext4 on a loop device; ORLOP_DISK_FS=tmpfs or no loop devices: a tmpfs), RUN
# a tmpfs of 8 MiB.
[ "${NODE_INSIDE-}" = 1 ] || NODE_INSIDE=1 exec unshare --net --mount --propagation private "$0" "$@"
. "$(dirname "$0")/../lib/node.sh"
fs=${ORLOP_DISK_FS:-ext4}
app=$test_dir/d S=$ORLOP_STATE_DIR R=$ORLOP_RUN_DIR
mkdir "$app" "$S" "$R"
cd "$app" || exit 1
test_cleanup() {
    umount "$R"
    umount "$S"
}
mount_state() {
    [ "$fs" = ext4 ] || return 1
    truncate -s 512M "$test_dir/disk" && mkfs.ext4 -q -m 0 "$test_dir/disk" && mount -o loop "$test_dir/disk" "$S"
}
mount_state || mount -t tmpfs -o size=512m,mode=0700 orlop-test-disk "$S" || fail "a disk for STATE"
mount -t tmpfs -o size=8m,mode=0700 orlop-test-run "$R" || fail "a disk for RUN"
chmod 0700 "$S"
node_start
import busybox
cat >compose.yaml <<'YAML'
name: d
services:
  writer:
    image: busybox
    command: ["sh", "-c", "i=0; while :; do echo $$i; i=$$((i+1)); usleep 2000; done"]
    stop_grace_period: 200ms
    restart: always
  other: {image: busybox, command: [sleep, inf], init: true, restart: always}
  job: {image: busybox, command: ["sh", "-c", "until [ -e /end ]; do usleep 20000; done; echo over; exit 7"]}
YAML
orlop up --wait >out 2>&1 || fail "up: $(cat out)"
lines() { orlop logs --no-log-prefix writer | wc -l; }
more_than() { [ "$(lines)" -gt "$1" ]; }
free_kib() { df --output=avail "$1" | tail -1; }
# fill DIR KIB: so much is left. fill_up DIR: nothing, also of what a file system sets aside for its own
fill() {
    local n=$(($(free_kib "$1") - $2))
    [ $n -le 0 ] || fallocate -o "$(stat -c %s "$1/filler" 2>/dev/null || echo 0)" -l $((n * 1024)) "$1/filler"
}
fill_up() {
    fill "$1" 256
    cat /dev/zero >>"$1/filler" 2>/dev/null
}
roomy() { rm -f "$1/filler"; }
roles() { local r; for r in anchor keeper proxy agent scheduler; do echo "$r $(holder $r)"; done; }
all_go_on() { # WHEN
    expect "exec, $1" hello "$(orlop exec other echo hello)"
    orlop ps >out 2>&1 || fail "ps, $1: $(cat out)"
    orlop why other >out 2>&1 || fail "why, $1: $(cat out)"
    orlop logs --tail 5 writer >out 2>&1 || fail "logs, $1: $(cat out)"
    expect "nobody died, $1" "$lives" "$(roles)"
}
# refused WHAT PATTERN COMMAND...
refused() {
    local name=$1 pattern=$2
    shift 2
    expect_code 1 timeout 60 "$ORLOP_BUILD/cli/orlop" "$@"
    echo "$name: $out"
    expect_match "$name" "$pattern" "$out"
}
lives=$(roles)

# There is less than the scheduler's reserve: no change is taken, all that runs goes on.
fill "$S" $((40 << 10)) || fail "fill STATE"
refused "scale" "log is full: nothing was done" scale other=3
refused "up" "log is full: nothing was done" up -d
before=$(lines)
wait_until 30 more_than $((before + 100)) || fail "the writer waits too early"
all_go_on "nearly full"

# Nothing is left: writers wait and the keeper says why.
fill_up "$S"
stalled() { fill_up "$S"; grep -q "log.stalled" "$R/logs/keeper.log"; }
wait_until 60 stalled || fail "a full disk is not noticed under the logs"
grep "log.stalled" "$R/logs/keeper.log" | head -1
refused "image import" "[Nn]o space left" image import "$images/busybox.tar" second
orlop exec job touch /end || fail "exec"
all_go_on "full"

# Room again.
before=$(lines)
roomy "$S"
wait_until 60 more_than $((before + 100)) || fail "the writer does not go on"
orlop logs --no-log-prefix writer | awk '$0 != NR - 1 {print "line " NR ": " $0; exit 1}' || fail "a line is lost or doubled"
ended() { orlop ps -a | grep -q 'd-job-1 .*Exited (7)'; }
wait_until 60 ended || fail "the end of job: $(orlop ps -a)"
expect "its last words, which came when there was no room" over "$(orlop logs --no-log-prefix job)"
scaled() { orlop scale other=2; }
wait_until 60 scaled || fail "no scaling with room again: $(orlop scale other=2 2>&1)"
orlop image import "$images/busybox.tar" second >out 2>&1 || fail "import with room again: $(cat out)"

# RUN: what starts and ends is recorded there.
fill_up "$R"
expect_code 6 timeout 60 "$ORLOP_BUILD/cli/orlop" scale other=30
expect_match "scale with a full RUN" "record: .*No space left on device" "$out"
all_go_on "with a full RUN"
roomy "$R"
thirty() { [ "$(orlop ps -q other | wc -l)" = 30 ]; }
wait_until 60 thirty || fail "not all run with room in RUN again: $(orlop ps -a)"
orlop scale other=4 >out 2>&1 || fail "scale other=4: $(cat out)"

# What was written then is read by the next life.
node_stop
node_start
back() { [ "$(orlop ps -q | wc -l)" = 5 ] && orlop exec other true; }
wait_until 60 back || fail "the app is not back: $(orlop ps -a)"
expect_match "both images" second "$(orlop image ls)"
orlop down >/dev/null 2>&1 || fail down
node_stop
