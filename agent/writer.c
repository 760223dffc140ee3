// SPDX-License-Identifier: Apache-2.0
#include "agent/writer.h"

#include <errno.h>

#include "runtime/base/list.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

struct waiter {
    struct list node;
    writer_cb cb;
    void *ctx;
};

struct writer {
    struct astore *store;
    uv_loop_t *loop;
    uv_work_t work;
    uv_timer_t retry;
    struct astore_write write;
    struct list due, in_flight; /* waiters */
    bool busy, failing;
    writer_fatal_cb fatal;
    void *ctx;
};

static void begin(struct writer *w);

static void run(uv_work_t *req) {
    struct writer *w = container_of(req, struct writer, work);
    astore_write_run(&w->write);
}

static void move_all(struct list *from, struct list *to) {
    while (!list_empty(from)) {
        struct list *n = from->next;
        list_del(n);
        list_add_tail(to, n);
    }
}

static void answer(struct list *done) {
    while (!list_empty(done)) {
        struct waiter *x = list_entry(done->next, struct waiter, node);
        list_del(&x->node);
        if (x->cb) x->cb(x->ctx);
        mem_free(x);
    }
}

static void on_retry(uv_timer_t *t) {
    begin(container_of(t, struct writer, retry));
}

static void failed(struct writer *w) {
    if (!w->failing)
        log_error("store.write", "err=\"%s\" next=\"again each second\"", w->write.err.text);
    w->failing = true;
    struct list later;
    list_init(&later);
    move_all(&w->due, &later);
    move_all(&w->in_flight, &w->due);
    move_all(&later, &w->due);
    uv_timer_start(&w->retry, on_retry, WRITER_RETRY_MS, 0);
}

static void after(uv_work_t *req, int status) {
    struct writer *w = container_of(req, struct writer, work);
    if (status < 0) w->write.status = status;
    int result = w->write.status;
    struct err err = {0};
    int r = astore_write_done(&w->write, &err);
    w->busy = false;
    if (r < 0) {
        w->fatal(w->ctx, &err);
        return;
    }
    if (result < 0) {
        failed(w);
        return;
    }
    w->failing = false;
    struct list done;
    list_init(&done);
    move_all(&w->in_flight, &done);
    begin(w);
    answer(&done);
}

static void begin(struct writer *w) {
    if (w->busy || !astore_has_staged(w->store) || uv_is_active((uv_handle_t *) &w->retry)) return;
    w->busy = true;
    move_all(&w->due, &w->in_flight);
    astore_write_begin(w->store, &w->write);
    int r = uv_queue_work(w->loop, &w->work, run, after);
    ensure(r == 0); /* fails only for a NULL callback */
}

int writer_kick(struct writer *w, writer_cb cb, void *ctx) {
    struct waiter *x = mem_zalloc(sizeof *x);
    if (!x) return -ENOMEM;
    x->cb = cb;
    x->ctx = ctx;
    list_add_tail(&w->due, &x->node);
    begin(w);
    return 0;
}

bool writer_idle(const struct writer *w) {
    return !w->busy && !astore_has_staged(w->store);
}

int writer_new(uv_loop_t *loop, struct astore *s, writer_fatal_cb fatal, void *ctx,
               struct writer **ret) {
    struct writer *w = mem_zalloc(sizeof *w);
    if (!w) return -ENOMEM;
    w->store = s;
    w->loop = loop;
    w->fatal = fatal;
    w->ctx = ctx;
    list_init(&w->due);
    list_init(&w->in_flight);
    uv_timer_init(loop, &w->retry);
    *ret = w;
    return 0;
}

static void drop(struct list *l) {
    while (!list_empty(l)) {
        struct waiter *x = list_entry(l->next, struct waiter, node);
        list_del(&x->node);
        mem_free(x);
    }
}

static void on_retry_closed(uv_handle_t *h) {
    struct writer *w = container_of((uv_timer_t *) h, struct writer, retry);
    drop(&w->due);
    drop(&w->in_flight);
    mem_free(w);
}

void writer_close(struct writer *w) {
    if (!w) return;
    ensure(!w->busy);
    uv_close((uv_handle_t *) &w->retry, on_retry_closed);
}
