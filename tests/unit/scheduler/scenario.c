// SPDX-License-Identifier: Apache-2.0
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/plan/gate.h"
#include "scheduler/plan/plan.h"
#include "scheduler/state/apply.h"
#include "scheduler/state/rules.h"
#include "tests/lib/invariants.h"
#include "tests/lib/manifest_text.h"

enum { WORDS_MAX = 32 };

struct scenario {
    struct state s;
    struct buf *out;
    struct manifest_text manifest;
    uint64_t idx, requests, frozen_ack;
    int64_t now_ms;
    bool acks;
};

static const char *kind_name(enum change_kind k) {
    static const char *const names[] = {
        "?",           "app.applied",   "app.scaled",    "app.restarted", "app.removing",
        "app.deleted", "task.created",  "task.assigned", "task.draining", "task.stopping",
        "task.state",  "task.health",   "task.restart",  "task.gone",     "task.deleted",
        "fact",        "node.register", "node.synced",   "node.up",       "node.down",
        "leader",      "task.oom",
    };
    return names[k];
}

static void observe(void *ctx, const struct change *c) {
    struct scenario *sc = ctx;
    char name[STATE_NAME_MAX] = "";
    if (c->task)
        state_task_name(c->task, name);
    else if (c->app)
        snprintf(name, sizeof name, "%s", c->app->name);
    else if (c->node)
        snprintf(name, sizeof name, "%s", c->node->name);
    buf_printf(sc->out, "  %s %s", kind_name(c->kind), name);
    if (c->kind == CHANGE_APP_APPLIED || c->kind == CHANGE_APP_SCALED)
        buf_printf(sc->out, " revision %lu", (unsigned long) c->app->spec->revision);
    if (c->kind == CHANGE_TASK_CREATED) buf_printf(sc->out, " %s", c->task->id);
    if (c->kind == CHANGE_TASK_ASSIGNED) {
        buf_printf(sc->out, " %s", c->task->node->name);
        for (size_t i = 0; i < c->task->n_addresses; i++) {
            char text[STR_IPV4_MAX];
            buf_printf(sc->out, " %s", str_from_ipv4(c->task->addresses[i].address, text));
        }
    }
    if (c->kind == CHANGE_TASK_STATE)
        buf_printf(sc->out, " %s", gate_state_name(c->task->status.state));
    if (c->kind == CHANGE_TASK_STOPPING && c->task->forced) buf_puts(sc->out, " forced");
    if (c->text && *c->text) buf_printf(sc->out, " (%s)", c->text);
    buf_putc(sc->out, '\n');
}

static void apply(struct scenario *sc, Orlop__Entry **entries, size_t n) {
    Orlop__EntryBatch b = ORLOP__ENTRY_BATCH__INIT;
    b.time_unix_ms = sc->now_ms;
    b.entries = entries;
    b.n_entries = n;
    struct err *results = mem_array(n + 1, sizeof *results);
    ensure(results);
    ensure(apply_batch(&sc->s, ++sc->idx, &b, results) == 0);
    for (size_t i = 0; i < n; i++)
        if (results[i].code) buf_printf(sc->out, "  refused: %s\n", results[i].text);
    mem_free(results);
    invariants_check(&sc->s);
    invariants_snapshot(&sc->s);
}

static void apply_one(struct scenario *sc, Orlop__Entry__WhatCase what, void *body) {
    Orlop__Entry e = ORLOP__ENTRY__INIT;
    Orlop__Entry *list[] = {&e};
    e.what_case = what;
    e.app_apply = body;
    apply(sc, list, 1);
}

static void request_id(struct scenario *sc, Orlop__RequestId *id) {
    static uint8_t client[16] = {1};
    orlop__request_id__init(id);
    id->client = (ProtobufCBinaryData){sizeof client, client};
    id->number = ++sc->requests;
}

static size_t split(char *line, char **words) {
    size_t n = 0;
    char *save;
    for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        ensure(n < WORDS_MAX);
        words[n++] = w;
    }
    return n;
}

/* --- clients' commands ----------------------------------------------------------------------- */

static void do_apply(struct scenario *sc, char **w, size_t n) {
    Orlop__AppApplyRequest r = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__RequestId id;
    char *force[WORDS_MAX], *only[WORDS_MAX];
    request_id(sc, &id);
    r.request = &id;
    r.app = manifest_text_app(&sc->manifest, w[1]);
    r.remove_orphans = true;
    r.force_recreate = force;
    r.only = only;
    for (size_t i = 2; i < n; i++) {
        if (str_starts(w[i], "force=")) force[r.n_force_recreate++] = w[i] + 6;
        if (str_starts(w[i], "only=")) only[r.n_only++] = w[i] + 5;
    }
    apply_one(sc, ORLOP__ENTRY__WHAT_APP_APPLY, &r);
    manifest_text_fini(&sc->manifest);
    manifest_text_init(&sc->manifest);
}

