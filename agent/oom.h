// SPDX-License-Identifier: Apache-2.0
/* agent/oom.h - running containers in which the kernel killed a process for memory.
 *
 * Role     a container whose first process lives on says nothing of its own: its worker was killed
 *          and is, or is not, started again. The counter of the whole machine is looked at each
 *          OOM_LOOK_MS; only when it has moved, those of the running tasks: -> REC_EV_OOM.
 * Thread   [loop]
 * Limits   what the kernel counts while no agent runs is told by the next one.
 * See      tests/integration/limits.sh
 */
#ifndef ORLOP_AGENT_OOM_H
#define ORLOP_AGENT_OOM_H

#include "agent/agent.h"

enum { OOM_LOOK_MS = 1000 };

must_use int oom_new(struct agent *a, struct oom **ret);
void oom_close(struct oom *o); /* freed in a later loop turn */

#endif
