// SPDX-License-Identifier: Apache-2.0
#include "session.h"

#include <errno.h>

#include "proto/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "view.h"

enum {
    UP_BUDGET_BYTES = 32 << 20, /* one decoded AgentUp */
    BATCH_BUDGET_BYTES = 32 << 20,
    OUT_SOFT_MAX = 64, /* messages waiting: above it heartbeats stay unanswered */
};

/* --- life ------------------------------------------------------------------------------------ */

static void batch_fini(struct session_batch *b) {
    map_fini(&b->index);
    mem_free(b->list);
    arena_fini(&b->arena);
    *b = (struct session_batch){0};
    arena_init(&b->arena, BATCH_BUDGET_BYTES);
}

static void unref(struct session *s) {
    if (--s->refs) return;
    batch_fini(&s->pending);
    view_free_parts(&s->out);
    map_fini(&s->facts);
    arena_fini(&s->hello_arena);
    mem_free(s);
}

/* Not the node's session any more; its stream may still be about to close. */
static void detach(struct session *s) {
    list_del(&s->link);
    if (s->agent && s->agent->session == s) {
        s->agent->acked_idx = s->acked_idx;
        s->agent->session = NULL;
    }
    s->agent = NULL;
}

static void closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct session *s = ctx;
    (void) stream;
    if (s->agent) log_info("session.closed", "node=\"%s\" why=\"%s\"", s->agent->name, err->text);
    detach(s);
    s->stream = NULL;
    unref(s);
}

void session_fail(struct session *s, int code, const char *why) {
    detach(s);
    if (s->stream) bus_fail(s->stream, code, "%s", why);
}

static bool over(const struct session *s) {
    return !s->stream || !s->agent;
}

/* --- sending --------------------------------------------------------------------------------- */

static void pump(struct session *s) {
    while (!over(s) && !list_empty(&s->out)) {
        struct view_part *p = list_entry(s->out.next, struct view_part, link);
        int r = bus_send(s->stream, p->data, p->len);
        if (r == -EAGAIN) return;
        if (r < 0) {
            session_fail(s, r, "a message to the node cannot be sent");
            return;
        }
        list_del(&p->link);
        mem_free(p);
        s->n_out--;
    }
}

static void writable(void *ctx, struct bus_stream *stream) {
    (void) stream;
    struct session *s = ctx;
    pump(s);
    session_push(s);
}

static void send_down(struct session *s, Orlop__AgentDown *m) {
    m->inc = s->agents->sched->state.inc;
    m->session = s->number;
    size_t len = orlop__agent_down__get_packed_size(m);
    struct view_part *p = mem_alloc(sizeof *p + len);
    if (!p) {
        session_fail(s, -ENOMEM, "no memory for a message to the node");
        return;
    }
    p->link = (struct list){0};
    p->len = len;
    orlop__agent_down__pack(m, p->data);
    list_add_tail(&s->out, &p->link);
    s->n_out++;
    pump(s);
}

static void send_committed(struct session *s, Orlop__TaskStatus *const *tasks, size_t n) {
    auto_free Orlop__TaskStatus *bare = mem_array(n + 1, sizeof *bare);
    auto_free Orlop__TaskStatus **list = mem_array(n + 1, sizeof *list);
    if (!bare || !list) return; /* the agent says it again with its next report */
    for (size_t i = 0; i < n; i++) {
        orlop__task_status__init(&bare[i]);
        bare[i].task = tasks[i]->task;
        bare[i].boot = tasks[i]->boot;
        bare[i].attempt = tasks[i]->attempt;
        bare[i].state = tasks[i]->state;
        bare[i].gone = tasks[i]->gone;
        list[i] = &bare[i];
    }
    Orlop__Committed c = ORLOP__COMMITTED__INIT;
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    c.tasks = list;
    c.n_tasks = n;
    m.what_case = ORLOP__AGENT_DOWN__WHAT_COMMITTED;
    m.committed = &c;
    if (n) send_down(s, &m);
}

