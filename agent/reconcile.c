// SPDX-License-Identifier: Apache-2.0
#include "agent/reconcile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/rec_internal.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { EXIT_NOT_FOUND = 127, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_STARTED = 125 };

void rec_actions_fini(struct rec_actions *a) {
    mem_free(a->v);
    *a = (struct rec_actions){0};
}

void rec__act(struct rec *r, enum rec_action_kind kind, struct task *t, int arg) {
    ensure(r->out->n < r->out->cap);
    r->out->v[r->out->n++] = (struct rec_action){kind, t, arg};
}

void rec__say(struct task *t, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->reason, sizeof t->reason, fmt, ap);
    va_end(ap);
    if (str_is_utf8(t->reason, strlen(t->reason))) return;
    for (char *p = t->reason; *p; p++) /* a path of any bytes, or a character that was cut */
        if ((unsigned char) *p >= 0x80) *p = '?';
}

static int64_t deadline_of(const struct rec *r, const struct task *t) {
    switch ((enum task_state) t->state) {
    case TASK_PREPARING:
        return t->prepare_until_ms;
    case TASK_STARTING:
        return r->now_ms + REC_START_MS;
    case TASK_DRAINING:
        return r->now_ms + rec__drain_ms(t);
    case TASK_STOPPING:
        return r->now_ms + rec__grace_ms(t);
    case TASK_CLOSING:
        return r->now_ms + REC_KILL_MS;
    case TASK_NEW:     /* the anchor restarts the keeper */
    case TASK_WAITING: /* has not_before_ms and deps_deadline_ms; its blockers have deadlines */
    case TASK_RUNNING: /* that is its purpose */
    case TASK_SAVING:  /* the store repeats a failed write */
    case TASK_RELEASING:
    case TASK_FINAL:    /* cleaning is repeated */
    case TASK_GONE:     /* until the scheduler says so */
    case TASK_DELETING: /* repeated */
    case TASK_HALTED:
    case TASK__COUNT:
        return INT64_MAX;
    }
    return INT64_MAX;
}

void rec__move(struct rec *r, struct task *t, enum task_state to, const char *why) {
    Orlop__TaskState wire = task_wire_state(t);
    bool was_running = t->state == TASK_RUNNING;
    int from = t->state;
    sm_move(task_states, &t->state, (int) to);
    if (r->trace) r->trace(r->trace_ctx, t, task_states[from].name, task_states[to].name, why);
    t->state_since_ms = r->now_ms;
    t->deadline_ms = deadline_of(r, t);
    bool bounded = to == TASK_PREPARING || to == TASK_STARTING || to == TASK_DRAINING ||
                   to == TASK_STOPPING || to == TASK_CLOSING;
    ensure(!bounded || t->deadline_ms != INT64_MAX); /* I30 */
    if (to == TASK_FINAL) t->clean_after_ms = 0;
    if (was_running) rec__act(r, REC_UNWATCH, t, 0);
    if (to == TASK_RUNNING) rec__act(r, REC_WATCH, t, 0);
    bool tell =
        task_wire_state(t) != wire || to == TASK_GONE || to == TASK_FINAL || to == TASK_HALTED;
    if (tell && t->st) rec__act(r, REC_STATUS, t, 0);
}

void rec__finish(struct rec *r, struct task *t, Orlop__TaskState end, enum task_state to) {
    t->end = end;
    rec__move(r, t, to, "");
}

static void next_attempt(struct rec *r, struct task *t, int64_t delay_ms) {
    t->attempt++;
    t->first = false;
    t->exited = t->exit_known = t->oom = false;
    t->oom_kills = 0;
    t->exit_code = t->signal = 0;
    t->pid = 0;
    t->started_unix_ms = t->ended_unix_ms = 0;
    t->prepare_until_ms = 0;
    t->health = ORLOP__HEALTH__HEALTH_NONE;
    t->health_output[0] = 0;
    t->not_before_ms = r->now_ms + delay_ms;
    t->clean_after_ms = 0;
    rec__move(r, t, TASK_WAITING, "again");
}

void rec__again(struct rec *r, struct task *t, int64_t delay_ms) {
    t->restarts++;
    next_attempt(r, t, delay_ms);
}

