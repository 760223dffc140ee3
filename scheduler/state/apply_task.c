// SPDX-License-Identifier: Apache-2.0
/* Tasks: create, assign, drain, stop, and what nodes say of them. */
#include <errno.h>
#include <stdio.h>

#include "apply_internal.h"
#include "net.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

/* --- planned entries ------------------------------------------------------------------------- */

static int find_for(const struct state *s, const char *id, uint64_t mod, struct task **ret,
                    struct err *why) {
    struct task *t = state_task(s, id);
    if (!t) return err_say(why, -ENOENT, "there is no task %s", id);
    if (!state__mod_is(t->service->mod, t->service->mod_before, mod, s->applied_idx))
        return err_say(why, -ESTALE, "service %s has changed meanwhile", t->service->name);
    *ret = t;
    return 0;
}

static void wanted_changed(struct state *s, struct task *t) {
    state__bump(&t->service->mod, &t->service->mod_before, s->applied_idx);
    state__touch_task(s, t);
    state__touch_service(s, t->service);
}

/* The predecessor on a down node: given up here, not at NodeDown. Its address stays held. */
static int orphan(struct state *s, struct task *t) {
    if (!t || rule_final(t)) return 0;
    t->status.state = ORLOP__TASK_STATE__ORPHANED;
    t->ended_ms = s->now_ms;
    state__touch_task(s, t);
    state__emit(s, CHANGE_TASK_STATE, t->service->app, t->service, t,
                "replaced while its node was down");
    return 0;
}

/* What is newest of the ended ones stays for logs and `why`; the rest goes. */
static int prune(struct state *s, struct service *svc, uint32_t slot) {
    size_t ended = 0;
    struct list *prev;
    for (struct list *it = svc->tasks.prev; it != &svc->tasks; it = prev) {
        prev = it->prev;
        struct task *t = list_entry(it, struct task, service_link);
        if (t->slot != slot || !rule_final(t) || t->holds) continue;
        bool unwanted = slot > rule_replicas(svc);
        if (!unwanted && ++ended <= STATE_ENDED_PER_SLOT) continue;
        int r = state__delete_task(s, t);
        if (r < 0) return r;
    }
    return 0;
}

static int settle_ended(struct state *s, struct service *svc, uint32_t slot) {
    int r = prune(s, svc, slot);
    if (r < 0) return r;
    /* A removed service goes with its last task, unless the whole app does (AppDelete). */
    if (svc->removed && list_empty(&svc->tasks)) return state__delete_service(s, svc);
    return 0;
}

int apply__prune_unwanted(struct state *s, struct service *svc) {
    list_each_safe (it, &svc->tasks) {
        struct task *t = list_entry(it, struct task, service_link);
        if (!rule_final(t) || t->holds || t->slot <= rule_replicas(svc)) continue;
        int r = state__delete_task(s, t);
        if (r < 0) return r;
    }
    return svc->removed && list_empty(&svc->tasks) ? state__delete_service(s, svc) : 0;
}

int apply__task_create(struct state *s, const Orlop__EntryTaskCreate *e, struct err *why) {
    struct service *svc = state_service(s, e->app, e->service);
    if (!svc) return err_say(why, -ENOENT, "app %s has no service %s", e->app, e->service);
    if (!state__mod_is(svc->mod, svc->mod_before, e->mod, s->applied_idx))
        return err_say(why, -ESTALE, "service %s has changed meanwhile", svc->name);
    int r = rule_may_create(s, svc, e->slot, e->replaces, why);
    if (r < 0) return r;
    struct task *old = rule_newest(s, svc, e->slot);
    uint32_t tries = old && rule_current(old) && rule_replaceable(old) ? old->tries + 1 : 0;
    r = orphan(s, old);
    if (r < 0) return r;
    char id[64];
    snprintf(id, sizeof id, "%lu.%lu.%u", (unsigned long) s->inc, (unsigned long) s->applied_idx,
             ++s->next_task);
    struct task *t;
    r = state__add_task(s, svc, id, e->slot, svc->app->spec, &t);
    if (r < 0) return r;
    t->status.state = ORLOP__TASK_STATE__PENDING;
    t->want = ORLOP__WANT__WANT_RUN;
    t->generation = svc->generation;
    t->created_ms = s->now_ms;
    t->tries = tries;
    wanted_changed(s, t);
    state__emit(s, CHANGE_TASK_CREATED, svc->app, svc, t, NULL);
    return prune(s, svc, e->slot);
}

