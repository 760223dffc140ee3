// SPDX-License-Identifier: Apache-2.0
/* The plan as a list of entries, and how each entry is made. */
#include "plan.h"

#include <errno.h>

#include "plan_internal.h"
#include "runtime/base/mem.h"
#include "scheduler/state/rules.h"

enum { ARENA_BUDGET_BYTES = 256 << 20 }; /* 10,000 tasks on 64 networks */

void plan_init(struct plan *p, const struct state *s, int64_t now_ms, uint64_t acked_idx) {
    *p = (struct plan){.s = s, .now_ms = now_ms, .acked_idx = acked_idx, .wake_ms = INT64_MAX};
    arena_init(&p->arena, ARENA_BUDGET_BYTES);
}

void plan_fini(struct plan *p) {
    void *load;
    for (size_t i = 0; map_next(&p->loads, &i, NULL, &load);) mem_free(load);
    map_fini(&p->loads);
    index_fini(&p->cursors);
    index_fini(&p->picked);
    arena_fini(&p->arena);
}

void plan__wake(struct plan *p, int64_t at_ms) {
    if (at_ms < p->wake_ms) p->wake_ms = at_ms;
}

/* A new entry with a body as DESC says. NULL: full, or no memory. */
void *plan__add(struct plan *p, Orlop__Entry__WhatCase what,
                const ProtobufCMessageDescriptor *desc) {
    if (p->n == PLAN_ENTRIES_MAX) {
        p->full = true;
        return NULL;
    }
    Orlop__Entry *e = arena_alloc(&p->arena, sizeof *e);
    ProtobufCMessage *body = e ? arena_alloc(&p->arena, desc->sizeof_message) : NULL;
    if (!body) {
        p->error = -ENOMEM;
        return NULL;
    }
    orlop__entry__init(e);
    protobuf_c_message_init(desc, body);
    e->what_case = what;
    e->task_create = (void *) body; /* all members of the union are pointers to messages */
    p->entries[p->n++] = e;
    return body;
}

/* Names are borrowed from the state, which does not change before the plan is packed. */
void plan__create(struct plan *p, const struct service *svc, uint32_t slot,
                  const struct task *replaces) {
    Orlop__EntryTaskCreate *e =
        plan__add(p, ORLOP__ENTRY__WHAT_TASK_CREATE, &orlop__entry_task_create__descriptor);
    if (!e) return;
    ensure(slot >= 1 && slot <= rule_replicas(svc)); /* I22 */
    e->app = svc->app->name;
    e->service = svc->name;
    e->slot = slot;
    e->revision = svc->app->spec->revision;
    if (replaces) e->replaces = replaces->id;
    e->mod = svc->mod;
}

void plan__drain(struct plan *p, const struct task *t) {
    Orlop__EntryTaskDrain *e =
        plan__add(p, ORLOP__ENTRY__WHAT_TASK_DRAIN, &orlop__entry_task_drain__descriptor);
    if (!e) return;
    ensure(t->node && !rule_final(t) && t->want == ORLOP__WANT__WANT_RUN); /* I8, I22 */
    e->task = t->id;
    e->mod = t->service->mod;
}

void plan__stop(struct plan *p, const struct task *t, bool forced) {
    Orlop__EntryTaskStop *e =
        plan__add(p, ORLOP__ENTRY__WHAT_TASK_STOP, &orlop__entry_task_stop__descriptor);
    if (!e) return;
    ensure(t->want != ORLOP__WANT__WANT_STOP && (!rule_final(t) || t->holds)); /* I11 */
    e->task = t->id;
    e->forced = forced;
    e->mod = t->service->mod;
}

void plan__delete_app(struct plan *p, const struct app *a) {
    Orlop__EntryAppDelete *e =
        plan__add(p, ORLOP__ENTRY__WHAT_APP_DELETE, &orlop__entry_app_delete__descriptor);
    if (e) e->app = a->name;
}
