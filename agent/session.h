// SPDX-License-Identifier: Apache-2.0
/* agent/session.h - the standing conversation with the scheduler (proto/agent.proto).
 *
 * Role     Hello -> Welcome (inc stored) -> Report -> Wanted full -> Applied; then deltas,
 *          heartbeats, status batches, Committed, resync. Level-triggered: what is due is a flag,
 *          sent when the stream takes it.
 * Thread   [loop]
 * Owns     the SESSION stream; received sets until they are stored. The connection is main.c's.
 * Limits   SESSION_WANTED_BYTES of sets waiting to be stored (the session ends above); statuses of
 *          one task are merged, one batch each SESSION_STATUS_MS.
 */
#ifndef ORLOP_AGENT_SESSION_H
#define ORLOP_AGENT_SESSION_H

#include "agent/agent.h"

enum {
    SESSION_HEARTBEAT_MS = 1000,
    SESSION_STATUS_MS = 50,
    SESSION_REOPEN_MS = 1000,
    SESSION_WANTED_BYTES = 64 << 20,
};

must_use int asession_new(struct agent *a, struct asession **ret);
void asession_conn_up(struct asession *s, struct bus_conn *c);
void asession_conn_down(struct asession *s);
void asession_status(struct asession *s, const char *task); /* it has changed */
void asession_applied(struct asession *s, uint64_t idx);
void asession_look(struct asession *s); /* something that Hello waits for may have happened */
void asession_close(struct asession *s);

/* inventory.c: what this machine has; strings in the arena. */
must_use int inventory_fill(struct arena *a, Orlop__Inventory *ret);
uint64_t inventory_memory_used(void);
/* CPU in use since the last call, per mille of all. */
uint32_t inventory_cpu_permille(void);

#endif
