// SPDX-License-Identifier: Apache-2.0
/* The tasks' nameserver in a network namespace of its own: all addresses are on its loopback
 * device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "agent/dns.h"
#include "agent/dns_message.h"
#include "dns_wire.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "view.h"
#include "world.h"

#define NET_A 0x4f520001u
#define NET_B 0x4f520002u
#define NET_I 0x4f520003u
#define GW_A IP(10, 80, 0, 1)
#define GW_B IP(10, 80, 4, 1)
#define GW_I IP(10, 80, 8, 1)
#define VIP_WEB IP(10, 96, 0, 1)
#define VIP_DB IP(10, 96, 0, 2)
#define VIP_BATCH IP(10, 96, 0, 3)
#define VIP_BLOG IP(10, 96, 0, 4)
#define WEB_1 IP(10, 80, 0, 2)
#define WEB_2 IP(10, 80, 0, 3)
#define PROXY_A IP(10, 80, 0, 5)
#define PROXY_B IP(10, 80, 4, 5)
#define DB_1 IP(10, 80, 4, 2)
#define BATCH_1 IP(10, 80, 8, 2)
#define BLOG_1 IP(10, 80, 0, 9)
#define UPSTREAM IP(127, 0, 0, 11)
#define UPSTREAM_2 IP(127, 0, 0, 12)

static struct {
    int original, netns;
    uv_loop_t loop;
    struct agent_dns *dns;
    struct view *view;
    char resolv[64];
    int upstream, upstream_tcp, upstream_2;
    int asked, asked_2; /* questions that came there */
    bool silent;
    bool upstream_truncates;
    struct wire_answer answer;
} w;

static void write_resolv(const char *text) {
    assert_int_equal(fd_replace_file(AT_FDCWD, w.resolv, text, strlen(text), 0600), 0);
}

static void fill_view(void) {
    struct view *v = w.view = view_new();
    view_network(v, NET_A, IP(10, 80, 0, 0), GW_A, false);
    view_network(v, NET_B, IP(10, 80, 4, 0), GW_B, true);
    view_network(v, NET_I, IP(10, 80, 8, 0), GW_I, true);
    Orlop__ViewService *s = view_service(v, "Web", NET_A, VIP_WEB);
    view_endpoint(s, "t1", WEB_1, true);
    view_endpoint(s, "t2", WEB_2, true);
    s->aliases[s->n_aliases++] = mem_strdup("www");
    s = view_service(v, "db", NET_B, VIP_DB);
    view_endpoint(s, "t3", DB_1, false);
    s = view_service(v, "proxy", NET_A, 0);
    view_endpoint(s, "t4", PROXY_A, true);
    s = view_service(v, "proxy", NET_B, 0);
    view_endpoint(s, "t4", PROXY_B, true);
    s = view_service(v, "batch", NET_I, VIP_BATCH);
    view_endpoint(s, "t5", BATCH_1, true);
    s = view_service(v, "web", NET_A, VIP_BLOG); /* another app on the same network */
    mem_free(s->app);
    s->app = mem_strdup("blog");
    view_endpoint(s, "t6", BLOG_1, true);
}

static int apply(struct err *err) {
    return agent_dns_apply(w.dns, w.view->networks.v, w.view->networks.n, w.view->services.v,
                           w.view->services.n, err);
}

