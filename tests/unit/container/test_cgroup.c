// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/cgroup_ops.h"
#include "runtime/container/cgroup_tree.h"

static char parent[32];
static bool can;

/* --- mountinfo --- */

static void test_mountinfo_of_machines_gives_modes(void **state) {
    (void) state;
    static const struct {
        const char *name, *text;
        enum cgroup_mode mode;
        size_t n_v1;
        const char *v2;
    } t[] = {
        {"none", "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n", CGROUP_MODE_NONE, 0, ""},
        {"v2", "30 22 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
         CGROUP_MODE_V2, 0, "/sys/fs/cgroup"},
        {"v2 and a lone systemd tree",
         "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
         "31 22 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n",
         CGROUP_MODE_V2, 0, "/sys/fs/cgroup"},
        {"hybrid, co-mounted, a second mount, tags",
         "30 22 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
         "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:4 master:2 - cgroup cgroup "
         "rw,cpu,cpuacct\n"
         "32 30 0:28 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\n"
         "33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,xattr,memory,release_agent=/x\n"
         "34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
         CGROUP_MODE_HYBRID, 2, "/sys/fs/cgroup/unified"},
        {"v1, no unified, a bind of a part, an escape",
         "31 30 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
         "32 30 0:28 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
         "33 30 0:28 / /sys/fs/a\\040b rw - cgroup cgroup rw,cpu\n",
         CGROUP_MODE_V1, 1, ""},
        {"cut off", "31 30 0:28 / /sys/fs/cgroup/pids rw -", CGROUP_MODE_NONE, 0, ""},
        {"nonsense", "\n\n- - -\n1 2 3\n      \n", CGROUP_MODE_NONE, 0, ""},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        struct cgroup_forest f;
        cgroup__parse_mountinfo(t[i].text, &f);
        if (f.mode != t[i].mode) print_message("%s\n", t[i].name);
        assert_int_equal(f.mode, t[i].mode);
        assert_int_equal(f.n_v1, t[i].n_v1);
        assert_string_equal(f.v2.path, t[i].v2);
    }
    struct cgroup_forest f;
    cgroup__parse_mountinfo(t[3].text, &f);
    assert_non_null(cgroup__v1_with(&f, "cpuacct"));
    assert_null(cgroup__v1_with(&f, "acct"));
    assert_string_equal(cgroup__v1_with(&f, "memory")->controllers, "memory");
}