/* What has changed for this node since the last set, once the last one is on its way. */
void session_push(struct session *s) {
    struct sched *sched = s->agents->sched;
    const struct state *st = &sched->state;
    if (over(s) || s->stage != SESSION_SYNCED || s->n_out) return;
    if (!s->want_full && s->checked_idx == st->applied_idx) return;
    const struct node *n = state_node(st, s->agent->name);
    if (!n) return;
    struct view_request r = {st, n, s->number, s->want_full, s->sent_idx, s->acked_idx, &s->facts};
    bool any = false;
    int e = view_build(&r, &s->out, &any);
    if (e == -ESTALE) {
        r.full = true;
        e = view_build(&r, &s->out, &any);
    }
    if (e < 0) {
        session_fail(s, e, "no memory for the node's view");
        return;
    }
    s->want_full = false;
    s->checked_idx = st->applied_idx;
    if (!any) return;
    s->sent_idx = st->applied_idx;
    list_each (it, &s->out) s->n_out++;
    pump(s);
}

/* --- Hello ----------------------------------------------------------------------------------- */

static void welcome(struct session *s) {
    Orlop__Welcome w = ORLOP__WELCOME__INIT;
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    w.inc = s->agents->sched->state.inc;
    w.session = s->number;
    w.node = s->agent->name;
    w.store_known = true;
    m.what_case = ORLOP__AGENT_DOWN__WHAT_WELCOME;
    m.welcome = &w;
    s->stage = SESSION_WELCOMED;
    send_down(s, &m);
}

static bool registered(const struct session *s) {
    const struct node *n = state_node(&s->agents->sched->state, s->hello->node);
    if (!n || memcmp(n->store, s->hello->store.data, 16) != 0 || n->boot != s->hello->boot)
        return false;
    size_t a, b;
    auto_free uint8_t *old = pb_pack(&n->inventory->base, &a);
    auto_free uint8_t *new = pb_pack(&s->hello->inventory->base, &b);
    return old && new &&a == b &&memcmp(old, new, a) == 0;
}

static void register_applied(void *ctx, int status, uint64_t idx) {
    struct session *s = ctx;
    (void) idx;
    if (over(s)) {
        unref(s);
        return;
    }
    const struct node *n = state_node(&s->agents->sched->state, s->agent->name);
    if (status < 0)
        session_fail(s, status, "the node cannot be registered now");
    else if (!n || memcmp(n->store, s->hello->store.data, 16) != 0)
        session_fail(s, -EEXIST, "a node of this name is up with another store");
    else
        welcome(s);
    unref(s);
}

/* A newer session voids the older one of the same node. */
static int become(struct session *s) {
    struct agent *g = agents__agent(s->agents, s->hello->node);
    if (!g) return -ENOMEM;
    if (g->session && g->session != s)
        session_fail(g->session, -ECONNRESET, "a newer session of this node");
    s->agent = g;
    g->session = s;
    g->heard_ms = clock_mono_ms();
    return 0;
}

/* Such an agent neither ends the other's session nor renews its lease: so when the other is gone
 * its node is down soon, and this one gets in. */
static bool other_is_up(const struct session *s) {
    const struct node *n = state_node(&s->agents->sched->state, s->hello->node);
    return n && n->up && memcmp(n->store, s->hello->store.data, sizeof n->store) != 0;
}

static void start(struct session *s) {
    struct sched *sched = s->agents->sched;
    if (other_is_up(s)) {
        session_fail(s, -EEXIST, "a node of this name is up with another store");
        return;
    }
    if (become(s) < 0) {
        session_fail(s, -ENOMEM, "no memory for the node");
        return;
    }
    /* A Raft of one keeps its term over a restart: the idx of our start is what is unique. */
    s->number = sched->started_idx << 24 | (++s->agents->counter & 0xffffff);
    s->stage = SESSION_REGISTER;
    log_info("session.hello", "node=\"%s\" boot=%lu", s->agent->name,
             (unsigned long) s->hello->boot);
    if (registered(s)) {
        welcome(s);
        return;
    }
    Orlop__EntryNodeRegister e = ORLOP__ENTRY_NODE_REGISTER__INIT;
    e.node = s->hello->node;
    e.store = s->hello->store;
    e.boot = s->hello->boot;
    e.inventory = s->hello->inventory;
    int r = sched_propose_one(sched, ORLOP__ENTRY__WHAT_NODE_REGISTER, &e, register_applied, s);
    if (r < 0)
        session_fail(s, r, "the node cannot be registered now");
    else
        s->refs++;
}

