// SPDX-License-Identifier: Apache-2.0
/* Wanted replicas against the tasks there are, service by service.
 *
 *   slot empty ................. TaskCreate
 *   PENDING, gate open ......... TaskAssign (assign.c)
 *   outdated, does not serve ... TaskDrain
 *   outdated, serves ........... TaskDrain while fewer slots than the update's parallelism (1) are
 *                                not ready, its pause is over and the gate is open: an update that
 *                                cannot come up takes nothing more down
 *   draining ................... TaskStop when all nodes have heard of it, at most 2 s
 *   ended, lost or rejected .... TaskCreate after its back-off; ended for good: nothing
 *   surplus, removed ........... TaskDrain, highest slot first; removed services in reverse order
 *                                of depends_on
 */
#include <errno.h>

#include "gate.h"
#include "plan_internal.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/state/rules.h"

struct work {
    struct plan *p;
    const struct service *svc;
    uint32_t replicas;
    uint32_t last_slot;
    const struct task **newest; /* by slot, 1 .. last_slot */
    bool *held;                 /* by slot: an older task still holds something of it */
    bool stuck;                 /* one could not be placed: so it is for all of this spec */
    enum gate gate;
};

static bool on_down_node(const struct task *t) {
    return t->node && !t->node->up;
}

/* --- leaving --------------------------------------------------------------------------------- */

static void finish_drain(struct plan *p, const struct task *t) {
    bool seen = p->acked_idx >= t->drain_idx;
    bool late = p->now_ms >= t->drain_ms + PLAN_DRAIN_MS;
    bool served = t->status.state == ORLOP__TASK_STATE__RUNNING;
    if (seen || late || !served || on_down_node(t))
        plan__stop(p, t, !seen && served);
    else
        plan__wake(p, t->drain_ms + PLAN_DRAIN_MS);
}

static void let_go(struct plan *p, const struct task *t) {
    if (t->want == ORLOP__WANT__WANT_STOP) return;
    if (rule_final(t)) {
        if (t->holds) plan__stop(p, t, false);
    } else if (t->want == ORLOP__WANT__WANT_DRAIN) {
        finish_drain(p, t);
    } else if (!t->node || on_down_node(t)) {
        plan__stop(p, t, false);
    } else {
        plan__drain(p, t);
    }
}

/* --- the slots that are wanted --------------------------------------------------------------- */

static void ended(struct work *w, const struct task *t) {
    if (t->want == ORLOP__WANT__WANT_RUN && rule_current(t) && !rule_replaceable(t)) return;
    int64_t at = t->ended_ms + rule_backoff_ms(t);
    if (w->p->now_ms >= at)
        plan__create(w->p, w->svc, t->slot, t);
    else
        plan__wake(w->p, at);
}

static void pending(struct work *w, const struct task *t) {
    if (!rule_current(t))
        plan__stop(w->p, t, false);
    else if (w->gate == GATE_OPEN && !w->held[t->slot] && !w->stuck)
        w->stuck = !plan__assign(w->p, t);
}

static void one_slot(struct work *w, uint32_t slot) {
    const struct task *t = w->newest[slot];
    if (!t)
        plan__create(w->p, w->svc, slot, NULL);
    else if (rule_final(t) || (t->want == ORLOP__WANT__WANT_STOP && on_down_node(t)))
        ended(w, t);
    else if (t->want == ORLOP__WANT__WANT_DRAIN)
        finish_drain(w->p, t);
    else if (t->want == ORLOP__WANT__WANT_RUN && !t->node)
        pending(w, t);
}

/* --- rolling --------------------------------------------------------------------------------- */

static bool outdated(const struct task *t) {
    return t && t->want == ORLOP__WANT__WANT_RUN && t->node && !rule_final(t) && !rule_current(t);
}

