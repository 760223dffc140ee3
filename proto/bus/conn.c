// SPDX-License-Identifier: Apache-2.0
/* One connection: frames in and out, the silence watch, and its end.
 *
 * conn__tick is the only place that calls the user, in this order: up, frames (a budget per turn),
 * ends of streams, streams that may send again, down. Any of these callbacks may end streams, the
 * connection or the bus: nothing is freed but by the tick itself, and what was read from the wire
 * stays readable until the loop's next turn. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "bus.pb-c.h"
#include "internal.h"
#include "runtime/base/mem.h"

enum { SILENT_PING = 2, SILENT_DEAD = BUS_DEAD_MS / BEAT_MS };

void conn__ready(struct bus_conn *c) {
    if (list_empty(&c->ready)) list_add_tail(&c->bus->ready, &c->ready);
    bus__wake(c->bus);
}

/* --- out ------------------------------------------------------------------------------------ */

uint8_t *conn__put(struct bus_conn *c, const struct frame *f, bool control) {
    uint8_t head[FRAME_HEAD_MAX];
    size_t n = frame_head(f, head);
    uint8_t *p = c->state == CONN_UP ? wire_reserve(c->wire, n + f->len) : NULL;
    if (!p) return NULL;
    memcpy(p, head, n);
    if (control) c->control += n + f->len;
    conn__ready(c);
    return p + n;
}

void conn__put_control(struct bus_conn *c, const struct frame *f) {
    if (c->state == CONN_UP && !conn__put(c, f, true)) conn__break(c, -ENOMEM, "no memory to send");
}

static void put_kind(struct bus_conn *c, Orlop__Envelope__Kind kind) {
    conn__put_control(c, &(struct frame){.kind = kind});
}

/* --- in ------------------------------------------------------------------------------------- */

static void take_frame(struct bus_conn *c, const struct frame *f) {
    switch (f->kind) {
    case ORLOP__ENVELOPE__KIND__PING:
        put_kind(c, ORLOP__ENVELOPE__KIND__PONG);
        break;
    case ORLOP__ENVELOPE__KIND__PONG:
        break; /* its bytes ended the silence */
    default:
        stream__frame(c, f);
    }
}

/* One frame from rx. Returns false when there is no whole one; *ret_need is then the size, with its
 * prefix, of the one that began (0: unknown). */
static bool parse_one(struct bus_conn *c, size_t *ret_need) {
    struct wire_bytes *rx = &c->wire->rx;
    size_t have = rx->len - rx->at, n;
    *ret_need = 0;
    if (have < FRAME_PREFIX) return false;
    const uint8_t *p = rx->p + rx->at;
    if (frame_length(p, &n) < 0) {
        conn__break(c, -EMSGSIZE, "the peer announced a frame above %d bytes", FRAME_MAX);
        return false;
    }
    *ret_need = FRAME_PREFIX + n;
    if (have < *ret_need) return false;
    rx->at += *ret_need;
    struct frame f;
    if (frame_decode(p + FRAME_PREFIX, n, &f) < 0) {
        conn__break(c, -EBADMSG, "the peer sent a malformed frame");
        return false;
    }
    c->failures = 0;
    take_frame(c, &f);
    return true;
}

static void parse(struct bus_conn *c) {
    size_t need = 0;
    if (c->wire->receiving) return;
    for (unsigned i = 0; i < FRAMES_PER_TURN; i++) {
        if (c->control > wire_queued(c->wire)) c->control = wire_queued(c->wire);
        if (c->control > CONTROL_MAX) return; /* sent() brings us here again */
        if (parse_one(c, &need)) {
            if (c->state != CONN_UP) return;
            continue;
        }
        if (c->state == CONN_UP && wire_receive(c->wire, need) < 0)
            conn__break(c, -ENOMEM, "no memory to receive");
        return;
    }
    conn__ready(c); /* others first */
}

static void on_received(void *owner) {
    struct bus_conn *c = owner;
    c->silent = 0;
    conn__ready(c);
}

static void on_sent(void *owner) {
    conn__ready(owner);
}

static void on_broken(void *owner, int code, const char *text) {
    conn__break(owner, code, "%s", text);
}

static const struct wire_ops wire_ops = {on_received, on_sent, on_broken};

/* --- life ----------------------------------------------------------------------------------- */

static struct bus_conn *conn_new(struct bus *b, const struct bus_conn_ops *ops, void *ctx) {
    struct bus_conn *c = mem_zalloc(sizeof *c);
    if (!c) return NULL;
    c->bus = b;
    c->ops = ops;
    c->ctx = ctx;
    c->peer.uid = (uid_t) -1;
    list_init(&c->ready);
    list_init(&c->over);
    list_init(&c->blocked);
    list_add_tail(&b->conns, &c->link);
    return c;
}

static void conn_free(struct bus_conn *c) {
    ensure(c->streams.n == 0 && list_empty(&c->over));
    if (c->listener) c->listener->conns--;
    list_del(&c->ready);
    list_del(&c->link);
    mem_free(c->streams.buckets);
    mem_free(c);
}

static void conn_up(struct bus_conn *c, struct wire *w) {
    wire_attach(w, &wire_ops, c);
    c->wire = w;
    c->peer = wire_peer(w);
    c->state = CONN_UP;
    c->announced = false;
    c->next_id = c->dialer ? 1 : 2;
    c->peer_id = 0;
    c->control = 0;
    c->silent = 0;
    c->why = (struct err){0};
    conn__ready(c);
}

