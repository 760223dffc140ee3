// SPDX-License-Identifier: Apache-2.0
/* proto/bus/internal.h - what bus.c, conn.c, stream.c and relay.c share.
 *
 *   wire -> conn__tick -> stream__data/... -> the user's ops      frames coming in
 *   bus_send -> conn__put -> wire                                 frames going out
 *
 * Everything that may call the user runs in conn__tick, at the top of the loop: a call that has
 * news (a stream is over, a queue has room) puts its connection on the bus's ready list and
 * returns. */
#ifndef ORLOP_PROTO_BUS_INTERNAL_H
#define ORLOP_PROTO_BUS_INTERNAL_H

#include "bus.h"
#include "frame.h"
#include "mailbox.h"
#include "runtime/base/list.h"
#include "wire.h"

enum {
    QUEUE_SOFT = 1 << 20,  /* DATA waits above this */
    QUEUE_HARD = 16 << 20, /* OPEN is refused above this */
    CONTROL_MAX = 1 << 20, /* we read no more while this much waits that a peer made us answer */
    FRAMES_PER_TURN = 64,
    BEAT_MS = BUS_PING_MS / 2,
    ACCEPTED_MAX = 16384, /* connections per listener */
    REDIAL_MIN_MS = 100,
    REDIAL_MAX_MS = 5000,
};

struct bus {
    uv_loop_t *loop;
    struct mailbox mailbox;
    uv_idle_t idle;    /* runs while `ready` has somebody */
    uv_timer_t beat;   /* silence of connections, accepts that failed */
    uv_timer_t redial; /* the earliest redial_at */
    int open_handles;
    bool closing, finishing;
    struct list conns, listeners, ready;
    size_t relay_bytes; /* of all relay queues */
    void (*done)(void *ctx);
    void *done_ctx;
};

struct bus_listener {
    struct list link;
    struct bus *bus;
    struct wire_listener *wire;
    const struct bus_conn_ops *ops;
    void *ctx;
    size_t conns;
};

/*   DOWN -> DIALING -> UP -> BROKEN -> DOWN ...     dialed
 *                      UP -> BROKEN -> GONE         accepted; dialed ones from anywhere by close */
enum conn_state { CONN_DOWN, CONN_DIALING, CONN_UP, CONN_BROKEN, CONN_GONE };

struct table {
    struct bus_stream **buckets;
    size_t cap, n;
};

struct bus_conn {
    struct list link, ready; /* bus->conns, bus->ready */
    struct bus *bus;
    const struct bus_conn_ops *ops;
    void *ctx, *data;
    int state;      /* enum conn_state */
    bool closing;   /* by bus_conn_close */
    bool announced; /* up() was called for this connection */
    struct wire *wire;
    struct wire_dialer *dialer;    /* NULL: accepted */
    struct bus_listener *listener; /* NULL: dialed */
    struct bus_peer peer;
    struct table streams;
    struct list over;          /* streams whose closed() is due */
    struct list blocked;       /* streams that wait for room in the queue */
    uint64_t next_id, peer_id; /* the next of ours; the last one of the peer */
    size_t control;            /* at most this much of the queue is CONTROL_MAX's */
    unsigned silent;           /* beats since bytes came */
    unsigned failures;         /* dials in a row */
    int64_t redial_at;
    struct err why;
};

struct relay_queue {
    struct wire_bytes bytes; /* u32 length, message, ... */
    bool end;                /* END behind the last */
};

struct bus_stream {
    struct list link;        /* conn->over or conn->blocked, or none */
    struct bus_stream *next; /* in its bucket */
    struct bus_conn *conn;
    uint64_t id;
    const struct bus_stream_ops *ops;
    void *ctx;
    bool ours;                  /* we sent OPEN */
    bool local_end, remote_end; /* END sent, received */
    bool over;                  /* on conn->over, out of the table */
    bool held;                  /* hold() was called in data() */
    int64_t credit;             /* DATA bytes that we may send */
    size_t outstanding;         /* DATA bytes received and not credited */
    size_t owed;                /* of these: consumed */
    size_t want;                /* size of the message that got -EAGAIN; SIZE_MAX: none */
    bool relayed;
    struct bus_stream *relay; /* NULL though relayed: the other one is over */
    struct relay_queue queue; /* came from relay, to be sent on this one */
    struct err err;
};

/* bus.c */
int64_t bus__now(const struct bus *b);
void bus__schedule_redial(struct bus *b);
void bus__wake(struct bus *b);

/* conn.c */
must_use int conn__new_accepted(struct bus_listener *l, struct wire *w); /* TAKES w */
void conn__dial(struct bus_conn *c);
void conn__beat(struct bus_conn *c);
void conn__tick(struct bus_conn *c);
void conn__ready(struct bus_conn *c);
void conn__break(struct bus_conn *c, int code, const char *fmt, ...) printf_like(3, 4);
/* Queue a frame. Room for F->len bytes of body is returned, to be filled at once: F->body is not
 * looked at. NULL: no memory, nothing was queued. CONTROL: see CONTROL_MAX. */
must_use uint8_t *conn__put(struct bus_conn *c, const struct frame *f, bool control);
void conn__put_control(struct bus_conn *c,
                       const struct frame *f); /* no body; breaks C without memory */

/* stream.c */
struct bus_stream *table_get(const struct table *t, uint64_t id);
void stream__frame(struct bus_conn *c, const struct frame *f); /* any kind but PING and PONG */
void stream__refuse(struct bus_conn *c, uint64_t id, int code, const char *text);
void stream__break_all(struct bus_conn *c, const char *why);
void stream__run_over(struct bus_conn *c);
void stream__run_blocked(struct bus_conn *c);
must_use int stream__send(struct bus_stream *s, const void *body, size_t len);
void stream__consume(struct bus_stream *s, size_t n);
void stream__fail(struct bus_stream *s, int code, const char *text);
void stream__finish(struct bus_stream *s, int code, const char *text);

/* relay.c: a stream that is relayed */
void relay__data(struct bus_stream *s, const uint8_t *body, size_t len);
void relay__end(struct bus_stream *s);
void relay__writable(struct bus_stream *s);
void relay__over(struct bus_stream *s); /* S has its code */
void relay__fini(struct bus_stream *s);

#endif
