// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/rec_internal.h"
#include "runtime/base/str.h"

static const Orlop__Service *service_of(const struct task *t) {
    return t->st ? t->st->spec->spec : NULL;
}

static Orlop__RestartPolicy__Condition condition_of(const struct task *t) {
    const Orlop__Service *s = service_of(t);
    return s && s->restart ? s->restart->condition : ORLOP__RESTART_POLICY__CONDITION__NO;
}

bool rec__never_again(const struct task *t) {
    Orlop__RestartPolicy__Condition c = condition_of(t);
    return c == ORLOP__RESTART_POLICY__CONDITION__NO ||
           c == ORLOP__RESTART_POLICY__CONDITION__CONDITION_UNSET;
}

static int64_t backoff_ms(const Orlop__RestartPolicy *p, uint32_t failures) {
    if (p->delay_ms) return (int64_t) (p->delay_ms < INT32_MAX ? p->delay_ms : INT32_MAX);
    if (failures >= 16) return REC_BACKOFF_MAX_MS;
    int64_t d = (int64_t) REC_BACKOFF_MIN_MS << failures;
    return d < REC_BACKOFF_MAX_MS ? d : REC_BACKOFF_MAX_MS;
}

struct rec__verdict rec__policy(const struct task *t, int64_t ran_ms, uint32_t *ret_failures) {
    const Orlop__Service *s = service_of(t);
    struct rec__verdict v = {0};
    *ret_failures = t->failures;
    if (!s || !s->restart || rec__never_again(t)) return v;
    const Orlop__RestartPolicy *p = s->restart;
    int64_t window = p->window_ms ? (int64_t) (p->window_ms & INT32_MAX) : REC_WINDOW_MS;
    uint32_t failures = ran_ms >= window ? 0 : t->failures;
    bool failed = !t->exit_known || t->exit_code != 0;
    if (p->condition == ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE && !failed) return v;
    if (p->max_attempts && failures >= p->max_attempts) return v;
    v.again = true;
    v.delay_ms = backoff_ms(p, failures);
    *ret_failures = failures + 1;
    return v;
}

static bool share_address(const struct task *a, const struct task *b) {
    const Orlop__TaskSpec *x = a->st->spec, *y = b->st->spec;
    for (size_t i = 0; i < x->n_addresses; i++)
        for (size_t k = 0; k < y->n_addresses; k++)
            if (x->addresses[i]->network == y->addresses[k]->network &&
                x->addresses[i]->address == y->addresses[k]->address)
                return true;
    return false;
}

static bool share_volume(const struct task *a, const struct task *b) {
    const Orlop__TaskSpec *x = a->st->spec, *y = b->st->spec;
    for (size_t i = 0; i < x->n_volumes; i++)
        for (size_t k = 0; k < y->n_volumes; k++)
            if (str_eq(x->volumes[i]->name, y->volumes[k]->name)) return true;
    return false;
}

static bool same_service(const struct task *a, const struct task *b) {
    return str_eq(a->st->spec->app, b->st->spec->app) &&
           str_eq(a->st->spec->service, b->st->spec->service);
}

/* Replicas may share a volume; a replacement may not share it with the one on its way out. */
const struct task *rec__blocker(const struct rec *r, const struct task *t) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        const struct task *o = value;
        if (o == t || !o->st || !task_holds(o)) continue;
        if (share_address(t, o)) return o;
        if (task_leaves(o) && same_service(t, o) && share_volume(t, o)) return o;
    }
    return NULL;
}

static bool local_ready(const struct task *o, Orlop__Dependency__Condition c) {
    if (c == ORLOP__DEPENDENCY__CONDITION__COMPLETED)
        return o->state >= TASK_FINAL && o->end == ORLOP__TASK_STATE__COMPLETE;
    if (o->state != TASK_RUNNING) return false;
    return c != ORLOP__DEPENDENCY__CONDITION__HEALTHY || o->health == ORLOP__HEALTH__HEALTH_NONE ||
           o->health == ORLOP__HEALTH__HEALTH_HEALTHY;
}