int conn__new_accepted(struct bus_listener *l, struct wire *w) {
    struct bus_conn *c = conn_new(l->bus, l->ops, l->ctx);
    if (!c) {
        wire_close(w);
        return -ENOMEM;
    }
    c->listener = l;
    l->conns++;
    conn_up(c, w);
    return 0;
}

void conn__break(struct bus_conn *c, int code, const char *fmt, ...) {
    if (c->state != CONN_UP) return;
    c->state = CONN_BROKEN;
    c->why.code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->why.text, sizeof c->why.text, fmt, ap);
    va_end(ap);
    wire_close(c->wire);
    c->wire = NULL;
    stream__break_all(c, c->why.text);
    conn__ready(c);
}

void conn__beat(struct bus_conn *c) {
    if (c->state != CONN_UP) return;
    c->silent++;
    if (c->silent > SILENT_DEAD)
        conn__break(c, -ETIMEDOUT, "no answer for %d s", BUS_DEAD_MS / 1000);
    else if (c->silent >= SILENT_PING && c->silent % SILENT_PING == 0)
        put_kind(c, ORLOP__ENVELOPE__KIND__PING);
}

/* --- dialing -------------------------------------------------------------------------------- */

/* 100 ms doubling to 5 s; then between half of it and all of it, so that many do not come at once.
 */
static int64_t redial_delay(unsigned failures) {
    int64_t most = REDIAL_MIN_MS;
    for (unsigned i = 1; i < failures && most < REDIAL_MAX_MS; i++) most *= 2;
    if (most > REDIAL_MAX_MS) most = REDIAL_MAX_MS;
    uint32_t random = 0;
    (void) !getrandom(&random, sizeof random, GRND_NONBLOCK); /* 0 will do as well */
    return most / 2 + random % (most / 2 + 1);
}

static void redial_later(struct bus_conn *c) {
    c->state = CONN_DOWN;
    c->failures++;
    c->redial_at = bus__now(c->bus) + redial_delay(c->failures);
    bus__schedule_redial(c->bus);
}

static void on_dialed(void *owner, struct wire *w, int code, const char *text) {
    struct bus_conn *c = owner;
    ensure(c->state == CONN_DIALING);
    if (w) {
        conn_up(c, w);
        return;
    }
    redial_later(c);
    c->why.code = code;
    snprintf(c->why.text, sizeof c->why.text, "%s", text);
    if (c->ops->dial_failed) c->ops->dial_failed(c->ctx, c, &c->why);
}

void conn__dial(struct bus_conn *c) {
    c->state = CONN_DIALING;
    wire_dial(c->dialer);
}

int bus_dial(struct bus *b, const char *url, const struct bus_conn_ops *ops, void *ctx,
             struct bus_conn **ret, struct err *err) {
    ensure(!b->closing);
    struct bus_conn *c = conn_new(b, ops, ctx);
    if (!c) return err_set(err, -ENOMEM, "dial %s", url);
    int r = wire_dialer_new(&b->mailbox, url, on_dialed, c, &c->dialer, err);
    if (r < 0) {
        conn_free(c);
        return r;
    }
    conn__dial(c);
    *ret = c;
    return 0;
}

void bus_conn_close(struct bus_conn *c) {
    if (c->closing) return;
    c->closing = true;
    wire_dialer_close(c->dialer);
    c->dialer = NULL;
    if (c->state == CONN_UP) conn__break(c, -ECANCELED, "closed on this side");
    if (c->state == CONN_BROKEN) return;
    c->state = CONN_GONE;
    c->announced = true; /* a dialed one hears the last down() whether it was up or not */
    c->why = (struct err){.code = -ECANCELED, .text = "closed on this side"};
    conn__ready(c);
}

/* --- the tick ------------------------------------------------------------------------------- */

/* BROKEN or GONE, all streams told. Frees C unless it is dialed again. */
static void go_down(struct bus_conn *c) {
    bool again = c->listener == NULL && !c->closing;
    bool tell = c->announced || (c->closing && !c->listener);
    struct err why = c->why;
    if (again) redial_later(c);
    if (tell && c->ops->down) c->ops->down(c->ctx, c, &why);
    if (!again) conn_free(c);
}

void conn__tick(struct bus_conn *c) {
    if (c->state == CONN_UP && !c->announced) {
        c->announced = true;
        if (c->ops->up) c->ops->up(c->ctx, c);
    }
    if (c->state == CONN_UP) parse(c);
    stream__run_over(c);
    if (c->state == CONN_UP) stream__run_blocked(c);
    if (c->state == CONN_UP) wire_flush(c->wire);
    if (!list_empty(&c->over)) return; /* by the last callbacks; conn__ready was called */
    if (c->state == CONN_BROKEN || c->state == CONN_GONE) go_down(c);
}

bool bus_conn_is_up(const struct bus_conn *c) {
    return c->state == CONN_UP;
}

struct bus_peer bus_conn_peer(const struct bus_conn *c) {
    return c->peer;
}

void bus_conn_set_data(struct bus_conn *c, void *data) {
    c->data = data;
}

void *bus_conn_data(const struct bus_conn *c) {
    return c->data;
}

size_t bus_conn_queued(const struct bus_conn *c) {
    return c->state == CONN_UP ? wire_queued(c->wire) : 0;
}
