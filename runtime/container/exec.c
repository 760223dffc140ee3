// SPDX-License-Identifier: Apache-2.0
/* One more process inside a sandbox. The pid namespace is entered by the keeper, which only moves
 * the children it makes, and only for the moment of the clone; all others by the child itself. From
 * there on the child does what a start does: the same functions, so that an exec is confined as pid
 * 1 is. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cgroup.h"
#include "limits.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "spawn.h"
#include "terminal.h"

/* --- finding the sandbox --- */

/* Descriptors made through /proc/PID are the target's only if it still lives afterwards: its pid
 * can be given to another only once it is gone. */
static int check_alive(int pidfd, struct err *err) {
    int r = sys_pidfd_send_signal(pidfd, 0);
    return r < 0 ? err_say(err, -ESRCH, "the container has ended") : 0;
}

static int pid_of(int pidfd, pid_t *ret) {
    char path[48];
    auto_free char *text = NULL;
    uint32_t pid;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    int r = fd_read_file(AT_FDCWD, path, 4096, &text, NULL);
    if (r < 0) return r;
    char *at = strstr(text, "\nPid:\t");
    if (!at) return -EINVAL; /* no pidfd */
    at += strlen("\nPid:\t");
    at[strcspn(at, "\n")] = 0;
    if (str_to_u32(at, INT32_MAX, &pid) < 0 || pid == 0) return -ESRCH; /* "-1": it has ended */
    *ret = (pid_t) pid;
    return 0;
}

static int open_root(int pidfd, pid_t pid, struct err *err) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/root", pid);
    auto_fd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : 0;
    int alive = check_alive(pidfd, err);
    if (alive < 0) return alive;
    if (r == -ENOENT) return err_say(err, -ESRCH, "the container has ended"); /* not reaped yet */
    return r < 0 ? err_set(err, r, "the container's root") : steal_fd(&fd);
}

/* A devpts has no links and no names that its users could make, so an fd of its root is safe to
 * open ptmx by. On the way to it no symlink is followed; what is there must be a devpts, and not
 * the host's, should somebody have bound that one in. */
int container_open_devpts(int pidfd, struct err *err) {
    pid_t pid;
    int r = pid_of(pidfd, &pid);
    if (r < 0) return err_set(err, r, "the container's pid");
    auto_fd int root = open_root(pidfd, pid, err);
    if (root < 0) return root;
    auto_fd int fd = sys_openat2(root, "dev/pts", O_PATH | O_DIRECTORY, 0,
                                 RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    if (fd < 0) return err_set(err, fd, "the container's /dev/pts");
    struct statfs fs;
    struct stat theirs, ours;
    if (fstatfs(fd, &fs) < 0 || fstat(fd, &theirs) < 0)
        return err_set(err, -errno, "the container's /dev/pts");
    bool host = stat("/dev/pts", &ours) == 0 && ours.st_dev == theirs.st_dev;
    if ((unsigned long) fs.f_type != DEVPTS_SUPER_MAGIC || host)
        return err_say(err, -ENOTTY, "the container's /dev/pts is no devpts of its own");
    return steal_fd(&fd);
}

/* --- the child's phases --- */

static int enter(struct child *c, struct err *err) {
    int what = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
    if (setns(c->where->target_pidfd, what) < 0)
        return err_set(err, -errno, "enter the container's namespaces");
    struct stat here, there;
    if (stat("/", &here) < 0 || fstat(c->target_root, &there) < 0)
        return err_set(err, -errno, "the container's root");
    /* The mount namespace's root and what pid 1 calls its root must be one. */
    if (here.st_dev != there.st_dev || here.st_ino != there.st_ino)
        return err_say(err, -EPERM, "pid 1 of the container has another root");
    c->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return c->root < 0 ? err_set(err, -errno, "the container's root") : 0;
}

static int copy_limits(struct child *c, struct err *err) {
    for (int i = 0; i < RLIM_NLIMITS; i++)
        if (syscall(SYS_prlimit64, 0, i, &c->limits[i], NULL) < 0)
            return err_set(err, -errno, "limit %d", i);
    return 0;
}

/* clang-format off */
static const struct child_phase exec_phases[] = {
    {"prepare", child__alone},
    {"cgroup", child__join_tasks},
    {"oom", child__set_oom_score},
    {"namespaces", enter},
    {"user", child__look_up_user},
    {"stdio", child__stdio},
    {"limits", copy_limits},
    {"user", child__become},
    {"exec", child__find_program},
};
/* clang-format on */

/* --- the keeper's side --- */

static int read_target(struct child *c, pid_t pid, struct err *err) {
    char path[48];
    auto_free char *text = NULL;
    int r = limits_read(pid, c->limits, err);
    if (r < 0) return r;
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
    r = fd_read_file(AT_FDCWD, path, 32, &text, NULL);
    if (r < 0) return err_set(err, r, "oom_score_adj of the container");
    text[strcspn(text, "\n")] = 0;
    uint32_t score;
    bool negative = text[0] == '-';
    if (str_to_u32(text + negative, 1000, &score) < 0)
        return err_say(err, -EBADMSG, "oom_score_adj of the container");
    c->oom_score_adj = negative ? -(int) score : (int) score;
    return 0;
}

/* Children made between the two setns are born into the container's pid namespace. A keeper that
 * could not come back would start its next sandbox in there. */
static int clone_inside(struct child *c, struct container_process *ret, struct err *err) {
    const struct spawn_phases phases = {exec_phases, array_len(exec_phases)};
    auto_fd int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own < 0) return err_set(err, -errno, "our pid namespace");
    if (setns(c->where->target_pidfd, CLONE_NEWPID) < 0)
        return err_set(err, -errno, "enter the container's pid namespace");
    int r = spawn__clone(c, 0, &phases, false, ret, err);
    ensure(setns(own, CLONE_NEWPID) == 0);
    if (r == -ENOMEM && check_alive(c->where->target_pidfd, err) < 0) r = -ESRCH;
    return r;
}

