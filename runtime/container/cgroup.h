// SPDX-License-Identifier: Apache-2.0
/* runtime/container/cgroup.h - cgroups on v2, v1 and the hybrid, behind one interface.
 *
 * Role     the agent makes, limits, reads and removes; the keeper only opens what clone and join
 *          need. Our parent (paths.cgroup) lies at the top of every hierarchy that is mounted; each
 *          mount's file-system magic is checked first, a plain tmpfs is never written to.
 * Thread   [any]; cgroup_remove may block (RCU, force_empty): the agent's pool only.
 * See      README.md; man 7 cgroups
 */
#ifndef ORLOP_CONTAINER_CGROUP_H
#define ORLOP_CONTAINER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/err.h"

enum cgroup_mode { CGROUP_MODE_NONE, CGROUP_MODE_V1, CGROUP_MODE_HYBRID, CGROUP_MODE_V2 };

/* May be opened beside the default ones. */
struct cgroup_device {
    char type;          /* 'a' = any, 'b', 'c' */
    int major, minor;   /* -1 = any */
    const char *access; /* of "rwm" */
};
enum { CGROUP_DEVICES_MAX = 128 };

struct cgroup_limits { /* 0 = none */
    uint64_t memory_bytes;
    uint64_t memory_reservation_bytes;
    uint64_t cpu_millis;        /* 1000 = one core */
    uint64_t cpu_weight_millis; /* reservation -> shares */
    uint64_t pids;
    const struct cgroup_device *devices;
    size_t n_devices; /* at most CGROUP_DEVICES_MAX */
};

struct cgroup_usage {
    uint64_t memory_bytes;
    uint64_t cpu_usec;
    uint64_t pids;
    uint64_t oom_kills;
};

enum cgroup_mode cgroup_mode(void); /* looked up once */
const char *cgroup_mode_name(enum cgroup_mode mode);

/* Make PARENT/NAME everywhere with LIMITS and the default device list. Fails before anything of it
 * is left when a controller that LIMITS needs is missing (the sentence names it). An existing one
 * without processes is replaced; with processes: -EBUSY. */
must_use int cgroup_make(const char *parent, const char *name, const struct cgroup_limits *limits,
                         struct err *err);
must_use int cgroup_read_usage(const char *parent, const char *name, struct cgroup_usage *ret);

/* After a SIGKILL: a process that a v1 freezer holds dies only when it is let go. */
void cgroup_thaw(const char *parent, const char *name);

/* Kill all in it (v2: cgroup.kill; v1: until none is left). */
must_use int cgroup_kill(const char *parent, const char *name, struct err *err);

/* Empty its page cache, remove it and what the container made below it. Missing = success. */
must_use int cgroup_remove(const char *parent, const char *name, struct err *err);
must_use int cgroup_remove_parent(const char *parent, struct err *err); /* when the node stops */

/* Names below PARENT, for clean-up after a crash: *ret is a strv (see base/str.h). */
struct strv;
must_use int cgroup_list(const char *parent, struct strv *ret);

/* v2 and hybrid: directory fd for CLONE_INTO_CGROUP; -ENOENT where there is no v2 tree. */
must_use int cgroup_open_v2(const char *parent, const char *name);
/* The same for the group that process PID is in at this moment, if it lies in PARENT/NAME: a
 * workload that manages cgroups itself has moved its pid 1 further down, and ours then takes no
 * process. */
must_use int cgroup_open_v2_of(pid_t pid, const char *parent, const char *name);

/* v1 and hybrid: descriptors of the `tasks` file of each v1 hierarchy; the child writes "0" to
 * each. Returns their number (at most CGROUP_JOIN_MAX), the caller closes them. */
enum { CGROUP_JOIN_MAX = 16 };
must_use int cgroup_open_tasks(const char *parent, const char *name,
                               int fds[static CGROUP_JOIN_MAX]);

#endif
