// SPDX-License-Identifier: Apache-2.0
/* agent/connections.h - the kernel's connections to tasks that leave: wait for their end, forget.
 *
 * Role     gathers what is asked for within CONNS_EVERY_MS, for then one walk over the kernel's
 *          table does it for all tasks. A walk for each of them stops the loop for seconds when
 *          fifty leave together, and the scheduler takes the node for dead.
 * Thread   [loop]
 */
#ifndef ORLOP_AGENT_CONNECTIONS_H
#define ORLOP_AGENT_CONNECTIONS_H

#include "agent/agent.h"

enum { CONNS_EVERY_MS = 50 };

must_use int aconns_new(struct agent *a, struct aconns **ret);
void aconns_forget(struct aconns *c, const Orlop__TaskSpec *task, enum net_forget what);
/* REC_EV_DRAINED comes when TASK has no connection left to answer; otherwise nothing comes. An
 * error counts as none: the bound on draining is the reconciler's. */
void aconns_drain_check(struct aconns *c, const Orlop__TaskSpec *task);
void aconns_close(struct aconns *c);

#endif
