// SPDX-License-Identifier: Apache-2.0
/* agent/prepare_task.h - everything that an attempt needs before the keeper is asked: root, mounts,
 * files, cgroup, seccomp program, the SandboxSpec.
 *
 * Role     one blocking call for the pool, its input copied or immutable. On failure its
 *          descriptors are closed; what it made on disk and in cgroups is removed by
 *          cleanup_attempt(), which runs before anything else of the task starts.
 * Thread   prepare_task_run [pool], the rest [loop].
 * Owns     struct prepared: an arena and the descriptors.
 * Limits   PREPARE_MOUNTS_MAX mounts, PREPARE_NETWORKS_MAX networks a task.
 */
#ifndef ORLOP_AGENT_PREPARE_TASK_H
#define ORLOP_AGENT_PREPARE_TASK_H

#include "agent/spec.h"
#include "agent/task.h"
#include "keeper.pb-c.h"
#include "runtime/base/paths.h"
#include "runtime/image/image.h"

enum { PREPARE_MOUNTS_MAX = 200, PREPARE_NETWORKS_MAX = 32 };

struct prepare_network {
    uint32_t id, address, gateway, prefix_len;
    bool internal;
};

struct prepare_input {
    const struct paths *paths;
    struct image_store *images;
    const Orlop__TaskSpec *task; /* stays until the task is deleted, which waits for this */
    uint64_t boot;
    uint32_t attempt;
    struct prepare_network networks[PREPARE_NETWORKS_MAX]; /* in the order of task->addresses */
    size_t n_networks;
};

struct prepared {
    struct arena arena;
    Orlop__SandboxSpec spec;
    int fds[PREPARE_MOUNTS_MAX + 2];
    size_t n_fds;
    struct spec_merged merged;
    char image_digest[IMAGE_DIGEST_MAX];
};

/* *ret_retry: the failure may pass by itself (no memory, no space, busy). */
must_use int prepare_task_run(const struct prepare_input *in, struct prepared **ret,
                              bool *ret_retry, struct err *err);
void prepared_free(struct prepared *p);
void prepared_close_fds(struct prepared *p);

/* What the service's image says, without preparing: stop signal and health check of a task that was
 * found running. The result lives in a struct prepared without descriptors. [pool] */
must_use int prepare_task_describe(const struct prepare_input *in, struct prepared **ret,
                                   struct err *err);

/* The links of a sandbox, one for each network in their order; the first that leads outside has the
 * default route. NULL: no memory. [any] */
Orlop__SandboxLink **prepare_task_links(struct arena *a, const char *sandbox,
                                        const struct prepare_network *networks, size_t n);

/* Names below STATE and RUN. */
enum { PREPARE_PATH_MAX = PATHS_FULL_MAX + 128 };
const char *prepare_task_dir(const struct paths *p, const char *id,
                             char buf[static PREPARE_PATH_MAX]);
const char *prepare_private_dir(const struct paths *p, const char *sandbox,
                                char buf[static PREPARE_PATH_MAX]);

/* The tmpfs RUN/private, mounted unless it is. */
must_use int prepare_mount_private(const struct paths *p, struct err *err);
void prepare_unmount_private(const struct paths *p);

#endif
