#!/bin/bash
# Volumes and mounts: content copied in once, kept by down, removed by down -v; binds; what cannot be
# mounted says why; the node's sandboxes kept by dev --stop --keep are taken over.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/v
mkdir "$app" "$app/bound"
cd "$app" || exit 1
node_start
import busybox
echo one >bound/f
cat >compose.yaml <<'YAML'
name: v
services:
  a:
    image: busybox
    command: ["sleep", "inf"]
    init: true
    volumes: ["etc:/etc", "data:/new/dir", "./bound:/bound", "./made/here:/made", "./bound/f:/one/file:ro"]
  b:
    image: busybox
    command: ["sleep", "inf"]
    init: true
    volumes: ["data:/data:ro"]
volumes: {etc: , data: }
YAML
orlop up >/dev/null 2>&1 || fail "up: $(orlop why v)"
in_a() { orlop exec a sh -c "$1" 2>&1; }
expect_match "content copied in" "root:" "$(in_a 'cat /etc/passwd')"
expect "names still resolve" "v-a-1" "$(in_a 'cat /etc/hostname')"
in_a 'echo kept >/new/dir/f; echo changed >>/etc/passwd; echo two >/bound/f; echo x >/made/f' >/dev/null
expect "shared" kept "$(orlop exec b cat /data/f)"
expect_match "read-only here" "Read-only file system" "$(orlop exec b sh -c 'echo x >/data/f' 2>&1)"
expect bound two "$(cat bound/f)"
expect "bind source made" x "$(cat made/here/f)"
expect "bound file" two "$(in_a 'cat /one/file')"
expect_match "bound file written" "Read-only file system" "$(in_a 'echo x >/one/file')"

orlop down >/dev/null 2>&1 || fail down
orlop up >/dev/null 2>&1 || fail "up again"
expect "kept by down" kept "$(in_a 'cat /new/dir/f')"
expect "not copied again" changed "$(in_a 'tail -n 1 /etc/passwd')"

# Sandboxes that live on without us, and are taken over.
pid() { orlop ps --format json | tr -d '\n' | sed 's/}, *{/}\n{/g' | grep '"v-a-1"' | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p'; }
before=$(pid)
orlop dev --stop --keep >/dev/null || fail "dev --stop --keep"
[ -d "/proc/$before" ] || fail "the container ended"
expect_code 4 orlop ps
orlop dev --detach >/dev/null || fail dev
same() { [ "$(pid)" = "$before" ]; }
wait_until 30 same || fail "it was not taken over: $(orlop ps)"
expect "exec into it" kept "$(in_a 'cat /new/dir/f')"

# An image in use stays; with nobody it goes, with all of its layers.
expect_code 1 orlop image rm busybox
expect_match "in use" "used" "$out"
orlop down -v >/dev/null 2>&1 || fail "down -v"
[ -z "$(ls "$ORLOP_STATE_DIR/volumes")" ] || fail "volumes are left: $(ls "$ORLOP_STATE_DIR/volumes")"
expect "the bind's source is not ours" two "$(cat bound/f)"

bad() { # SENTENCE VOLUME
    printf 'name: w\nservices: {a: {image: busybox, command: ["true"], volumes: ["%s"]}}\nvolumes: {vol: }\n' "$2" >compose.yaml
    out=$(orlop up 2>&1) && fail "a mount of $2 was accepted"
    expect_match "mount of $2" "$1" "$out"
    orlop down -v >/dev/null 2>&1
}
bad "/etc/passwd is no directory in the container" vol:/etc/passwd
bad "nothing may be mounted on /proc/sys" vol:/proc/sys
bad "is not an absolute path below /" vol:/
orlop image rm busybox >/dev/null || fail "image rm"
[ -z "$(ls "$ORLOP_STATE_DIR/images/layers" "$ORLOP_STATE_DIR/images/blobs/sha256" | grep -v ':$' | grep .)" ] || fail "image files are left"
node_stop
