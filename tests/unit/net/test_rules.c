// SPDX-License-Identifier: Apache-2.0
/* From views to nft commands, without a kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/net/rules.h"
#include "runtime/net/state.h"
#include "view.h"
#include "world.h"

#define NET_A 0x4f520001u
#define TASK(n) IP(10, 80, 0, 10 + (n))

static const struct net_config cfg = {.task_pool = IP(10, 80, 0, 0),
                                      .task_pool_prefix = 12,
                                      .vip_pool = IP(10, 96, 0, 0),
                                      .vip_pool_prefix = 16};

/* A view with one service whose serving tasks are the digits of TASKS. */
static struct view *view_with(const char *tasks) {
    struct view *v = view_new();
    view_network(v, NET_A, IP(10, 80, 0, 0), IP(10, 80, 0, 1), false);
    Orlop__ViewService *s = view_service(v, "web", NET_A, IP(10, 96, 0, 1));
    for (const char *p = tasks; *p; p++) view_endpoint(s, "t", TASK((unsigned) (*p - '0')), true);
    return v;
}

static struct net__state *state_of(struct view *v) {
    struct net__state *s = NULL;
    struct err err = {0};
    struct net_view nv = view_of(v);
    if (net__state_from_view(&cfg, &nv, &s, &err) < 0) fail_msg("%s", err.text);
    return s;
}

static struct net__state *state_with(const char *tasks) {
    struct view *v = view_with(tasks);
    struct net__state *s = state_of(v);
    view_free(v);
    return s;
}

/* LOADED becomes WANTED at time NOW; the commands of it go to OUT. */
static struct net__state *move(struct net__state *loaded, struct net__state *wanted, int64_t now,
                               struct buf *out) {
    assert_int_equal(net__state_settle(wanted, loaded, now), 0);
    buf_reset(out);
    net__rules_delta(out, loaded, wanted);
    assert_int_equal(buf_error(out), 0);
    net__state_free(loaded);
    return wanted;
}

static void test_delta_golden(void **state) {
    (void) state;
    static const struct {
        const char *from, *to, *text;
    } cases[] = {
        {"12", "12", ""},
        {"12", "21", ""},
        {"", "1",
         "add chain inet orlop n1\n"
         "add rule inet orlop n1 meta mark set 0x4e000000\n"
         "add rule inet orlop n1 dnat ip to ip daddr . meta mark map @ep\n"
         "add element inet orlop ep { 10.96.0.1 . 0x4e000000 : 10.80.0.11 }\n"
         "add element inet orlop svc { 10.96.0.1 : goto n1 }\n"
         "add element inet orlop served { 10.96.0.1 }\n"},
        /* the last slot's task moves into the hole; its old place is left */
        {"123", "23",
         "add chain inet orlop n2\n"
         "add rule inet orlop n2 meta mark set numgen random mod 2 offset 0x4e000000\n"
         "add rule inet orlop n2 dnat ip to ip daddr . meta mark map @ep\n"
         "delete element inet orlop ep { 10.96.0.1 . 0x4e000000 }\n"
         "delete element inet orlop svc { 10.96.0.1 }\n"
         "add element inet orlop ep { 10.96.0.1 . 0x4e000000 : 10.80.0.13 }\n"
         "add element inet orlop svc { 10.96.0.1 : goto n2 }\n"},
        /* a replacement changes one slot and no verdict */
        {"12", "13",
         "delete element inet orlop ep { 10.96.0.1 . 0x4e000001 }\n"
         "add element inet orlop ep { 10.96.0.1 . 0x4e000001 : 10.80.0.13 }\n"},
        {"1", "",
         "delete element inet orlop svc { 10.96.0.1 }\n"
         "delete element inet orlop served { 10.96.0.1 }\n"},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        struct net__state *s = state_with(cases[i].from);
        net__rules_whole(&out, &cfg, s); /* its chains exist now */
        s = move(s, state_with(cases[i].to), 1000, &out);
        if (!str_eq(buf_str(&out), cases[i].text))
            fail_msg("%s -> %s:\n%s", cases[i].from, cases[i].to, buf_str(&out));
        net__state_free(s);
        buf_fini(&out);
    }
}

