// SPDX-License-Identifier: Apache-2.0
/* The agent's own tables. */
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "check.h"
#include "sim.h"

static void version_rises(const struct astore_info *i) {
    if (i->inc < check.inc || (i->inc == check.inc && i->idx < check.idx))
        sim_violated("I10", "the agent goes back from idx %llu to %llu",
                     (unsigned long long) check.idx, (unsigned long long) i->idx);
    check.inc = i->inc;
    check.idx = i->idx;
}

void check_agent_starts(const struct agent *a) {
    const struct astore_info *i = astore_info(a->store);
    bool same_store = memcmp(i->id, check.store_id, sizeof check.store_id) == 0;
    if (!same_store) check.boot = 0;
    bool same_boot = same_store && check.kernel_boot == sim_boot;
    if (same_boot ? i->boot != check.boot : i->boot <= check.boot)
        sim_violated("I1", "boot %llu follows boot %llu", (unsigned long long) i->boot,
                     (unsigned long long) check.boot);
    memcpy(check.store_id, i->id, sizeof check.store_id);
    check.boot = i->boot;
    check.kernel_boot = sim_boot;
    if (check.halting) check.halting_until_us = sim.now_us + 1000000;
    check.halting = false;
    version_rises(i);
}

/* Every wait that others wait for has an end. */
static void wait_has_an_end(const struct task *t) {
    bool bounded = t->state == TASK_PREPARING || t->state == TASK_STARTING ||
                   t->state == TASK_DRAINING || t->state == TASK_STOPPING;
    if (bounded && t->deadline_ms == INT64_MAX)
        sim_violated("I30", "task %s waits in %s without an end", t->id,
                     task_states[t->state].name);
}

void check_agent_step(void) {
    const struct agent *a = sim_agent;
    version_rises(astore_info(a->store));
    void *value;
    for (size_t i = 0; map_next(&a->rec.tasks, &i, NULL, &value);) wait_has_an_end(value);
}

bool check_agent_forces(const char *task) {
    const struct task *t = sim_agent ? rec_task(&sim_agent->rec, task) : NULL;
    return !t || str_starts(t->reason, "forced");
}

bool check_agent_has(const char *task) {
    return astore_task(sim_agent->store, task) != NULL;
}

int check_agent_each(int (*fn)(const struct check_held *h, struct err *why), struct err *why) {
    void *value;
    for (size_t i = 0; map_next(astore_tasks(sim_agent->store), &i, NULL, &value);) {
        const struct astore_task *k = value;
        int r = fn(&(struct check_held){k->id, k->in_set, k->want}, why);
        if (r < 0) return r;
    }
    return 0;
}
