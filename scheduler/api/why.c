// SPDX-License-Identifier: Apache-2.0
/* `orlop why`: sentences, cause before effect. For a service: what its dependencies lack, then what
 * its own tasks lack. For a task: what it waits for or how it ended, in the agent's words down to
 * the system call. */
#include <errno.h>

#include "api.h"
#include "describe.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/agents.h"
#include "scheduler/plan/gate.h"
#include "scheduler/state/rules.h"

enum { LINES_MAX = 200, DEPTH_MAX = 32 };

struct why {
    struct describe d;
    char *lines[LINES_MAX];
    size_t n;
    bool healthy;
    int64_t now_ms;
    struct map seen; /* services that were explained */
};

static void say(struct why *w, char *line) {
    if (line && w->n < LINES_MAX) w->lines[w->n++] = line;
}

/* Rejected or lost: the scheduler goes on trying, whoever has stopped to wait for it. */
static void explain_next(struct why *w, const struct task *t, const char *name) {
    if (t->want != ORLOP__WANT__WANT_RUN || !rule_current(t)) return;
    int64_t left_ms = t->ended_ms + rule_backoff_ms(t) - w->now_ms;
    say(w, describe_printf(&w->d,
                           "%s: that was attempt %u; the next one follows in %lld s, also after "
                           "`orlop up` has given up waiting",
                           name, t->tries + 1,
                           (long long) (left_ms > 0 ? (left_ms + 999) / 1000 : 0)));
}

/* A policy that says "again" is not why: its node saw at the start that it will not get better by
 * itself (there is no such program, no such user). */
static bool ended_by_policy(const struct task *t) {
    const Orlop__RestartPolicy *p = t->def->def->restart;
    return !p || p->condition <= ORLOP__RESTART_POLICY__CONDITION__NO ||
           (p->max_attempts && t->status.restarts);
}

static void explain_task(struct why *w, const struct task *t) {
    char name[STATE_NAME_MAX];
    struct err why;
    state_task_name(t, name);
    describe_trouble(&w->d, t, &why);
    if (!why.code) {
        say(w, describe_printf(&w->d, "%s is %s%s", name, gate_state_name(t->status.state),
                               t->node && !rule_final(t)
                                   ? describe_printf(&w->d, " on node %s", t->node->name)
                                   : ""));
        return;
    }
    w->healthy = false;
    say(w, describe_printf(&w->d, "%s: %s", name, why.text));
    if (rule_replaceable(t)) explain_next(w, t, name);
    if (t->status.restarts)
        say(w, describe_printf(&w->d, "%s: its node has started it %u times", name,
                               t->status.restarts + 1));
    if (t->status.state == ORLOP__TASK_STATE__FAILED && !rule_replaceable(t))
        say(w, describe_printf(&w->d, "%s: %s", name,
                               ended_by_policy(t)
                                   ? "its restart policy says not to start it again"
                                   : "such a start is not tried again, whatever its restart policy "
                                     "says: correct it, then `orlop up` or `orlop restart`"));
}

static void explain_service(struct why *w, const struct service *svc, unsigned depth);

static void explain_dependencies(struct why *w, const struct service *svc,
                                 const struct spec_service *wanted, unsigned depth) {
    struct err why;
    if (gate_check(w->d.s, svc, wanted, &why) == GATE_OPEN || depth >= DEPTH_MAX) return;
    for (size_t i = 0; i < wanted->def->n_depends_on; i++) {
        const struct service *d = map_get(&svc->app->services, wanted->def->depends_on[i]->service);
        if (d) explain_service(w, d, depth + 1);
    }
    say(w, describe_printf(&w->d, "%s %s", svc->name, why.text));
    w->healthy = false;
}

static void explain_own(struct why *w, const struct service *svc) {
    Orlop__ServiceStatus *st = describe_service(&w->d, svc, false);
    if (!st) return;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        struct err trouble;
        if (rule_newest(w->d.s, svc, t->slot) != t || !rule_current(t)) continue;
        describe_trouble(&w->d, t, &trouble);
        if (trouble.code && t->status.state != ORLOP__TASK_STATE__PENDING) explain_task(w, t);
        if (trouble.code && t->status.state == ORLOP__TASK_STATE__PENDING &&
            gate_check(w->d.s, svc, t->def, NULL) == GATE_OPEN)
            explain_task(w, t);
    }
    if (st->outdated)
        say(w, describe_printf(&w->d,
                               "%s: %u replicas of an older revision are to be replaced, "
                               "one at a time when all others are ready",
                               svc->name, st->outdated));
    if (!st->settled) w->healthy = false;
    say(w, describe_printf(&w->d, "%s: %u of %u replicas are ready", svc->name, st->ready,
                           st->replicas));
}

static void explain_service(struct why *w, const struct service *svc, unsigned depth) {
    if (map_get(&w->seen, svc->name)) return;
    if (map_set(&w->seen, svc->name, w) < 0) return;
    const struct spec_service *wanted = rule_wanted(svc);
    if (!wanted) {
        w->healthy = false;
        say(w, describe_printf(&w->d, "%s is being removed", svc->name));
        list_each (it, &svc->tasks) {
            const struct task *t = list_entry(it, struct task, service_link);
            if (t->holds) explain_task(w, t);
        }
        return;
    }
    if (wanted->def->replicas) explain_dependencies(w, svc, wanted, depth);
    explain_own(w, svc);
}

static void explain_app(struct why *w, const struct app *a) {
    for (size_t i = 0; i < a->spec->app->n_services; i++) {
        const struct service *svc = map_get(&a->services, a->spec->app->services[i]->name);
        if (svc) explain_service(w, svc, 0);
    }
}

static bool explain(struct why *w, const Orlop__WhyRequest *r) {
    const struct state *s = w->d.s;
    const struct service *svc = *r->app ? state_service(s, r->app, r->subject) : NULL;
    const struct task *t = state_task(s, r->subject);
    const struct app *a = state_app(s, *r->app ? r->app : r->subject);
    if (!t) t = state_task_named(s, r->subject);
    if (svc) {
        explain_service(w, svc, 0);
    } else if (t) {
        const struct spec_service *wanted = rule_wanted(t->service);
        if (t->status.state == ORLOP__TASK_STATE__PENDING && wanted)
            explain_dependencies(w, t->service, wanted, 0);
        explain_task(w, t);
    } else if (a && (!*r->app || !*r->subject)) {
        explain_app(w, a);
    } else {
        return false;
    }
    return true;
}

void api__why(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__WhyRequest *r = (const void *) req;
    struct why w = {.healthy = true, .now_ms = sched_now_ms(s)};
    w.d = (struct describe){.s = &s->state, .acked_idx = agents_acked_idx(s->agents)};
    arena_init(&w.d.arena, DESCRIBE_BUDGET_BYTES);
    if (explain(&w, r)) {
        Orlop__WhyAnswer m = ORLOP__WHY_ANSWER__INIT;
        m.lines = w.lines;
        m.n_lines = w.n;
        m.healthy = w.healthy;
        bus_answer_pb(stream, &m.base);
    } else if (*r->app && !state_app(&s->state, r->app)) {
        bus_fail(stream, -ENOENT, "there is no app %s", r->app);
    } else {
        bus_fail(stream, -ENOENT, "there is no task or service %s%s%s", r->subject,
                 *r->app ? " in app " : "", r->app);
    }
    map_fini(&w.seen);
    arena_fini(&w.d.arena);
}
