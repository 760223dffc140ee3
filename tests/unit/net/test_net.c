// SPDX-License-Identifier: Apache-2.0
/* The whole node network in namespaces of its own, asked by real packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/net/net.h"
#include "view.h"
#include "world.h"

#define NET_A 0x4f520001u
#define NET_B 0x4f520002u
#define NET_I 0x4f520003u
#define GW_A IP(10, 80, 0, 1)
#define GW_B IP(10, 80, 4, 1)
#define GW_I IP(10, 80, 8, 1)
#define HOST IP(10, 99, 0, 1)
#define HOST2 IP(10, 98, 0, 1)
#define OUTSIDE IP(10, 99, 0, 100)
#define OUTSIDE2 IP(10, 98, 0, 100)
#define VIP_WEB IP(10, 96, 0, 1)   /* on A: a1 a2 a3 */
#define VIP_DB IP(10, 96, 0, 2)    /* on B: b1 m (which is on A as well) */
#define VIP_NONE IP(10, 96, 0, 3)  /* on A: nobody serves */
#define VIP_BATCH IP(10, 96, 0, 4) /* on I: i1 */

enum { A1, A2, A3, B1, M_A, M_B, I1, TASKS };
static const uint32_t addresses[TASKS] = {
    [A1] = IP(10, 80, 0, 2), [A2] = IP(10, 80, 0, 3),  [A3] = IP(10, 80, 0, 4),
    [B1] = IP(10, 80, 4, 2), [M_A] = IP(10, 80, 0, 5), [M_B] = IP(10, 80, 4, 5),
    [I1] = IP(10, 80, 8, 2),
};
static const uint32_t gateways[TASKS] = {GW_A, GW_A, GW_A, GW_B, GW_A, GW_B, GW_I};

static struct {
    int original, host, outside, outside2;
    int task[TASKS]; /* M_A and M_B are one namespace */
    int tcp[TASKS], udp[TASKS];
    int outside_tcp, host_tcp;
    struct net *net;
    struct nft_ctx *stranger;
    char record[64];
    char said[ERR_TEXT_MAX];
    int n_said;
    struct view *view;
} w;

static void on_repair(void *arg, const char *text) {
    (void) arg;
    snprintf(w.said, sizeof w.said, "%s", text);
    w.n_said++;
}

static int links_gone;

static void on_links(void *arg) {
    (void) arg;
    links_gone++;
}

static struct net_config config(void) {
    return (struct net_config){.task_pool = IP(10, 80, 0, 0),
                               .task_pool_prefix = 12,
                               .vip_pool = IP(10, 96, 0, 0),
                               .vip_pool_prefix = 16,
                               .record = w.record,
                               .on_repair = on_repair,
                               .on_links = on_links};
}

static struct world_link task_link(int task, const char *name, uint32_t network) {
    return (struct world_link){.host_name = name,
                               .group = network,
                               .netns = w.task[task],
                               .name = task == M_B ? "eth1" : "eth0",
                               .address = addresses[task],
                               .prefix_len = 22,
                               .gateway = task == M_B ? 0 : gateways[task]};
}

static void wire_tasks(void) {
    const struct world_link links[TASKS] = {
        task_link(A1, "olva1", NET_A),  task_link(A2, "olva2", NET_A),
        task_link(A3, "olva3", NET_A),  task_link(B1, "olvb1", NET_B),
        task_link(M_A, "olvma", NET_A), task_link(M_B, "olvmb", NET_B),
        task_link(I1, "olvi1", NET_I),
    };
    for (int i = 0; i < TASKS; i++)
        if (i != M_B) world_task_links(&links[i], i == M_A ? 2 : 1);
}

static void wire(void) {
    w.host = world_netns();
    w.outside = world_netns();
    w.outside2 = world_netns();
    for (int i = 0; i < TASKS; i++) w.task[i] = i == M_B ? w.task[M_A] : world_netns();
    world_enter(w.host);
    world_sysctl("/proc/sys/net/ipv4/ip_forward", "0");
    world_cable(&(struct world_link){"up0", 0, w.outside, "eth0", OUTSIDE, 24, 0}, HOST);
    world_cable(&(struct world_link){"up1", 0, w.outside2, "eth0", OUTSIDE2, 24, HOST2}, HOST2);
    wire_tasks();
    for (int i = 0; i < TASKS; i++) {
        if (i == M_B) {
            w.tcp[i] = w.udp[i] = -1;
            continue;
        }
        w.tcp[i] = world_listen(w.task[i], SOCK_STREAM, 80);
        w.udp[i] = world_listen(w.task[i], SOCK_DGRAM, 80);
    }
    w.outside_tcp = world_listen(w.outside, SOCK_STREAM, 80);
    w.host_tcp = world_listen(w.host, SOCK_STREAM, 22);
}

