// SPDX-License-Identifier: Apache-2.0
/*
 *   DOWN ──stream──► HELLO ──Welcome, inc on disk──► REPORTED ──first full set──► SYNCED
 *
 * Sets are stored one after the other, a set in parts as one; what comes meanwhile waits in `sets`.
 * A set that is not for us, or older, is dropped; a delta behind a gap, and a heartbeat's answer
 * that names another version than the stored one, ask for a full set.
 */
#include "agent/session.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/view.h"
#include "bus.pb-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { DOWN_BUDGET = 128 << 20 };

enum stage { S_DOWN, S_HELLO, S_WELCOMED, S_REPORTED, S_SYNCED };

struct set {
    struct list node;
    struct arena arena;
    Orlop__AgentDown *down;
    size_t bytes;
};

struct asession {
    struct agent *agent;
    struct bus_conn *conn;
    struct bus_stream *stream;
    enum stage stage;
    uint64_t number, n_heartbeat, applied_idx;
    bool hello_due, report_due, applied_due, resync_due, status_due;
    struct map changed; /* tasks whose status is to be told */
    struct list sets;
    size_t sets_bytes;
    bool storing, storing_full;
    uv_timer_t heartbeat, status, reopen;
    bool closing;
    int open_handles; /* timers, and the stream while closing */
};

static void flush(struct asession *s);
static void on_reopen(uv_timer_t *t);
static void next_set(struct asession *s);

/* ---- sending ---- */

static bool send_up(struct asession *s, Orlop__AgentUp *m) {
    m->inc = astore_info(s->agent->store)->inc;
    m->session = s->number;
    int r = bus_send_pb(s->stream, &m->base);
    if (r < 0 && r != -EAGAIN) {
        log_warn("session.send", "err=\"%s\" next=\"a new session\"", err_text(r));
        bus_fail(s->stream, r, "a message cannot be sent");
    }
    return r == 0;
}

static bool send_hello(struct asession *s) {
    const struct astore_info *i = astore_info(s->agent->store);
    struct arena a;
    arena_init(&a, 1 << 20);
    Orlop__AgentUp up = ORLOP__AGENT_UP__INIT;
    Orlop__Hello h = ORLOP__HELLO__INIT;
    Orlop__Version acked = ORLOP__VERSION__INIT;
    Orlop__Inventory inv;
    acked.inc = i->inc;
    acked.idx = i->idx;
    h.node = arena_strdup(&a, i->node);
    h.store.data = arena_alloc(&a, ASTORE_ID_BYTES);
    h.store.len = ASTORE_ID_BYTES;
    h.boot = i->boot;
    h.boot_id = arena_strdup(&a, i->boot_id);
    h.acked = &acked;
    h.inventory = &inv;
    if (!h.node || !h.store.data || !h.boot_id || inventory_fill(&a, &inv) < 0)
        agent_fatal(s->agent, "no memory for Hello", -ENOMEM);
    memcpy(h.store.data, i->id, ASTORE_ID_BYTES);
    up.what_case = ORLOP__AGENT_UP__WHAT_HELLO;
    up.hello = &h;
    bool sent = send_up(s, &up);
    arena_fini(&a);
    return sent;
}

/* All tasks, or those in CHANGED. */
static Orlop__TaskStatus **statuses(struct asession *s, bool all, struct arena *a, size_t *ret_n) {
    const struct map *tasks = &s->agent->rec.tasks;
    Orlop__TaskStatus **v = arena_alloc(a, (map_len(tasks) + 1) * sizeof *v);
    const char *key;
    void *value;
    size_t n = 0;
    for (size_t i = 0; v && map_next(tasks, &i, &key, &value);) {
        const struct task *t = value;
        if (!t->st || (!all && !map_get(&s->changed, key))) continue;
        v[n] = arena_alloc(a, sizeof **v);
        if (!v[n]) return NULL;
        task_status(t, v[n++]);
    }
    *ret_n = n;
    return v;
}