/* Tasks on this node by what is seen: 1 ready, 0 not, -1 there are none. */
static int judge_local(const struct rec *r, const char *app, const Orlop__Dependency *d) {
    int verdict = -1;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        const struct task *o = value;
        if (!o->st || !str_eq(o->st->spec->app, app) || !str_eq(o->st->spec->service, d->service))
            continue;
        if (local_ready(o, d->condition)) return 1;
        verdict = 0;
    }
    return verdict;
}

/* Tasks elsewhere by the last view that is known: the same three answers. */
static int judge_view(const struct rec *r, const char *app, const Orlop__Dependency *d) {
    int verdict = -1;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(r->in.services, &i, &key, &value);) {
        const Orlop__ViewService *s = ((const struct astore_object *) value)->message;
        if (!str_eq(s->app, app) || !str_eq(s->service, d->service)) continue;
        for (size_t k = 0; k < s->n_endpoints; k++)
            if (s->endpoints[k]->serving) return 1;
        verdict = 0;
    }
    return verdict;
}

static bool dependency_met(const struct rec *r, const char *app, const Orlop__Dependency *d) {
    if (d->condition == ORLOP__DEPENDENCY__CONDITION__COMPLETED) {
        char key[192];
        snprintf(key, sizeof key, "%s/%s", app, d->service);
        if (map_get(r->in.facts, key)) return true;
    }
    int verdict = judge_local(r, app, d);
    if (verdict < 0) verdict = judge_view(r, app, d);
    return verdict > 0 || (verdict < 0 && d->optional);
}

const Orlop__Dependency *rec__missing_dependency(const struct rec *r, const struct task *t) {
    const Orlop__Service *s = service_of(t);
    for (size_t i = 0; s && i < s->n_depends_on; i++)
        if (!dependency_met(r, t->st->spec->app, s->depends_on[i])) return s->depends_on[i];
    return NULL;
}

static bool depends_on(const struct task *o, const struct task *t) {
    const Orlop__Service *s = service_of(o);
    if (!s || !str_eq(o->st->spec->app, t->st->spec->app)) return false;
    for (size_t i = 0; i < s->n_depends_on; i++)
        if (str_eq(s->depends_on[i]->service, t->st->spec->service)) return true;
    return false;
}

bool rec__dependants_live(const struct rec *r, const struct task *t) {
    const char *key;
    void *value;
    for (size_t i = 0; t->st && map_next(&r->tasks, &i, &key, &value);) {
        const struct task *o = value;
        bool lives = o->state >= TASK_PREPARING && o->state <= TASK_CLOSING;
        if (o != t && lives && depends_on(o, t)) return true;
    }
    return false;
}

int64_t rec__grace_ms(const struct task *t) {
    const Orlop__Service *s = service_of(t);
    if (!s || !s->has_stop_grace) return REC_GRACE_MS;
    return (int64_t) (s->stop_grace_ms < INT32_MAX ? s->stop_grace_ms : INT32_MAX);
}

int64_t rec__drain_ms(const struct task *t) {
    const Orlop__Service *s = service_of(t);
    if (!s || !s->drain_ms) return REC_DRAIN_MS;
    return (int64_t) (s->drain_ms < INT32_MAX ? s->drain_ms : INT32_MAX);
}

void rec__describe_exit(const struct task *t, char ret[static ERR_TEXT_MAX]) {
    const char *name = t->signal > 0 ? sigabbrev_np(t->signal) : NULL;
    bool killed = t->state == TASK_STOPPING && t->signal == SIGKILL; /* by us: the grace was over */
    if (!t->exit_known)
        snprintf(ret, ERR_TEXT_MAX, "ended, exit unknown: nobody was there to record it");
    else if (t->oom && t->signal && !killed)
        snprintf(ret, ERR_TEXT_MAX,
                 "out of memory: its limit was reached and the kernel killed it");
    else if (t->oom && !killed)
        snprintf(ret, ERR_TEXT_MAX,
                 "exited with code %d after the kernel had killed a process of it: out of memory",
                 t->exit_code);
    else if (t->signal)
        snprintf(ret, ERR_TEXT_MAX, "killed by signal %d (SIG%s)", t->signal, name ? name : "?");
    else
        snprintf(ret, ERR_TEXT_MAX, "exited with code %d", t->exit_code);
}