/* The view that most tests begin with. */
static struct view *usual_view(void) {
    struct view *v = view_new();
    view_network(v, NET_A, IP(10, 80, 0, 0), GW_A, false);
    view_network(v, NET_B, IP(10, 80, 4, 0), GW_B, false);
    view_network(v, NET_I, IP(10, 80, 8, 0), GW_I, true);
    Orlop__ViewService *web = view_service(v, "web", NET_A, VIP_WEB);
    view_endpoint(web, "a1", addresses[A1], true);
    view_endpoint(web, "a2", addresses[A2], true);
    view_endpoint(web, "a3", addresses[A3], true);
    view_port(web, ORLOP__PORT__PROTOCOL__TCP, 80, 8080, "");
    view_port(web, ORLOP__PORT__PROTOCOL__UDP, 80, 8080, "0.0.0.0");
    view_port(web, ORLOP__PORT__PROTOCOL__TCP, 80, 8081, "10.99.0.1");
    view_port(web, ORLOP__PORT__PROTOCOL__TCP, 80, 8082, "127.0.0.1");
    Orlop__ViewService *db = view_service(v, "db", NET_B, VIP_DB);
    view_endpoint(db, "b1", addresses[B1], true);
    Orlop__ViewService *both = view_service(v, "proxy", NET_A, 0);
    view_endpoint(both, "m", addresses[M_A], true);
    both = view_service(v, "proxy", NET_B, IP(10, 96, 0, 5));
    view_endpoint(both, "m", addresses[M_B], true);
    Orlop__ViewService *none = view_service(v, "none", NET_A, VIP_NONE);
    view_endpoint(none, "a1", addresses[A1], false);
    Orlop__ViewService *batch = view_service(v, "batch", NET_I, VIP_BATCH);
    view_endpoint(batch, "i1", addresses[I1], true);
    view_port(batch, ORLOP__PORT__PROTOCOL__TCP, 80, 8090, "");
    for (int i = 0; i < TASKS; i++) view_local(v, addresses[i], gateways[i]);
    return v;
}

static void apply(struct view *v) {
    struct err err = {0};
    struct net_view nv = view_of(v);
    int r = net_apply(w.net, &nv, &err);
    if (r < 0) fail_msg("net_apply: %s", err.text);
}

/* A child that inherits the socket which owns orlop_hold would keep the next agent out. */
static bool sockets_close_on_exec(void) {
    for (int fd = 3; fd < 256; fd++) {
        int domain = 0, flags = fcntl(fd, F_GETFD);
        socklen_t n = sizeof domain;
        if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0) continue;
        if (domain == AF_NETLINK && !(flags & FD_CLOEXEC)) return false;
    }
    return true;
}

static int setup(void **state) {
    (void) state;
    struct err err = {0};
    w.n_said = 0;
    w.original = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    snprintf(w.record, sizeof w.record, "/tmp/orlop-test-net.%d", getpid());
    wire();
    struct net_config cfg = config();
    if (net_open(&cfg, &w.net, &err) < 0) {
        fprintf(stderr, "net_open: %s\n", err.text);
        return -1;
    }
    if (!sockets_close_on_exec()) {
        fprintf(stderr, "net_open left a descriptor to children\n");
        return -1;
    }
    w.stranger = nft_ctx_new(NFT_CTX_DEFAULT);
    nft_ctx_buffer_output(w.stranger);
    nft_ctx_buffer_error(w.stranger);
    w.view = usual_view();
    apply(w.view);
    return 0;
}

static int teardown(void **state) {
    (void) state;
    view_free(w.view);
    net_free(w.net);
    nft_ctx_free(w.stranger);
    world_enter(w.original);
    for (int i = 0; i < TASKS; i++) {
        fd_close(&w.tcp[i]);
        fd_close(&w.udp[i]);
        if (i != M_B) fd_close(&w.task[i]);
    }
    int *fds[] = {&w.outside_tcp, &w.host_tcp, &w.host, &w.outside, &w.outside2, &w.original};
    for (size_t i = 0; i < array_len(fds); i++) fd_close(fds[i]);
    unlink(w.record);
    return 0;
}

/* Which task has a connection waiting, and who it says it is from; -1 = none. */
static int who_has(int type, uint32_t *ret_from, int *ret_fd) {
    for (int i = 0; i < TASKS; i++) {
        int fd = type == SOCK_STREAM ? w.tcp[i] : w.udp[i];
        if (fd >= 0 && world_take(fd, type, ret_from, ret_fd)) return i;
    }
    return -1;
}

/* The same of something that is on its way: a veth delivers in a softirq, on a busy machine after
 * the sender's connect() or send() has returned. */
static int who_got(int type, uint32_t *ret_from, int *ret_fd) {
    struct pollfd p[TASKS];
    for (int i = 0; i < TASKS; i++)
        p[i] = (struct pollfd){.fd = type == SOCK_STREAM ? w.tcp[i] : w.udp[i], .events = POLLIN};
    (void) poll(p, TASKS, WORLD_PATIENCE_MS);
    return who_has(type, ret_from, ret_fd);
}