static void forget_changed(struct asession *s) {
    map_fini(&s->changed);
    s->changed = (struct map){0};
    s->status_due = false;
}

static bool send_report(struct asession *s) {
    struct arena a;
    arena_init(&a, DOWN_BUDGET);
    Orlop__AgentUp up = ORLOP__AGENT_UP__INIT;
    Orlop__Report r = ORLOP__REPORT__INIT;
    Orlop__Version acked = ORLOP__VERSION__INIT;
    acked.inc = astore_info(s->agent->store)->inc;
    acked.idx = astore_info(s->agent->store)->idx;
    r.acked = &acked;
    r.tasks = statuses(s, true, &a, &r.n_tasks);
    if (!r.tasks) agent_fatal(s->agent, "no memory for the report", -ENOMEM);
    up.what_case = ORLOP__AGENT_UP__WHAT_REPORT;
    up.report = &r;
    bool sent = send_up(s, &up);
    arena_fini(&a);
    if (sent) {
        forget_changed(s);
        s->stage = S_REPORTED;
    }
    return sent;
}

static bool send_statuses(struct asession *s) {
    struct arena a;
    arena_init(&a, DOWN_BUDGET);
    Orlop__AgentUp up = ORLOP__AGENT_UP__INIT;
    Orlop__StatusBatch b = ORLOP__STATUS_BATCH__INIT;
    b.tasks = statuses(s, false, &a, &b.n_tasks);
    if (!b.tasks) agent_fatal(s->agent, "no memory for statuses", -ENOMEM);
    up.what_case = ORLOP__AGENT_UP__WHAT_STATUS;
    up.status = &b;
    bool sent = b.n_tasks == 0 || send_up(s, &up);
    arena_fini(&a);
    if (sent) forget_changed(s);
    return sent;
}

static bool send_applied(struct asession *s) {
    Orlop__AgentUp up = ORLOP__AGENT_UP__INIT;
    Orlop__Applied m = ORLOP__APPLIED__INIT;
    m.idx = s->applied_idx;
    up.what_case = ORLOP__AGENT_UP__WHAT_APPLIED;
    up.applied = &m;
    return send_up(s, &up);
}

static bool send_resync(struct asession *s) {
    Orlop__AgentUp up = ORLOP__AGENT_UP__INIT;
    Orlop__Version have = ORLOP__VERSION__INIT;
    have.inc = astore_info(s->agent->store)->inc;
    have.idx = astore_info(s->agent->store)->idx;
    up.what_case = ORLOP__AGENT_UP__WHAT_RESYNC;
    up.resync = &have;
    return send_up(s, &up);
}

/* What is due, in order, until the stream takes no more. */
static void flush(struct asession *s) {
    if (!s->stream || s->closing) return;
    if (s->hello_due) s->hello_due = !send_hello(s);
    if (s->hello_due || s->stage < S_WELCOMED) return;
    /* A set of the session before that is on its way to disk belongs to the report. */
    if (s->report_due && !s->storing) s->report_due = !send_report(s);
    if (s->report_due || s->stage < S_REPORTED) return;
    if (s->resync_due) s->resync_due = !send_resync(s);
    if (s->status_due) s->status_due = !send_statuses(s);
    if (s->applied_due && s->stage == S_SYNCED) s->applied_due = !send_applied(s);
}

static void on_status_timer(uv_timer_t *t) {
    struct asession *s = t->data;
    s->status_due = true;
    flush(s);
}

void asession_status(struct asession *s, const char *task) {
    if (map_set(&s->changed, task, s) < 0) agent_fatal(s->agent, "no memory for a status", -ENOMEM);
    if (!uv_is_active((uv_handle_t *) &s->status) && !s->closing)
        uv_timer_start(&s->status, on_status_timer, SESSION_STATUS_MS, 0);
}

