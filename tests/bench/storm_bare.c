// SPDX-License-Identifier: Apache-2.0
/* bench_storm_bare N AT-ONCE LOWER STATE CGROUP SECCOMP - a storm (storm.h) by the floor. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "floor.h"
#include "floor_int.h"
#include "storm.h"

static char program[] = "/bin/idle";
static int next_name;
static struct floor_box bare[STORM_MAX];

static void remove_bare(int k) {
    floor_box_remove(&bare[k]);
}

/* One wait for all that are on their way: their status pipes end at exec. */
static void bare_start_all(void) {
    struct pollfd p[STORM_MAX];
    int sent = 0, running = 0, n = 0;
    while (running < storm_count) {
        while (sent < storm_count && sent - running < storm_at_once) {
            floor_box_start(&bare[sent], program, NULL, 2);
            p[n++] = (struct pollfd){.fd = bare[sent++].status, .events = POLLIN};
        }
        CK(poll(p, (nfds_t) n, -1));
        for (int i = n - 1; i >= 0; i--)
            if (p[i].revents) {
                running++;
                p[i] = p[--n];
            }
    }
}

static void bare_stop_all(void) {
    static struct pollfd p[STORM_MAX];
    for (int k = 0; k < storm_count; k++) CK(kill(bare[k].pid, SIGKILL));
    for (int k = 0; k < storm_count; k++)
        p[k] = (struct pollfd){.fd = bare[k].pidfd, .events = POLLIN};
    for (int left = storm_count; left > 0;) {
        CK(poll(p, (nfds_t) storm_count, -1));
        for (int k = 0; k < storm_count; k++)
            if (p[k].fd >= 0 && p[k].revents) {
                floor_box_reap(&bare[k], SIGKILL);
                storm_ended(k);
                p[k].fd = -1;
                left--;
            }
    }
}

static struct storm_result bare_storm(void) {
    for (int k = 0; k < storm_count; k++) {
        bare[k] = (struct floor_box){.address = STORM_ADDRESS + (1 << 16) + (uint32_t) k};
        floor_box_make(&bare[k], next_name++);
    }
    int64_t cpu = floor_cpu_ns(), t0 = floor_now_ns();
    bare_start_all();
    int64_t t1 = floor_now_ns();
    cpu = floor_cpu_ns() - cpu;
    storm_removers(remove_bare);
    int64_t t2 = floor_now_ns();
    bare_stop_all();
    storm_removed();
    int64_t t3 = floor_now_ns();
    return (struct storm_result){t1 - t0, cpu, t3 - t2};
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    storm_count = atoi(argv[1]);
    storm_at_once = atoi(argv[2]);
    if (storm_count < 1 || storm_count > STORM_MAX || storm_at_once < 1) return 2;
    floor_init(argv[3], argv[4], argv[5], argv[6]);
    storm_serve(bare_storm);
    floor_fini();
    return 0;
}