struct seen {
    int count[TASKS];
    uint32_t from;
    int last_error, failures;
};

static struct seen ask(int netns, int type, uint32_t address, uint16_t port, int times) {
    struct seen s = {0};
    for (int i = 0; i < times; i++) {
        auto_fd int fd = world_connect(netns, type, address, port);
        int task = fd < 0 ? -1 : who_got(type, &s.from, NULL);
        if (task >= 0) {
            s.count[task]++;
        } else {
            s.failures++;
            s.last_error = fd;
        }
    }
    return s;
}

/* --- VIPs --- */

static void test_vip_spreads_over_all_serving_tasks(void **state) {
    (void) state;
    const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int i = 0; i < 2; i++) {
        struct seen s = ask(w.task[M_A], types[i], VIP_WEB, 80, 60);
        assert_int_equal(s.failures, 0);
        assert_true(s.count[A1] > 0 && s.count[A2] > 0 && s.count[A3] > 0);
        assert_int_equal(s.from, addresses[M_A]); /* the client's own address */
    }
}

static void test_vip_to_itself_comes_from_the_gateway(void **state) {
    (void) state;
    bool itself = false;
    for (int i = 0; i < 40; i++) {
        uint32_t from = 0;
        auto_fd int fd = world_connect(w.task[A1], SOCK_STREAM, VIP_WEB, 80);
        assert_true(fd >= 0);
        int task = who_got(SOCK_STREAM, &from, NULL);
        assert_int_equal(from, task == A1 ? GW_A : addresses[A1]);
        itself = itself || task == A1;
    }
    assert_true(itself);
}

static void test_vip_without_serving_task_refuses_at_once(void **state) {
    (void) state;
    for (int i = 0; i < 20; i++) /* more than ICMP's rate limit lets through */
        assert_int_equal(world_connect(w.task[A2], SOCK_STREAM, VIP_NONE, 80), -ECONNREFUSED);
    struct seen s = ask(w.task[A2], SOCK_DGRAM, VIP_NONE, 80, 1);
    assert_int_equal(s.last_error, -ECONNREFUSED);
    assert_int_equal(world_connect(w.task[A2], SOCK_STREAM, IP(10, 96, 7, 7), 80), -ECONNREFUSED);
}

static void test_vip_closed_port_is_refused_by_the_task(void **state) {
    (void) state;
    assert_int_equal(world_connect(w.task[A2], SOCK_STREAM, VIP_WEB, 81), -ECONNREFUSED);
}

static void test_vip_of_second_network_works_with_the_address_there(void **state) {
    (void) state;
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_DB, 80, 3);
    assert_int_equal(s.count[B1], 3);
    assert_int_equal(s.from, addresses[M_B]);
    s = ask(w.task[M_A], SOCK_STREAM, IP(10, 96, 0, 5), 80, 3); /* itself over there */
    assert_int_equal(s.count[M_A], 3);
    assert_int_equal(s.from, GW_B);
    s = ask(w.task[B1], SOCK_STREAM, IP(10, 96, 0, 5), 80, 3);
    assert_int_equal(s.count[M_A], 3);
    assert_int_equal(s.from, addresses[B1]);
}

/* --- isolation --- */

static void test_networks_are_shut_from_each_other(void **state) {
    (void) state;
    struct {
        const char *name;
        int from;
        uint32_t to;
        uint16_t port;
    } cases[] = {
        {"task of another network", B1, addresses[A1], 80},
        {"VIP of another network", B1, VIP_WEB, 80},
        {"internal network from outside of it", A1, addresses[I1], 80},
        {"VIP of an internal network", A1, VIP_BATCH, 80},
        {"another network's gateway", A1, GW_B, 53},
        {"another network's gateway, other port", A1, GW_B, 22},
        {"out of an internal network", I1, OUTSIDE, 80},
        {"out of an internal network into another", I1, addresses[A1], 80},
        {"the host's service from an internal network", I1, HOST, 22},
        {"the gateway's service from an internal network", I1, GW_I, 22},
        {"a published port from an internal network", I1, HOST, 8080},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        auto_fd int fd =
            world_connect(w.task[cases[i].from], SOCK_STREAM, cases[i].to, cases[i].port);
        if (fd != -ECONNREFUSED)
            fail_msg("%s: %s", cases[i].name, fd < 0 ? err_text(fd) : "worked");
    }
    assert_int_equal(who_has(SOCK_STREAM, NULL, NULL), -1);
    auto_fd int fd = world_connect(w.task[A1], SOCK_STREAM, GW_A, 22);
    assert_true(fd >= 0); /* the host's own services are open to ordinary networks */
}

static void test_metadata_and_forged_sources_are_dropped(void **state) {
    (void) state;
    assert_int_equal(world_connect(w.task[A1], SOCK_STREAM, IP(169, 254, 169, 254), 80),
                     -ETIMEDOUT);
    /* Its other network's address, sent by the link of this one. */
    auto_fd int fd = world_connect_from(w.task[M_A], SOCK_STREAM, addresses[M_B], VIP_WEB, 80);
    assert_int_equal(fd, -ETIMEDOUT);
}

