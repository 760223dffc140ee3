#!/bin/bash
# Bad input: each gets a clear sentence, a documented exit code, and leaves no half-made thing.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/app
mkdir "$app"
cd "$app" || exit 1

# refuse CODE PATTERN TEXT: `up` of this Compose file fails with CODE and says PATTERN
refuse() {
    printf '%b' "$3" >compose.yaml
    expect_code "$1" orlop up
    expect_match "up of: $3" "$2" "$out"
}

# not running
printf 'services: {a: {image: busybox}}\n' >compose.yaml
expect_code 4 orlop ps
expect_match "not running" "orlop is not running.*orlop dev" "$out"

node_start
import busybox

refuse 3 'compose.yaml:2:1' 'services: [\n'
refuse 3 'compose.yaml:1:[0-9]+.*services' 'services: 5\n'
refuse 3 'compose.yaml:4:5.*imagee' 'services:\n  a:\n    image: busybox\n    imagee: x\n'
refuse 3 'compose.yaml:2:7.*no-such-image' 'services:\n  a: {image: no-such-image}\n'
refuse 3 'network.*nowhere' 'services:\n  a:\n    image: busybox\n    networks: [nowhere]\n'
refuse 3 'volume.*data' 'services:\n  a:\n    image: busybox\n    volumes: ["data:/d"]\n'
refuse 3 'secret.*key' 'services:\n  a:\n    image: busybox\n    secrets: [key]\n'
refuse 3 'cycle' 'services:\n  a: {image: busybox, depends_on: [b]}\n  b: {image: busybox, depends_on: [a]}\n'
expect "apps after refusals" "0" "$(orlop app ls --format json | tr -d ' \n' | grep -o '"name"' | wc -l)"

refuse 6 'memory|resources' 'services:\n  a: {image: busybox, command: [sleep, "1000"], deploy: {resources: {reservations: {memory: 900g}}}}\n'
expect_match "why of impossible resources" 'memory' "$(orlop why a)"
orlop down >/dev/null || fail "down"

refuse 6 'not found in|no such file' 'services:\n  a: {image: busybox, command: [no-such-program], restart: unless-stopped}\n'
expect_match "why of a missing program" 'no-such-program.*not tried again, whatever its restart policy' "$(orlop why a | tr '\n' ' ')"
orlop down >/dev/null || fail "down"

# port taken, by whom
exec {sock}> >(exec nc -l 127.0.0.1 8099 >/dev/null 2>&1)
nc=$!
wait_until 10 sh -c 'ss -Hlnt | grep -q 8099' || fail "nc does not listen"
refuse 6 '8099.*nc' 'services:\n  a: {image: busybox, command: [sleep, "1000"], ports: ["127.0.0.1:8099:80"]}\n'
expect_match "why of a taken port" '8099.*attempt [0-9]+; the next one follows in [0-9]+ s' "$(orlop why a | tr '\n' ' ')"
orlop down >/dev/null || fail "down"
kill $nc
exec {sock}>&-

# usage
expect_code 2 orlop up --no-such-flag
expect_code 2 orlop no-such-verb
expect_code 0 orlop --help
for verb in dev up down ps logs exec scale restart config node image app task why events version; do
    expect_code 0 orlop $verb --help
    expect_match "$verb --help" "[Uu]sage" "$out"
done
expect_code 5 orlop ps no-such-service
expect_code 5 orlop task inspect no-such-task

# an image with a layer that leaves its root
mkdir -p root/etc
echo x >root/etc/x
tar -C root -cf evil.tar --transform 's,^etc/x,../../../../tmp/orlop-escaped,' -P etc/x
expect_code 1 orlop image import evil.tar evil:1
expect_match "evil layer" '\.\.' "$out"
[ ! -e /tmp/orlop-escaped ] || fail "the layer escaped"
expect_code 5 orlop image inspect evil:1

# what has no end and is no archive: refused by its first bytes
expect_code 1 orlop image import /dev/zero zero:1
expect_match "a device" 'neither a file nor a directory nor a pipe' "$out"
expect_code 1 timeout 60 "$ORLOP_BUILD/cli/orlop" image import - zero:1 </dev/zero
expect_match "zeros without an end" 'the archive is empty' "$out"
expect_code 1 timeout 60 "$ORLOP_BUILD/cli/orlop" image import - zero:1 < <(yes)
expect_match "lines without an end" 'not a tar archive' "$out"

# no root
if command -v setpriv >/dev/null; then
    expect_code 7 env ORLOP_RUN_DIR=/tmp/orlop-noroot ORLOP_STATE_DIR=/tmp/orlop-noroot setpriv --reuid 65534 --regid 65534 --clear-groups "$ORLOP_BUILD/cli/orlop" dev --detach
    expect_match "no root" 'root' "$out"
fi
node_stop
