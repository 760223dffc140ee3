// SPDX-License-Identifier: Apache-2.0
#include "describe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/plan/gate.h"
#include "scheduler/plan/plan.h"
#include "scheduler/state/rules.h"
#include "scheduler/state/tables.h"

/* So often in a row, and it is told as failed, though it is tried again. */
enum { TRIES_HOPELESS = 2, FAILURES_HOPELESS = 3 };

char *describe_printf(struct describe *d, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return arena_strdup(&d->arena, text);
}

static void *fresh(struct describe *d, const ProtobufCMessageDescriptor *desc) {
    ProtobufCMessage *m = arena_alloc(&d->arena, desc->sizeof_message);
    if (m) protobuf_c_message_init(desc, m);
    return m;
}

/* --- a task ---------------------------------------------------------------------------------- */

static void trouble_of_end(const struct task *t, struct err *ret) {
    const Orlop__TaskStatus *st = &t->status;
    const char *state = gate_state_name(st->state);
    if (st->oom)
        err_say(ret, -EINVAL, "%s: killed because it used more memory than its limit", state);
    else if (*st->reason)
        err_say(ret, -EINVAL, "%s: %s", state, st->reason);
    else if (st->signal)
        err_say(ret, -EINVAL, "%s: ended by signal %d", state, st->signal);
    else if (st->exit_known)
        err_say(ret, -EINVAL, "%s: exit code %d", state, st->exit_code);
    else
        err_say(ret, -EINVAL, "%s: exit code unknown", state);
}

/* Asking once for each spec: ten thousand pending replicas wait for the same. */
static void waiting_of(struct describe *d, const struct task *t, struct err *ret) {
    if (d->waiting_def != t->def) {
        d->waiting = (struct err){0};
        int r = plan_waiting(d->s, t, d->acked_idx, &d->waiting);
        if (r == -ENOMEM) err_set(&d->waiting, r, "look");
        d->waiting_def = r == -EBUSY ? NULL : t->def; /* -EBUSY: of this slot alone */
    }
    *ret = d->waiting;
}

void describe_trouble(struct describe *d, const struct task *t, struct err *ret) {
    const Orlop__TaskStatus *st = &t->status;
    *ret = (struct err){0};
    if (st->state == ORLOP__TASK_STATE__COMPLETE) return;
    if (rule_final(t)) {
        trouble_of_end(t, ret);
    } else if (st->state == ORLOP__TASK_STATE__PENDING) {
        waiting_of(d, t, ret);
    } else if (t->node && !t->node->up) {
        err_say(ret, -EHOSTDOWN, "its node %s is down", t->node->name);
    } else if (st->state == ORLOP__TASK_STATE__RUNNING) {
        if (st->health == ORLOP__HEALTH__HEALTH_UNHEALTHY)
            err_say(ret, -EINVAL, "its health check fails%s%s", *st->health_output ? ": " : "",
                    st->health_output);
        else if (st->health == ORLOP__HEALTH__HEALTH_STARTING)
            err_say(ret, -EAGAIN, "its health check has not succeeded yet%s%s",
                    *st->health_output ? ": " : "", st->health_output);
        else if (st->oom)
            err_say(ret, -ENOMEM, "%s", st->reason);
    } else {
        err_say(ret, -EAGAIN, "%s%s%s", gate_state_name(st->state), *st->reason ? ": " : "",
                st->reason);
    }
}

static const char *command_of(struct describe *d, const Orlop__Service *def) {
    char text[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < def->n_entrypoint + def->n_command && n < sizeof text - 1; i++) {
        const char *w =
            i < def->n_entrypoint ? def->entrypoint[i] : def->command[i - def->n_entrypoint];
        int r = snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", w);
        n += r > 0 ? (size_t) r : 0;
    }
    return arena_strdup(&d->arena, text);
}

static void numbers(Orlop__TaskInfo *out, const struct task *t) {
    out->slot = t->slot;
    out->revision = t->spec->revision;
    out->want = t->want;
    out->created_unix_ms = t->created_ms;
    out->current = rule_current(t);
    out->ports = t->def->def->ports;
    out->n_ports = t->def->def->n_ports;
    out->labels = t->def->def->labels;
    out->n_labels = t->def->def->n_labels;
    out->service_labels = t->def->def->service_labels;
    out->n_service_labels = t->def->def->n_service_labels;
}

Orlop__TaskInfo *describe_task(struct describe *d, const struct task *t) {
    Orlop__TaskInfo *out = fresh(d, &orlop__task_info__descriptor);
    if (!out) return NULL;
    char name[STATE_NAME_MAX];
    out->addresses = arena_alloc(&d->arena, (t->n_addresses + 1) * sizeof(void *));
    out->name = arena_strdup(&d->arena, state_task_name(t, name));
    out->command = (char *) (uintptr_t) command_of(d, t->def->def);
    if (!out->addresses || !out->name || !out->command) return NULL;
    out->task = t->id;
    out->app = t->service->app->name;
    out->service = t->service->name;
    if (t->node) out->node = t->node->name;
    out->status = (Orlop__TaskStatus *) (uintptr_t) &t->status;
    for (size_t i = 0; t->holds && i < t->n_addresses; i++)
        out->addresses[out->n_addresses++] = &t->addresses[i];
    out->image = t->def->def->image;
    out->image_digest = t->def->def->image_digest;
    numbers(out, t);
    if (t->status.state != ORLOP__TASK_STATE__PENDING) return out;
    struct err why;
    describe_trouble(d, t, &why);
    out->waiting = arena_strdup(&d->arena, why.text);
    return out->waiting ? out : NULL;
}

