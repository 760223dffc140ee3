// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/rules.h - the conditions that planner and apply share.
 *
 * Role     a planned entry is applied only if the planner's own condition holds at that moment:
 *          so it is written once, here, as pure functions of the state.
 * Thread   [loop]. WHY may be NULL.
 */
#ifndef ORLOP_SCHEDULER_STATE_RULES_H
#define ORLOP_SCHEDULER_STATE_RULES_H

#include "state.h"

static inline bool rule_state_is_final(Orlop__TaskState s) {
    return s >= ORLOP__TASK_STATE__COMPLETE;
}
static inline bool rule_final(const struct task *t) {
    return rule_state_is_final(t->status.state);
}
static inline bool rule_started(const struct task *t) {
    return t->status.started_unix_ms != 0 || t->status.state == ORLOP__TASK_STATE__RUNNING ||
           t->status.state == ORLOP__TASK_STATE__COMPLETE;
}

/* What the newest revision says of SVC; NULL when it is removed, or its app is. */
const struct spec_service *rule_wanted(const struct service *svc);
uint32_t rule_replicas(const struct service *svc); /* 0 when removed */
/* Same spec hash and generation as wanted now. */
bool rule_current(const struct task *t);
/* Takes requests now: running, healthy or without a check, on a node that is up, not leaving. */
bool rule_serving(const struct task *t);
/* As node N is told. To itself it is up: what runs there went on while nothing was heard of it, and a
 * first set without it would take it out of the maps until the node is up again. */
bool rule_serving_to(const struct task *t, const struct node *n);
/* Does what its service wants: serving, or completed. */
bool rule_ready(const struct task *t);
/* Ended in a way that its restart policy does not cover: to be replaced. */
bool rule_replaceable(const struct task *t);
/* Nothing of it holds its slot any more: gone, or its node is down. */
bool rule_slot_free(const struct task *t);
/* The newest task of a slot; NULL = none. */
struct task *rule_newest(const struct state *s, const struct service *svc, uint32_t slot);
/* Milliseconds that a replacement of T waits after T's end. */
int64_t rule_backoff_ms(const struct task *t);

must_use int rule_may_create(const struct state *s, const struct service *svc, uint32_t slot,
                             const char *replaces, struct err *why);
must_use int rule_may_drain(const struct state *s, const struct task *t, struct err *why);
must_use int rule_may_stop(const struct state *s, const struct task *t, struct err *why);
/* How many replicas of a service may be away at once while it is updated. */
uint64_t rule_parallelism(const struct service *svc);
/* When the next replica may be replaced: the update's pause after the last one began. */
int64_t rule_update_at_ms(const struct service *svc);
/* Its constraints hold for N, and N has not too many of its replicas. */
must_use int rule_belongs(const struct node *n, const struct service *svc,
                          const struct spec_service *def, struct err *why);
must_use int rule_fits(const struct node *n, const struct spec_service *def, struct err *why);
must_use int rule_may_assign(const struct state *s, const struct task *t, const struct node *n,
                             Orlop__TaskAddress *const *addresses, size_t n_addresses,
                             struct err *why);

#endif
