// SPDX-License-Identifier: Apache-2.0
#include "chaos.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "runtime/base/mem.h"
#include "sim.h"

enum { SECOND = 1000000, REST_MAX_S = 1500, CREATIONS_MAX = 400 };

static void write_line(const char *fmt, ...) printf_like(1, 2);
static void write_line(const char *fmt, ...) {
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    sim_trace("the user: %s", line);
    sim_client_write(line);
}

/* --- the user -------------------------------------------------------------------------------- */

static const char *pick(const char *const *v, size_t n) {
    return v[sim_below((uint32_t) n)];
}

/* db <- migrate (one-shot) <- api <- web, of changing images, sizes, policies and conditions. */
static void apply_app(const char *app) {
    static const char *const policies[] = {"always", "always", "on-failure", "on-failure:3", "no"};
    static const char *const conditions[] = {"started", "healthy", "started:restart"};
    write_line("network default");
    if (sim_below(3)) write_line("network back internal");
    write_line("volume data");
    write_line("service db net=default image=db:%u mount=data:/data restart=%s%s", sim_below(2),
               pick(policies, 2), sim_below(2) ? " grace=500" : "");
    if (sim_below(3))
        write_line("service migrate net=default image=migrate:%u needs=db:started restart=%s",
                   sim_below(2), pick(policies + 2, 3));
    else
        write_line("service migrate net=default restart=no");
    write_line("service api net=default replicas=%u image=api:%u needs=migrate:completed "
               "restart=%s health",
               sim_below(4), sim_below(3), pick(policies, 5));
    if (sim_below(4))
        write_line("service web net=default replicas=%u image=web:%u needs=api:%s restart=%s",
                   1 + sim_below(3), sim_below(2), pick(conditions, 3), pick(policies, 5));
    write_line("apply %s%s", app, sim_below(5) ? "" : " force=db");
}

static void user(void) {
    static const char *const apps[] = {"one", "two"};
    const char *app = pick(apps, 2);
    if (!sim_client_idle()) return;
    switch (sim_below(6)) {
    case 0:
    case 1:
        apply_app(app);
        return;
    case 2:
    case 3:
        write_line("scale %s api=%u", app, sim_below(5));
        return;
    case 4:
        write_line("restart %s%s", app, sim_below(2) ? "" : " db");
        return;
    default:
        write_line("remove %s%s", app, sim_below(2) ? "" : " volumes");
    }
}

/* --- faults ---------------------------------------------------------------------------------- */

static void start_agent(void *arg) {
    (void) arg;
    sim_agent_start();
}

static void start_sched(void *arg) {
    (void) arg;
    sim_sched_start();
}

static void start_keeper(void *arg) {
    (void) arg;
    sim_keeper_start();
}

/* Somebody starts it again: soon, as a rule. */
static void comes_back(sim_fn start) {
    int64_t max = sim_below(8) ? 2 * SECOND : 30 * SECOND;
    sim_after_us(SIM_WORLD, sim_delay_us(5000, max), start, NULL);
}

static void kill_agent(void) {
    if (!sim_agent) return;
    sim_say("the agent is killed");
    sim_agent_die();
    comes_back(start_agent);
}

static void kill_keeper(bool anchor) {
    sim_keeper_die(anchor);
    comes_back(start_keeper);
}

static void kill_sched(void) {
    sim_sched_die();
    comes_back(start_sched);
}

void chaos_power_loss(void) {
    sim_say("power loss");
    sim_agent_die();
    sim_sched_die();
    sim_keeper_reboot();
    sim_disk_power_loss();
    check_rebooted();
    sim_boot++;
}

static void reboot(void) {
    chaos_power_loss();
    comes_back(start_agent);
    comes_back(start_sched);
    comes_back(start_keeper);
}

void chaos_wipe(void) {
    sim_say("the agent's store is lost");
    sim_agent_die();
    sim_disk_new_store();
    check_wiped();
}

/* With or without a reboot. */
static void wipe(void) {
    if (sim_below(2)) reboot();
    chaos_wipe();
    comes_back(start_agent);
}

static void join(void *arg) {
    (void) arg;
    sim_link_cut(false);
}

