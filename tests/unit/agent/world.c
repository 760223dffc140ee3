// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "proto/arena.h"
#include "runtime/base/mem.h"
#include "world.h"

static const char *const action_names[] = {
    [REC_PREPARE] = "prepare",    [REC_DISCARD] = "discard", [REC_START] = "start",
    [REC_SIGNAL] = "signal",      [REC_CLOSE] = "close",     [REC_CLEAN] = "clean",
    [REC_DRAIN_CHECK] = "drain?", [REC_FORGET] = "forget",   [REC_WATCH] = "watch",
    [REC_UNWATCH] = "unwatch",    [REC_NOTE] = "note",       [REC_SAVE] = "save",
    [REC_STATUS] = "status",      [REC_DELETE] = "delete",   [REC_RELIST] = "relist",
};

static void trace(void *ctx, const struct task *t, const char *from, const char *to,
                  const char *why) {
    struct world *w = ctx;
    buf_printf(&w->trace, "%s %s>%s%s%s\n", t->id, from, to, *why ? " " : "", why);
}

static void init_rec(struct world *w, uint64_t boot) {
    struct rec_input in = {&w->tables.tasks, &w->tables.services, &w->tables.facts, boot};
    rec_init(&w->rec, &in, trace, w);
}

void world_init(struct world *w, uint64_t boot) {
    *w = (struct world){.now_ms = 1000000};
    buf_init(&w->trace, 1 << 20);
    for (int i = 0; i < 4096; i++)
        buf_putc(&w->trace, ' '); /* room: failing allocations are the step's */
    buf_reset(&w->trace);
    w->tables.info.boot = boot;
    init_rec(w, boot);
}

void world_fini(struct world *w) {
    rec_fini(&w->rec);
    rec_actions_fini(&w->actions);
    buf_fini(&w->trace);
    store_tables_fini(&w->tables);
}

void world_restart(struct world *w, uint64_t boot) {
    rec_fini(&w->rec);
    w->tables.info.boot = boot;
    init_rec(w, boot);
}

static void status_line(struct world *w, const struct task *t) {
    Orlop__TaskStatus s;
    task_status(t, &s);
    const ProtobufCEnumValue *v =
        protobuf_c_enum_descriptor_get_value(&orlop__task_state__descriptor, (int) s.state);
    buf_printf(&w->trace, "%s = %u.%u %s%s%s%s\n", t->id, (unsigned) s.boot, s.attempt,
               v ? v->name : "?", s.gone ? " gone" : "", *s.reason ? ": " : "", s.reason);
}

/* What the shell does at once in a scenario: notes go to the table. */
static void perform(struct world *w, const struct rec_action *a) {
    if (a->kind == REC_STATUS) {
        status_line(w, a->task);
        return;
    }
    buf_printf(&w->trace, "%s ! %s", a->task ? a->task->id : "-", action_names[a->kind]);
    if (a->arg) buf_printf(&w->trace, " %d", a->arg);
    buf_putc(&w->trace, '\n');
    struct astore_task *st = a->task ? map_get(&w->tables.tasks, a->task->id) : NULL;
    if (st && (a->kind == REC_START || a->kind == REC_NOTE))
        st->last = (struct astore_attempt){.boot = a->task->boot,
                                           .attempt = a->task->attempt,
                                           .restarts = a->task->restarts,
                                           .failures = a->task->failures,
                                           .health = a->task->health,
                                           .halted = a->task->state == TASK_HALTED};
}

void world_event(struct world *w, struct rec_event ev) {
    ev.now_ms = w->now_ms;
    w->step_error = rec_step(&w->rec, &ev, &w->actions);
    if (w->step_error < 0) return;
    for (size_t i = 0; i < w->actions.n; i++) perform(w, &w->actions.v[i]);
}

void world_simple(struct world *w, enum rec_event_kind kind, const char *task) {
    world_event(w, (struct rec_event){.kind = kind, .task = task});
}

static void apply(struct world *w, Orlop__StoreItem *item) {
    Orlop__StoreBatch b = ORLOP__STORE_BATCH__INIT;
    b.items = &item;
    b.n_items = 1;
    size_t len;
    uint8_t *data = pb_pack(&b.base, &len);
    assert_non_null(data);
    assert_int_equal(store_tables_apply(&w->tables, data, len), 0);
    mem_free(data);
}