static int run_in(struct child *c, const Orlop__KeeperExec *exec, struct terminal *t,
                  struct container_process *ret, struct err *err) {
    const struct container_exec *w = c->where;
    int r = read_target(c, w->target_pid, err);
    int alive = check_alive(w->target_pidfd, err); /* what was read, or why not, may be another's */
    if (alive < 0) return alive;
    if (r < 0) return r;
    c->target_root = open_root(w->target_pidfd, w->target_pid, err);
    if (c->target_root < 0) return c->target_root;
    if (w->tty) {
        r = terminal__open_pair(t, w->devpts_fd, exec->rows, exec->cols, err);
        if (r < 0) return r;
    }
    for (int i = 0; i < 3; i++) c->process.stdio[i] = w->tty ? t->slave : w->stdio[i];
    if (*c->cgroup) {
        c->clone_cgroup = cgroup_open_v2_of(w->target_pid, w->cgroup_parent, w->cgroup);
        if (c->clone_cgroup < 0 && c->clone_cgroup != -ENOENT)
            return err_set(err, c->clone_cgroup, "cgroup %s", w->cgroup);
    }
    return clone_inside(c, ret, err);
}

static int fill(struct child *c, const Orlop__KeeperExec *e, struct err *err) {
    int r = process__init(&c->process, e->argv, e->n_argv, e->env, e->n_env, err);
    if (r < 0) return r;
    struct process *p = &c->process;
    p->cwd = e->cwd;
    p->user = e->user;
    p->extra_groups = e->extra_groups;
    p->n_extra_groups = e->n_extra_groups;
    p->capabilities = e->capabilities;
    p->no_new_privs = e->no_new_privs;
    p->tty = c->where->tty;
    if (e->fd_seccomp >= 0) p->seccomp_fd = c->fds[e->fd_seccomp];
    return 0;
}

static int check(const Orlop__KeeperExec *e, const int *fds, size_t n_fds,
                 const struct container_exec *w, struct err *err) {
    if (e->fd_seccomp >= 0 && ((size_t) e->fd_seccomp >= n_fds || fds[e->fd_seccomp] < 0))
        return err_say(err, -EINVAL, "the seccomp program names no descriptor");
    if (n_fds > CHILD_FDS_MAX)
        return err_say(err, -E2BIG, "more than %d descriptors", CHILD_FDS_MAX);
    if (e->n_extra_groups > USER_GROUPS_MAX)
        return err_say(err, -E2BIG, "more than %d groups", USER_GROUPS_MAX);
    for (int i = 0; i < 3; i++)
        if (!w->tty && w->stdio[i] < 0)
            return err_say(err, -EINVAL, "standard stream %d names no descriptor", i);
    return 0;
}

int container_exec(const Orlop__KeeperExec *exec, const int *fds, size_t n_fds,
                   const struct container_exec *where, struct container_process *ret,
                   int *ret_master, struct err *err) {
    int r = check(exec, fds, n_fds, where, err);
    if (r < 0) return r;
    struct terminal t = TERMINAL_NONE;
    struct child c = {
        .fds = fds,
        .n_fds = n_fds,
        .cgroup_parent = where->cgroup_parent,
        .cgroup = where->cgroup ? where->cgroup : "",
        .clone_cgroup = -ENOENT,
        .devpts = -1,
        .root = -1,
        .null = -1,
        .where = where,
        .target_root = -1,
    };
    if ((r = fill(&c, exec, err)) < 0) return r;
    r = run_in(&c, exec, &t, ret, err);
    if (r == 0) *ret_master = steal_fd(&t.master);
    terminal__close(&t);
    fd_close(&c.target_root);
    fd_close(&c.clone_cgroup);
    process__fini(&c.process);
    return r;
}
