// SPDX-License-Identifier: Apache-2.0
/* Keeper, anchor, kernel: sandboxes and what is recorded of them.
 *
 *   START -> cloned, waits -> start record -> go byte: exec -> ... ends -> exit record, reaped
 *
 * Records survive processes, not a reboot. When the keeper dies, a child without its go byte ends
 * without having run; the others run on, the anchor records their ends; when the anchor died too,
 * an end in the gap is unknown. The rules of START and CLOSE are those of runtime/keeper/start.c
 * and stop.c; the keeper as it is, is killed in tests/unit/keeper/test_kill.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "check.h"
#include "keeper_sim.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "sim.h"

static struct {
    bool up, anchor;
    uint64_t life; /* of the keeper: its events void with it */
    int32_t pids;
    struct list sandboxes; /* oldest first */
    struct map closed;     /* task ids: the record */
} k;

void sim_keeper_reset(void) {
    memset(&k, 0, sizeof k);
    list_init(&k.sandboxes);
}

bool sim_keeper_up(void) {
    return k.up;
}

/* --- events of one life of the keeper -------------------------------------------------------- */

struct step {
    uint64_t life;
    struct sandbox *sandbox;
    void (*fn)(struct sandbox *s);
};

static void run_step(void *arg) {
    struct step s = *(struct step *) arg;
    mem_free(arg);
    if (s.life == k.life) s.fn(s.sandbox);
}

static void later(struct sandbox *s, int64_t min_us, int64_t max_us, void (*fn)(struct sandbox *)) {
    struct step *x = mem_zalloc(sizeof *x);
    *x = (struct step){k.life, s, fn};
    sim_after_us(SIM_WORLD, sim_delay_us(min_us, max_us), run_step, x);
}

/* --- looking things up ----------------------------------------------------------------------- */

static bool lives(const struct sandbox *s) {
    return s->state != SB_ENDED;
}

static struct sandbox *newest(const char *task) {
    struct sandbox *best = NULL;
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (!s->forgotten && str_eq(s->task, task)) best = s;
    }
    return best;
}

static struct sandbox *find(const char *task, uint64_t boot, uint32_t attempt) {
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (!s->forgotten && s->boot == boot && s->attempt == attempt && str_eq(s->task, task))
            return s;
    }
    return NULL;
}

static struct sandbox *living(const char *task) {
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (lives(s) && str_eq(s->task, task)) return s;
    }
    return NULL;
}

void sim_sandboxes_each(void (*fn)(const struct sandbox *s, void *ctx), void *ctx) {
    list_each (it, &k.sandboxes) {
        const struct sandbox *s = list_entry(it, struct sandbox, node);
        if (s->state == SB_RUNNING) fn(s, ctx);
    }
}

size_t sim_sandboxes_living(void) {
    size_t n = 0;
    list_each (it, &k.sandboxes) n += lives(list_entry(it, struct sandbox, node));
    return n;
}

bool sim_sandbox_lives(const char *task) {
    return living(task) != NULL;
}

const char *sim_sandbox_random(void) {
    size_t n = 0, pick = sim_sandboxes_living();
    if (!pick) return NULL;
    pick = sim_below((uint32_t) pick);
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (lives(s) && n++ == pick) return s->task;
    }
    return NULL;
}

/* --- entries and answers --------------------------------------------------------------------- */

static void entry_of(struct sandbox *s, Orlop__SandboxEntry *e) {
    orlop__sandbox_entry__init(e);
    e->task = s->task;
    e->boot = s->boot;
    e->attempt = s->attempt;
    e->pid = s->pid;
    e->ended = s->state == SB_ENDED;
    e->closed = map_get(&k.closed, s->task) != NULL;
    e->exit_known = s->exit_known;
    e->wait_status = s->exit_known ? s->wait_status : 0;
    e->started_unix_ns = s->started_ns;
    e->ended_unix_ns = s->ended_ns;
}

static void answer_failed(struct kpeer *p, uint64_t id, int error, const char *phase,
                          const char *text) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__KeeperFailure f = ORLOP__KEEPER_FAILURE__INIT;
    f.error = error;
    f.phase = (char *) (uintptr_t) phase;
    f.text = (char *) (uintptr_t) text;
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_FAILED;
    m.failed = &f;
    kpeer_send(p, &m);
}