void asession_applied(struct asession *s, uint64_t idx) {
    s->applied_idx = idx;
    s->applied_due = true;
    flush(s);
    asession_look(s);
}

static void on_heartbeat(uv_timer_t *t) {
    struct asession *s = t->data;
    if (s->stage < S_REPORTED) return;
    Orlop__AgentUp up = ORLOP__AGENT_UP__INIT;
    Orlop__Heartbeat h = ORLOP__HEARTBEAT__INIT;
    h.n = ++s->n_heartbeat;
    h.sent_boottime_ms = (uint64_t) clock_boot_ms();
    h.idx = s->applied_idx;
    h.cpu_permille = inventory_cpu_permille();
    h.memory_used_bytes = inventory_memory_used();
    up.what_case = ORLOP__AGENT_UP__WHAT_HEARTBEAT;
    up.heartbeat = &h;
    (void) send_up(s, &up); /* one that does not fit is not worth to be sent later */
}

/* ---- sets ---- */

static void drop_sets(struct asession *s) {
    while (!list_empty(&s->sets)) {
        struct set *x = list_entry(s->sets.next, struct set, node);
        list_del(&x->node);
        arena_fini(&x->arena);
        mem_free(x);
    }
    s->sets_bytes = 0;
}

static struct set *head(const struct asession *s) {
    ensure(!list_empty(&s->sets));
    return list_entry(s->sets.next, struct set, node);
}

static void drop_head(struct asession *s) {
    struct set *x = head(s);
    list_del(&x->node);
    s->sets_bytes -= x->bytes;
    arena_fini(&x->arena);
    mem_free(x);
}

static bool whole_set_waits(const struct asession *s) {
    list_each (it, &s->sets)
        if (!list_entry(it, struct set, node)->down->wanted->more) return true;
    return false;
}

static void drop_whole_set(struct asession *s) {
    for (bool more = true; more;) {
        more = head(s)->down->wanted->more;
        drop_head(s);
    }
}

static void stored(void *ctx) {
    struct asession *s = ctx;
    struct agent *a = s->agent;
    bool full = s->storing_full;
    s->storing = false;
    if (s->closing) return;
    if (full && s->stage == S_REPORTED) s->stage = S_SYNCED;
    log_info("wanted.stored", "idx=%" PRIu64 " full=%d", astore_info(a->store)->idx, full);
    aview_changed(a->view); /* first: what may start now starts with the set at once */
    agent_event(a, &(struct rec_event){.kind = REC_EV_SET});
    next_set(s);
}

static int stage_whole_set(struct asession *s, struct err *err) {
    int r = 0;
    for (bool more = true; r == 0 && more;) {
        more = head(s)->down->wanted->more;
        r = astore_stage_wanted(s->agent->store, head(s)->down->wanted, err);
        drop_head(s);
    }
    return r;
}

static void next_set(struct asession *s) {
    struct err err = {0};
    while (!s->storing && whole_set_waits(s)) {
        const Orlop__AgentDown *d = head(s)->down;
        int r = astore_check_wanted(s->agent->store, d->inc, d->wanted);
        if (r < 0) {
            log_info("wanted.refused", "why=\"%s\" full=%d to=%" PRIu64 " have=%" PRIu64,
                     r == -EAGAIN ? "gap" : "stale or foreign", d->wanted->full,
                     d->wanted->to ? d->wanted->to->idx : 0, astore_info(s->agent->store)->idx);
            if (r == -EAGAIN) s->resync_due = true;
            drop_whole_set(s);
            continue;
        }
        s->storing = true;
        s->storing_full = d->wanted->full;
        r = stage_whole_set(s, &err);
        if (r == 0) r = writer_kick(s->agent->writer, stored, s);
        if (r < 0) agent_fatal(s->agent, err.code ? err.text : "a set cannot be stored", r);
    }
    flush(s);
}

/* ---- receiving ---- */

static void inc_stored(void *ctx) {
    struct asession *s = ctx;
    if (s->closing || s->stage != S_WELCOMED) return;
    s->report_due = true;
    flush(s);
}

