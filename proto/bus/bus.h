// SPDX-License-Identifier: Apache-2.0
/* proto/bus/bus.h - connections that carry many streams with credit; the one place that knows nng.
 *
 * Role     frames (u32 big-endian length + Envelope, bus.proto) over nng's stream API. One
 *          connection carries requests, pushes, logs, exec and blobs as streams; a slow reader
 *          stops its own stream only.
 * Thread   [loop]: every function here and every callback. nng's threads only push on the mailbox.
 * Owns     sockets, threads of nng, queues. Callbacks never run inside a call of this header.
 * Limits   BUS_FRAME_MAX a message (a larger frame ends the connection), BUS_WINDOW bytes of DATA,
 *          or half of that and one larger message, in flight per stream and direction,
 *          BUS_RELAY_BYTES kept by all relays together (above, the one that keeps most is ended),
 *          BUS_STREAMS_MAX open streams a connection, a connection that does not answer PING for
 *          BUS_DEAD_MS is closed.
 * See      tests/unit/bus
 */
#ifndef ORLOP_PROTO_BUS_H
#define ORLOP_PROTO_BUS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "runtime/base/err.h"

enum {
    BUS_FRAME_MAX = 8 << 20, /* room for a whole app with its secrets */
    BUS_WINDOW = 1 << 20,
    BUS_RELAY_BYTES = 32 << 20,
    BUS_STREAMS_MAX = 16384,
    BUS_PING_MS = 2000,
    BUS_DEAD_MS = 10000,
};

struct bus;
struct bus_listener;
struct bus_conn;
struct bus_stream;

/* The peer of a local connection; uid is (uid_t)-1 when unknown. */
struct bus_peer {
    uid_t uid;
    pid_t pid;
};

struct bus_conn_ops {
    void (*up)(void *ctx, struct bus_conn *c);
    /* The connection is gone; all its streams have had their `closed`. A dialed connection tries
     * again by itself (100 ms doubling to 5 s, with jitter) unless bus_conn_close was called: then
     * this is the last callback and C is freed after it. An accepted one is freed after it. */
    void (*down)(void *ctx, struct bus_conn *c, const struct err *why);
    /* The peer opened a stream. Set ops with bus_stream_accept before returning, or bus_fail it.
     * BODY is borrowed. NULL member: every request is refused with ENOSYS. */
    void (*request)(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                    const uint8_t *body, size_t len);
    /* One attempt of a dialed connection failed; the next one follows by itself. NULL allowed. */
    void (*dial_failed)(void *ctx, struct bus_conn *c, const struct err *why);
};

struct bus_stream_ops {
    /* One DATA message. BODY is borrowed. Credit for it is given back when this returns, unless
     * bus_stream_hold(s) was called: then by bus_consumed. */
    void (*data)(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len);
    /* The peer sends no more; we still may. NULL: on a stream that we opened our direction is ended
     * too (a request whose answer is complete), else nothing. */
    void (*end)(void *ctx, struct bus_stream *s);
    /* bus_send would take more after it had answered -EAGAIN. NULL allowed. */
    void (*writable)(void *ctx, struct bus_stream *s);
    /* The stream is over and freed after this returns: the last callback, exactly once, never
     * inside a call. ERR->code is 0 after END in both directions; the peer's error; -ECANCELED
     * after bus_cancel; -ECONNRESET when the connection broke. */
    void (*closed)(void *ctx, struct bus_stream *s, const struct err *err);
};

must_use int bus_new(uv_loop_t *loop, struct bus **ret);
/* Stop everything: closes listeners and connections (their last callbacks run during the loop turns
 * that follow), then calls DONE and frees itself. */
void bus_close(struct bus *b, void (*done)(void *ctx), void *ctx);

/* URL "ipc:///path" (socket file 0600, an old one is replaced only if nobody listens on it:
 * -EADDRINUSE) or "tcp://127.0.0.1:0" for tests. OPS and CTX serve every accepted connection. */
must_use int bus_listen(struct bus *b, const char *url, const struct bus_conn_ops *ops, void *ctx,
                        struct bus_listener **ret, struct err *err);
int bus_listener_port(const struct bus_listener *l); /* of a tcp listener; 0 otherwise */

/* A standing connection that dials again for ever; up() tells each success. */
must_use int bus_dial(struct bus *b, const char *url, const struct bus_conn_ops *ops, void *ctx,
                      struct bus_conn **ret, struct err *err);
void bus_conn_close(struct bus_conn *c);
bool bus_conn_is_up(const struct bus_conn *c);
struct bus_peer bus_conn_peer(const struct bus_conn *c);
void bus_conn_set_data(struct bus_conn *c, void *data); /* the user's pointer, per connection */
void *bus_conn_data(const struct bus_conn *c);

/* Open a stream. -ENOTCONN when down, -EMFILE at BUS_STREAMS_MAX, -EFBIG above BUS_FRAME_MAX,
 * -ENOBUFS when 16 MiB wait to be sent already. On failure no callback comes. */
must_use int bus_request(struct bus_conn *c, uint32_t method, const void *body, size_t len,
                         const struct bus_stream_ops *ops, void *ctx, struct bus_stream **ret);
must_use int bus_request_pb(struct bus_conn *c, uint32_t method, const ProtobufCMessage *m,
                            const struct bus_stream_ops *ops, void *ctx, struct bus_stream **ret);

void bus_stream_accept(struct bus_stream *s, const struct bus_stream_ops *ops, void *ctx);
struct bus_conn *bus_stream_conn(struct bus_stream *s);

/* Queue one DATA message. 0; -EAGAIN: no credit or connection queue full, nothing was taken, wait
 * for writable(); -EFBIG above BUS_FRAME_MAX; -EPIPE after our END and when the stream is over;
 * -ENOMEM. Only after -EAGAIN does writable() follow. A
 * message larger than half the window goes when half of the window is free. */
must_use int bus_send(struct bus_stream *s, const void *body, size_t len);
must_use int bus_send_pb(struct bus_stream *s, const ProtobufCMessage *m);
void bus_end(struct bus_stream *s); /* we send no more; harmless twice */
/* ERROR to the peer; closed() follows with CODE (an errno, either sign). */
void bus_fail(struct bus_stream *s, int code, const char *fmt, ...) printf_like(3, 4);
/* ERROR ECANCELED to the peer; closed() follows with -ECANCELED. */
void bus_cancel(struct bus_stream *s);

/* Answer with one message and END; for handlers of simple requests, which need not accept the
 * stream first. When the answer cannot be sent (memory, size) the peer gets an ERROR instead. */
void bus_answer_pb(struct bus_stream *s, const ProtobufCMessage *m);

/* Called within data(): credit for this message is given later, by bus_consumed(N = its len). */
void bus_stream_hold(struct bus_stream *s);
void bus_consumed(struct bus_stream *s, size_t n);

/* Join two streams of different connections: what comes on one goes out on the other, with credit,
 * END, ERROR passed on. Both lose their ops; nothing is called back. What one reader leaves unread
 * waits here: BUS_RELAY_BYTES. */
void bus_relay(struct bus_stream *a, struct bus_stream *b);

/* Bytes queued for sending on C: for limits of soft traffic. */
size_t bus_conn_queued(const struct bus_conn *c);

#endif
