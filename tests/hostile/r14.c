// SPDX-License-Identifier: Apache-2.0
/* R14: a pid that is somebody else's by now, and frozen sandboxes that must go. The pids here are
 * those of a small pid namespace of the test's own, so that they come round quickly. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/cgroup_ops.h"

enum { IMPOSTORS = 20, STORMS = 60, FORKERS = 4, BYSTANDERS = 40 };
#define FEW_PIDS "420" /* of which the kernel uses those above 300 */

/* --- an impostor with the pid of a sandbox that has ended --- */

/* Lives until killed; 0 when the pid was taken by somebody else. */
static pid_t clone_as(pid_t pid) {
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t) (uintptr_t) &pid, .set_tid_size = 1};
    pid_t got = sys_clone3(&args, sizeof args);
    if (got == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) (void) pause();
    }
    return got == -EEXIST ? 0 : got;
}

static bool lives(pid_t pid) {
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

static void test_pid_of_another_is_not_entered(void **state) {
    (void) state;
    unsigned met = 0;
    for (unsigned i = 0; i < hostile_tries(IMPOSTORS); i++) {
        struct rig_spec s;
        struct container_process p;
        static struct rig_result got;
        struct err e = {.code = 0};
        rig_spec_init(&rig, &s, SH("sleep 1000"));
        hostile_start(&s, &p);
        struct container_process old = {.pid = p.pid, .pidfd = fcntl(p.pidfd, F_DUPFD_CLOEXEC, 3)};
        hostile_end(&s, &p);
        pid_t impostor = clone_as(old.pid);
        assert_true(impostor >= 0);
        if (impostor) {
            met++;
            hostile_exec(&old, &(struct hostile_exec){.argv = SH("echo ran"), .extra = -1}, &got);
            assert_int_equal(got.failed, -ESRCH);
            assert_string_equal(got.out, "");
            assert_int_equal(container_open_devpts(old.pidfd, &e), -ESRCH);
            assert_int_equal(sys_pidfd_send_signal(old.pidfd, SIGKILL), -ESRCH);
            assert_true(lives(impostor));
            hostile_stop(impostor);
        }
        fd_close(&old.pidfd);
    }
    assert_true(met > 0);
}

/* --- a storm of short lives in a group that is killed, beside a storm of others --- */

/* Fork and end, for ever: the pids of this group are free again at once. */
_Noreturn static void fork_about(void) {
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        if (pid > 0) (void) waitpid(pid, NULL, 0);
    }
}

/* Children that live for a moment, outside of the group; how many of them were killed. */
static int watch_bystanders(int until) {
    int killed = 0, living = 0;
    char byte;
    for (;;) {
        for (; living < BYSTANDERS; living++) {
            pid_t pid = fork();
            if (pid == 0) {
                for (int i = 0; i < 20; i++) (void) sched_yield();
                _exit(0);
            }
            if (pid < 0) break;
        }
        int status;
        while (living > 0 && waitpid(-1, &status, living == BYSTANDERS ? 0 : WNOHANG) > 0) {
            living--;
            killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        }
        if (read(until, &byte, 1) == 0) break;
    }
    while (waitpid(-1, NULL, 0) > 0) {
    }
    return killed;
}

static void join(const struct cgroup_id *id) {
    auto_fd int dir = cgroup__open(id->forest, &id->forest->v1[0], id->parent, id->name);
    if (dir < 0 || fd_write_file(dir, "tasks", "0") < 0) _exit(100);
}

/* One that forks about in the group until it is killed; it is in there when this returns. */
static pid_t start_forker(const struct cgroup_id *id) {
    int joined[2];
    char byte;
    if (pipe2(joined, O_CLOEXEC) < 0) _exit(101);
    pid_t pid = fork();
    if (pid < 0) _exit(102);
    if (pid == 0) {
        join(id);
        fd_close(&joined[0]);
        fd_close(&joined[1]);
        fork_about();
    }
    fd_close(&joined[1]);
    if (read(joined[0], &byte, 1) != 0) _exit(103);
    fd_close(&joined[0]);
    return pid;
}

/* v1's own kill, as a machine without the v2 tree has it. The zombies are ours: reaped while the
 * kill goes on. */