static void answer_start(struct sandbox *s, struct kpeer *p, uint64_t id) {
    if (s->failure) {
        answer_failed(p, id, s->failure, s->failure_phase, "as simulated");
        return;
    }
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__SandboxEntry e;
    entry_of(s, &e);
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_STARTED;
    m.started = &e;
    kpeer_send(p, &m);
}

static void answer_starter(struct sandbox *s) {
    if (s->starter) answer_start(s, s->starter, s->starter_id);
    s->starter = NULL;
}

static void answer_closed(struct kpeer *p, uint64_t id, const char *task) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__KeeperTask t = ORLOP__KEEPER_TASK__INIT;
    t.task = (char *) (uintptr_t) task;
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_CLOSED;
    m.closed = &t;
    kpeer_send(p, &m);
}

static void answer_done(struct kpeer *p, uint64_t id) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__KeeperEmpty empty = ORLOP__KEEPER_EMPTY__INIT;
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_DONE;
    m.done = &empty;
    kpeer_send(p, &m);
}

/* --- an end ---------------------------------------------------------------------------------- */

static void answer_closers(const char *task) {
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (!s->closer || !str_eq(s->task, task)) continue;
        answer_closed(s->closer, s->closer_id, task);
        s->closer = NULL;
    }
}

/* Keeper or anchor has looked, recorded and reaped. */
static void reaped(struct sandbox *s) {
    if (s->state != SB_DEAD) return;
    s->state = SB_ENDED;
    s->exit_known = !s->nobody_saw && !sim_is_naive("reap-first");
    s->ended_ns = clock_unix_ns();
    check_reaped(s);
    if (!k.up) return;
    answer_starter(s);
    if (!s->failure) {
        Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
        Orlop__SandboxEntry e;
        entry_of(s, &e);
        m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_EXITED;
        m.exited = &e;
        kpeer_send_all(&m);
    }
    if (!living(s->task)) answer_closers(s->task);
}

/* By whoever is there: its parent, or the anchor. Nobody: when the next keeper looks. */
static void reap_later(struct sandbox *s) {
    s->nobody_saw = !k.anchor;
    if (k.anchor || k.up) {
        struct step *x = mem_zalloc(sizeof *x);
        *x = (struct step){k.life, s, reaped};
        sim_after_us(SIM_WORLD, sim_delay_us(20, 20000), run_step, x);
    }
}

static void dies(struct sandbox *s, int wait_status) {
    if (s->state == SB_DEAD || s->state == SB_ENDED) return;
    bool ran = s->state == SB_RUNNING;
    s->state = SB_DEAD;
    s->wait_status = wait_status;
    sim_trace("sandbox %s-%llu.%u ends with %#x", s->task, (unsigned long long) s->boot, s->attempt,
              (unsigned) wait_status);
    if (ran) check_ended(s);
    reap_later(s);
}

struct death {
    struct sandbox *sandbox;
    int wait_status;
};

static void death_comes(void *arg) {
    struct death *d = arg;
    dies(d->sandbox, d->wait_status);
    mem_free(d);
}

static void die_later(struct sandbox *s, int64_t min_us, int64_t max_us, int wait_status) {
    struct death *d = mem_zalloc(sizeof *d);
    *d = (struct death){s, wait_status};
    sim_after_us(SIM_WORLD, sim_delay_us(min_us, max_us), death_comes, d);
}

bool sim_sandbox_exit(const char *task, int wait_status) {
    struct sandbox *s = living(task);
    if (!s || s->state != SB_RUNNING) return false;
    dies(s, wait_status);
    return true;
}

/* --- a start --------------------------------------------------------------------------------- */

/* Workloads named migrate... do their work and end; the others run until they are told to stop. */
static void plan_life(struct sandbox *s) {
    bool job = strstr(s->service, "migrate") != NULL;
    if (job) die_later(s, 50000, 4000000, sim_chance(120) ? 1 << 8 : 0);
    if (!job && sim_chance(120)) die_later(s, 1000, 20000000, sim_below(3) ? 1 << 8 : 0);
}