static void do_scale(struct scenario *sc, char **w, size_t n) {
    Orlop__AppScaleRequest r = ORLOP__APP_SCALE_REQUEST__INIT;
    Orlop__RequestId id;
    Orlop__ScaleTo to[WORDS_MAX], *list[WORDS_MAX];
    request_id(sc, &id);
    r.request = &id;
    r.app = w[1];
    r.services = list;
    for (size_t i = 2; i < n; i++) {
        Orlop__ScaleTo *t = &to[r.n_services];
        char *value = strchr(w[i], '=');
        ensure(value);
        *value++ = '\0';
        orlop__scale_to__init(t);
        t->service = w[i];
        ensure(str_to_u32(value, UINT32_MAX, &t->replicas) == 0);
        list[r.n_services++] = t;
    }
    apply_one(sc, ORLOP__ENTRY__WHAT_APP_SCALE, &r);
}

static void do_restart(struct scenario *sc, char **w, size_t n) {
    Orlop__AppRestartRequest r = ORLOP__APP_RESTART_REQUEST__INIT;
    Orlop__RequestId id;
    request_id(sc, &id);
    r.request = &id;
    r.app = w[1];
    r.services = w + 2;
    r.n_services = n - 2;
    apply_one(sc, ORLOP__ENTRY__WHAT_APP_RESTART, &r);
}

static void do_remove(struct scenario *sc, char **w, size_t n) {
    Orlop__AppRemoveRequest r = ORLOP__APP_REMOVE_REQUEST__INIT;
    Orlop__RequestId id;
    request_id(sc, &id);
    r.request = &id;
    r.app = w[1];
    r.volumes = n > 2 && str_eq(w[2], "volumes");
    apply_one(sc, ORLOP__ENTRY__WHAT_APP_REMOVE, &r);
}

/* --- nodes ----------------------------------------------------------------------------------- */

static void node_up(struct scenario *sc, char *name) {
    Orlop__EntryNodeUp up = ORLOP__ENTRY_NODE_UP__INIT;
    up.node = name;
    apply_one(sc, ORLOP__ENTRY__WHAT_NODE_UP, &up);
}

static void do_sync(struct scenario *sc, char **w, size_t n) {
    Orlop__EntryNodeSync sync = ORLOP__ENTRY_NODE_SYNC__INIT;
    Orlop__Version acked = ORLOP__VERSION__INIT;
    Orlop__TaskStatus *list[WORDS_MAX];
    sync.node = w[1];
    acked.inc = sc->s.inc;
    acked.idx = sc->s.applied_idx;
    sync.acked = &acked;
    sync.tasks = list;
    for (size_t i = 2; i < n; i++) list[sync.n_tasks++] = &state_task_named(&sc->s, w[i])->status;
    apply_one(sc, ORLOP__ENTRY__WHAT_NODE_SYNC, &sync);
}

static void do_node(struct scenario *sc, char **w, size_t n, uint8_t store) {
    Orlop__EntryNodeRegister r = ORLOP__ENTRY_NODE_REGISTER__INIT;
    Orlop__Inventory inv = ORLOP__INVENTORY__INIT;
    uint8_t id[16] = {store};
    uint32_t mib = 4096;
    if (n > 2) ensure(str_starts(w[2], "memory=") && str_to_u32(w[2] + 7, UINT32_MAX, &mib) == 0);
    inv.memory_bytes = (uint64_t) mib << 20;
    inv.cpu_millis = 4000;
    r.node = w[1];
    r.boot = 1;
    r.store = (ProtobufCBinaryData){sizeof id, id};
    r.inventory = &inv;
    apply_one(sc, ORLOP__ENTRY__WHAT_NODE_REGISTER, &r);
    do_sync(sc, w, 2);
    node_up(sc, w[1]);
}

static void do_down(struct scenario *sc, char **w) {
    Orlop__EntryNodeDown d = ORLOP__ENTRY_NODE_DOWN__INIT;
    d.node = w[1];
    d.reason = "no heartbeat";
    apply_one(sc, ORLOP__ENTRY__WHAT_NODE_DOWN, &d);
}

