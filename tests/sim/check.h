// SPDX-License-Identifier: Apache-2.0
/* tests/sim/check.h - the invariants, looked at wherever something happens.
 *
 * Role     the truth that no process has: a replica of the state that every entry on disk is
 *          applied to at once (`truth`), what was really exec'ed and what really ended, what was
 *          told to whom. README.md says which invariant is where.
 * Owns     its tables, in the world's heap.
 */
#ifndef ORLOP_TESTS_SIM_CHECK_H
#define ORLOP_TESTS_SIM_CHECK_H

#include "agent.pb-c.h"
#include "keeper_sim.h"
#include "runtime/base/err.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"
#include "runtime/net/net.h"

struct agent;
struct sched;

/* An attempt that was exec'ed. */
struct check_attempt {
    bool ended;
    int wait_status;
};

struct check_task {
    char id[64];
    uint64_t store; /* which of the node's stores it was prepared from */
    bool restart_never, prepared;
    bool told_end;                    /* the agent has told an end of it */
    bool final, lost, orphaned, gone; /* committed */
    uint64_t boot;                    /* committed status, which never falls */
    uint32_t attempt;
    int state;
    unsigned execs;
    struct map attempts; /* "boot.attempt" -> struct check_attempt */
    uint64_t service_id, assigned_idx, generation;
    char app[64], service[64], hash[33];
    uint32_t slot;
    uint32_t addresses[8];
    size_t n_addresses;
    struct strv volumes;
};

extern struct check_world {
    struct map tasks;    /* id -> struct check_task: all that ever were */
    struct map services; /* "<id>" -> struct check_service */
    struct map accepted; /* "client/number" -> idx, as a number */
    struct map refused;  /* the same: told to have failed for good */
    size_t effects;      /* writes that changed something, refused ones too */
    struct map rests;    /* address -> when it was released, in the log's time */
    uint64_t store;      /* counts the node's stores */
    int64_t leader_us;   /* the last LeaderStart */
    unsigned downs_open; /* NodeDown proposed, not applied */
    unsigned created;
    bool halting;
    int64_t halting_until_us; /* what it has sent before it died may still come */
    /* What the agent keeps on disk, as seen at its last step. */
    uint8_t store_id[16];
    uint64_t inc, idx, boot;
    unsigned kernel_boot;
    /* The maps in the kernel. */
    uint64_t view_idx;
    struct map endpoints; /* "address" -> struct check_endpoint, the serving ones */
} check;

struct check_service {                      /* what ever was, as long as the service has this id */
    bool started, healthy, completed, idle; /* idle: no replica was wanted of it */
};

struct check_endpoint {
    char app[64], service[64];
};

/* In files that know the scheduler's tables; the agent's have the same names. */
#ifdef ORLOP_SCHEDULER_STATE_STATE_H
extern struct state check_truth;
#endif

void check_reset(void);
struct check_task *check_task(const char *id);
struct check_service *check_service(uint64_t id);

/* check_state.c: the log. */
void check_proposed(const uint8_t *data, size_t len);
void check_refused(const uint8_t *data, size_t len); /* by the disk */
void check_committed(uint64_t idx, const uint8_t *data, size_t len);
void check_applied(uint64_t idx, const uint8_t *data, size_t len); /* by the running scheduler */
const char *check_task_named(const char *name);                    /* id of the newest one; NULL */
void check_show(void);                                             /* the tasks, into the trace */
void check_sched_starts(const struct sched *s);
void check_answered(const uint8_t client[static 16], uint64_t number, const struct err *err);

/* check_node.c: what runs. */
void check_prepare(const Orlop__TaskSpec *spec);
void check_describe(struct sandbox *s);
void check_exec(const struct sandbox *s);
void check_ended(const struct sandbox *s);
void check_reaped(const struct sandbox *s);
void check_close(const char *task, bool living);
void check_signal(const struct sandbox *s, int signal);
void check_forget(const char *task);
void check_cleaned(const char *sandbox);
void check_files_removed(const char *task);
void check_swept(const struct strv *known);
void check_volume_removed(const char *name);
void check_view(const struct net_view *v, uint64_t idx);
void check_node_stops(void);
void check_rebooted(void);
void check_wiped(void);

/* check_agent.c: the agent's own tables. */
struct check_held {
    const char *task;
    bool in_set;
    Orlop__Want want;
};
void check_agent_starts(const struct agent *a);
void check_agent_step(void);
bool check_agent_forces(const char *task); /* its drain took too long */
bool check_agent_has(const char *task);
/* For each task of its store, until FN says no. */
int check_agent_each(int (*fn)(const struct check_held *h, struct err *why), struct err *why);

/* check_talk.c: what is said, and the end. */
bool check_is_wanted(const uint8_t *body, size_t len);
void check_message(bool up, const uint8_t *body, size_t len);
/* 0: all that is wanted runs, and everybody knows the same. */
must_use int check_rest(struct err *why);

#endif
