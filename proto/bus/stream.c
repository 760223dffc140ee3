// SPDX-License-Identifier: Apache-2.0
/* Streams: who may send how much, half-close, and the one end.
 *
 * Credit. Each side may have BUS_WINDOW bytes under way; a message is taken when the credit covers
 * it or is at least half the window, so that a message of any size goes once its reader has caught
 * up (the credit then turns negative). The reader gives credit back in quarters of the window: a
 * sender whose messages were all consumed always has more than half of it.
 *
 * The end. ERROR in either direction, END in both, or the loss of the connection: out of the table
 * at once, so that late frames meet nobody, closed() at the next tick, then freed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus.pb-c.h"
#include "internal.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { TABLE_MIN = 16, CREDIT_STEP = BUS_WINDOW / 4, ERRNO_MAX = 4095 };

static const size_t NOTHING = SIZE_MAX;

/* --- table ---------------------------------------------------------------------------------- */

/* Ids are dense and of our own or the peer's counting: every second one, so the low bit says
 * nothing. */
static size_t bucket_of(const struct table *t, uint64_t id) {
    return (size_t) ((id >> 1) ^ (id << 7)) & (t->cap - 1);
}

struct bus_stream *table_get(const struct table *t, uint64_t id) {
    if (t->cap == 0) return NULL;
    struct bus_stream *s = t->buckets[bucket_of(t, id)];
    while (s && s->id != id) s = s->next;
    return s;
}

static void table_link(struct table *t, struct bus_stream *s) {
    struct bus_stream **at = &t->buckets[bucket_of(t, s->id)];
    s->next = *at;
    *at = s;
}

static int table_grow(struct table *t) {
    struct table bigger = {.cap = t->cap ? t->cap * 2 : TABLE_MIN, .n = t->n};
    bigger.buckets = mem_array(bigger.cap, sizeof *bigger.buckets);
    if (!bigger.buckets) return -ENOMEM;
    for (size_t i = 0; i < t->cap; i++)
        for (struct bus_stream *s = t->buckets[i], *next; s; s = next) {
            next = s->next;
            table_link(&bigger, s);
        }
    mem_free(t->buckets);
    *t = bigger;
    return 0;
}

static int table_add(struct table *t, struct bus_stream *s) {
    int r = t->n < t->cap ? 0 : table_grow(t);
    if (r < 0) return r;
    table_link(t, s);
    t->n++;
    return 0;
}

static void table_del(struct table *t, struct bus_stream *s) {
    struct bus_stream **at = &t->buckets[bucket_of(t, s->id)];
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    t->n--;
}

/* --- life ----------------------------------------------------------------------------------- */

static struct bus_stream *stream_new(struct bus_conn *c, uint64_t id, bool ours) {
    struct bus_stream *s = mem_zalloc(sizeof *s);
    if (!s) return NULL;
    s->conn = c;
    s->id = id;
    s->ours = ours;
    s->credit = BUS_WINDOW;
    s->want = NOTHING;
    if (table_add(&c->streams, s) < 0) {
        mem_free(s);
        return NULL;
    }
    return s;
}

static void stream_free(struct bus_stream *s) {
    relay__fini(s);
    mem_free(s);
}

void stream__finish(struct bus_stream *s, int code, const char *text) {
    if (s->over) return;
    s->over = true;
    s->err.code = code;
    snprintf(s->err.text, sizeof s->err.text, "%s", text);
    table_del(&s->conn->streams, s);
    list_del(&s->link);
    list_add_tail(&s->conn->over, &s->link);
    conn__ready(s->conn);
    if (s->relayed) relay__over(s);
}

static void finish_if_ended(struct bus_stream *s) {
    if (s->local_end && s->remote_end) stream__finish(s, 0, "");
}

void stream__break_all(struct bus_conn *c, const char *why) {
    for (size_t i = 0; i < c->streams.cap; i++)
        while (c->streams.buckets[i]) stream__finish(c->streams.buckets[i], -ECONNRESET, why);
}

