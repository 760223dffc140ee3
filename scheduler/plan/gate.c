// SPDX-License-Identifier: Apache-2.0
#include "gate.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/state/rules.h"
#include "scheduler/state/tables.h"

const char *gate_state_name(Orlop__TaskState state) {
    static const char *const names[] = {"unknown",  "pending",   "assigned", "preparing",
                                        "starting", "running",   "stopping", "complete",
                                        "failed",   "shut down", "rejected", "orphaned"};
    return (size_t) state < array_len(names) ? names[state] : names[0];
}

/* What the current tasks of a dependency amount to. */
struct seen {
    bool started, healthy, serving, failed;
    const struct task *newest;
};

static struct seen look(const struct state *s, const struct service *d) {
    struct seen v = {.failed = true};
    list_each (it, &d->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (!rule_current(t)) continue;
        v.newest = t;
        v.started |= rule_started(t);
        v.serving |= rule_serving(t);
        v.healthy |= rule_serving(t) && t->status.health == ORLOP__HEALTH__HEALTH_HEALTHY;
        if (rule_newest(s, d, t->slot) != t)
            continue; /* replaced: what became of it is no verdict */
        if (!rule_final(t) || rule_replaceable(t)) v.failed = false;
    }
    v.failed &= v.newest != NULL;
    return v;
}

static const char *doing(const struct seen *v, char buf[static 200]) {
    const struct task *t = v->newest;
    if (!t) return "it has no task yet";
    const char *health = t->status.state != ORLOP__TASK_STATE__RUNNING ? ""
                         : t->status.health == ORLOP__HEALTH__HEALTH_UNHEALTHY
                             ? ", but its health check fails"
                         : t->status.health == ORLOP__HEALTH__HEALTH_STARTING
                             ? ", its health check has not succeeded yet"
                             : "";
    if (t->status.state == ORLOP__TASK_STATE__FAILED && t->status.exit_known)
        snprintf(buf, 200, "it failed with exit code %d", t->status.exit_code);
    else
        snprintf(buf, 200, "it is %s%s", gate_state_name(t->status.state), health);
    return buf;
}

static enum gate shut(const struct seen *v, const char *service, const char *what,
                      struct err *why) {
    char buf[200];
    err_say(why, -EAGAIN, "waits for %s to %s: %s", service, what, doing(v, buf));
    return v->failed ? GATE_NEVER : GATE_WAITS;
}

static enum gate check_one(const struct state *s, const struct service *d,
                           const struct spec_service *wanted, const Orlop__Dependency *dep,
                           struct err *why) {
    struct seen v = look(s, d);
    if (dep->condition == ORLOP__DEPENDENCY__CONDITION__COMPLETED) {
        if (state__has_fact(d, wanted->hash)) return GATE_OPEN;
        return shut(&v, d->name, "complete", why);
    }
    if (dep->condition == ORLOP__DEPENDENCY__CONDITION__HEALTHY) {
        if (v.healthy) return GATE_OPEN;
        if (!v.serving) return shut(&v, d->name, "be healthy", why);
        err_say(why, -EINVAL, "waits for %s to be healthy, but %s has no health check", d->name,
                d->name);
        return GATE_NEVER;
    }
    return v.started ? GATE_OPEN : shut(&v, d->name, "start", why);
}

enum gate gate_check(const struct state *s, const struct service *svc,
                     const struct spec_service *def, struct err *why) {
    enum gate worst = GATE_OPEN;
    for (size_t i = 0; i < def->def->n_depends_on; i++) {
        const Orlop__Dependency *dep = def->def->depends_on[i];
        const struct service *d = map_get(&svc->app->services, dep->service);
        const struct spec_service *wanted = d ? rule_wanted(d) : NULL;
        struct err one = {0};
        enum gate g = GATE_OPEN;
        if (wanted && wanted->def->replicas) g = check_one(s, d, wanted, dep, &one);
        if (dep->optional && g == GATE_NEVER) g = GATE_OPEN;
        if (g <= worst) continue;
        worst = g;
        if (why) *why = one;
    }
    return worst;
}
