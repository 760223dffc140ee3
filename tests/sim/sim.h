// SPDX-License-Identifier: Apache-2.0
/* tests/sim/sim.h - one machine in one process: time, chance, processes that may die at any event.
 *
 * Role     the product's own objects (scheduler loop, sessions, apply, plan; agent session, store,
 *          reconcile, actions, keeper link) are linked as they are; what they stand on (libuv, bus,
 *          clock, heap, disk, keeper, network) is defined here instead, under the same names.
 * Thread   one. One seed = one run: nothing asks the machine for anything.
 * Owns     every byte that a simulated process allocates: SIGKILL frees them without a word.
 * See      README.md
 */
#ifndef ORLOP_TESTS_SIM_H
#define ORLOP_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"
#include "runtime/base/list.h"

/* Who runs, allocates and dies. The world is what does not: keeper's sandboxes, disks, clients. */
enum sim_role { SIM_WORLD, SIM_AGENT, SIM_SCHED, SIM_ROLES };

struct sim_process {
    struct list blocks; /* of the heap */
    uint64_t life;      /* raised by its death: events of an earlier one are void */
    bool up;
};

struct sim {
    uint64_t seed, random, events, order;
    int64_t now_us;
    enum sim_role who;
    struct sim_process processes[SIM_ROLES];
    bool verbose;
    struct buf *story; /* golden traces: what is said goes here */
    /* What may happen by itself; all off: every delay is one millisecond, nothing fails. */
    bool chaos;                 /* delays, failing calls, full disks, crashes of workloads */
    bool lossy;                 /* messages of a session are lost, doubled, overtaken */
    bool view_fails, disk_full; /* golden traces: a call fails for as long as it says */
    const char *naive; /* what the simulated keeper or disk does wrong: a proof that checks fire */
};
extern struct sim sim;

/* engine.c */
struct sim_event;
typedef void (*sim_fn)(void *arg);
void sim_reset(uint64_t seed);
struct sim_event *sim_after_us(enum sim_role who, int64_t us, sim_fn fn, void *arg);
void sim_cancel(struct sim_event *e);
bool sim_step(void); /* the next event; false: there is none */
int64_t sim_next_us(void);
void sim_run_until_us(int64_t us);
uint32_t sim_below(uint32_t n);
bool sim_chance(uint32_t permille); /* never without chaos */
/* MIN..MAX under chaos, most of them near MIN; else MIN or 1 ms, whichever is more. */
int64_t sim_delay_us(int64_t min_us, int64_t max_us);
enum sim_role sim_as(enum sim_role who); /* the one before */
bool sim_is_naive(const char *what);

/* heap.c */
void sim_heap_init(void);
void sim_heap_drop(enum sim_role who);

/* log.c: SAY is for golden traces and people, TRACE for people. */
void sim_say(const char *fmt, ...) printf_like(1, 2);
void sim_trace(const char *fmt, ...) printf_like(1, 2);
/* A check did not hold: prints NAME ("I1 ..."), seed, and ends the process with 1. */
_Noreturn void sim_violated(const char *name, const char *fmt, ...) printf_like(2, 3);

/* disk.c, raft.c */
void sim_raft_reset(void);
void sim_disk_reset(void);
void sim_disk_power_loss(void);
void sim_disk_new_store(void);  /* the agent's store is gone */
void sim_disk_sched_died(void); /* before its heap goes: what is in flight may be written */

/* bus.c */
struct bus_conn;
struct bus_conn_ops;
void sim_bus_reset(void);
struct bus_conn *sim_dial(enum sim_role who, const struct bus_conn_ops *ops, void *ctx);
void sim_bus_role_died(enum sim_role who);
void sim_link_break(enum sim_role who); /* WHO's connections to the scheduler */
void sim_link_cut(bool cut);            /* the agent cannot dial */
enum sim_hold { SIM_HOLD_NONE, SIM_HOLD_DOWN, SIM_HOLD_UP };
void sim_link_hold(enum sim_hold which); /* golden traces: messages of that way wait */
void sim_link_drop_next(unsigned n);     /* the next N Wanted are lost */

/* keeper.c */
void sim_keeper_reset(void);
void sim_keeper_client_reset(void);
void sim_keeper_start(void);
void sim_keeper_die(bool anchor_too);
bool sim_keeper_up(void);
void sim_keeper_reboot(void);
void sim_keeper_hold(bool hold);
/* End the newest sandbox of TASK; false: none lives. */
bool sim_sandbox_exit(const char *task, int wait_status);
size_t sim_sandboxes_living(void);
bool sim_sandbox_lives(const char *task);
const char *sim_sandbox_random(void);

/* agent.c, sched.c */
struct agent;
struct sched;
extern struct agent *sim_agent; /* NULL: it does not run */
extern struct sched *sim_sched;
void sim_agent_start(void);
void sim_agent_die(void);
void sim_agent_stop(bool halt); /* SIGTERM, SIGUSR1 */
bool sim_agent_halting(void);
void sim_health_new(void); /* shell.c */
void sim_sched_start(void);
void sim_sched_die(void);
extern unsigned sim_boot; /* what the kernel's boot id is made of */

/* client.c */
void sim_client_reset(void);
void sim_client_write(char *line); /* "apply APP ...", "scale ...": see README */
bool sim_client_idle(void);

#endif
