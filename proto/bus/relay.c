// SPDX-License-Identifier: Apache-2.0
/* Two streams joined back to back. Each hop keeps its own credit: a message is consumed on one when
 * it was queued on the other, and what cannot be queued yet waits here, at most a window of it.
 * Credit once given cannot be taken back, so many that are not read must not add up: above
 * BUS_RELAY_BYTES the one that keeps most is ended. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "runtime/base/mem.h"

enum { RELAY_MAX = BUS_WINDOW + BUS_FRAME_MAX, PREFIX = sizeof(uint32_t), QUEUE_MIN = 4096 };

static size_t waiting(const struct relay_queue *q) {
    return q->bytes.len - q->bytes.at;
}

static void set_cap(struct bus_stream *s, size_t cap) {
    struct bus *b = s->conn->bus;
    b->relay_bytes = b->relay_bytes - s->queue.bytes.cap + cap;
    s->queue.bytes.cap = cap;
}

static int append(struct bus_stream *s, const uint8_t *body, size_t len) {
    struct wire_bytes *b = &s->queue.bytes;
    size_t need = waiting(&s->queue) + PREFIX + len;
    if (need > RELAY_MAX) return -ENOBUFS; /* only a flood of tiny messages gets here */
    if (b->at > 0) {
        memmove(b->p, b->p + b->at, waiting(&s->queue));
        b->len -= b->at;
        b->at = 0;
    }
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : QUEUE_MIN;
        while (cap < need) cap *= 2;
        uint8_t *p = mem_resize(b->p, cap, 1);
        if (!p) return -ENOMEM;
        b->p = p;
        set_cap(s, cap);
    }
    uint32_t n = (uint32_t) len;
    memcpy(b->p + b->len, &n, PREFIX);
    memcpy(b->p + b->len + PREFIX, body, len);
    b->len += PREFIX + len;
    return 0;
}

void relay__fini(struct bus_stream *s) {
    set_cap(s, 0);
    mem_free(s->queue.bytes.p);
    s->queue.bytes = (struct wire_bytes){0};
}

static void fail_both(struct bus_stream *s, int code, const char *text) {
    struct bus_stream *other = s->relay;
    stream__fail(s, code, text);
    if (other) stream__fail(other, code, text);
}

static struct bus_stream *fuller(struct bus_conn *c, struct bus_stream *most) {
    for (size_t i = 0; i < c->streams.cap; i++)
        for (struct bus_stream *s = c->streams.buckets[i]; s; s = s->next)
            if (!most || s->queue.bytes.cap > most->queue.bytes.cap) most = s;
    return most;
}

static void keep_bounded(struct bus *b) {
    struct bus_stream *most = NULL;
    if (b->relay_bytes <= BUS_RELAY_BYTES) return;
    list_each (it, &b->conns) most = fuller(list_entry(it, struct bus_conn, link), most);
    if (most)
        fail_both(
            most, -EBUSY,
            "read too slowly, as others are: there is no room for more that waits to be read");
}

void relay__data(struct bus_stream *s, const uint8_t *body, size_t len) {
    struct bus_stream *to = s->relay;
    if (!to) {
        stream__consume(s, len); /* its reader has gone; END or ERROR is under way */
        return;
    }
    int r = waiting(&to->queue) > 0 ? -EAGAIN : stream__send(to, body, len);
    if (r == 0) {
        stream__consume(s, len);
        return;
    }
    if (r == -EAGAIN) r = append(to, body, len);
    if (r < 0) fail_both(s, r, "cannot pass a message on");
    keep_bounded(s->conn->bus);
}

void relay__writable(struct bus_stream *s) {
    struct relay_queue *q = &s->queue;
    while (waiting(q) > 0) {
        uint32_t n;
        memcpy(&n, q->bytes.p + q->bytes.at, PREFIX);
        int r = stream__send(s, q->bytes.p + q->bytes.at + PREFIX, n);
        if (r == -EAGAIN) return;
        if (r < 0) {
            fail_both(s, r, "cannot pass a message on");
            return;
        }
        q->bytes.at += PREFIX + n;
        if (s->relay) stream__consume(s->relay, n);
    }
    relay__fini(s);
    if (q->end) bus_end(s);
}

/* The peer of S sends no more. */
void relay__end(struct bus_stream *s) {
    struct bus_stream *to = s->relay;
    if (!to) return;
    if (waiting(&to->queue) > 0)
        to->queue.end = true;
    else
        bus_end(to);
}

/* After END in both directions the other one goes on until its queue is empty. */
void relay__over(struct bus_stream *s) {
    struct bus_stream *other = s->relay;
    s->relay = NULL;
    relay__fini(s); /* it sends no more */
    if (!other) return;
    other->relay = NULL;
    if (s->err.code != 0) stream__fail(other, s->err.code, s->err.text);
}

static void join(struct bus_stream *s, struct bus_stream *other) {
    s->ops = NULL;
    s->ctx = NULL;
    s->relayed = true;
    s->relay = other;
    stream__consume(s, s->outstanding - s->owed); /* what the old reader still held */
}

void bus_relay(struct bus_stream *a, struct bus_stream *b) {
    ensure(a != b && !a->relayed && !b->relayed);
    a->held = b->held = true; /* within data(): that message has just been accounted for */
    join(a, b);
    join(b, a);
    if (a->over) relay__over(a);
    if (b->over) relay__over(b);
    if (a->remote_end && !a->over) relay__end(a);
    if (b->remote_end && !b->over) relay__end(b);
}
