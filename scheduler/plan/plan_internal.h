// SPDX-License-Identifier: Apache-2.0
/* scheduler/plan/plan_internal.h - shared by the files of the planner. */
#ifndef ORLOP_SCHEDULER_PLAN_INTERNAL_H
#define ORLOP_SCHEDULER_PLAN_INTERNAL_H

#include "plan.h"

/* A new entry with a body as DESC says. NULL: full, or no memory (p->error). */
void *plan__add(struct plan *p, Orlop__Entry__WhatCase what,
                const ProtobufCMessageDescriptor *desc);
void plan__create(struct plan *p, const struct service *svc, uint32_t slot,
                  const struct task *replaces);
void plan__drain(struct plan *p, const struct task *t);
void plan__stop(struct plan *p, const struct task *t, bool forced);
void plan__delete_app(struct plan *p, const struct app *a);
void plan__wake(struct plan *p, int64_t at_ms);

/* Place T, whose slot is free, and give it addresses, or leave it pending: false when there is no
 * room for tasks of its spec now. */
bool plan__assign(struct plan *p, const struct task *t);

#endif