static void test_stale_slots_go_a_second_later(void **state) {
    (void) state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct net__state *s = state_with("123");
    assert_int_equal(net__state_trim_due(s), -1);
    s = move(s, state_with("1"), 5000, &out);
    assert_int_equal(net__state_trim_due(s), 6000);
    buf_reset(&out);
    net__rules_trim(&out, s, 5999);
    assert_string_equal(buf_str(&out), "");
    net__rules_trim(&out, s, 6000);
    assert_string_equal(buf_str(&out), "delete element inet orlop ep { 10.96.0.1 . 0x4e000001, "
                                       "10.96.0.1 . 0x4e000002 }\n");
    net__state_trimmed(s, 6000);
    assert_int_equal(net__state_trim_due(s), -1);
    s = move(s, state_with("12"), 7000, &out); /* and can be made again */
    assert_non_null(strstr(buf_str(&out), "add element inet orlop ep { 10.96.0.1 . 0x4e000001 : "
                                          "10.80.0.12 }\n"));
    net__state_free(s);
    buf_fini(&out);
}

static void test_stale_slots_are_used_again_within_the_second(void **state) {
    (void) state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct net__state *s = state_with("123");
    s = move(s, state_with(""), 5000, &out);
    assert_int_equal(s->n_forwards, 1);
    s = move(s, state_with("124"), 5500, &out);
    assert_null(strstr(buf_str(&out), "0x4e000001")); /* 2 is still where it was */
    assert_non_null(
        strstr(buf_str(&out), "delete element inet orlop ep { 10.96.0.1 . 0x4e000002 }\n"));
    assert_non_null(strstr(buf_str(&out),
                           "add element inet orlop ep { 10.96.0.1 . 0x4e000002 : 10.80.0.14 }\n"));
    assert_int_equal(net__state_trim_due(s), -1);
    s = move(s, state_with(""), 6000, &out);
    net__state_trimmed(s, 7000);
    assert_int_equal(s->n_forwards, 0); /* nothing of the service is left */
    net__state_free(s);
    buf_fini(&out);
}

static void test_sets_follow_networks_and_tasks(void **state) {
    (void) state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct view *v = view_with("1");
    struct net__state *s = state_of(v);
    net__rules_whole(&out, &cfg, s);
    view_network(v, NET_A + 1, IP(10, 80, 4, 0), IP(10, 80, 4, 1), true);
    view_local(v, TASK(1), IP(10, 80, 0, 1));
    s = move(s, state_of(v), 0, &out);
    assert_string_equal(buf_str(&out),
                        "add element inet orlop ours { 1330774018 }\n"
                        "add element inet orlop gateway { 1330774018 . 10.80.4.1 }\n"
                        "add element inet orlop samenet { 10.80.4.0/22 . 10.80.4.0/22 }\n"
                        "add element inet orlop internal { 1330774018 }\n"
                        "add element inet orlop_hold ours { 1330774018 }\n"
                        "add element inet orlop_hold gateway { 1330774018 . 10.80.4.1 }\n"
                        "add element inet orlop_hold samenet { 10.80.4.0/22 . 10.80.4.0/22 }\n"
                        "add element inet orlop_hold internal { 1330774018 }\n"
                        "add element inet orlop self { 10.80.0.11 . 10.80.0.11 : 10.80.0.1 }\n");
    v->n_local = 0;
    s = move(s, state_of(v), 0, &out);
    assert_string_equal(buf_str(&out),
                        "delete element inet orlop self { 10.80.0.11 . 10.80.0.11 }\n");
    net__state_free(s);
    view_free(v);
    buf_fini(&out);
}

static void outside_network(struct view *v) {
    view_endpoint_at(v, 0, 0)->address = IP(10, 80, 4, 1);
}
static void foreign_subnet(struct view *v) {
    v->networks.v[0]->subnet = IP(192, 168, 0, 0);
}
static void crooked_subnet(struct view *v) {
    v->networks.v[0]->subnet = IP(10, 80, 1, 0);
}
static void wide_subnet(struct view *v) {
    v->networks.v[0]->prefix_len = 8;
}
static void foreign_group(struct view *v) {
    v->networks.v[0]->id = 1;
}
static void foreign_gateway(struct view *v) {
    v->networks.v[0]->gateway = IP(10, 80, 4, 1);
}
static void overlapping(struct view *v) {
    view_network(v, NET_A + 1, IP(10, 80, 0, 0), IP(10, 80, 0, 1), false);
}
static void same_group(struct view *v) {
    view_network(v, NET_A, IP(10, 80, 4, 0), IP(10, 80, 4, 1), false);
}
static void unknown_network(struct view *v) {
    v->services.v[0]->network = NET_A + 7;
}
static void foreign_vip(struct view *v) {
    v->services.v[0]->vip = IP(10, 80, 0, 9);
}
static void huge_port(struct view *v) {
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 80, 65536, "");
}
static void no_target(struct view *v) {
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 0, 80, "");
}
static void no_host_ip(struct view *v) {
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 80, 80, "1.2.3.4; flush ruleset");
}

