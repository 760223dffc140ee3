// SPDX-License-Identifier: Apache-2.0
/* scheduler/api/describe.h - tasks and services as people are told of them.
 *
 * Role     fills the answers' messages. Pure: of the state and what agents.h says of
 *          acknowledgements. Pointers into the state are borrowed, the rest is in the arena: pack
 *          before the next apply.
 * Thread   [loop].
 */
#ifndef ORLOP_SCHEDULER_DESCRIBE_H
#define ORLOP_SCHEDULER_DESCRIBE_H

#include "api.pb-c.h"
#include "scheduler/state/state.h"

struct describe {
    const struct state *s;
    uint64_t acked_idx;
    struct arena arena;
    const struct spec_service
        *waiting_def; /* what the last PENDING task was told is for all of its spec */
    struct err waiting;
};

enum { DESCRIBE_BUDGET_BYTES = 64 << 20 };

/* NULL: no memory. */
Orlop__TaskInfo *describe_task(struct describe *d, const struct task *t);
/* TASKS: with those it has (ended ones too). */
Orlop__ServiceStatus *describe_service(struct describe *d, const struct service *svc, bool tasks);
/* "running", "degraded", "deploying", "removing" */
const char *describe_app_state(struct describe *d, const struct app *a);

/* Why a task is not running well, as one sentence; "" = it is. In ERR's text. */
void describe_trouble(struct describe *d, const struct task *t, struct err *ret);
char *describe_printf(struct describe *d, const char *fmt, ...)
    printf_like(2, 3); /* in the arena */

#endif
