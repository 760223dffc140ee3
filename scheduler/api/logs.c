// SPDX-License-Identifier: Apache-2.0
/* LOGS: app and services -> tasks -> one stream for each node that has some -> one stream to the
 * client.
 *
 * Each node's stream is in order of time; lines of several nodes are merged by time. A node that is
 * silent holds the others up for MERGE_MS when following, and until it speaks or ends otherwise.
 * Credit: a node's batch is acknowledged when its last line went to the client, so a slow client
 * stops the nodes and costs at most a window for each of them here. If all of them together hold more
 * than API_LOGS_BYTES of memory, the one that holds most is ended with a sentence. Follow: tasks that appear
 * later, or whose node came back, get a stream of their own. End: when all nodes have ended (not
 * following), or the app is gone. Freed when every stream and the timer are closed. */
#include <errno.h>
#include <stdio.h>

#include "api.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/agents.h"

enum { MERGE_MS = 100, SEND_LINES = 256, SEND_BYTES = 256 << 10, BATCH_BUDGET = 32 << 20 };

struct known { /* a task that is, or was, read */
    char name[STATE_NAME_MAX];
    int64_t last_ns;
    struct source *source;
};

struct batch {
    struct list link;
    struct arena arena;
    Orlop__LogBatch *m;
    size_t next, len; /* len: on the wire, for the credit */
};

struct source {
    struct list link;
    struct logs *logs;
    struct bus_stream *stream; /* NULL: closed */
    struct list batches;
};

struct logs {
    struct list in_sched; /* log_readers */
    size_t held;          /* of the scheduler's log_bytes */
    bool dropped;
    struct sched_waiter waiter;
    struct sched *sched;
    struct bus_stream *client; /* NULL: gone */
    struct arena arena;        /* REQ */
    Orlop__LogsRequest *req;
    struct map tasks; /* id -> struct known */
    struct list sources;
    uv_timer_t timer;
    bool timer_closed, first;
    struct err failed; /* the last node's error, when not following */
};

/* --- life ------------------------------------------------------------------------------------ */

static void count_bytes(struct logs *l, ssize_t n) {
    l->held += (size_t) n;
    l->sched->log_bytes += (size_t) n;
}

static void free_batch(struct source *src, struct batch *b) {
    count_bytes(src->logs, -(ssize_t) b->arena.used);
    if (src->stream) bus_consumed(src->stream, b->len);
    list_del(&b->link);
    arena_fini(&b->arena);
    mem_free(b);
}

static void free_source(struct source *src) {
    list_each_safe (it, &src->batches) free_batch(src, list_entry(it, struct batch, link));
    list_del(&src->link);
    mem_free(src);
}

static void free_if_over(struct logs *l) {
    if (l->client || !l->timer_closed || !list_empty(&l->sources)) return;
    void *value;
    for (size_t i = 0; map_next(&l->tasks, &i, NULL, &value);) mem_free(value);
    map_fini(&l->tasks);
    arena_fini(&l->arena);
    list_del(&l->in_sched);
    mem_free(l);
}

/* Its nodes' streams are cancelled when the client's is closed; till then nothing is kept. */
static void drop(struct logs *l) {
    l->dropped = true;
    list_each (it, &l->sources) {
        struct source *src = list_entry(it, struct source, link);
        list_each_safe (b, &src->batches) free_batch(src, list_entry(b, struct batch, link));
    }
    if (l->client)
        bus_fail(l->client, -EBUSY,
                 "the logs are read too slowly: there is room for %d MiB that wait to be read, and "
                 "others read logs too",
                 API_LOGS_BYTES >> 20);
}

static void keep_bounded(struct sched *s) {
    struct logs *most = NULL;
    list_each (it, &s->log_readers) {
        struct logs *l = list_entry(it, struct logs, in_sched);
        if (!most || l->held > most->held) most = l;
    }
    if (s->log_bytes > API_LOGS_BYTES && most) drop(most);
}

static void on_timer_closed(uv_handle_t *h) {
    struct logs *l = h->data;
    l->timer_closed = true;
    free_if_over(l);
}