static void test_names_that_lead_elsewhere_are_refused_r11(void **state) {
    (void) state;
    static const char *const bad[] = {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n", "ä"};
    struct cgroup_limits none = {.pids = 0};
    for (size_t i = 0; i < array_len(bad); i++) {
        struct err e = {.code = 0};
        assert_false(cgroup__name_ok(bad[i]));
        int r = cgroup_make("orlop-test", bad[i], &none, &e);
        assert_true(r == -EINVAL || (r == -ENODEV && !can));
        r = cgroup_remove(bad[i], "x", &e);
        assert_true(r == -EINVAL || (r == 0 && !can));
    }
}

/* A place that is no cgroup file system is never written to, whatever mountinfo said. */
static void test_open_of_a_plain_folder_is_refused(void **state) {
    (void) state;
    struct cgroup_forest f = {.mode = CGROUP_MODE_V1, .n_v1 = 1};
    snprintf(f.v1[0].path, sizeof f.v1[0].path, "/tmp");
    snprintf(f.v1[0].controllers, sizeof f.v1[0].controllers, "memory");
    assert_int_equal(cgroup__open(&f, &f.v1[0], NULL, NULL), -ENODEV);
}

/* --- this machine's --- */

static int set_up(void **state) {
    (void) state;
    snprintf(parent, sizeof parent, "orlop-test-cg-%d", (int) getpid());
    can = geteuid() == 0 && cgroup_mode() != CGROUP_MODE_NONE;
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    if (!can) return 0;
    struct err e = {.code = 0};
    struct strv left = {.v = NULL};
    int r = cgroup_list(parent, &left);
    for (size_t i = 0; r == 0 && i < left.n; i++) r = cgroup_remove(parent, left.v[i], &e);
    strv_fini(&left);
    if (r == 0) r = cgroup_remove_parent(parent, &e);
    if (r < 0) print_message("%s\n", e.text);
    return r;
}

static void need_cgroups(void) {
    if (can) return;
    print_message("skipped: needs root and cgroups\n");
    skip();
}

static void make(const char *name, const struct cgroup_limits *l) {
    struct err e = {.code = 0};
    int r = cgroup_make(parent, name, l, &e);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
}

static void drop(const char *name) {
    struct err e = {.code = 0};
    int r = cgroup_remove(parent, name, &e);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
}

/* A child inside NAME that runs BODY; joined the way a sandbox joins on v1, by procs on v2. */
static pid_t inside(const char *name, int (*body)(void)) {
    pid_t pid = fork();
    if (pid) return pid;
    int fds[CGROUP_JOIN_MAX];
    int n = cgroup_open_tasks(parent, name, fds);
    for (int i = 0; i < n; i++)
        if (write(fds[i], "0", 1) != 1) _exit(100);
    int v2 = cgroup_open_v2(parent, name);
    if (v2 >= 0 && fd_write_file(v2, "cgroup.procs", "0") < 0) _exit(101);
    _exit(body());
}

static int status_of(pid_t pid) {
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int wait_for_ever(void) {
    while (pause() < 0) {
    }
    return 0;
}

static void test_make_limits_are_in_the_kernel(void **state) {
    (void) state;
    need_cgroups();
    struct cgroup_limits l = {
        .memory_bytes = 64 << 20, .cpu_millis = 500, .cpu_weight_millis = 250, .pids = 50};
    make("limits", &l);
    const struct cgroup_forest *f = cgroup__forest();
    uint64_t got;
    if (f->mode == CGROUP_MODE_V2) {
        auto_fd int dir = cgroup_open_v2(parent, "limits");
        assert_int_equal(cgroup__read_u64(dir, "memory.max", &got), 0);
        assert_int_equal(got, 64 << 20);
        assert_int_equal(cgroup__read_u64(dir, "pids.max", &got), 0);
        assert_int_equal(got, 50);
    } else {
        auto_fd int memory = cgroup__open(f, cgroup__v1_with(f, "memory"), parent, "limits");
        assert_int_equal(cgroup__read_u64(memory, "memory.limit_in_bytes", &got), 0);
        assert_int_equal(got, 64 << 20);
        auto_fd int cpu = cgroup__open(f, cgroup__v1_with(f, "cpu"), parent, "limits");
        assert_int_equal(cgroup__read_u64(cpu, "cpu.cfs_quota_us", &got), 0);
        assert_int_equal(got, 50000);
        assert_int_equal(cgroup__read_u64(cpu, "cpu.shares", &got), 0);
        assert_int_equal(got, 256);
        auto_fd int pids = cgroup__open(f, cgroup__v1_with(f, "pids"), parent, "limits");
        assert_int_equal(cgroup__read_u64(pids, "pids.max", &got), 0);
        assert_int_equal(got, 50);
    }
    struct strv names = {.v = NULL};
    assert_int_equal(cgroup_list(parent, &names), 0);
    assert_int_equal(names.n, 1);
    assert_string_equal(names.v[0], "limits");
    strv_fini(&names);
    drop("limits");
    drop("limits"); /* what is not there is removed */
}

static int eat_memory(void) {
    size_t n = 64 << 20;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 1;
    for (size_t i = 0; i < n; i += 4096) *(volatile char *) (p + i) = 1;
    return 0;
}

static void test_memory_limit_kills_and_is_counted(void **state) {
    (void) state;
    need_cgroups();
    struct cgroup_limits l = {.memory_bytes = 16 << 20};
    make("oom", &l);
    int status = status_of(inside("oom", eat_memory));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) { /* it was swapped out instead */
        drop("oom");
        skip();
    }
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct cgroup_usage u;
    assert_int_equal(cgroup_read_usage(parent, "oom", &u), 0);
    assert_true(u.oom_kills > 0);
    assert_true(u.cpu_usec > 0);
    make("oom", &l); /* again: counters start anew */
    assert_int_equal(cgroup_read_usage(parent, "oom", &u), 0);
    assert_int_equal(u.oom_kills, 0);
    drop("oom");
}

static int open_devices(void) {
    static const struct {
        unsigned major, minor;
        int error;
    } t[] = {{1, 3, 0}, {1, 5, 0}, {1, 8, 0}, {1, 1, EPERM}, {1, 11, EPERM}, {10, 200, EPERM}};
    for (int i = 0; i < (int) array_len(t); i++) {
        char path[64];
        snprintf(path, sizeof path, "/dev/shm/orlop-test-node-%d-%d", (int) getpid(), i);
        if (mknod(path, S_IFCHR | 0600, makedev(t[i].major, t[i].minor)) < 0) return 10 + i;
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        int e = fd < 0 ? errno : 0;
        (void) unlink(path);
        if (e != t[i].error) return 20 + i;
    }
    return 0;
}

static void test_devices_only_the_harmless_ones_open(void **state) {
    (void) state;
    need_cgroups();
    struct cgroup_limits none = {.pids = 0};
    make("devices", &none);
    int status = status_of(inside("devices", open_devices));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 20) {
        print_message("skipped: /dev/shm is nodev here\n");
        drop("devices");
        skip();
    }
    assert_int_equal(status, 0);
    drop("devices");
}

