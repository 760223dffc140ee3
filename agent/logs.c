// SPDX-License-Identifier: Apache-2.0
/* A request's life:
 *
 *     OPENING (pool: readers, tails) -> READING -> ENDED
 *                                        |  ^ writable, log or task changed, a log has appeared
 *                                        v  |
 *                                       waiting for credit, or for more lines
 *
 * The stream may close at any time; the request is freed when its stream is closed, its job has
 * come back and its handles are closed.
 */
#include "agent/logs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/logwatch.h"
#include "api.pb-c.h"
#include "proto/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/paths.h"
#include "runtime/base/str.h"
#include "runtime/keeper/logfile.h"

enum { REQUEST_BUDGET = 1 << 20, APPEAR_MS = 250, TASK_TEXT_MAX = 64 };

struct source { /* one task of a request */
    struct request *request;
    char task[TASK_TEXT_MAX];
    struct log_reader *reader; /* NULL: its log is not there (yet) */
    struct log_line head;
    bool has_head;
    bool done;
    bool dry; /* all was read; a change of the log or of the task's state wakes it */
    struct logwatch_waiter waiter;
};

struct request {
    struct list node, in_ready;
    struct logs *logs;
    struct bus_stream *stream; /* NULL: closed */
    bool follow;
    int64_t since, until, tail;
    struct source *sources;
    size_t n_sources;
    uint8_t *packed; /* a batch that found no credit */
    size_t packed_len;
    bool opening; /* the job is in the pool */
    bool finished;
    size_t handles;
    uv_work_t work;
    uv_timer_t timer; /* logs that have not appeared yet */
    bool timing;
    struct err err;
};

struct logs {
    uv_loop_t *loop;
    const struct logs_ops *ops;
    void *ctx;
    char state[PATHS_MAX];
    struct logwatch *watch;
    struct list requests, ready;
    size_t n_requests, n_readers;
    uv_idle_t idle; /* active while a request is ready */
    bool closing, idle_closed;
    /* the batch under construction */
    Orlop__LogLine lines[LOGS_BATCH_LINES];
    Orlop__LogLine *pointers[LOGS_BATCH_LINES];
    char text[LOGS_BATCH_BYTES];
    size_t text_len;
};

static void maybe_free_logs(struct logs *l) {
    if (!l->closing || !l->idle_closed || !list_empty(&l->requests)) return;
    logwatch_close(l->watch);
    mem_free(l);
}

static void maybe_free(struct request *q) {
    if (q->stream || q->opening || q->handles) return;
    struct logs *l = q->logs;
    list_del(&q->node);
    list_del(&q->in_ready);
    l->n_requests--;
    l->n_readers -= q->n_sources;
    for (size_t i = 0; i < q->n_sources; i++) log_reader_free(q->sources[i].reader);
    mem_free(q->sources);
    mem_free(q->packed);
    mem_free(q);
    maybe_free_logs(l);
}

static void on_timer_closed(uv_handle_t *h) {
    struct request *q = container_of((uv_timer_t *) h, struct request, timer);
    q->handles--;
    maybe_free(q);
}

/* Its lines are as good as they can be; at the end the reader is told, too. */
static void say_damage(struct source *s) {
    const char *damage = s->reader ? log_reader_damage(s->reader) : NULL;
    struct request *q = s->request;
    if (!damage || q->err.code) return;
    err_say(&q->err, -EBADMSG, "the log of task %s: %s", s->task, damage);
    log_warn("log.damage", "task=%s what=\"%s\"", s->task, damage);
}

static void source_done(struct source *s) {
    say_damage(s);
    s->done = true;
    s->has_head = false;
    logwatch_forget(s->request->logs->watch, &s->waiter);
    log_reader_free(s->reader);
    s->reader = NULL;
}

static void release(struct request *q) {
    list_del(&q->in_ready);
    if (q->opening) return; /* the pool has the readers; again when they are back */
    for (size_t i = 0; i < q->n_sources; i++) source_done(&q->sources[i]);
    if (q->timing) uv_close((uv_handle_t *) &q->timer, on_timer_closed);
    q->timing = false;
}

