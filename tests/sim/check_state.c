// SPDX-License-Identifier: Apache-2.0
/* The log: every entry on disk is applied to `check_truth` too, and judged there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/sched.h" /* before check.h */

#include "check.h"
#include "runtime/base/mem.h"
#include "scheduler/plan/plan.h"
#include "scheduler/state/apply.h"
#include "scheduler/state/rules.h"
#include "scheduler/state/snapshot.h"
#include "sim.h"
#include "tests/lib/invariants.h"

struct check_world check;
struct state check_truth;

struct check_task *check_task(const char *id) {
    return map_get(&check.tasks, id);
}

struct check_service *check_service(uint64_t id) {
    char key[24];
    snprintf(key, sizeof key, "%llu", (unsigned long long) id);
    struct check_service *s = map_get(&check.services, key);
    if (s) return s;
    s = mem_zalloc(sizeof *s);
    ensure(map_set(&check.services, key, s) == 0);
    return s;
}

/* --- tasks ----------------------------------------------------------------------------------- */

static void created(const struct change *c) {
    const struct service *svc = c->service;
    uint32_t total = 0;
    check.created++;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        total += t->want == ORLOP__WANT__WANT_RUN && !rule_final(t);
    }
    if (total > rule_replicas(svc))
        sim_violated("I22", "task %s created: %u of %u replicas of %s", c->task->id, total,
                     rule_replicas(svc), svc->name);
    struct check_task *t = mem_zalloc(sizeof *t);
    if (check_task(c->task->id)) sim_violated("I13", "task id %s is used again", c->task->id);
    snprintf(t->id, sizeof t->id, "%s", c->task->id);
    snprintf(t->app, sizeof t->app, "%s", c->app->name);
    snprintf(t->service, sizeof t->service, "%s", svc->name);
    snprintf(t->hash, sizeof t->hash, "%s", c->task->def->hash);
    t->service_id = svc->id;
    t->generation = c->task->generation;
    t->slot = c->task->slot;
    ensure(map_set(&check.tasks, t->id, t) == 0);
}

static const char *address_key(uint32_t network, uint32_t address, char key[static 24]) {
    snprintf(key, 24, "%x/%x", network, address);
    return key;
}

static void assigned(const struct change *c) {
    struct check_task *t = check_task(c->task->id);
    t->assigned_idx = c->task->assigned_idx;
    char key[24];
    for (size_t i = 0; i < c->task->n_addresses && i < array_len(t->addresses); i++) {
        t->addresses[t->n_addresses++] = c->task->addresses[i].address;
        uintptr_t at = (uintptr_t) map_get(
            &check.rests, address_key(c->task->addresses[i].network, t->addresses[i], key));
        if (at && c->time_ms - (int64_t) at < STATE_REST_MS)
            sim_violated("I18", "task %s has an address that rests since %lld ms", t->id,
                         (long long) (c->time_ms - (int64_t) at));
    }
}

/* Replicas beside T that serve; T itself did when it was told to drain. */
static void draining(const struct change *c) {
    const struct task *t = c->task;
    uint32_t replicas = rule_replicas(c->service), ready = 0;
    bool served = t->node && t->node->up && (t->status.state == ORLOP__TASK_STATE__RUNNING) &&
                  t->status.health != ORLOP__HEALTH__HEALTH_STARTING &&
                  t->status.health != ORLOP__HEALTH__HEALTH_UNHEALTHY;
    if (!served || t->slot > replicas) return;
    list_each (it, &c->service->tasks) {
        const struct task *o = list_entry(it, struct task, service_link);
        ready += o != t && o->slot <= replicas && rule_ready(o);
    }
    if (ready + 1 < replicas)
        sim_violated("I22", "task %s drained: %u of %u replicas of %s are left", t->id, ready,
                     replicas, c->service->name);
}

static void state_changed(const struct change *c) {
    struct check_task *t = check_task(c->task->id);
    int state = (int) c->task->status.state;
    if (t->final && state != t->state)
        sim_violated("I8", "final task %s goes from %d to %d", t->id, t->state, state);
    if (!rule_final(c->task)) return;
    t->final = true;
    t->state = state;
    t->orphaned = state == ORLOP__TASK_STATE__ORPHANED;
    t->lost = c->task->lost;
    if (t->lost && sim_sandbox_lives(t->id))
        sim_violated("I9", "task %s is called lost and lives", t->id);
    if (state == ORLOP__TASK_STATE__COMPLETE) check_service(t->service_id)->completed = true;
}