static void storm(const struct cgroup_id *id) {
    const struct cgroup_limits l = {.pids = 64};
    struct err e = {.code = 0};
    for (unsigned i = 0; i < hostile_tries(STORMS); i++) {
        if (cgroup__v1_ops.make(id, &l, &e) < 0) _exit(2);
        pid_t forkers[FORKERS];
        for (size_t k = 0; k < FORKERS; k++) forkers[k] = start_forker(id);
        pid_t killer = fork();
        if (killer == 0) _exit(cgroup__v1_ops.kill(id, &e) < 0);
        int status = 1;
        for (size_t k = 0; k < FORKERS; k++) (void) waitpid(forkers[k], NULL, 0);
        if (waitpid(killer, &status, 0) != killer || status != 0) _exit(3);
        if (cgroup__v1_ops.remove(id, &e) < 0) _exit(4);
    }
}

/* Whether pid_max is the namespace's own (Linux 6.14): else it would be the whole machine's. */
static bool own_pid_max(void) {
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2) return false; /* NOLINT */
    return major > 6 || (major == 6 && minor >= 14);
}

/* Pid 1 of the small namespace. */
_Noreturn static void small_world(const struct cgroup_id *id) {
    int until[2], status;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) _exit(9);
    if (unshare(CLONE_NEWNS) < 0 || sys_mount("proc", "/proc", "proc", 0, NULL) < 0) _exit(5);
    if (fd_write_file(AT_FDCWD, "/proc/sys/kernel/pid_max", FEW_PIDS) < 0) _exit(6);
    if (pipe2(until, O_CLOEXEC | O_NONBLOCK) < 0) _exit(7);
    pid_t bystanders = fork();
    if (bystanders == 0) {
        fd_close(&until[1]);
        _exit(watch_bystanders(until[0]) != 0);
    }
    storm(id);
    fd_close(&until[1]);
    if (waitpid(bystanders, &status, 0) != bystanders) _exit(8);
    _exit(status == 0 ? 0 : 1);
}

static void test_kill_storm_hits_nobody_else(void **state) {
    (void) state;
    if (!getenv("ORLOP_HOSTILE_TRIES")) skip(); /* too long on a busy machine */
    /* One hierarchy is enough, and leaves the storm the time. */
    struct cgroup_forest pids = *cgroup__forest();
    const struct cgroup_tree *t = cgroup__v1_with(&pids, "pids");
    if (!own_pid_max() || !t) skip();
    pids.v1[0] = *t;
    pids.n_v1 = 1;
    const struct cgroup_id id = {&pids, rig.cgroup_parent, "storm"};
    struct clone_args args = {.flags = CLONE_NEWPID, .exit_signal = SIGCHLD};
    pid_t pid = sys_clone3(&args, sizeof args);
    assert_true(pid >= 0);
    if (pid == 0) small_world(&id);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- frozen --- */

static int freeze(const char *name) {
    const struct cgroup_forest *f = cgroup__forest();
    const struct cgroup_tree *t = cgroup__v1_with(f, "freezer");
    auto_fd int v1 = t ? cgroup__open(f, t, rig.cgroup_parent, name) : -1;
    auto_fd int v2 = cgroup_open_v2(rig.cgroup_parent, name);
    int r = v1 >= 0 ? fd_write_file(v1, "freezer.state", "FROZEN") : 0;
    return r == 0 && v2 >= 0 ? fd_write_file(v2, "cgroup.freeze", "1") : r;
}

static void test_frozen_sandbox_is_killed_and_removed(void **state) {
    (void) state;
    static char name[] = "frozen";
    const struct cgroup_limits l = {.pids = 32};
    struct err e = {.code = 0};
    struct rig_spec s;
    struct container_process p;
    if (cgroup_mode() == CGROUP_MODE_NONE) skip();
    for (int init = 0; init < 2; init++) {
        assert_int_equal(cgroup_make(rig.cgroup_parent, name, &l, &e), 0);
        rig_spec_init(&rig, &s, SH("sleep 1000 & sleep 1000 & sleep 1000"));
        s.spec.cgroup = name;
        s.spec.init = init;
        hostile_start(&s, &p);
        assert_int_equal(freeze(name), 0);
        assert_int_equal(sys_pidfd_send_signal(p.pidfd, SIGKILL), 0); /* v1: not before it thaws */
        if (cgroup_kill(rig.cgroup_parent, name, &e) < 0) fail_msg("%s", e.text);
        rig_finish(&rig, &p, &res);
        assert_true(WIFSIGNALED(res.status) && WTERMSIG(res.status) == SIGKILL);
        rig_spec_fini(&s);
        if (cgroup_remove(rig.cgroup_parent, name, &e) < 0) fail_msg("%s", e.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pid_of_another_is_not_entered),
        cmocka_unit_test(test_kill_storm_hits_nobody_else),
        cmocka_unit_test(test_frozen_sandbox_is_killed_and_removed),
    };
    return hostile_main(tests, array_len(tests));
}
