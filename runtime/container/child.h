// SPDX-License-Identifier: Apache-2.0
/* runtime/container/child.h - inside a start: what the phases of the child share.
 *
 * Role     struct child is filled by container.c or exec.c in the keeper, copied by clone, and
 *          worked on by the phases in child.c's table, one function each, in rootfs.c, mounts.c,
 *          masks.c ...
 * Thread   [child]: no heap; every descriptor is CLOEXEC; a failing phase ends the child.
 */
#ifndef ORLOP_CONTAINER_CHILD_H
#define ORLOP_CONTAINER_CHILD_H

#include <sys/resource.h>

#include "container.h"
#include "process.h"

enum { CHILD_FDS_MAX = 253 }; /* what one packet can carry */

struct child {
    struct process process;
    const int *fds; /* of the request */
    size_t n_fds;
    const char *cgroup_parent, *cgroup; /* cgroup "" = none */
    int clone_cgroup;                   /* v2: for CLONE_INTO_CGROUP, the keeper's; else negative */

    /* a start */
    const Orlop__SandboxSpec *spec;
    const char *fifo[2];
    bool report_ready;
    int oom_score_adj;
    int devpts; /* tty: the instance made by the keeper; else -1 */
    int root;   /* the container's root directory */
    int null;   /* its /dev/null, character device 1:3 */
    uint64_t cgroup_mount_id;

    /* an exec */
    const struct container_exec *where;
    struct rlimit limits[RLIM_NLIMITS]; /* of the sandbox's pid 1 */
    int target_root;                    /* /proc/PID/root of the sandbox, opened before */
};

struct child_phase {
    const char *name; /* what `orlop why` shows; below sizeof container_report.phase */
    int (*run)(struct child *c, struct err *err);
};

/* Run PHASES, report, wait for the go byte if there is one, exec. */
_Noreturn void child__run(struct child *c, const struct child_phase *phases, size_t n);

/* Close all descriptors but 0 to 2 and what the child needs: a waiting child must not keep the
 * pipes of its siblings open. Reset signals. */
int child__alone(struct child *c, struct err *err);
int child__join_tasks(struct child *c, struct err *err);
int child__set_oom_score(struct child *c, struct err *err);
int child__look_up_user(struct child *c, struct err *err);
int child__stdio(struct child *c, struct err *err);
/* Keyring, working directory, identity: the last things before the program is looked for. */
int child__become(struct child *c, struct err *err);
int child__find_program(struct child *c, struct err *err);

extern const struct child_phase child__start_phases[];
extern const size_t child__n_start_phases;

/* rootfs.c */
int rootfs__private(struct child *c, struct err *err);
int rootfs__attach(struct child *c, struct err *err);
int rootfs__proc(struct child *c, struct err *err);
int rootfs__sys(struct child *c, struct err *err);
int rootfs__cgroup(struct child *c, struct err *err);
int rootfs__dev(struct child *c, struct err *err);
int rootfs__console(struct child *c, struct err *err);
int rootfs__pivot(struct child *c, struct err *err);

/* mounts.c */
int mounts__apply(struct child *c, struct err *err);
int mounts__workdir(struct child *c, struct err *err);
/* May anything be mounted on TARGET, which the spec calls NAME? */
int mounts__check_target(const struct child *c, int target, const char *name, struct err *err);

/* devices.c */
int devices__apply(struct child *c, struct err *err);

/* masks.c */
int masks__apply(struct child *c, struct err *err);

/* stdio.c */
int stdio__open_fifos(struct child *c, struct err *err);

#endif
