// SPDX-License-Identifier: Apache-2.0
/* scheduler/agents.h - the nodes' sessions, on the scheduler's side.
 *
 * Role     Hello -> [NodeRegister] -> Welcome -> Report -> NodeSync -> Wanted full -> deltas;
 *          statuses into the log, batched; heartbeats, lease, NodeDown. Soft state only: a new
 *          process starts with every node renewed now and nothing acknowledged.
 * Thread   [loop].
 * Limits   one session a node (a newer one ends the older), AGENTS_BATCH_MS between two status
 *          entries.
 * See      tests/unit/scheduler/test_sched.c
 */
#ifndef ORLOP_SCHEDULER_AGENTS_H
#define ORLOP_SCHEDULER_AGENTS_H

#include "sched.h"

enum {
    AGENTS_BATCH_MS = 50,
    AGENTS_LEASE_MS = 5000,
    AGENTS_TICK_MS = 1000,
    AGENTS_VIEW_LAG_MS = 30000, /* heartbeats, but applies nothing: made down */
};

/* Soft numbers of a node. */
struct agents_info {
    bool connected;
    uint64_t acked_idx, memory_used_bytes;
    uint32_t cpu_permille;
};

must_use int agents_new(struct sched *s, struct agents **ret);
void agents_close(struct agents *a); /* stops timers and sessions */
void agents_free(struct agents *a);  /* after the loop has run out */

/* A SESSION stream was opened. */
void agents_accept(struct agents *a, struct bus_stream *stream);
/* We lead: sessions that wait go on, leases start. */
void agents_lead(struct agents *a);
/* Send what has changed since. */
void agents_push(struct agents *a);

/* Every node that is not down has applied this; UINT64_MAX: no node is up. */
uint64_t agents_acked_idx(const struct agents *a);
struct agents_info agents_info_of(const struct agents *a, const char *node);
/* Connection of a node in sync, for streams to it; NULL: it has none. */
struct bus_conn *agents_conn(const struct agents *a, const char *node);

#endif
