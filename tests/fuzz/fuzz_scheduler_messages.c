// SPDX-License-Identifier: Apache-2.0
/* Every message that the scheduler decodes: the first byte chooses which. What agents say goes
 * through its checks, an app through check_app, a log entry is applied to a state with an app and a
 * node in it. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "api.pb-c.h"
#include "proto/check.h"
#include "runtime/base/mem.h"
#include "scheduler/state/apply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const requests[] = {
    &orlop__app_apply_request__descriptor,
    &orlop__app_remove_request__descriptor,
    &orlop__app_scale_request__descriptor,
    &orlop__app_restart_request__descriptor,
    &orlop__app_list_request__descriptor,
    &orlop__app_status_request__descriptor,
    &orlop__app_spec_request__descriptor,
    &orlop__task_list_request__descriptor,
    &orlop__task_inspect_request__descriptor,
    &orlop__node_inspect_request__descriptor,
    &orlop__why_request__descriptor,
    &orlop__events_request__descriptor,
    &orlop__logs_request__descriptor,
    &orlop__exec_request__descriptor,
    &orlop__image_ref__descriptor,
    &orlop__volume_ref__descriptor,
    &orlop__log_batch__descriptor,
    &orlop__empty__descriptor,
};

static void check_up(const Orlop__AgentUp *m) {
    struct err err = {0};
    int r = 0;
    if (m->what_case == ORLOP__AGENT_UP__WHAT_HELLO) r = check_hello(m->hello, &err);
    if (m->what_case == ORLOP__AGENT_UP__WHAT_REPORT)
        r = check_statuses(m->report->tasks, m->report->n_tasks, &err);
    if (m->what_case == ORLOP__AGENT_UP__WHAT_STATUS)
        r = check_statuses(m->status->tasks, m->status->n_tasks, &err);
    ensure(r == 0 || err.text[0] || r == -ENOMEM);
}

static void entry(struct state *s, Orlop__Entry__WhatCase what, void *body) {
    Orlop__Entry e = ORLOP__ENTRY__INIT, *list[] = {&e};
    Orlop__EntryBatch b = ORLOP__ENTRY_BATCH__INIT;
    e.what_case = what;
    e.app_apply = body;
    b.entries = list;
    b.n_entries = 1;
    b.time_unix_ms = 1000;
    ensure(apply_batch(s, s->applied_idx + 1, &b, NULL) == 0);
}

static void prepare(struct state *s) {
    static uint8_t id[16] = {1};
    char name[] = "a", image[] = "i";
    Orlop__EntryIncarnation inc = ORLOP__ENTRY_INCARNATION__INIT;
    Orlop__EntryNodeRegister node = ORLOP__ENTRY_NODE_REGISTER__INIT;
    Orlop__EntryNodeUp up = ORLOP__ENTRY_NODE_UP__INIT;
    Orlop__RequestId req = ORLOP__REQUEST_ID__INIT;
    Orlop__AppApplyRequest apply = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__App app = ORLOP__APP__INIT;
    Orlop__Service svc = ORLOP__SERVICE__INIT, *services[] = {&svc};
    inc.inc = 1;
    node.node = up.node = name;
    node.store = req.client = (ProtobufCBinaryData){sizeof id, id};
    req.number = 1;
    svc.name = app.name = name;
    svc.image = image;
    svc.replicas = 1;
    app.services = services;
    app.n_services = 1;
    apply.request = &req;
    apply.app = &app;
    state_init(s);
    entry(s, ORLOP__ENTRY__WHAT_INCARNATION, &inc);
    entry(s, ORLOP__ENTRY__WHAT_NODE_REGISTER, &node);
    entry(s, ORLOP__ENTRY__WHAT_NODE_UP, &up);
    entry(s, ORLOP__ENTRY__WHAT_APP_APPLY, &apply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    struct arena a;
    struct err err = {0};
    arena_init(&a, 16 << 20);
    size_t which = data[0] % (array_len(requests) + 3);
    if (which < array_len(requests)) {
        (void) !arena_unpack(&a, requests[which], data + 1, size - 1);
    } else if (which == array_len(requests)) {
        const Orlop__AgentUp *m =
            arena_unpack(&a, &orlop__agent_up__descriptor, data + 1, size - 1);
        if (m) check_up(m);
    } else if (which == array_len(requests) + 1) {
        const Orlop__App *app = arena_unpack(&a, &orlop__app__descriptor, data + 1, size - 1);
        if (app && check_app(app, &err) < 0) ensure(err.text[0]);
    } else {
        struct state s;
        prepare(&s);
        ensure(apply_bytes(&s, s.applied_idx + 1, data + 1, size - 1) == 0);
        state_fini(&s);
    }
    arena_fini(&a);
    return 0;
}
