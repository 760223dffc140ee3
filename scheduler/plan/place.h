// SPDX-License-Identifier: Apache-2.0
/* scheduler/plan/place.h - on which node? Filter, then score; pure.
 *
 * Thread   [any].
 */
#ifndef ORLOP_SCHEDULER_PLAN_PLACE_H
#define ORLOP_SCHEDULER_PLAN_PLACE_H

#include "scheduler/state/state.h"

/* What a plan has given to a node beyond the state. */
struct place_load {
    uint64_t cpu_millis, memory_bytes;
    size_t tasks;
};

/* The best node for a task of SVC as DEF says. LOADS: node name -> struct place_load, or NULL.
 * -EHOSTDOWN, -ENOSPC and the reason in WHY when there is none. */
must_use int place_pick(const struct state *s, const struct service *svc,
                        const struct spec_service *def, const struct map *loads,
                        const struct node **ret, struct err *why);

#endif
