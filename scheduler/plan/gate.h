// SPDX-License-Identifier: Apache-2.0
/* scheduler/plan/gate.h - may a task of this service start? depends_on, judged on (service,
 * revision).
 *
 * Thread   [any]. Pure.
 */
#ifndef ORLOP_SCHEDULER_PLAN_GATE_H
#define ORLOP_SCHEDULER_PLAN_GATE_H

#include "scheduler/state/state.h"

enum gate {
    GATE_OPEN = 1,
    GATE_WAITS, /* WHY says for what */
    GATE_NEVER, /* it cannot open by itself any more; WHY says why */
};

/* By what DEF says (a revision of SVC), on the state of now. WHY (may be NULL) is set unless open.
 */
enum gate gate_check(const struct state *s, const struct service *svc,
                     const struct spec_service *def, struct err *why);

/* "pending", "running", ... */
const char *gate_state_name(Orlop__TaskState state);

#endif
