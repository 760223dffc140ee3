// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/invariants.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/plan/gate.h"
#include "scheduler/state/net.h"
#include "scheduler/state/rules.h"
#include "scheduler/state/snapshot.h"

/* An address has one holder, and it is a task's of that network. */
static void addresses_have_one_holder(const struct state *s) {
    struct map holders = {0};
    size_t held = 0;
    void *value;
    for (size_t i = 0; map_next(&s->tasks, &i, NULL, &value);) {
        struct task *t = value;
        for (size_t k = 0; t->holds && k < t->n_addresses; k++) {
            char key[64];
            snprintf(key, sizeof key, "%x/%x", t->addresses[k].network, t->addresses[k].address);
            ensure(!map_get(&holders, key));
            ensure(map_set(&holders, key, t) == 0);
            const struct holding *h =
                state_holding(s, t->addresses[k].network, t->addresses[k].address);
            ensure(h && h->held);
            held++;
        }
    }
    map_fini(&holders);
    size_t counted = 0;
    struct holding *h;
    for (size_t i = 0; (h = index_next(&s->addresses, &i));)
        if (h->network && h->held) counted++;
    ensure(counted == held);
}

/* At most one task of a slot is wanted and alive; lists and counters agree. */
static void slots_have_one_task(const struct state *s) {
    void *value, *inner;
    size_t tasks = 0;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        struct app *a = value;
        size_t of_app = 0;
        for (size_t k = 0; map_next(&a->services, &k, NULL, &inner);) {
            struct service *svc = inner;
            struct index live = {0};
            list_each (it, &svc->tasks) {
                struct task *t = list_entry(it, struct task, service_link);
                of_app++;
                ensure(state_task(s, t->id) == t);
                if (t->want != ORLOP__WANT__WANT_RUN || rule_final(t)) continue;
                ensure(!index_get(&live, t->slot));
                ensure(index_set(&live, t->slot, t) == 0);
            }
            index_fini(&live);
        }
        ensure(of_app == a->n_tasks);
        tasks += of_app;
    }
    ensure(tasks == map_len(&s->tasks));
}

static void nodes_add_up(const struct state *s) {
    void *value;
    for (size_t i = 0; map_next(&s->nodes, &i, NULL, &value);) {
        struct node *n = value;
        size_t tasks = 0;
        uint64_t memory = 0;
        list_each (it, &n->tasks) {
            struct task *t = list_entry(it, struct task, node_link);
            ensure(t->node == n);
            if (!t->holds) continue;
            tasks++;
            if (t->def->def->resources) memory += t->def->def->resources->memory_reservation_bytes;
        }
        ensure(tasks == n->n_tasks && memory == n->memory_reserved_bytes);
        ensure(memory <= n->inventory->memory_bytes);
    }
}

static void networks_add_up(const struct state *s) {
    struct network *n;
    for (size_t i = 0; (n = index_next(&s->networks, &i));) {
        size_t users = 0;
        void *value;
        list_each (it, &s->services_changed) {
            struct service *svc = list_entry(it, struct service, changed);
            for (size_t k = 0; k < svc->n_vips; k++) users += svc->vips[k].network == n->id;
        }
        for (size_t k = 0; map_next(&s->tasks, &k, NULL, &value);) {
            struct task *t = value;
            for (size_t j = 0; t->holds && j < t->n_addresses; j++)
                users += t->addresses[j].network == n->id;
        }
        ensure(users == n->n_users);
        ensure(!n->retired || users);
    }
}

void invariants_snapshot(const struct state *s) {
    uint8_t *first, *second;
    size_t n, m;
    ensure(snapshot_encode(s, &first, &n) == 0);
    struct state copy;
    struct err err = {0};
    state_init(&copy);
    if (snapshot_decode(&copy, first, n, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        ensure(false);
    }
    ensure(snapshot_encode(&copy, &second, &m) == 0);
    ensure(n == m && memcmp(first, second, n) == 0);
    state_fini(&copy);
    mem_free(first);
    mem_free(second);
}

void invariants_check(const struct state *s) {
    addresses_have_one_holder(s);
    slots_have_one_task(s);
    nodes_add_up(s);
    networks_add_up(s);
}

/* --- at rest --------------------------------------------------------------------------------- */

/* Something of its app has failed for good, so that others wait for ever. */
static bool excused(const struct state *s, const struct service *svc) {
    void *value;
    for (size_t i = 0; map_next(&svc->app->services, &i, NULL, &value);) {
        const struct spec_service *w = rule_wanted(value);
        if (w && gate_check(s, value, w, NULL) == GATE_NEVER) return true;
    }
    return false;
}

/* Each slot has a current task that is ready, unless one has failed for good. */
static int settled(const struct state *s, const struct service *svc, struct err *why) {
    if (svc->removed)
        return err_say(why, -EAGAIN, "service %s of %s is not gone", svc->name, svc->app->name);
    const struct spec_service *wanted = rule_wanted(svc);
    if (gate_check(s, svc, wanted, NULL) != GATE_OPEN && excused(s, svc)) return 0;
    bool failed = false;
    uint32_t ready = 0;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        failed |= rule_current(t) && rule_final(t) && !rule_replaceable(t) && !rule_ready(t);
        if (rule_current(t) && rule_ready(t)) ready++;
    }
    if (failed || ready == wanted->def->replicas) return 0;
    return err_say(why, -EAGAIN, "%s of %s has %u of %u replicas", svc->name, svc->app->name, ready,
                   wanted->def->replicas);
}

int invariants_at_rest(const struct state *s, struct err *why) {
    void *value, *inner;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        const struct app *a = value;
        if (a->removing) return err_say(why, -EAGAIN, "app %s is not removed yet", a->name);
        for (size_t k = 0; map_next(&a->services, &k, NULL, &inner);) {
            int r = settled(s, inner, why);
            if (r < 0) return r;
        }
    }
    return 0;
}