/* v1 takes a line that begins with "a" for all devices and all access. */
static void test_devices_rule_for_both_kinds_is_no_more_than_it_says(void **state) {
    (void) state;
    need_cgroups();
    static const struct cgroup_device both[] = {{'a', 1, 3, "r"}};
    struct cgroup_limits l = {.devices = both, .n_devices = array_len(both)};
    make("both", &l);
    int status = status_of(inside("both", open_devices));
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 20));
    drop("both");
}

/* The BPF program works in a unified tree without controllers too, so it can be tried anywhere. */
static void test_devices_bpf_program_loads_and_attaches(void **state) {
    (void) state;
    need_cgroups();
    if (!cgroup__forest()->has_v2) skip();
    struct cgroup_limits none = {.pids = 0};
    make("bpf", &none);
    auto_fd int dir = cgroup_open_v2(parent, "bpf");
    struct err e = {.code = 0};
    static const struct cgroup_device more[] = {{'c', 10, 229, "rw"}, {'b', -1, -1, "m"}};
    int r = cgroup__v1_with(cgroup__forest(), "devices")
                ? cgroup__bpf_devices(dir, more, array_len(more), &e)
                : 0;
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
    int status = status_of(inside("bpf", open_devices));
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 20));
    drop("bpf");
}

static int open_kmsg_for_both(void) {
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/orlop-test-node-%d", (int) getpid());
    if (mknod(path, S_IFCHR | 0600, makedev(1, 11)) < 0) return 10;
    auto_fd int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int e = fd < 0 ? errno : 0;
    (void) unlink(path);
    return e;
}

