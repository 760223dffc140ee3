// SPDX-License-Identifier: Apache-2.0
/* Proposals, applied entries, plans.
 *
 *   store applies a batch -> state changes -> observer: events, dirty apps -> turn (once per loop
 * turn): sessions get their deltas, waiters look again, dirty apps are planned -> proposal -> ...
 *
 * One plan is in the log at a time: the next one starts from its result. */
#include <errno.h>
#include <stdlib.h>

#include "agents.h"
#include "events.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "sched.h"
#include "scheduler/plan/plan.h"
#include "scheduler/state/apply.h"
#include "scheduler/state/snapshot.h"

enum { PLAN_RETRY_MS = 1000, START_RETRY_MS = 1000 };

struct app_work {
    bool dirty;
    bool planned;    /* has entries in the plan that is in the log */
    int64_t wake_ms; /* INT64_MAX = only when something changes */
};

_Noreturn void sched_die(const char *why) {
    log_error("scheduler.die", "why=\"%s\"", why);
    exit(1);
}

/* Runs with CLOCK_MONOTONIC; follows the wall clock when that is ahead (it was set), never back. */
int64_t sched_now_ms(struct sched *s) {
    int64_t mono = clock_mono_ms(), unix_ms = clock_unix_ms();
    if (mono + s->clock_offset_ms < unix_ms) s->clock_offset_ms = unix_ms - mono;
    if (mono + s->clock_offset_ms < s->state.now_ms) s->clock_offset_ms = s->state.now_ms - mono;
    return mono + s->clock_offset_ms;
}

/* --- proposals ------------------------------------------------------------------------------- */

int sched_propose(struct sched *s, Orlop__Entry *const *entries, size_t n, sched_cb cb, void *ctx) {
    Orlop__EntryBatch b = ORLOP__ENTRY_BATCH__INIT;
    b.time_unix_ms = sched_now_ms(s);
    b.entries = (Orlop__Entry **) (uintptr_t) entries;
    b.n_entries = n;
    size_t len;
    auto_free uint8_t *data = pb_pack(&b.base, &len);
    if (!data) return -ENOMEM;
    return store_propose(s->store, data, len, cb, ctx);
}

int sched_propose_one(struct sched *s, Orlop__Entry__WhatCase what, void *body, sched_cb cb,
                      void *ctx) {
    Orlop__Entry e = ORLOP__ENTRY__INIT, *list[] = {&e};
    e.what_case = what;
    e.leader_start = body; /* all members of the union are pointers to messages */
    return sched_propose(s, list, 1, cb, ctx);
}

/* --- plans ----------------------------------------------------------------------------------- */

static void soon(struct sched *s);

static struct app_work *work_of(struct sched *s, const char *app) {
    struct app_work *w = map_get(&s->apps, app);
    if (w) return w;
    w = mem_zalloc(sizeof *w);
    if (!w || map_set(&s->apps, app, w) < 0) sched_die("no memory");
    w->wake_ms = INT64_MAX;
    return w;
}

void sched_plan_all(struct sched *s) {
    const char *name;
    for (size_t i = 0; map_next(&s->state.apps, &i, &name, NULL);) work_of(s, name)->dirty = true;
    soon(s);
}

void sched_acks_changed(struct sched *s) {
    uint64_t acked = agents_acked_idx(s->agents);
    if (acked == s->acked_idx) return;
    s->acked_idx = acked;
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        struct app_work *w = value;
        if (w->wake_ms != INT64_MAX) w->dirty = true;
    }
    soon(s);
}

/* An app that its own plan has not changed: all of it was refused, because what it was made of has
 * changed meanwhile, maybe not the app itself. */
static void plan_refused_again(struct sched *s) {
    int64_t at = sched_now_ms(s) + PLAN_RETRY_MS;
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        struct app_work *w = value;
        if (w->planned && !w->dirty && w->wake_ms > at) w->wake_ms = at;
        w->planned = false;
    }
}

/* The disk or the queue is full, or nobody knows: look again, but not at once. */
static void plan_all_later(struct sched *s) {
    int64_t at = sched_now_ms(s) + PLAN_RETRY_MS;
    const char *name;
    for (size_t i = 0; map_next(&s->state.apps, &i, &name, NULL);) {
        struct app_work *w = work_of(s, name);
        if (w->wake_ms > at) w->wake_ms = at;
    }
}

