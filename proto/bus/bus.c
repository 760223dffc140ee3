// SPDX-License-Identifier: Apache-2.0
/* The bus itself: the ready list, timers, listeners, and the order of closing: listeners and
 * connections first; when nng has given every aio back (mailbox.users == 0) the loop's handles;
 * then done(). No step waits inside a call. */
#include "bus.h"

#include <errno.h>

#include "internal.h"
#include "runtime/base/mem.h"

int64_t bus__now(const struct bus *b) {
    return (int64_t) uv_now(b->loop);
}

/* --- the ready list ------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *h) {
    struct bus *b = h->data;
    if (--b->open_handles > 0) return;
    void (*done)(void *) = b->done;
    void *ctx = b->done_ctx;
    mem_free(b);
    if (done) done(ctx);
}

static void close_handle(uv_handle_t *h) {
    uv_close(h, on_handle_closed);
}

static void free_listeners(struct bus *b) {
    list_each_safe (at, &b->listeners) {
        struct bus_listener *l = list_entry(at, struct bus_listener, link);
        ensure(l->conns == 0);
        mem_free(l);
    }
}

static void finish_if_idle(struct bus *b) {
    if (!b->closing || b->finishing || !list_empty(&b->conns) || b->mailbox.users > 0) return;
    b->finishing = true;
    free_listeners(b);
    close_handle((uv_handle_t *) &b->idle);
    close_handle((uv_handle_t *) &b->beat);
    close_handle((uv_handle_t *) &b->redial);
    mailbox_close(&b->mailbox, on_handle_closed);
}

/* Whoever becomes ready meanwhile has its turn in the next round, after the loop has polled. */
static void run_ready(struct bus *b) {
    struct list round;
    list_init(&round);
    list_each_safe (at, &b->ready) {
        list_del(at);
        list_add_tail(&round, at);
    }
    while (!list_empty(&round)) {
        struct bus_conn *c = list_entry(round.next, struct bus_conn, ready);
        list_del(&c->ready);
        conn__tick(c);
    }
    finish_if_idle(b);
    if (list_empty(&b->ready) && !b->finishing) uv_idle_stop(&b->idle);
}

static void on_idle(uv_idle_t *idle) {
    run_ready(idle->data);
}

static void on_drained(struct mailbox *mb) {
    struct bus *b = container_of(mb, struct bus, mailbox);
    if (!b->finishing) run_ready(b);
}

void bus__wake(struct bus *b) {
    if (!b->finishing) (void) uv_idle_start(&b->idle, on_idle); /* fails without callback only */
}

/* --- timers --------------------------------------------------------------------------------- */

static void on_beat(uv_timer_t *t) {
    struct bus *b = t->data;
    list_each (at, &b->conns) conn__beat(list_entry(at, struct bus_conn, link));
    if (b->closing) return;
    list_each (at, &b->listeners) wire_accept(list_entry(at, struct bus_listener, link)->wire);
}

static void on_redial(uv_timer_t *t) {
    struct bus *b = t->data;
    int64_t now = bus__now(b);
    list_each (at, &b->conns) {
        struct bus_conn *c = list_entry(at, struct bus_conn, link);
        if (c->state == CONN_DOWN && c->redial_at <= now) conn__dial(c);
    }
    bus__schedule_redial(b);
}

void bus__schedule_redial(struct bus *b) {
    int64_t first = INT64_MAX;
    list_each (at, &b->conns) {
        const struct bus_conn *c = list_entry(at, struct bus_conn, link);
        if (c->state == CONN_DOWN && c->redial_at < first) first = c->redial_at;
    }
    if (b->finishing || first == INT64_MAX) return;
    int64_t in = first - bus__now(b);
    (void) uv_timer_start(&b->redial, on_redial, in > 0 ? (uint64_t) in : 0, 0);
}

/* --- listeners ------------------------------------------------------------------------------ */

/* After a failure (descriptors, memory) the next beat accepts again. */
static void on_accepted(void *owner, struct wire *w, int code, const char *text) {
    struct bus_listener *l = owner;
    (void) code;
    (void) text;
    if (!w) return;
    if (l->conns >= ACCEPTED_MAX)
        wire_close(w);
    else if (conn__new_accepted(l, w) < 0)
        return;
    wire_accept(l->wire);
}

int bus_listen(struct bus *b, const char *url, const struct bus_conn_ops *ops, void *ctx,
               struct bus_listener **ret, struct err *err) {
    ensure(!b->closing);
    struct bus_listener *l = mem_zalloc(sizeof *l);
    if (!l) return err_set(err, -ENOMEM, "listen on %s", url);
    *l = (struct bus_listener){.bus = b, .ops = ops, .ctx = ctx};
    int r = wire_listen(&b->mailbox, url, on_accepted, l, &l->wire, err);
    if (r < 0) {
        mem_free(l);
        return r;
    }
    list_add_tail(&b->listeners, &l->link);
    wire_accept(l->wire);
    if (ret) *ret = l;
    return 0;
}

int bus_listener_port(const struct bus_listener *l) {
    return wire_listener_port(l->wire);
}

/* --- life ----------------------------------------------------------------------------------- */

int bus_new(uv_loop_t *loop, struct bus **ret) {
    struct bus *b = mem_zalloc(sizeof *b);
    if (!b) return -ENOMEM;
    b->loop = loop;
    list_init(&b->conns);
    list_init(&b->listeners);
    list_init(&b->ready);
    int r = mailbox_init(&b->mailbox, loop, on_drained);
    if (r < 0) {
        mem_free(b);
        return r;
    }
    /* These three cannot fail. */
    (void) uv_idle_init(loop, &b->idle);
    (void) uv_timer_init(loop, &b->beat);
    (void) uv_timer_init(loop, &b->redial);
    b->idle.data = b->beat.data = b->redial.data = b->mailbox.async.data = b;
    b->open_handles = 4;
    (void) uv_timer_start(&b->beat, on_beat, BEAT_MS, BEAT_MS);
    *ret = b;
    return 0;
}

void bus_close(struct bus *b, void (*done)(void *ctx), void *ctx) {
    ensure(!b->closing);
    b->closing = true;
    b->done = done;
    b->done_ctx = ctx;
    list_each (at, &b->listeners)
        wire_listener_close(list_entry(at, struct bus_listener, link)->wire);
    list_each (at, &b->conns) bus_conn_close(list_entry(at, struct bus_conn, link));
    bus__wake(b);
}
