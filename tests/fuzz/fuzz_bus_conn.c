// SPDX-License-Identifier: Apache-2.0
/* A whole accepted connection against a hostile peer: the bus over a wire that is the fuzzer's
 * input. The functions of wire.h stand here, so that the linker takes none of wire.c. The input is
 * cut into frames (a length byte, then the Envelope's bytes), so that mutations reach beyond the
 * framing. */
#include <string.h>
#include <uv.h>

#include "proto/bus/frame.h"
#include "proto/bus/wire.h"
#include "runtime/base/mem.h"

enum { PARALLEL_MAX = 64, BACK = 1, HOLD = 2, ANSWER = 3, PUSH = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire *the_wire; /* NULL: closed */
static struct mailbox *the_mailbox;
static wire_made *accept_cb;
static void *accept_owner;

static void deliver_close(struct mail *m) {
    struct wire *w = container_of(m, struct wire, close_mail);
    w->mailbox->users--;
    mem_free(w->rx.p);
    mem_free(w->pending.p);
    mem_free(w);
}

void wire_attach(struct wire *w, const struct wire_ops *ops, void *owner) {
    w->ops = ops;
    w->owner = owner;
}
void wire_close(struct wire *w) {
    if (!w || w->closing) return;
    w->closing = true;
    the_wire = NULL;
    mailbox_push(w->mailbox, &w->close_mail);
}
struct bus_peer wire_peer(const struct wire *w) {
    (void) w;
    return (struct bus_peer){0};
}
int wire_receive(struct wire *w, size_t need) {
    (void) need;
    w->receiving = true;
    return 0;
}
uint8_t *wire_reserve(struct wire *w, size_t n) {
    uint8_t *p = mem_resize(w->pending.p, w->pending.len + n, 1);
    if (!p) return NULL;
    w->pending.p = p;
    w->pending.len += n;
    return p + w->pending.len - n;
}
void wire_flush(struct wire *w) {
    w->pending.len = 0;
}
size_t wire_queued(const struct wire *w) {
    return w->pending.len;
}
int wire_listen(struct mailbox *mb, const char *url, wire_made *made, void *owner,
                struct wire_listener **ret, struct err *err) {
    (void) url, (void) err;
    the_mailbox = mb;
    accept_cb = made;
    accept_owner = owner;
    *ret = NULL;
    return 0;
}
void wire_accept(struct wire_listener *l) {
    (void) l;
}
int wire_listener_port(const struct wire_listener *l) {
    (void) l;
    return 0;
}
void wire_listener_close(struct wire_listener *l) {
    (void) l;
}
int wire_dialer_new(struct mailbox *mb, const char *url, wire_made *made, void *owner,
                    struct wire_dialer **ret, struct err *err) {
    (void) mb, (void) url, (void) made, (void) owner, (void) ret;
    return err_say(err, -ENOSYS, "not here");
}
void wire_dial(struct wire_dialer *d) {
    (void) d;
}
void wire_dialer_close(struct wire_dialer *d) {
    (void) d;
}

/* --- a user of the bus ---------------------------------------------------------------------- */

static unsigned open_streams;

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    uintptr_t method = (uintptr_t) ctx;
    if (method == HOLD)
        bus_stream_hold(s);
    else if (bus_send(s, body, len) < 0)
        bus_cancel(s);
}
static void on_writable(void *ctx, struct bus_stream *s) {
    static const uint8_t chunk[BUS_WINDOW / 2];
    (void) ctx;
    while (bus_send(s, chunk, sizeof chunk) == 0) {
    }
}
static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    (void) ctx, (void) s;
    ensure(memchr(err->text, 0, sizeof err->text));
    open_streams--;
}
static const struct bus_stream_ops ops = {on_data, NULL, on_writable, on_closed};

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                       const uint8_t *body, size_t len) {
    (void) ctx, (void) c, (void) body, (void) len;
    if (method == 0 || method > PUSH || open_streams >= PARALLEL_MAX) return;
    open_streams++;
    bus_stream_accept(s, &ops, (void *) (uintptr_t) method);
    if (method == PUSH && open_streams == 1) on_writable(NULL, s); /* a megabyte: not often */
    if (method == ANSWER) bus_end(s);
}
static const struct bus_conn_ops conn_ops = {.request = on_request};

static void feed(uv_loop_t *loop, const uint8_t *frame, size_t n) {
    struct wire *w = the_wire;
    if (!w->receiving) return; /* we make it wait */
    size_t left = w->rx.len - w->rx.at;
    uint8_t *p = mem_alloc(left + FRAME_PREFIX + n);
    memcpy(p, w->rx.p ? w->rx.p + w->rx.at : p, w->rx.p ? left : 0);
    memcpy(p + left, (uint8_t[]){0, 0, 0, (uint8_t) n}, FRAME_PREFIX);
    memcpy(p + left + FRAME_PREFIX, frame, n);
    mem_free(w->rx.p);
    w->rx =
        (struct wire_bytes){.p = p, .len = left + FRAME_PREFIX + n, .cap = left + FRAME_PREFIX + n};
    w->receiving = false;
    w->ops->received(w->owner);
    uv_run(loop, UV_RUN_NOWAIT);
    uv_run(loop, UV_RUN_NOWAIT);
}

static void on_done(void *ctx) {
    *(bool *) ctx = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uv_loop_t loop;
    struct bus *bus;
    bool done = false;
    open_streams = 0;
    ensure(uv_loop_init(&loop) == 0 && bus_new(&loop, &bus) == 0);
    ensure(bus_listen(bus, "fuzz", &conn_ops, NULL, NULL, NULL) == 0);
    the_wire = mem_zalloc(sizeof *the_wire);
    the_wire->mailbox = the_mailbox;
    the_wire->close_mail.deliver = deliver_close;
    the_mailbox->users++;
    accept_cb(accept_owner, the_wire, 0, "");
    uv_run(&loop, UV_RUN_NOWAIT);
    while (size > 0 && the_wire) {
        size_t n = data[0] < size - 1 ? data[0] : size - 1;
        feed(&loop, data + 1, n);
        data += 1 + n;
        size -= 1 + n;
    }
    bus_close(bus, on_done, &done);
    while (!done) uv_run(&loop, UV_RUN_ONCE);
    ensure(open_streams == 0 && uv_loop_close(&loop) == 0);
    return 0;
}
