// SPDX-License-Identifier: Apache-2.0
/* Services come, change and go at random: a table that was changed must answer as one that was made
 * anew from the same view. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/dns_table.h"
#include "runtime/base/buf.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "view.h"
#include "world.h"

#define NET_A 0x4f520001u

enum { SERVICES = 8, TASKS = 5, STEPS = 300 };

/* Of each service: whether it is there, its tasks and which of them serve (bits), an alias that
 * others may have, too, and whether it has a VIP. */
struct model {
    bool there[SERVICES], alias[SERVICES], vip[SERVICES];
    unsigned tasks[SERVICES], serving[SERVICES];
};

static struct view *view_of_model(const struct model *m) {
    struct view *v = view_new();
    view_network(v, NET_A, IP(10, 80, 0, 0), IP(10, 80, 0, 1), false);
    for (unsigned i = 0; i < SERVICES; i++) {
        char name[8];
        if (!m->there[i]) continue;
        snprintf(name, sizeof name, "S%u", i);
        Orlop__ViewService *s = view_service(v, name, NET_A, m->vip[i] ? IP(10, 96, 0, 10 + i) : 0);
        s->id = i + 1;
        for (unsigned t = 0; t < TASKS; t++)
            if (m->tasks[i] >> t & 1) {
                snprintf(name, sizeof name, "%u.%u", i, t);
                view_endpoint(s, name, IP(10, 80, 0, 10 + i * TASKS + t), m->serving[i] >> t & 1);
            }
        if (m->alias[i]) s->aliases[s->n_aliases++] = mem_strdup("db");
    }
    return v;
}

/* Everything that may be asked of it, in one text. */
static void put_answer(const struct dns_table *t, struct buf *out, uint32_t asker, const char *name,
                       uint16_t type) {
    uint8_t buf[1024];
    struct dns_query q = {.type = type, .class = 1, .udp_size = sizeof buf, .plain = true};
    struct dns_reply reply;
    snprintf(q.name, sizeof q.name, "%s", name);
    for (const char *p = name; p; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL) q.labels++;
    enum dns_verdict v = dns_table_answer(t, NET_A, asker, &q, &reply, buf, sizeof buf);
    buf_printf(out, "%s %d:", name, (int) v);
    size_t n = v == DNS_ANSWER ? dns_reply_end(&reply) : 0;
    for (size_t i = 0; i < n; i++) buf_printf(out, "%02x", buf[i]);
    buf_putc(out, '\n');
}

static void put_all(const struct dns_table *t, struct buf *out) {
    static const char *const parts[][2] = {
        {"s", ""},        {"s", ".shop"},   {"tasks.s", ""}, {"tasks.s", ".shop"},
        {"shop-s", "-1"}, {"shop-s", "-2"}, {"shop-s", "-3"}};
    char name[64];
    for (unsigned i = 0; i < SERVICES; i++)
        for (size_t f = 0; f < array_len(parts); f++) {
            snprintf(name, sizeof name, "%s%u%s", parts[f][0], i, parts[f][1]);
            put_answer(t, out, IP(10, 80, 0, 10), name, DNS_A);
        }
    put_answer(t, out, IP(10, 80, 0, 10), "db", DNS_A);
    put_answer(t, out, IP(10, 80, 0, 10), "x.shop", DNS_A); /* an app that is here? */
    for (unsigned i = 0; i < SERVICES * TASKS; i++) {
        snprintf(name, sizeof name, "%u.0.80.10.in-addr.arpa", 10 + i);
        put_answer(t, out, IP(10, 80, 0, 10 + i), name, DNS_PTR);
        put_answer(t, out, IP(10, 80, 0, 10 + i), "db", DNS_A);
    }
}

static struct dns_table *whole(struct view *v) {
    struct dns_table *t;
    assert_int_equal(dns_table_new(v->networks.v, v->networks.n, v->services.v, v->services.n, &t),
                     0);
    return t;
}

static void assert_same(const struct dns_table *a, const struct dns_table *b) {
    struct buf x, y;
    buf_init(&x, 1 << 20);
    buf_init(&y, 1 << 20);
    put_all(a, &x);
    put_all(b, &y);
    assert_string_equal(buf_str(&x), buf_str(&y));
    buf_fini(&x);
    buf_fini(&y);
}

static bool differs(const struct model *a, const struct model *b, unsigned i) {
    return a->there[i] != b->there[i] || a->alias[i] != b->alias[i] || a->vip[i] != b->vip[i] ||
           a->tasks[i] != b->tasks[i] || a->serving[i] != b->serving[i];
}

/* The step from A to B. */
static int change(struct dns_table *t, const struct model *a, const struct model *b,
                  struct view *v) {
    Orlop__ViewService *services[SERVICES];
    uint64_t gone[SERVICES];
    size_t n = 0, n_gone = 0;
    for (unsigned i = 0; i < SERVICES; i++)
        if (differs(a, b, i) && !b->there[i]) gone[n_gone++] = i + 1;
    for (size_t k = 0; k < v->services.n; k++)
        if (differs(a, b, (unsigned) v->services.v[k]->id - 1)) services[n++] = v->services.v[k];
    return dns_table_change(t, services, n, gone, n_gone);
}

static void random_step(struct model *m) {
    unsigned i = (unsigned) rand() % SERVICES, t = 1u << rand() % TASKS;
    switch (rand() % 6) {
    case 0:
        m->there[i] = !m->there[i];
        break;
    case 1:
        m->alias[i] = !m->alias[i];
        break;
    case 2:
        m->vip[i] = !m->vip[i];
        break;
    case 3:
        m->tasks[i] ^= t;
        break;
    default:
        m->serving[i] ^= t;
    }
}

static void test_a_changed_table_answers_as_a_new_one(void **state) {
    (void) state;
    struct model a = {.there = {false}}, b = a;
    struct view *v = view_of_model(&a);
    struct dns_table *t = whole(v);
    view_free(v);
    srand(7);
    for (int i = 0; i < STEPS; i++) {
        for (int k = rand() % 3; k >= 0; k--) random_step(&b);
        v = view_of_model(&b);
        assert_int_equal(change(t, &a, &b, v), 0);
        struct dns_table *new = whole(v);
        assert_same(t, new);
        dns_table_free(new);
        view_free(v);
        a = b;
    }
    dns_table_free(t);
}

static void test_out_of_memory_changes_nothing(void **state) {
    (void) state;
    struct model a = {.there = {true, true}, .tasks = {1, 1}, .serving = {1, 1}}, b = a;
    b.tasks[0] = b.serving[0] = 7;
    b.there[2] = true;
    struct view *before = view_of_model(&a), *after = view_of_model(&b);
    struct dns_table *t = whole(before), *old = whole(before);
    int r = -ENOMEM;
    for (unsigned long i = 1; r != 0; i++) {
        mem_fail_after(i);
        r = change(t, &a, &b, after);
        mem_fail_after(0);
        if (r == 0) break;
        assert_int_equal(r, -ENOMEM);
        assert_same(t, old);
        assert_true(i < 1000);
    }
    dns_table_free(t);
    dns_table_free(old);
    view_free(before);
    view_free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_changed_table_answers_as_a_new_one),
        cmocka_unit_test(test_out_of_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