static Orlop__TaskState state_of(const char *name) {
    for (int i = ORLOP__TASK_STATE__PENDING; i <= ORLOP__TASK_STATE__ORPHANED; i++)
        if (str_eq(gate_state_name((Orlop__TaskState) i), name)) return (Orlop__TaskState) i;
    return ORLOP__TASK_STATE__SHUTDOWN; /* "shutdown": a word */
}

static void say_word(Orlop__TaskStatus *st, const char *w) {
    uint32_t v = 0;
    if (str_eq(w, "healthy")) st->health = ORLOP__HEALTH__HEALTH_HEALTHY;
    if (str_eq(w, "unhealthy")) st->health = ORLOP__HEALTH__HEALTH_UNHEALTHY;
    if (str_eq(w, "starting")) st->health = ORLOP__HEALTH__HEALTH_STARTING;
    if (str_eq(w, "gone")) st->gone = true;
    if (str_starts(w, "attempt=")) ensure(str_to_u32(w + 8, 1000, &st->attempt) == 0);
    if (!str_starts(w, "exit=")) return;
    ensure(str_to_u32(w + 5, 255, &v) == 0);
    st->exit_known = true;
    st->exit_code = (int32_t) v;
}

static void do_say(struct scenario *sc, char **w, size_t n) {
    struct task *t = state_task_named(&sc->s, w[1]);
    if (!t) t = state_task(&sc->s, w[1]);
    ensure(t && t->node);
    Orlop__TaskStatus st = ORLOP__TASK_STATUS__INIT, *list[] = {&st};
    st.task = t->id;
    st.boot = 1;
    st.attempt = t->status.attempt ? t->status.attempt : 1;
    st.state = state_of(w[2]);
    st.started_unix_ms = t->status.started_unix_ms;
    if (st.state == ORLOP__TASK_STATE__RUNNING) st.started_unix_ms = sc->now_ms;
    for (size_t i = 3; i < n; i++) say_word(&st, w[i]);
    Orlop__EntryTaskStatus e = ORLOP__ENTRY_TASK_STATUS__INIT;
    e.node = t->node->name;
    e.tasks = list;
    e.n_tasks = 1;
    apply_one(sc, ORLOP__ENTRY__WHAT_TASK_STATUS, &e);
}

static void do_ps(struct scenario *sc) {
    static const char *const wants[] = {"", "run", "drain", "stop"};
    void *value;
    for (size_t i = 0; map_next(&sc->s.tasks, &i, NULL, &value);) {
        const struct task *t = value;
        char name[STATE_NAME_MAX];
        buf_printf(sc->out, "  %s %s r%lu %s%s%s%s\n", t->id, state_task_name(t, name),
                   (unsigned long) t->spec->revision, gate_state_name(t->status.state),
                   t->want == ORLOP__WANT__WANT_RUN ? "" : " want ",
                   t->want == ORLOP__WANT__WANT_RUN ? "" : wants[t->want],
                   rule_current(t) ? "" : " outdated");
    }
}

/* Every task does what is wanted of it; one-shots (services named migrate) complete. */
static bool do_obey(struct scenario *sc) {
    static char lines[256][160];
    size_t n = 0;
    void *value;
    for (size_t i = 0; n < 256 && map_next(&sc->s.tasks, &i, NULL, &value);) {
        const struct task *t = value;
        if (!t->node || !t->holds) continue;
        bool stop = t->want == ORLOP__WANT__WANT_STOP ||
                    t->status.state == ORLOP__TASK_STATE__STOPPING; /* there is no way back */
        bool runs = !str_eq(t->service->name, "migrate") &&
                    t->status.state == ORLOP__TASK_STATE__RUNNING &&
                    t->status.health == ORLOP__HEALTH__HEALTH_HEALTHY;
        if (!stop && runs && !rule_final(t)) continue;
        snprintf(lines[n++], sizeof lines[0], "say %s %s", t->id,
                 stop || rule_final(t)                 ? "shutdown gone"
                 : str_eq(t->service->name, "migrate") ? "complete exit=0 gone"
                                                       : "running healthy");
    }
    for (size_t i = 0; i < n; i++) {
        char *words[WORDS_MAX];
        size_t count = split(lines[i], words);
        if (state_task(&sc->s, words[1])) do_say(sc, words, count);
    }
    return n > 0;
}

static bool do_plan(struct scenario *sc);

/* Nodes are up, everybody obeys, time passes: at the end all that is wanted is there. */
static void do_rest(struct scenario *sc) {
    char n1[] = "n1";
    sc->acks = true;
    if (!state_node(&sc->s, n1)->up) node_up(sc, n1);
    bool busy = true;
    for (int round = 0; busy; round++) {
        ensure(round < 500); /* creations are bounded */
        busy = do_plan(sc);
        busy |= do_obey(sc);
        if (!busy) sc->now_ms += 70000; /* back-off, rest */
        if (!busy) busy = do_plan(sc);
    }
    struct err why = {0};
    if (invariants_at_rest(&sc->s, &why) == 0) return;
    do_ps(sc);
    fprintf(stderr, "%s\nnot at rest: %s\n", buf_str(sc->out), why.text);
    abort();
}

