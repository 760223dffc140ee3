// SPDX-License-Identifier: Apache-2.0
#include "events.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/plan/gate.h"

struct event {
    const char *kind;
    int64_t time_ms;
    uint64_t idx;
    char app[64], service[64], task[64], name[STATE_NAME_MAX], text[EVENTS_TEXT_MAX];
};

struct events {
    uint64_t next;
    struct event ring[EVENTS_MAX];
};

int events_new(struct events **ret) {
    struct events *e = mem_zalloc(sizeof *e);
    if (!e) return -ENOMEM;
    *ret = e;
    return 0;
}

void events_free(struct events *e) {
    mem_free(e);
}

uint64_t events_next(const struct events *e) {
    return e->next;
}

static const char *state_kind(Orlop__TaskState s) {
    static const char *const kinds[] = {
        "task.unknown",  "task.pending",  "task.assigned", "task.preparing",
        "task.starting", "task.running",  "task.stopping", "task.complete",
        "task.failed",   "task.shutdown", "task.rejected", "task.orphaned",
    };
    return (size_t) s < array_len(kinds) ? kinds[s] : kinds[0];
}

const char *events_kind(const struct change *c) {
    static const char *const kinds[] = {
        [CHANGE_APP_APPLIED] = "app.applied",
        [CHANGE_APP_SCALED] = "app.scaled",
        [CHANGE_APP_RESTARTED] = "app.restarted",
        [CHANGE_APP_REMOVING] = "app.removing",
        [CHANGE_APP_DELETED] = "app.deleted",
        [CHANGE_TASK_CREATED] = "task.created",
        [CHANGE_TASK_ASSIGNED] = "task.assigned",
        [CHANGE_TASK_DRAINING] = "task.draining",
        [CHANGE_TASK_STOPPING] = "task.stop",
        [CHANGE_TASK_RESTARTED] = "task.restarted",
        [CHANGE_TASK_OOM] = "task.oom",
        [CHANGE_TASK_GONE] = "task.gone",
        [CHANGE_TASK_DELETED] = "task.deleted",
        [CHANGE_FACT] = "service.completed",
        [CHANGE_NODE_REGISTERED] = "node.registered",
        [CHANGE_NODE_SYNCED] = "node.synced",
        [CHANGE_NODE_UP] = "node.up",
        [CHANGE_NODE_DOWN] = "node.down",
        [CHANGE_LEADER] = "scheduler.leader",
    };
    if (c->kind == CHANGE_TASK_STATE) return state_kind(c->task->status.state);
    if (c->kind == CHANGE_TASK_HEALTH)
        return c->task->status.health == ORLOP__HEALTH__HEALTH_HEALTHY     ? "task.healthy"
               : c->task->status.health == ORLOP__HEALTH__HEALTH_UNHEALTHY ? "task.unhealthy"
                                                                           : "task.health_starting";
    return (size_t) c->kind < array_len(kinds) && kinds[c->kind] ? kinds[c->kind] : "unknown";
}

static void write_text(struct event *e, const struct change *c) {
    const Orlop__TaskStatus *st = c->task ? &c->task->status : NULL;
    if (c->text && *c->text)
        snprintf(e->text, sizeof e->text, "%s", c->text);
    else if (c->kind == CHANGE_APP_APPLIED || c->kind == CHANGE_APP_SCALED)
        snprintf(e->text, sizeof e->text, "revision %lu", (unsigned long) c->app->spec->revision);
    else if (c->kind == CHANGE_TASK_ASSIGNED && c->node)
        snprintf(e->text, sizeof e->text, "to node %s", c->node->name);
    else if (c->kind == CHANGE_TASK_STATE && st->oom)
        snprintf(e->text, sizeof e->text, "killed: out of memory");
    else if (c->kind == CHANGE_TASK_STATE && st->state == ORLOP__TASK_STATE__FAILED &&
             st->exit_known)
        snprintf(e->text, sizeof e->text, "exit code %d", st->exit_code);
}

void events_note(struct events *e, const struct change *c) {
    struct event *ev = &e->ring[e->next++ % EVENTS_MAX];
    *ev = (struct event){.kind = events_kind(c), .time_ms = c->time_ms, .idx = c->idx};
    const struct service *svc = c->service ? c->service : c->task ? c->task->service : NULL;
    if (c->app) snprintf(ev->app, sizeof ev->app, "%s", c->app->name);
    if (svc) snprintf(ev->service, sizeof ev->service, "%s", svc->name);
    if (c->task) {
        snprintf(ev->task, sizeof ev->task, "%s", c->task->id);
        state_task_name(c->task, ev->name);
    } else if (c->node) {
        snprintf(ev->name, sizeof ev->name, "%s", c->node->name);
    }
    write_text(ev, c);
}

bool events_get(const struct events *e, uint64_t number, Orlop__Event *out) {
    if (number >= e->next || number + EVENTS_MAX < e->next) return false;
    const struct event *ev = &e->ring[number % EVENTS_MAX];
    orlop__event__init(out);
    out->time_unix_ms = ev->time_ms;
    out->kind = (char *) (uintptr_t) ev->kind;
    out->app = (char *) (uintptr_t) ev->app;
    out->service = (char *) (uintptr_t) ev->service;
    out->task = (char *) (uintptr_t) ev->task;
    out->name = (char *) (uintptr_t) ev->name;
    out->text = (char *) (uintptr_t) ev->text;
    out->idx = ev->idx;
    return true;
}