void session_lead(struct session *s) {
    if (s->stage == SESSION_HELLO && s->hello) start(s);
}

static void on_hello(struct session *s, const Orlop__Hello *h) {
    struct err err = {0};
    if (s->stage != SESSION_HELLO || s->hello) {
        session_fail(s, -EPROTO, "a second Hello");
        return;
    }
    int r = check_hello(h, &err);
    if (!r) s->hello = arena_copy(&s->hello_arena, &h->base);
    if (r < 0 || !s->hello) {
        session_fail(s, r < 0 ? r : -ENOMEM, r < 0 ? err.text : "no memory");
        return;
    }
    if (s->agents->sched->ready) start(s); /* else session_lead goes on */
}

/* --- Report ---------------------------------------------------------------------------------- */

struct sync_call {
    struct session *session;
    struct session_batch batch; /* for Committed */
};

static void sync_applied(void *ctx, int status, uint64_t idx) {
    struct sync_call *c = ctx;
    struct session *s = c->session;
    if (!over(s) && status < 0) session_fail(s, status, "the report cannot be taken now");
    if (!over(s)) {
        s->stage = SESSION_SYNCED;
        s->sync_idx = idx;
        s->want_full = true;
        if (s->hello->acked && s->hello->acked->inc == s->agents->sched->state.inc)
            s->acked_idx = s->hello->acked->idx;
        session_push(s);
        send_committed(s, c->batch.list, c->batch.n);
    }
    if (!over(s) && s->pending.n) agents__flush_soon(s->agents);
    batch_fini(&c->batch);
    mem_free(c);
    unref(s);
}

static int batch_add(struct session_batch *b, const Orlop__TaskStatus *st) {
    uintptr_t place = (uintptr_t) map_get(&b->index, st->task);
    Orlop__TaskStatus *copy = arena_copy(&b->arena, &st->base);
    if (!copy) return -ENOMEM;
    if (place) {
        b->list[place - 1] = copy; /* the stream is in order: the newest counts */
        return 0;
    }
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 16;
        Orlop__TaskStatus **v = mem_resize(b->list, cap, sizeof *v);
        if (!v) return -ENOMEM;
        b->list = v;
        b->cap = cap;
    }
    if (map_set(&b->index, copy->task, (void *) (uintptr_t) (b->n + 1)) < 0) return -ENOMEM;
    b->list[b->n++] = copy;
    return 0;
}

static int propose_sync(struct session *s, const Orlop__Report *report) {
    struct sync_call *c = mem_zalloc(sizeof *c);
    if (!c) return -ENOMEM;
    c->session = s;
    arena_init(&c->batch.arena, BATCH_BUDGET_BYTES);
    int r = 0;
    for (size_t i = 0; i < report->n_tasks && !r; i++) r = batch_add(&c->batch, report->tasks[i]);
    Orlop__EntryNodeSync e = ORLOP__ENTRY_NODE_SYNC__INIT;
    e.node = s->agent->name;
    e.acked = report->acked;
    e.tasks = c->batch.list;
    e.n_tasks = c->batch.n;
    if (!r)
        r = sched_propose_one(s->agents->sched, ORLOP__ENTRY__WHAT_NODE_SYNC, &e, sync_applied, c);
    if (r < 0) {
        batch_fini(&c->batch);
        mem_free(c);
        return r;
    }
    s->refs++;
    return 0;
}

static void on_report(struct session *s, const Orlop__Report *report) {
    struct err err = {0};
    if (s->stage != SESSION_WELCOMED) {
        session_fail(s, -EPROTO, "a Report without a Welcome");
        return;
    }
    int r = check_statuses(report->tasks, report->n_tasks, &err);
    if (!r) r = propose_sync(s, report);
    if (r < 0)
        session_fail(s, r, err.code ? err.text : "the report cannot be taken now");
    else
        s->stage = SESSION_SYNCING;
}

