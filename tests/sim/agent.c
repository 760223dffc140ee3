// SPDX-License-Identifier: Apache-2.0
/* The agent's process: agent/main.c without signals, lock, network and images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/session.h"
#include "agent/view.h"
#include "check.h"
#include "runtime/base/mem.h"
#include "sim.h"

struct agent *sim_agent;
unsigned sim_boot;
static bool ending;

static void conn_up(void *ctx, struct bus_conn *c) {
    struct agent *a = ctx;
    asession_conn_up(a->session, c);
}

static void conn_down(void *ctx, struct bus_conn *c, const struct err *why) {
    struct agent *a = ctx;
    (void) c;
    (void) why;
    asession_conn_down(a->session);
}

static const struct bus_conn_ops conn_ops = {.up = conn_up, .down = conn_down};

static void writer_failed(void *ctx, const struct err *err) {
    agent_fatal(ctx, err->text, err->code);
}

static void start_parts(struct agent *a) {
    agent_init_core(a);
    sim_health_new();
    ensure(aview_new(a, &a->view) == 0);
    ensure(asession_new(a, &a->session) == 0);
    ensure(klink_new(a->loop, "keeper.sock", &agent_klink_ops, a, &a->klink) == 0);
    if (astore_info(a->store)->idx) aview_changed(a->view);
    sim_dial(SIM_AGENT, &conn_ops, a);
}

/* The store wants a folder; its files are in disk.c. */
void sim_agent_start(void) {
    if (sim_agent) return;
    char boot_id[32];
    struct err err = {0};
    snprintf(boot_id, sizeof boot_id, "boot-%u", sim_boot);
    sim.processes[SIM_AGENT].up = true;
    enum sim_role was = sim_as(SIM_AGENT);
    struct agent *a = mem_zalloc(sizeof *a);
    a->loop = mem_zalloc(sizeof *a->loop);
    int r = astore_open("/proc/self", boot_id, "n1", &a->store, &err);
    if (r == -ENOSPC) { /* the anchor starts the next one */
        sim_trace("the agent ends: %s", err.text);
        sim_as(was);
        sim_agent = a;
        sim_agent_die();
        return;
    }
    if (r < 0) sim_violated("agent starts", "%s", err.text);
    sim_agent = a;
    ending = false;
    ensure(writer_new(a->loop, a->store, writer_failed, a, &a->writer) == 0);
    check_agent_starts(a);
    start_parts(a);
    sim_as(was);
    sim_say("an agent runs");
}

void sim_agent_die(void) {
    if (!sim_agent) return;
    sim_agent = NULL;
    sim.processes[SIM_AGENT].up = false;
    sim.processes[SIM_AGENT].life++;
    sim_bus_role_died(SIM_AGENT);
    sim_heap_drop(SIM_AGENT);
    close_range(3, 1023, 0); /* the simulator has none of its own */
}

static void end_now(void *arg) {
    (void) arg;
    sim_say("the agent ends");
    sim_agent_die();
}

void agent_check_stop(struct agent *a) {
    if (ending || a->stop == AGENT_RUNS || a->jobs || !writer_idle(a->writer)) return;
    if (a->stop == AGENT_HALTS && !rec_halted(&a->rec)) return;
    ending = true;
    sim_after_us(SIM_AGENT, 0, end_now, NULL);
}

static void check_again(void *arg) {
    (void) arg;
    agent_event(sim_agent, &(struct rec_event){.kind = REC_EV_TICK});
    if (!ending) sim_after_us(SIM_AGENT, 20000, check_again, NULL);
}

bool sim_agent_halting(void) {
    return sim_agent && sim_agent->stop == AGENT_HALTS;
}

void sim_agent_stop(bool halt) {
    struct agent *a = sim_agent;
    enum agent_stop how = halt ? AGENT_HALTS : AGENT_LEAVES;
    if (!a || a->stop >= how) return;
    sim_say("the agent is told to %s", halt ? "stop the node" : "end");
    enum sim_role was = sim_as(SIM_AGENT);
    a->stop = how;
    if (halt) {
        check_node_stops();
        agent_event(a, &(struct rec_event){.kind = REC_EV_HALT});
        actions_prepare_due(a);
    }
    check_again(NULL);
    sim_as(was);
}