void stream__run_over(struct bus_conn *c) {
    while (!list_empty(&c->over)) {
        struct bus_stream *s = list_entry(c->over.next, struct bus_stream, link);
        list_del(&s->link);
        if (s->ops && s->ops->closed) s->ops->closed(s->ctx, s, &s->err);
        stream_free(s);
    }
    if (c->streams.n == 0 && c->streams.cap > TABLE_MIN) {
        mem_free(c->streams.buckets);
        c->streams = (struct table){0};
    }
}

/* --- sending -------------------------------------------------------------------------------- */

static bool may_send(const struct bus_stream *s, size_t len) {
    size_t enough = len < BUS_WINDOW / 2 ? len : BUS_WINDOW / 2;
    return s->credit >= (int64_t) enough;
}

static void wait_for_room(struct bus_stream *s) {
    list_del(&s->link);
    list_add_tail(&s->conn->blocked, &s->link);
}

/* 0 when a message of LEN may be queued now. */
static int admit(struct bus_stream *s, size_t len) {
    if (s->over || s->local_end) return -EPIPE;
    if (len > BUS_FRAME_MAX) return -EFBIG;
    bool room = wire_queued(s->conn->wire) < QUEUE_SOFT;
    if (may_send(s, len) && room) return 0;
    s->want = len;
    if (may_send(s, len)) wait_for_room(s); /* else CREDIT brings it there */
    return -EAGAIN;
}

static uint8_t *put_data(struct bus_stream *s, size_t len, bool control) {
    struct frame f = {.kind = ORLOP__ENVELOPE__KIND__DATA, .stream = s->id, .len = len};
    uint8_t *p = conn__put(s->conn, &f, control);
    if (!p) return NULL;
    s->credit -= (int64_t) len;
    s->want = NOTHING;
    return p;
}

int stream__send(struct bus_stream *s, const void *body, size_t len) {
    int r = admit(s, len);
    if (r < 0) return r;
    uint8_t *p = put_data(s, len, false);
    if (!p) return -ENOMEM;
    if (len) memcpy(p, body, len);
    return 0;
}

int bus_send(struct bus_stream *s, const void *body, size_t len) {
    ensure(!s->relayed);
    return stream__send(s, body, len);
}

int bus_send_pb(struct bus_stream *s, const ProtobufCMessage *m) {
    ensure(!s->relayed);
    size_t len = protobuf_c_message_get_packed_size(m);
    int r = admit(s, len);
    if (r < 0) return r;
    uint8_t *p = put_data(s, len, false);
    if (!p) return -ENOMEM;
    protobuf_c_message_pack(m, p);
    return 0;
}

void bus_end(struct bus_stream *s) {
    if (s->over || s->local_end) return;
    s->local_end = true;
    s->want = NOTHING;
    list_del(&s->link);
    conn__put_control(s->conn,
                      &(struct frame){.kind = ORLOP__ENVELOPE__KIND__END, .stream = s->id});
    finish_if_ended(s);
}

void stream__refuse(struct bus_conn *c, uint64_t id, int code, const char *text) {
    struct frame f = {.kind = ORLOP__ENVELOPE__KIND__ERROR,
                      .stream = id,
                      .error = code < 0 ? -code : code,
                      .text = text,
                      .text_len = strlen(text)};
    conn__put_control(c, &f);
}

void stream__fail(struct bus_stream *s, int code, const char *text) {
    if (s->over) return;
    stream__refuse(s->conn, s->id, code, text);
    stream__finish(s, code < 0 ? code : -code, text);
}

void bus_fail(struct bus_stream *s, int code, const char *fmt, ...) {
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ensure(code != 0);
    stream__fail(s, code, text);
}

void bus_cancel(struct bus_stream *s) {
    stream__fail(s, -ECANCELED, "cancelled");
}

/* An answer never waits: there is one per request, and CONTROL_MAX bounds what a peer can make us
 * queue. */
void bus_answer_pb(struct bus_stream *s, const ProtobufCMessage *m) {
    if (s->over || s->local_end) return;
    size_t len = protobuf_c_message_get_packed_size(m);
    if (len > BUS_FRAME_MAX) {
        bus_fail(s, -EFBIG, "the answer has %zu bytes, more than the %d of a message", len,
                 BUS_FRAME_MAX);
        return;
    }
    uint8_t *p = put_data(s, len, true);
    if (!p) {
        bus_fail(s, -ENOMEM, "no memory for the answer");
        return;
    }
    protobuf_c_message_pack(m, p);
    bus_end(s);
}