static void gone(const struct change *c) {
    struct check_task *t = check_task(c->task->id);
    t->gone = true;
    if (sim_sandbox_lives(t->id))
        sim_violated("I17", "what task %s holds is released and it lives", t->id);
    char key[24];
    for (size_t i = 0; i < c->task->n_addresses; i++)
        ensure(
            map_set(&check.rests,
                    address_key(c->task->addresses[i].network, c->task->addresses[i].address, key),
                    (void *) (uintptr_t) c->time_ms) == 0);
}

/* --- the observer ---------------------------------------------------------------------------- */

static const char *kind_text(enum change_kind k) {
    static const char *const names[] = {
        "?",         "applied",  "scaled",   "restarted", "removing",   "deleted",
        "created",   "assigned", "draining", "stop",      "state",      "health",
        "restarted", "gone",     "deleted",  "fact",      "registered", "synced",
        "up",        "down",     "leader",   "oom",
    };
    return names[k];
}

static const char *state_text(const struct change *c) {
    static const char *const names[] = {"?",        "pending",   "assigned", "preparing",
                                        "starting", "running",   "stopping", "complete",
                                        "failed",   "shut down", "rejected", "orphaned"};
    if (c->kind == CHANGE_TASK_STATE || c->kind == CHANGE_TASK_RESTARTED)
        return names[c->task->status.state];
    return c->kind == CHANGE_TASK_STOPPING && c->task->forced ? "forced" : "";
}

static void tell(const struct change *c) {
    char name[STATE_NAME_MAX] = "the scheduler";
    if (c->task)
        state_task_name(c->task, name);
    else if (c->node)
        snprintf(name, sizeof name, "node %s", c->node->name);
    else if (c->app)
        snprintf(name, sizeof name, "%s", c->app->name);
    const char *more = state_text(c);
    sim_say("log: %s%s%s %s%s%s", name, c->task ? " " : "", c->task ? c->task->id : "",
            kind_text(c->kind), *more ? " " : "", more);
}

static void on_change(void *ctx, const struct change *c) {
    (void) ctx;
    tell(c);
    switch (c->kind) {
    case CHANGE_TASK_CREATED:
        created(c);
        return;
    case CHANGE_TASK_ASSIGNED:
        assigned(c);
        return;
    case CHANGE_TASK_DRAINING:
        draining(c);
        return;
    case CHANGE_TASK_STATE:
        state_changed(c);
        return;
    case CHANGE_TASK_HEALTH:
        if (c->task->status.health == ORLOP__HEALTH__HEALTH_HEALTHY)
            check_service(c->service->id)->healthy = true;
        return;
    case CHANGE_TASK_GONE:
        gone(c);
        return;
    case CHANGE_FACT:
        check_service(c->service->id)->completed = true;
        return;
    case CHANGE_LEADER:
        check.leader_us = sim.now_us;
        return;
    case CHANGE_NODE_DOWN:
        if (sim.now_us - check.leader_us < 5000000)
            sim_violated("I16", "a node is down %lld us after the leader's start",
                         (long long) (sim.now_us - check.leader_us));
        return;
    default:
        return;
    }
}

/* --- after an entry -------------------------------------------------------------------------- */

/* An end is the top, whatever the attempt. */
static bool lower(const struct check_task *old, const Orlop__TaskStatus *now) {
    if (rule_state_is_final(now->state)) return false;
    if (rule_state_is_final((Orlop__TaskState) old->state)) return true;
    if (now->boot != old->boot) return now->boot < old->boot;
    if (now->attempt != old->attempt) return now->attempt < old->attempt;
    return (int) now->state < old->state;
}

static void statuses_rise(void) {
    void *value;
    for (size_t i = 0; map_next(&check_truth.tasks, &i, NULL, &value);) {
        const struct task *t = value;
        struct check_task *c = check_task(t->id);
        if (lower(c, &t->status))
            sim_violated("I8", "status of %s falls from %llu.%u %d to %llu.%u %d", t->id,
                         (unsigned long long) c->boot, c->attempt, c->state,
                         (unsigned long long) t->status.boot, t->status.attempt,
                         (int) t->status.state);
        c->boot = t->status.boot;
        c->attempt = t->status.attempt;
        c->state = (int) t->status.state;
        if (t->status.state == ORLOP__TASK_STATE__RUNNING &&
            t->status.health == ORLOP__HEALTH__HEALTH_HEALTHY)
            check_service(t->service->id)->healthy = true;
    }
}