void rec__attempt_over(struct rec *r, struct task *t, int64_t ran_ms) {
    char how[ERR_TEXT_MAX];
    if (t->reason[0] && t->state == TASK_STARTING)
        snprintf(how, sizeof how, "%s", t->reason);
    else
        rec__describe_exit(t, how);
    bool failed = !t->exit_known || t->exit_code != 0;
    if (t->st->want == ORLOP__WANT__WANT_DRAIN) {
        rec__say(t, "%s while it was drained", how);
        rec__move(r, t, TASK_CLOSING, "ended while drained");
        return;
    }
    uint32_t failures;
    struct rec__verdict v = rec__policy(t, ran_ms, &failures);
    if (!v.again) {
        rec__say(t, "%s", how);
        rec__finish(r, t, failed ? ORLOP__TASK_STATE__FAILED : ORLOP__TASK_STATE__COMPLETE,
                    TASK_SAVING);
        return;
    }
    t->failures = failures;
    rec__say(t, "%.180s; starts again in %lld ms", how, (long long) v.delay_ms);
    rec__again(r, t, v.delay_ms);
}

/* ---- exits ---- */

static void note_exit(struct task *t, const struct rec_entry *e) {
    t->exited = true;
    t->exit_known = e && e->exit_known;
    t->oom = e && e->oom;
    t->exit_code = t->signal = 0;
    if (t->exit_known && WIFSIGNALED(e->wait_status)) {
        t->signal = WTERMSIG(e->wait_status);
        t->exit_code = 128 + t->signal;
    } else if (t->exit_known) {
        t->exit_code = WEXITSTATUS(e->wait_status);
    }
    if (e && e->started_unix_ms) t->started_unix_ms = e->started_unix_ms;
    t->ended_unix_ms = e ? e->ended_unix_ms : 0;
    t->pid = 0;
}

static void halted_exit(struct rec *r, struct task *t) {
    if (rec__never_again(t)) {
        bool ok = t->exit_known && t->exit_code == 0;
        rec__describe_exit(t, t->reason);
        rec__finish(r, t, ok ? ORLOP__TASK_STATE__COMPLETE : ORLOP__TASK_STATE__FAILED,
                    TASK_SAVING);
        return;
    }
    rec__say(t, "the node was stopped");
    rec__move(r, t, TASK_HALTED, "node stops");
    rec__act(r, REC_NOTE, t, 0);
}

/* A keeper that lives answers a failed start with `failed`. So it was killed between its record and
 * the go byte: nothing has run, the restart policy is not asked and nothing is counted. */
static void start_lost(struct rec *r, struct task *t) {
    rec__say(t, "its start was cut off before anything of it ran; starts again");
    next_attempt(r, t, 0);
}

void rec__take_exit(struct rec *r, struct task *t, const struct rec_entry *e) {
    note_exit(t, e);
    if (t->st) rec__act(r, REC_FORGET, t, 1);
    bool stop = !t->st || !t->st->in_set || t->st->want == ORLOP__WANT__WANT_STOP;
    switch ((enum task_state) t->state) {
    case TASK_RUNNING:
        if (stop)
            rec__move(r, t, TASK_CLOSING, "ended");
        else if (e && e->never_ran)
            start_lost(r, t);
        else
            rec__attempt_over(r, t, r->now_ms - t->running_since_ms);
        return;
    case TASK_DRAINING:
        rec__move(r, t, TASK_CLOSING, "ended");
        return;
    case TASK_STOPPING:
        if (stop)
            rec__move(r, t, TASK_CLOSING, "ended");
        else
            halted_exit(r, t);
        return;
    case TASK_CLOSING:
        return; /* CLOSED follows */
    case TASK_NEW:
    case TASK_WAITING:
    case TASK_PREPARING:
    case TASK_STARTING:
    case TASK_SAVING:
    case TASK_FINAL:
    case TASK_RELEASING:
    case TASK_GONE:
    case TASK_DELETING:
    case TASK_HALTED:
    case TASK__COUNT:
        return; /* of an attempt that is over already */
    }
}