static void test_egress_is_masqueraded(void **state) {
    (void) state;
    uint32_t from = 0;
    auto_fd int fd = world_connect(w.task[A1], SOCK_STREAM, OUTSIDE, 80);
    assert_true(fd >= 0);
    assert_true(world_await(w.outside_tcp));
    assert_true(world_take(w.outside_tcp, SOCK_STREAM, &from, NULL));
    assert_int_equal(from, HOST);
}

static void test_host_does_not_become_a_router(void **state) {
    (void) state;
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/conf/up1/forwarding"), "1");
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/ip_forward"), "0");
    assert_int_equal(world_connect(w.outside2, SOCK_STREAM, OUTSIDE, 80), -ETIMEDOUT);
}

/* --- published ports --- */

static void test_published_port_keeps_the_clients_address(void **state) {
    (void) state;
    struct seen s = ask(w.outside, SOCK_STREAM, HOST, 8080, 30);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.from, OUTSIDE);
    assert_true(s.count[A1] > 0 && s.count[A2] > 0 && s.count[A3] > 0);
    s = ask(w.outside, SOCK_DGRAM, HOST, 8080, 3);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.from, OUTSIDE);
    s = ask(w.outside2, SOCK_STREAM, HOST2, 8080, 3); /* on every address */
    assert_int_equal(s.failures, 0);
    s = ask(w.host, SOCK_STREAM, HOST, 8080, 3); /* the host itself */
    assert_int_equal(s.failures, 0);
    s = ask(w.task[B1], SOCK_STREAM, HOST, 8080, 3); /* another app's task */
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.from, addresses[B1]);
}

static void test_host_ip_is_honoured_never_widened(void **state) {
    (void) state;
    struct seen s = ask(w.outside, SOCK_STREAM, HOST, 8081, 3);
    assert_int_equal(s.failures, 0);
    assert_int_equal(world_connect(w.outside2, SOCK_STREAM, HOST2, 8081), -ECONNREFUSED);
    assert_int_equal(world_connect(w.outside, SOCK_STREAM, HOST, 8082),
                     -ECONNREFUSED); /* loopback's */
    assert_int_equal(world_connect(w.outside, SOCK_STREAM, HOST, 8090),
                     -ECONNREFUSED); /* internal */
}

static void test_task_address_from_outside_is_refused(void **state) {
    (void) state;
    assert_int_equal(world_connect(w.outside2, SOCK_STREAM, addresses[A1], 80), -ECONNREFUSED);
}

/* --- changes --- */

static char *ruleset(void) {
    nft_run_cmd_from_buffer(w.stranger, "list ruleset");
    return mem_strdup(nft_ctx_get_output_buffer(w.stranger));
}

static bool table_has(const char *what) {
    auto_free char *text = ruleset();
    return strstr(text, what) != NULL;
}

static void dispatch_for(bool (*done)(void)) {
    int64_t deadline = clock_mono_ms() + 10000;
    while (!done()) {
        int fds[NET_FDS_MAX], n = net_fds(w.net, fds);
        struct pollfd p[NET_FDS_MAX];
        for (int i = 0; i < n; i++) p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        int wait = net_timeout_ms(w.net, clock_mono_ms());
        if (wait < 0 || wait > 500) wait = 500;
        (void) poll(p, (nfds_t) n, wait);
        net_dispatch(w.net);
        if (clock_mono_ms() > deadline) fail_msg("nothing happened");
    }
}

static bool said_something(void) {
    return w.n_said > 0;
}

static bool no_stale_slots(void) {
    return !table_has("10.96.0.1 . 0x4e000002");
}

static void test_scale_down_leaves_slots_for_a_second(void **state) {
    (void) state;
    view_endpoint_at(w.view, 0, 0)->serving = false; /* a1 leaves; a3 takes its place */
    apply(w.view);
    assert_true(table_has("10.96.0.1 . 0x4e000002"));
    assert_true(table_has("10.96.0.1 : goto n2"));
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 30);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.count[A1], 0);
    int wait = net_timeout_ms(w.net, clock_mono_ms());
    assert_true(wait >= 0 && wait <= 1000);
    dispatch_for(no_stale_slots);
    assert_int_equal(net_timeout_ms(w.net, clock_mono_ms()), -1);
    s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 30);
    assert_int_equal(s.failures, 0);
    view_endpoint_at(w.view, 0, 0)->serving = true;
    apply(w.view);
    s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 60);
    assert_true(s.count[A1] > 0 && s.failures == 0);
    assert_int_equal(w.n_said, 0); /* nothing of that was taken for a stranger's */
}

