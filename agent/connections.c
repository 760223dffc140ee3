// SPDX-License-Identifier: Apache-2.0
#include "agent/connections.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

struct wish { /* one address of a task; those of a drain check lie side by side */
    char task[TASK_ID_MAX];
    uint32_t address;
    enum net_forget forget;
    bool check;
};

struct wishes {
    struct wish *v;
    size_t n, room;
};

struct aconns {
    struct agent *agent;
    struct wishes wishes;
    uv_timer_t timer;
    int64_t last_ms; /* when the table was walked last */
    bool armed, closing;
};

static void on_timer(uv_timer_t *t);

static void arm(struct aconns *c) {
    if (c->armed) return;
    int64_t wait = c->last_ms + CONNS_EVERY_MS - clock_mono_ms();
    c->armed = true;
    uv_timer_start(&c->timer, on_timer, wait > 0 ? (uint64_t) wait : 0, 0);
}

static void add(struct aconns *c, const Orlop__TaskSpec *task, enum net_forget forget, bool check) {
    struct wishes *w = &c->wishes;
    if (c->closing || task->n_addresses == 0) return;
    if (w->room - w->n < task->n_addresses) {
        size_t room = (w->n + task->n_addresses) * 2;
        struct wish *v = mem_resize(w->v, room, sizeof *v);
        if (!v) agent_fatal(c->agent, "no memory for connections", -ENOMEM);
        *w = (struct wishes){.v = v, .n = w->n, .room = room};
    }
    for (size_t i = 0; i < task->n_addresses; i++) {
        struct wish *new = &w->v[w->n++];
        *new =
            (struct wish){.address = task->addresses[i]->address, .forget = forget, .check = check};
        snprintf(new->task, sizeof new->task, "%s", task->task);
    }
    arm(c);
}

void aconns_forget(struct aconns *c, const Orlop__TaskSpec *task, enum net_forget what) {
    add(c, task, what, false);
}

void aconns_drain_check(struct aconns *c, const Orlop__TaskSpec *task) {
    if (task->n_addresses == 0) {
        agent_task_event(c->agent, REC_EV_DRAINED, task->task);
        return;
    }
    add(c, task, NET_FORGET_NOTHING, true);
}

/* ---- the walk ---- */

static int by_address(const void *a, const void *b) {
    uint32_t x = ((const struct net_connections *) a)->address;
    uint32_t y = ((const struct net_connections *) b)->address;
    return (x > y) - (x < y);
}

/* Each address once, with the most that is to be forgotten of it. */
static size_t unite(struct net_connections *v, const struct wishes *w) {
    for (size_t i = 0; i < w->n; i++)
        v[i] = (struct net_connections){.address = w->v[i].address, .forget = w->v[i].forget};
    qsort(v, w->n, sizeof *v, by_address);
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (n == 0 || v[n - 1].address != v[i].address)
            v[n++] = v[i];
        else if (v[n - 1].forget < v[i].forget)
            v[n - 1].forget = v[i].forget;
    }
    return n;
}

static int open_connections(const struct net_connections *v, size_t n, uint32_t address) {
    struct net_connections key = {.address = address};
    const struct net_connections *found = bsearch(&key, v, n, sizeof *v, by_address);
    return found ? found->open : 0;
}

static void tell_drained(struct aconns *c, const struct wishes *w, const struct net_connections *v,
                         size_t n) {
    for (size_t i = 0, after; i < w->n; i = after) {
        const struct wish *first = &w->v[i];
        int open = 0;
        for (after = i; after < w->n && str_eq(w->v[after].task, first->task) &&
                        w->v[after].check == first->check;
             after++)
            open += open_connections(v, n, w->v[after].address);
        if (first->check && open == 0) agent_task_event(c->agent, REC_EV_DRAINED, first->task);
    }
}

static void on_timer(uv_timer_t *t) {
    struct aconns *c = container_of(t, struct aconns, timer);
    struct wishes w = c->wishes; /* what is told may bring new ones */
    c->wishes = (struct wishes){0};
    c->armed = false;
    auto_free struct net_connections *v = mem_array(w.n, sizeof *v);
    if (!v) agent_fatal(c->agent, "no memory for connections", -ENOMEM);
    size_t n = unite(v, &w);
    struct err err = {0};
    if (net_connections(c->agent->net, v, n, &err) < 0) {
        log_warn("conntrack.look", "addresses=%zu err=\"%s\" next=\"taken as none\"", n, err.text);
        for (size_t i = 0; i < n; i++) v[i].open = 0;
    }
    c->last_ms = clock_mono_ms();
    tell_drained(c, &w, v, n);
    mem_free(w.v);
}

/* ---- */

int aconns_new(struct agent *a, struct aconns **ret) {
    struct aconns *c = mem_zalloc(sizeof *c);
    if (!c) return -ENOMEM;
    c->agent = a;
    int r = uv_timer_init(a->loop, &c->timer);
    if (r < 0) {
        mem_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct aconns *c = container_of((uv_timer_t *) h, struct aconns, timer);
    mem_free(c->wishes.v);
    mem_free(c);
}

void aconns_close(struct aconns *c) {
    if (!c || c->closing) return;
    c->closing = true;
    uv_close((uv_handle_t *) &c->timer, on_closed);
}