static void take_start(struct rec *r, struct task *t, int32_t pid, int64_t started_unix_ms) {
    t->pid = pid;
    t->started_unix_ms = started_unix_ms;
    t->running_since_ms = r->now_ms;
    t->ran = true;
    t->prepared = false;
    t->reason[0] = 0;
    t->prepare_until_ms = 0;
    t->pending &= ~(unsigned) TASK_PENDING_START;
    rec__move(r, t, TASK_RUNNING, "");
}

/* ---- the first look at a task ---- */

static void admit_end(struct rec *r, struct task *t) {
    const Orlop__TaskStatus *e = t->st->end;
    t->boot = e->boot;
    t->attempt = e->attempt;
    t->end = e->state;
    t->exited = true;
    t->exit_known = e->exit_known;
    t->exit_code = e->exit_code;
    t->signal = e->signal;
    t->oom = e->oom;
    t->started_unix_ms = e->started_unix_ms;
    t->ended_unix_ms = e->ended_unix_ms;
    t->restarts = e->restarts;
    rec__say(t, "%s", e->reason);
    t->dirty = e->gone ? 0 : e->attempt;
    rec__move(r, t, e->gone ? TASK_GONE : TASK_FINAL, "stored");
}

static void admit_after_reboot(struct rec *r, struct task *t) {
    t->restarts = t->st->last.restarts + (t->st->last.boot != 0);
    t->first = false;
    if (t->st->in_set && t->st->want != ORLOP__WANT__WANT_STOP && rec__never_again(t)) {
        t->attempt = 0;
        rec__say(t, "ended by reboot, exit unknown");
        rec__finish(r, t, ORLOP__TASK_STATE__FAILED, TASK_SAVING);
        return;
    }
    t->attempt = 1;
    rec__say(t, "starts again after a reboot");
    rec__move(r, t, TASK_WAITING, "reboot");
}

static void admit_attempt(struct rec *r, struct task *t, const struct rec_entry *e) {
    const struct astore_attempt *last = &t->st->last;
    bool noted = last->boot == r->in.boot;
    bool halted = noted && last->halted && (!e || (e->attempt <= last->attempt && e->ended));
    t->attempt = noted ? last->attempt : 0;
    if (e && e->attempt > t->attempt) t->attempt = e->attempt;
    t->restarts = last->restarts;
    t->failures = last->failures;
    t->dirty = t->attempt;
    if (halted) {
        rec__say(t, "starts again: the node had been stopped");
        t->attempt++;
        t->restarts++;
        rec__move(r, t, TASK_WAITING, "halted");
    } else if (e && e->attempt == t->attempt) {
        t->health = noted ? last->health : ORLOP__HEALTH__HEALTH_NONE;
        take_start(r, t, e->pid, e->started_unix_ms);
        if (e->ended) {
            t->running_since_ms = r->now_ms - (e->ended_unix_ms - e->started_unix_ms);
            rec__take_exit(r, t, e);
        }
    } else {
        t->first = t->attempt <= 1 && t->st->accept_boot == r->in.boot;
        if (!t->attempt) t->attempt = 1;
        rec__move(r, t, TASK_WAITING, "");
    }
}

void rec__admit(struct rec *r, struct task *t, const struct rec_entry *e) {
    ensure(t->state == TASK_NEW);
    if (e) t->closed = e->closed;
    if (!t->st) {
        t->boot = e->boot;
        t->attempt = t->dirty = e->attempt;
        t->closed = false; /* it may live: an earlier agent's CLOSE is not answered yet */
        rec__move(r, t, TASK_CLOSING, "stray");
        return;
    }
    if (t->st->end) {
        admit_end(r, t);
        return;
    }
    t->boot = r->in.boot;
    t->ran = t->st->last.boot != 0;
    const struct rec_entry *now = e && e->boot == r->in.boot ? e : NULL;
    if (t->closed) { /* the end of a stop that an earlier agent began; CLOSE is asked again */
        t->closed = false;
        t->attempt = t->dirty = now ? now->attempt : t->st->last.attempt;
        if (now && now->ended) note_exit(t, now);
        rec__say(t, "was stopped");
        rec__move(r, t, TASK_CLOSING, "closed");
    } else if (!now && t->st->last.boot != r->in.boot && t->st->accept_boot < r->in.boot) {
        admit_after_reboot(r, t);
    } else {
        admit_attempt(r, t, now);
    }
}

/* ---- events ---- */