static void roll(struct work *w) {
    uint64_t away = w->replicas, victims = 0, most = rule_parallelism(w->svc);
    for (uint32_t slot = 1; slot <= w->replicas; slot++) {
        const struct task *t = w->newest[slot];
        if (t && rule_ready(t)) away--;
        if (!outdated(t)) continue;
        if (rule_ready(t))
            victims++;
        else
            plan__drain(w->p, t);
    }
    if (!victims || w->gate != GATE_OPEN) return;
    int64_t at = rule_update_at_ms(w->svc);
    if (w->p->now_ms < at) plan__wake(w->p, at);
    if (w->p->now_ms < at) return;
    for (uint32_t slot = 1; slot <= w->replicas && away < most; slot++) {
        const struct task *t = w->newest[slot];
        if (!outdated(t) || !rule_ready(t)) continue;
        plan__drain(w->p, t);
        away++;
    }
}

/* --- one service ----------------------------------------------------------------------------- */

static int survey(struct work *w) {
    w->last_slot = w->replicas;
    list_each (it, &w->svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (t->slot > w->last_slot) w->last_slot = t->slot;
    }
    w->newest = mem_array((size_t) w->last_slot + 1, sizeof *w->newest);
    w->held = mem_array((size_t) w->last_slot + 1, sizeof *w->held);
    if (!w->newest || !w->held) return -ENOMEM;
    list_each (it, &w->svc->tasks) { /* oldest first */
        const struct task *t = list_entry(it, struct task, service_link);
        const struct task *older = w->newest[t->slot];
        if (older && !rule_slot_free(older)) w->held[t->slot] = true;
        w->newest[t->slot] = t;
    }
    return 0;
}

static int service(struct plan *p, const struct service *svc, bool may_leave) {
    struct work w = {.p = p, .svc = svc, .replicas = rule_replicas(svc), .gate = GATE_OPEN};
    if (survey(&w) < 0) {
        mem_free(w.newest);
        mem_free(w.held);
        return -ENOMEM;
    }
    const struct spec_service *wanted = rule_wanted(svc);
    if (wanted) w.gate = gate_check(p->s, svc, wanted, NULL);
    for (uint32_t slot = w.last_slot; slot > w.replicas; slot--)
        if (w.newest[slot] && may_leave) let_go(p, w.newest[slot]);
    for (uint32_t slot = 1; slot <= w.replicas; slot++) one_slot(&w, slot);
    roll(&w);
    mem_free(w.newest);
    mem_free(w.held);
    return p->error;
}

/* --- the app --------------------------------------------------------------------------------- */

static bool leaving(const struct service *svc) {
    return svc->removed || svc->app->removing;
}

static bool lives(const struct service *svc) {
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (!rule_final(t) && t->node && !on_down_node(t)) return true;
    }
    return false;
}

static int mark_dependencies(const struct service *svc, struct map *needed, bool *changed) {
    const struct spec_service *def = spec_find(svc->app->spec, svc->name);
    if (!def && !list_empty(&svc->tasks)) /* removed: what its newest task says */
        def = list_entry(svc->tasks.prev, struct task, service_link)->def;
    for (size_t i = 0; def && i < def->def->n_depends_on; i++) {
        const char *name = def->def->depends_on[i]->service;
        if (map_get(needed, name)) continue;
        if (map_set(needed, name, needed) < 0) return -ENOMEM;
        *changed = true;
    }
    return 0;
}

/* Services on which one that leaves too, and still lives, depends, be it through others: they wait
 * for it. Each wait ends with that one's grace period; a node that is down is not waited for. */
static int mark_needed(const struct app *a, struct map *needed) {
    bool changed = true;
    while (changed) { /* at most once for each level of dependencies */
        changed = false;
        void *value;
        for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
            const struct service *svc = value;
            if (!leaving(svc) || (!lives(svc) && !map_get(needed, svc->name))) continue;
            if (mark_dependencies(svc, needed, &changed) < 0) return -ENOMEM;
        }
    }
    return 0;
}

int plan_app(struct plan *p, const struct app *a) {
    struct map needed = {0};
    void *value;
    int r = mark_needed(a, &needed);
    for (size_t i = 0; !r && map_next(&a->services, &i, NULL, &value);) {
        const struct service *svc = value;
        bool may_leave = !leaving(svc) || !map_get(&needed, svc->name);
        r = service(p, svc, may_leave);
    }
    map_fini(&needed);
    if (!r && a->removing && a->n_tasks == 0) plan__delete_app(p, a);
    return r < 0 ? r : p->error;
}