/* --- in sync --------------------------------------------------------------------------------- */

static void up_applied(void *ctx, int status, uint64_t idx) {
    struct session *s = ctx;
    (void) idx;
    if (status < 0) s->up_proposed = false;
    unref(s);
}

/* Looked at again with each heartbeat: the disk may have been full. */
static void propose_up(struct session *s) {
    const struct node *n = state_node(&s->agents->sched->state, s->agent->name);
    if (!n || n->up || s->up_proposed || s->acked_idx < s->sync_idx) return;
    Orlop__EntryNodeUp e = ORLOP__ENTRY_NODE_UP__INIT;
    e.node = s->agent->name;
    e.acked_idx = s->acked_idx;
    s->up_proposed =
        sched_propose_one(s->agents->sched, ORLOP__ENTRY__WHAT_NODE_UP, &e, up_applied, s) == 0;
    if (s->up_proposed) s->refs++;
}

static void on_applied(struct session *s, const Orlop__Applied *a) {
    if (s->stage != SESSION_SYNCED) return;
    if (a->idx > s->acked_idx && a->idx <= s->sent_idx) s->acked_idx = a->idx;
    propose_up(s);
    sched_acks_changed(s->agents->sched);
}

static void on_heartbeat(struct session *s, const Orlop__Heartbeat *h) {
    struct agent *g = s->agent;
    g->heard_ms = clock_mono_ms();
    g->cpu_permille = h->cpu_permille;
    g->memory_used_bytes = h->memory_used_bytes;
    if (!s->agents->sched->ready || g->down_proposed || s->stage != SESSION_SYNCED) return;
    propose_up(s);
    if (s->pending.n) agents__flush_soon(s->agents);
    if (s->n_out > OUT_SOFT_MAX) return;
    Orlop__HeartbeatAnswer a = ORLOP__HEARTBEAT_ANSWER__INIT;
    Orlop__AgentDown m = ORLOP__AGENT_DOWN__INIT;
    a.n = h->n;
    a.last_idx = s->sent_idx;
    a.fence = false; /* one node: nobody else would run its tasks */
    m.what_case = ORLOP__AGENT_DOWN__WHAT_ANSWER;
    m.answer = &a;
    send_down(s, &m);
}

struct status_call {
    struct session *session;
    struct session_batch batch;
};

/* A full disk, most likely: B is certainly not in the log. The node stays connected (exec and logs
 * need no log of ours) and its statuses wait for the next heartbeat; what came meanwhile is newer. */
static void refused(struct session *s, const struct session_batch *b, int status) {
    int r = status == -ENOSPC || status == -EAGAIN ? 0 : status;
    for (size_t i = 0; i < b->n && !r; i++)
        if (!map_get(&s->pending.index, b->list[i]->task)) r = batch_add(&s->pending, b->list[i]);
    if (r < 0) session_fail(s, r, "statuses cannot be taken now");
}

static void status_applied(void *ctx, int status, uint64_t idx) {
    struct status_call *c = ctx;
    struct session *s = c->session;
    (void) idx;
    s->batch_in_flight = false;
    if (!over(s) && status == 0) send_committed(s, c->batch.list, c->batch.n);
    if (!over(s) && status < 0) refused(s, &c->batch, status);
    if (!over(s) && status == 0 && s->pending.n) agents__flush_soon(s->agents);
    batch_fini(&c->batch);
    mem_free(c);
    unref(s);
}

void session_flush(struct session *s, int64_t now_ms) {
    if (over(s) || s->stage != SESSION_SYNCED || !s->pending.n || s->batch_in_flight) return;
    struct status_call *c = mem_zalloc(sizeof *c);
    if (!c) {
        session_fail(s, -ENOMEM, "no memory for statuses");
        return;
    }
    c->session = s;
    c->batch = s->pending;
    c->batch.arena.allocator.allocator_data = &c->batch.arena; /* it has moved */
    s->pending = (struct session_batch){0};
    arena_init(&s->pending.arena, BATCH_BUDGET_BYTES);
    Orlop__EntryTaskStatus e = ORLOP__ENTRY_TASK_STATUS__INIT;
    e.node = s->agent->name;
    e.tasks = c->batch.list;
    e.n_tasks = c->batch.n;
    int r =
        sched_propose_one(s->agents->sched, ORLOP__ENTRY__WHAT_TASK_STATUS, &e, status_applied, c);
    if (r < 0) {
        batch_fini(&c->batch);
        mem_free(c);
        session_fail(s, r, "statuses cannot be taken now");
        return;
    }
    s->refs++;
    s->batch_in_flight = true;
    s->batch_at_ms = now_ms;
}

