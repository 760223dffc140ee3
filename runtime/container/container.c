// SPDX-License-Identifier: Apache-2.0
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "child.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "spawn.h"
#include "terminal.h"

enum {
    MOUNTS_MAX = 512,
    LINKS_MAX = 64,
    LIMITS_MAX = 64,
    MASKS_MAX = 256,
    SYSCTLS_MAX = 64,
    DEVICES_MAX = CGROUP_DEVICES_MAX,
    HOSTNAME_MAX = 64,
};

/* --- what the keeper checks before it clones --- */

static int check_lists(const Orlop__SandboxSpec *s, struct err *err) {
    const struct {
        const char *name;
        size_t n, max;
    } lists[] = {
        {"mounts", s->n_mounts, MOUNTS_MAX},
        {"links", s->n_links, LINKS_MAX},
        {"limits", s->n_limits, LIMITS_MAX},
        {"masked paths", s->n_masked_paths, MASKS_MAX},
        {"extra groups", s->n_extra_groups, USER_GROUPS_MAX},
        {"sysctls", s->n_sysctls, SYSCTLS_MAX},
        {"devices", s->n_devices, DEVICES_MAX},
    };
    for (size_t i = 0; i < array_len(lists); i++)
        if (lists[i].n > lists[i].max)
            return err_say(err, -E2BIG, "%zu %s are more than %zu", lists[i].n, lists[i].name,
                           lists[i].max);
    return 0;
}

static bool is_fd(int index, size_t n_fds, const int *fds) {
    return index >= 0 && (size_t) index < n_fds && fds[index] >= 0;
}

static int check_mounts(const Orlop__SandboxSpec *s, const int *fds, size_t n_fds,
                        struct err *err) {
    for (size_t i = 0; i < s->n_mounts; i++) {
        const Orlop__SandboxMount *m = s->mounts[i];
        bool detached = m->kind == ORLOP__SANDBOX_MOUNT__KIND__DETACHED;
        if (!detached && m->kind != ORLOP__SANDBOX_MOUNT__KIND__TMPFS)
            return err_say(err, -EINVAL, "mount %s is of no known kind", m->target);
        if (detached && !is_fd(m->fd, n_fds, fds))
            return err_say(err, -EINVAL, "mount %s names no descriptor", m->target);
    }
    return 0;
}

static int check_spec(const Orlop__SandboxSpec *s, const int *fds, size_t n_fds, struct err *err) {
    if (s->user_namespace)
        return err_say(err, -EOPNOTSUPP,
                       "user namespaces are not supported: the layers of the root "
                       "would have to be id-mapped");
    if (n_fds > CHILD_FDS_MAX)
        return err_say(err, -E2BIG, "more than %d descriptors", CHILD_FDS_MAX);
    if (!is_fd(s->fd_root, n_fds, fds))
        return err_say(err, -EINVAL, "the root names no descriptor");
    if (s->fd_seccomp >= 0 && !is_fd(s->fd_seccomp, n_fds, fds))
        return err_say(err, -EINVAL, "the seccomp program names no descriptor");
    if (strlen(s->hostname) > HOSTNAME_MAX || strlen(s->domainname) > HOSTNAME_MAX)
        return err_say(err, -EINVAL, "the host or domain name is longer than %d", HOSTNAME_MAX);
    if (s->host_network && s->n_links)
        return err_say(err, -EINVAL, "links and the host's network exclude each other");
    int r = check_lists(s, err);
    return r < 0 ? r : check_mounts(s, fds, n_fds, err);
}

static int fill(struct child *c, const Orlop__SandboxSpec *s, const int *fds, struct err *err) {
    int r = process__init(&c->process, s->argv, s->n_argv, s->env, s->n_env, err);
    if (r < 0) return r;
    struct process *p = &c->process;
    p->cwd = s->cwd;
    p->user = s->user;
    p->extra_groups = s->extra_groups;
    p->n_extra_groups = s->n_extra_groups;
    p->capabilities = s->capabilities;
    p->no_new_privs = s->no_new_privs;
    p->tty = s->tty;
    if (s->fd_seccomp >= 0) p->seccomp_fd = fds[s->fd_seccomp];
    return 0;
}

/* --- clone --- */

static int open_pipes(struct spawn_pipes *p, bool with_go, struct err *err) {
    *p = (struct spawn_pipes){{-1, -1}, {-1, -1}};
    int r = pipe2(p->status, O_CLOEXEC) < 0 ? -errno : 0;
    if (r == 0 && fcntl(p->status[0], F_SETFL, O_NONBLOCK) < 0) r = -errno;
    if (r == 0 && with_go && pipe2(p->go, O_CLOEXEC) < 0) r = -errno;
    /* The workload's own streams will lie there: nothing that is still needed may. */
    if (r == 0 && (p->status[0] < 3 || p->status[1] < 3 || (with_go && p->go[0] < 3))) r = -EBADF;
    if (r == 0) return 0;
    spawn__close_pipes(p);
    return err_set(err, r, "make pipes");
}