static int upstream_at(int type, uint32_t address) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(address)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof a), 0);
    if (type == SOCK_STREAM) assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int setup(void **state) {
    (void) state;
    memset(&w, 0, sizeof w);
    struct err err = {0};
    w.original = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    w.netns = world_netns();
    world_enter(w.netns);
    const uint32_t mine[] = {GW_A,    GW_B, GW_I,    WEB_1,  PROXY_A,
                             PROXY_B, DB_1, BATCH_1, BLOG_1, IP(10, 80, 0, 77)};
    for (size_t i = 0; i < array_len(mine); i++) world_local_address(mine[i]);
    snprintf(w.resolv, sizeof w.resolv, "/tmp/orlop-test-resolv.%d", getpid());
    write_resolv("nameserver 127.0.0.11\nnameserver 127.0.0.12\n");
    w.upstream = upstream_at(SOCK_DGRAM, UPSTREAM);
    w.upstream_tcp = upstream_at(SOCK_STREAM, UPSTREAM);
    w.upstream_2 = upstream_at(SOCK_DGRAM, UPSTREAM_2);
    assert_int_equal(uv_loop_init(&w.loop), 0);
    assert_int_equal(agent_dns_new(&w.loop, w.resolv, &w.dns, &err), 0);
    fill_view();
    if (apply(&err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

static void on_closed(void *arg) {
    *(bool *) arg = true;
}

static int teardown(void **state) {
    (void) state;
    bool closed = false;
    agent_dns_close(w.dns, on_closed, &closed);
    assert_int_equal(uv_run(&w.loop, UV_RUN_DEFAULT), 0);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    view_free(w.view);
    unlink(w.resolv);
    world_enter(w.original);
    int *fds[] = {&w.original, &w.netns, &w.upstream, &w.upstream_tcp, &w.upstream_2};
    for (size_t i = 0; i < array_len(fds); i++) fd_close(fds[i]);
    return 0;
}

/* The nameservers outside: one answer to everything. */
static void serve(int fd, int *asked) {
    uint8_t buf[2048];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t n = recvfrom(fd, buf, 512, MSG_DONTWAIT, (struct sockaddr *) &from, &len);
    if (n < 12) return;
    (*asked)++;
    if (fd == w.upstream && w.silent) return;
    uint8_t forged[2048]; /* first one that has not guessed the id */
    memcpy(forged, buf, (size_t) n);
    forged[0] ^= 0x55;
    size_t size = wire_answer_a(forged, (size_t) n, IP(6, 6, 6, 6));
    (void) sendto(fd, forged, size, 0, (struct sockaddr *) &from, len);
    size = wire_answer_a(buf, (size_t) n, IP(1, 2, 3, 4));
    if (w.upstream_truncates) buf[2] |= 2;
    (void) sendto(fd, buf, size, 0, (struct sockaddr *) &from, len);
}

static void serve_tcp(void) {
    auto_fd int fd = accept4(w.upstream_tcp, NULL, NULL, SOCK_CLOEXEC);
    uint8_t buf[2048];
    if (fd < 0) return;
    for (ssize_t n = 0, got; n < 2 || n < 2 + (buf[0] << 8 | buf[1]); n += got) {
        /* the question is written by our own loop */
        uv_run(&w.loop, UV_RUN_NOWAIT);
        got = recv(fd, buf + n, sizeof buf - (size_t) n, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) got = 0;
        if (got < 0) return;
    }
    size_t size = wire_answer_a(buf + 2, (size_t) (buf[0] << 8 | buf[1]), IP(5, 6, 7, 8));
    buf[0] = (uint8_t) (size >> 8);
    buf[1] = (uint8_t) size;
    assert_int_equal(write(fd, buf, 2 + size), 2 + size);
}

/* Everybody works until FD can be read. */
static void wait_for(int fd) {
    int64_t deadline = clock_mono_ms() + 15000;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 1) == 0) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        serve(w.upstream, &w.asked);
        serve(w.upstream_2, &w.asked_2);
        serve_tcp();
        if (clock_mono_ms() > deadline) fail_msg("no answer");
    }
}

static int socket_of(int type, uint32_t asker, uint32_t gateway) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(asker)};
    assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof a), 0);
    a.sin_port = htons(53);
    a.sin_addr.s_addr = htonl(gateway);
    assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof a), 0);
    return fd;
}

static const struct wire_answer *ask(uint32_t asker, uint32_t gateway, const char *name,
                                     uint16_t type) {
    uint8_t buf[2048];
    auto_fd int fd = socket_of(SOCK_DGRAM, asker, gateway);
    size_t n = wire_query(buf, 0x4711, name, type, 0);
    assert_int_equal(send(fd, buf, n, 0), n);
    wait_for(fd);
    ssize_t got = recv(fd, buf, sizeof buf, 0);
    if (got < 0 || !wire_parse(buf, (size_t) got, &w.answer))
        fail_msg("no good answer for %s", name);
    assert_int_equal(w.answer.id, 0x4711);
    return &w.answer;
}

