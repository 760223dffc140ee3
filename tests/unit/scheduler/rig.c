// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

/* --- the loop -------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *t) {
    struct rig *r = t->data;
    r->late = true;
}

bool rig_until(struct rig *r, bool (*pred)(struct rig *r)) {
    r->late = false;
    uv_timer_start(&r->deadline, on_deadline, RIG_DEADLINE_MS, 0);
    while (!pred(r) && !r->late) uv_run(&r->loop, UV_RUN_ONCE);
    uv_timer_stop(&r->deadline);
    return !r->late;
}

/* --- the scheduler's process ----------------------------------------------------------------- */

void rig_run_scheduler(struct rig *r) {
    char run[128], state[128];
    snprintf(run, sizeof run, "%s/run", r->dir);
    snprintf(state, sizeof state, "%s/state", r->dir);
    r->scheduler = fork();
    if (r->scheduler) return;
    execl(SCHEDULER_PROGRAM, "scheduler", "--run-dir", run, "--state-dir", state, NULL);
    _exit(127);
}

void rig_kill_scheduler(struct rig *r) {
    kill(r->scheduler, SIGKILL);
    waitpid(r->scheduler, NULL, 0);
    r->scheduler = 0;
}

/* --- the agent ------------------------------------------------------------------------------- */

static void up(struct rig *r, Orlop__AgentUp *m) {
    m->inc = r->inc;
    m->session = r->number;
    if (r->session) ensure(bus_send_pb(r->session, &m->base) == 0);
}

static void say_hello(struct rig *r) {
    Orlop__AgentUp m = ORLOP__AGENT_UP__INIT;
    Orlop__Hello h = ORLOP__HELLO__INIT;
    Orlop__Inventory inv = ORLOP__INVENTORY__INIT;
    Orlop__Version acked = ORLOP__VERSION__INIT;
    inv.memory_bytes = UINT64_C(4) << 30;
    inv.cpu_millis = 4000;
    acked.inc = r->inc;
    acked.idx = r->idx;
    h.node = "n1";
    h.store = (ProtobufCBinaryData){sizeof r->store, r->store};
    h.boot = 1;
    h.acked = &acked;
    h.inventory = &inv;
    m.what_case = ORLOP__AGENT_UP__WHAT_HELLO;
    m.hello = &h;
    up(r, &m);
}

static void fill_status(const struct rig *r, const struct fake_task *t, Orlop__TaskStatus *st) {
    orlop__task_status__init(st);
    bool stop = t->want == ORLOP__WANT__WANT_STOP;
    st->task = (char *) t->id;
    st->boot = 1;
    st->attempt = 1;
    st->state = stop ? ORLOP__TASK_STATE__SHUTDOWN : ORLOP__TASK_STATE__RUNNING;
    st->gone = stop;
    st->started_unix_ms = 1;
    if (!r->ends || stop) return;
    *st = *r->ends;
    st->task = (char *) t->id;
    st->boot = 1;
    st->attempt = 1;
}

/* All tasks, as a Report or as a StatusBatch. */
static void say_tasks(struct rig *r, bool report) {
    size_t n = map_len(&r->tasks), at = 0;
    auto_free Orlop__TaskStatus *v = mem_array(n + 1, sizeof *v);
    auto_free Orlop__TaskStatus **list = mem_array(n + 1, sizeof *list);
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, NULL, &value); at++) {
        fill_status(r, value, &v[at]);
        list[at] = &v[at];
    }
    Orlop__AgentUp m = ORLOP__AGENT_UP__INIT;
    Orlop__Report rep = ORLOP__REPORT__INIT;
    Orlop__StatusBatch batch = ORLOP__STATUS_BATCH__INIT;
    Orlop__Version acked = ORLOP__VERSION__INIT;
    acked.inc = r->inc;
    acked.idx = r->idx;
    rep.acked = &acked;
    rep.tasks = batch.tasks = list;
    rep.n_tasks = batch.n_tasks = at;
    m.what_case = report ? ORLOP__AGENT_UP__WHAT_REPORT : ORLOP__AGENT_UP__WHAT_STATUS;
    if (report)
        m.report = &rep;
    else
        m.status = &batch;
    if (report || at) up(r, &m);
}

static void say_applied(struct rig *r) {
    Orlop__AgentUp m = ORLOP__AGENT_UP__INIT;
    Orlop__Applied a = ORLOP__APPLIED__INIT;
    a.idx = r->idx;
    m.what_case = ORLOP__AGENT_UP__WHAT_APPLIED;
    m.applied = &a;
    up(r, &m);
    Orlop__Heartbeat h = ORLOP__HEARTBEAT__INIT;
    h.n = 1;
    m.what_case = ORLOP__AGENT_UP__WHAT_HEARTBEAT;
    m.heartbeat = &h;
    up(r, &m);
}

