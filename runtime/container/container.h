// SPDX-License-Identifier: Apache-2.0
/* runtime/container/container.h - clone a sandbox and exec into one: what the keeper links.
 *
 * Role     container_spawn() clones a child that builds its own namespaces, network, mounts and
 *          limits (child.c: the ordered phases as a table), reports over a pipe and waits for the
 *          go byte; container_exec() starts one more process inside. No policy, no names looked up
 *          but users in the container's own /etc/passwd and /etc/group.
 * Thread   [keeper]: single-threaded callers only. libc only; the child uses no heap. The caller
 *          has its own standard streams open: descriptors below 3 are never used for anything.
 * See      README.md; OCI runtime spec 1.0.2, config-linux.md
 */
#ifndef ORLOP_CONTAINER_H
#define ORLOP_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "keeper.pb-c.h"
#include "runtime/base/err.h"

/* What the child writes to status_fd, once, when a phase fails; then it ends with code 127. The end
 * of the file without a report means that execve succeeded (the fd is CLOEXEC) or that the child
 * was killed: look at the pidfd. */
struct container_report {
    int32_t error; /* errno, positive */
    char phase[32];
    char text[ERR_TEXT_MAX];
};

/* With container_host.report_ready the child first writes one with error 0 and phase "ready", when
 * only the go byte is missing. */

struct container_process {
    pid_t pid;
    int pidfd;
    int status_fd; /* non-blocking read end */
    int go_fd;     /* write one byte: exec. Closing it without one ends the child. Nothing of the
                    * workload has run before. */
    uint64_t
        start_ticks; /* /proc/PID/stat field 22: tells this process from a later one of the pid */
    int master;      /* spec.tty: the terminal's master; else -1 */
};

struct container_host {
    const char *cgroup_parent; /* paths.cgroup */
    bool report_ready;         /* see container_report */
};

/* Clone SPEC. FDS are the descriptors that spec's fd_ fields index. STDOUT_PATH and STDERR_PATH are
 * the FIFOs (on their own tmpfs, already made); the child opens them O_RDWR and gives them to the
 * workload's uid. stdin is /dev/null. On success RET's descriptors are the caller's.
 * On failure nothing lives and RET is untouched. */
must_use int container_spawn(const Orlop__SandboxSpec *spec, const int *fds, size_t n_fds,
                             const struct container_host *host, const char *stdout_path,
                             const char *stderr_path, struct container_process *ret,
                             struct err *err);

struct container_exec {
    int target_pidfd; /* the sandbox's pid 1 */
    pid_t target_pid;
    const char *cgroup_parent;
    const char *cgroup; /* SandboxSpec.cgroup; on v2 the group that pid 1 is in now is used */
    int stdio[3];       /* borrowed; ignored with tty */
    bool tty;
    int devpts_fd; /* tty: the container's devpts mount (container_open_devpts) */
};

/* Start EXEC inside. The same report pipe and pidfd as container_spawn; no go byte (go_fd is -1).
 * With tty *ret_master is the pty's master, the caller's; else -1. Capabilities, seccomp,
 * no_new_privs, user, groups, rlimits as for the sandbox's pid 1. */
must_use int container_exec(const Orlop__KeeperExec *exec, const int *fds, size_t n_fds,
                            const struct container_exec *where, struct container_process *ret,
                            int *ret_master, struct err *err);

/* The devpts instance inside the mount namespace of PIDFD's process, as an fd for openat("ptmx");
 * found without walking a path that the workload controls (checks the file system's magic). */
must_use int container_open_devpts(int pidfd, struct err *err);

#endif
