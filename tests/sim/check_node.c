// SPDX-License-Identifier: Apache-2.0
/* The node: what is exec'ed, what ends, what is removed, what is in the maps. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/state/rules.h" /* before check.h */

#include "check.h"
#include "runtime/base/mem.h"
#include "sim.h"

static const struct task *committed(const char *id) {
    return state_task(&check_truth, id);
}

static const char *attempt_key(uint64_t boot, uint32_t attempt, char key[static 32]) {
    snprintf(key, 32, "%llu.%u", (unsigned long long) boot, attempt);
    return key;
}

/* --- before a start -------------------------------------------------------------------------- */

static void note_volumes(struct check_task *t, const Orlop__TaskSpec *spec) {
    for (size_t i = 0; i < spec->n_volumes; i++)
        if (!strv_has(&t->volumes, spec->volumes[i]->name))
            ensure(strv_add(&t->volumes, spec->volumes[i]->name) == 0);
}

void check_prepare(const Orlop__TaskSpec *spec) {
    enum sim_role was = sim_as(SIM_WORLD);
    struct check_task *t = check_task(spec->task);
    if (!t) sim_violated("I4", "task %s is prepared and was never created", spec->task);
    const Orlop__RestartPolicy *p = spec->spec->restart;
    if (!t->prepared) t->store = check.store;
    t->prepared = true;
    t->restart_never = !p || p->condition == ORLOP__RESTART_POLICY__CONDITION__NO ||
                       p->condition == ORLOP__RESTART_POLICY__CONDITION__CONDITION_UNSET;
    note_volumes(t, spec);
    sim_as(was);
}

void check_describe(struct sandbox *s) {
    const struct check_task *t = check_task(s->task);
    if (!t) sim_violated("I4", "task %s is started and was never created", s->task);
    if (t->store != check.store)
        sim_violated("I13", "task %s of an earlier store is started", t->id);
    snprintf(s->app, sizeof s->app, "%s", t->app);
    snprintf(s->service, sizeof s->service, "%s", t->service);
}

/* --- exec ------------------------------------------------------------------------------------ */

struct pair {
    const struct sandbox *sandbox;
    const struct check_task *task;
};

static bool share_address(const struct check_task *a, const struct check_task *b) {
    for (size_t i = 0; i < a->n_addresses; i++)
        for (size_t k = 0; k < b->n_addresses; k++)
            if (a->addresses[i] == b->addresses[k]) return true;
    return false;
}

static bool share_volume(const struct check_task *a, const struct check_task *b) {
    for (size_t i = 0; i < a->volumes.n; i++)
        if (strv_has(&b->volumes, a->volumes.v[i])) return true;
    return false;
}

/* S lives beside the one that is exec'ed now. */
static void beside(const struct sandbox *s, void *ctx) {
    const struct pair *now = ctx;
    const struct check_task *o = check_task(s->task), *t = now->task;
    if (s == now->sandbox) return;
    if (o == t) sim_violated("I2", "two attempts of task %s live", t->id);
    if (share_address(o, t))
        sim_violated("I17", "tasks %s and %s live on one address", o->id, t->id);
    bool slot = o->service_id == t->service_id && o->slot == t->slot;
    if (slot && share_volume(o, t))
        sim_violated("I17", "tasks %s and %s of one slot live on one volume", o->id, t->id);
}

static void may_exec(const struct check_task *t, const struct check_attempt *known) {
    if (known) sim_violated("I1", "an attempt of task %s is exec'ed again", t->id);
    if (t->lost) sim_violated("I9", "task %s was called lost and is exec'ed", t->id);
    if (t->told_end) sim_violated("I3", "task %s was told to have ended and is exec'ed", t->id);
    if (t->final && !t->orphaned) sim_violated("I4", "task %s is final and is exec'ed", t->id);
    if (t->restart_never && t->execs)
        sim_violated("I7", "task %s has restart: no and is exec'ed again", t->id);
    const struct task *c = committed(t->id);
    if (!c || !c->holds)
        sim_violated("I17", "task %s is exec'ed and holds no address any more", t->id);
}