static int take_addresses(struct state *s, struct task *t, const Orlop__EntryTaskAssign *e) {
    t->addresses = mem_array(e->n_addresses + 1, sizeof *t->addresses);
    if (!t->addresses) return -ENOMEM;
    for (size_t i = 0; i < e->n_addresses; i++) {
        orlop__task_address__init(&t->addresses[i]);
        t->addresses[i].network = e->addresses[i]->network;
        t->addresses[i].address = e->addresses[i]->address;
        t->n_addresses++;
        int r = net_hold(s, state_network(s, t->addresses[i].network), t->addresses[i].address);
        if (r < 0) return r;
    }
    return 0;
}

int apply__task_assign(struct state *s, const Orlop__EntryTaskAssign *e, struct err *why) {
    struct task *t = state_task(s, e->task);
    struct node *n = state_node(s, e->node);
    if (!t || !n) return err_say(why, -ENOENT, "task %s or node %s is gone", e->task, e->node);
    if (!state__mod_is(n->mod, n->mod_before, e->mod, s->applied_idx))
        return err_say(why, -ESTALE, "node %s has changed meanwhile", n->name);
    int r = rule_may_assign(s, t, n, e->addresses, e->n_addresses, why);
    if (r < 0) return r;
    r = take_addresses(s, t, e);
    if (r < 0) return r;
    t->status.state = ORLOP__TASK_STATE__ASSIGNED;
    t->assigned_idx = s->applied_idx;
    state__place(t, n, true);
    state__touch_task(s, t);
    state__touch_service(s, t->service);
    state__emit(s, CHANGE_TASK_ASSIGNED, t->service->app, t->service, t, NULL);
    return 0;
}

int apply__task_drain(struct state *s, const Orlop__EntryTaskDrain *e, struct err *why) {
    struct task *t;
    int r = find_for(s, e->task, e->mod, &t, why);
    if (!r) r = rule_may_drain(s, t, why);
    if (r < 0) return r;
    t->want = ORLOP__WANT__WANT_DRAIN;
    t->drain_idx = s->applied_idx;
    t->drain_ms = s->now_ms;
    wanted_changed(s, t);
    state__emit(s, CHANGE_TASK_DRAINING, t->service->app, t->service, t, NULL);
    return 0;
}

int apply__task_stop(struct state *s, const Orlop__EntryTaskStop *e, struct err *why) {
    struct task *t;
    int r = find_for(s, e->task, e->mod, &t, why);
    if (!r) r = rule_may_stop(s, t, why);
    if (r < 0) return r;
    t->want = ORLOP__WANT__WANT_STOP;
    t->forced = e->forced;
    wanted_changed(s, t);
    if (rule_final(t)) return 0; /* its node clears up */
    state__emit(s, CHANGE_TASK_STOPPING, t->service->app, t->service, t, NULL);
    if (t->node) return 0;
    return apply__end_task(s, t, ORLOP__TASK_STATE__SHUTDOWN, false, "stopped before its start");
}

/* --- the end of a task ----------------------------------------------------------------------- */

/* A one-shot is done when all its replicas are: a fact that outlives them. */
static void look_for_fact(struct state *s, struct task *last) {
    struct service *svc = last->service;
    if (last->status.state != ORLOP__TASK_STATE__COMPLETE || !rule_current(last)) return;
    if (!last->status.exit_known || last->status.exit_code != 0) return;
    uint32_t done = 0;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (t->status.state == ORLOP__TASK_STATE__COMPLETE && rule_current(t)) done++;
    }
    if (done < rule_replicas(svc) || state__has_fact(svc, last->def->hash)) return;
    state__add_fact(svc, last->def->hash);
    state__emit(s, CHANGE_FACT, svc->app, svc, last, NULL);
}

static int now_gone(struct state *s, struct task *t) {
    t->status.gone = true;
    state__touch_task(s, t);
    state__touch_service(s, t->service);
    struct service *svc = t->service;
    uint32_t slot = t->slot;
    int r = state__release(s, t);
    if (r < 0) return r;
    state__emit(s, CHANGE_TASK_GONE, svc->app, svc, t, NULL);
    return settle_ended(s, svc, slot);
}