void stream__run_blocked(struct bus_conn *c) {
    while (c->state == CONN_UP && !list_empty(&c->blocked) && wire_queued(c->wire) < QUEUE_SOFT) {
        struct bus_stream *s = list_entry(c->blocked.next, struct bus_stream, link);
        list_del(&s->link);
        s->want = NOTHING;
        if (s->relayed)
            relay__writable(s);
        else if (s->ops && s->ops->writable)
            s->ops->writable(s->ctx, s);
    }
}

/* --- opening -------------------------------------------------------------------------------- */

static int open_stream(struct bus_conn *c, uint32_t method, size_t len, struct bus_stream **ret,
                       uint8_t **ret_body) {
    if (c->state != CONN_UP) return -ENOTCONN;
    if (len > BUS_FRAME_MAX) return -EFBIG;
    if (c->streams.n >= BUS_STREAMS_MAX) return -EMFILE;
    if (wire_queued(c->wire) >= QUEUE_HARD) return -ENOBUFS;
    struct bus_stream *s = stream_new(c, c->next_id, true);
    if (!s) return -ENOMEM;
    struct frame f = {
        .kind = ORLOP__ENVELOPE__KIND__OPEN, .stream = s->id, .method = method, .len = len};
    *ret_body = conn__put(c, &f, false);
    if (!*ret_body) {
        table_del(&c->streams, s);
        stream_free(s);
        return -ENOMEM;
    }
    c->next_id += 2;
    *ret = s;
    return 0;
}

int bus_request(struct bus_conn *c, uint32_t method, const void *body, size_t len,
                const struct bus_stream_ops *ops, void *ctx, struct bus_stream **ret) {
    uint8_t *p;
    int r = open_stream(c, method, len, ret, &p);
    if (r < 0) return r;
    if (len) memcpy(p, body, len);
    bus_stream_accept(*ret, ops, ctx);
    return 0;
}

int bus_request_pb(struct bus_conn *c, uint32_t method, const ProtobufCMessage *m,
                   const struct bus_stream_ops *ops, void *ctx, struct bus_stream **ret) {
    uint8_t *p;
    int r = open_stream(c, method, protobuf_c_message_get_packed_size(m), ret, &p);
    if (r < 0) return r;
    protobuf_c_message_pack(m, p);
    bus_stream_accept(*ret, ops, ctx);
    return 0;
}

void bus_stream_accept(struct bus_stream *s, const struct bus_stream_ops *ops, void *ctx) {
    ensure(ops && !s->relayed);
    s->ops = ops;
    s->ctx = ctx;
}

struct bus_conn *bus_stream_conn(struct bus_stream *s) {
    return s->conn;
}

/* --- what comes ----------------------------------------------------------------------------- */

static void on_open(struct bus_conn *c, const struct frame *f) {
    bool peers = (f->stream & 1) != (c->next_id & 1);
    if (!peers || f->stream == 0 || f->stream <= c->peer_id) {
        conn__break(c, -EPROTO, "OPEN of stream %llu out of order", (unsigned long long) f->stream);
        return;
    }
    c->peer_id = f->stream;
    if (c->streams.n >= BUS_STREAMS_MAX) {
        stream__refuse(c, f->stream, EMFILE, "too many streams on this connection");
        return;
    }
    if (!c->ops->request) {
        stream__refuse(c, f->stream, ENOSYS, "no requests are taken on this connection");
        return;
    }
    struct bus_stream *s = stream_new(c, f->stream, false);
    if (!s) {
        stream__refuse(c, f->stream, ENOMEM, "no memory for a stream");
        return;
    }
    c->ops->request(c->ctx, c, s, f->method, f->body, f->len);
    if (!s->ops && !s->relayed && !s->local_end) stream__fail(s, -ENOSYS, "unknown method");
}