static void on_welcome(struct asession *s, const Orlop__Welcome *w) {
    const struct astore_info *i = astore_info(s->agent->store);
    struct err err = {0};
    if (s->stage != S_HELLO || w->inc < i->inc) {
        bus_fail(s->stream, -EPROTO, "incarnation %" PRIu64 " is over: this node is in %" PRIu64,
                 w->inc, i->inc);
        return;
    }
    s->number = w->session;
    s->stage = S_WELCOMED;
    log_info("session.welcome", "inc=%" PRIu64 " session=%" PRIu64 " node=%s", w->inc, w->session,
             w->node);
    if (w->inc == i->inc) {
        inc_stored(s);
        return;
    }
    int r = astore_stage_inc(s->agent->store, w->inc, &err); /* before the report */
    if (r == 0) r = writer_kick(s->agent->writer, inc_stored, s);
    if (r < 0) agent_fatal(s->agent, "the incarnation cannot be stored", r);
}

static void on_answer(struct asession *s, const Orlop__HeartbeatAnswer *h) {
    bool busy = s->storing || !list_empty(&s->sets) || s->stage != S_SYNCED;
    if (busy || h->n != s->n_heartbeat || h->last_idx == astore_info(s->agent->store)->idx) return;
    if (h->last_idx < astore_info(s->agent->store)->idx)
        return; /* an answer that the last set overtook */
    s->resync_due = true;
    flush(s);
}

static void on_committed(struct asession *s, const Orlop__Committed *c) {
    for (size_t i = 0; i < c->n_tasks; i++)
        agent_event(s->agent, &(struct rec_event){.kind = REC_EV_COMMITTED,
                                                  .task = c->tasks[i]->task,
                                                  .boot = c->tasks[i]->boot,
                                                  .attempt = c->tasks[i]->attempt,
                                                  .state = c->tasks[i]->state,
                                                  .gone = c->tasks[i]->gone});
}

/* TAKES X. */
static void on_wanted(struct asession *s, struct set *x) {
    s->sets_bytes += x->bytes;
    list_add_tail(&s->sets, &x->node);
    if (s->sets_bytes > SESSION_WANTED_BYTES) {
        drop_sets(s);
        bus_fail(s->stream, -EFBIG, "more than %d bytes of sets wait to be stored",
                 SESSION_WANTED_BYTES);
        return;
    }
    next_set(s);
}

static bool is_mine(const struct asession *s, const Orlop__AgentDown *d) {
    if (d->what_case == ORLOP__AGENT_DOWN__WHAT_WELCOME) return true;
    return d->session == s->number && d->inc == astore_info(s->agent->store)->inc;
}

static void on_down(struct asession *s, struct set *x) {
    const Orlop__AgentDown *d = x->down;
    switch (is_mine(s, d) ? d->what_case : ORLOP__AGENT_DOWN__WHAT__NOT_SET) {
    case ORLOP__AGENT_DOWN__WHAT_WELCOME:
        on_welcome(s, d->welcome);
        break;
    case ORLOP__AGENT_DOWN__WHAT_ANSWER:
        on_answer(s, d->answer);
        break;
    case ORLOP__AGENT_DOWN__WHAT_COMMITTED:
        on_committed(s, d->committed);
        break;
    case ORLOP__AGENT_DOWN__WHAT_WANTED:
        on_wanted(s, x);
        return;
    case ORLOP__AGENT_DOWN__WHAT__NOT_SET:
    case _ORLOP__AGENT_DOWN__WHAT__CASE_IS_INT_SIZE:
        break; /* of another session, or from a later version */
    }
    arena_fini(&x->arena);
    mem_free(x);
}