static void apply_set(struct world *w, Orlop__Wanted *set) {
    Orlop__Version to = ORLOP__VERSION__INIT;
    to.inc = 1;
    to.idx = ++w->idx;
    set->to = &to;
    Orlop__StoreWanted sw = ORLOP__STORE_WANTED__INIT;
    sw.set = set;
    sw.boot = w->tables.info.boot;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_WANTED;
    item.wanted = &sw;
    apply(w, &item);
    world_simple(w, REC_EV_SET, NULL);
}

static char *text(const char *s) {
    return (char *) (uintptr_t) s;
}

void world_want(struct world *w, const struct world_task *t) {
    Orlop__TaskSpec spec = ORLOP__TASK_SPEC__INIT, *specs[] = {&spec};
    Orlop__Service service = ORLOP__SERVICE__INIT;
    Orlop__RestartPolicy restart = ORLOP__RESTART_POLICY__INIT;
    Orlop__Dependency dep = ORLOP__DEPENDENCY__INIT, *deps[] = {&dep};
    Orlop__TaskAddress address = ORLOP__TASK_ADDRESS__INIT, *addresses[] = {&address};
    Orlop__Volume volume = ORLOP__VOLUME__INIT, *volumes[] = {&volume};
    spec.task = text(t->id);
    spec.app = text("app");
    spec.service = text(t->service);
    spec.want = t->want ? t->want : ORLOP__WANT__WANT_RUN;
    spec.spec = &service;
    spec.assigned_idx = t->assigned_idx;
    restart.condition = t->restart;
    restart.max_attempts = t->max_attempts;
    if (t->restart) service.restart = &restart;
    if (t->depends) {
        dep.service = text(t->depends);
        dep.condition = t->condition;
        service.depends_on = deps;
        service.n_depends_on = 1;
    }
    if (t->address) {
        address.network = 1;
        address.address = t->address;
        spec.addresses = addresses;
        spec.n_addresses = 1;
    }
    if (t->volume) {
        volume.name = text(t->volume);
        spec.volumes = volumes;
        spec.n_volumes = 1;
    }
    Orlop__Wanted set = ORLOP__WANTED__INIT;
    set.tasks = specs;
    set.n_tasks = 1;
    apply_set(w, &set);
}

void world_gone(struct world *w, const char *id) {
    Orlop__Wanted set = ORLOP__WANTED__INIT;
    char *ids[] = {text(id)};
    set.tasks_gone = ids;
    set.n_tasks_gone = 1;
    apply_set(w, &set);
}

void world_list(struct world *w, const struct rec_entry *list, size_t n) {
    world_event(w, (struct rec_event){.kind = REC_EV_LISTED, .list = list, .n_list = n});
}

void world_started(struct world *w, const char *task, uint32_t attempt) {
    struct rec_entry e = {.task = task, .boot = w->tables.info.boot, .attempt = attempt, .pid = 42};
    world_event(w, (struct rec_event){.kind = REC_EV_STARTED,
                                      .task = task,
                                      .boot = e.boot,
                                      .attempt = attempt,
                                      .list = &e,
                                      .n_list = 1});
}

void world_exited(struct world *w, const char *task, uint32_t attempt, int wait_status) {
    struct rec_entry e = {.task = task,
                          .boot = w->tables.info.boot,
                          .attempt = attempt,
                          .ended = true,
                          .exit_known = true,
                          .wait_status = wait_status};
    world_event(w,
                (struct rec_event){.kind = REC_EV_EXITED, .task = task, .list = &e, .n_list = 1});
}

void world_tick(struct world *w, int64_t ms) {
    w->now_ms += ms;
    world_simple(w, REC_EV_TICK, NULL);
}

void world_run(struct world *w, const struct world_task *t) {
    world_want(w, t);
    world_simple(w, REC_EV_PREPARED, t->id);
    world_started(w, t->id, 1);
    assert_int_equal(rec_task(&w->rec, t->id)->state, TASK_RUNNING);
    world_forget(w);
}

void world_forget(struct world *w) {
    buf_reset(&w->trace);
}

void world_expect(struct world *w, const char *lines) {
    assert_string_equal(buf_str(&w->trace), lines);
    world_forget(w);
}