static void note_idle(void) {
    void *app, *svc;
    for (size_t i = 0; map_next(&check_truth.apps, &i, NULL, &app);)
        for (size_t k = 0; map_next(&((struct app *) app)->services, &k, NULL, &svc);)
            if (rule_replicas(svc) == 0) check_service(((struct service *) svc)->id)->idle = true;
}

/* --- clients --------------------------------------------------------------------------------- */

static const Orlop__RequestId *request_of(const Orlop__Entry *e) {
    switch (e->what_case) {
    case ORLOP__ENTRY__WHAT_APP_APPLY:
        return e->app_apply->request;
    case ORLOP__ENTRY__WHAT_APP_REMOVE:
        return e->app_remove->request;
    case ORLOP__ENTRY__WHAT_APP_SCALE:
        return e->app_scale->request;
    case ORLOP__ENTRY__WHAT_APP_RESTART:
        return e->app_restart->request;
    default:
        return NULL;
    }
}

static const char *write_key(const uint8_t *client, uint64_t number, char key[static 32]) {
    snprintf(key, 32, "%u/%llu", client[0], (unsigned long long) number);
    return key;
}

/* BEFORE: the client's last number when the entry came. */
static void written(const Orlop__RequestId *id, uint64_t before, uint64_t generations) {
    char key[32];
    const struct client *c = state_client(&check_truth, id->client.data);
    write_key(id->client.data, id->number, key);
    uint64_t known = (uint64_t) (uintptr_t) map_get(&check.accepted, key);
    if (known && generations)
        sim_violated("I28", "write %s of idx %llu is done again", key, (unsigned long long) known);
    if (!c || c->number != id->number || before == id->number) return;
    if (map_get(&check.refused, key))
        sim_violated("I28", "write %s is done, and was told to have failed", key);
    ensure(map_set(&check.accepted, key, (void *) (uintptr_t) check_truth.applied_idx) == 0);
}

static uint64_t changes_of_clients;

void check_answered(const uint8_t client[static 16], uint64_t number, const struct err *err) {
    char key[32];
    write_key(client, number, key);
    uint64_t idx = (uint64_t) (uintptr_t) map_get(&check.accepted, key);
    if (err->code == -ENOSPC) {
        if (idx) sim_violated("I28", "write %s is told to have failed, and is done", key);
        ensure(map_set(&check.refused, key, &check) == 0);
    } else if (!idx) {
        sim_violated("I28", "write %s is answered (%d %s) and not in the log", key, err->code,
                     err->text);
    }
}

/* --- entries --------------------------------------------------------------------------------- */

static Orlop__EntryBatch *decode(struct arena *a, const uint8_t *data, size_t len) {
    arena_init(a, 64 << 20);
    Orlop__EntryBatch *b = arena_unpack(a, &orlop__entry_batch__descriptor, data, len);
    ensure(b);
    return b;
}

static unsigned downs_in(const Orlop__EntryBatch *b) {
    unsigned n = 0;
    for (size_t i = 0; i < b->n_entries; i++)
        n += b->entries[i]->what_case == ORLOP__ENTRY__WHAT_NODE_DOWN;
    return n;
}

static void count_downs(const uint8_t *data, size_t len, int by) {
    enum sim_role was = sim_as(SIM_WORLD);
    struct arena a;
    check.downs_open += (unsigned) ((int) downs_in(decode(&a, data, len)) * by);
    arena_fini(&a);
    sim_as(was);
}

void check_proposed(const uint8_t *data, size_t len) {
    count_downs(data, len, 1);
}

void check_refused(const uint8_t *data, size_t len) {
    count_downs(data, len, -1);
}

static void observe_changes(void *ctx, const struct change *c) {
    bool of_client = c->kind >= CHANGE_APP_APPLIED && c->kind <= CHANGE_APP_REMOVING;
    changes_of_clients += of_client;
    on_change(ctx, c);
}