/* Exit code of an attempt to open 1:11 for reading and writing in a group with these rules. */
static int open_with(const struct cgroup_device *rules, size_t n) {
    struct cgroup_limits l = {.devices = rules, .n_devices = n};
    make("sum", &l);
    if (cgroup__v1_with(cgroup__forest(), "devices") && cgroup__forest()->has_v2) {
        auto_fd int dir = cgroup_open_v2(parent, "sum"); /* here, too: both must allow */
        struct err e = {.code = 0};
        assert_int_equal(cgroup__bpf_devices(dir, rules, n, &e), 0);
    }
    int status = status_of(inside("sum", open_kmsg_for_both));
    drop("sum");
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_devices_rules_add_up(void **state) {
    (void) state;
    need_cgroups();
    static const struct cgroup_device all = {'c', 1, 11, "rw"},
                                      parts[] = {{'c', 1, 11, "r"},
                                                 {'c', 10, 229, "rwm"},
                                                 {'c', 1, 11, "w"}},
                                      other[] = {{'c', 1, 11, "r"}, {'c', 1, 12, "w"}};
    if (open_with(&all, 1) == EACCES) {
        print_message("skipped: /dev/shm is nodev here\n");
        skip();
    }
    assert_int_equal(open_with(&all, 1), 0);
    assert_int_equal(open_with(parts, array_len(parts)), 0);
    assert_int_equal(open_with(parts, 2), EPERM);
    assert_int_equal(open_with(other, array_len(other)), EPERM);
}

/* As many as a service may have. Each gives a part only, so the kernel's check of the program follows
 * every way through it. */
static void test_devices_as_many_as_there_may_be(void **state) {
    (void) state;
    need_cgroups();
    struct cgroup_device many[CGROUP_DEVICES_MAX];
    for (int i = 0; i < CGROUP_DEVICES_MAX; i++)
        many[i] =
            (struct cgroup_device){i % 2 ? 'c' : 'a', 2 + i % 3, i % 5 ? i : -1, &"rwm"[i % 3]};
    many[0] = (struct cgroup_device){'c', 1, 11, "r"};
    many[CGROUP_DEVICES_MAX - 1] = (struct cgroup_device){'c', 1, 11, "w"};
    int code = open_with(many, array_len(many));
    assert_true(code == 0 || code == EACCES); /* of a nodev /dev/shm */
    assert_int_equal(open_with(many, array_len(many) - 1), code ? EACCES : EPERM);
}

static int fork_and_wait(void) {
    for (int i = 0; i < 5; i++)
        if (fork() == 0) return wait_for_ever();
    return wait_for_ever();
}

static void test_kill_ends_all_and_remove_takes_sub_groups_r14(void **state) {
    (void) state;
    need_cgroups();
    struct cgroup_limits l = {.pids = 20};
    make("kill", &l);
    pid_t pid = inside("kill", fork_and_wait);
    struct cgroup_usage u = {.pids = 0};
    /* cgroup_kill of an empty group is fine as well: wait until they are there. */
    while (u.pids < 6) {
        assert_int_equal(cgroup_read_usage(parent, "kill", &u), 0);
        (void) sched_yield();
    }
    struct err e = {.code = 0};
    assert_int_equal(cgroup_make(parent, "kill", &l, &e), -EBUSY);
    const struct cgroup_forest *f = cgroup__forest();
    const struct cgroup_tree *t = f->mode == CGROUP_MODE_V2 ? &f->v2 : &f->v1[0];
    auto_fd int dir = cgroup__open(f, t, parent, "kill");
    assert_int_equal(mkdirat(dir, "sub", 0755), 0);
    assert_int_equal(mkdirat(dir, "sub/deeper", 0755), 0);
    const struct cgroup_tree *freezer = cgroup__v1_with(f, "freezer");
    if (freezer) { /* a frozen one must die as well */
        auto_fd int fr = cgroup__open(f, freezer, parent, "kill");
        assert_int_equal(fd_write_file(fr, "freezer.state", "FROZEN"), 0);
    }
    int status;
    pid_t reaper = fork(); /* the zombies of our own child must not keep it waiting */
    if (reaper == 0) _exit(cgroup_kill(parent, "kill", NULL) == 0 ? 0 : 1);
    status = status_of(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(status_of(reaper), 0);
    drop("kill");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mountinfo_of_machines_gives_modes),
        cmocka_unit_test(test_names_that_lead_elsewhere_are_refused_r11),
        cmocka_unit_test(test_open_of_a_plain_folder_is_refused),
        cmocka_unit_test(test_make_limits_are_in_the_kernel),
        cmocka_unit_test(test_memory_limit_kills_and_is_counted),
        cmocka_unit_test(test_devices_only_the_harmless_ones_open),
        cmocka_unit_test(test_devices_rule_for_both_kinds_is_no_more_than_it_says),
        cmocka_unit_test(test_devices_bpf_program_loads_and_attaches),
        cmocka_unit_test(test_devices_rules_add_up),
        cmocka_unit_test(test_devices_as_many_as_there_may_be),
        cmocka_unit_test(test_kill_ends_all_and_remove_takes_sub_groups_r14),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