static struct task *task_new(struct rec *r, const char *id) {
    struct task *t = mem_zalloc(sizeof *t);
    if (!t || strlen(id) >= sizeof t->id || map_set(&r->tasks, id, t) < 0) {
        mem_free(t);
        return NULL;
    }
    snprintf(t->id, sizeof t->id, "%s", id);
    t->deadline_ms = INT64_MAX;
    return t;
}

/* A struct for every task of the tables and of the list; the only allocation of a step but the
 * actions. */
static int attach(struct rec *r, const struct rec_event *ev) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(r->in.tasks, &i, &key, &value);) {
        struct task *t = map_get(&r->tasks, key);
        if (t) continue;
        t = task_new(r, key);
        if (!t) return -ENOMEM;
        t->st = value;
    }
    for (size_t i = 0; i < ev->n_list; i++)
        if (!map_get(&r->tasks, ev->list[i].task) && !task_new(r, ev->list[i].task)) return -ENOMEM;
    return 0;
}

static const struct rec_entry *newest_entry(const struct rec_event *ev, const struct task *t) {
    const struct rec_entry *best = NULL;
    for (size_t i = 0; i < ev->n_list; i++) {
        const struct rec_entry *e = &ev->list[i];
        if (!str_eq(e->task, t->id)) continue;
        if (!best || e->boot > best->boot || (e->boot == best->boot && e->attempt > best->attempt))
            best = e;
    }
    return best;
}

static void relisted(struct rec *r, struct task *t, const struct rec_entry *e) {
    t->pending &= ~(unsigned) (TASK_PENDING_START | TASK_PENDING_CLOSE | TASK_PENDING_SIGNAL);
    const struct rec_entry *mine = e && e->boot == t->boot && e->attempt == t->attempt ? e : NULL;
    bool alive_states = t->state >= TASK_RUNNING && t->state <= TASK_STOPPING;
    if (t->state == TASK_STARTING && mine) {
        take_start(r, t, mine->pid, mine->started_unix_ms);
        rec__act(r, REC_DISCARD, t, 0);
        if (mine->ended) rec__take_exit(r, t, mine);
    } else if (alive_states && (!mine || mine->ended)) {
        rec__take_exit(r, t, mine);
    }
    if (e && e->closed && t->state >= TASK_CLOSING && t->state <= TASK_FINAL &&
        (!mine || mine->ended))
        t->closed = true;
}

static void on_listed(struct rec *r, const struct rec_event *ev) {
    r->keeper_up = true;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        struct task *t = value;
        const struct rec_entry *e = newest_entry(ev, t);
        if (t->state != TASK_NEW)
            relisted(r, t, e);
        else if (t->st || e)
            rec__admit(r, t, e);
    }
}

static void on_set(struct rec *r) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        struct task *t = value;
        if (t->state == TASK_NEW && t->st && r->keeper_up) rec__admit(r, t, NULL);
    }
}

static void on_prepare_failed(struct rec *r, struct task *t, const struct rec_event *ev) {
    t->pending &= ~(unsigned) TASK_PENDING_PREPARE;
    if (t->state != TASK_PREPARING) return;
    rec__say(t, "%s", ev->text);
    if (ev->retry && r->now_ms < t->prepare_until_ms) {
        t->not_before_ms = r->now_ms + REC_RETRY_MS;
        rec__move(r, t, TASK_WAITING, "retry");
        return;
    }
    rec__finish(r, t, t->ran ? ORLOP__TASK_STATE__FAILED : ORLOP__TASK_STATE__REJECTED,
                TASK_SAVING);
}

