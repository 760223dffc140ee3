// SPDX-License-Identifier: Apache-2.0
/* bench_storm_orlop N AT-ONCE KEEPER LOWER STATE RUN - a storm (storm.h) by a real keeper. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "storm.h"

static char program[] = "/bin/idle";
static struct rig_box boxes[STORM_MAX];
static int next_name;

static void remove_box(int k) {
    rig_box_remove(&boxes[k]);
}

static int index_of(const char *task) {
    for (int k = 0; k < storm_count; k++)
        if (strcmp(boxes[k].task, task) == 0) return k;
    return (int) CK(-1);
}

static void start_all(void) {
    int sent = 0, running = 0;
    while (running < storm_count) {
        while (sent < storm_count && sent - running < storm_at_once) {
            rig_box_start(&boxes[sent], (uint64_t) sent + 1, (char *[]){program, NULL});
            sent++;
        }
        Orlop__KeeperMessage *m = rig_next();
        running += m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_STARTED;
        keeper_message_free(m);
    }
}

/* SIGKILL: a program that is just beginning loses a SIGTERM, as pid 1. The way of the agent:
 * signal, exit, close, forget. The cgroup goes as soon as the exit is told. */
static void stop_all(void) {
    int forgotten = 0;
    for (int k = 0; k < storm_count; k++) rig_box_signal(&boxes[k], STORM_MAX + 1, SIGKILL);
    while (forgotten < storm_count) {
        Orlop__KeeperMessage *m = rig_next();
        if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_EXITED) {
            int k = index_of(m->exited->task);
            storm_ended(k);
            rig_box_close(&boxes[k], (uint64_t) k + 1);
        } else if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_CLOSED) {
            int k = index_of(m->closed->task);
            rig_box_forget(&boxes[k], (uint64_t) k + 1);
        } else if (m->id <= STORM_MAX) {
            forgotten++;
        }
        keeper_message_free(m);
    }
}

static struct storm_result orlop_storm(void) {
    for (int k = 0; k < storm_count; k++) {
        boxes[k] = (struct rig_box){.address = STORM_ADDRESS + (uint32_t) k};
        rig_box_make(&boxes[k], next_name++);
    }
    pid_t keeper = rig_keeper_pid();
    int64_t cpu = rig_cpu_ns(keeper), t0 = rig_now_ns();
    start_all();
    int64_t t1 = rig_now_ns();
    cpu = rig_cpu_ns(keeper) - cpu;
    storm_removers(remove_box);
    int64_t t2 = rig_now_ns();
    stop_all();
    storm_removed();
    int64_t t3 = rig_now_ns();
    return (struct storm_result){t1 - t0, cpu, t3 - t2};
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    storm_count = atoi(argv[1]);
    storm_at_once = atoi(argv[2]);
    if (storm_count < 1 || storm_count > STORM_MAX || storm_at_once < 1) return 2;
    rig_init(argv[4], argv[5], argv[6]);
    rig_start(argv[3]);
    storm_serve(orlop_storm);
    rig_stop();
    return 0;
}
