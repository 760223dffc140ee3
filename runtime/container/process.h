// SPDX-License-Identifier: Apache-2.0
/* runtime/container/process.h - the workload's first process, however it is started: what a start
 * and an exec have in common (arguments, user, confinement, stdio, the pipes to the keeper).
 *
 * Role     process__init() runs in the keeper and makes the arrays that execve needs, so that the
 *          child needs no heap; everything else runs in the child.
 * Thread   [keeper], [child].
 */
#ifndef ORLOP_CONTAINER_PROCESS_H
#define ORLOP_CONTAINER_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "user.h"

enum {
    PROCESS_STRINGS_MAX = 65536, /* argv and env each: the kernel's own limit is on bytes */
    PROCESS_FILTER_MAX = 4096,   /* BPF_MAXINSNS */
};

struct process {
    /* given; argv and env are arrays of ours, the strings are borrowed */
    char **argv;
    char **env; /* with free slots behind the last for HOME, PATH and TERM */
    size_t n_env;
    const char *cwd, *user;
    const uint32_t *extra_groups;
    size_t n_extra_groups;
    uint64_t capabilities;
    bool no_new_privs;
    bool tty;
    int seccomp_fd; /* -1 = none */
    int stdio[3];   /* -1 = not yet known */
    int status_fd, go_fd;

    /* worked out in the child */
    struct user_identity who;
    char path[PATH_MAX];
    char home[USER_HOME_MAX + 8];
};

/* Borrows ARGV and ENV's strings. process__fini() frees what was allocated, in the keeper. */
must_use int process__init(struct process *p, char *const *argv, size_t n_argv, char *const *env,
                           size_t n_env, struct err *err);
void process__fini(struct process *p);

/* --- child only, from here on --- */

/* The value of NAME in the environment; NULL = not there. */
const char *process__env(const struct process *p, const char *name);
/* Complete the environment: HOME from the user, PATH and TERM when missing. */
void process__complete_env(struct process *p);

must_use int identity__lookup(struct process *p, int root, struct err *err);
/* Bounding set, groups, uid, capabilities, no_new_privs. Loads the filter when no_new_privs is off:
 * loading needs CAP_SYS_ADMIN, which is about to go. */
must_use int identity__switch(struct process *p, struct err *err);

must_use int confine__keyring(struct err *err);
must_use int confine__filter(const struct process *p, struct err *err);

must_use int stdio__install(struct process *p, struct err *err);

/* chdir to the working directory and prove that it lies below the root. */
must_use int program__enter_cwd(const struct process *p, struct err *err);
must_use int program__find(struct process *p, struct err *err);
/* Does not return when it succeeds. */
int program__exec(const struct process *p, struct err *err);

/* Fork the workload and stay as pid 1. Returns in the workload only. */
must_use int init__split(struct process *p, struct err *err);

#endif
