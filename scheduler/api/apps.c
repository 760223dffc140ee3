// SPDX-License-Identifier: Apache-2.0
/* Apps: writes go to the log, reads come from the state. */
#include <errno.h>

#include "api.h"
#include "describe.h"
#include "proto/check.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/agents.h"
#include "scheduler/state/rules.h"

void api__app_apply(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__AppApplyRequest *r = (const void *) req;
    struct err err = {0};
    /* Apply checks again; here so that what can never be right does not get into the log. */
    int e = r->app ? check_app(r->app, &err) : err_say(&err, -EINVAL, "the request has no app");
    if (e < 0)
        bus_fail(stream, e, "%s", err.text);
    else
        api__write(s, stream, ORLOP__ENTRY__WHAT_APP_APPLY, req, r->request);
}

void api__app_remove(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__AppRemoveRequest *r = (const void *) req;
    api__write(s, stream, ORLOP__ENTRY__WHAT_APP_REMOVE, req, r->request);
}

void api__app_scale(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__AppScaleRequest *r = (const void *) req;
    api__write(s, stream, ORLOP__ENTRY__WHAT_APP_SCALE, req, r->request);
}

void api__app_restart(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__AppRestartRequest *r = (const void *) req;
    api__write(s, stream, ORLOP__ENTRY__WHAT_APP_RESTART, req, r->request);
}

static void describe_init(struct describe *d, const struct sched *s) {
    *d = (struct describe){.s = &s->state, .acked_idx = agents_acked_idx(s->agents)};
    arena_init(&d->arena, DESCRIBE_BUDGET_BYTES);
}

static void no_memory(struct bus_stream *stream) {
    bus_fail(stream, -ENOMEM, "no memory for the answer");
}

/* --- list ------------------------------------------------------------------------------------ */

static Orlop__AppSummary *summary(struct describe *d, const struct app *a) {
    Orlop__AppSummary *m = arena_alloc(&d->arena, sizeof *m);
    if (!m) return NULL;
    orlop__app_summary__init(m);
    m->name = a->name;
    m->revision = a->spec->revision;
    m->services = (uint32_t) a->spec->app->n_services;
    m->updated_unix_ms = a->updated_ms;
    m->state = (char *) (uintptr_t) describe_app_state(d, a);
    void *value;
    for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
        const struct service *svc = value;
        m->tasks_wanted += rule_replicas(svc);
        list_each (it, &svc->tasks) {
            const struct task *t = list_entry(it, struct task, service_link);
            if (t->status.state == ORLOP__TASK_STATE__RUNNING) m->tasks_running++;
        }
    }
    return m;
}

void api__app_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    (void) req;
    struct describe d;
    describe_init(&d, s);
    Orlop__AppListAnswer m = ORLOP__APP_LIST_ANSWER__INIT;
    m.apps = arena_alloc(&d.arena, (map_len(&s->state.apps) + 1) * sizeof(void *));
    bool ok = m.apps != NULL;
    void *value;
    for (size_t i = 0; ok && map_next(&s->state.apps, &i, NULL, &value);) {
        Orlop__AppSummary *one = summary(&d, value);
        ok = one != NULL;
        m.apps[m.n_apps++] = one;
    }
    if (ok)
        bus_answer_pb(stream, &m.base);
    else
        no_memory(stream);
    arena_fini(&d.arena);
}

/* --- status ---------------------------------------------------------------------------------- */

/* A deleted app is still there for people until every node has taken down its networks. */
static bool still_on_nodes(const struct sched *s, const char *app) {
    uint64_t deleted = sched_deleted_idx(s, app);
    return deleted && agents_acked_idx(s->agents) < deleted;
}

static bool fill_services(struct describe *d, const struct app *a, Orlop__AppStatusAnswer *m) {
    m->services = arena_alloc(&d->arena, (map_len(&a->services) + 1) * sizeof(void *));
    if (!m->services) return false;
    /* In the manifest's order, then what is on its way out. */
    for (size_t i = 0; i < a->spec->app->n_services; i++) {
        const struct service *svc = map_get(&a->services, a->spec->app->services[i]->name);
        if (!svc || svc->removed) continue;
        m->services[m->n_services] = describe_service(d, svc, true);
        if (!m->services[m->n_services++]) return false;
    }
    void *value;
    for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
        const struct service *svc = value;
        if (!svc->removed) continue;
        m->services[m->n_services] = describe_service(d, svc, true);
        if (!m->services[m->n_services++]) return false;
    }
    return true;
}

