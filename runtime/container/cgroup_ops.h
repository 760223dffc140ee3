// SPDX-License-Identifier: Apache-2.0
/* runtime/container/cgroup_ops.h - the two kinds of hierarchy behind cgroup.c. On a hybrid machine
 * v1 has limits, usage and devices, v2 has kill and the clone.
 *
 * Thread   [pool]
 */
#ifndef ORLOP_CONTAINER_CGROUP_OPS_H
#define ORLOP_CONTAINER_CGROUP_OPS_H

#include "cgroup_tree.h"

struct cgroup_id {
    const struct cgroup_forest *forest;
    const char *parent, *name;
};

struct cgroup_ops {
    /* LIMITS NULL: only the directory (the v2 half of a hybrid). */
    int (*make)(const struct cgroup_id *id, const struct cgroup_limits *limits, struct err *err);
    int (*usage)(const struct cgroup_id *id, struct cgroup_usage *ret);
    int (*kill)(const struct cgroup_id *id, struct err *err);
    int (*remove)(const struct cgroup_id *id, struct err *err);
};
extern const struct cgroup_ops cgroup__v1_ops, cgroup__v2_ops;

/* Make NAME below DIR; an old one without processes is replaced. Returns its descriptor. */
must_use int cgroup__make_dir(int dir, const char *name, struct err *err);
must_use int cgroup__write(int dir, const char *file, struct err *err, const char *fmt, ...)
    printf_like(4, 5);
/* Where a failure changes nothing: what could not be done now is no reason to stop. */
void cgroup__try_write(int dir, const char *file, const char *text);
must_use int cgroup__read_u64(int dir, const char *file, uint64_t *ret);
/* "KEY N" lines, as memory.events has them. */
must_use int cgroup__read_key(int dir, const char *file, const char *key, uint64_t *ret);

/* Remove NAME below DIR and all below it; EMPTY is called on each directory before. */
must_use int cgroup__remove_tree(int dir, const char *name, void (*empty)(int dir),
                                 struct err *err);
/* Is anything below or in DIR alive? Calls EACH (may be NULL) for every process. */
must_use int cgroup__each_process(int dir, void (*each)(pid_t pid, void *arg), void *arg,
                                  size_t *ret_n);

/* Wait a moment for the kernel; false = the deadline has passed. */
bool cgroup__pause(int64_t deadline_mono_ms);

void cgroup__v1_thaw(const struct cgroup_id *id);

/* cgroup_devices.c */
must_use int cgroup__v1_devices(int dir, const struct cgroup_device *more, size_t n,
                                struct err *err);
must_use int cgroup__bpf_devices(int dir, const struct cgroup_device *more, size_t n,
                                 struct err *err);

/* CPU reservation in the unit of v1: 1024 = one core. */
uint64_t cgroup__shares(uint64_t weight_millis);

#endif