static void exec_now(struct sandbox *s) {
    if (s->state != SB_RECORDED) return;
    if (sim_chance(20)) {
        s->failure = sim_below(2) ? ENOENT : EIO;
        s->failure_phase = s->failure == ENOENT ? "exec" : "mounts";
        dies(s, 127 << 8);
        return;
    }
    s->state = SB_RUNNING;
    check_exec(s);
    answer_starter(s);
    plan_life(s);
}

static void record(struct sandbox *s) {
    if (s->state != SB_CLONED) return;
    s->recorded = true;
    s->state = SB_RECORDED;
    later(s, 10, 3000, exec_now);
}

/* What a keeper that starts first and records then would do. */
static void go_first(struct sandbox *s) {
    s->state = SB_RECORDED;
    exec_now(s);
    if (s->state == SB_RUNNING) later(s, 10, 30000, sim_sandbox_record_late);
}

void sim_sandbox_record_late(struct sandbox *s) {
    s->recorded = true;
}

static void on_start(struct kpeer *p, const Orlop__KeeperRequest *r) {
    const Orlop__SandboxSpec *spec = r->start;
    struct sandbox *s = find(spec->task, spec->boot, spec->attempt), *last = newest(spec->task);
    if (s && s->state < SB_RUNNING) {
        if (s->starter)
            answer_failed(s->starter, s->starter_id, EALREADY, "keeper", "asked for again");
        s->starter = p;
        s->starter_id = r->id;
    } else if (s) {
        answer_start(s, p, r->id);
    } else if (map_get(&k.closed, spec->task)) {
        answer_failed(p, r->id, ESHUTDOWN, "keeper", "the task is closed");
    } else if (living(spec->task)) {
        answer_failed(p, r->id, EBUSY, "keeper", "another attempt of the task lives");
    } else if (last && (spec->boot < last->boot ||
                        (spec->boot == last->boot && spec->attempt < last->attempt))) {
        answer_failed(p, r->id, ESTALE, "keeper", "a later attempt of the task is known");
    } else {
        s = mem_zalloc(sizeof *s);
        *s = (struct sandbox){.boot = spec->boot,
                              .attempt = spec->attempt,
                              .pid = ++k.pids,
                              .started_ns = clock_unix_ns(),
                              .starter = p,
                              .starter_id = r->id};
        snprintf(s->task, sizeof s->task, "%s", spec->task);
        check_describe(s);
        list_add_tail(&k.sandboxes, &s->node);
        later(s, 300, 30000, sim_is_naive("go-first") ? go_first : record);
    }
}

/* --- the other requests ---------------------------------------------------------------------- */

static void on_close(struct kpeer *p, const Orlop__KeeperRequest *r) {
    const char *task = r->close->task;
    ensure(map_set(&k.closed, task, &k) == 0);
    struct sandbox *s = living(task);
    check_close(task, s != NULL);
    if (!s || sim_is_naive("stop-by-list")) {
        answer_closed(p, r->id, task);
        return;
    }
    s->closer = p; /* an earlier asker lists again, or is gone */
    s->closer_id = r->id;
    die_later(s, 100, 200000, SIGKILL);
}

static void on_signal(struct kpeer *p, const Orlop__KeeperRequest *r) {
    struct sandbox *s = find(r->signal->task, r->signal->boot, r->signal->attempt);
    if (s && s->state == SB_RUNNING) {
        check_signal(s, r->signal->signal);
        if (r->signal->signal == SIGKILL)
            die_later(s, 50, 20000, SIGKILL);
        else if (!sim_chance(150)) /* some never listen */
            die_later(s, 1000, 12000000, sim_below(2) ? 0 : SIGTERM);
    }
    answer_done(p, r->id);
}

static void on_forget(struct kpeer *p, const Orlop__KeeperRequest *r) {
    const char *task = r->forget->task;
    if (living(task)) {
        answer_failed(p, r->id, EBUSY, "keeper", "the task lives");
        return;
    }
    check_forget(task);
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (str_eq(s->task, task)) s->forgotten = true;
    }
    (void) map_del(&k.closed, task);
    answer_done(p, r->id);
}