static void on_idle(uv_idle_t *h);

static void make_ready(struct request *q) {
    if (!q->stream || q->opening || q->finished || q->packed || !list_empty(&q->in_ready)) return;
    list_add_tail(&q->logs->ready, &q->in_ready);
    uv_idle_start(&q->logs->idle, on_idle);
}

static void on_log_changed(struct logwatch_waiter *w) {
    struct source *s = container_of(w, struct source, waiter);
    s->dry = false;
    make_ready(s->request);
}

/* What is written from now on wakes S: before it is found dry. */
static int start_waiting(struct source *s) {
    struct request *q = s->request;
    if (s->waiter.dir || !s->reader || !q->follow) return 0;
    int r = logwatch_wait(q->logs->watch, &s->waiter, log_reader_dir(s->reader), on_log_changed);
    return r < 0 ? err_set(&q->err, r, "wait for the log of task %s", s->task) : 0;
}

static void finish(struct request *q, int error) {
    q->finished = true;
    if (error == 0 && q->err.code) error = q->err.code; /* all that there is was sent; and yet */
    if (error < 0)
        bus_fail(q->stream, -error, "%s", q->err.code ? q->err.text : err_text(error));
    else
        bus_end(q->stream);
}

/* ---- opening ---- */

static int open_reader(struct source *s, int64_t tail, struct err *err) {
    struct request *q = s->request;
    char dir[PATHS_FULL_MAX];
    snprintf(dir, sizeof dir, "%s/tasks/%s/log", q->logs->state, s->task);
    int r = log_reader_open(dir, q->since, tail, &s->reader, err);
    if (r == 0 && !q->follow) log_reader_stop_here(s->reader);
    return r == -ENOENT ? 0 : r;
}

static void open_all(uv_work_t *w) {
    struct request *q = container_of(w, struct request, work);
    for (size_t i = 0; i < q->n_sources && !q->err.code; i++)
        if (open_reader(&q->sources[i], q->tail, &q->err) == 0) q->err.code = 0;
}

/* A task whose log has not appeared: nothing to watch yet, so look again. */
static void on_timer(uv_timer_t *t) {
    struct request *q = container_of(t, struct request, timer);
    bool missing = false;
    for (size_t i = 0; i < q->n_sources; i++) {
        struct source *s = &q->sources[i];
        if (s->done || s->reader) continue;
        struct err err;
        if (open_reader(s, -1, &err) < 0 || !s->reader) missing = true;
        int r = start_waiting(s);
        if (r < 0) {
            uv_timer_stop(t);
            finish(q, r);
            return;
        }
    }
    make_ready(q);
    if (!missing) uv_timer_stop(t);
}

static void start_timer(struct request *q) {
    if (!q->follow || q->timing || uv_timer_init(q->logs->loop, &q->timer) < 0) return;
    q->handles++;
    q->timing = true;
    uv_timer_start(&q->timer, on_timer, APPEAR_MS, APPEAR_MS);
}

static void on_opened(uv_work_t *w, int status) {
    (void) status;
    struct request *q = container_of(w, struct request, work);
    q->opening = false;
    if (!q->stream) {
        release(q);
        maybe_free(q);
        return;
    }
    bool missing = false;
    int r = q->err.code;
    for (size_t i = 0; r == 0 && i < q->n_sources; i++) {
        r = start_waiting(&q->sources[i]);
        missing |= !q->sources[i].reader;
    }
    if (r < 0) {
        finish(q, r);
        return;
    }
    if (missing) start_timer(q);
    make_ready(q);
}

/* ---- reading ---- */

/* Make S's next line its head, or find that it has ended. */
static int advance(struct source *s) {
    struct request *q = s->request;
    if (s->done || s->has_head || s->dry) return 0;
    bool live = q->follow && q->logs->ops->task_state(q->logs->ctx, s->task) == LOGS_TASK_LIVE;
    if (!s->reader) {
        if (!live) source_done(s);
        return 0;
    }
    int r = log_reader_next(s->reader, !live, &s->head, &q->err);
    if (r < 0) return r;
    s->has_head = r == 1;
    s->dry = r == 0 && live && s->waiter.dir;
    bool past = r == 1 && q->until && s->head.time_unix_ns >= q->until;
    if (past || (r == 0 && !live)) source_done(s);
    return 0;
}