static void view_is_there(const struct check_task *t) {
    if (check.view_idx < t->assigned_idx)
        sim_violated("I20", "task %s of idx %llu starts with the network of idx %llu", t->id,
                     (unsigned long long) t->assigned_idx, (unsigned long long) check.view_idx);
    char key[16];
    for (size_t i = 0; i < t->n_addresses; i++) {
        snprintf(key, sizeof key, "%x", t->addresses[i]);
        const struct check_endpoint *e = map_get(&check.endpoints, key);
        if (e && (!str_eq(e->app, t->app) || !str_eq(e->service, t->service)))
            sim_violated("I18", "the maps send requests for %s to task %s of %s", e->service, t->id,
                         t->service);
    }
}

static bool dependency_was_met(const struct service *svc, const Orlop__Dependency *d) {
    const struct service *on = state_service(&check_truth, svc->app->name, d->service);
    if (!on) return d->optional;
    const struct check_service *s = check_service(on->id);
    if (s->idle) return true;
    if (d->condition == ORLOP__DEPENDENCY__CONDITION__COMPLETED) return s->completed;
    return d->condition == ORLOP__DEPENDENCY__CONDITION__HEALTHY ? s->healthy : s->started;
}

static void order_is_kept(const struct check_task *t) {
    const struct task *c = committed(t->id);
    if (!c || t->execs) return;
    const Orlop__Service *def = c->def->def;
    for (size_t i = 0; i < def->n_depends_on; i++)
        if (!dependency_was_met(c->service, def->depends_on[i]))
            sim_violated("I26", "task %s of %s starts before %s", t->id, t->service,
                         def->depends_on[i]->service);
}

/* A one-shot that is done is done, until its spec or generation is another, or it is taken down. */
static void not_done_before(const struct check_task *t) {
    void *value;
    const struct check_task *before = NULL; /* the newest older one of its slot */
    for (size_t i = 0; map_next(&check.tasks, &i, NULL, &value);) {
        const struct check_task *o = value;
        if (o == t) break;
        if (o->service_id == t->service_id && o->slot == t->slot) before = o;
    }
    const struct task *b = before ? committed(before->id) : NULL;
    if (b && b->want == ORLOP__WANT__WANT_RUN && before->final &&
        before->state == ORLOP__TASK_STATE__COMPLETE && before->generation == t->generation &&
        str_eq(before->hash, t->hash))
        sim_violated("I27", "%s completed as task %s and runs again as %s", t->service, before->id,
                     t->id);
}

void check_exec(const struct sandbox *s) {
    char key[32];
    struct check_task *t = check_task(s->task);
    sim_say("exec %s %s attempt %s", s->service, s->task, attempt_key(s->boot, s->attempt, key));
    may_exec(t, map_get(&t->attempts, key));
    view_is_there(t);
    order_is_kept(t);
    not_done_before(t);
    struct pair now = {s, t};
    sim_sandboxes_each(beside, &now);
    struct check_attempt *a = mem_zalloc(sizeof *a);
    ensure(map_set(&t->attempts, key, a) == 0);
    t->execs++;
    check_service(t->service_id)->started = true;
}

void check_ended(const struct sandbox *s) {
    char key[32];
    struct check_attempt *a =
        map_get(&check_task(s->task)->attempts, attempt_key(s->boot, s->attempt, key));
    ensure(a);
    a->ended = true;
    a->wait_status = s->wait_status;
    sim_say("end %s %s attempt %s", s->service, s->task, key);
}

void check_reaped(const struct sandbox *s) {
    if (!s->failure && !s->nobody_saw && !s->exit_known)
        sim_violated("I5", "task %s is reaped and its end not recorded", s->task);
}

/* --- stops ----------------------------------------------------------------------------------- */

static bool halting(void) {
    return check.halting || sim.now_us < check.halting_until_us;
}

static bool must_end(const char *task) {
    const struct task *c = committed(task);
    const struct check_task *t = check_task(task);
    return halting() || !c || c->want == ORLOP__WANT__WANT_STOP || rule_final(c) ||
           (t && t->store != check.store);
}

void check_close(const char *task, bool living) {
    if (living && !must_end(task))
        sim_violated("I11", "task %s is wanted, lives and is closed", task);
}

