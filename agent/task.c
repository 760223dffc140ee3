// SPDX-License-Identifier: Apache-2.0
/*
 *   NEW ─listed─► WAITING ──► PREPARING ──► STARTING ──► RUNNING ─want STOP─► DRAINING ─► STOPPING
 *                  ▲  │           │             │           │                    │             │
 *                  └──┼─ again ───┴─────────────┴───────────┤                    │             │
 *                     │  (attempt + 1)                      │                    │             │
 *                     └─ want STOP, refused, no more ───────┴─ ended ────────────┴─ grace over ┤
 *                                                                                              ▼
 *   DELETING ◄── GONE ◄── RELEASING ◄── FINAL ◄── end is on disk ── SAVING ◄── closed ── CLOSING
 *
 * An end that nothing can change (refused, or over and never again) goes to SAVING at once, and
 * FINAL sends the CLOSE. FINAL waits until nothing is left of the attempt; GONE is on disk and told;
 * DELETING comes when the scheduler has committed it and the task is in the set no more.
 *
 * HALTED is reached from WAITING, and from STOPPING when the node is stopped: the attempt ended,
 * the task did not. A stray (no record in the store) goes CLOSING .. GONE .. DELETING without
 * telling anybody.
 */
#include "agent/task.h"

#include <stdio.h>

#define B(s) SM_BIT(TASK_##s)
const struct sm_state task_states[TASK__COUNT] = {
    [TASK_NEW] = {"new",
                  B(WAITING) | B(RUNNING) | B(CLOSING) | B(SAVING) | B(FINAL) | B(GONE) | B(HALTED),
                  false},
    [TASK_WAITING] = {"waiting", B(PREPARING) | B(CLOSING) | B(SAVING) | B(HALTED), false},
    [TASK_PREPARING] = {"preparing", B(STARTING) | B(WAITING) | B(CLOSING) | B(SAVING) | B(HALTED),
                        false},
    [TASK_STARTING] = {"starting", B(RUNNING) | B(WAITING) | B(CLOSING) | B(SAVING), false},
    [TASK_RUNNING] = {"running", B(WAITING) | B(DRAINING) | B(STOPPING) | B(CLOSING) | B(SAVING),
                      false},
    [TASK_DRAINING] = {"draining", B(STOPPING) | B(CLOSING), false},
    [TASK_STOPPING] = {"stopping", B(CLOSING) | B(SAVING) | B(HALTED), false},
    [TASK_CLOSING] = {"closing", B(SAVING), false},
    [TASK_SAVING] = {"saving", B(FINAL), false},
    [TASK_FINAL] = {"final", B(RELEASING), true},
    [TASK_RELEASING] = {"releasing", B(GONE), true},
    [TASK_GONE] = {"gone", B(DELETING), true},
    [TASK_DELETING] = {"deleting", 0, true},
    [TASK_HALTED] = {"halted", 0, true},
};
#undef B

static Orlop__TaskState not_started(const struct task *t) {
    return t->attempt > 1 ? ORLOP__TASK_STATE__PREPARING : ORLOP__TASK_STATE__ASSIGNED;
}

/* Told means never taken back: STOPPING only when the next agent, too, would end this attempt.
 * Attempt 0: what a reboot ended for good. */
static bool ends_for_sure(const struct task *t) {
    return !t->st || !t->st->in_set || t->st->want == ORLOP__WANT__WANT_STOP || t->exited ||
           t->attempt == 0;
}

static Orlop__TaskState ending(const struct task *t) {
    if (ends_for_sure(t)) return ORLOP__TASK_STATE__STOPPING;
    if (t->state == TASK_SAVING) return ORLOP__TASK_STATE__PREPARING; /* that has failed */
    return t->state == TASK_CLOSING ? ORLOP__TASK_STATE__STARTING : ORLOP__TASK_STATE__RUNNING;
}

Orlop__TaskState task_wire_state(const struct task *t) {
    switch ((enum task_state) t->state) {
    case TASK_NEW:
    case TASK_WAITING:
        return not_started(t);
    case TASK_HALTED: /* an attempt that never was is started under the same number later */
        return t->exited ? ORLOP__TASK_STATE__STOPPING : not_started(t);
    case TASK_PREPARING:
        return ORLOP__TASK_STATE__PREPARING;
    case TASK_STARTING:
        return ORLOP__TASK_STATE__STARTING;
    case TASK_RUNNING:
        return ORLOP__TASK_STATE__RUNNING;
    case TASK_DRAINING:
    case TASK_STOPPING:
    case TASK_CLOSING:
    case TASK_SAVING: /* not fsynced, so not to be told */
        return ending(t);
    case TASK_FINAL:
    case TASK_RELEASING:
    case TASK_GONE:
    case TASK_DELETING:
        return t->end;
    case TASK__COUNT:
        break;
    }
    return ORLOP__TASK_STATE__TASK_STATE_UNSET;
}

static char *borrow(const char *s) {
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

void task_status(const struct task *t, Orlop__TaskStatus *s) {
    orlop__task_status__init(s);
    s->task = borrow(t->id);
    s->boot = t->boot;
    s->attempt = t->attempt;
    s->state = task_wire_state(t);
    s->health = t->health;
    s->exit_known = t->exit_known;
    s->exit_code = t->exit_code;
    s->signal = t->signal;
    s->oom = t->oom;
    s->reason = borrow(t->reason);
    s->gone = t->state == TASK_GONE || t->state == TASK_DELETING;
    s->started_unix_ms = t->started_unix_ms;
    s->ended_unix_ms = t->ended_unix_ms;
    s->pid = t->pid;
    s->restarts = t->restarts;
    s->failures = t->failures;
    s->health_output = borrow(t->health_output);
}

bool task_holds(const struct task *t) {
    return t->dirty != 0 || (t->state >= TASK_PREPARING && t->state <= TASK_CLOSING);
}

bool task_leaves(const struct task *t) {
    return !t->st || !t->st->in_set || t->st->want == ORLOP__WANT__WANT_STOP ||
           (t->state >= TASK_SAVING && t->state != TASK_HALTED);
}

void task_sandbox_name(const char *id, uint64_t boot, uint32_t attempt,
                       char ret[static TASK_SANDBOX_MAX]) {
    snprintf(ret, TASK_SANDBOX_MAX, "%s-%llu.%u", id, (unsigned long long) boot, attempt);
}