static struct source *earliest(struct request *q, int *ret_error) {
    struct source *first = NULL;
    for (size_t i = 0; i < q->n_sources; i++) {
        struct source *s = &q->sources[i];
        int r = advance(s);
        if (r < 0) {
            *ret_error = r;
            return NULL;
        }
        if (s->has_head && (!first || s->head.time_unix_ns < first->head.time_unix_ns)) first = s;
    }
    return first;
}

static void add_line(struct logs *l, size_t n, struct source *s) {
    Orlop__LogLine *line = &l->lines[n];
    orlop__log_line__init(line);
    line->task = s->task;
    line->stream = s->head.stream;
    line->time_unix_ns = s->head.time_unix_ns;
    line->partial = s->head.partial;
    line->text.data = (uint8_t *) l->text + l->text_len;
    line->text.len = s->head.len;
    memcpy(line->text.data, s->head.text, s->head.len);
    l->text_len += s->head.len;
    l->pointers[n] = line;
    s->has_head = false;
}

/* Pack the next batch into Q->packed. 1 = done, 0 = there is none, or an error. */
static int next_batch(struct request *q) {
    struct logs *l = q->logs;
    Orlop__LogBatch batch = ORLOP__LOG_BATCH__INIT;
    l->text_len = 0;
    int error = 0;
    while (batch.n_lines < LOGS_BATCH_LINES) {
        struct source *s = earliest(q, &error);
        if (!s || s->head.len > sizeof l->text - l->text_len) break;
        add_line(l, batch.n_lines++, s);
    }
    if (error < 0 && batch.n_lines == 0) return error;
    if (batch.n_lines == 0) return 0;
    batch.lines = l->pointers;
    q->packed = pb_pack(&batch.base, &q->packed_len);
    return q->packed ? 1 : -ENOMEM;
}

static bool all_done(const struct request *q) {
    for (size_t i = 0; i < q->n_sources; i++)
        if (!q->sources[i].done) return false;
    return true;
}

/* Whether it was sent, or there is nothing to send. */
static bool send_packed(struct request *q) {
    if (!q->packed) return true;
    int r = bus_send(q->stream, q->packed, q->packed_len);
    if (r == -EAGAIN) return false; /* writable() comes */
    mem_free(steal_ptr(&q->packed));
    if (r < 0) finish(q, r);
    return true;
}

static void one_batch(struct request *q) {
    int r = next_batch(q);
    if (r < 0) {
        finish(q, r);
    } else if (r == 1) {
        if (send_packed(q)) make_ready(q);
    } else if (all_done(q)) {
        finish(q, 0);
    }
}

static void on_idle(uv_idle_t *h) {
    struct logs *l = container_of(h, struct logs, idle);
    if (list_empty(&l->ready)) {
        uv_idle_stop(h);
        return;
    }
    struct request *q = list_entry(l->ready.next, struct request, in_ready);
    list_del(&q->in_ready);
    one_batch(q);
}

/* ---- the stream ---- */

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) ctx;
    (void) s;
    (void) body;
    (void) len;
}

static void on_writable(void *ctx, struct bus_stream *s) {
    struct request *q = ctx;
    (void) s;
    if (!q->finished && send_packed(q)) make_ready(q);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct request *q = ctx;
    (void) s;
    (void) err;
    q->stream = NULL;
    release(q);
    maybe_free(q);
}

/* The client has nothing to say: its END means nothing, its cancel comes as closed(). */
static const struct bus_stream_ops stream_ops = {
    .data = on_data, .writable = on_writable, .closed = on_closed};

static bool task_ok(const char *task) {
    size_t n = strlen(task);
    return n > 0 && n < TASK_TEXT_MAX && strspn(task, "0123456789.") == n && task[0] != '.';
}

