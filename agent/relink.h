// SPDX-License-Identifier: Apache-2.0
/* agent/relink.h - links of running tasks that somebody deleted are made again.
 *
 * Role     a task without its link is cut off for good, and looks healthy from inside. Its namespace
 *          lives, and so do its connections: with the same addresses on a new link they go on, and
 *          what was sent meanwhile is sent again by TCP.
 * Thread   [loop]; a pool thread enters the task's network namespace and comes back.
 * Limits   one job a task.
 */
#ifndef ORLOP_AGENT_RELINK_H
#define ORLOP_AGENT_RELINK_H

#include "agent/agent.h"

/* Look at all running tasks: some links have gone. Those of a task that ends go with it. */
void relink_look(struct agent *a);

#endif