void check_committed(uint64_t idx, const uint8_t *data, size_t len) {
    struct arena a;
    const Orlop__EntryBatch *b = decode(&a, data, len);
    const Orlop__RequestId *id = b->n_entries == 1 ? request_of(b->entries[0]) : NULL;
    const struct client *c = id ? state_client(&check_truth, id->client.data) : NULL;
    uint64_t before = c ? c->number : 0;
    changes_of_clients = 0;
    ensure(apply_bytes(&check_truth, idx, data, len) == 0);
    if (id) written(id, before, changes_of_clients);
    arena_fini(&a);
    statuses_rise();
    note_idle();
    invariants_check(&check_truth);
}

/* The first place where two snapshots differ, as "tasks[3]". */
static void differ(const uint8_t *a, size_t n, const uint8_t *b, size_t m, char ret[static 64]) {
    const ProtobufCMessageDescriptor *d = &orlop__snapshot__descriptor;
    struct arena arena;
    arena_init(&arena, 64 << 20);
    const char *x = arena_unpack(&arena, d, a, n), *y = arena_unpack(&arena, d, b, m);
    ensure(x && y);
    snprintf(ret, 64, "a number");
    for (unsigned f = 0; f < d->n_fields; f++) {
        const ProtobufCFieldDescriptor *field = &d->fields[f];
        if (field->label != PROTOBUF_C_LABEL_REPEATED) continue;
        size_t nx = *(const size_t *) (const void *) (x + field->quantifier_offset);
        size_t ny = *(const size_t *) (const void *) (y + field->quantifier_offset);
        ProtobufCMessage **vx = *(ProtobufCMessage ***) (void *) (uintptr_t) (x + field->offset);
        ProtobufCMessage **vy = *(ProtobufCMessage ***) (void *) (uintptr_t) (y + field->offset);
        for (size_t i = 0; i < nx || i < ny; i++) {
            size_t lx = 0, ly = 0;
            uint8_t *px = i < nx ? pb_pack(vx[i], &lx) : NULL;
            uint8_t *py = i < ny ? pb_pack(vy[i], &ly) : NULL;
            if (px && py && lx == ly && memcmp(px, py, lx) == 0) continue;
            snprintf(ret, 64, "%s[%zu] (%zu and %zu)", field->name, i, nx, ny);
            arena_fini(&arena);
            return;
        }
    }
    arena_fini(&arena);
}

/* Does the scheduler that runs know just what the log says? */
static void same_state(const struct state *s) {
    if (s->applied_idx != check_truth.applied_idx) return;
    enum sim_role was = sim_as(SIM_WORLD);
    uint8_t *a, *b;
    size_t n, m;
    ensure(snapshot_encode(s, &a, &n) == 0 && snapshot_encode(&check_truth, &b, &m) == 0);
    if (n != m || memcmp(a, b, n) != 0) {
        char where[64];
        differ(a, n, b, m, where);
        sim_violated("I28", "the state of idx %llu is not what its log says: %s",
                     (unsigned long long) s->applied_idx, where);
    }
    mem_free(a);
    mem_free(b);
    sim_as(was);
}

const char *check_task_named(const char *name) {
    const struct task *t = state_task_named(&check_truth, name);
    return t ? t->id : NULL;
}

void check_show(void) {
    void *value;
    for (size_t i = 0; map_next(&check_truth.tasks, &i, NULL, &value);) {
        const struct task *t = value;
        char name[STATE_NAME_MAX];
        sim_trace("task %s %s want %d state %d health %d%s%s%s", t->id, state_task_name(t, name),
                  (int) t->want, (int) t->status.state, (int) t->status.health,
                  rule_current(t) ? "" : " outdated", t->holds ? " holds" : "",
                  sim_sandbox_lives(t->id) ? " lives" : "");
        struct err why = {0};
        if (!t->node && plan_waiting(&check_truth, t, UINT64_MAX, &why) < 0)
            sim_trace("  %s", why.text);
    }
}

void check_applied(uint64_t idx, const uint8_t *data, size_t len) {
    count_downs(data, len, -1);
    if (idx % 64 == 0) same_state(&sim_sched->state);
}

void check_sched_starts(const struct sched *s) {
    check.downs_open = 0;
    same_state(&s->state);
}

void check_reset(void) {
    memset(&check, 0, sizeof check);
    state_init(&check_truth);
    state_observe(&check_truth, observe_changes, NULL);
    check.leader_us = -10000000;
}
