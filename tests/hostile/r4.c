// SPDX-License-Identifier: Apache-2.0
/* R4: /dev/console or /dev/pts that lead elsewhere (CVE-2025-52565). The sandbox is root on its own
 * /dev and moves things about there while terminals are opened; a volume on /dev brings links. What
 * must hold: a terminal is one of the sandbox's own instance, or there is none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { RACE_TERMINALS = 200, FEW_STARTS = 20 };

/* Opens what container_open_devpts gives; the instance's device, or its negative code. */
static int64_t instance_of(const struct container_process *p) {
    struct err e = {.code = 0};
    struct stat st;
    auto_fd int fd = container_open_devpts(p->pidfd, &e);
    if (fd < 0) return fd;
    assert_int_equal(fstat(fd, &st), 0);
    return (int64_t) st.st_dev;
}

static int64_t host_instance(void) {
    struct stat st;
    return stat("/dev/pts", &st) < 0 ? -ENOENT : (int64_t) st.st_dev;
}

/* The device of the file system that a terminal of an exec lies on. */
static int64_t terminal_of(const struct container_process *p, int devpts) {
    static char *argv[] = {(char *) (uintptr_t) "/bin/attack", (char *) (uintptr_t) "terminal"};
    Orlop__KeeperExec x = ORLOP__KEEPER_EXEC__INIT;
    const struct container_exec where = {.target_pidfd = p->pidfd,
                                         .target_pid = p->pid,
                                         .cgroup_parent = rig.cgroup_parent,
                                         .cgroup = "",
                                         .stdio = {-1, -1, -1},
                                         .tty = true,
                                         .devpts_fd = devpts};
    struct container_process child;
    struct err e = {.code = 0};
    char text[64] = "";
    int master = -1, status;
    x.argv = argv;
    x.n_argv = 2;
    x.tty = true;
    x.fd_seccomp = -1;
    x.capabilities = caps_default;
    int r = container_exec(&x, NULL, 0, &where, &child, &master, &e);
    if (r < 0) fail_msg("%s", e.text);
    ssize_t n = read(master, text, sizeof text - 1);
    assert_true(n > 0);
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    fd_close(&master);
    fd_close(&child.pidfd);
    fd_close(&child.status_fd);
    text[strcspn(text, "\r\n")] = 0;
    long long dev = -1;
    assert_int_equal(sscanf(text, "%lld", &dev), 1); /* NOLINT: ours */
    return dev;
}

static void test_workload_moves_its_own_dev(void **state) {
    (void) state;
    struct rig_spec s;
    struct container_process p;
    rig_spec_init(&rig, &s, (const char *const[]){"/bin/attack", "move-dev", NULL});
    hostile_add_attack(&s);
    hostile_start(&s, &p);
    rig_await(&rig, &res, "moving\n");
    int64_t own = instance_of(&p);
    assert_true(own > 0 && own != host_instance());
    for (unsigned i = 0; i < hostile_tries(RACE_TERMINALS); i++) {
        struct err e = {.code = 0};
        auto_fd int devpts = container_open_devpts(p.pidfd, &e);
        if (devpts < 0) fail_msg("%s", e.text);
        assert_true(terminal_of(&p, devpts) == own);
    }
    hostile_end(&s, &p);
}

/* DEV lies on /dev: what is at pts there is never a terminal of ours to open. */
static int64_t with_dev(const char *dev, bool host_pts) {
    struct rig_spec s;
    struct container_process p;
    Orlop__SandboxMount m[2], *list[2];
    char target[] = "/dev", pts[] = "/dev/pts";
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    hostile_mount(&s, &m[0], list, target, hostile_bind(dev));
    if (host_pts) hostile_mount(&s, &m[1], list, pts, hostile_bind("/dev/pts"));
    hostile_start(&s, &p);
    int64_t r = instance_of(&p);
    hostile_end(&s, &p);
    return r;
}

static void test_volume_on_dev_gives_no_terminal(void **state) {
    (void) state;
    char dev[192], path[192], away[192];
    hostile_path(dev, "dev");
    hostile_path(away, "away");
    assert_int_equal(mkdir(dev, 0755) | mkdir(away, 0755), 0);
    assert_int_equal(symlink("/proc/1/root/dev/pts", hostile_path(path, "dev/pts")), 0);
    assert_true(with_dev(dev, false) < 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(with_dev(dev, false), -ENOTTY); /* a folder */
    assert_int_equal(with_dev(dev, true), -ENOTTY);  /* the host's own */
    assert_int_equal(symlink("/", hostile_path(path, "dev/other")), 0);
    pid_t peer = hostile_exchange(dev, "pts", "other");
    for (unsigned i = 0; i < hostile_tries(FEW_STARTS); i++) assert_true(with_dev(dev, false) < 0);
    hostile_stop(peer);
}

/* A terminal for the first process, with links of the image and of a volume in the way. */
static void test_console_of_the_image_is_not_followed(void **state) {
    (void) state;
    struct rig_spec s;
    struct container_process p;
    char canary[192], text[64];
    hostile_put(hostile_path(canary, "console-canary"), "");
    rig_spec_init(&rig, &s, (const char *const[]){"/bin/attack", "terminal", NULL});
    hostile_add_attack(&s);
    assert_int_equal(mkdirat(s.fds[0], "dev", 0755), 0);
    assert_int_equal(symlinkat(canary, s.fds[0], "dev/console"), 0);
    assert_int_equal(symlinkat("/etc", s.fds[0], "dev/pts"), 0);
    s.spec.tty = true;
    hostile_start(&s, &p);
    ssize_t n = read(p.master, text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = 0;
    long long dev = -1, console = -1;
    assert_int_equal(sscanf(text, "%lld %lld", &dev, &console), 2); /* NOLINT: ours */
    assert_true(dev > 0 && dev == console && dev != host_instance());
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workload_moves_its_own_dev),
        cmocka_unit_test(test_volume_on_dev_gives_no_terminal),
        cmocka_unit_test(test_console_of_the_image_is_not_followed),
    };
    return hostile_main(tests, array_len(tests));
}
