// SPDX-License-Identifier: Apache-2.0
/* runtime/container/cgroup_tree.h - which cgroup hierarchies this machine has mounted, and where.
 *
 * Role     read once from /proc/self/mountinfo; every directory that is handed out was checked to
 *          be on a cgroup file system: where a controller is not mounted, /sys/fs/cgroup is one
 *          plain tmpfs that all mount namespaces share, and mkdir there would "work".
 * Thread   [any]; no heap after the first call.
 */
#ifndef ORLOP_CONTAINER_CGROUP_TREE_H
#define ORLOP_CONTAINER_CGROUP_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "cgroup.h"

enum { CGROUP_PATH_MAX = 256, CGROUP_CONTROLLERS_MAX = 96 };

struct cgroup_tree {
    char path[CGROUP_PATH_MAX];
    char controllers[CGROUP_CONTROLLERS_MAX]; /* v1: "memory", "cpu,cpuacct", "name=systemd"; v2: ""
                                               */
};

struct cgroup_forest {
    enum cgroup_mode mode;
    bool has_v2;
    struct cgroup_tree v2;
    struct cgroup_tree v1[CGROUP_JOIN_MAX];
    size_t n_v1;
};

const struct cgroup_forest *cgroup__forest(void);

/* The v1 hierarchy that CONTROLLER is bound to; NULL = none. */
const struct cgroup_tree *cgroup__v1_with(const struct cgroup_forest *f, const char *controller);
bool cgroup__tree_has(const struct cgroup_tree *t, const char *controller);

/* The mount's own directory, its magic checked; or PARENT, or PARENT/NAME in it (NULL = not that
 * deep). -EINVAL for a name that could lead elsewhere. */
must_use int cgroup__open(const struct cgroup_forest *f, const struct cgroup_tree *t,
                          const char *parent, const char *name);
bool cgroup__name_ok(const char *name);

/* For tests: the forest that this text of mountinfo describes. */
void cgroup__parse_mountinfo(const char *text, struct cgroup_forest *ret);

#endif