void check_signal(const struct sandbox *s, int signal) {
    const struct task *c = committed(s->task);
    sim_say("signal %d to %s %s", signal, s->service, s->task);
    if (!must_end(s->task)) sim_violated("I11", "task %s is wanted and is told to stop", s->task);
    if (halting() || !c || c->forced || check_agent_forces(s->task)) return;
    char key[16];
    const struct check_task *t = check_task(s->task);
    for (size_t i = 0; i < t->n_addresses; i++) {
        snprintf(key, sizeof key, "%x", t->addresses[i]);
        if (map_get(&check.endpoints, key))
            sim_violated("I19", "task %s is told to stop and the maps still send requests to it",
                         t->id);
    }
}

void check_node_stops(void) {
    check.halting = true;
}

/* --- removal --------------------------------------------------------------------------------- */

static void may_forget(const char *task, const char *what) {
    const struct check_task *t = check_task(task);
    if (t && t->prepared && t->store == check.store && !t->gone)
        sim_violated("I6", "%s of task %s go before its end is committed", what, task);
    if (sim_sandbox_lives(task)) sim_violated("I17", "%s of task %s go while it lives", what, task);
}

void check_forget(const char *task) {
    may_forget(task, "the keeper's records");
}

void check_files_removed(const char *task) {
    may_forget(task, "the files");
}

static void is_not(const struct sandbox *s, void *ctx) {
    char name[128];
    snprintf(name, sizeof name, "%s-%llu.%u", s->task, (unsigned long long) s->boot, s->attempt);
    if (str_eq(name, ctx)) sim_violated("I17", "sandbox %s lives and is cleaned away", name);
}

void check_cleaned(const char *sandbox) {
    sim_sandboxes_each(is_not, (void *) (uintptr_t) sandbox);
}

static void is_known(const struct sandbox *s, void *ctx) {
    if (!strv_has(ctx, s->task))
        sim_violated("I17", "task %s lives and is swept away as nobody's", s->task);
}

void check_swept(const struct strv *known) {
    sim_sandboxes_each(is_known, (void *) (uintptr_t) known);
}

static void does_not_use(const struct sandbox *s, void *ctx) {
    if (strv_has(&check_task(s->task)->volumes, ctx))
        sim_violated("I17", "volume %s is removed under task %s", (const char *) ctx, s->task);
}

void check_volume_removed(const char *name) {
    sim_sandboxes_each(does_not_use, (void *) (uintptr_t) name);
}

/* --- maps ------------------------------------------------------------------------------------ */

static void drop_endpoints(void) {
    void *value;
    for (size_t i = 0; map_next(&check.endpoints, &i, NULL, &value);) mem_free(value);
    map_fini(&check.endpoints);
    memset(&check.endpoints, 0, sizeof check.endpoints);
}

static void add_service(const Orlop__ViewService *v) {
    char key[16];
    for (size_t i = 0; i < v->n_endpoints; i++) {
        if (!v->endpoints[i]->serving || !v->endpoints[i]->address) continue;
        struct check_endpoint *e = mem_zalloc(sizeof *e);
        snprintf(e->app, sizeof e->app, "%s", v->app);
        snprintf(e->service, sizeof e->service, "%s", v->service);
        snprintf(key, sizeof key, "%x", v->endpoints[i]->address);
        if (map_get(&check.endpoints, key))
            sim_violated("I18", "the maps have address %s twice", key);
        ensure(map_set(&check.endpoints, key, e) == 0);
    }
}

/* A living task is nobody else's endpoint. */
static void is_endpoint_of_its_own(const struct sandbox *s, void *ctx) {
    char key[16];
    const struct check_task *t = check_task(s->task);
    (void) ctx;
    for (size_t i = 0; i < t->n_addresses; i++) {
        snprintf(key, sizeof key, "%x", t->addresses[i]);
        const struct check_endpoint *e = map_get(&check.endpoints, key);
        if (e && (!str_eq(e->app, t->app) || !str_eq(e->service, t->service)))
            sim_violated("I18", "the maps send requests for %s to task %s of %s", e->service, t->id,
                         t->service);
    }
}

void check_view(const struct net_view *v, uint64_t idx) {
    enum sim_role was = sim_as(SIM_WORLD);
    drop_endpoints();
    for (size_t i = 0; i < v->n_services; i++) add_service(v->services[i]);
    check.view_idx = idx;
    sim_sandboxes_each(is_endpoint_of_its_own, NULL);
    sim_as(was);
}

void check_rebooted(void) {
    drop_endpoints();
    check.view_idx = 0;
    check.halting = false;
}

void check_wiped(void) {
    check.store++;
    check.inc = check.idx = 0;
}