/* --- planning -------------------------------------------------------------------------------- */

static bool do_plan(struct scenario *sc) {
    struct plan p;
    void *a;
    plan_init(&p, &sc->s, sc->now_ms, sc->acks ? UINT64_MAX : sc->frozen_ack);
    for (size_t i = 0; map_next(&sc->s.apps, &i, NULL, &a);) ensure(plan_app(&p, a) == 0);
    bool any = p.n > 0;
    if (any) apply(sc, p.entries, p.n);
    plan_fini(&p);
    return any;
}

static void do_settle(struct scenario *sc) {
    int rounds = 0;
    while (do_plan(sc)) ensure(++rounds < 100); /* a quiet state is reached */
}

static void do_why(struct scenario *sc, const char *name) {
    struct task *t = state_task_named(&sc->s, name);
    ensure(t);
    struct err why = {0};
    if (plan_waiting(&sc->s, t, UINT64_MAX, &why) < 0)
        buf_printf(sc->out, "  %s\n", why.text);
    else
        buf_puts(sc->out, "  nothing is in the way\n");
}

static void do_time(struct scenario *sc, const char *by) {
    uint32_t ms = 0;
    ensure(*by == '+' && str_to_u32(by + 1, UINT32_MAX, &ms) == 0);
    sc->now_ms += ms;
}

static void command(struct scenario *sc, char **w, size_t n) {
    const char *c = w[0];
    if (str_eq(c, "service") || str_eq(c, "network") || str_eq(c, "volume"))
        manifest_text_add(&sc->manifest, w, n);
    else if (str_eq(c, "apply"))
        do_apply(sc, w, n);
    else if (str_eq(c, "scale"))
        do_scale(sc, w, n);
    else if (str_eq(c, "restart"))
        do_restart(sc, w, n);
    else if (str_eq(c, "remove"))
        do_remove(sc, w, n);
    else if (str_eq(c, "node"))
        do_node(sc, w, n, 1);
    else if (str_eq(c, "wipe"))
        do_node(sc, w, n, 2);
    else if (str_eq(c, "sync"))
        do_sync(sc, w, n);
    else if (str_eq(c, "down"))
        do_down(sc, w);
    else if (str_eq(c, "up"))
        node_up(sc, w[1]);
    else if (str_eq(c, "say"))
        do_say(sc, w, n);
    else if (str_eq(c, "plan"))
        (void) do_plan(sc);
    else if (str_eq(c, "obey"))
        (void) do_obey(sc);
    else if (str_eq(c, "rest"))
        do_rest(sc);
    else if (str_eq(c, "maybe")) {
        if (state_task_named(&sc->s, w[1]) && state_task_named(&sc->s, w[1])->node)
            do_say(sc, w, n);
    } else if (str_eq(c, "settle"))
        do_settle(sc);
    else if (str_eq(c, "time"))
        do_time(sc, w[1]);
    else if (str_eq(c, "why"))
        do_why(sc, w[1]);
    else if (str_eq(c, "ps"))
        do_ps(sc);
    else if (str_eq(c, "acks")) {
        sc->acks = str_eq(w[1], "on");
        sc->frozen_ack = sc->s.applied_idx;
    } else {
        fprintf(stderr, "scenario: %s?\n", c);
        abort();
    }
}

void scenario_run(const char *input, struct buf *out) {
    struct scenario sc = {.out = out, .acks = true, .now_ms = 1000000};
    state_init(&sc.s);
    state_observe(&sc.s, observe, &sc);
    manifest_text_init(&sc.manifest);
    Orlop__EntryIncarnation inc = ORLOP__ENTRY_INCARNATION__INIT;
    inc.inc = 1;
    apply_one(&sc, ORLOP__ENTRY__WHAT_INCARNATION, &inc);
    auto_free char *copy = mem_strdup(input);
    char *save;
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char *words[WORDS_MAX];
        if (*l == '#') buf_printf(out, "%s\n", l);
        if (!str_starts(l, "$ ")) continue;
        buf_printf(out, "%s\n", l);
        size_t n = split(l + 2, words);
        if (n) command(&sc, words, n);
    }
    manifest_text_fini(&sc.manifest);
    state_fini(&sc.s);
}
