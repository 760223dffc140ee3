// SPDX-License-Identifier: Apache-2.0
/* agent/actions.h - between actions.c (the way into a sandbox) and actions_remove.c (the way out).
 *
 * Thread   [loop]; jobs run in the pool, each owns its input and ends in exactly one event.
 */
#ifndef ORLOP_AGENT_ACTIONS_H
#define ORLOP_AGENT_ACTIONS_H

#include "agent/agent.h"

/* P, or the end of the process: without memory for a job it is of no use. */
void *actions__must(struct agent *a, void *p);
void actions__queue(struct agent *a, uv_work_t *w, uv_work_cb run, uv_after_work_cb after);

void actions__clean(struct agent *a, const struct task *t, uint32_t attempt);
void actions__delete(struct agent *a, const struct task *t);

#endif