static void on_start_failed(struct rec *r, struct task *t, const struct rec_event *ev) {
    if (t->state != TASK_STARTING) return;
    if (ev->error == -EEXIST ||
        ev->error == -EALREADY) { /* an earlier request of the same attempt */
        rec__act(r, REC_RELIST, NULL, 0);
        return;
    }
    t->pending &= ~(unsigned) TASK_PENDING_START;
    t->prepared = false;
    if (ev->error == -ESHUTDOWN) {
        rec__say(t, "was stopped");
        rec__move(r, t, TASK_CLOSING, "closed");
        return;
    }
    if (ev->error == -EBUSY) { /* what is left of the last attempt has not quite ended */
        t->not_before_ms = r->now_ms + REC_BACKOFF_MIN_MS;
        rec__move(r, t, TASK_WAITING, "busy");
        return;
    }
    rec__say(t, "%s: %s", ev->phase, ev->text);
    bool exec = str_eq(ev->phase, "exec");
    t->exited = t->exit_known = true;
    t->exit_code = !exec                  ? EXIT_NOT_STARTED
                   : ev->error == -ENOENT ? EXIT_NOT_FOUND
                                          : EXIT_NOT_EXECUTABLE;
    bool hopeless = !t->ran && (exec || str_eq(ev->phase, "user"));
    if (hopeless)
        rec__finish(r, t, ORLOP__TASK_STATE__FAILED, TASK_SAVING);
    else
        rec__attempt_over(r, t, 0);
}

static void on_health(struct rec *r, struct task *t, const struct rec_event *ev) {
    if (t->state != TASK_RUNNING || ev->attempt != t->attempt) return;
    bool changed = t->health != ev->health;
    t->health = ev->health;
    snprintf(t->health_output, sizeof t->health_output, "%s", ev->text ? ev->text : "");
    if (!changed) return;
    rec__act(r, REC_NOTE, t, 0);
    rec__act(r, REC_STATUS, t, 0);
}

static void on_oom(struct rec *r, struct task *t, const struct rec_event *ev) {
    if (t->state != TASK_RUNNING || ev->attempt != t->attempt || ev->idx == t->oom_kills) return;
    t->oom_kills = ev->idx;
    t->oom = true;
    rec__say(t, "out of memory: the kernel killed %llu process%s of it",
             (unsigned long long) ev->idx, ev->idx == 1 ? "" : "es");
    rec__act(r, REC_STATUS, t, 0);
}

static void on_saved(struct rec *r, struct task *t) {
    t->pending &= ~(unsigned) TASK_PENDING_SAVE;
    if (t->state == TASK_SAVING)
        rec__move(r, t, TASK_FINAL, "saved");
    else if (t->state == TASK_RELEASING)
        rec__move(r, t, TASK_GONE, "saved");
}

static void on_clean_failed(struct rec *r, struct task *t, const struct rec_event *ev) {
    t->pending &= ~(unsigned) TASK_PENDING_CLEAN;
    t->clean_after_ms = r->now_ms + REC_RETRY_MS;
    if (t->state != TASK_FINAL) return;
    char text[ERR_TEXT_MAX];
    snprintf(text, sizeof text, "%s", ev->text);
    if (r->trace) r->trace(r->trace_ctx, t, "final", "final", text);
}

static void on_task_event(struct rec *r, struct task *t, const struct rec_event *ev) {
    switch (ev->kind) {
    case REC_EV_PREPARED:
        t->pending &= ~(unsigned) TASK_PENDING_PREPARE;
        t->prepared = true;
        if (t->state == TASK_PREPARING)
            t->health = ev->health;
        else if (t->state != TASK_FINAL) {
            rec__act(r, REC_DISCARD, t, 0);
            t->prepared = false;
        }
        return;
    case REC_EV_PREPARE_FAILED:
        on_prepare_failed(r, t, ev);
        return;
    case REC_EV_STARTED:
        if (t->state == TASK_STARTING && ev->attempt == t->attempt)
            take_start(r, t, ev->list[0].pid, ev->list[0].started_unix_ms);
        return;
    case REC_EV_START_FAILED:
        on_start_failed(r, t, ev);
        return;
    case REC_EV_EXITED:
        if (ev->list[0].boot == t->boot && ev->list[0].attempt == t->attempt)
            rec__take_exit(r, t, &ev->list[0]);
        return;
    case REC_EV_CLOSED:
        t->pending &= ~(unsigned) TASK_PENDING_CLOSE;
        t->closed = true;
        return;
    case REC_EV_CLEANED:
        t->pending &= ~(unsigned) TASK_PENDING_CLEAN;
        t->dirty = 0;
        return;
    case REC_EV_CLEAN_FAILED:
        on_clean_failed(r, t, ev);
        return;
    case REC_EV_SAVED:
        on_saved(r, t);
        return;
    case REC_EV_DRAINED:
        if (t->state == TASK_DRAINING) rec__move(r, t, TASK_STOPPING, "drained");
        return;
    case REC_EV_HEALTH:
        on_health(r, t, ev);
        return;
    case REC_EV_OOM:
        on_oom(r, t, ev);
        return;
    case REC_EV_COMMITTED:
        if (t->state == TASK_GONE && ev->gone && ev->state == t->end) t->committed = true;
        return;
    case REC_EV_DELETED:
        ensure(t->state == TASK_DELETING);
        mem_free(map_del(&r->tasks, t->id));
        return;
    case REC_EV_DELETE_FAILED: /* tried again, e.g. by the next keeper */
        rec__act(r, REC_DELETE, t, 0);
        return;
    case REC_EV_SET:
    case REC_EV_VIEW:
    case REC_EV_LISTED:
    case REC_EV_KEEPER_LOST:
    case REC_EV_HALT:
    case REC_EV_TICK:
        return;
    }
}

