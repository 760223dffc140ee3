// SPDX-License-Identifier: Apache-2.0
/* Random views, one after the other: what is cut out of a state and put back must give the same
 * state and the same commands as comparing everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/net/rules.h"
#include "runtime/net/state.h"
#include "view.h"
#include "world.h"

#define NET_A 0x4f520001u
#define NET_B 0x4f520002u

enum { SERVICES = 6, TASKS = 12, STEPS = 400 };

static const struct net_config cfg = {.task_pool = IP(10, 80, 0, 0),
                                      .task_pool_prefix = 12,
                                      .vip_pool = IP(10, 96, 0, 0),
                                      .vip_pool_prefix = 16};

/* What is there: which services, who serves them, which port they publish, which tasks are local
 * and whether they are in the second network, too. */
struct model {
    bool service[SERVICES], local[TASKS], both[TASKS];
    unsigned serving[SERVICES]; /* bits of tasks */
    unsigned port[SERVICES];    /* 0 = none */
};

static uint32_t address(unsigned network, unsigned task) {
    return IP(10, 80, network * 4, 10 + task);
}

static const char *task_name(unsigned task) {
    static char names[TASKS][8];
    snprintf(names[task], sizeof names[task], "t%u", task);
    return names[task];
}

static void add_service(struct view *v, const struct model *m, unsigned i) {
    char name[8];
    snprintf(name, sizeof name, "s%u", i);
    Orlop__ViewService *s = view_service(v, name, NET_A, IP(10, 96, 0, 10 + i));
    s->id = i + 1;
    for (unsigned t = 0; t < TASKS; t++)
        if (m->serving[i] >> t & 1) view_endpoint(s, task_name(t), address(0, t), true);
    if (m->port[i]) view_port(s, ORLOP__PORT__PROTOCOL__TCP, 80, m->port[i], "");
}

static size_t add_local(const struct model *m, unsigned t, struct net_local *l) {
    size_t n = 0;
    if (!m->local[t]) return 0;
    l[n++] = (struct net_local){task_name(t), address(0, t), NET_A, IP(10, 80, 0, 1)};
    if (m->both[t])
        l[n++] = (struct net_local){task_name(t), address(1, t), NET_B, IP(10, 80, 4, 1)};
    return n;
}

static struct view *view_of_model(const struct model *m) {
    struct view *v = view_new();
    view_network(v, NET_A, IP(10, 80, 0, 0), IP(10, 80, 0, 1), false);
    view_network(v, NET_B, IP(10, 80, 4, 0), IP(10, 80, 4, 1), false);
    for (unsigned i = 0; i < SERVICES; i++)
        if (m->service[i]) add_service(v, m, i);
    for (unsigned t = 0; t < TASKS; t++) v->n_local += add_local(m, t, v->local + v->n_local);
    return v;
}

static struct net__state *whole(const struct model *m) {
    struct view *v = view_of_model(m);
    struct net_view nv = view_of(v);
    struct net__state *s;
    struct err err = {0};
    if (net__state_from_view(&cfg, &nv, &s, &err) < 0) fail_msg("%s", err.text);
    view_free(v);
    return s;
}

/* --- the same step in two ways --- */

struct change {
    struct view *v; /* the changed services; its local ones */
    uint64_t gone[SERVICES];
    uint32_t addresses[2 * TASKS];
    struct net_change c;
};

static struct change change_between(const struct model *a, const struct model *b) {
    struct change c = {.v = view_new()};
    size_t n_gone = 0, n_addresses = 0;
    for (unsigned i = 0; i < SERVICES; i++) {
        bool same = a->service[i] == b->service[i] && a->serving[i] == b->serving[i] &&
                    a->port[i] == b->port[i];
        if (b->service[i] && !same) add_service(c.v, b, i);
        if (!b->service[i] && a->service[i]) c.gone[n_gone++] = i + 1;
    }
    for (unsigned t = 0; t < TASKS; t++) {
        if (a->local[t] == b->local[t] && a->both[t] == b->both[t]) continue;
        c.addresses[n_addresses++] = address(0, t);
        c.addresses[n_addresses++] = address(1, t);
        c.v->n_local += add_local(b, t, c.v->local + c.v->n_local);
    }
    c.c = (struct net_change){.services = c.v->services.v,
                              .n_services = c.v->services.n,
                              .n_services_gone = n_gone,
                              .n_addresses = n_addresses,
                              .n_local = c.v->n_local};
    return c;
}

/* Only now: C is where it stays. */
static const struct net_change *change_of(struct change *c) {
    c->c.services_gone = c->gone;
    c->c.addresses = c->addresses;
    c->c.local = c->v->local;
    return &c->c;
}