static struct request *request_new(struct logs *l, const Orlop__LogsRequest *m) {
    struct request *q = mem_zalloc(sizeof *q);
    if (!q) return NULL;
    q->sources = mem_array(m->n_tasks + 1, sizeof *q->sources);
    if (!q->sources) {
        mem_free(q);
        return NULL;
    }
    q->logs = l;
    q->follow = m->follow;
    q->since = m->since_unix_ns;
    q->until = m->until_unix_ns;
    q->tail = m->tail < 0 ? -1 : m->tail;
    q->n_sources = m->n_tasks;
    for (size_t i = 0; i < m->n_tasks; i++) {
        q->sources[i].request = q;
        memcpy(q->sources[i].task, m->tasks[i], strlen(m->tasks[i]) + 1);
    }
    list_init(&q->in_ready);
    return q;
}

static void begin(struct logs *l, struct bus_stream *s, const Orlop__LogsRequest *m) {
    struct request *q = request_new(l, m);
    if (!q) {
        bus_fail(s, ENOMEM, "no memory");
        return;
    }
    q->stream = s;
    list_add_tail(&l->requests, &q->node);
    l->n_requests++;
    l->n_readers += q->n_sources;
    bus_stream_accept(s, &stream_ops, q);
    q->opening = true;
    int r = uv_queue_work(l->loop, &q->work, open_all, on_opened);
    ensure(r == 0);
}

static const char *refusal(const struct logs *l, const Orlop__LogsRequest *m, int *ret_code) {
    *ret_code = EINVAL;
    if (!m) return "the request for logs is malformed";
    if (m->n_tasks > LOGS_TASKS_MAX) return "too many tasks in one request for logs";
    *ret_code = EBUSY;
    if (l->closing || l->n_requests >= LOGS_STREAMS_MAX ||
        m->n_tasks > LOGS_READERS_MAX - l->n_readers)
        return "as many logs are read already as there may be";
    *ret_code = ENOENT;
    for (size_t i = 0; i < m->n_tasks; i++)
        if (!task_ok(m->tasks[i]) || l->ops->task_state(l->ctx, m->tasks[i]) == LOGS_TASK_UNKNOWN)
            return "a task is not known on this node";
    return NULL;
}

void logs_open(struct logs *l, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct arena arena;
    arena_init(&arena, REQUEST_BUDGET);
    const Orlop__LogsRequest *m = arena_unpack(&arena, &orlop__logs_request__descriptor, body, len);
    int code;
    const char *why = refusal(l, m, &code);
    if (why)
        bus_fail(s, code, "%s", why);
    else
        begin(l, s, m);
    arena_fini(&arena);
}

void logs_task_changed(struct logs *l, const char *task) {
    list_each (it, &l->requests) {
        struct request *q = list_entry(it, struct request, node);
        for (size_t i = 0; i < q->n_sources; i++) {
            if (!str_eq(q->sources[i].task, task)) continue;
            q->sources[i].dry = false;
            make_ready(q);
        }
    }
}

int logs_new(uv_loop_t *loop, const char *state_dir, const struct logs_ops *ops, void *ctx,
             struct logs **ret) {
    struct logs *l = mem_zalloc(sizeof *l);
    if (!l) return -ENOMEM;
    l->loop = loop;
    l->ops = ops;
    l->ctx = ctx;
    snprintf(l->state, sizeof l->state, "%s", state_dir);
    list_init(&l->requests);
    list_init(&l->ready);
    int r = logwatch_new(loop, &l->watch);
    if (r == 0) r = uv_idle_init(loop, &l->idle);
    if (r < 0) {
        mem_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

static void on_idle_closed(uv_handle_t *h) {
    struct logs *l = container_of((uv_idle_t *) h, struct logs, idle);
    l->idle_closed = true;
    maybe_free_logs(l);
}

void logs_close(struct logs *l) {
    if (!l || l->closing) return;
    l->closing = true;
    list_each (it, &l->requests) {
        struct request *q = list_entry(it, struct request, node);
        if (q->stream && !q->finished) bus_fail(q->stream, ESHUTDOWN, "the agent ends");
        q->finished = true;
    }
    uv_close((uv_handle_t *) &l->idle, on_idle_closed);
}
