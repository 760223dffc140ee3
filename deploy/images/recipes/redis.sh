# Redis, its data in /data. Starts as root to own the volume, then runs as the user redis.
packages_redis="redis-server redis-tools libatomic1 libgcc-s1 libjemalloc2 liblzf1 libssl3 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 libstdc++6"
layer_redis() {
    rm -rf "$1/usr/lib/$(triplet)/engines-3" "$1/usr/lib/$(triplet)/ossl-modules" "$1/etc/redis" \
        "$1/usr/share/gcc" "$1/usr/share/gdb" "$1/var/log/redis" "$1/var/lib/redis" "$1/usr/bin/redis-benchmark"
    mkdir -p "$1/data" "$1/usr/local/bin"
    cat >"$1/usr/local/bin/redis-entrypoint" <<'SH'
#!/bin/sh
# Options or no command: the server, as the user redis. Anything else is run as it is.
set -e
case ${1-} in '' | -*) set -- redis-server "$@" ;; esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    shift
    chown redis:redis /data
    exec start-stop-daemon -S -q -c redis:redis -a /usr/bin/redis-server -x /usr/bin/redis-server -- \
        --protected-mode no --dir /data "$@"
fi
exec "$@"
SH
    chmod 755 "$1/usr/local/bin/redis-entrypoint"
}
layers_redis="base redis"
config_redis="\"Env\":[\"$path\"],\"Entrypoint\":[\"redis-entrypoint\"],\"Cmd\":[\"redis-server\"],\"WorkingDir\":\"/data\",\"ExposedPorts\":{\"6379/tcp\":{}},\"Volumes\":{\"/data\":{}}"
