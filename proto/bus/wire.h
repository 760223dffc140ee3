// SPDX-License-Identifier: Apache-2.0
/* proto/bus/wire.h - byte streams over nng, seen from the loop.
 *
 * Role     the only user of nng. One recv aio and one send aio per stream, one aio per listener and
 *          dialer; their callbacks, on threads of nng, push a mail and nothing else. TLS belongs
 *          here: a scheme, its configuration at listener and dialer, and who the peer is.
 * Thread   [loop], callbacks too. No callback runs inside a call of this header.
 * Owns     the nng objects and the buffers that nng reads and writes. *_close() cuts the owner off
 *          (no more callbacks); the object frees itself when nng has given all its aios back.
 * Limits   the receive buffer grows only as bytes arrive, up to one frame; who sends asks
 *          wire_queued().
 */
#ifndef ORLOP_PROTO_BUS_WIRE_H
#define ORLOP_PROTO_BUS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "mailbox.h"

struct nng_aio;
struct nng_stream;
struct nng_stream_dialer;
struct nng_stream_listener;

struct wire_bytes {
    uint8_t *p;
    size_t at, len, cap; /* valid: [at, len) */
};

struct wire_ops {
    void (*received)(void *owner);                           /* more bytes in rx */
    void (*sent)(void *owner);                               /* the queue is shorter */
    void (*broken)(void *owner, int code, const char *text); /* at most once; wire_close() is due */
};

struct wire {
    struct mailbox *mailbox;
    const struct wire_ops *ops;
    void *owner; /* NULL: closed */
    struct nng_stream *stream;
    struct nng_aio *recv_aio, *send_aio;
    struct mail recv_mail, send_mail, close_mail;
    bool receiving, sending, closing;
    struct wire_bytes rx;      /* not to be touched while receiving */
    struct wire_bytes out;     /* nng's while sending */
    struct wire_bytes pending; /* what the next send takes */
};

void wire_attach(struct wire *w, const struct wire_ops *ops, void *owner);
void wire_close(struct wire *w); /* NULL allowed; rx stays readable until the loop's next turn */
struct bus_peer wire_peer(const struct wire *w);

/* Ask for more bytes, with room for a frame of NEED bytes (0 = unknown) from rx.at on; nothing
 * happens while a receive is under way. -ENOMEM. */
must_use int wire_receive(struct wire *w, size_t need);

/* Room for N bytes at the end of the send queue, to be filled before wire_flush(). NULL = no
 * memory. */
must_use uint8_t *wire_reserve(struct wire *w, size_t n);
void wire_flush(struct wire *w);
size_t wire_queued(const struct wire *w);

/* W belongs to the callee. On failure W is NULL, CODE and TEXT say why (borrowed). */
typedef void wire_made(void *owner, struct wire *w, int code, const char *text);

struct wire_listener;
must_use int wire_listen(struct mailbox *mb, const char *url, wire_made *made, void *owner,
                         struct wire_listener **ret, struct err *err);
void wire_accept(struct wire_listener *l);             /* accept one; MADE follows */
int wire_listener_port(const struct wire_listener *l); /* tcp; 0 otherwise */
void wire_listener_close(struct wire_listener *l);

struct wire_dialer;
must_use int wire_dialer_new(struct mailbox *mb, const char *url, wire_made *made, void *owner,
                             struct wire_dialer **ret, struct err *err);
void wire_dial(struct wire_dialer *d); /* MADE follows, within WIRE_DIAL_MS */
void wire_dialer_close(struct wire_dialer *d);

#endif
