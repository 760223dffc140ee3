// SPDX-License-Identifier: Apache-2.0
/* What each state waits for. Every function looks at the whole situation anew (level-triggered), so
 * that a lost answer, a new keeper or a new set need no paths of their own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/rec_internal.h"
#include "runtime/base/str.h"

static bool wanted_gone(const struct task *t) {
    return !t->st || !t->st->in_set || t->st->want == ORLOP__WANT__WANT_STOP;
}

static void say_waiting(struct rec *r, struct task *t, const char *text) {
    if (str_eq(t->reason, text)) return;
    rec__say(t, "%s", text);
    rec__act(r, REC_STATUS, t, 0);
}

/* Leftovers of the attempt. True: none (any more). */
static bool clean(struct rec *r, struct task *t) {
    if (!t->dirty && !(t->pending & TASK_PENDING_CLEAN)) return true;
    if (t->pending & TASK_PENDING_CLEAN || r->now_ms < t->clean_after_ms) return false;
    t->pending |= TASK_PENDING_CLEAN;
    rec__act(r, REC_CLEAN, t, (int) t->dirty);
    return false;
}

static bool dependencies_hold_back(struct rec *r, struct task *t) {
    const Orlop__Dependency *d = t->first ? NULL : rec__missing_dependency(r, t);
    if (!d) return false;
    char text[ERR_TEXT_MAX];
    if (!t->deps_deadline_ms) t->deps_deadline_ms = r->now_ms + REC_DEPENDS_MS;
    if (r->now_ms >= t->deps_deadline_ms) {
        snprintf(text, sizeof text, "starts although service %s is not ready: waited %d s",
                 d->service, REC_DEPENDS_MS / 1000);
        say_waiting(r, t, text);
        return false;
    }
    snprintf(text, sizeof text, "waits for service %s, at most %d s", d->service,
             REC_DEPENDS_MS / 1000);
    say_waiting(r, t, text);
    return true;
}

static bool held_back(struct rec *r, struct task *t) {
    if (t->st->want != ORLOP__WANT__WANT_RUN) return true;
    if (t->st->spec->assigned_idx > r->view_idx) {
        say_waiting(r, t, "waits for the network of its assignment");
        return true;
    }
    const struct task *holder = rec__blocker(r, t);
    if (holder) {
        char text[ERR_TEXT_MAX];
        snprintf(text, sizeof text, "waits until task %s is gone, which has its address or volume",
                 holder->id);
        say_waiting(r, t, text);
        return true;
    }
    return dependencies_hold_back(r, t);
}

static bool advance_waiting(struct rec *r, struct task *t) {
    if (wanted_gone(t)) {
        rec__say(t, t->restarts ? "stopped while it waited to start again"
                                : "stopped before it was started");
        rec__move(r, t, TASK_CLOSING, "wanted=stop");
        return true;
    }
    if (!r->keeper_up || !clean(r, t)) return false;
    if (r->halting) {
        rec__move(r, t, TASK_HALTED, "node stops");
        return true;
    }
    if (r->now_ms < t->not_before_ms || held_back(r, t)) return false;
    t->deps_deadline_ms = 0;
    if (!t->prepare_until_ms) t->prepare_until_ms = r->now_ms + REC_PREPARE_MS;
    t->dirty = t->attempt;
    t->pending |= TASK_PENDING_PREPARE;
    rec__act(r, REC_PREPARE, t, 0);
    rec__move(r, t, TASK_PREPARING, "");
    return true;
}

static void discard(struct rec *r, struct task *t) {
    if (t->prepared) rec__act(r, REC_DISCARD, t, 0);
    t->prepared = false;
}

static bool advance_preparing(struct rec *r, struct task *t) {
    if (wanted_gone(t)) {
        discard(r, t);
        rec__move(r, t, TASK_CLOSING, "wanted=stop");
        return true;
    }
    if (r->now_ms >= t->deadline_ms) {
        rec__say(t, "was not prepared within %d minutes", REC_PREPARE_MS / 60000);
        rec__finish(r, t, t->ran ? ORLOP__TASK_STATE__FAILED : ORLOP__TASK_STATE__REJECTED,
                    TASK_SAVING);
        return true;
    }
    if (!t->prepared) return false;
    if (r->halting) {
        discard(r, t);
        rec__move(r, t, TASK_WAITING, "node stops");
        return true;
    }
    if (!r->keeper_up) return false;
    rec__move(r, t, TASK_STARTING, "");
    return true;
}

static bool advance_starting(struct rec *r, struct task *t) {
    if (wanted_gone(t)) {
        discard(r, t);
        rec__move(r, t, TASK_CLOSING, "wanted=stop");
        return true;
    }
    if (r->now_ms >= t->deadline_ms) {
        discard(r, t);
        rec__say(t, "did not start within %d s", REC_START_MS / 1000);
        rec__finish(r, t, ORLOP__TASK_STATE__FAILED, TASK_CLOSING);
        return true;
    }
    if (!r->keeper_up || t->pending & TASK_PENDING_START) return false;
    ensure(!t->closed);                                       /* I3 */
    ensure(t->st->spec->assigned_idx <= r->view_idx);         /* I20 */
    ensure(t->st->end == NULL && t->attempt > 0 && t->dirty); /* I4, I1 */
    t->pending |= TASK_PENDING_START;
    rec__act(r, REC_START, t, 0);
    return false;
}

static bool has_address(const struct task *t) {
    return t->st && t->st->spec->n_addresses > 0;
}