static const struct wire_answer *ask_tcp(uint32_t asker, uint32_t gateway, const char *name) {
    static uint8_t buf[2 + WIRE_MAX];
    auto_fd int fd = socket_of(SOCK_STREAM, asker, gateway);
    size_t n = wire_query(buf + 2, 0x4711, name, DNS_A, 0);
    dns_put16(buf, (uint16_t) n);
    assert_int_equal(send(fd, buf, 2 + n, 0), 2 + n);
    size_t have = 0;
    do {
        wait_for(fd);
        ssize_t got = recv(fd, buf + have, sizeof buf - have, 0);
        if (got <= 0) fail_msg("closed");
        have += (size_t) got;
    } while (have < 2 || have < 2u + dns_get16(buf));
    assert_true(wire_parse(buf + 2, have - 2, &w.answer));
    return &w.answer;
}

#define OK DNS_NOERROR
#define NX DNS_NXDOMAIN

static void test_names_by_who_asks(void **state) {
    (void) state;
    static const struct {
        uint32_t asker, gateway;
        const char *name;
        uint16_t type;
        int rcode;
        uint32_t address; /* 0 = no records */
    } cases[] = {
        {PROXY_A, GW_A, "web", DNS_A, OK, VIP_WEB},
        {PROXY_A, GW_A, "WEB.", DNS_A, OK, VIP_WEB},
        {PROXY_A, GW_A, "web.shop", DNS_A, OK, VIP_WEB},
        {PROXY_A, GW_A, "www", DNS_A, OK, VIP_WEB},
        {PROXY_A, GW_A, "shop-web-1", DNS_A, OK, WEB_1},
        {PROXY_A, GW_A, "shop-web-2", DNS_A, OK, WEB_2},
        {PROXY_A, GW_A, "shop-web-3", DNS_A, NX, 0},
        {PROXY_A, GW_A, "web", DNS_AAAA, OK, 0}, /* musl would give up at NXDOMAIN */
        {PROXY_A, GW_A, "web", 16, OK, 0},
        {PROXY_A, GW_A, "web", DNS_ANY, OK, VIP_WEB},
        {PROXY_A, GW_A, "nothing", DNS_A, NX, 0},
        {PROXY_A, GW_A, "nothing.shop", DNS_A, NX, 0},
        {PROXY_A, GW_A, "nothing", DNS_AAAA, NX, 0},
        {BLOG_1, GW_A, "web", DNS_A, OK, VIP_BLOG}, /* its own app's */
        {BLOG_1, GW_A, "web.shop", DNS_A, OK, VIP_WEB},
        {WEB_1, GW_A, "web.blog", DNS_A, OK, VIP_BLOG},
        {PROXY_A, GW_A, "db", DNS_A, OK, VIP_DB},  /* by its second network */
        {PROXY_A, GW_A, "tasks.db", DNS_A, OK, 0}, /* known, nobody serves */
        {PROXY_A, GW_A, "shop-db-1", DNS_A, OK, DB_1},
        {PROXY_A, GW_A, "proxy", DNS_A, OK, PROXY_A}, /* no VIP: the tasks */
        {PROXY_B, GW_B, "proxy", DNS_A, OK, PROXY_B},
        {WEB_1, GW_A, "db", DNS_A, NX, 0}, /* not on that network */
        {WEB_1, GW_A, "db.shop", DNS_A, NX, 0},
        {WEB_1, GW_A, "tasks.db.shop", DNS_A, NX, 0},
        {BATCH_1, GW_I, "batch", DNS_A, OK, VIP_BATCH},
        {BATCH_1, GW_I, "web", DNS_A, NX, 0},
        {GW_A, GW_A, "web.shop", DNS_A, OK, VIP_WEB}, /* the host itself */
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        const struct wire_answer *a =
            ask(cases[i].asker, cases[i].gateway, cases[i].name, cases[i].type);
        if (a->rcode != cases[i].rcode || a->n != (cases[i].address ? 1u : 0u) ||
            (cases[i].address && a->addresses[0] != cases[i].address))
            fail_msg("case %zu, %s: rcode %d, %u addresses, %x", i, cases[i].name, a->rcode, a->n,
                     a->addresses[0]);
        if (a->n) assert_true(a->ttl <= 5);
    }
    assert_int_equal(w.asked, 0);
}

static void test_tasks_name_lists_all_serving(void **state) {
    (void) state;
    const struct wire_answer *a = ask(PROXY_A, GW_A, "tasks.web.shop", DNS_A);
    assert_int_equal(a->n, 2);
    assert_int_equal(a->addresses[0] ^ a->addresses[1], WEB_1 ^ WEB_2);
    view_endpoint_at(w.view, 0, 1)->serving = false;
    assert_int_equal(apply(NULL), 0);
    a = ask(PROXY_A, GW_A, "tasks.web", DNS_A);
    assert_int_equal(a->n, 1); /* its own app's only */
    a = ask(IP(10, 80, 0, 77), GW_A, "tasks.web", DNS_A);
    assert_int_equal(a->n, 2); /* nobody knows whose that one is */
}