static void assert_same(const struct net__state *a, const struct net__state *b) {
    assert_int_equal(a->n_forwards, b->n_forwards);
    for (size_t i = 0; i < a->n_forwards; i++) {
        const struct net__forward *x = &a->forwards[i], *y = &b->forwards[i];
        assert_memory_equal(&x->key, &y->key, sizeof x->key);
        assert_int_equal(x->service, y->service);
        assert_int_equal(x->n_live, y->n_live);
        assert_int_equal(x->n_loaded, y->n_loaded);
        assert_int_equal(x->stale_since_mono_ms, y->stale_since_mono_ms);
        assert_memory_equal(x->slots, y->slots, x->n_loaded * sizeof *x->slots);
    }
    assert_int_equal(a->n_selfs, b->n_selfs);
    if (a->n_selfs) assert_memory_equal(a->selfs, b->selfs, a->n_selfs * sizeof *a->selfs);
    assert_int_equal(a->n_crosses, b->n_crosses);
    if (a->n_crosses)
        assert_memory_equal(a->crosses, b->crosses, a->n_crosses * sizeof *a->crosses);
    assert_memory_equal(a->chains, b->chains, sizeof a->chains);
}

static void random_step(struct model *m) {
    unsigned i = (unsigned) rand() % SERVICES, t = (unsigned) rand() % TASKS;
    switch (rand() % 6) {
    case 0:
        m->service[i] = !m->service[i];
        break;
    case 1:
        m->port[i] = (unsigned[]){0, 8080, 8081}[rand() % 3];
        break;
    case 2:
        m->local[t] = !m->local[t];
        break;
    case 3:
        m->both[t] = !m->both[t];
        break;
    default:
        m->serving[i] ^= 1u << t;
    }
}

/* LOADED, twice the same: one changed in part, one compared whole. Whether it was a part. */
static bool step(struct net__state **part, struct net__state **all, const struct model *a,
                 const struct model *b, int64_t now) {
    struct buf by_part, by_all;
    buf_init(&by_part, 1 << 20);
    buf_init(&by_all, 1 << 20);
    struct net__state *next = whole(b);
    struct change c = change_between(a, b);
    struct net__part p;
    struct err err = {0};
    assert_int_equal(net__state_settle(next, *all, now), 0);
    net__rules_delta(&by_all, *all, next);
    net__state_free(*all);
    *all = next;
    int r = net__state_part(&cfg, *part, change_of(&c), now, &p, &err);
    if (r == 0) {
        net__rules_delta(&by_part, p.old, p.new);
        assert_string_equal(buf_str(&by_part), buf_str(&by_all));
        assert_int_equal(net__state_merge(*part, &p), 0);
        net__part_fini(&p);
        assert_same(*part, *all);
    } else {
        assert_int_equal(r, -EAGAIN);
    }
    view_free(c.v);
    buf_fini(&by_part);
    buf_fini(&by_all);
    return r == 0;
}

static void walk(unsigned seed) {
    struct model a = {0}, b = {0};
    struct net__state *part = whole(&a), *all = whole(&a);
    int parts = 0;
    srand(seed);
    for (int i = 0; i < STEPS; i++) {
        int64_t now = i * 400; /* what is stale goes after three steps */
        for (int k = rand() % 3; k >= 0; k--) random_step(&b);
        if (step(&part, &all, &a, &b, now)) {
            parts++;
        } else { /* as net.c does: the whole view takes its place */
            struct net__state *next = whole(&b);
            struct buf out;
            buf_init(&out, 1 << 20);
            assert_int_equal(net__state_settle(next, part, now), 0);
            net__rules_delta(&out, part, next);
            buf_fini(&out);
            net__state_free(part);
            part = next;
        }
        net__state_trimmed(part, now);
        net__state_trimmed(all, now);
        a = b;
    }
    assert_true(parts > STEPS / 4);
    net__state_free(part);
    net__state_free(all);
}

static void test_a_part_is_as_good_as_the_whole(void **state) {
    (void) state;
    for (unsigned seed = 1; seed <= 20; seed++) walk(seed);
}

static void test_two_services_with_one_port_need_the_whole(void **state) {
    (void) state;
    struct model a = {.service = {true}, .serving = {1, 2}, .port = {8080}}, b = a;
    struct net__state *loaded = whole(&a);
    struct net__part p;
    b.service[1] = true;
    b.port[1] = 8080;
    struct change c = change_between(&a, &b);
    assert_int_equal(net__state_part(&cfg, loaded, change_of(&c), 0, &p, NULL), -EAGAIN);
    view_free(c.v);
    net__state_free(loaded);
}

static void test_out_of_memory_leaves_the_state_alone(void **state) {
    (void) state;
    struct model a = {.service = {true, true}, .serving = {7, 3}, .local = {true, true}}, b = a;
    b.serving[0] = 5;
    b.both[1] = true;
    struct change c = change_between(&a, &b);
    struct net__state *loaded = whole(&a), *before = whole(&a);
    int r = -ENOMEM;
    for (unsigned long i = 1; r != 0; i++) {
        struct net__part p = {0};
        mem_fail_after(i);
        r = net__state_part(&cfg, loaded, change_of(&c), 0, &p, NULL);
        if (r == 0) r = net__state_merge(loaded, &p);
        mem_fail_after(0);
        net__part_fini(&p);
        if (r != 0) assert_int_equal(r, -ENOMEM);
        if (r != 0) assert_same(loaded, before);
        assert_true(i < 1000);
    }
    view_free(c.v);
    net__state_free(loaded);
    net__state_free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_part_is_as_good_as_the_whole),
        cmocka_unit_test(test_two_services_with_one_port_need_the_whole),
        cmocka_unit_test(test_out_of_memory_leaves_the_state_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