static void test_bad_views_are_refused_with_a_sentence(void **state) {
    (void) state;
    static const struct {
        void (*spoil)(struct view *v);
        const char *text;
    } cases[] = {
        {outside_network, "service \"web\": a task's address is outside its network"},
        {foreign_subnet, "network \"net1\": its subnet is not part of the task pool"},
        {crooked_subnet, "network \"net1\": its subnet is not part of the task pool"},
        {wide_subnet, "network \"net1\": its subnet is not part of the task pool"},
        {foreign_group, "network \"net1\": 1 is no link group of ours"},
        {foreign_gateway, "network \"net1\": its gateway is outside its subnet"},
        {overlapping, "the subnets of networks 1330774017 and 1330774018 overlap"},
        {same_group, "two networks have the link group 1330774017"},
        {unknown_network, "service \"web\": its network 1330774024 is not in the view"},
        {foreign_vip, "service \"web\": its VIP is outside the VIP pool"},
        {huge_port, "service \"web\": port 65536:80 is none"},
        {no_target, "service \"web\": port 80:0 is none"},
        {no_host_ip, "service \"web\": host_ip \"1.2.3.4; flush ruleset\" is no address"},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        struct view *v = view_with("12");
        struct net__state *s = NULL;
        struct err err = {0};
        cases[i].spoil(v);
        struct net_view nv = view_of(v);
        assert_int_equal(net__state_from_view(&cfg, &nv, &s, &err), -EINVAL);
        assert_string_equal(err.text, cases[i].text);
        assert_null(s);
        view_free(v);
    }
}

static void test_published_twice_goes_to_one(void **state) {
    (void) state;
    struct view *v = view_with("12");
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 80, 8080, "");
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 81, 8080, "0.0.0.0");
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__UDP, 80, 8080, "");
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 80, 8080, "10.99.0.1");
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 80, 0, ""); /* not chosen yet */
    view_port(v->services.v[0], ORLOP__PORT__PROTOCOL__TCP, 80, 8081, "::1");
    struct net__state *s = state_of(v);
    assert_int_equal(s->n_forwards, 4); /* VIP, tcp, udp, tcp on one address */
    net__state_free(s);
    view_free(v);
}

static void test_out_of_memory_leaves_nothing_behind(void **state) {
    (void) state;
    struct view *v = view_with("123");
    view_service(v, "other", NET_A, IP(10, 96, 0, 2));
    view_local(v, TASK(1), IP(10, 80, 0, 1));
    struct net_view nv = view_of(v);
    struct net__state *loaded = state_with("345");
    int r = -ENOMEM;
    for (unsigned long i = 1; r != 0; i++) {
        struct net__state *s = NULL;
        mem_fail_after(i);
        r = net__state_from_view(&cfg, &nv, &s, NULL);
        if (r == 0) r = net__state_settle(s, loaded, 1);
        mem_fail_after(0);
        net__state_free(s);
        if (r != 0) assert_int_equal(r, -ENOMEM);
        assert_true(i < 1000);
    }
    net__state_free(loaded);
    view_free(v);
}

static void test_link_names_are_short_and_differ(void **state) {
    (void) state;
    char a[NET_IFNAME_MAX], b[NET_IFNAME_MAX], c[NET_IFNAME_MAX];
    net_link_name("1.2.3-4.5", NET_A, a);
    net_link_name("1.2.3-4.5", NET_A + 1, b);
    net_link_name("1.2.3-4.6", NET_A, c);
    assert_int_equal(strlen(a), 15);
    assert_true(str_starts(a, "olv"));
    assert_true(!str_eq(a, b) && !str_eq(a, c) && !str_eq(b, c));
    net_link_name("1.2.3-4.5", NET_A, b);
    assert_string_equal(a, b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta_golden),
        cmocka_unit_test(test_stale_slots_go_a_second_later),
        cmocka_unit_test(test_stale_slots_are_used_again_within_the_second),
        cmocka_unit_test(test_sets_follow_networks_and_tasks),
        cmocka_unit_test(test_bad_views_are_refused_with_a_sentence),
        cmocka_unit_test(test_published_twice_goes_to_one),
        cmocka_unit_test(test_out_of_memory_leaves_nothing_behind),
        cmocka_unit_test(test_link_names_are_short_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