static void planned(void *ctx, int status, uint64_t idx) {
    struct sched *s = ctx;
    (void) idx;
    s->planning = false;
    plan_refused_again(s);
    if (status < 0) plan_all_later(s);
    soon(s);
}

static int64_t earliest_wake(const struct sched *s) {
    int64_t at = INT64_MAX;
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        const struct app_work *w = value;
        if (w->wake_ms < at) at = w->wake_ms;
    }
    return at;
}

static void on_plan_timer(uv_timer_t *t) {
    struct sched *s = t->data;
    int64_t now = sched_now_ms(s);
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        struct app_work *w = value;
        if (w->wake_ms <= now) w->dirty = true;
    }
    soon(s);
}

static void set_timer(struct sched *s, int64_t now) {
    int64_t at = earliest_wake(s);
    if (at == INT64_MAX) {
        uv_timer_stop(&s->plan_timer);
        return;
    }
    uint64_t in = at > now ? (uint64_t) (at - now) : 0;
    ensure(uv_timer_start(&s->plan_timer, on_plan_timer, in, 0) == 0);
}

/* Plan the dirty apps; those that do not fit into P any more stay dirty. */
static void collect(struct sched *s, struct plan *p) {
    const char *name;
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, &name, &value) && !p->full;) {
        struct app_work *w = value;
        if (!w->dirty) continue;
        const struct app *a = state_app(&s->state, name);
        size_t before = p->n;
        p->wake_ms = INT64_MAX;
        if (a && plan_app(p, a) < 0) sched_die("no memory for a plan");
        w->dirty = p->full;
        w->planned = p->n > before;
        w->wake_ms = p->wake_ms;
        if (!a) mem_free(map_del(&s->apps, name));
    }
}

static void plan(struct sched *s) {
    if (!s->ready || s->planning || s->closing) return;
    struct plan *p = mem_alloc(sizeof *p);
    if (!p) sched_die("no memory for a plan");
    int64_t now = sched_now_ms(s);
    s->acked_idx = agents_acked_idx(s->agents);
    plan_init(p, &s->state, now, s->acked_idx);
    collect(s, p);
    if (p->n) {
        int r = sched_propose(s, p->entries, p->n, planned, s);
        s->planning = r == 0;
        if (r < 0) {
            log_warn("plan.propose", "error=%d retry_ms=%d", r, PLAN_RETRY_MS);
            plan_all_later(s);
        }
    }
    plan_fini(p);
    mem_free(p);
    set_timer(s, now);
}

/* --- applied --------------------------------------------------------------------------------- */

static void on_turn(uv_timer_t *t) {
    struct sched *s = t->data;
    if (s->closing) return;
    agents_push(s->agents);
    list_each_safe (it, &s->waiting) {
        struct sched_waiter *w = list_entry(it, struct sched_waiter, link);
        w->turn(w);
    }
    plan(s);
}

static void soon(struct sched *s) {
    if (!s->closing) ensure(uv_timer_start(&s->turn_timer, on_turn, 0, 0) == 0);
}

void sched_add_waiter(struct sched *s, struct sched_waiter *w) {
    list_add_tail(&s->waiting, &w->link);
}

void sched_drop_waiter(struct sched_waiter *w) {
    list_del(&w->link);
}

enum { DELETED_MAX = 1024 };

static void note_deleted(struct sched *s, const struct change *c) {
    if (c->kind == CHANGE_APP_APPLIED) (void) map_del(&s->deleted, c->app->name);
    if (c->kind != CHANGE_APP_DELETED) return;
    if (map_len(&s->deleted) >= DELETED_MAX) map_fini(&s->deleted);
    if (map_set(&s->deleted, c->app->name, (void *) (uintptr_t) c->idx) < 0) sched_die("no memory");
}

uint64_t sched_deleted_idx(const struct sched *s, const char *app) {
    return (uint64_t) (uintptr_t) map_get(&s->deleted, app);
}

static void observe(void *ctx, const struct change *c) {
    struct sched *s = ctx;
    if (c->app) work_of(s, c->app->name)->dirty = true;
    if (c->kind == CHANGE_NODE_UP || c->kind == CHANGE_NODE_DOWN) sched_plan_all(s);
    note_deleted(s, c);
    events_note(s->events, c);
}