static void client_closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct logs *l = ctx;
    (void) stream;
    (void) err;
    l->client = NULL;
    l->sched->n_log_readers--;
    sched_drop_waiter(&l->waiter);
    uv_close((uv_handle_t *) &l->timer, on_timer_closed);
    list_each_safe (it, &l->sources) {
        struct source *src = list_entry(it, struct source, link);
        if (src->stream)
            bus_cancel(src->stream);
        else
            free_source(src);
    }
}

/* --- merging --------------------------------------------------------------------------------- */

static const Orlop__LogLine *head(const struct source *src, size_t ahead, struct batch **ret) {
    list_each (it, &src->batches) {
        struct batch *b = list_entry(it, struct batch, link);
        size_t left = b->m->n_lines - b->next;
        if (ahead < left) {
            *ret = b;
            return b->m->lines[b->next + ahead];
        }
        ahead -= left;
    }
    return NULL;
}

/* The earliest line of all sources. NULL: none, or one must be waited for (*ret_wait). */
static struct source *earliest(struct logs *l, bool force, bool *ret_wait) {
    struct source *best = NULL;
    int64_t best_ns = 0;
    list_each (it, &l->sources) {
        struct source *src = list_entry(it, struct source, link);
        struct batch *b;
        const Orlop__LogLine *line = head(src, 0, &b);
        if (!line && src->stream && !force) *ret_wait = true;
        if (!line || (best && line->time_unix_ns >= best_ns)) continue;
        best = src;
        best_ns = line->time_unix_ns;
    }
    return best;
}

static void take(struct source *src) {
    struct batch *b = list_entry(src->batches.next, struct batch, link);
    if (++b->next == b->m->n_lines) free_batch(src, b);
}

/* One message of as many lines of SRC as come before the others' next one. 0, or bus_send's code.
 */
static int send_run(struct logs *l, struct source *src, int64_t until_ns) {
    Orlop__LogLine *lines[SEND_LINES];
    Orlop__LogBatch out = ORLOP__LOG_BATCH__INIT;
    out.lines = lines;
    size_t bytes = 0;
    struct batch *b;
    const Orlop__LogLine *line;
    while (out.n_lines < SEND_LINES && bytes < SEND_BYTES && (line = head(src, out.n_lines, &b)) &&
           (!out.n_lines || line->time_unix_ns <= until_ns)) {
        bytes += line->text.len;
        lines[out.n_lines++] = (Orlop__LogLine *) (uintptr_t) line;
    }
    int r = bus_send_pb(l->client, &out.base);
    for (size_t i = 0; i < out.n_lines && !r; i++) take(src);
    return r;
}

static int64_t next_of_others(const struct logs *l, const struct source *but) {
    int64_t at = INT64_MAX;
    list_each (it, &l->sources) {
        const struct source *src = list_entry(it, struct source, link);
        struct batch *b;
        const Orlop__LogLine *line = src == but ? NULL : head(src, 0, &b);
        if (line && line->time_unix_ns < at) at = line->time_unix_ns;
    }
    return at;
}

static bool app_is_gone(const struct logs *l) {
    return !state_app(&l->sched->state, l->req->app);
}

static void end_if_done(struct logs *l) {
    list_each_safe (it, &l->sources) {
        struct source *src = list_entry(it, struct source, link);
        if (src->stream || !list_empty(&src->batches)) return;
    }
    if (l->req->follow && !app_is_gone(l)) return;
    if (l->failed.code)
        bus_fail(l->client, l->failed.code, "%s", l->failed.text);
    else
        bus_end(l->client);
}

static void on_timer(uv_timer_t *t);

static void merge(struct logs *l, bool force) {
    bool wait = false;
    struct source *src;
    while (l->client && (src = earliest(l, force, &wait)) && !wait) {
        int r = send_run(l, src, next_of_others(l, src));
        if (r == -EAGAIN) return; /* writable() goes on */
        if (r < 0) {
            bus_fail(l->client, r, "log lines cannot be sent");
            return;
        }
    }
    if (!l->client) return;
    if (wait && l->req->follow && !uv_is_active((uv_handle_t *) &l->timer))
        ensure(uv_timer_start(&l->timer, on_timer, MERGE_MS, 0) == 0);
    list_each_safe (it, &l->sources) { /* what has ended and is read */
        struct source *done = list_entry(it, struct source, link);
        if (!done->stream && list_empty(&done->batches)) free_source(done);
    }
    end_if_done(l);
}