static void test_service_gone_is_refused_then_comes_back(void **state) {
    (void) state;
    for (size_t i = 0; i < 3; i++) view_endpoint_at(w.view, 0, i)->serving = false;
    apply(w.view);
    assert_int_equal(world_connect(w.task[M_A], SOCK_STREAM, VIP_WEB, 80), -ECONNREFUSED);
    assert_int_equal(world_connect(w.outside, SOCK_STREAM, HOST, 8080), -ECONNREFUSED);
    view_endpoint_at(w.view, 0, 1)->serving = true; /* while the old slots are still there */
    apply(w.view);
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.count[A2], 10);
}

static void apply_change(const struct net_change *c) {
    struct err err = {0};
    int r = net_apply_change(w.net, c, &err);
    if (r < 0) fail_msg("net_apply_change: %d %s", r, err.text);
}

static void test_a_change_of_one_service_reaches_the_kernel(void **state) {
    (void) state;
    view_endpoint_at(w.view, 0, 0)->serving = false;
    apply_change(&(struct net_change){.services = w.view->services.v, .n_services = 1});
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 30);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.count[A1], 0);
    s = ask(w.outside, SOCK_STREAM, HOST, 8080, 30);
    assert_true(s.failures == 0 && s.count[A1] == 0 && s.count[A3] > 0);
    dispatch_for(no_stale_slots);
    const uint64_t web = w.view->services.v[0]->id;
    apply_change(&(struct net_change){.services_gone = &web, .n_services_gone = 1});
    assert_int_equal(world_connect(w.task[M_A], SOCK_STREAM, VIP_WEB, 80), -ECONNREFUSED);
    assert_int_equal(world_connect(w.outside, SOCK_STREAM, HOST, 8080), -ECONNREFUSED);
    s = ask(w.task[M_A], SOCK_STREAM, VIP_DB, 80, 3); /* the others are as they were */
    assert_int_equal(s.count[B1], 3);
    view_endpoint_at(w.view, 0, 0)->serving = true;
    apply_change(&(struct net_change){.services = w.view->services.v, .n_services = 1});
    s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 60);
    assert_true(s.count[A1] > 0 && s.failures == 0);
}

/* Without its entry a task that reaches itself by a VIP would get answers from nowhere. */
static void test_a_change_of_one_task_reaches_the_kernel(void **state) {
    (void) state;
    const struct net_change gone = {.addresses = &addresses[B1], .n_addresses = 1};
    apply_change(&gone);
    struct net_change back = gone;
    back.local = &w.view->local[B1];
    back.n_local = 1;
    apply_change(&back);
    char text[64], ip[STR_IPV4_MAX];
    str_from_ipv4(addresses[B1], ip);
    snprintf(text, sizeof text, "%s . %s :", ip, ip);
    assert_true(table_has(text));
    apply_change(&gone);
    assert_false(table_has(text));
}

static void test_network_removed_takes_its_device(void **state) {
    (void) state;
    assert_int_equal(world_count_links("olg"), 3);
    w.view->services.n = 1; /* only web */
    w.view->networks.n = 1;
    w.view->n_local = 3;
    apply(w.view);
    assert_int_equal(world_count_links("olg"), 1);
    struct seen s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);
    /* What is left of b is no network of ours any more; it reaches nobody. */
    auto_fd int fd = world_connect(w.task[B1], SOCK_STREAM, addresses[A1], 80);
    assert_true(fd < 0);
}

static void test_bad_view_is_refused_and_changes_nothing(void **state) {
    (void) state;
    struct err err = {0};
    view_endpoint_at(w.view, 0, 0)->address = IP(10, 80, 4, 9);
    struct net_view nv = view_of(w.view);
    assert_int_equal(net_apply(w.net, &nv, &err), -EINVAL);
    assert_string_equal(err.text, "service \"web\": a task's address is outside its network");
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 30);
    assert_int_equal(s.failures, 0);
}

/* --- somebody else's hands --- */

static void test_flush_ruleset_is_repaired_and_connections_live(void **state) {
    (void) state;
    int fd_server = -1;
    auto_fd int client = world_connect(w.outside, SOCK_STREAM, HOST, 8080);
    assert_true(client >= 0);
    assert_true(who_got(SOCK_STREAM, NULL, &fd_server) >= 0);
    assert_int_equal(nft_run_cmd_from_buffer(w.stranger, "flush ruleset"), 0);
    assert_false(table_has("table inet orlop {"));
    assert_true(table_has("table inet orlop_hold {"));
    char got[8];
    assert_int_equal(send(client, "in", 2, MSG_NOSIGNAL), 2); /* in the gap */
    assert_true(world_await(fd_server));
    assert_int_equal(recv(fd_server, got, sizeof got, 0), 2);
    assert_int_equal(send(fd_server, "out", 3, MSG_NOSIGNAL), 3);
    assert_true(world_await(client));
    assert_int_equal(recv(client, got, sizeof got, 0), 3);
    auto_fd int other = world_connect(w.task[B1], SOCK_STREAM, addresses[A1], 80);
    assert_int_equal(other, -ETIMEDOUT); /* shut out even now */
    dispatch_for(said_something);
    assert_non_null(strstr(w.said, "the nftables table orlop was changed by test_net"));
    struct seen s = ask(w.outside, SOCK_STREAM, HOST, 8080, 10);
    assert_int_equal(s.failures, 0);
    assert_int_equal(send(client, "in", 2, MSG_NOSIGNAL), 2);
    assert_true(world_await(fd_server));
    assert_int_equal(recv(fd_server, got, sizeof got, 0), 2);
    fd_close(&fd_server);
    w.n_said = 0;
    net_dispatch(w.net);
    assert_int_equal(w.n_said, 0); /* our own repair is not a stranger's change */
}