static void cut(void) {
    sim_link_cut(true);
    sim_after_us(SIM_WORLD, sim_delay_us(100000, 60 * SECOND), join, NULL);
}

static void crash_workload(void) {
    const char *task = sim_sandbox_random();
    if (task) (void) sim_sandbox_exit(task, sim_below(2) ? 1 << 8 : sim_below(2) ? 0 : 9);
}

static void agent_started_again(void *arg) {
    (void) arg;
    if (!sim_agent) sim_agent_start();
}

/* Told to end, or to stop the node; the next one comes when it has ended. */
static void stop_agent(bool halt) {
    sim_agent_stop(halt);
    for (int i = 1; i < 40; i++) sim_after_us(SIM_WORLD, i * SECOND, agent_started_again, NULL);
}

static void fault(void) {
    switch (sim_below(22)) {
    case 0:
    case 1:
    case 2:
    case 3:
        kill_agent();
        return;
    case 4:
    case 5:
    case 6:
        kill_keeper(sim_below(4) == 0);
        return;
    case 7:
    case 8:
    case 9:
        kill_sched();
        return;
    case 10:
        kill_agent();
        kill_keeper(sim_below(2) == 0);
        if (sim_below(2)) kill_sched();
        return;
    case 11:
    case 12:
        reboot();
        return;
    case 13:
        if (sim_below(3) == 0) wipe();
        return;
    case 14:
        stop_agent(sim_below(2) == 0);
        return;
    case 15:
    case 16:
        sim_link_break(SIM_AGENT);
        return;
    case 17:
        cut();
        return;
    case 18:
        sim_link_break(SIM_WORLD);
        return;
    default:
        crash_workload();
    }
}

/* --- one run --------------------------------------------------------------------------------- */

void chaos_run_for(int64_t us) {
    int64_t end = sim.now_us + us;
    while (sim_next_us() <= end) {
        (void) sim_step();
        if (sim_agent) check_agent_step();
    }
    sim.now_us = end;
}

static int64_t pause_us(void) {
    static const int64_t longest[] = {3000,       3000,       100000,     500000,
                                      2 * SECOND, 2 * SECOND, 8 * SECOND, 40 * SECOND};
    if (sim_below(60) == 0) return 150 * (int64_t) SECOND;
    return sim_below((uint32_t) longest[sim_below(8)]);
}

void chaos_begin(uint64_t seed, bool chaos) {
    sim_reset(seed);
    sim_boot = 1;
    sim.chaos = chaos;
    sim.lossy = chaos && seed % 4 == 0;
    sim_disk_reset();
    sim_bus_reset();
    sim_keeper_reset();
    sim_keeper_client_reset();
    check_reset();
    sim_agent = NULL;
    sim_sched = NULL;
    sim_client_reset();
    sim_sched_start();
    sim_keeper_start();
    sim_agent_start();
}

static void peace(void) {
    struct err why = {0};
    sim_say("peace");
    sim.chaos = sim.lossy = false;
    sim_link_cut(false);
    sim_keeper_start();
    sim_sched_start();
    if (!sim_agent_halting()) sim_agent_start();
    sim_link_break(SIM_AGENT); /* what was lost for good is asked for anew */
    unsigned created = check.created;
    for (int64_t s = 0; s < REST_MAX_S; s += 10) {
        chaos_run_for(10 * SECOND);
        if (!sim_agent) sim_agent_start();
        if (sim_client_idle() && check_rest(&why) == 0) break;
        if (check.created - created > CREATIONS_MAX)
            sim_violated("I25", "%u tasks made and no end", check.created - created);
    }
    bool rest = check_rest(&why) == 0 && sim_client_idle();
    if (!rest) check_show();
    if (!rest)
        sim_violated("I23", "no rest: %s",
                     sim_client_idle() ? why.text : "a write is not answered");
}

void chaos_run(uint64_t seed, unsigned steps) {
    chaos_begin(seed, true);
    apply_app("one");
    for (unsigned i = 0; i < steps; i++) {
        chaos_run_for(pause_us());
        if (sim_below(3) == 0)
            user();
        else
            fault();
    }
    peace();
}