static bool advance_running(struct rec *r, struct task *t) {
    if (wanted_gone(t)) {
        rec__move(r, t, has_address(t) ? TASK_DRAINING : TASK_STOPPING, "wanted=stop");
        return true;
    }
    if (t->st->want == ORLOP__WANT__WANT_DRAIN && !t->leaving) {
        t->leaving = true;
        rec__act(r, REC_FORGET, t, 0);
    }
    if (r->halting && !rec__dependants_live(r, t)) {
        rec__move(r, t, TASK_STOPPING, "node stops");
        return true;
    }
    return false;
}

static bool advance_draining(struct rec *r, struct task *t) {
    if (!t->leaving) {
        t->leaving = true;
        rec__act(r, REC_FORGET, t, 0);
    }
    if (r->now_ms >= t->deadline_ms) {
        rec__say(t, "forced: connections were still open after %lld ms of drain",
                 (long long) rec__drain_ms(t));
        rec__move(r, t, TASK_STOPPING, "forced");
        return true;
    }
    if (r->now_ms < t->drain_check_ms) return false;
    t->drain_check_ms = r->now_ms + REC_DRAIN_CHECK_MS;
    rec__act(r, REC_DRAIN_CHECK, t, 0);
    return false;
}

static bool advance_stopping(struct rec *r, struct task *t) {
    if (r->keeper_up && !(t->pending & TASK_PENDING_SIGNAL)) {
        t->pending |= TASK_PENDING_SIGNAL;
        rec__act(r, REC_SIGNAL, t, 0);
    }
    if (r->now_ms < t->deadline_ms) return false;
    if (wanted_gone(t)) {
        rec__say(t, "killed: it had not ended %lld ms after its stop signal",
                 (long long) rec__grace_ms(t));
        rec__move(r, t, TASK_CLOSING, "grace over");
        return true;
    }
    rec__act(r, REC_SIGNAL, t, 9);
    t->deadline_ms = r->now_ms + REC_KILL_MS;
    return false;
}

static bool advance_closing(struct rec *r, struct task *t) {
    if (t->closed && !(t->pending & TASK_PENDING_CLOSE)) {
        if (t->end == ORLOP__TASK_STATE__TASK_STATE_UNSET) t->end = ORLOP__TASK_STATE__SHUTDOWN;
        rec__move(r, t, TASK_SAVING, "closed");
        return true;
    }
    if (r->now_ms >= t->deadline_ms) {
        t->deadline_ms =
            INT64_MAX; /* for as long as the process is there: its address stays held */
        say_waiting(r, t, "cannot be killed: a process of it does not end after SIGKILL");
    }
    if (!r->keeper_up || t->pending & TASK_PENDING_CLOSE) return false;
    t->pending |= TASK_PENDING_CLOSE;
    rec__act(r, REC_CLOSE, t, 0);
    return false;
}

/* A stray has no record that could be written. */
static bool save(struct rec *r, struct task *t, int gone) {
    if (!t->st) return true;
    if (!(t->pending & TASK_PENDING_SAVE)) {
        t->pending |= TASK_PENDING_SAVE;
        rec__act(r, REC_SAVE, t, gone);
    }
    return false;
}

static bool advance_saving(struct rec *r, struct task *t) {
    if (!save(r, t, 0)) return false;
    rec__move(r, t, TASK_FINAL, "stray");
    return true;
}

static bool advance_final(struct rec *r, struct task *t) {
    if (!t->closed) {
        if (!r->keeper_up || t->pending & TASK_PENDING_CLOSE) return false;
        t->pending |= TASK_PENDING_CLOSE;
        rec__act(r, REC_CLOSE, t, 0);
        return false;
    }
    if (t->pending & TASK_PENDING_PREPARE) return false;
    discard(r, t);
    if (!clean(r, t)) return false;
    rec__move(r, t, TASK_RELEASING, "");
    return true;
}

static bool advance_releasing(struct rec *r, struct task *t) {
    if (!save(r, t, 1)) return false;
    rec__move(r, t, TASK_GONE, "stray");
    return true;
}

static bool advance_gone(struct rec *r, struct task *t) {
    bool unwanted = !t->st || (t->committed && !t->st->in_set);
    if (!unwanted || !r->keeper_up) return false;
    ensure(!task_holds(t)); /* I6, I17 */
    t->st = NULL;           /* the store drops it while this is under way */
    t->pending |= TASK_PENDING_DELETE;
    rec__act(r, REC_DELETE, t, 0);
    rec__move(r, t, TASK_DELETING, "");
    return true;
}

bool rec__advance(struct rec *r, struct task *t) {
    switch ((enum task_state) t->state) {
    case TASK_NEW:
        return false; /* until the keeper's first list: without it nothing is known to live or not
                       */
    case TASK_WAITING:
        return advance_waiting(r, t);
    case TASK_PREPARING:
        return advance_preparing(r, t);
    case TASK_STARTING:
        return advance_starting(r, t);
    case TASK_RUNNING:
        return advance_running(r, t);
    case TASK_DRAINING:
        return advance_draining(r, t);
    case TASK_STOPPING:
        return advance_stopping(r, t);
    case TASK_CLOSING:
        return advance_closing(r, t);
    case TASK_SAVING:
        return advance_saving(r, t);
    case TASK_FINAL:
        return advance_final(r, t);
    case TASK_RELEASING:
        return advance_releasing(r, t);
    case TASK_GONE:
        return advance_gone(r, t);
    case TASK_HALTED:
        (void) clean(r, t); /* the last thing that is done for it */
        return false;
    case TASK_DELETING:
    case TASK__COUNT:
        return false;
    }
    return false;
}
