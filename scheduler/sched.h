// SPDX-License-Identifier: Apache-2.0
/* scheduler/sched.h - the struct that ties the scheduler's parts together, and what each may call.
 *
 * Role     one loop thread owns all of it. Entries go to the log by sched_propose; what comes back
 *          changes the state; changes wake the planner, the agents' sessions and those who wait.
 * Thread   [loop].
 * See      README.md: the way of a write
 */
#ifndef ORLOP_SCHEDULER_SCHED_H
#define ORLOP_SCHEDULER_SCHED_H

#include <uv.h>

#include "proto/bus/bus.h"
#include "runtime/base/paths.h"
#include "scheduler/raft/store.h"
#include "scheduler/state/state.h"

struct agents;
struct events;

struct sched {
    uv_loop_t *loop;
    struct paths paths;
    struct state state;
    struct store *store;
    struct bus *bus;
    struct bus_listener *listener;
    struct agents *agents;
    struct events *events;

    uint64_t term;
    uint64_t started_idx; /* of our LeaderStart: no other process ever had it */
    bool ready;           /* our own LeaderStart is applied: plans, answers, reads */
    bool closing;
    int64_t clock_offset_ms; /* cluster time = CLOCK_MONOTONIC + this */

    uv_timer_t plan_timer; /* the earliest wake of the plans */
    uv_timer_t turn_timer; /* after applied entries: once per loop turn */
    bool planning;         /* a plan's entries are in the log and not applied yet */
    struct map apps;       /* name -> struct app_work */
    uint64_t acked_idx;    /* as of the last look */

    struct map deleted; /* app -> idx (as a number) of its AppDelete, the last ones */

    struct list waiting; /* struct sched_waiter */

    struct list log_readers; /* requests for logs, api/logs.c */
    size_t n_log_readers;
    size_t log_bytes; /* read from nodes, and not taken by the clients yet */
};

/* Told after entries were applied, once a turn. */
struct sched_waiter {
    struct list link;
    void (*turn)(struct sched_waiter *w);
};

int64_t sched_now_ms(struct sched *s); /* for entries: never before the last one's */

typedef void (*sched_cb)(void *ctx, int status, uint64_t idx);
/* One entry, all or nothing applied in one batch. Borrowed until return. CB (may be NULL) as
 * store.h. */
must_use int sched_propose(struct sched *s, Orlop__Entry *const *entries, size_t n, sched_cb cb,
                           void *ctx);
must_use int sched_propose_one(struct sched *s, Orlop__Entry__WhatCase what, void *body,
                               sched_cb cb, void *ctx);

/* Nodes have applied more, or came, or went: look at the plans that wait for that. */
void sched_acks_changed(struct sched *s);
void sched_plan_all(struct sched *s);

/* idx of the deletion of an app that is not there any more; 0 = not known. */
uint64_t sched_deleted_idx(const struct sched *s, const char *app);

void sched_add_waiter(struct sched *s, struct sched_waiter *w);
void sched_drop_waiter(struct sched_waiter *w);

/* Our memory is not what the log says any more: end, the next start reads the log again. */
_Noreturn void sched_die(const char *why);

/* The parts of start and end, main.c. */
must_use int sched_init(struct sched *s, uv_loop_t *loop, const struct paths *paths,
                        struct err *err);
void sched_close(struct sched *s); /* ends all handles; the loop runs out */
void sched_fini(struct sched *s);  /* after the loop has run out */
extern const struct store_ops sched_store_ops;

#endif
