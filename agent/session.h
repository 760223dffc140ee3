// SPDX-License-Identifier: Apache-2.0
/* agent/session.h - the standing conversation with the scheduler, as the control protocol says.
 *
 * Role     Hello -> Welcome (inc stored) -> Report -> Wanted full -> Applied; then deltas, heartbeats, status
 *          batches, Committed, resync. Level-triggered: what is due is a flag, sent when the stream takes it.
 * Thread   [loop]
 * Owns     the SESSION stream; received sets until they are stored. The connection is main.c's.
 * Limits   SESSION_WANTED_BYTES of sets waiting to be stored (the session ends above); statuses of one task are
 *          merged, one batch each SESSION_STATUS_MS.
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

must_use int session_new(struct agent *a, struct session **ret);
void session_conn_up(struct session *s, struct bus_conn *c);
void session_conn_down(struct session *s);
void session_status(struct session *s, const char *task); /* it has changed */
void session_applied(struct session *s, uint64_t idx);
void session_look(struct session *s); /* something that Hello waits for may have happened */
void session_close(struct session *s);

/* inventory.c: what this machine has; strings in the arena. */
must_use int inventory_fill(struct arena *a, Orlop__Inventory *ret);
uint64_t inventory_memory_used(void);
/* CPU in use since the last call, per mille of all. */
uint32_t inventory_cpu_permille(void);

#endif