static void apply(void *ctx, uint64_t idx, const uint8_t *data, size_t len) {
    struct sched *s = ctx;
    if (apply_bytes(&s->state, idx, data, len) < 0) sched_die("no memory while applying an entry");
    soon(s);
}

static int snapshot(void *ctx, uint8_t **ret, size_t *ret_len) {
    struct sched *s = ctx;
    return snapshot_encode(&s->state, ret, ret_len);
}

static int restore(void *ctx, uint64_t idx, const uint8_t *data, size_t len) {
    struct sched *s = ctx;
    struct err err = {0};
    state_fini(&s->state);
    int r = snapshot_decode(&s->state, data, len, &err);
    if (r < 0) log_error("snapshot.restore", "error=\"%s\"", err.text);
    if (!r && s->state.applied_idx > idx) r = -EBADMSG;
    state_observe(&s->state, observe, s);
    return r;
}

/* --- leadership ------------------------------------------------------------------------------ */

static void propose_start(struct sched *s);

static void on_start_again(uv_timer_t *t) {
    struct sched *s = t->data;
    if (!s->ready && !s->closing && store_is_leader(s->store)) propose_start(s);
}

static void started(void *ctx, int status, uint64_t idx) {
    struct sched *s = ctx;
    if (status < 0) { /* a full disk: it may have room again; nothing is planned before */
        log_error("leader.start", "error=%d retry_ms=%d", status, START_RETRY_MS);
        if (!s->closing)
            ensure(uv_timer_start(&s->plan_timer, on_start_again, START_RETRY_MS, 0) == 0);
        return;
    }
    s->ready = true;
    s->started_idx = idx;
    log_info("leader.ready", "term=%lu inc=%lu apps=%zu tasks=%zu", (unsigned long) s->term,
             (unsigned long) s->state.inc, map_len(&s->state.apps), map_len(&s->state.tasks));
    agents_lead(s->agents);
    sched_plan_all(s);
}

static void propose_start(struct sched *s) {
    Orlop__EntryLeaderStart start = ORLOP__ENTRY_LEADER_START__INIT;
    Orlop__EntryIncarnation inc = ORLOP__ENTRY_INCARNATION__INIT;
    Orlop__Entry entries[2] = {ORLOP__ENTRY__INIT, ORLOP__ENTRY__INIT};
    Orlop__Entry *list[] = {&entries[0], &entries[1]};
    start.term = s->term;
    inc.inc = 1;
    entries[0].what_case = ORLOP__ENTRY__WHAT_LEADER_START;
    entries[0].leader_start = &start;
    entries[1].what_case = ORLOP__ENTRY__WHAT_INCARNATION;
    entries[1].incarnation = &inc;
    int r = sched_propose(s, list, s->state.inc ? 1 : 2, started, s);
    if (r < 0) sched_die("the first entry of the leader cannot be proposed");
}

static void leading(void *ctx, bool now, uint64_t term) {
    struct sched *s = ctx;
    s->ready = false;
    if (!now || s->closing) return;
    s->term = term;
    propose_start(s);
}

const struct store_ops sched_store_ops = {apply, snapshot, restore, leading};

int sched_init(struct sched *s, uv_loop_t *loop, const struct paths *paths, struct err *err) {
    *s = (struct sched){.loop = loop, .paths = *paths};
    list_init(&s->waiting);
    list_init(&s->log_readers);
    state_init(&s->state);
    state_observe(&s->state, observe, s);
    s->clock_offset_ms = clock_unix_ms() - clock_mono_ms();
    int r = uv_timer_init(loop, &s->plan_timer);
    if (!r) r = uv_timer_init(loop, &s->turn_timer);
    s->plan_timer.data = s->turn_timer.data = s;
    if (!r) r = events_new(&s->events);
    if (!r) r = agents_new(s, &s->agents);
    return r < 0 ? err_set(err, r, "start the scheduler") : 0;
}

void sched_fini(struct sched *s) {
    void *work;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &work);) mem_free(work);
    map_fini(&s->apps);
    map_fini(&s->deleted);
    agents_free(s->agents);
    events_free(s->events);
    state_fini(&s->state);
}

void sched_close(struct sched *s) {
    if (s->closing) return;
    s->closing = true;
    s->ready = false;
    agents_close(s->agents);
    uv_close((uv_handle_t *) &s->plan_timer, NULL);
    uv_close((uv_handle_t *) &s->turn_timer, NULL);
}
