// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/apply_internal.h - the entries by group. Each returns 0, -ENOMEM (fatal), or
 * another negative errno with a sentence in WHY: refused, nothing changed. */
#ifndef ORLOP_SCHEDULER_STATE_APPLY_INTERNAL_H
#define ORLOP_SCHEDULER_STATE_APPLY_INTERNAL_H

#include "rules.h"
#include "runtime/base/buf.h"
#include "state.h"
#include "tables.h"

/* Writes of clients: the answer message goes to ANSWER. */
int apply__app_apply(struct state *s, const Orlop__AppApplyRequest *r, struct buf *answer,
                     struct err *why);
int apply__app_remove(struct state *s, const Orlop__AppRemoveRequest *r, struct err *why);
int apply__app_scale(struct state *s, const Orlop__AppScaleRequest *r, struct err *why);
int apply__app_restart(struct state *s, const Orlop__AppRestartRequest *r, struct err *why);
int apply__app_delete(struct state *s, const Orlop__EntryAppDelete *e, struct err *why);

int apply__node_register(struct state *s, const Orlop__EntryNodeRegister *e, struct err *why);
int apply__node_sync(struct state *s, const Orlop__EntryNodeSync *e, struct err *why);
int apply__node_up(struct state *s, const Orlop__EntryNodeUp *e, struct err *why);
int apply__node_down(struct state *s, const Orlop__EntryNodeDown *e, struct err *why);

int apply__task_create(struct state *s, const Orlop__EntryTaskCreate *e, struct err *why);
int apply__task_assign(struct state *s, const Orlop__EntryTaskAssign *e, struct err *why);
int apply__task_drain(struct state *s, const Orlop__EntryTaskDrain *e, struct err *why);
int apply__task_stop(struct state *s, const Orlop__EntryTaskStop *e, struct err *why);
int apply__task_status(struct state *s, const Orlop__EntryTaskStatus *e, struct err *why);

/* Merge what NODE says of a task; what does not fit is passed over. */
int apply__merge_status(struct state *s, struct node *n, const Orlop__TaskStatus *st);
/* Final by the log's own judgement. LOST: to be replaced. */
int apply__end_task(struct state *s, struct task *t, Orlop__TaskState state, bool lost,
                    const char *reason);

/* Delete what has ended in slots that nobody wants; a removed service goes with its last task. */
int apply__prune_unwanted(struct state *s, struct service *svc);

/* The new revision P of A, checked and taken in: networks, services, VIPs. SWAPS the specs on
 * success. FORCE: names of services to replace although unchanged. */
int apply__take_spec(struct state *s, struct app *a, struct spec *p, char *const *force,
                     size_t n_force, struct err *why);
/* Can P be taken in beside everything else? A: NULL for a new app. */
int apply__check_spec(const struct state *s, const struct app *a, const struct spec *p,
                      struct err *why);
int apply__choose_ports(const struct state *s, struct spec *p, const struct app *old,
                        struct err *why);
/* Raise the generation of SVC and of those that ask for it by depends_on.restart. */
void apply__restart_service(struct state *s, struct app *a, struct service *svc);

#endif