static void on_timer(uv_timer_t *t) {
    merge(t->data, true);
}

static void client_writable(void *ctx, struct bus_stream *stream) {
    (void) stream;
    merge(ctx, false);
}

/* --- nodes' streams -------------------------------------------------------------------------- */

static void name_lines(struct logs *l, Orlop__LogBatch *m) {
    for (size_t i = 0; i < m->n_lines; i++) {
        struct known *k = map_get(&l->tasks, m->lines[i]->task);
        if (!k) continue;
        m->lines[i]->name = k->name;
        if (m->lines[i]->time_unix_ns > k->last_ns) k->last_ns = m->lines[i]->time_unix_ns;
    }
}

static void source_data(void *ctx, struct bus_stream *stream, const uint8_t *body, size_t len) {
    struct source *src = ctx;
    struct logs *l = src->logs;
    if (l->dropped) return;
    struct batch *b = mem_zalloc(sizeof *b);
    if (b) {
        arena_init(&b->arena, BATCH_BUDGET);
        b->len = len;
        b->m = arena_unpack(&b->arena, &orlop__log_batch__descriptor, body, len);
    }
    if (!b || !b->m) {
        if (b) arena_fini(&b->arena);
        mem_free(b);
        bus_cancel(stream);
        return;
    }
    bus_stream_hold(stream);
    list_add_tail(&src->batches, &b->link);
    count_bytes(l, (ssize_t) b->arena.used); /* short lines take three times their bytes */
    name_lines(l, b->m);
    if (!b->m->n_lines) free_batch(src, b);
    merge(l, false);
    keep_bounded(l->sched);
}

static void source_end(void *ctx, struct bus_stream *stream) {
    (void) ctx;
    bus_end(stream);
}

static void source_closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct source *src = ctx;
    struct logs *l = src->logs;
    (void) stream;
    src->stream = NULL;
    void *value;
    for (size_t i = 0; err->code && map_next(&l->tasks, &i, NULL, &value);) {
        struct known *k = value; /* read on from there when its node is back */
        if (k->source == src) k->source = NULL;
    }
    if (err->code && !l->req->follow) l->failed = *err;
    if (err->code == -EBUSY && l->client && !l->dropped)
        bus_fail(l->client, -EBUSY, "%s", err->text);
    if (!l->client) {
        free_source(src);
        free_if_over(l);
        return;
    }
    merge(l, false);
}

/* --- which tasks ----------------------------------------------------------------------------- */

static bool wanted(const struct logs *l, const struct task *t) {
    const Orlop__LogsRequest *r = l->req;
    if (!t->node || !str_eq(t->service->app->name, r->app)) return false;
    char name[STATE_NAME_MAX];
    state_task_name(t, name);
    for (size_t i = 0; i < r->n_services; i++)
        if (str_eq(r->services[i], t->service->name) || str_eq(r->services[i], name) ||
            str_eq(r->services[i], t->id))
            return true;
    return r->n_services == 0;
}

static struct known *know(struct logs *l, const struct task *t) {
    struct known *k = map_get(&l->tasks, t->id);
    if (k) return k;
    k = mem_zalloc(sizeof *k);
    if (!k || map_set(&l->tasks, t->id, k) < 0) {
        mem_free(k);
        return NULL;
    }
    state_task_name(t, k->name);
    return k;
}

/* Who follows waits for it. Who does not must not take a part for the whole. */
static void note_absent(struct logs *l, const struct node *n) {
    list_each (it, &n->tasks)
        if (!l->req->follow && wanted(l, list_entry(it, struct task, node_link)))
            (void) err_say(&l->failed, -ENOTCONN,
                           "node %s is not connected: its tasks' lines are missing", n->name);
}