void api__app_status(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__AppStatusRequest *r = (const void *) req;
    struct describe d;
    describe_init(&d, s);
    Orlop__Version v = ORLOP__VERSION__INIT;
    Orlop__AppStatusAnswer m = ORLOP__APP_STATUS_ANSWER__INIT;
    v.inc = s->state.inc;
    v.idx = s->state.applied_idx;
    m.version = &v;
    m.app = r->app;
    const struct app *a = state_app(&s->state, r->app);
    m.exists = a != NULL;
    m.revision = a ? a->spec->revision : 0;
    m.removing = a && a->removing;
    if (!a && still_on_nodes(s, r->app)) m.exists = m.removing = true;
    if (!a || fill_services(&d, a, &m))
        bus_answer_pb(stream, &m.base);
    else
        no_memory(stream);
    arena_fini(&d.arena);
}

void api__app_spec(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__AppSpecRequest *r = (const void *) req;
    const struct app *a = state_app(&s->state, r->app);
    if (!a) {
        bus_fail(stream, -ENOENT, "there is no app %s", r->app);
        return;
    }
    const struct spec *p = !r->revision || r->revision == a->spec->revision ? a->spec : NULL;
    for (size_t i = 0; !p && i < a->n_history; i++)
        if (a->history[i]->revision == r->revision) p = a->history[i];
    if (!p) {
        bus_fail(stream, -ENOENT, "revision %lu of app %s is not kept any more",
                 (unsigned long) r->revision, a->name);
        return;
    }
    Orlop__AppSpecAnswer m = ORLOP__APP_SPEC_ANSWER__INIT;
    m.app = p->app;
    m.revision = p->revision;
    bus_answer_pb(stream, &m.base);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static bool is_named(const struct task *t, char *const *names, size_t n) {
    char name[STATE_NAME_MAX];
    state_task_name(t, name);
    for (size_t i = 0; i < n; i++)
        if (str_eq(names[i], t->service->name) || str_eq(names[i], name) || str_eq(names[i], t->id))
            return true;
    return n == 0;
}

static bool listed(const Orlop__TaskListRequest *r, const struct task *t) {
    if (*r->app && !str_eq(r->app, t->service->app->name)) return false;
    return is_named(t, r->services, r->n_services) && (r->all || !rule_final(t));
}

static bool means_something(const struct state *s, const char *app, const char *name) {
    if (state_task_named(s, name) || state_task(s, name)) return true;
    if (*app) return state_service(s, app, name) != NULL;
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);)
        if (state_service(s, ((const struct app *) value)->name, name)) return true;
    return false;
}

bool api__names_known(struct sched *s, struct bus_stream *stream, const char *app,
                      char *const *names, size_t n) {
    if (n && *app && !state_app(&s->state, app)) {
        bus_fail(stream, -ENOENT, "there is no app %s", app);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (means_something(&s->state, app, names[i])) continue;
        bus_fail(stream, -ENOENT, "there is no service %s%s%s", names[i], *app ? " in app " : "",
                 app);
        return false;
    }
    return true;
}

void api__task_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__TaskListRequest *r = (const void *) req;
    if (!api__names_known(s, stream, r->app, r->services, r->n_services)) return;
    struct describe d;
    describe_init(&d, s);
    Orlop__TaskListAnswer m = ORLOP__TASK_LIST_ANSWER__INIT;
    m.tasks = arena_alloc(&d.arena, (map_len(&s->state.tasks) + 1) * sizeof(void *));
    bool ok = m.tasks != NULL;
    void *value;
    for (size_t i = 0; ok && map_next(&s->state.tasks, &i, NULL, &value);) {
        if (!listed(r, value)) continue;
        m.tasks[m.n_tasks] = describe_task(&d, value);
        ok = m.tasks[m.n_tasks++] != NULL;
    }
    if (ok)
        bus_answer_pb(stream, &m.base);
    else
        no_memory(stream);
    arena_fini(&d.arena);
}

void api__task_inspect(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__TaskInspectRequest *r = (const void *) req;
    const struct task *t = state_task(&s->state, r->task);
    if (!t) t = state_task_named(&s->state, r->task);
    if (!t) {
        bus_fail(stream, -ENOENT, "there is no task %s", r->task);
        return;
    }
    struct describe d;
    describe_init(&d, s);
    Orlop__TaskInspectAnswer m = ORLOP__TASK_INSPECT_ANSWER__INIT;
    m.info = describe_task(&d, t);
    m.spec = (Orlop__Service *) (uintptr_t) t->def->def;
    if (m.info)
        bus_answer_pb(stream, &m.base);
    else
        no_memory(stream);
    arena_fini(&d.arena);
}
