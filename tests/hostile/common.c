// SPDX-License-Identifier: Apache-2.0
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/container/prepare.h"

struct rig rig;
struct rig_result res;

int hostile_main(const struct CMUnitTest *tests, size_t n) {
    enum { SKIPPED = 77 };
    const char *cannot = rig_set_up(&rig);
    if (cannot) {
        printf("SKIP: %s\n", cannot);
        return SKIPPED;
    }
    (void) signal(SIGPIPE, SIG_IGN); /* a sandbox that has ended needs no go byte */
    int r = _cmocka_run_group_tests("hostile", tests, n, NULL, NULL);
    rig_tear_down(&rig);
    return r;
}

unsigned hostile_tries(unsigned n) {
    uint32_t times = 1;
    const char *text = getenv("ORLOP_HOSTILE_TRIES");
    if (text) assert_int_equal(str_to_u32(text, 1000, &times), 0);
    return n * times;
}

void hostile_run(struct rig_spec *s) {
    rig_run(&rig, s, &res);
    rig_spec_fini(s);
}

void hostile_add_attack(struct rig_spec *s) {
    auto_fd int in = open(ATTACK_PROGRAM, O_RDONLY | O_CLOEXEC);
    auto_fd int out = openat(s->fds[0], "bin/attack", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    static char buf[1 << 16];
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, buf, sizeof buf)) != 0;) {
        assert_true(n > 0);
        assert_int_equal(fd_write_all(out, buf, (size_t) n), 0);
    }
}

void hostile_mount(struct rig_spec *s, Orlop__SandboxMount *m, Orlop__SandboxMount **list,
                   char *target, int fd) {
    orlop__sandbox_mount__init(m);
    m->target = target;
    m->kind = fd < 0 ? ORLOP__SANDBOX_MOUNT__KIND__TMPFS : ORLOP__SANDBOX_MOUNT__KIND__DETACHED;
    if (fd >= 0) {
        m->fd = (int) s->n_fds;
        s->fds[s->n_fds++] = fd;
    }
    list[s->spec.n_mounts++] = m;
    s->spec.mounts = list;
}

int hostile_bind(const char *path) {
    bool file;
    struct err e = {.code = 0};
    int fd = prepare_bind(path, true, false, &file, &e);
    if (fd < 0) fail_msg("%s", e.text);
    return fd;
}

void hostile_start(struct rig_spec *s, struct container_process *p) {
    struct err e = {.code = 0};
    int r = rig_spawn(&rig, s, p, &e);
    if (r < 0) fail_msg("%s", e.text);
    assert_int_equal(write(p->go_fd, "g", 1), 1);
    fd_close(&p->go_fd);
    memset(&res, 0, sizeof res);
    if (rig_started(p, &res) < 0) fail_msg("%s: %s", res.phase, res.text);
}

void hostile_end(struct rig_spec *s, struct container_process *p) {
    assert_int_equal(sys_pidfd_send_signal(p->pidfd, SIGKILL), 0);
    rig_finish(&rig, p, &res);
    rig_spec_fini(s);
}

/* --- exec --- */

static void fill(Orlop__KeeperExec *e, const struct hostile_exec *x, char **argv) {
    orlop__keeper_exec__init(e);
    for (; x->argv[e->n_argv]; e->n_argv++)
        argv[e->n_argv] = (char *) (uintptr_t) x->argv[e->n_argv];
    e->argv = argv;
    e->capabilities = caps_default;
    e->no_new_privs = true;
    e->fd_seccomp = x->extra_is_filter ? 0 : -1;
    if (x->cwd) e->cwd = (char *) (uintptr_t) x->cwd;
    if (x->user) e->user = (char *) (uintptr_t) x->user;
}

static void collect(struct container_process *child, int out, struct rig_result *ret) {
    (void) rig_started(child, ret);
    ssize_t n = fd_read_full(out, ret->out, sizeof ret->out - 1);
    assert_true(n >= 0);
    assert_int_equal(waitpid(child->pid, &ret->status, 0), child->pid);
    fd_close(&child->pidfd);
    fd_close(&child->status_fd);
}

void hostile_exec(const struct container_process *p, const struct hostile_exec *x,
                  struct rig_result *ret) {
    int out[2], master = -1;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    auto_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const struct container_exec where = {.target_pidfd = p->pidfd,
                                         .target_pid = p->pid,
                                         .cgroup_parent = rig.cgroup_parent,
                                         .cgroup = "",
                                         .stdio = {null, out[1], out[1]},
                                         .devpts_fd = -1};
    Orlop__KeeperExec e;
    char *argv[8];
    fill(&e, x, argv);
    struct container_process child;
    struct err err = {.code = 0};
    memset(ret, 0, sizeof *ret);
    ret->failed = container_exec(&e, &x->extra, x->extra >= 0, &where, &child, &master, &err);
    fd_close(&out[1]);
    if (ret->failed < 0)
        memcpy(ret->text, err.text, sizeof ret->text);
    else
        collect(&child, out[0], ret);
    fd_close(&out[0]);
}

/* --- a peer that writes to the same volume --- */

pid_t hostile_exchange(const char *dir, const char *a, const char *b) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) return pid;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) (void) renameat2(fd, a, fd, b, RENAME_EXCHANGE);
    _exit(0);
}

void hostile_stop(pid_t pid) {
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* --- small things --- */

const char *hostile_path(char *buf, const char *fmt, ...) {
    enum { SIZE = 192 };
    int n = snprintf(buf, SIZE, "%s/", rig.dir);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(buf + n, (size_t) (SIZE - n), fmt, ap);
    va_end(ap);
    assert_true(n < SIZE);
    return buf;
}

void hostile_put(const char *path, const char *text) {
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

void assert_has(const char *text, const char *what) {
    if (!strstr(text, what)) fail_msg("\"%s\" is not in:\n%s", what, text);
}

void assert_not(const char *text, const char *what) {
    if (strstr(text, what)) fail_msg("\"%s\" is in:\n%s", what, text);
}