static void test_a_single_element_removed_is_repaired(void **state) {
    (void) state;
    assert_int_equal(
        nft_run_cmd_from_buffer(w.stranger, "delete element inet orlop svc { 10.96.0.1 }"), 0);
    dispatch_for(said_something);
    struct seen s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);
}

/* Before we have heard of it: a refusal would be for good, a SYN that is lost is sent again. */
static void test_no_vip_is_refused_while_the_rules_are_gone(void **state) {
    (void) state;
    assert_int_equal(nft_run_cmd_from_buffer(w.stranger, "flush ruleset"), 0);
    assert_int_equal(world_connect(w.task[M_A], SOCK_STREAM, VIP_WEB, 80), -ETIMEDOUT);
    dispatch_for(said_something);
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);
}

static void test_no_vip_is_refused_whose_tasks_link_is_gone(void **state) {
    (void) state;
    view_endpoint_at(w.view, 0, 1)->serving = false;
    view_endpoint_at(w.view, 0, 2)->serving = false;
    apply(w.view);
    links_gone = 0;
    world_delete_link("olva1");
    assert_int_equal(world_connect(w.task[M_A], SOCK_STREAM, VIP_WEB, 80), -ETIMEDOUT);
    net_dispatch(w.net);
    assert_int_equal(links_gone, 1);
    net_dispatch(w.net);
    assert_int_equal(links_gone, 1);
}

static void test_a_strangers_own_table_is_left_alone(void **state) {
    (void) state;
    assert_int_equal(nft_run_cmd_from_buffer(w.stranger, "add table inet other"), 0);
    net_dispatch(w.net);
    assert_int_equal(w.n_said, 0);
    assert_true(table_has("table inet other"));
}

static void test_apply_after_unnoticed_flush_loads_everything(void **state) {
    (void) state;
    assert_int_equal(nft_run_cmd_from_buffer(w.stranger, "flush ruleset"), 0);
    view_endpoint_at(w.view, 0, 0)->serving = false;
    apply(w.view);
    struct seen s = ask(w.task[M_A], SOCK_STREAM, VIP_WEB, 80, 30);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.count[A1], 0);
}

static void test_gateway_device_deleted_is_made_again(void **state) {
    (void) state;
    world_delete_link("olg1");
    assert_int_equal(world_count_links("olg"), 2);
    dispatch_for(said_something);
    assert_int_equal(world_count_links("olg"), 3);
    auto_fd int fd = world_connect(w.task[A1], SOCK_STREAM, GW_A, 22);
    assert_true(fd >= 0);
    w.n_said = 0;
    world_delete_addresses("olg1");
    dispatch_for(said_something);
    assert_non_null(strstr(w.said, "address of olg1"));
}

static void test_task_route_deleted_is_made_again(void **state) {
    (void) state;
    world_delete_route(addresses[A2]);
    dispatch_for(said_something);
    assert_non_null(strstr(w.said, "route to 10.80.0.3"));
    auto_fd int fd = world_connect(w.task[A1], SOCK_STREAM, addresses[A2], 80);
    assert_true(fd >= 0);
}

static void test_host_address_in_a_subnet_of_ours_is_said(void **state) {
    (void) state;
    world_local_address(IP(10, 80, 1, 7));
    dispatch_for(said_something);
    assert_string_equal(w.said,
                        "10.80.1.7 of lo (/32) is in the subnet of network 1: choose another "
                        "address pool");
}

static void test_forwarding_switched_off_is_restored(void **state) {
    (void) state;
    world_sysctl("/proc/sys/net/ipv4/conf/up0/forwarding", "0");
    dispatch_for(said_something);
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/conf/up0/forwarding"), "1");
}

/* What attach has made and not finished yet is no damage; the same when it is up is. */
static void test_link_being_made_is_left_alone(void **state) {
    (void) state;
    const char *forwarding = "/proc/sys/net/ipv4/conf/olvnew/forwarding";
    struct world_link l = task_link(A1, "olvnew", NET_A);
    l.name = "eth7";
    world_half_link(&l);
    world_local_address(IP(10, 80, 1, 7)); /* makes it look at everything, and say so */
    dispatch_for(said_something);
    assert_non_null(strstr(w.said, "choose another address pool"));
    assert_int_equal(w.n_said, 1);
    assert_string_equal(world_read_sysctl(forwarding), "0");
    w.n_said = 0;
    world_link_up(l.host_name);
    world_sysctl(forwarding, "1");
    world_sysctl(forwarding, "0");
    dispatch_for(said_something);
    assert_non_null(strstr(w.said, "forwarding of olvnew"));
    assert_string_equal(world_read_sysctl(forwarding), "1");
}

