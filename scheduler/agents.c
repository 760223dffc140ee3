// SPDX-License-Identifier: Apache-2.0
#include "agents.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "session.h"

struct agent *agents__agent(struct agents *a, const char *node) {
    struct agent *g = map_get(&a->by_node, node);
    if (g) return g;
    g = mem_zalloc(sizeof *g);
    if (!g || map_set(&a->by_node, node, g) < 0) {
        mem_free(g);
        return NULL;
    }
    snprintf(g->name, sizeof g->name, "%s", node);
    g->heard_ms = clock_mono_ms();
    return g;
}

/* --- lease ----------------------------------------------------------------------------------- */

struct down_call {
    struct agents *agents;
    char node[64];
};

static void down_applied(void *ctx, int status, uint64_t idx) {
    struct down_call *d = ctx;
    (void) idx;
    struct agent *g = map_get(&d->agents->by_node, d->node);
    if (g) g->down_proposed = false;
    if (status < 0) log_warn("node.down", "node=\"%s\" error=%d", d->node, status);
    mem_free(d);
}

static void propose_down(struct agents *a, struct agent *g, const char *reason) {
    struct down_call *d = mem_zalloc(sizeof *d);
    if (!d) return; /* the next tick tries again */
    d->agents = a;
    snprintf(d->node, sizeof d->node, "%s", g->name);
    Orlop__EntryNodeDown e = ORLOP__ENTRY_NODE_DOWN__INIT;
    e.node = g->name;
    e.reason = (char *) (uintptr_t) reason;
    g->down_proposed =
        sched_propose_one(a->sched, ORLOP__ENTRY__WHAT_NODE_DOWN, &e, down_applied, d) == 0;
    if (!g->down_proposed) {
        mem_free(d);
        return;
    }
    log_warn("node.down", "node=\"%s\" reason=\"%s\"", g->name, reason);
    if (g->session) session_fail(g->session, -ETIMEDOUT, reason);
}

/* A leader that was itself paused must not blame the nodes: its own gap is added to all deadlines.
 */
static void forgive_gap(struct agents *a, int64_t now) {
    int64_t gap = now - a->ticked_ms - AGENTS_TICK_MS;
    a->ticked_ms = now;
    if (gap <= 1000) return;
    void *value;
    for (size_t i = 0; map_next(&a->by_node, &i, NULL, &value);)
        ((struct agent *) value)->heard_ms += gap;
}

static void check_lag(struct agent *g, int64_t now) {
    const struct session *s = g->session;
    if (!s || s->stage != SESSION_SYNCED || s->acked_idx >= s->sent_idx)
        g->behind_ms = 0;
    else if (!g->behind_ms)
        g->behind_ms = now;
}

static void on_tick(uv_timer_t *t) {
    struct agents *a = t->data;
    int64_t now = clock_mono_ms();
    forgive_gap(a, now);
    if (!a->sched->ready) return;
    void *value;
    for (size_t i = 0; map_next(&a->sched->state.nodes, &i, NULL, &value);) {
        const struct node *n = value;
        struct agent *g = n->up ? agents__agent(a, n->name) : NULL;
        if (!g || g->down_proposed) continue;
        check_lag(g, now);
        if (now - g->heard_ms > AGENTS_LEASE_MS)
            propose_down(a, g, "no heartbeat for 5 s");
        else if (g->behind_ms && now - g->behind_ms > AGENTS_VIEW_LAG_MS)
            propose_down(a, g, "view: it has applied nothing for 30 s");
    }
}

/* --- status batches -------------------------------------------------------------------------- */

static void on_flush(uv_timer_t *t) {
    struct agents *a = t->data;
    int64_t now = clock_mono_ms();
    list_each_safe (it, &a->sessions) session_flush(list_entry(it, struct session, link), now);
}

void agents__flush_soon(struct agents *a) {
    if (a->closing || uv_is_active((uv_handle_t *) &a->flush)) return;
    ensure(uv_timer_start(&a->flush, on_flush, AGENTS_BATCH_MS, 0) == 0);
}

/* --- what others call ------------------------------------------------------------------------ */

int agents_new(struct sched *sched, struct agents **ret) {
    struct agents *a = mem_zalloc(sizeof *a);
    if (!a) return -ENOMEM;
    a->sched = sched;
    list_init(&a->sessions);
    a->ticked_ms = clock_mono_ms();
    a->tick.data = a->flush.data = a;
    int r = uv_timer_init(sched->loop, &a->tick);
    if (!r) r = uv_timer_init(sched->loop, &a->flush);
    if (!r) r = uv_timer_start(&a->tick, on_tick, AGENTS_TICK_MS, AGENTS_TICK_MS);
    *ret = a;
    return r;
}

void agents_close(struct agents *a) {
    a->closing = true;
    list_each_safe (it, &a->sessions)
        session_fail(list_entry(it, struct session, link), -ESHUTDOWN, "the scheduler ends");
    uv_close((uv_handle_t *) &a->tick, NULL);
    uv_close((uv_handle_t *) &a->flush, NULL);
}

void agents_free(struct agents *a) {
    if (!a) return;
    void *value;
    for (size_t i = 0; map_next(&a->by_node, &i, NULL, &value);) mem_free(value);
    map_fini(&a->by_node);
    mem_free(a);
}

void agents_accept(struct agents *a, struct bus_stream *stream) {
    session_new(a, stream);
}

void agents_lead(struct agents *a) {
    int64_t now = clock_mono_ms();
    void *value;
    for (size_t i = 0; map_next(&a->by_node, &i, NULL, &value);)
        ((struct agent *) value)->heard_ms = now;
    for (size_t i = 0; map_next(&a->sched->state.nodes, &i, NULL, &value);) {
        struct agent *g = agents__agent(a, ((const struct node *) value)->name);
        if (g) g->heard_ms = now;
    }
    list_each_safe (it, &a->sessions) session_lead(list_entry(it, struct session, link));
}

void agents_push(struct agents *a) {
    list_each_safe (it, &a->sessions) session_push(list_entry(it, struct session, link));
    sched_acks_changed(a->sched);
}

static uint64_t acked_of(const struct agents *a, const char *node) {
    const struct agent *g = map_get(&a->by_node, node);
    if (!g) return 0;
    const struct session *s = g->session;
    if (!s || s->stage != SESSION_SYNCED) return g->acked_idx;
    /* Between what it was sent and here there was nothing for it. */
    return s->acked_idx >= s->sent_idx ? s->checked_idx : s->acked_idx;
}

uint64_t agents_acked_idx(const struct agents *a) {
    uint64_t least = UINT64_MAX;
    void *value;
    for (size_t i = 0; map_next(&a->sched->state.nodes, &i, NULL, &value);) {
        const struct node *n = value;
        uint64_t acked = n->up ? acked_of(a, n->name) : UINT64_MAX;
        if (acked < least) least = acked;
    }
    return least;
}

struct agents_info agents_info_of(const struct agents *a, const char *node) {
    const struct agent *g = map_get(&a->by_node, node);
    if (!g) return (struct agents_info){0};
    return (struct agents_info){
        .connected = g->session && g->session->stage == SESSION_SYNCED,
        .acked_idx = acked_of(a, node),
        .memory_used_bytes = g->memory_used_bytes,
        .cpu_permille = g->cpu_permille,
    };
}

struct bus_conn *agents_conn(const struct agents *a, const char *node) {
    const struct agent *g = map_get(&a->by_node, node);
    if (!g || !g->session || g->session->stage != SESSION_SYNCED || !g->session->stream)
        return NULL;
    return bus_stream_conn(g->session->stream);
}