int apply__end_task(struct state *s, struct task *t, Orlop__TaskState state, bool lost,
                    const char *reason) {
    if (!rule_final(t)) {
        t->status.state = state;
        t->lost = lost;
        t->ended_ms = s->now_ms;
        t->status.ended_unix_ms = s->now_ms;
        int r = state__set_text(&t->status.reason, reason);
        if (r < 0) return r;
        state__emit(s, CHANGE_TASK_STATE, t->service->app, t->service, t, reason);
    }
    return t->status.gone ? 0 : now_gone(s, t);
}

/* --- what nodes say -------------------------------------------------------------------------- */

/* An end is the top: a node decides it once and for all, and the agent that tells it need not know
 * which attempt the one before it had come to. OLD is none. */
static bool newer(const Orlop__TaskStatus *old, const Orlop__TaskStatus *st) {
    if (rule_state_is_final(st->state)) return true;
    if (st->boot != old->boot) return st->boot > old->boot;
    if (st->attempt != old->attempt) return st->attempt > old->attempt;
    return st->state >= old->state; /* the same state again: its health or restarts may be new */
}

static int take_status(struct task *t, const Orlop__TaskStatus *st) {
    int r = state__set_text(&t->status.reason, st->reason);
    if (!r) r = state__set_text(&t->status.health_output, st->health_output);
    if (r < 0) return r;
    Orlop__TaskStatus *to = &t->status;
    to->boot = st->boot;
    to->attempt = st->attempt;
    to->state = st->state;
    to->health = st->health;
    to->exit_known = st->exit_known;
    to->exit_code = st->exit_code;
    to->signal = st->signal;
    to->oom = st->oom;
    to->started_unix_ms = st->started_unix_ms;
    to->ended_unix_ms = st->ended_unix_ms;
    to->pid = st->pid;
    to->restarts = st->restarts;
    to->failures = st->failures;
    return 0;
}

static void tell(struct state *s, const struct task *t, const Orlop__TaskStatus *before,
                 bool new_reason) {
    const struct service *svc = t->service;
    if (before->attempt && (before->boot != t->status.boot || before->attempt != t->status.attempt))
        state__emit(s, CHANGE_TASK_RESTARTED, svc->app, svc, t, t->status.reason);
    if (before->state != t->status.state)
        state__emit(s, CHANGE_TASK_STATE, svc->app, svc, t, t->status.reason);
    else if (before->health != t->status.health)
        state__emit(s, CHANGE_TASK_HEALTH, svc->app, svc, t, t->status.health_output);
    else if (t->status.oom && new_reason && t->status.state == ORLOP__TASK_STATE__RUNNING)
        state__emit(s, CHANGE_TASK_OOM, svc->app, svc, t, t->status.reason);
}

int apply__merge_status(struct state *s, struct node *n, const Orlop__TaskStatus *st) {
    struct task *t = state_task(s, st->task);
    if (!t || t->node != n) return 0;
    bool gone = st->gone && rule_state_is_final(st->state);
    if (rule_final(t)) return gone && !t->status.gone ? now_gone(s, t) : 0;
    if (st->state < ORLOP__TASK_STATE__PREPARING || st->state > ORLOP__TASK_STATE__REJECTED ||
        !newer(&t->status, st))
        return 0;
    Orlop__TaskStatus before = t->status; /* its numbers; its texts are gone after the next line */
    bool new_reason = !str_eq(t->status.reason, st->reason);
    int r = take_status(t, st);
    if (r < 0) return r;
    state__touch_service(s, t->service);
    if (rule_final(t)) {
        t->ended_ms = s->now_ms;
        state__touch_task(s, t);
    }
    tell(s, t, &before, new_reason);
    look_for_fact(s, t);
    return gone ? now_gone(s, t) : 0;
}

int apply__task_status(struct state *s, const Orlop__EntryTaskStatus *e, struct err *why) {
    struct node *n = state_node(s, e->node);
    if (!n) return err_say(why, -ENOENT, "there is no node %s", e->node);
    for (size_t i = 0; i < e->n_tasks; i++) {
        int r = apply__merge_status(s, n, e->tasks[i]);
        if (r < 0) return r;
    }
    return 0;
}