static void test_ip_forward_set_to_0_does_not_cut_tasks_off(void **state) {
    (void) state;
    world_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
    world_sysctl("/proc/sys/net/ipv4/ip_forward", "0");
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/conf/olva1/forwarding"), "0");
    dispatch_for(said_something);
    struct seen s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);
    s = ask(w.outside, SOCK_STREAM, HOST, 8080, 10);
    assert_int_equal(s.failures, 0);
}

static bool router(void) {
    return !table_has("elements = { \"up0\"");
}

static void test_host_made_a_router_by_others_stays_one(void **state) {
    (void) state;
    assert_false(router());
    world_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
    dispatch_for(router);
    auto_fd int fd = world_connect(w.outside2, SOCK_STREAM, OUTSIDE, 80);
    assert_int_equal(fd, -ETIMEDOUT); /* outside has no way back, but it got there */
    struct err err = {0};
    assert_int_equal(net_teardown(w.net, &err), 0);
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/conf/up0/forwarding"), "1");
}

/* --- connections --- */

static int open_connections(uint32_t address) {
    struct net_connections v[] = {{.address = address}, {.address = addresses[A2]}};
    assert_int_equal(net_connections(w.net, v, 1, NULL), 0);
    int n = v[0].open;
    assert_int_equal(net_connections(w.net, v, 2, NULL), 0); /* the same when asked for many */
    assert_int_equal(v[v[0].address == address ? 0 : 1].open, n);
    return n;
}

static void forget(uint32_t address, enum net_forget what) {
    struct net_connections v[] = {{.address = addresses[M_B]},
                                  {.address = address, .forget = what}};
    assert_int_equal(net_connections(w.net, v, 2, NULL), 0);
}

static void test_open_ones_are_counted_and_forgotten(void **state) {
    (void) state;
    int fd[3], server[3];
    for (int i = 0; i < 3; i++) {
        /* two by the VIP, one directly */
        fd[i] =
            i < 2 ? world_connect(w.task[M_A], SOCK_STREAM, VIP_DB, 80)
                  : world_connect_from(w.task[M_A], SOCK_STREAM, addresses[M_B], addresses[B1], 80);
        assert_true(fd[i] >= 0);
        assert_int_equal(who_got(SOCK_STREAM, NULL, &server[i]), B1);
    }
    assert_int_equal(open_connections(addresses[B1]), 3);
    assert_int_equal(open_connections(addresses[A1]), 0);
    forget(addresses[B1], NET_FORGET_DATAGRAMS);
    assert_int_equal(open_connections(addresses[B1]), 3);
    /* The asker has said all it has to say: the answer is still to come. */
    assert_int_equal(shutdown(fd[0], SHUT_WR), 0);
    assert_int_equal(open_connections(addresses[B1]), 3);
    close(server[0]);
    close(fd[0]);
    assert_int_equal(open_connections(addresses[B1]), 2);
    forget(addresses[B1], NET_FORGET_ALL);
    assert_int_equal(open_connections(addresses[B1]), 0);
    for (int i = 1; i < 3; i++) {
        close(fd[i]);
        close(server[i]);
    }
}

static void test_udp_leaves_a_gone_task_when_forgotten(void **state) {
    (void) state;
    auto_fd int fd = world_connect(w.task[M_A], SOCK_DGRAM, VIP_WEB, 80);
    int first = who_got(SOCK_DGRAM, NULL, NULL);
    assert_true(first >= A1 && first <= A3);
    view_endpoint_at(w.view, 0, (size_t) first)->serving = false;
    apply(w.view);
    assert_int_equal(send(fd, "again", 5, 0), 5);
    assert_int_equal(who_got(SOCK_DGRAM, NULL, NULL), first); /* it sticks */
    forget(addresses[first], NET_FORGET_DATAGRAMS);
    assert_int_equal(send(fd, "again", 5, 0), 5);
    int second = who_got(SOCK_DGRAM, NULL, NULL);
    assert_true(second >= A1 && second <= A3 && second != first);
}

/* --- the agent's life --- */

static void test_second_orlop_in_the_namespace_is_refused(void **state) {
    (void) state;
    struct err err = {0};
    struct net_config cfg = config();
    struct net *other = NULL;
    assert_int_equal(net_open(&cfg, &other, &err), -EBUSY);
    assert_string_equal(err.text,
                        "another Orlop runs in this network namespace: it owns the nftables "
                        "table orlop_hold");
    assert_null(other);
}

