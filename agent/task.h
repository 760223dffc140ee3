// SPDX-License-Identifier: Apache-2.0
/* agent/task.h - one task on this node: its state machine and what is known of its present attempt.
 *
 * Role     the data of reconcile.c and the table of allowed moves; pure.
 * Thread   [loop]
 * See      task.c for the diagram
 */
#ifndef ORLOP_AGENT_TASK_H
#define ORLOP_AGENT_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.pb-c.h"
#include "agent/store.h"
#include "runtime/base/sm.h"

enum task_state {
    TASK_NEW = 0,   /* nobody has looked yet: no list from the keeper */
    TASK_WAITING,   /* for back-off, leftovers, view, interlock, dependencies */
    TASK_PREPARING, /* a pool job makes root, mounts, cgroup */
    TASK_STARTING,  /* START is with the keeper */
    TASK_RUNNING,
    TASK_DRAINING,  /* wanted STOP: until its last connection ends */
    TASK_STOPPING,  /* stop signal sent, grace runs */
    TASK_CLOSING,   /* CLOSE is with the keeper */
    TASK_SAVING,    /* its end is known and on the way to disk */
    TASK_FINAL,     /* reported; leftovers are removed */
    TASK_RELEASING, /* nothing is left; on the way to disk */
    TASK_GONE,      /* reported so; address and volumes are free */
    TASK_DELETING,  /* committed and not wanted any more: records and files go */
    TASK_HALTED,    /* the node is being stopped; runs again with the next agent */
    TASK__COUNT,
};

extern const struct sm_state task_states[TASK__COUNT];

/* Asked of the shell and not answered yet. */
enum task_pending {
    TASK_PENDING_PREPARE = 1 << 0,
    TASK_PENDING_START = 1 << 1,
    TASK_PENDING_CLOSE = 1 << 2,
    TASK_PENDING_CLEAN = 1 << 3,
    TASK_PENDING_SAVE = 1 << 4,
    TASK_PENDING_DELETE = 1 << 5,
    TASK_PENDING_SIGNAL = 1 << 6, /* not answered; only so that it is sent again to a new keeper */
};

enum { TASK_ID_MAX = 64, TASK_HEALTH_OUTPUT_MAX = 257 };

struct task {
    char id[TASK_ID_MAX];
    const struct astore_task *st; /* NULL: a stray of another store, or being deleted */
    int state;                    /* enum task_state */
    unsigned pending;
    bool closed;    /* the keeper refuses every later start */
    uint32_t dirty; /* the attempt that has, or may have, a cgroup, links, mounts; 0: none */
    bool ran;       /* some attempt of it was RUNNING */
    bool first;     /* the first attempt after the assignment: the scheduler judged depends_on */
    bool committed; /* the scheduler has its end and that it is gone */
    bool leaving;   /* conntrack was told that it drains */
    bool prepared;  /* the shell holds what START needs */

    uint64_t boot;
    uint32_t attempt, restarts, failures;
    int64_t state_since_ms;
    int64_t deadline_ms;    /* of the state; INT64_MAX: it may wait for ever */
    int64_t not_before_ms;  /* back-off, retry of a prepare */
    int64_t clean_after_ms; /* retry of a cleaning */
    int64_t drain_check_ms;
    int64_t deps_deadline_ms; /* 0: not waiting for dependencies */
    int64_t prepare_until_ms; /* its own retries of PREPARING end here; 0: none yet */
    int64_t running_since_ms;

    /* The end, once it is decided; before that the attempt's exit. */
    Orlop__TaskState end;
    bool exited, exit_known, oom;
    uint64_t oom_kills; /* while it runs: processes of the attempt that the kernel killed */
    int exit_code, signal;
    char reason[ERR_TEXT_MAX];
    int64_t started_unix_ms, ended_unix_ms;
    int32_t pid;
    Orlop__Health health;
    char health_output[TASK_HEALTH_OUTPUT_MAX];
};

/* What the scheduler is told; strings are borrowed from T. */
void task_status(const struct task *t, Orlop__TaskStatus *ret);
Orlop__TaskState task_wire_state(const struct task *t);

/* Something of it may hold its address and volumes. */
bool task_holds(const struct task *t);
/* It is on its way out: nobody wants it to go on. */
bool task_leaves(const struct task *t);

/* "<task>-<boot>.<attempt>": cgroup, FIFOs, links. */
enum { TASK_SANDBOX_MAX = TASK_ID_MAX + 34 };
void task_sandbox_name(const char *id, uint64_t boot, uint32_t attempt,
                       char ret[static TASK_SANDBOX_MAX]);

#endif