static void on_data(struct bus_stream *s, const struct frame *f) {
    bool fits = s->outstanding <= BUS_WINDOW / 2 || s->outstanding + f->len <= BUS_WINDOW;
    if (!fits || s->remote_end) {
        conn__break(s->conn, -EPROTO, fits ? "DATA after END" : "DATA without credit");
        return;
    }
    s->outstanding += f->len;
    if (s->relayed) {
        relay__data(s, f->body, f->len);
        return;
    }
    s->held = false;
    if (s->ops && s->ops->data)
        s->ops->data(s->ctx, s, f->len ? f->body : (const uint8_t *) "", f->len);
    if (!s->held) stream__consume(s, f->len);
}

static void on_credit(struct bus_stream *s, uint64_t n) {
    if (n > 2 * (uint64_t) BUS_FRAME_MAX || s->credit + (int64_t) n > BUS_WINDOW) {
        conn__break(s->conn, -EPROTO, "CREDIT above the window");
        return;
    }
    s->credit += (int64_t) n;
    if (s->want == NOTHING || !may_send(s, s->want) || !list_empty(&s->link)) return;
    wait_for_room(s);
    conn__ready(s->conn);
}

/* Who opened the stream and asks for no more than the answer need not end its own direction. */
static void on_end(struct bus_stream *s) {
    if (s->remote_end) {
        conn__break(s->conn, -EPROTO, "END after END");
        return;
    }
    s->remote_end = true;
    if (s->relayed)
        relay__end(s);
    else if (s->ops && s->ops->end)
        s->ops->end(s->ctx, s);
    else if (s->ours)
        bus_end(s);
    finish_if_ended(s);
}

/* A sentence from outside: one line of text or nothing. */
static void copy_text(char out[static ERR_TEXT_MAX], const struct frame *f) {
    size_t n = f->text_len < ERR_TEXT_MAX - 1 ? f->text_len : ERR_TEXT_MAX - 1;
    while (n > 0 && !str_is_utf8(f->text, n))
        n--; /* at most three bytes of a cut character, or all */
    memcpy(out, f->text, n);
    out[n] = 0;
    for (char *p = out; *p; p++)
        if ((unsigned char) *p < 0x20 || *p == 0x7f) *p = ' ';
}

static void on_error(struct bus_stream *s, const struct frame *f) {
    char text[ERR_TEXT_MAX];
    copy_text(text, f);
    int code = f->error > 0 && f->error <= ERRNO_MAX ? -f->error : -EREMOTEIO;
    stream__finish(s, code, text);
}

void stream__frame(struct bus_conn *c, const struct frame *f) {
    if (f->kind == ORLOP__ENVELOPE__KIND__OPEN) {
        on_open(c, f);
        return;
    }
    struct bus_stream *s = table_get(&c->streams, f->stream);
    if (!s) {
        bool peers = (f->stream & 1) != (c->next_id & 1);
        bool past = f->stream != 0 && (peers ? f->stream <= c->peer_id : f->stream < c->next_id);
        if (!past) conn__break(c, -EPROTO, "frame of a stream that was never opened");
        return; /* else: it was under way when the stream ended */
    }
    switch (f->kind) {
    case ORLOP__ENVELOPE__KIND__DATA:
        on_data(s, f);
        break;
    case ORLOP__ENVELOPE__KIND__CREDIT:
        on_credit(s, f->credit);
        break;
    case ORLOP__ENVELOPE__KIND__END:
        on_end(s);
        break;
    case ORLOP__ENVELOPE__KIND__ERROR:
        on_error(s, f);
        break;
    default:
        conn__break(c, -EPROTO, "frame of unknown kind %u", f->kind);
    }
}

void stream__consume(struct bus_stream *s, size_t n) {
    s->owed += n;
    ensure(s->owed <= s->outstanding);
    if (s->owed < CREDIT_STEP || s->over || s->remote_end) return;
    struct frame f = {.kind = ORLOP__ENVELOPE__KIND__CREDIT, .stream = s->id, .credit = s->owed};
    s->outstanding -= s->owed;
    s->owed = 0;
    conn__put_control(s->conn, &f);
}

void bus_stream_hold(struct bus_stream *s) {
    s->held = true;
}

void bus_consumed(struct bus_stream *s, size_t n) {
    stream__consume(s, n);
}