static void test_next_agent_takes_over(void **state) {
    (void) state;
    struct err err = {0};
    struct net_config cfg = config();
    net_free(w.net);
    w.net = NULL;
    assert_false(table_has("orlop_hold"));
    struct seen s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0); /* without an agent */
    assert_int_equal(net_open(&cfg, &w.net, &err), 0);
    s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);       /* before it knows anything */
    world_local_address(IP(10, 97, 0, 1)); /* nor does it repair what it does not know */
    assert_int_equal(nft_run_cmd_from_buffer(w.stranger, "add set inet orlop x { type mark; }"), 0);
    net_dispatch(w.net);
    assert_int_equal(world_count_links("olg"), 3);
    s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);
    apply(w.view);
    s = ask(w.task[A1], SOCK_STREAM, VIP_WEB, 80, 10);
    assert_int_equal(s.failures, 0);
    assert_int_equal(net_teardown(w.net, &err), 0);
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/conf/up0/forwarding"), "0");
}

static void test_teardown_leaves_nothing(void **state) {
    (void) state;
    struct err err = {0};
    auto_free char *before = NULL;
    auto_free char *routes = NULL;
    size_t n;
    assert_int_equal(fd_read_file(AT_FDCWD, "/proc/net/route", 1 << 20, &before, &n), 0);
    assert_non_null(strstr(before, "\t0000500A"));
    assert_non_null(strstr(before, "\t0000600A"));
    assert_int_equal(access(w.record, F_OK), 0);
    auto_fd int in =
        world_connect(w.outside, SOCK_STREAM, HOST, 8080); /* connections of all kinds */
    auto_fd int out = world_connect(w.task[A1], SOCK_STREAM, OUTSIDE, 80);
    auto_fd int stranger = world_connect(w.outside, SOCK_STREAM, HOST, 22);
    assert_true(in >= 0 && out >= 0 && stranger >= 0);
    assert_int_equal(net_teardown(w.net, &err), 0);
    auto_free char *text = ruleset();
    assert_string_equal(text, "");
    assert_int_equal(world_count_links("ol"), 0);
    assert_string_equal(world_read_sysctl("/proc/sys/net/ipv4/conf/up0/forwarding"), "0");
    assert_int_equal(fd_read_file(AT_FDCWD, "/proc/net/route", 1 << 20, &routes, &n), 0);
    assert_null(strstr(routes, "\t0000500A")); /* 10.80.0.0 */
    assert_null(strstr(routes, "\t0000600A")); /* 10.96.0.0 */
    assert_int_equal(access(w.record, F_OK), -1);
    auto_free char *connections = NULL;
    if (fd_read_file(AT_FDCWD, "/proc/net/nf_conntrack", 1 << 20, &connections, &n) == 0)
        assert_null(strstr(connections, "=10.80."));
}

int main(void) {
    if (geteuid() != 0) {
        printf("skipped: network namespaces need root\n");
        return 0;
    }
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_vip_spreads_over_all_serving_tasks),
        T(test_vip_to_itself_comes_from_the_gateway),
        T(test_vip_without_serving_task_refuses_at_once),
        T(test_vip_closed_port_is_refused_by_the_task),
        T(test_vip_of_second_network_works_with_the_address_there),
        T(test_networks_are_shut_from_each_other),
        T(test_metadata_and_forged_sources_are_dropped),
        T(test_egress_is_masqueraded),
        T(test_host_does_not_become_a_router),
        T(test_published_port_keeps_the_clients_address),
        T(test_host_ip_is_honoured_never_widened),
        T(test_task_address_from_outside_is_refused),
        T(test_scale_down_leaves_slots_for_a_second),
        T(test_service_gone_is_refused_then_comes_back),
        T(test_a_change_of_one_service_reaches_the_kernel),
        T(test_a_change_of_one_task_reaches_the_kernel),
        T(test_network_removed_takes_its_device),
        T(test_bad_view_is_refused_and_changes_nothing),
        T(test_flush_ruleset_is_repaired_and_connections_live),
        T(test_a_single_element_removed_is_repaired),
        T(test_a_strangers_own_table_is_left_alone),
        T(test_no_vip_is_refused_while_the_rules_are_gone),
        T(test_no_vip_is_refused_whose_tasks_link_is_gone),
        T(test_apply_after_unnoticed_flush_loads_everything),
        T(test_gateway_device_deleted_is_made_again),
        T(test_task_route_deleted_is_made_again),
        T(test_host_address_in_a_subnet_of_ours_is_said),
        T(test_forwarding_switched_off_is_restored),
        T(test_link_being_made_is_left_alone),
        T(test_ip_forward_set_to_0_does_not_cut_tasks_off),
        T(test_host_made_a_router_by_others_stays_one),
        T(test_open_ones_are_counted_and_forgotten),
        T(test_udp_leaves_a_gone_task_when_forgotten),
        T(test_second_orlop_in_the_namespace_is_refused),
        T(test_next_agent_takes_over),
        T(test_teardown_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
