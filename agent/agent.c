// SPDX-License-Identifier: Apache-2.0
/* Events come from callbacks of the loop. They are queued as copies and handed to the reconciler
 * one by one; what its actions cause at once is queued behind. So rec_step is never entered twice.
 */
#include "agent/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/relink.h"
#include "agent/session.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/container/cgroup.h"

struct event {
    struct list node;
    struct rec_event ev;
    char task[TASK_ID_MAX], phase[64], text[ERR_TEXT_MAX];
    struct rec_entry *list;
    char (*names)[TASK_ID_MAX];
};

_Noreturn void agent_fatal(const struct agent *a, const char *what, int code) {
    (void) a;
    log_error("agent.fatal", "what=\"%s\" err=\"%s\" next=\"the next agent goes on\"", what,
              err_text(code));
    _Exit(EXIT_FAILURE);
}

/* ---- the queue ---- */

static void event_free(struct event *e) {
    mem_free(e->list);
    mem_free(e->names);
    mem_free(e);
}

static struct event *event_copy(const struct rec_event *ev) {
    struct event *e = mem_zalloc(sizeof *e);
    if (!e) return NULL;
    e->ev = *ev;
    if (ev->task) {
        snprintf(e->task, sizeof e->task, "%s", ev->task);
        e->ev.task = e->task;
    }
    snprintf(e->phase, sizeof e->phase, "%s", ev->phase ? ev->phase : "");
    snprintf(e->text, sizeof e->text, "%s", ev->text ? ev->text : "");
    e->ev.phase = e->phase;
    e->ev.text = e->text;
    if (!ev->n_list) return e;
    e->list = mem_dup(ev->list, ev->n_list * sizeof *e->list);
    e->names = mem_array(ev->n_list, sizeof *e->names);
    if (!e->list || !e->names) {
        event_free(e);
        return NULL;
    }
    for (size_t i = 0; i < ev->n_list; i++) {
        snprintf(e->names[i], sizeof e->names[i], "%s", ev->list[i].task);
        e->list[i].task = e->names[i];
    }
    e->ev.list = e->list;
    return e;
}

static void on_tick(uv_timer_t *t) {
    struct agent *a = container_of(t, struct agent, tick);
    agent_event(a, &(struct rec_event){.kind = REC_EV_TICK});
}

static void set_tick(struct agent *a) {
    int64_t next = rec_next_ms(&a->rec), now = clock_mono_ms();
    if (next == INT64_MAX) {
        uv_timer_stop(&a->tick);
        return;
    }
    uv_update_time(a->loop);
    uv_timer_start(&a->tick, on_tick, next > now ? (uint64_t) (next - now) : 1, 0);
}

static void step(struct agent *a, struct event *e) {
    e->ev.now_ms = clock_mono_ms();
    int r = rec_step(&a->rec, &e->ev, &a->actions);
    if (r < 0) agent_fatal(a, "no memory to decide what to do", r);
    for (size_t i = 0; i < a->actions.n; i++) actions_perform(a, &a->actions.v[i]);
}

void agent_event(struct agent *a, const struct rec_event *ev) {
    struct event *e = event_copy(ev);
    if (!e) agent_fatal(a, "no memory for an event", -ENOMEM);
    list_add_tail(&a->events, &e->node);
    if (a->stepping) return;
    a->stepping = true;
    while (!list_empty(&a->events)) {
        e = list_entry(a->events.next, struct event, node);
        list_del(&e->node);
        step(a, e);
        event_free(e);
    }
    a->stepping = false;
    actions_remove_volumes(a);
    set_tick(a);
    asession_look(a->session);
    agent_check_stop(a);
}

void agent_task_event(struct agent *a, enum rec_event_kind kind, const char *task) {
    agent_event(a, &(struct rec_event){.kind = kind, .task = task});
}

/* ---- shell tasks ---- */

struct agent_task *agent_task(struct agent *a, const char *id) {
    struct agent_task *t = map_get(&a->tasks, id);
    if (t) return t;
    t = mem_zalloc(sizeof *t);
    if (!t || map_set(&a->tasks, id, t) < 0) agent_fatal(a, "no memory for a task", -ENOMEM);
    snprintf(t->id, sizeof t->id, "%s", id);
    return t;
}

void agent_task_drop(struct agent *a, const char *id) {
    struct agent_task *t = map_del(&a->tasks, id);
    if (!t) return;
    prepared_free(t->prepared);
    mem_free(t);
}

/* ---- the keeper's messages ---- */

static bool killed_by_oom(const struct agent *a, const Orlop__SandboxEntry *e) {
    char name[TASK_SANDBOX_MAX];
    struct cgroup_usage usage;
    task_sandbox_name(e->task, e->boot, e->attempt, name);
    return cgroup_read_usage(a->paths.cgroup, name, &usage) == 0 && usage.oom_kills > 0;
}