/* --- a service ------------------------------------------------------------------------------- */

struct census {
    uint32_t running, ready, outdated, restarts, under_way;
    const struct task *troubled; /* the one whose trouble says most */
    bool hopeless;
};

/* Its slot is no longer wanted, though it may not have been told yet. */
static bool is_surplus(const struct task *t) {
    return t->slot > rule_replicas(t->service);
}

static bool hopeless(const struct task *t) {
    if (!rule_current(t) || is_surplus(t) || t->want != ORLOP__WANT__WANT_RUN) return false;
    if (t->status.state == ORLOP__TASK_STATE__COMPLETE) return false;
    if (!rule_final(t))
        return t->status.health == ORLOP__HEALTH__HEALTH_UNHEALTHY ||
               t->status.failures >= FAILURES_HOPELESS;
    return !rule_replaceable(t) || t->tries >= TRIES_HOPELESS;
}

static bool is_newest(const struct state *s, const struct task *t) {
    return rule_newest(s, t->service, t->slot) == t;
}

static void count(struct census *c, const struct state *s, const struct task *t) {
    const Orlop__TaskStatus *st = &t->status;
    bool newest = is_newest(s, t);
    if (st->state == ORLOP__TASK_STATE__RUNNING) c->running++;
    if (rule_current(t) && newest) {
        if (rule_ready(t)) c->ready++;
        c->restarts += st->restarts;
    }
    if (!rule_current(t) && !rule_final(t)) c->outdated++;
    if (!rule_final(t) && (t->want != ORLOP__WANT__WANT_RUN || is_surplus(t))) c->under_way++;
    bool fails = newest && hopeless(t);
    c->hopeless |= fails;
    if (newest && !rule_ready(t) && t->want == ORLOP__WANT__WANT_RUN &&
        (!c->troubled || fails || st->health == ORLOP__HEALTH__HEALTH_UNHEALTHY))
        c->troubled = t;
}

static const char *detail_of(struct describe *d, const struct service *svc, struct census *c) {
    struct err why = {0};
    const struct spec_service *wanted = rule_wanted(svc);
    if (wanted && c->ready < wanted->def->replicas) {
        enum gate g = gate_check(d->s, svc, wanted, &why);
        if (g == GATE_NEVER) c->hopeless = true;
        if (g == GATE_OPEN && c->troubled) describe_trouble(d, c->troubled, &why);
        if (why.code == -ENOSPC) c->hopeless = true; /* until somebody makes room */
    }
    if (!why.code && c->outdated)
        err_say(&why, -EAGAIN, "%u replicas of an older revision are replaced one by one",
                c->outdated);
    return arena_strdup(&d->arena, why.text);
}

static bool fill_tasks(struct describe *d, const struct service *svc, Orlop__ServiceStatus *out) {
    size_t n = 0;
    list_each (it, &svc->tasks) n++;
    out->tasks = arena_alloc(&d->arena, (n + 1) * sizeof(void *));
    if (!out->tasks) return false;
    list_each (it, &svc->tasks) {
        Orlop__TaskInfo *info = describe_task(d, list_entry(it, struct task, service_link));
        if (!info) return false;
        out->tasks[out->n_tasks++] = info;
    }
    return true;
}

Orlop__ServiceStatus *describe_service(struct describe *d, const struct service *svc, bool tasks) {
    Orlop__ServiceStatus *out = fresh(d, &orlop__service_status__descriptor);
    if (!out) return NULL;
    struct census c = {0};
    list_each (it, &svc->tasks) count(&c, d->s, list_entry(it, struct task, service_link));
    const struct spec_service *wanted = rule_wanted(svc);
    out->service = svc->name;
    out->replicas = rule_replicas(svc);
    out->running = c.running;
    out->ready = c.ready;
    out->outdated = c.outdated;
    out->restarts = c.restarts;
    out->detail = (char *) (uintptr_t) detail_of(d, svc, &c);
    out->failed = c.hopeless;
    out->settled = c.ready == out->replicas && !c.outdated && !c.under_way;
    out->oneshot_done = wanted && state__has_fact(svc, wanted->hash);
    if (wanted) {
        out->ports = wanted->def->ports;
        out->n_ports = wanted->def->n_ports;
    }
    if (!out->detail || (tasks && !fill_tasks(d, svc, out))) return NULL;
    return out;
}

/* --- an app ---------------------------------------------------------------------------------- */

const char *describe_app_state(struct describe *d, const struct app *a) {
    if (a->removing) return "removing";
    bool settled = true;
    void *value;
    for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
        const Orlop__ServiceStatus *st = describe_service(d, value, false);
        if (!st) return "unknown";
        if (st->failed) return "degraded";
        settled &= st->settled;
    }
    return settled ? "running" : "deploying";
}