static void on_data(void *ctx, struct bus_stream *stream, const uint8_t *body, size_t len) {
    struct asession *s = ctx;
    struct set *x = mem_zalloc(sizeof *x);
    if (!x) agent_fatal(s->agent, "no memory for a message", -ENOMEM);
    arena_init(&x->arena, DOWN_BUDGET);
    x->bytes = len;
    x->down = arena_unpack(&x->arena, &orlop__agent_down__descriptor, body, len);
    if (x->down) {
        on_down(s, x);
        return;
    }
    arena_fini(&x->arena);
    mem_free(x);
    bus_fail(stream, -EBADMSG, "a message of the session cannot be understood");
}

/* ---- the stream ---- */

static void unref(struct asession *s) {
    if (--s->open_handles) return;
    map_fini(&s->changed);
    mem_free(s);
}

static void on_writable(void *ctx, struct bus_stream *stream) {
    (void) stream;
    flush(ctx);
}

static void on_closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct asession *s = ctx;
    if (s->stream != stream) return;
    s->stream = NULL;
    s->stage = S_DOWN;
    s->number = 0;
    drop_sets(s);
    if (s->closing) {
        unref(s);
        return;
    }
    log_warn("session.closed", "err=\"%s\" next=\"a new one\"", err->text);
    uv_timer_start(&s->reopen, on_reopen, SESSION_REOPEN_MS, 0);
}

static const struct bus_stream_ops stream_ops = {
    .data = on_data, .writable = on_writable, .closed = on_closed};

/* A store that was never welcomed, be it by an earlier agent's Hello, knows nothing of what may still
 * run here: it is ended before anybody is told hello. */
static bool may_hello(const struct asession *s) {
    const struct agent *a = s->agent;
    const struct astore_info *i = astore_info(a->store);
    if (i->idx && aview_applied_idx(a->view) != i->idx) return false;
    return i->inc || (a->rec.keeper_up && rec_strays(&a->rec) == 0);
}

static void on_reopen(uv_timer_t *t) {
    asession_look(t->data);
}

void asession_look(struct asession *s) {
    if (!s || s->closing || s->stream || !s->conn || uv_is_active((uv_handle_t *) &s->reopen) ||
        !may_hello(s))
        return;
    int r = bus_request(s->conn, ORLOP__METHOD__SESSION, NULL, 0, &stream_ops, s, &s->stream);
    if (r < 0) {
        uv_timer_start(&s->reopen, on_reopen, SESSION_REOPEN_MS, 0);
        return;
    }
    s->stage = S_HELLO;
    s->hello_due = true;
    s->report_due = s->resync_due = false;
    flush(s);
}

void asession_conn_up(struct asession *s, struct bus_conn *c) {
    s->conn = c;
    asession_look(s);
}

void asession_conn_down(struct asession *s) {
    s->conn = NULL;
}

/* ---- life ---- */

int asession_new(struct agent *a, struct asession **ret) {
    struct asession *s = mem_zalloc(sizeof *s);
    if (!s) return -ENOMEM;
    s->agent = a;
    list_init(&s->sets);
    uv_timer_t *timers[] = {&s->heartbeat, &s->status, &s->reopen};
    for (size_t i = 0; i < array_len(timers); i++) {
        uv_timer_init(a->loop, timers[i]);
        timers[i]->data = s;
    }
    s->open_handles = (int) array_len(timers);
    uv_timer_start(&s->heartbeat, on_heartbeat, SESSION_HEARTBEAT_MS, SESSION_HEARTBEAT_MS);
    *ret = s;
    return 0;
}

static void on_handle_closed(uv_handle_t *h) {
    unref(h->data);
}

void asession_close(struct asession *s) {
    if (!s || s->closing) return;
    s->closing = true;
    drop_sets(s);
    if (s->stream) {
        s->open_handles++;
        bus_cancel(s->stream);
    }
    uv_close((uv_handle_t *) &s->heartbeat, on_handle_closed);
    uv_close((uv_handle_t *) &s->status, on_handle_closed);
    uv_close((uv_handle_t *) &s->reopen, on_handle_closed);
}
