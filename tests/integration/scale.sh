#!/bin/bash
# No failed request: api goes from 2 to 10 replicas and back in a loop, under connections at a fixed rate
# that come by its virtual address, its published port from outside and the host's own loopback. Its
# servers die at once on SIGTERM. The same while somebody flushes nftables, deletes the link of a
# replica, and kills the agent.
#
# The long form: ORLOP_SCALE_SECONDS=300 ORLOP_SCALE_EVERY=10, more than 50,000 requests in each of the
# two parts (default 12 s each, and every 3 s a disturbance); ORLOP_SCALE_RATE (170) connections a second.
. "$(dirname "$0")/../lib/node.sh"
seconds=${ORLOP_SCALE_SECONDS:-12} rate=${ORLOP_SCALE_RATE:-170} every=${ORLOP_SCALE_EVERY:-3}
load=$ORLOP_BUILD/tests/lib/load
app=$test_dir/scale
mkdir "$app" "$test_dir/root"
cd "$app" || exit 1
cp "$load" "$load"server "$test_dir/root" || exit 1

# An "outside" host on a veth.
mkfifo "$test_dir/hold"
unshare --net cat "$test_dir/hold" &
outside=$!
exec {hold}>"$test_dir/hold"
wait_until 10 sh -c "[ \"\$(readlink /proc/$outside/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]" || fail "outside namespace"
ip link add up0 type veth peer name eth0 netns $outside
ip address add 192.0.2.1/24 dev up0
ip link set up0 up
in_netns() { local pid=$1; shift; nsenter --target "$pid" --net "$@"; }
in_netns $outside ip link set lo up
in_netns $outside ip address add 192.0.2.2/24 dev eth0
in_netns $outside ip link set eth0 up
test_cleanup() {
    kill "${loads[@]}" 2>/dev/null
    ip link del up0
    # What came while the rules were flushed was the host's own.
    conntrack -D -p tcp --dport 8080 >/dev/null 2>&1
    conntrack -D -p tcp --dport 8081 >/dev/null 2>&1
    exec {hold}>&-
    wait
}

loads=()
node_start
orlop image import "$test_dir/root" load >/dev/null || fail import
cat >compose.yaml <<'YAML'
name: scale
services:
  api:
    image: load
    command: ["/loadserver", "8000"]
    ports: ["8080:8000"]
    deploy: {replicas: 2}
    healthcheck:
      test: ["CMD", "/load", "--count", "1", "--clients", "1", "127.0.0.1:8000"]
      interval: 30s
      start_period: 30s
      start_interval: 200ms
  steady: # is not scaled: its connections last
    image: load
    command: ["/loadserver", "8000"]
    ports: ["8081:8000"]
  caller:
    image: load
    command: ["/loadserver", "1"]
YAML
orlop up --wait >"$test_dir/out" 2>&1 || fail "up: $(cat "$test_dir/out")"
field_of() { orlop ps --format json | tr -d ' \n' | sed 's/},{/}\n{/g' | grep "\"$1\"" | sed -n "s/.*\"$2\":\[*\"*\([0-9.]*\).*/\1/p"; }
vip_of() { nft list map inet orlop ep | tr -d '\n\t' | grep -o "[0-9.]* \. 0x[0-9a-f]* : $(field_of "$1" addresses)" | cut -d' ' -f1; }
caller=$(field_of scale-caller-1 pid)
api=$(vip_of scale-api-1) steady=$(vip_of scale-steady-1)
[ -n "$caller$api$steady" ] || fail "no pid or no VIP"

# start_load NAME PID ARGS...: from the network namespace of PID, until stop_loads
start_load() {
    local name=$1 pid=$2
    shift 2
    nsenter --target "$pid" --net "$load" "$@" >"$test_dir/$name" 2>"$test_dir/$name.err" &
    loads+=($!)
    names+=("$name")
}
# Ends them; every one must have had no failure. Sets $requests.
stop_loads() {
    local i bad=0
    requests=0
    kill "${loads[@]}"
    for i in "${!loads[@]}"; do
        wait "${loads[$i]}" || bad=1
        echo "$1 ${names[$i]}: $(cat "$test_dir/${names[$i]}")"
        cat "$test_dir/${names[$i]}.err"
        requests=$((requests + $(sed -n 's/.* requests=\([0-9]*\).*/\1/p' "$test_dir/${names[$i]}")))
    done
    loads=() names=()
    [ $bad = 0 ] || fail "$1: requests failed"
}
new_connections() {
    start_load vip "$caller" --rate $((rate * 4 / 10)) --delay-ms 20 "$api:8000"
    start_load outside "$outside" --rate $((rate * 4 / 10)) --delay-ms 20 192.0.2.1:8080
    start_load loopback $$ --rate $((rate * 2 / 10)) --delay-ms 20 127.0.0.1:8080
}
# scale_for SECONDS [COMMAND]: COMMAND between the steps
scale_for() {
    local until=$((SECONDS + $1)) n=0
    while [ $SECONDS -lt $until ]; do
        for n in 10 2; do
            orlop scale api=$n >"$test_dir/out" 2>&1 || fail "scale api=$n: $(cat "$test_dir/out")"
            ${2-}
        done
        cycles=$((cycles + 1))
    done
}

cycles=0 names=()
new_connections
scale_for "$seconds"
stop_loads "scaling"
echo "$requests requests, $cycles cycles"
[ $cycles -ge 2 ] || fail "only $cycles cycles"

# Other hands. Connections that are open go through it all.
next=flush disturbed=-100 cycles=0
agent_back() { local now; now=$(holder agent) && [ -n "$now" ] && [ "$now" != "$agent" ] && nft list table inet orlop_hold; }
disturb() {
    local name link
    [ $((SECONDS - disturbed)) -ge "$every" ] || return 0
    disturbed=$SECONDS
    echo "after $SECONDS s: $next"
    case $next in
    flush)
        nft flush ruleset
        next=link
        ;;
    link)
        for name in scale-api-1 scale-steady-1; do
            link=$(ip route show "$(field_of $name addresses)" | sed 's/.* dev \([^ ]*\).*/\1/')
            ip link del "$link" || fail "delete the link of $name: '$link'"
        done
        next=agent
        ;;
    agent) # a flush while nobody is there to repair it is another story
        agent=$(holder agent)
        kill -9 "$agent"
        wait_until 60 agent_back || fail "the agent did not come back"
        next=flush
        ;;
    esac
}
new_connections
start_load steady-vip "$caller" --clients 20 --requests 0 --pause-ms 10 "$steady:8000"
start_load steady-outside "$outside" --clients 20 --requests 0 --pause-ms 10 192.0.2.1:8081
start_load steady-loopback $$ --clients 20 --requests 0 --pause-ms 10 127.0.0.1:8081
scale_for "$seconds" disturb
stop_loads "disturbing"
echo "$requests requests, $cycles cycles"

orlop down >/dev/null || fail down
node_stop