static void take_task(struct rig *r, const Orlop__TaskSpec *spec) {
    struct fake_task *t = map_get(&r->tasks, spec->task);
    if (!t) {
        t = mem_zalloc(sizeof *t);
        ensure(t && map_set(&r->tasks, spec->task, t) == 0);
    }
    snprintf(t->id, sizeof t->id, "%s", spec->task);
    snprintf(t->service, sizeof t->service, "%s", spec->service);
    t->slot = spec->slot;
    t->want = spec->want;
    t->address = spec->n_addresses ? spec->addresses[0]->address : 0;
}

static void take_wanted(struct rig *r, const Orlop__Wanted *w) {
    void *value;
    if (w->full)
        r->fulls++;
    else
        r->deltas++;
    if (w->full) {
        for (size_t i = 0; map_next(&r->tasks, &i, NULL, &value);) mem_free(value);
        map_fini(&r->tasks);
        map_fini(&r->services);
    } else {
        ensure(w->from->idx == r->idx);
    }
    for (size_t i = 0; i < w->n_tasks; i++) take_task(r, w->tasks[i]);
    for (size_t i = 0; i < w->n_tasks_gone; i++) mem_free(map_del(&r->tasks, w->tasks_gone[i]));
    for (size_t i = 0; i < w->n_services; i++) {
        uintptr_t serving = 1;
        for (size_t k = 0; k < w->services[i]->n_endpoints; k++)
            serving += w->services[i]->endpoints[k]->serving ? 1 : 0;
        ensure(map_set(&r->services, w->services[i]->service, (void *) serving) == 0);
    }
    for (size_t i = 0; i < w->n_volumes_gone; i++)
        ensure(map_set(&r->volumes_gone, w->volumes_gone[i], r) == 0);
    r->idx = w->to->idx;
    if (w->full) r->web_when_full = (uintptr_t) map_get(&r->services, "web");
    if (w->more) return;
    say_applied(r);
    if (r->obedient) say_tasks(r, false);
}

static void agent_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct rig *r = ctx;
    struct arena a;
    (void) s;
    arena_init(&a, 32 << 20);
    Orlop__AgentDown *m = arena_unpack(&a, &orlop__agent_down__descriptor, body, len);
    ensure(m);
    if (m->what_case == ORLOP__AGENT_DOWN__WHAT_WELCOME) {
        r->inc = m->inc;
        r->number = m->session;
        say_tasks(r, true);
    } else if (m->what_case == ORLOP__AGENT_DOWN__WHAT_WANTED) {
        take_wanted(r, m->wanted);
    } else if (m->what_case == ORLOP__AGENT_DOWN__WHAT_ANSWER) {
        r->answered_idx = m->answer->last_idx;
    } else {
        r->commits++;
    }
    arena_fini(&a);
}

static void agent_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct rig *r = ctx;
    (void) s;
    (void) err;
    r->session = NULL;
}

static void agent_up(void *ctx, struct bus_conn *c) {
    static const struct bus_stream_ops ops = {.data = agent_data, .closed = agent_closed};
    struct rig *r = ctx;
    ensure(bus_request(c, ORLOP__METHOD__SESSION, NULL, 0, &ops, r, &r->session) == 0);
    say_hello(r);
}

/* LOGS: two lines of each task; EXEC: noted and ended. */
static void agent_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                          const uint8_t *body, size_t len) {
    struct rig *r = ctx;
    struct arena a;
    (void) c;
    arena_init(&a, 1 << 20);
    if (method == ORLOP__METHOD__EXEC) {
        Orlop__ExecRequest *e = arena_unpack(&a, &orlop__exec_request__descriptor, body, len);
        Orlop__ExecExit x = ORLOP__EXEC_EXIT__INIT;
        Orlop__ExecOutput out = ORLOP__EXEC_OUTPUT__INIT;
        r->asked_exec++;
        snprintf(r->exec_task, sizeof r->exec_task, "%s", e->task);
        x.code = 42;
        out.what_case = ORLOP__EXEC_OUTPUT__WHAT_EXIT;
        out.exit = &x;
        bus_answer_pb(s, &out.base);
    } else if (method == ORLOP__METHOD__LOGS) {
        Orlop__LogsRequest *q = arena_unpack(&a, &orlop__logs_request__descriptor, body, len);
        Orlop__LogLine line = ORLOP__LOG_LINE__INIT, *list[] = {&line};
        Orlop__LogBatch b = ORLOP__LOG_BATCH__INIT;
        r->asked_logs += q->n_tasks;
        line.task = q->tasks[0];
        line.time_unix_ns = 1;
        line.text = (ProtobufCBinaryData){3, (uint8_t *) "hi\n"};
        b.lines = list;
        b.n_lines = 1;
        bus_answer_pb(s, &b.base);
    } else {
        bus_fail(s, -ENOSYS, "the fake agent does not know %u", method);
    }
    arena_fini(&a);
}