static void test_backwards(void **state) {
    (void) state;
    const struct wire_answer *a = ask(WEB_1, GW_A, "2.0.80.10.in-addr.arpa", DNS_PTR);
    assert_string_equal(a->ptr, "shop-web-1");
    a = ask(WEB_1, GW_A, "1.0.96.10.in-addr.arpa", DNS_PTR);
    assert_string_equal(a->ptr, "web.shop");
    const char *none[] = {"2.4.80.10.in-addr.arpa", "99.0.80.10.in-addr.arpa",
                          "2.0.96.10.in-addr.arpa"};
    for (size_t i = 0; i < array_len(none); i++) {
        a = ask(WEB_1, GW_A, none[i], DNS_PTR);
        assert_int_equal(a->rcode, NX);
        assert_string_equal(a->ptr, "");
    }
    assert_int_equal(w.asked, 0);
}

static void test_other_names_go_upstream(void **state) {
    (void) state;
    const struct wire_answer *a = ask(WEB_1, GW_A, "example.org", DNS_A);
    assert_int_equal(a->n, 1);
    assert_int_equal(a->addresses[0], IP(1, 2, 3, 4)); /* not the forged one */
    assert_int_equal(w.asked, 1);
    a = ask_tcp(WEB_1, GW_A, "example.org");
    assert_int_equal(a->addresses[0], IP(5, 6, 7, 8));
}

static void test_truncated_upstream_answer_is_passed_on(void **state) {
    (void) state;
    w.upstream_truncates = true;
    assert_true(ask(WEB_1, GW_A, "example.org", DNS_A)->truncated);
}

static void test_silent_server_is_followed_by_the_next(void **state) {
    (void) state;
    w.silent = true;
    const struct wire_answer *a = ask(WEB_1, GW_A, "example.org", DNS_A);
    assert_int_equal(a->n, 1);
    assert_int_equal(w.asked, 1);
    assert_int_equal(w.asked_2, 1);
}

static void test_no_server_answers_servfail(void **state) {
    (void) state;
    fd_close(&w.upstream);
    fd_close(&w.upstream_2);
    assert_int_equal(ask(WEB_1, GW_A, "example.org", DNS_A)->rcode, DNS_SERVFAIL);
}

static void test_no_server_configured_answers_nxdomain(void **state) {
    (void) state;
    write_resolv("nameserver 10.80.0.1\n"); /* ourselves */
    assert_int_equal(ask(WEB_1, GW_A, "example.org", DNS_A)->rcode, NX);
}

static void test_internal_networks_ask_nobody_outside(void **state) {
    (void) state;
    assert_int_equal(ask(BATCH_1, GW_I, "example.org", DNS_A)->rcode, NX);
    assert_int_equal(ask(BATCH_1, GW_I, "4.4.8.8.in-addr.arpa", DNS_PTR)->rcode, NX);
    assert_int_equal(w.asked, 0);
    /* On an internal and an ordinary network it may. */
    assert_int_equal(ask(PROXY_B, GW_B, "example.org", DNS_A)->rcode, OK);
    assert_int_equal(w.asked, 1);
}

static void test_stranger_gets_no_answer(void **state) {
    (void) state;
    uint8_t buf[512];
    auto_fd int fd = socket_of(SOCK_DGRAM, DB_1, GW_A); /* of another network */
    size_t n = wire_query(buf, 1, "web", DNS_A, 0);
    assert_int_equal(send(fd, buf, n, 0), n);
    ask(WEB_1, GW_A, "web", DNS_A); /* this one came later and is answered */
    assert_int_equal(recv(fd, buf, sizeof buf, MSG_DONTWAIT), -1);
}

static void test_many_tasks_come_by_tcp(void **state) {
    (void) state;
    for (unsigned i = 10; i < 60; i++)
        view_endpoint(w.view->services.v[0], "x", IP(10, 80, 1, i), true);
    assert_int_equal(apply(NULL), 0);
    const struct wire_answer *a = ask(WEB_1, GW_A, "tasks.web.shop", DNS_A);
    assert_true(a->truncated && a->n >= 25);
    a = ask_tcp(WEB_1, GW_A, "tasks.web.shop");
    assert_int_equal(a->n, 52);
    assert_false(a->truncated);
}