static void on_status(struct session *s, const Orlop__StatusBatch *b) {
    struct err err = {0};
    if (s->stage < SESSION_SYNCING) return; /* the Report will have it; what follows that waits */
    int r = check_statuses(b->tasks, b->n_tasks, &err);
    if (!r && s->pending.n > CHECK_REPORT_TASKS_MAX) r = -ENOBUFS;
    for (size_t i = 0; i < b->n_tasks && !r; i++) r = batch_add(&s->pending, b->tasks[i]);
    if (r < 0) {
        session_fail(s, r, err.code ? err.text : "too many statuses at once");
        return;
    }
    int64_t now = clock_mono_ms();
    if (now - s->batch_at_ms >= AGENTS_BATCH_MS && !s->batch_in_flight)
        session_flush(s, now); /* the first of a burst goes at once */
    else
        agents__flush_soon(s->agents);
}

/* --- messages -------------------------------------------------------------------------------- */

static void dispatch(struct session *s, const Orlop__AgentUp *m) {
    if (m->what_case == ORLOP__AGENT_UP__WHAT_HELLO) {
        on_hello(s, m->hello);
        return;
    }
    /* Of another session, or before Hello: dropped. */
    if (over(s) || m->session != s->number || m->inc != s->agents->sched->state.inc) return;
    switch (m->what_case) {
    case ORLOP__AGENT_UP__WHAT_REPORT:
        on_report(s, m->report);
        break;
    case ORLOP__AGENT_UP__WHAT_APPLIED:
        on_applied(s, m->applied);
        break;
    case ORLOP__AGENT_UP__WHAT_HEARTBEAT:
        on_heartbeat(s, m->heartbeat);
        break;
    case ORLOP__AGENT_UP__WHAT_STATUS:
        on_status(s, m->status);
        break;
    case ORLOP__AGENT_UP__WHAT_RESYNC:
        s->want_full = true;
        session_push(s);
        break;
    case ORLOP__AGENT_UP__WHAT_HELLO:
    case ORLOP__AGENT_UP__WHAT__NOT_SET:
    case _ORLOP__AGENT_UP__WHAT__CASE_IS_INT_SIZE:
        break; /* of a newer version: passed over */
    }
}

static void on_data(void *ctx, struct bus_stream *stream, const uint8_t *body, size_t len) {
    struct session *s = ctx;
    (void) stream;
    struct arena a;
    arena_init(&a, UP_BUDGET_BYTES);
    const Orlop__AgentUp *m = arena_unpack(&a, &orlop__agent_up__descriptor, body, len);
    if (m)
        dispatch(s, m);
    else
        session_fail(s, -EBADMSG, "a message that does not decode");
    arena_fini(&a);
}

static void on_end(void *ctx, struct bus_stream *stream) {
    struct session *s = ctx;
    (void) s;
    bus_end(stream);
}

void session_new(struct agents *a, struct bus_stream *stream) {
    static const struct bus_stream_ops ops = {on_data, on_end, writable, closed};
    struct session *s = mem_zalloc(sizeof *s);
    if (!s || a->closing) {
        mem_free(s);
        bus_fail(stream, -ENOMEM, "no session now");
        return;
    }
    s->agents = a;
    s->stream = stream;
    s->stage = SESSION_HELLO;
    s->refs = 1;
    list_init(&s->out);
    arena_init(&s->hello_arena, UP_BUDGET_BYTES);
    arena_init(&s->pending.arena, BATCH_BUDGET_BYTES);
    list_add_tail(&a->sessions, &s->link);
    bus_stream_accept(stream, &ops, s);
}
