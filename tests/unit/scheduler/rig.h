// SPDX-License-Identifier: Apache-2.0
/* tests/unit/scheduler/rig.h - a real scheduler process, a client, and an agent that only pretends.
 *
 * The scheduler runs in a process of its own, in a private directory below the test's temporary
 * one; it can be killed and started again. Client and agent share the test's loop. Waits end at
 * RIG_DEADLINE_MS.
 */
#ifndef ORLOP_TEST_SCHED_RIG_H
#define ORLOP_TEST_SCHED_RIG_H

#include <uv.h>

#include "agent.pb-c.h"
#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "proto/arena.h"
#include "proto/bus/bus.h"
#include "runtime/base/map.h"

enum { RIG_DEADLINE_MS = 20000 };

struct fake_task {
    char id[64], service[64];
    uint32_t slot, address;
    Orlop__Want want;
};

struct rig {
    uv_loop_t loop;
    uv_timer_t deadline;
    bool late;
    char dir[64];
    pid_t scheduler;
    struct bus *bus;
    bool bus_closed;
    struct bus_conn *client;
    uint64_t requests;

    /* The agent. */
    struct bus_conn *agent;
    struct bus_stream *session;
    uint8_t store[16];
    uint64_t inc, number, idx;
    bool obedient; /* reports what it is asked for: RUN -> running, STOP -> shut down and gone */
    Orlop__TaskStatus *ends; /* not NULL: so its tasks end that should run */
    unsigned fulls, deltas, commits;
    uint64_t answered_idx;
    struct map tasks;        /* id -> struct fake_task */
    struct map services;     /* name -> (void *) number of serving endpoints + 1 */
    uintptr_t web_when_full; /* of service web, as the newest full set had it */
    struct map volumes_gone;
    uint64_t asked_logs, asked_exec;
    char exec_task[64];
};

void rig_start(struct rig *r);
void rig_stop(struct rig *r);
void rig_kill_scheduler(struct rig *r); /* SIGKILL; client and agent dial on */
void rig_run_scheduler(struct rig *r);
void rig_dial_agent(struct rig *r);
/* Heartbeats and Hello stop: as if it had been killed. */
void rig_hang_up_agent(struct rig *r);
/* Run the loop until PRED; false: deadline. */
bool rig_until(struct rig *r, bool (*pred)(struct rig *r));

/* One request. NULL and *ret_error (the sentence in ERR): the scheduler said no. The first DATA
 * message, in ARENA. */
void *rig_call(struct rig *r, uint32_t method, const ProtobufCMessage *req,
               const ProtobufCMessageDescriptor *answer, struct arena *arena, struct err *err);
Orlop__RequestId rig_request_id(struct rig *r);

#endif
