// SPDX-License-Identifier: Apache-2.0
/* tests/bench/floor.h - the floor: the kernel work of a start and nothing else. What Orlop does before a
 * start (overlay, cgroups, seccomp program) is made before here, too. cgroup v1 and hybrid only (of
 * the hybrid's v2 tree nothing is used).
 *
 * Every error ends the program: a floor that goes wrong must not look fast. */
#ifndef ORLOP_BENCH_FLOOR_H
#define ORLOP_BENCH_FLOOR_H

#include <stdint.h>
#include <sys/types.h>

struct floor_box {
    int k;
    int root;         /* detached overlay */
    int tasks[16];    /* of its cgroups */
    uint32_t address; /* 0 = a network namespace without a link */
    pid_t pid;
    int pidfd;
    int status; /* ends when the workload was exec'ed */
};

int64_t floor_now_ns(void);
int64_t floor_cpu_ns(void); /* that this process has run */

/* SECCOMP: a file with the program. CGROUP: name of the parent in each hierarchy. */
void floor_init(const char *lower, const char *state, const char *cgroup, const char *seccomp);
void floor_fini(void);

void floor_box_make(struct floor_box *b, int k);
/* Clone, and exec PROGRAM with ARGUMENT (may be NULL) and its stdout on OUT. */
void floor_box_start(struct floor_box *b, char *program, char *argument, int out);
void floor_box_reap(struct floor_box *b, int status); /* waits; its exit code, or signal */
void floor_box_remove(struct floor_box *b);

#endif
