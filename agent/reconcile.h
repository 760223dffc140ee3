// SPDX-License-Identifier: Apache-2.0
/* agent/reconcile.h - what to do next: wanted tasks + what happened -> actions. Pure.
 *
 * Role     rec_step(state, event) -> actions. No clock, no I/O, no randomness: time is in the
 *          event. The shell (actions.c, keeper_link.c) does what the actions say and answers each
 *          with an event. Every answer may be lost with a process of ours: a new list from the
 *          keeper puts it right.
 * Thread   [loop]
 * Owns     the tasks. Reads the store's tables, never changes them.
 * See      task.c (diagram), tests/unit/agent/test_reconcile.c (scenarios = the specification)
 */
#ifndef ORLOP_AGENT_RECONCILE_H
#define ORLOP_AGENT_RECONCILE_H

#include "agent/task.h"
#include "runtime/base/map.h"

enum {
    REC_BACKOFF_MIN_MS = 100,
    REC_BACKOFF_MAX_MS = 60000,
    REC_WINDOW_MS = 10000, /* ran this long: the count of failures starts anew */
    REC_DEPENDS_MS = 30000,
    REC_PREPARE_MS = 600000,
    REC_START_MS = 30000,
    REC_GRACE_MS = 10000,
    REC_KILL_MS = 10000, /* after CLOSE: then "cannot be killed" is said */
    REC_DRAIN_MS = 10000,
    REC_DRAIN_CHECK_MS = 50,
    REC_RETRY_MS = 1000,
};

enum rec_event_kind {
    REC_EV_SET = 1, /* the store's tables changed */
    REC_EV_VIEW,    /* idx: maps, peers, names of that version are in the kernel */
    REC_EV_LISTED,  /* list: everything that the keeper has; it is connected */
    REC_EV_KEEPER_LOST,
    REC_EV_PREPARED,       /* health: HEALTH_STARTING when there is a check, else HEALTH_NONE */
    REC_EV_PREPARE_FAILED, /* retry: may pass by itself */
    REC_EV_STARTED,
    REC_EV_START_FAILED, /* error, phase, text */
    REC_EV_EXITED,
    REC_EV_CLOSED,
    REC_EV_CLEANED,
    REC_EV_CLEAN_FAILED,
    REC_EV_SAVED,
    REC_EV_DRAINED,
    REC_EV_HEALTH,
    REC_EV_OOM, /* idx: as many processes of it were killed; it goes on */
    REC_EV_COMMITTED,
    REC_EV_DELETED,
    REC_EV_DELETE_FAILED,
    REC_EV_HALT, /* the node is being stopped: end all sandboxes, keep the tasks */
    REC_EV_TICK,
};

/* An entry of the keeper's list, or one exit. */
struct rec_entry {
    const char *task;
    uint64_t boot;
    uint32_t attempt;
    int32_t pid;
    bool ended, closed, exit_known, never_ran, oom;
    int wait_status;
    int64_t started_unix_ms, ended_unix_ms;
};

struct rec_event {
    enum rec_event_kind kind;
    int64_t now_ms; /* monotonic */
    const char *task;
    uint64_t boot;
    uint32_t attempt;
    uint64_t idx;
    bool retry;
    int error; /* negative errno */
    const char *phase, *text;
    Orlop__Health health;
    Orlop__TaskState state; /* COMMITTED */
    bool gone;
    const struct rec_entry *list;
    size_t n_list;
};

enum rec_action_kind {
    REC_PREPARE = 1, /* -> PREPARED, PREPARE_FAILED */
    REC_DISCARD,     /* throw away what PREPARE made */
    REC_START,       /* note the attempt, then START -> STARTED, START_FAILED, EXITED */
    REC_SIGNAL,      /* arg = signal, 0 = the task's stop signal */
    REC_CLOSE,       /* -> CLOSED */
    REC_CLEAN,       /* cgroup, links, private files of the attempt ARG -> CLEANED, CLEAN_FAILED */
    REC_DRAIN_CHECK, /* no connection left to answer -> DRAINED; else it is asked again */
    REC_FORGET,      /* conntrack; arg 0 = leaving, 1 = dead */
    REC_WATCH,       /* health checks from now on */
    REC_UNWATCH,
    REC_NOTE,   /* attempts file */
    REC_SAVE,   /* fsync the end (task_status, gone as arg) -> SAVED */
    REC_STATUS, /* tell the scheduler */
    REC_DELETE, /* all records and files of it -> DELETED */
    REC_RELIST, /* ask the keeper for its list again (task is NULL) */
};

struct rec_action {
    enum rec_action_kind kind;
    struct task *task; /* valid until the next step */
    int arg;
};

struct rec_actions {
    struct rec_action *v;
    size_t n, cap;
};
void rec_actions_fini(struct rec_actions *a);

/* What is wanted, by the store's tables. */
struct rec_input {
    const struct map *tasks;    /* struct astore_task */
    const struct map *services; /* struct astore_object: ViewService */
    const struct map *facts;    /* key "app/service" */
    uint64_t boot;
};

typedef void (*rec_trace_cb)(void *ctx, const struct task *t, const char *from, const char *to,
                             const char *why);

struct rec {
    struct map tasks; /* struct task */
    struct rec_input in;
    bool keeper_up; /* a list has come since it was connected */
    bool halting;
    uint64_t view_idx;
    int64_t now_ms;
    struct rec_actions *out;
    rec_trace_cb trace;
    void *trace_ctx;
};

void rec_init(struct rec *r, const struct rec_input *in, rec_trace_cb trace, void *ctx);
void rec_fini(struct rec *r);

/* One event. OUT is emptied first. -ENOMEM: nothing happened, give the same event again (or end:
 * the next process learns the same from store and keeper). */
must_use int rec_step(struct rec *r, const struct rec_event *ev, struct rec_actions *out);

/* When REC_EV_TICK is wanted; INT64_MAX = not. */
int64_t rec_next_ms(const struct rec *r);

struct task *rec_task(const struct rec *r, const char *id);
/* Sandboxes of another store that are not deleted yet. */
size_t rec_strays(const struct rec *r);
/* After HALT: nothing lives and nothing is left of any attempt. */
bool rec_halted(const struct rec *r);

#endif