void spawn__close_pipes(struct spawn_pipes *p) {
    for (int i = 0; i < 2; i++) {
        fd_close(&p->status[i]);
        fd_close(&p->go[i]);
    }
}

/* Field 22 of /proc/PID/stat; the name in field 2 may hold anything, so count from its last ')'. */
static int read_start_ticks(pid_t pid, uint64_t *ret) {
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t n = fd_read_full(fd, text, sizeof text - 1);
    if (n < 0) return (int) n;
    text[n] = 0;
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
    if (!at) return -EBADMSG;
    char *end = strchr(at + 1, ' ');
    if (!end) return -EBADMSG;
    *end = 0;
    return str_to_u64(at + 1, UINT64_MAX, ret);
}

static void kill_and_reap(int pidfd) {
    siginfo_t info;
    (void) sys_pidfd_send_signal(pidfd, SIGKILL); /* it may have ended by itself */
    while (waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED) < 0 && errno == EINTR) {
    }
}

int spawn__clone(struct child *c, uint64_t flags, const struct spawn_phases *phases, bool with_go,
                 struct container_process *ret, struct err *err) {
    struct spawn_pipes pipes;
    int r = open_pipes(&pipes, with_go, err);
    if (r < 0) return r;
    c->process.status_fd = pipes.status[1];
    c->process.go_fd = pipes.go[0];

    int pidfd = -1;
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uint64_t) (uintptr_t) &pidfd,
        .exit_signal = SIGCHLD,
    };
    if (c->clone_cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned) c->clone_cgroup;
    }
    pid_t pid = sys_clone3(&args, sizeof args);
    if (pid == 0) child__run(c, phases->v, phases->n);
    if (pid < 0) {
        spawn__close_pipes(&pipes);
        return err_set(err, pid, "clone");
    }
    uint64_t ticks;
    r = read_start_ticks(pid, &ticks);
    if (r < 0) {
        kill_and_reap(pidfd);
        fd_close(&pidfd);
        spawn__close_pipes(&pipes);
        return err_set(err, r, "start time of process %d", pid);
    }
    *ret =
        (struct container_process){.pid = pid, .pidfd = pidfd, .start_ticks = ticks, .master = -1};
    ret->status_fd = steal_fd(&pipes.status[0]);
    ret->go_fd = steal_fd(&pipes.go[1]);
    spawn__close_pipes(&pipes);
    return 0;
}

/* The terminal's devpts is made here: its master is the keeper's, and the child only moves the
 * mount. */
static int make_terminal(struct child *c, struct terminal *t, struct err *err) {
    if (!c->process.tty) return 0;
    int r = terminal__make_instance(t, err);
    if (r == 0) r = terminal__open_pair(t, t->devpts, 0, 0, err);
    if (r < 0) return r;
    c->devpts = t->devpts;
    for (int i = 0; i < 3; i++) c->process.stdio[i] = t->slave;
    return 0;
}

static int spawn(struct child *c, struct container_process *ret, struct err *err) {
    const uint64_t namespaces = CLONE_NEWNS | (c->spec->host_pid ? 0 : CLONE_NEWPID) |
                                (c->spec->host_ipc ? 0 : CLONE_NEWIPC) |
                                (c->spec->host_uts ? 0 : CLONE_NEWUTS);
    struct terminal t = TERMINAL_NONE;
    const struct spawn_phases phases = {child__start_phases, child__n_start_phases};
    if (*c->cgroup) c->clone_cgroup = cgroup_open_v2(c->cgroup_parent, c->cgroup);
    int r = c->clone_cgroup;
    if (r < 0 && r != -ENOENT) return err_set(err, r, "cgroup %s", c->cgroup);
    r = make_terminal(c, &t, err);
    if (r == 0) r = spawn__clone(c, namespaces, &phases, true, ret, err);
    if (r == 0) ret->master = steal_fd(&t.master);
    terminal__close(&t);
    if (c->clone_cgroup >= 0) fd_close(&c->clone_cgroup);
    return r;
}

int container_spawn(const Orlop__SandboxSpec *spec, const int *fds, size_t n_fds,
                    const struct container_host *host, const char *stdout_path,
                    const char *stderr_path, struct container_process *ret, struct err *err) {
    int r = check_spec(spec, fds, n_fds, err);
    if (r < 0) return r;
    struct child c = {
        .fds = fds,
        .n_fds = n_fds,
        .cgroup_parent = host->cgroup_parent,
        .cgroup = spec->cgroup ? spec->cgroup : "",
        .clone_cgroup = -ENOENT,
        .spec = spec,
        .fifo = {stdout_path, stderr_path},
        .report_ready = host->report_ready,
        .oom_score_adj = spec->oom_score_adj,
        .devpts = -1,
        .root = -1,
        .null = -1,
        .target_root = -1,
    };
    if ((r = fill(&c, spec, fds, err)) < 0) return r;
    r = spawn(&c, ret, err);
    process__fini(&c.process);
    return r;
}