static void test_tcp_client_that_sends_nonsense_is_closed(void **state) {
    (void) state;
    uint8_t c;
    const char *bytes[] = {"\0\1x", "\xff\xff", "\0\14\0\1\x80\0\0\0\0\0\0\0\0\0"};
    const size_t sizes[] = {3, 2, 14};
    for (int i = 0; i < 3; i++) {
        auto_fd int fd = socket_of(SOCK_STREAM, WEB_1, GW_A);
        assert_int_equal(send(fd, bytes[i], sizes[i], 0), sizes[i]);
        wait_for(fd);
        assert_true(recv(fd, &c, 1, 0) <= 0);
    }
}

static void test_port_taken_by_another_server_is_said(void **state) {
    (void) state;
    struct err err = {0};
    view_network(w.view, 0x4f520004u, IP(10, 80, 12, 0), IP(127, 0, 0, 11), false);
    assert_int_equal(apply(&err), -EADDRINUSE);
    assert_string_equal(err.text,
                        "tasks cannot resolve names: another DNS server holds port 53 of "
                        "127.0.0.11 (perhaps of all addresses); bind it to its own addresses "
                        "only");
    assert_int_equal(ask(WEB_1, GW_A, "web.shop", DNS_A)->rcode, OK); /* the others work */
    fd_close(&w.upstream);
    fd_close(&w.upstream_tcp);
    assert_int_equal(apply(&err), 0);
}

static void test_network_gone_closes_its_port(void **state) {
    (void) state;
    auto_fd int client = socket_of(SOCK_STREAM, BATCH_1, GW_I); /* idle, is closed with it */
    assert_true(client >= 0);
    auto_fd int waiting = socket_of(SOCK_DGRAM, WEB_1, GW_A);
    uint8_t buf[512];
    size_t n = wire_query(buf, 1, "example.org", DNS_A, 0);
    assert_int_equal(send(waiting, buf, n, 0), n); /* in flight at the end of the test */
    w.view->networks.n = 2;
    w.view->services.n = 4;
    assert_int_equal(apply(NULL), 0);
    ask(WEB_1, GW_A, "web", DNS_A);
    auto_fd int fd = upstream_at(SOCK_DGRAM, GW_I); /* the address is free */
    assert_true(fd >= 0);
}

static void test_gateway_address_may_come_later(void **state) {
    (void) state;
    view_network(w.view, 0x4f520004u, IP(10, 80, 12, 0), IP(10, 80, 12, 1), false);
    assert_int_equal(apply(NULL), 0);
    world_local_address(IP(10, 80, 12, 1));
    assert_int_equal(ask(IP(10, 80, 12, 1), IP(10, 80, 12, 1), "x", DNS_A)->rcode, NX);
}

static void test_apply_out_of_memory_keeps_the_old_names(void **state) {
    (void) state;
    for (unsigned long i = 1;; i++) {
        mem_fail_after(i);
        int r = apply(NULL);
        mem_fail_after(0);
        assert_int_equal(ask(WEB_1, GW_A, "web", DNS_A)->addresses[0], VIP_WEB);
        if (r == 0) break;
        assert_int_equal(r, -ENOMEM);
    }
}

int main(void) {
    if (geteuid() != 0) {
        printf("skipped: network namespaces need root\n");
        return 0;
    }
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_names_by_who_asks),
        T(test_tasks_name_lists_all_serving),
        T(test_backwards),
        T(test_other_names_go_upstream),
        T(test_truncated_upstream_answer_is_passed_on),
        T(test_silent_server_is_followed_by_the_next),
        T(test_no_server_answers_servfail),
        T(test_no_server_configured_answers_nxdomain),
        T(test_internal_networks_ask_nobody_outside),
        T(test_stranger_gets_no_answer),
        T(test_many_tasks_come_by_tcp),
        T(test_tcp_client_that_sends_nonsense_is_closed),
        T(test_port_taken_by_another_server_is_said),
        T(test_network_gone_closes_its_port),
        T(test_gateway_address_may_come_later),
        T(test_apply_out_of_memory_keeps_the_old_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
