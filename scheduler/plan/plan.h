// SPDX-License-Identifier: Apache-2.0
/* scheduler/plan/plan.h - what to do next for an app, as log entries; pure.
 *
 * Role     compares what is wanted (specs, replicas, generations) with the tasks there are. A plan
 *          is only a proposal: apply evaluates each condition again (state/rules.h). The planner
 *          keeps no memory: a new leader goes on from the state.
 * Thread   [loop].
 * Limits   PLAN_ENTRIES_MAX entries a plan; what is left over comes with the next one.
 * See      tests/unit/scheduler/scenarios: golden traces
 */
#ifndef ORLOP_SCHEDULER_PLAN_PLAN_H
#define ORLOP_SCHEDULER_PLAN_PLAN_H

#include "scheduler/state/state.h"

enum {
    PLAN_ENTRIES_MAX = 512,
    PLAN_DRAIN_MS = 2000, /* from TaskDrain to TaskStop at the latest */
};

struct plan {
    const struct state *s;
    int64_t now_ms; /* the time that the entries will carry */
    uint64_t
        acked_idx; /* every node that is not down has applied this; UINT64_MAX: there is none */
    struct arena arena; /* the entries */
    Orlop__Entry *entries[PLAN_ENTRIES_MAX];
    size_t n;
    bool full;        /* plan again at once after these are applied */
    int64_t wake_ms;  /* plan again then, though nothing has changed; INT64_MAX = never */
    struct map loads; /* place.h */
    struct index cursors, picked;
    int error; /* -ENOMEM */
};

void plan_init(struct plan *p, const struct state *s, int64_t now_ms, uint64_t acked_idx);
void plan_fini(struct plan *p);
/* Add the entries for A. 0 or -ENOMEM. */
must_use int plan_app(struct plan *p, const struct app *a);

/* Why is T not assigned yet? 0 = it could be. For `why` and task lists. */
must_use int plan_waiting(const struct state *s, const struct task *t, uint64_t acked_idx,
                          struct err *why);

#endif