/* Open a stream to N for the tasks there that nobody reads yet. */
static int open_source(struct logs *l, const struct node *n, const struct known *only) {
    static const struct bus_stream_ops ops = {source_data, source_end, NULL, source_closed};
    struct bus_conn *conn = agents_conn(l->sched->agents, n->name);
    if (!conn) {
        note_absent(l, n);
        return 0; /* a later turn looks again */
    }
    auto_free char **ids = mem_array(map_len(&l->sched->state.tasks) + 1, sizeof *ids);
    struct source *src = mem_zalloc(sizeof *src);
    if (!ids || !src) {
        mem_free(src);
        return -ENOMEM;
    }
    src->logs = l;
    list_init(&src->batches);
    Orlop__LogsRequest r = *l->req;
    r.n_services = 0;
    r.tasks = ids;
    r.n_tasks = 0;
    if (!l->first) r.tail = -1; /* new ones whole; old ones from where they broke off */
    list_each (it, &n->tasks) {
        struct task *t = list_entry(it, struct task, node_link);
        struct known *k = wanted(l, t) ? know(l, t) : NULL;
        if (!k || k->source || (only && k != only)) continue;
        if (!only && k->last_ns) continue; /* each with a `since` of its own, below */
        if (only) r.since_unix_ns = k->last_ns + 1;
        k->source = src;
        ids[r.n_tasks++] = t->id;
    }
    int e = r.n_tasks ? bus_request_pb(conn, ORLOP__METHOD__LOGS, &r.base, &ops, src, &src->stream)
                      : -ENOENT;
    if (e == 0) {
        list_add_tail(&l->sources, &src->link);
        return 0;
    }
    void *value;
    for (size_t i = 0; map_next(&l->tasks, &i, NULL, &value);)
        if (((struct known *) value)->source == src) ((struct known *) value)->source = NULL;
    mem_free(src);
    if (e == -ENOTCONN) note_absent(l, n);
    return e == -ENOENT || e == -ENOTCONN ? 0 : e;
}

static int open_sources(struct logs *l) {
    void *value, *node;
    int r = 0;
    for (size_t i = 0; !r && map_next(&l->sched->state.nodes, &i, NULL, &node);) {
        r = open_source(l, node, NULL);
        for (size_t k = 0; !r && map_next(&l->tasks, &k, NULL, &value);) {
            const struct known *broken = value;
            if (!broken->source && broken->last_ns) r = open_source(l, node, broken);
        }
    }
    l->first = false;
    return r;
}

static void turn(struct sched_waiter *w) {
    struct logs *l = container_of(w, struct logs, waiter);
    if (!l->client || !l->req->follow) return;
    int r = open_sources(l);
    if (r < 0)
        bus_fail(l->client, r, "no memory for the logs of new tasks");
    else
        merge(l, false);
}

void api__logs(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    static const struct bus_stream_ops ops = {.writable = client_writable, .closed = client_closed};
    const Orlop__LogsRequest *r = (const void *) req;
    if (!state_app(&s->state, r->app)) {
        bus_fail(stream, -ENOENT, "there is no app %s", r->app);
        return;
    }
    if (!api__names_known(s, stream, r->app, r->services, r->n_services)) return;
    if (s->n_log_readers >= API_LOGS_MAX) {
        bus_fail(stream, -EBUSY, "%d clients read logs already, which is as many as there may be",
                 API_LOGS_MAX);
        return;
    }
    struct logs *l = mem_zalloc(sizeof *l);
    if (l) arena_init(&l->arena, API_BUDGET_BYTES);
    if (l) l->req = arena_copy(&l->arena, req);
    if (!l || !l->req || uv_timer_init(s->loop, &l->timer) < 0) {
        if (l) arena_fini(&l->arena);
        mem_free(l);
        bus_fail(stream, -ENOMEM, "no memory");
        return;
    }
    l->timer.data = l;
    l->sched = s;
    l->client = stream;
    l->first = true;
    l->waiter.turn = turn;
    list_init(&l->sources);
    list_add_tail(&s->log_readers, &l->in_sched);
    s->n_log_readers++;
    sched_add_waiter(s, &l->waiter);
    bus_stream_accept(stream, &ops, l);
    int e = open_sources(l);
    if (e < 0)
        bus_fail(stream, e, "the logs cannot be read now");
    else
        merge(l, false);
}