static void on_list(struct kpeer *p, const Orlop__KeeperRequest *r) {
    size_t n = 0, max = map_len(&k.closed);
    list_each (it, &k.sandboxes) max++;
    auto_free Orlop__SandboxEntry *v = mem_array(max + 1, sizeof *v);
    auto_free Orlop__SandboxEntry **list = mem_array(max + 1, sizeof *list);
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (s->forgotten || s->failure) continue;
        entry_of(s, &v[n]);
        list[n] = &v[n];
        n++;
    }
    const char *id;
    for (size_t i = 0; map_next(&k.closed, &i, &id, NULL);) {
        if (newest(id)) continue;
        orlop__sandbox_entry__init(&v[n]);
        v[n].task = (char *) (uintptr_t) id;
        v[n].ended = v[n].closed = true;
        list[n] = &v[n];
        n++;
    }
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__SandboxList l = ORLOP__SANDBOX_LIST__INIT;
    l.entries = list;
    l.n_entries = n;
    m.id = r->id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_LISTED;
    m.listed = &l;
    kpeer_send(p, &m);
}

void sim_keeper_request(struct kpeer *p, const Orlop__KeeperRequest *r) {
    if (!k.up) return;
    switch (r->what_case) {
    case ORLOP__KEEPER_REQUEST__WHAT_START:
        on_start(p, r);
        return;
    case ORLOP__KEEPER_REQUEST__WHAT_CLOSE:
        on_close(p, r);
        return;
    case ORLOP__KEEPER_REQUEST__WHAT_SIGNAL:
        on_signal(p, r);
        return;
    case ORLOP__KEEPER_REQUEST__WHAT_FORGET:
        on_forget(p, r);
        return;
    case ORLOP__KEEPER_REQUEST__WHAT_LIST:
        on_list(p, r);
        return;
    default:
        answer_failed(p, r->id, EOPNOTSUPP, "keeper", "not simulated");
    }
}

/* --- life and death of the keeper ------------------------------------------------------------ */

void sim_keeper_peer_gone(const struct kpeer *p) {
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (s->starter == p) s->starter = NULL;
        if (s->closer == p) s->closer = NULL;
    }
}

/* Children that wait for their go byte see the end of the pipe. */
static void keeper_gone(struct sandbox *s) {
    s->starter = s->closer = NULL;
    if (s->state == SB_CLONED || s->state == SB_RECORDED) {
        if (!s->recorded) s->forgotten = true;
        dies(s, 125 << 8);
    } else if (s->state == SB_DEAD) {
        reap_later(s); /* the anchor's now */
    } else if (s->state == SB_RUNNING && !s->recorded) {
        s->forgotten = true; /* nobody will ever know of it */
    }
}

void sim_keeper_die(bool anchor_too) {
    if (anchor_too) k.anchor = false;
    if (!k.up && !anchor_too) return;
    k.up = false;
    k.life++;
    sim_say("the keeper%s killed", anchor_too ? " and the anchor are" : " is");
    list_each (it, &k.sandboxes) keeper_gone(list_entry(it, struct sandbox, node));
    kpeer_keeper_died();
}

void sim_keeper_start(void) {
    if (k.up) return;
    k.up = k.anchor = true;
    k.life++;
    sim_say("a keeper runs");
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (s->state == SB_DEAD) reaped(s);
    }
}

/* The machine loses power: nothing lives, records are in memory only, or survive by chance. */
void sim_keeper_reboot(void) {
    sim_keeper_die(true);
    bool kept = sim.chaos && sim_below(4) == 0;
    list_each (it, &k.sandboxes) {
        struct sandbox *s = list_entry(it, struct sandbox, node);
        if (s->state == SB_RUNNING) {
            s->state = SB_DEAD;
            s->nobody_saw = true;
            check_ended(s);
        }
        if (s->state != SB_ENDED) {
            s->state = SB_ENDED;
            s->exit_known = false;
        }
        if (!kept) s->forgotten = true;
    }
    if (!kept) {
        enum sim_role was = sim_as(SIM_WORLD);
        map_fini(&k.closed);
        memset(&k.closed, 0, sizeof k.closed);
        sim_as(was);
    }
}
