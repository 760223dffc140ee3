# The example app's own service: one static program and nothing else.
sources_shop_api="deploy/examples/shop/api/main.c"
layer_shop_api() {
    accounts "$1"
    mkdir -p "$1/usr/bin"
    ln -s usr/bin "$1/bin"
    # The resolver's warning about shared libraries is about other name services than files and DNS.
    cc -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -static -s -Wl,--build-id=none \
        -o "$1/usr/bin/shop-api" "$root/deploy/examples/shop/api/main.c" 2>"$work/cc" || {
        cat "$work/cc" >&2
        fail "cc failed"
    }
}
layers_shop_api="shop_api"
config_shop_api="\"Env\":[\"$path\"],\"Entrypoint\":[\"shop-api\"],\"ExposedPorts\":{\"8000/tcp\":{}},\"User\":\"65534:65534\""
