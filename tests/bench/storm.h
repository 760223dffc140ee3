// SPDX-License-Identifier: Apache-2.0
/* tests/bench/storm.h - what a storm by the keeper and one by the floor share. A storm: N idle
 * sandboxes with a link each, all started, AT-ONCE at a time, then all stopped.
 *
 * Overlay, cgroup and seccomp program are made before the clock runs, as the agent makes them before
 * a start; the cgroups are removed by a few threads beside it, as the agent's pool does. */
#ifndef ORLOP_BENCH_STORM_H
#define ORLOP_BENCH_STORM_H

#include <stdint.h>

enum { STORM_MAX = 1000, STORM_ADDRESS = 0x0a500002 };

struct storm_result {
    int64_t started_ns; /* how long the starts took */
    int64_t cpu_ns;     /* of the one who cloned, for all of them */
    int64_t stopped_ns; /* from the first SIGKILL until nothing is left */
};

extern int storm_count, storm_at_once;

/* Threads that call REMOVE for each that storm_ended() names; storm_removed() waits for them, and
 * for the last link. */
void storm_removers(void (*remove)(int k));
void storm_ended(int k);
void storm_removed(void);

/* Reads one byte from stdin a storm, answers a line "RATE CPU TEARDOWN": starts per second,
 * microseconds of CPU for each, milliseconds. */
void storm_serve(struct storm_result (*storm)(void));

#endif
