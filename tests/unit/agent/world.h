// SPDX-License-Identifier: Apache-2.0
/* tests/unit/agent/world.h - a node in memory for scenarios: the reconciler, a store without a
 * disk, a clock that the scenario moves. Everything that happens is a line of text; the lines are
 * compared.
 *
 *   1.1.0 waiting>preparing      a move; behind it the reason given, if any
 *   1.1.0 ! prepare              an action
 */
#ifndef ORLOP_TESTS_AGENT_WORLD_H
#define ORLOP_TESTS_AGENT_WORLD_H

#include "agent/reconcile.h"
#include "agent/store_tables.h"
#include "runtime/base/buf.h"

struct world {
    struct store_tables tables;
    struct rec rec;
    struct rec_actions actions;
    struct buf trace;
    int64_t now_ms;
    uint64_t idx;
    int step_error;
};

struct world_task {
    const char *id, *service;
    Orlop__Want want; /* unset: RUN */
    Orlop__RestartPolicy__Condition restart;
    uint32_t max_attempts;
    const char *depends;
    Orlop__Dependency__Condition condition;
    uint32_t address;
    const char *volume;
    uint64_t assigned_idx;
};

void world_init(struct world *w, uint64_t boot);
void world_fini(struct world *w);
/* The agent dies and comes back, in BOOT: the store's tables stay, the reconciler's state goes. */
void world_restart(struct world *w, uint64_t boot);

void world_want(struct world *w, const struct world_task *t); /* add or change one task, delta */
void world_gone(struct world *w, const char *id);             /* out of the set */
void world_list(struct world *w, const struct rec_entry *list, size_t n);
void world_event(struct world *w, struct rec_event ev);
void world_simple(struct world *w, enum rec_event_kind kind, const char *task);
void world_started(struct world *w, const char *task, uint32_t attempt);
void world_exited(struct world *w, const char *task, uint32_t attempt, int wait_status);
void world_tick(struct world *w, int64_t ms); /* the clock goes on, then a tick */
/* From a wanted task to RUNNING; the trace is emptied. */
void world_run(struct world *w, const struct world_task *t);

/* Compare and empty. */
void world_expect(struct world *w, const char *lines);
void world_forget(struct world *w);

#endif
