// SPDX-License-Identifier: Apache-2.0
/* runtime/container/spawn.h - the clone itself: pipes, flags, and what the keeper learns of the
 * child. Used by container.c (a start) and exec.c. [keeper] */
#ifndef ORLOP_CONTAINER_SPAWN_H
#define ORLOP_CONTAINER_SPAWN_H

#include "child.h"

struct spawn_pipes {
    int status[2], go[2];
};
void spawn__close_pipes(struct spawn_pipes *p);

struct spawn_phases {
    const struct child_phase *v;
    size_t n;
};

/* Clone with FLAGS into c->clone_cgroup (negative: where we are) and run PHASES in the child. On
 * failure nothing lives and *ret is untouched. */
must_use int spawn__clone(struct child *c, uint64_t flags, const struct spawn_phases *phases,
                          bool with_go, struct container_process *ret, struct err *err);

#endif
