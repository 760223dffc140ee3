// SPDX-License-Identifier: Apache-2.0
/* tests/lib/rig.h - a place to start sandboxes in: own network and mount namespace, a
 * small root file system made of busybox, two FIFOs, a cgroup parent of its own. All of it goes
 * with the test.
 */
#ifndef ORLOP_TESTS_CONTAINER_RIG_H
#define ORLOP_TESTS_CONTAINER_RIG_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/container/container.h"

enum { RIG_OUTPUT_MAX = 64 * 1024 };

struct rig {
    char dir[64];
    char cgroup_parent[32];
    char out_path[96], err_path[96];
    int out_fd, err_fd;
    unsigned mounts; /* how many roots were made */
};

struct rig_result {
    int failed; /* container_spawn's own code, or minus the report's error */
    char phase[32];
    char text[ERR_TEXT_MAX];
    int status; /* wait status when it ran */
    char out[RIG_OUTPUT_MAX], err[RIG_OUTPUT_MAX];
};

/* NULL when it stands, else why this machine cannot (the test then skips). */
const char *rig_set_up(struct rig *r);
void rig_tear_down(struct rig *r);

/* A spec that runs ARGV in a fresh root, with the default capabilities. */
struct rig_spec {
    Orlop__SandboxSpec spec;
    char *argv[16];
    char *env[8];
    int fds[16];
    size_t n_fds;
};
void rig_spec_init(struct rig *r, struct rig_spec *s, const char *const *argv);
void rig_spec_fini(struct rig_spec *s);

/* The root directory's mount is at s->fds[0]; change the image through it before rig_run. */
void rig_run(struct rig *r, struct rig_spec *s, struct rig_result *ret);

/* Start without waiting: the child waits for go. */
int rig_spawn(struct rig *r, struct rig_spec *s, struct container_process *p, struct err *err);
/* Go, wait for the end, collect. Takes P's descriptors. */
void rig_finish(struct rig *r, struct container_process *p, struct rig_result *ret);
/* Read standard output until TEXT is in it. */
void rig_await(struct rig *r, struct rig_result *ret, const char *text);
/* Wait until the workload was exec'ed (0) or the report came (its negative code). */
int rig_started(struct container_process *p, struct rig_result *ret);

#endif
