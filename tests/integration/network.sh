#!/bin/bash
# Names, virtual addresses, published ports, isolation; client's address kept; a flushed ruleset repaired.
. "$(dirname "$0")/../lib/node.sh"
app=$test_dir/net
mkdir "$app"
cd "$app" || exit 1

# An "outside" host on a veth.
mkfifo "$test_dir/hold"
unshare --net cat "$test_dir/hold" &
outside=$!
exec {hold}>"$test_dir/hold"
wait_until 10 sh -c "[ \"\$(readlink /proc/$outside/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]" || fail "outside namespace"
ip link add up0 type veth peer name eth0 netns $outside
ip address add 192.0.2.1/24 dev up0
ip link set up0 up
outside() { nsenter --target $outside --net "$@"; }
outside ip link set lo up
outside ip address add 192.0.2.2/24 dev eth0
outside ip link set eth0 up

test_cleanup() {
    ip link del up0
    exec {hold}>&-
    wait $outside 2>/dev/null
}

node_start
import busybox
cat >compose.yaml <<'YAML'
name: net
services:
  web:
    image: busybox
    # answers with its own name and the client's address
    command: ["nc", "-ll", "-p", "8000", "-e", "sh", "-c", "hostname; cat /proc/net/tcp /proc/net/tcp6"]
    ports: ["8080:8000", "127.0.0.1:8081:8000", "192.0.2.1:8082:8000"]
    deploy: {replicas: 2}
    networks: {default: {aliases: [shopfront]}, back: {}}
  client:
    image: busybox
    command: [sleep, "100000"]
  lonely:
    image: busybox
    command: [sleep, "100000"]
    networks: [inner]
  db:
    image: busybox
    command: ["nc", "-ll", "-p", "5432", "-e", "echo", "db"]
    networks: [back]
networks:
  back: {}
  inner: {internal: true}
YAML
orlop up --wait >"$test_dir/out" 2>&1 || fail "up: $(cat "$test_dir/out")"
inside() { local s=$1; shift; orlop exec -T "$s" "$@"; }

# names
lookup() { inside "$1" nslookup "$2" 2>&1; }
vip=$(lookup client web | sed -n 's/^Address[^:]*: *\(10\.96[0-9.]*\).*/\1/p' | head -1)
expect_match "VIP of web" '^10\.96\.' "$vip"
expect "alias" "$vip" "$(lookup client shopfront | sed -n 's/^Address[^:]*: *\(10\.96[0-9.]*\).*/\1/p' | head -1)"
expect "tasks.web" 2 "$(lookup client tasks.web | grep '^Address.*10\.8' | grep -vc ':53')"
expect_match "unknown name" 'NXDOMAIN|can.t find|server can' "$(lookup client nosuchname)"
expect_match "db is not on the default network" 'NXDOMAIN|can.t find|server can' "$(lookup client db)"

# VIP, any port that the service listens on
answer() { inside client sh -c "echo | nc -w 3 $1 $2 | head -1"; }
expect_match "web by name" '.' "$(answer web 8000)"
expect "both replicas answer" 2 "$(for _ in $(seq 20); do answer web 8000; done | sort -u | wc -l)"

# published: everywhere, loopback only, one address only
got() { echo | timeout 5 nc -w 3 "$1" "$2" 2>/dev/null | head -1; }
ogot() { echo | outside timeout 5 nc -w 3 "$1" "$2" 2>/dev/null; }
expect_match "127.0.0.1:8080" '.' "$(got 127.0.0.1 8080)"
expect_match "[::1]:8080" '.' "$(got ::1 8080)"
expect_match "127.0.0.1:8081" '.' "$(got 127.0.0.1 8081)"
expect_match "192.0.2.1:8082 from here" '.' "$(got 192.0.2.1 8082)"
expect_match "8080 from outside" '.' "$(ogot 192.0.2.1 8080)"
expect_match "client's address kept" '020200C0:' "$(ogot 192.0.2.1 8080)"
expect_match "8082 from outside" '.' "$(ogot 192.0.2.1 8082)"
expect "8081 from outside" "" "$(ogot 192.0.2.1 8081)"
expect "8082 on 127.0.0.1" "" "$(got 127.0.0.1 8082)"

# isolation
web_back=$(lookup db web | sed -n 's/^Address[^:]*: *\(10\.96[0-9.]*\).*/\1/p' | head -1)
expect_match "db reaches web over back" '.' "$(inside db sh -c "echo | nc -w 3 $web_back 8000 | head -1")"
expect "client cannot reach db's network" "" "$(inside client sh -c "echo | nc -w 2 $(lookup web db | sed -n 's/^Address[^:]*: *\(10\.96[0-9.]*\).*/\1/p' | head -1) 5432")"
expect "internal network: no way out" "" "$(inside lonely sh -c 'echo | nc -w 2 192.0.2.1 8080')"

# somebody flushes the ruleset
nft flush ruleset
wait_until 20 sh -c "nft list tables | grep -qw orlop" || fail "the ruleset was not repaired"
again() { [ -n "$(ogot 192.0.2.1 8080)" ] && [ -n "$(answer web 8000)" ]; }
wait_until 20 again || fail "no connection after a flush"

orlop down >/dev/null || fail "down"
expect "links after down" "" "$(ip -o link show | grep -o 'olv[^:@]*\|olg[^:@]*')"
node_stop