void rig_dial_agent(struct rig *r) {
    static const struct bus_conn_ops ops = {.up = agent_up, .request = agent_request};
    char url[160];
    snprintf(url, sizeof url, "ipc://%s/run/api.sock", r->dir);
    ensure(bus_dial(r->bus, url, &ops, r, &r->agent, NULL) == 0);
}

void rig_hang_up_agent(struct rig *r) {
    if (r->agent) bus_conn_close(r->agent);
    r->agent = NULL;
}

/* --- the client ------------------------------------------------------------------------------ */

struct call {
    struct rig *rig;
    struct arena *arena;
    const ProtobufCMessageDescriptor *desc;
    void *answer;
    struct err err;
    bool done;
};

static struct call *running; /* one at a time */

static void call_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct call *c = ctx;
    (void) s;
    if (!c->answer) c->answer = arena_unpack(c->arena, c->desc, body, len);
}

static void call_end(void *ctx, struct bus_stream *s) {
    (void) ctx;
    bus_end(s);
}

static void call_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct call *c = ctx;
    (void) s;
    c->err = *err;
    c->done = true;
}

static bool call_done(struct rig *r) {
    (void) r;
    return running->done;
}

static bool client_is_up(struct rig *r) {
    return bus_conn_is_up(r->client);
}

void *rig_call(struct rig *r, uint32_t method, const ProtobufCMessage *req,
               const ProtobufCMessageDescriptor *answer, struct arena *arena, struct err *err) {
    static const struct bus_stream_ops ops = {
        .data = call_data, .end = call_end, .closed = call_closed};
    for (;;) {
        struct call c = {.rig = r, .arena = arena, .desc = answer};
        struct bus_stream *s;
        running = &c;
        ensure(rig_until(r, client_is_up));
        if (bus_request_pb(r->client, method, req, &ops, &c, &s) < 0) continue;
        ensure(rig_until(r, call_done));
        if (c.err.code == -EAGAIN || c.err.code == -ECONNRESET) continue; /* it is starting */
        if (err) *err = c.err;
        return c.err.code ? NULL : c.answer;
    }
}

Orlop__RequestId rig_request_id(struct rig *r) {
    static uint8_t client[16] = {7};
    Orlop__RequestId id = ORLOP__REQUEST_ID__INIT;
    id.client = (ProtobufCBinaryData){sizeof client, client};
    id.number = ++r->requests;
    return id;
}

/* --- life ------------------------------------------------------------------------------------ */

void rig_start(struct rig *r) {
    static const struct bus_conn_ops none = {0};
    char url[160];
    *r = (struct rig){.obedient = true, .store = {1}};
    snprintf(r->dir, sizeof r->dir, "/tmp/orlop-sched-XXXXXX");
    ensure(mkdtemp(r->dir));
    ensure(uv_loop_init(&r->loop) == 0);
    uv_timer_init(&r->loop, &r->deadline);
    r->deadline.data = r;
    rig_run_scheduler(r);
    ensure(bus_new(&r->loop, &r->bus) == 0);
    snprintf(url, sizeof url, "ipc://%s/run/api.sock", r->dir);
    ensure(bus_dial(r->bus, url, &none, NULL, &r->client, NULL) == 0);
}

static void bus_is_closed(void *ctx) {
    struct rig *r = ctx;
    r->bus_closed = true;
}

static bool bus_gone(struct rig *r) {
    return r->bus_closed;
}

void rig_stop(struct rig *r) {
    bus_close(r->bus, bus_is_closed, r);
    ensure(rig_until(r, bus_gone));
    if (r->scheduler) {
        int status;
        kill(r->scheduler, SIGTERM);
        waitpid(r->scheduler, &status, 0);
        ensure(WIFEXITED(status) && WEXITSTATUS(status) == 0); /* ends cleanly */
    }
    uv_close((uv_handle_t *) &r->deadline, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    ensure(uv_loop_close(&r->loop) == 0);
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, NULL, &value);) mem_free(value);
    map_fini(&r->tasks);
    map_fini(&r->services);
    map_fini(&r->volumes_gone);
    ensure(fd_remove_tree(AT_FDCWD, r->dir) == 0);
}