static struct rec_entry to_entry(const struct agent *a, const Orlop__SandboxEntry *e) {
    struct rec_entry r = {.task = e->task,
                          .boot = e->boot,
                          .attempt = e->attempt,
                          .pid = e->pid,
                          .ended = e->ended,
                          .closed = e->closed,
                          .exit_known = e->exit_known,
                          .never_ran = e->never_ran,
                          .wait_status = e->wait_status,
                          .started_unix_ms = e->started_unix_ns / 1000000,
                          .ended_unix_ms = e->ended_unix_ns / 1000000};
    /* A clean end is none by OOM, whatever happened to children of it. */
    r.oom = e->ended && e->exit_known && e->wait_status != 0 && killed_by_oom(a, e);
    return r;
}

static void on_listed(void *ctx, Orlop__SandboxEntry *const *entries, size_t n) {
    struct agent *a = ctx;
    struct rec_entry *list = mem_array(n + 1, sizeof *list);
    if (!list) agent_fatal(a, "no memory for the keeper's list", -ENOMEM);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (strlen(entries[i]->task) < TASK_ID_MAX) list[k++] = to_entry(a, entries[i]);
    log_info("keeper.listed", "sandboxes=%zu", k);
    agent_event(a, &(struct rec_event){.kind = REC_EV_LISTED, .list = list, .n_list = k});
    mem_free(list);
    actions_sweep(a);
    relink_look(a); /* deleted while no agent was there */
}

static void on_lost(void *ctx, const struct err *why) {
    log_warn("keeper.lost", "err=\"%s\" next=\"connecting again\"", why->text);
    agent_event(ctx, &(struct rec_event){.kind = REC_EV_KEEPER_LOST});
}

static void on_started(void *ctx, const Orlop__SandboxEntry *m) {
    struct agent *a = ctx;
    struct rec_entry e = to_entry(a, m);
    agent_event(a, &(struct rec_event){.kind = REC_EV_STARTED,
                                       .task = e.task,
                                       .boot = e.boot,
                                       .attempt = e.attempt,
                                       .list = &e,
                                       .n_list = 1});
    if (e.ended) /* a repeated start of what has ended meanwhile */
        agent_event(
            a, &(struct rec_event){.kind = REC_EV_EXITED, .task = e.task, .list = &e, .n_list = 1});
}

static void on_start_failed(void *ctx, const char *task, uint32_t attempt,
                            const Orlop__KeeperFailure *f) {
    struct agent *a = ctx;
    agent_event(a, &(struct rec_event){.kind = REC_EV_START_FAILED,
                                       .task = task,
                                       .attempt = attempt,
                                       .error = f->error > 0 ? -f->error : -EIO,
                                       .phase = f->phase,
                                       .text = f->text});
}

static void on_exited(void *ctx, const Orlop__SandboxEntry *m) {
    struct agent *a = ctx;
    struct rec_entry e = to_entry(a, m);
    agent_event(
        a, &(struct rec_event){.kind = REC_EV_EXITED, .task = e.task, .list = &e, .n_list = 1});
}

static void on_closed(void *ctx, const char *task) {
    agent_task_event(ctx, REC_EV_CLOSED, task);
}

const struct klink_ops agent_klink_ops = {
    .listed = on_listed,
    .lost = on_lost,
    .started = on_started,
    .start_failed = on_start_failed,
    .exited = on_exited,
    .closed = on_closed,
};

/* ---- */

static void trace(void *ctx, const struct task *t, const char *from, const char *to,
                  const char *why) {
    (void) ctx;
    char name[SPEC_NAME_MAX] = "";
    if (t->st) spec_task_name(t->st->spec, name);
    log_info("task.state",
             "task=%s name=%s boot=%llu attempt=%u from=%s to=%s why=\"%s\" reason=\"%s\"", t->id,
             name, (unsigned long long) t->boot, t->attempt, from, to, why, t->reason);
}

void agent_init_core(struct agent *a) {
    list_init(&a->events);
    uv_timer_init(a->loop, &a->tick);
    struct rec_input in = {.tasks = astore_tasks(a->store),
                           .services = astore_services(a->store),
                           .facts = astore_facts(a->store),
                           .boot = astore_info(a->store)->boot};
    rec_init(&a->rec, &in, trace, a);
}

void agent_fini_core(struct agent *a) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&a->tasks, &i, &key, &value);) {
        prepared_free(((struct agent_task *) value)->prepared);
        mem_free(value);
    }
    map_fini(&a->tasks);
    rec_fini(&a->rec);
    rec_actions_fini(&a->actions);
    strv_fini(&a->volumes_going);
}
