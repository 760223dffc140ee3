# Sourced by the rows that need a node: lib/node.sh, and images made of busybox and the attack program.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../lib/node.sh"
attack=$ORLOP_BUILD/tests/hostile/hostile_attack
tries=${ORLOP_HOSTILE_TRIES:-1}
[ -x "$attack" ] || { echo "SKIP: $attack is not built"; exit 77; }
[ -x /bin/busybox ] || { echo "SKIP: needs /bin/busybox (Debian: busybox-static)"; exit 77; }

# root_at DIR: a small root file system
root_at() {
    mkdir -p "$1/bin" "$1/etc" "$1/tmp"
    cp /bin/busybox "$1/bin/busybox"
    cp "$attack" "$1/bin/attack"
    local applet
    for applet in cat chmod cp cut echo env find grep ip ls nc readlink sh sleep stat test touch true wc yes; do
        ln -s busybox "$1/bin/$applet"
    done
    printf 'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n' >"$1/etc/passwd"
}
# import_root NAME DIR
import_root() {
    tar -C "$2" -cf "$test_dir/$1.tar" . && orlop image import -q "$test_dir/$1.tar" "$1" >/dev/null ||
        fail "import of $1"
}
# layout_of FILE LAYER-TAR CONFIG: an OCI layout with this layer; CONFIG is the inside of "config"
layout_of() {
    local d=$test_dir/layout file=$1 layer=$2 sum
    rm -rf "$d"
    mkdir -p "$d/blobs/sha256"
    blob() { sum=$(sha256sum "$1" | cut -d' ' -f1) && cp "$1" "$d/blobs/sha256/$sum"; }
    blob "$layer"
    local layer_sum=$sum layer_size
    layer_size=$(stat -c %s "$layer")
    printf '{"architecture":"amd64","os":"linux","config":{%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$3" "$layer_sum" >"$d/config"
    blob "$d/config"
    local type=application/vnd.oci.image
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"%s","digest":"sha256:%s","size":%s}]}' \
        $type.manifest.v1+json $type.config.v1+json "$sum" "$(stat -c %s "$d/config")" \
        $type.layer.v1.tar "$layer_sum" "$layer_size" >"$d/manifest"
    blob "$d/manifest"
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s}]}' \
        $type.manifest.v1+json "$sum" "$(stat -c %s "$d/manifest")" >"$d/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$d/oci-layout"
    rm "$d/config" "$d/manifest"
    tar -C "$d" -cf "$file" .
}
# import_image NAME DIR CONFIG
import_image() {
    tar -C "$2" -cf "$test_dir/layer.tar" .
    layout_of "$test_dir/$1.tar" "$test_dir/layer.tar" "$3"
    orlop image import -q "$test_dir/$1.tar" "$1" >/dev/null || fail "import of $1"
}
# start_app: `up` of the compose.yaml on standard input, in a folder of its own
start_app() {
    mkdir -p "$test_dir/app" && cd "$test_dir/app" || exit 1
    cat >compose.yaml
    orlop up >"$test_dir/up" 2>&1 || fail "up: $(cat "$test_dir/up")"
}
# pids of our own processes
role_pids() { for lock in "$ORLOP_RUN_DIR"/*.lock; do fuser_of "$lock"; done; }
fuser_of() { awk -v i="$(stat -c %i "$1")" '$2 == "POSIX" && $6 ~ ":" i "$" { print $5 }' /proc/locks; }