static void on_event(struct rec *r, const struct rec_event *ev) {
    if (ev->task) {
        struct task *t = map_get(&r->tasks, ev->task);
        if (t) on_task_event(r, t, ev);
        return;
    }
    if (ev->kind == REC_EV_SET) on_set(r);
    if (ev->kind == REC_EV_VIEW) r->view_idx = ev->idx;
    if (ev->kind == REC_EV_LISTED) on_listed(r, ev);
    if (ev->kind == REC_EV_KEEPER_LOST) r->keeper_up = false;
    if (ev->kind == REC_EV_HALT) r->halting = true;
}

static int reserve(struct rec *r, struct rec_actions *out) {
    size_t want = (map_len(&r->tasks) + 1) * REC__ACTIONS_PER_TASK;
    if (out->cap >= want) return 0;
    struct rec_action *v = mem_resize(out->v, want, sizeof *v);
    if (!v) return -ENOMEM;
    out->v = v;
    out->cap = want;
    return 0;
}

int rec_step(struct rec *r, const struct rec_event *ev, struct rec_actions *out) {
    out->n = 0;
    int e = attach(r, ev);
    if (e == 0) e = reserve(r, out);
    if (e < 0) return e;
    r->out = out;
    r->now_ms = ev->now_ms;
    on_event(r, ev);
    bool moved;
    do { /* what one gives up may be what another waits for; moves go one way, so this ends */
        moved = false;
        const char *key;
        void *value;
        for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);)
            while (rec__advance(r, value)) moved = true;
    } while (moved);
    r->out = NULL;
    return 0;
}

static int64_t task_wake_ms(const struct task *t, int64_t now_ms) {
    int64_t w = t->deadline_ms;
    if (t->state == TASK_DRAINING && t->drain_check_ms < w) w = t->drain_check_ms;
    if (t->dirty && t->clean_after_ms > now_ms && t->clean_after_ms < w) w = t->clean_after_ms;
    if (t->state == TASK_WAITING && t->not_before_ms > now_ms && t->not_before_ms < w)
        w = t->not_before_ms;
    if (t->state == TASK_WAITING && t->deps_deadline_ms > now_ms && t->deps_deadline_ms < w)
        w = t->deps_deadline_ms;
    return w;
}

int64_t rec_next_ms(const struct rec *r) {
    int64_t next = INT64_MAX;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        int64_t w = task_wake_ms(value, r->now_ms);
        if (w < next) next = w;
    }
    return next;
}

void rec_init(struct rec *r, const struct rec_input *in, rec_trace_cb trace, void *ctx) {
    *r = (struct rec){.in = *in, .trace = trace, .trace_ctx = ctx};
}

void rec_fini(struct rec *r) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) mem_free(value);
    map_fini(&r->tasks);
}

struct task *rec_task(const struct rec *r, const char *id) {
    return map_get(&r->tasks, id);
}

size_t rec_strays(const struct rec *r) {
    size_t n = 0;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        const struct task *t = value;
        n += !t->st;
    }
    return n;
}

bool rec_halted(const struct rec *r) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&r->tasks, &i, &key, &value);) {
        const struct task *t = value;
        bool over = t->state == TASK_GONE || (t->state == TASK_HALTED && !t->dirty);
        if (!over || t->pending & TASK_PENDING_PREPARE) return false;
    }
    return r->keeper_up;
}
