// SPDX-License-Identifier: Apache-2.0
/* The scheduler's process: scheduler/main.c without signals, lock and socket. */
#include "scheduler/sched.h"

#include "check.h"
#include "runtime/base/mem.h"
#include "sim.h"

struct sched *sim_sched;

void sim_sched_start(void) {
    if (sim_sched) return;
    struct err err = {0};
    struct paths paths = {.state = "/sim"};
    sim.processes[SIM_SCHED].up = true;
    enum sim_role was = sim_as(SIM_SCHED);
    struct sched *s = mem_zalloc(sizeof *s);
    uv_loop_t *loop = mem_zalloc(sizeof *loop);
    int r = sched_init(s, loop, &paths, &err);
    if (r == 0) r = store_open(loop, "/sim/raft", &sched_store_ops, s, &s->store, &err);
    if (r < 0) sim_violated("scheduler starts", "%s", err.text);
    sim_sched = s;
    sim_as(was);
    check_sched_starts(s);
    sim_say("a scheduler runs");
}

void sim_sched_die(void) {
    if (!sim_sched) return;
    sim_say("the scheduler is killed");
    sim_disk_sched_died();
    sim_sched = NULL;
    sim.processes[SIM_SCHED].up = false;
    sim.processes[SIM_SCHED].life++;
    sim_bus_role_died(SIM_SCHED);
    sim_heap_drop(SIM_SCHED);
}
