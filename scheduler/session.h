// SPDX-License-Identifier: Apache-2.0
/* scheduler/session.h - one agent's session; used by agents.c only.
 *
 *   HELLO --Hello--> (not leading: waits) REGISTER --NodeRegister applied--> WELCOMED --Report-->
 *   SYNCING --NodeSync applied--> SYNCED: Wanted full, then deltas
 *   any state --stream closed, newer session, bad message--> over; freed when no proposal refers
 *   to it
 */
#ifndef ORLOP_SCHEDULER_SESSION_H
#define ORLOP_SCHEDULER_SESSION_H

#include "agents.h"
#include "runtime/base/list.h"

enum session_stage {
    SESSION_HELLO = 1,
    SESSION_REGISTER,
    SESSION_WELCOMED,
    SESSION_SYNCING,
    SESSION_SYNCED,
};

/* Statuses on their way into the log, the newest of each task. */
struct session_batch {
    struct arena arena;
    struct map index; /* task -> 1 + its place in LIST */
    Orlop__TaskStatus **list;
    size_t n, cap;
};

struct session {
    struct list link;
    struct agents *agents;
    struct agent *agent;       /* NULL before Hello */
    struct bus_stream *stream; /* NULL: over */
    enum session_stage stage;
    unsigned refs; /* proposals in the log, and the stream */
    uint64_t number;
    struct arena hello_arena;
    Orlop__Hello *hello;

    uint64_t sent_idx;    /* of the newest Wanted sent */
    uint64_t checked_idx; /* nothing for this node between sent_idx and here */
    uint64_t acked_idx;
    uint64_t sync_idx; /* its NodeSync: applied by the node = may be up */
    bool want_full, up_proposed;
    struct map facts;
    struct list out; /* struct view_part: packed AgentDown messages */
    size_t n_out;

    struct session_batch pending;
    bool batch_in_flight;
    int64_t batch_at_ms; /* monotonic: when the last one was proposed */
};

struct agent { /* a node as far as we hear of it */
    char name[64];
    struct session *session;
    int64_t heard_ms;  /* monotonic */
    int64_t behind_ms; /* since when it lags in applying; 0 = it does not */
    uint64_t acked_idx;
    uint32_t cpu_permille;
    uint64_t memory_used_bytes;
    bool down_proposed;
};

struct agents {
    struct sched *sched;
    struct map by_node; /* name -> struct agent */
    struct list sessions;
    uint64_t counter;
    uv_timer_t tick, flush;
    int64_t ticked_ms;
    bool closing;
};

void session_new(struct agents *a, struct bus_stream *stream);
void session_lead(struct session *s);
void session_push(struct session *s);
void session_flush(struct session *s, int64_t now_ms);
/* End it: ERROR to the agent, which comes back. */
void session_fail(struct session *s, int code, const char *why);
struct agent *agents__agent(struct agents *a, const char *node); /* made if new */
void agents__flush_soon(struct agents *a);

#endif
