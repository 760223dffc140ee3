// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/prepare.h"

static struct rig rig;
static const char *cannot;
static struct rig_result res;

static void need_rig(void) {
    if (!cannot) return;
    const char *must = getenv("MUST_WORK");
    if (must && strstr(must, "root")) fail_msg("MUST_WORK says root, but: %s", cannot);
    print_message("skipped: %s\n", cannot);
    skip();
}

#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

static void run(struct rig_spec *s) {
    rig_run(&rig, s, &res);
    if (res.failed < 0) print_message("%s: %s\n", res.phase, res.text);
    rig_spec_fini(s);
}

static void run_sh(const char *script) {
    struct rig_spec s;
    rig_spec_init(&rig, &s, SH(script));
    run(&s);
}

static void assert_has(const char *text, const char *what) {
    if (strstr(text, what)) return;
    print_message("\"%s\" is not in:\n%s\n", what, text);
    fail();
}

static void assert_not(const char *text, const char *what) {
    if (!strstr(text, what)) return;
    print_message("\"%s\" is in:\n%s\n", what, text);
    fail();
}

/* --- exec --- */

/* A sandbox that waits until its stdin-less shell is killed. */
static void start_sleeper(struct rig_spec *s, struct container_process *p) {
    struct err e = {.code = 0};
    int r = rig_spawn(&rig, s, p, &e);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
    assert_int_equal(write(p->go_fd, "g", 1), 1);
    fd_close(&p->go_fd);
    memset(&res, 0, sizeof res);
    if (rig_started(p, &res) < 0) print_message("%s: %s\n", res.phase, res.text);
    assert_int_equal(res.failed, 0);
}

static void end_sleeper(struct rig_spec *s, struct container_process *p) {
    assert_int_equal(sys_pidfd_send_signal(p->pidfd, SIGKILL), 0);
    rig_finish(&rig, p, &res);
    rig_spec_fini(s);
}

struct exec_case {
    Orlop__KeeperExec exec;
    char *argv[4], *env[2], script[1024];
};

static void exec_sh(struct exec_case *c, const char *script) {
    *c = (struct exec_case){
        .argv = {(char *) "/bin/sh", (char *) "-c", (char *) (uintptr_t) script}};
    orlop__keeper_exec__init(&c->exec);
    c->exec.argv = c->argv;
    c->exec.n_argv = 3;
    c->exec.capabilities = 0xa80425fb;
    c->exec.no_new_privs = true;
    c->exec.fd_seccomp = -1;
}

static void run_exec_in(const struct container_process *p, const struct exec_case *c,
                        const char *cgroup, struct rig_result *ret) {
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    auto_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct container_exec where = {.target_pidfd = p->pidfd,
                                   .target_pid = p->pid,
                                   .cgroup_parent = rig.cgroup_parent,
                                   .cgroup = cgroup,
                                   .stdio = {null, out[1], out[1]},
                                   .devpts_fd = -1};
    struct container_process child;
    struct err e = {.code = 0};
    int master = -1;
    memset(ret, 0, sizeof *ret);
    int r = container_exec(&c->exec, NULL, 0, &where, &child, &master, &e);
    fd_close(&out[1]);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
    (void) rig_started(&child, ret);
    ssize_t n = fd_read_full(out[0], ret->out, sizeof ret->out - 1);
    assert_true(n >= 0);
    assert_int_equal(waitpid(child.pid, &ret->status, 0), child.pid);
    fd_close(&out[0]);
    fd_close(&child.pidfd);
    fd_close(&child.status_fd);
}

static void run_exec(const struct container_process *p, const struct exec_case *c,
                     struct rig_result *ret) {
    run_exec_in(p, c, "", ret);
}

/* A command in the test's own network namespace. */
static int run_host(const char *command) {
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *) NULL);
        _exit(127);
    }
    int status;
    return pid < 0 || waitpid(pid, &status, 0) != pid ? -1 : status;
}

static void test_spawn_shell_is_pid_one_with_own_name(void **state) {
    (void) state;
    need_rig();
    run_sh("echo pid $$; hostname; pwd; exit 7");
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "pid 1\nbox\n/\n");
    assert_string_equal(res.err, "");
    assert_true(WIFEXITED(res.status));
    assert_int_equal(WEXITSTATUS(res.status), 7);
}

static void test_spawn_status_is_confined_r9(void **state) {
    (void) state;
    need_rig();
    run_sh("grep -E '^(Cap|NoNewPrivs|Uid|Gid|Groups|Sig(Blk|Ign|Cgt)|SigQ)' /proc/self/status | "
           "grep -v SigQ;"
           "ls /proc/self/fd | wc -l 2>/dev/null; echo; cat /proc/self/oom_score_adj");
    assert_int_equal(res.failed, 0);
    assert_has(res.out, "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n"
                        "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n"
                        "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n");
    assert_has(res.out, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
    assert_has(res.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_spawn_has_three_descriptors_r2(void **state) {
    (void) state;
    need_rig();
    /* Descriptors of ours that are not CLOEXEC, as a careless library would leave them. */
    int leak = open("/", O_RDONLY); /* NOLINT: the point of it */
    int high = fcntl(leak, F_DUPFD, 500);
    run_sh("for f in /proc/self/fd/*; do echo ${f##*/}; done; readlink /proc/self/fd/0;"
           "echo x >/dev/stdout; echo y >/dev/stderr");
    fd_close(&leak);
    fd_close(&high);
    assert_int_equal(res.failed, 0);
    /* the shell's own directory handle for the pattern is one more */
    assert_int_equal(strncmp(res.out, "0\n1\n2\n", 6), 0);
    assert_not(res.out, "500");
    assert_has(res.out, "/dev/null\nx\n");
    assert_string_equal(res.err, "y\n");
}

static void test_spawn_mounts_are_the_expected_ones(void **state) {
    (void) state;
    need_rig();
    run_sh("while read a b c d e f rest; do echo \"$e $f\"; done </proc/self/mountinfo");
    assert_int_equal(res.failed, 0);
    assert_int_equal(strncmp(res.out, "/ rw", 4), 0);
    static const char *const want[] = {
        "\n/proc rw,nosuid,nodev,noexec,relatime\n",
        "\n/sys ro,nosuid,nodev,noexec,relatime\n",
        "\n/dev rw,nosuid,relatime\n",
        "\n/dev/pts rw,nosuid,noexec,relatime\n",
        "\n/dev/shm rw,nosuid,nodev,noexec,relatime\n",
        "\n/dev/mqueue rw,nosuid,nodev,noexec,relatime\n",
        "\n/proc/sys ro,nosuid,nodev,noexec,relatime\n",
        "\n/proc/keys rw,",
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) assert_has(res.out, want[i]);
    assert_not(res.out, "/tmp/orlop");
    assert_not(res.out, "/sys/fs/cgroup"); /* no cgroup was asked for */
}

static void test_spawn_kernel_files_are_masked_r13(void **state) {
    (void) state;
    need_rig();
    run_sh("for f in kcore keys timer_list interrupts sched_debug; do"
           " [ -e /proc/$f ] && [ \"$(cat /proc/$f)\" ] && echo shown $f; done;"
           "for d in acpi scsi asound; do [ -d /proc/$d ] && [ \"$(ls /proc/$d)\" ] && echo shown "
           "$d; done;"
           "[ -d /sys/firmware ] && [ \"$(ls /sys/firmware)\" ] && echo shown firmware;"
           "echo b >/proc/sysrq-trigger; echo x >/proc/sys/kernel/core_pattern; touch /sys/x; "
           "umount /proc/sys;"
           "echo done");
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "done\n");
    if (access("/proc/sysrq-trigger", F_OK) == 0)
        assert_has(res.err, "/proc/sysrq-trigger: Read-only file system");
    assert_has(res.err, "/proc/sys/kernel/core_pattern: Read-only file system");
}

static void test_spawn_dev_has_the_harmless_nodes(void **state) {
    (void) state;
    need_rig();
    run_sh("ls /dev; stat -c '%t:%T %a %u' /dev/null /dev/tty; echo gone >/dev/null; readlink "
           "/dev/ptmx;"
           "dd if=/dev/zero bs=4 count=1 2>/dev/null | cat >/dev/null && echo ok");
    assert_int_equal(res.failed, 0);
    assert_has(res.out,
               "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n"
               "urandom\nzero\n1:3 666 0\n5:0 666 0\npts/ptmx\nok\n");
}

static void init_device(Orlop__SandboxDevice *d, char *target, unsigned minor) {
    orlop__sandbox_device__init(d);
    d->target = target;
    d->major = 1;
    d->minor = minor;
    d->mode = 0640;
    d->uid = 5;
    d->gid = 6;
}

static void test_spawn_devices_are_nodes_of_its_own(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    char in_dev[] = "/dev/bus/other", elsewhere[] = "/opt/zero";
    Orlop__SandboxDevice a, b, *list[] = {&a, &b};
    init_device(&a, in_dev, 3);
    init_device(&b, elsewhere, 5);
    rig_spec_init(
        &rig, &s,
        SH("stat -c '%F %t:%T %a %u:%g' /dev/bus/other /opt/zero; ls -A /dev | grep orlop;"
           "chmod 600 /dev/bus/other; stat -c %a /dev/bus/other /dev/null;"
           "dd if=/opt/zero bs=4 count=1 2>/dev/null | wc -c"));
    s.spec.devices = list;
    s.spec.n_devices = array_len(list);
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "character special file 1:3 640 5:6\n"
                                 "character special file 1:5 640 5:6\n600\n666\n4\n");
}

static void test_spawn_devices_on_kernel_places_are_refused(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    char target[] = "/link/meminfo";
    Orlop__SandboxDevice d, *list[] = {&d};
    init_device(&d, target, 3);
    rig_spec_init(&rig, &s, SH("echo ran"));
    assert_int_equal(symlinkat("/proc", s.fds[0], "link"), 0);
    s.spec.devices = list;
    s.spec.n_devices = 1;
    rig_run(&rig, &s, &res);
    rig_spec_fini(&s);
    assert_int_equal(res.failed, -EPERM);
    assert_string_equal(res.phase, "devices");
}

static void test_spawn_read_only_root_keeps_its_workdir(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    static char cwd[] = "/made/for/me";
    rig_spec_init(&rig, &s, SH("pwd; touch /x; touch /dev/shm/y && echo shm"));
    s.spec.read_only = true;
    s.spec.cwd = cwd;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "/made/for/me\nshm\n");
    assert_has(res.err, "Read-only file system");
}

static void test_spawn_user_gets_ids_home_and_streams(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    static char user[] = "app", env[] = "HOME=", other[] = "A=b c";
    uint32_t extra = 4242;
    rig_spec_init(&rig, &s,
                  SH("id; echo $HOME; echo \"$A\"; echo $PATH; echo again >/dev/stdout;"
                     "grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status"));
    s.spec.user = user;
    s.env[0] = env;
    s.env[1] = other;
    s.spec.n_env = 2;
    s.spec.extra_groups = &extra;
    s.spec.n_extra_groups = 1;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_has(
        res.out,
        "uid=1000(app) gid=1000(app) groups=77(extra),4242\n/home/app\nb c\n/usr/local/sbin:");
    assert_has(res.out, "\nagain\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_int_equal(st.st_uid, 0);
}

static void assert_fails(int code, const char *phase, const char *text) {
    assert_int_equal(res.failed, code);
    assert_string_equal(res.phase, phase);
    assert_has(res.text, text);
}

static void test_spawn_programs_that_cannot_run_are_named(void **state) {
    (void) state;
    need_rig();
    static const struct {
        const char *argv0;
        int code;
        const char *text;
    } t[] = {
        {"nothere", -ENOENT, "\"nothere\": executable file not found in $PATH"},
        {"/bin/nothere", -ENOENT, "\"/bin/nothere\": No such file or directory"},
        {"/etc", -EACCES, "\"/etc\": Permission denied"},
        {"/etc/passwd", -EACCES, "\"/etc/passwd\": Permission denied"},
        {"/bin/sh/x", -ENOENT, "No such file"},
        {"/script", -ENOENT, "\"/script\": its interpreter"},
        {"/noise", -ENOEXEC, "exec format error"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, (const char *const[]){t[i].argv0, NULL});
        auto_fd int script = openat(s.fds[0], "script", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        assert_int_equal(fd_write_all(script, "#!/bin/nothere\n", 15), 0);
        fd_close(&script);
        auto_fd int noise = openat(s.fds[0], "noise", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        assert_int_equal(fd_write_all(noise, "noise\n", 6), 0);
        fd_close(&noise);
        rig_run(&rig, &s, &res);
        rig_spec_fini(&s);
        assert_fails(t[i].code, "exec", t[i].text);
        assert_true(WIFEXITED(res.status) && WEXITSTATUS(res.status) == 127);
    }
}

static void test_spawn_users_that_do_not_exist_are_named(void **state) {
    (void) state;
    need_rig();
    static const char *const bad[] = {"nobody", "4294967296", "0x0", "-1", "app:", "app:nogroup"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rig_spec s;
        char user[32];
        snprintf(user, sizeof user, "%s", bad[i]);
        rig_spec_init(&rig, &s, SH("echo ran"));
        s.spec.user = user;
        rig_run(&rig, &s, &res);
        rig_spec_fini(&s);
        assert_int_equal(res.failed, -EINVAL);
        assert_string_equal(res.phase, "user");
        assert_string_equal(res.out, "");
    }
}

/* A descriptor of the host as working directory (CVE-2024-21626). */
static void test_spawn_workdir_outside_is_refused_r2(void **state) {
    (void) state;
    need_rig();
    for (int fd = 3; fd < 40; fd++) {
        struct rig_spec s;
        char cwd[40];
        snprintf(cwd, sizeof cwd, "/proc/self/fd/%d", fd);
        rig_spec_init(&rig, &s, SH("ls"));
        s.fds[s.n_fds++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the child keeps it */
        s.spec.cwd = cwd;
        rig_run(&rig, &s, &res);
        rig_spec_fini(&s);
        assert_not(res.out, "vmlinuz");
        if (res.failed == 0)
            assert_has(res.out, "home\n"); /* the container's own root, nothing else */
        if (res.failed == 0) assert_not(res.out, "boot\n");
    }
}

static void test_spawn_root_with_odd_folders_is_refused_r6(void **state) {
    (void) state;
    need_rig();
    static const char *const names[] = {"proc", "sys", "dev"};
    for (size_t i = 0; i < 3; i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, SH("echo ran"));
        assert_int_equal(symlinkat("/../../tmp", s.fds[0], names[i]), 0);
        rig_run(&rig, &s, &res);
        rig_spec_fini(&s);
        assert_true(res.failed < 0);
        assert_has(res.text, "must be an ordinary directory");
        assert_string_equal(res.out, "");
    }
}

/* An image brings what it likes as /dev/null (CVE-2025-31133): ours lies over it. */
static void test_spawn_null_device_of_the_image_is_not_used_r3(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    rig_spec_init(
        &rig, &s,
        SH("stat -c %t:%T /dev/null; cat /proc/keys /proc/timer_list; readlink /proc/self/fd/0"));
    assert_int_equal(mkdirat(s.fds[0], "dev", 0755), 0);
    assert_int_equal(symlinkat("/proc/self/environ", s.fds[0], "dev/null"), 0);
    assert_int_equal(symlinkat("/etc", s.fds[0], "dev/pts"), 0);
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "1:3\n/dev/null\n");
}

/* --- mounts of the spec --- */

static void add_mount(struct rig_spec *s, Orlop__SandboxMount *m, Orlop__SandboxMount **list,
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

static int bind_of(const char *path) {
    bool file;
    int fd = prepare_bind(path, true, false, &file, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void test_spawn_mounts_in_order_on_made_targets(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    Orlop__SandboxMount m[3], *list[3];
    char data[] = "/data", below[] = "/data/sub/deep", file[] = "/etc/resolv.conf", path[128];
    rig_spec_init(&rig, &s,
                  SH("mkdir /data/x; ls /data/sub/deep; cat /etc/resolv.conf; stat -c %a /data;"
                     "touch /data/y && echo rw"));
    snprintf(path, sizeof path, "%s/image/home", rig.dir);
    /* a dangling link, as many images have it: the target is made inside */
    assert_int_equal(symlinkat("../run/resolve/stub.conf", s.fds[0], "etc/resolv.conf"), 0);
    add_mount(&s, &m[0], list, data, -1);
    m[0].mode = 0750;
    add_mount(&s, &m[1], list, below, bind_of(path));
    snprintf(path, sizeof path, "%s/image/etc/group", rig.dir);
    add_mount(&s, &m[2], list, file, bind_of(path));
    m[2].file = true;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "app\nroot:x:0:\napp:x:1000:\nextra:x:77:app,other\n750\nrw\n");
}

static void test_spawn_mounts_on_kernel_places_are_refused_r5(void **state) {
    (void) state;
    need_rig();
    static const char *const bad[] = {"/proc",    "/proc/sys", "/sys",           "/sys/kernel",
                                      "/",        "/..",       "/etc/../proc/1", "/link/sys",
                                      "relative", "/dev/pts"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rig_spec s;
        Orlop__SandboxMount m, *list[1];
        char target[64];
        snprintf(target, sizeof target, "%s", bad[i]);
        rig_spec_init(&rig, &s, SH("echo ran"));
        assert_int_equal(symlinkat("/proc", s.fds[0], "link"), 0);
        add_mount(&s, &m, list, target, -1);
        rig_run(&rig, &s, &res);
        rig_spec_fini(&s);
        if (res.failed >= 0) print_message("%s\n", bad[i]);
        assert_true(res.failed < 0);
        assert_string_equal(res.phase, "mounts");
        assert_string_equal(res.out, "");
    }
}

static void test_spawn_targets_cannot_leave_the_root_r8(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    Orlop__SandboxMount m, *list[1];
    char target[] = "/out/orlop-escape-test/x";
    rig_spec_init(&rig, &s, SH("ls /tmp; touch /tmp/orlop-escape-test/x/y"));
    assert_int_equal(symlinkat("../../../../../../../../tmp", s.fds[0], "out"), 0);
    add_mount(&s, &m, list, target, -1);
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "orlop-escape-test\n");
    assert_int_equal(access("/tmp/orlop-escape-test", F_OK), -1);
}

/* --- init, go, terminal --- */

static void test_spawn_init_reaps_forwards_and_passes_the_code(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    rig_spec_init(&rig, &s, SH("echo $$; (sleep 0 & ); exit 9"));
    s.spec.init = true;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "2\n");
    assert_true(WIFEXITED(res.status) && WEXITSTATUS(res.status) == 9);

    struct container_process p;
    rig_spec_init(
        &rig, &s,
        SH("trap 'echo got it; exit 3' TERM; echo ready; while :; do read x </dev/tty2; done"));
    s.spec.init = true;
    start_sleeper(&s, &p);
    rig_await(&rig, &res, "ready\n");
    assert_int_equal(sys_pidfd_send_signal(p.pidfd, SIGTERM), 0);
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
    assert_has(res.out, "got it\n");
    assert_true(WIFEXITED(res.status) && WEXITSTATUS(res.status) == 3);

    rig_spec_init(&rig, &s, (const char *const[]){"nothere", NULL});
    s.spec.init = true;
    rig_run(&rig, &s, &res);
    rig_spec_fini(&s);
    assert_fails(-ENOENT, "exec", "not found in $PATH");
}

static void test_spawn_without_go_runs_nothing(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p;
    rig_spec_init(&rig, &s, SH("echo ran"));
    assert_int_equal(rig_spawn(&rig, &s, &p, NULL), 0);
    assert_true(p.start_ticks > 0);
    fd_close(&p.go_fd); /* as a dying keeper does */
    memset(&res, 0, sizeof res);
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "");
    assert_true(WIFEXITED(res.status) && WEXITSTATUS(res.status) == 127);
}

/* A waiting child must not hold the pipes of another: when the keeper dies, all end. */
static void test_spawn_waiting_children_do_not_hold_each_other(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s[2];
    struct container_process p[2];
    for (int i = 0; i < 2; i++) {
        rig_spec_init(&rig, &s[i], SH("echo ran"));
        assert_int_equal(rig_spawn(&rig, &s[i], &p[i], NULL), 0);
    }
    for (int i = 0; i < 2; i++) {
        fd_close(&p[i].go_fd);
        memset(&res, 0, sizeof res);
        rig_finish(&rig, &p[i], &res); /* hangs if the other has the pipe */
        assert_true(WIFEXITED(res.status) && WEXITSTATUS(res.status) == 127);
        assert_string_equal(res.out, "");
        rig_spec_fini(&s[i]);
    }
}

static void test_spawn_reports_ready_when_asked(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p;
    struct container_report rep;
    struct container_host host = {.cgroup_parent = rig.cgroup_parent, .report_ready = true};
    rig_spec_init(&rig, &s, SH("echo ran"));
    assert_int_equal(
        container_spawn(&s.spec, s.fds, s.n_fds, &host, rig.out_path, rig.err_path, &p, NULL), 0);
    struct pollfd pf = {.fd = p.status_fd, .events = POLLIN};
    assert_int_equal(poll(&pf, 1, -1), 1);
    assert_int_equal(read(p.status_fd, &rep, sizeof rep), sizeof rep);
    assert_int_equal(rep.error, 0);
    assert_string_equal(rep.phase, "ready");
    memset(&res, 0, sizeof res);
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
    assert_string_equal(res.out, "ran\n");
}

static void read_master(int master, char *buf, size_t size, const char *until) {
    size_t n = 0;
    for (ssize_t got; n < size - 1 && (got = read(master, buf + n, size - 1 - n)) > 0;) {
        n += (size_t) got;
        buf[n] = 0;
        if (until && strstr(buf, until)) return;
    }
    buf[n] = 0;
}

static void test_spawn_terminal_is_the_containers_own(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p;
    static char text[4096];
    rig_spec_init(&rig, &s, SH("tty; echo $TERM; echo x >/dev/console; [ -t 0 ] && echo done"));
    s.spec.tty = true;
    assert_int_equal(rig_spawn(&rig, &s, &p, NULL), 0);
    assert_true(p.master >= 0);
    assert_int_equal(write(p.go_fd, "g", 1), 1);
    fd_close(&p.go_fd);
    read_master(p.master, text, sizeof text, "done");
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
    assert_has(text, "/dev/pts/0\r\nxterm\r\nx\r\ndone");
    assert_int_equal(res.status, 0);
}

static void test_spawn_seccomp_is_loaded_last(void **state) {
    (void) state;
    need_rig();
    for (int nnp = 0; nnp < 2; nnp++) {
        struct rig_spec s;
        static char user[] = "app";
        rig_spec_init(&rig, &s,
                      SH("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mkdir /tmp/a;"
                         "mount -t tmpfs x /tmp 2>&1; echo still"));
        s.spec.no_new_privs = nnp;
        s.spec.user = user;
        s.spec.fd_seccomp = 1;
        s.fds[s.n_fds++] = prepare_seccomp(s.spec.capabilities, NULL);
        run(&s);
        assert_int_equal(res.failed, 0);
        assert_has(res.out,
                   nnp ? "NoNewPrivs:\t1\nSeccomp:\t2\n" : "NoNewPrivs:\t0\nSeccomp:\t2\n");
        assert_has(res.out, "still\n");
    }
}

/* Pid 1 of `init: true` is a copy of the keeper: its executable must be out of reach
 * (CVE-2019-5736). */
static void test_spawn_init_hides_its_executable_r1(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    rig_spec_init(
        &rig, &s,
        SH("cat /proc/1/exe >/dev/null; echo x >/proc/1/exe; ls /proc/1/root/;"
           "cat /proc/1/environ; tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm; echo done"));
    s.spec.init = true;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_int_equal(strncmp(res.out, "orlop-init ", 11), 0);
    assert_not(res.out, "test_");
    assert_has(res.out, "orlop-init\ndone\n");
    assert_has(res.err, "cat: can't open '/proc/1/exe': Permission denied");
}

static void test_spawn_init_with_terminal_has_the_foreground(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p;
    static char text[4096];
    rig_spec_init(&rig, &s,
                  SH("trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 1; done"));
    s.spec.init = true;
    s.spec.tty = true;
    assert_int_equal(rig_spawn(&rig, &s, &p, NULL), 0);
    assert_int_equal(write(p.go_fd, "g", 1), 1);
    fd_close(&p.go_fd);
    read_master(p.master, text, sizeof text, "ready");
    assert_int_equal(write(p.master, "\003", 1), 1); /* ^C */
    read_master(p.master, text, sizeof text, "interrupted");
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
    assert_true(WIFEXITED(res.status) && WEXITSTATUS(res.status) == 4);
}

static void test_spawn_host_network_is_the_hosts(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    char ours[64] = "";
    assert_true(readlink("/proc/self/ns/net", ours, sizeof ours - 1) > 0);
    rig_spec_init(&rig, &s, SH("readlink /proc/self/ns/net"));
    s.spec.host_network = true;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_int_equal(strncmp(res.out, ours, strlen(ours)), 0);
}

static void test_spawn_specs_that_make_no_sense_are_refused(void **state) {
    (void) state;
    need_rig();
    Orlop__SandboxMount m, *list[] = {&m};
    Orlop__SandboxLink link, *links[] = {&link};
    char target[] = "/x";
    orlop__sandbox_link__init(&link);
    for (int i = 0; i < 7; i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, SH("echo ran"));
        size_t n_argv = s.spec.n_argv;
        orlop__sandbox_mount__init(&m);
        m.target = target;
        switch (i) {
        case 0:
            s.spec.user_namespace = true;
            break;
        case 1:
            s.spec.fd_root = 1;
            break;
        case 2:
            s.spec.fd_seccomp = 7;
            break;
        case 3:
            s.spec.n_argv = 0;
            break;
        case 4: /* a mount of no kind */
        case 5: /* a bind without descriptor */
            m.kind = i == 4 ? 0 : ORLOP__SANDBOX_MOUNT__KIND__DETACHED;
            m.fd = -1;
            s.spec.mounts = list;
            s.spec.n_mounts = 1;
            break;
        default:
            s.spec.host_network = true;
            s.spec.links = links;
            s.spec.n_links = 1;
        }
        struct container_process p;
        struct err e = {.code = 0};
        int r = rig_spawn(&rig, &s, &p, &e);
        assert_int_equal(r, i == 0 ? -EOPNOTSUPP : -EINVAL);
        assert_true(e.text[0]);
        s.spec.n_argv = n_argv;
        rig_spec_fini(&s);
    }
}

static void test_spawn_without_memory_leaves_nothing(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p = {.pid = 4711};
    rig_spec_init(&rig, &s, SH("echo ran"));
    for (unsigned long nth = 1; nth <= 2; nth++) {
        struct err e = {.code = 0};
        mem_fail_after(nth);
        assert_int_equal(rig_spawn(&rig, &s, &p, &e), -ENOMEM);
        mem_fail_after(0);
        assert_int_equal(p.pid, 4711);
    }
    run(&s);
    assert_string_equal(res.out, "ran\n");
}

static void test_spawn_small_limits_do_not_hurt_the_start(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    Orlop__SandboxLimit l, *list[] = {&l};
    orlop__sandbox_limit__init(&l);
    l.resource = RLIMIT_NOFILE;
    l.soft = l.hard = 4;
    rig_spec_init(&rig, &s, SH("ulimit -n"));
    s.spec.limits = list;
    s.spec.n_limits = 1;
    run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "4\n");
    rig_spec_init(&rig, &s, SH("ulimit -n"));
    run(&s);
    assert_string_equal(res.out, "1024\n");
}

/* --- races: another container writes to the same volume while this one starts --- */

enum { RACE_STARTS = 40 };

/* Exchange VOLUME/a (a folder) with VOLUME/b (a link to the host's canary) until killed. */
static pid_t start_exchanger(const char *volume) {
    pid_t pid = fork();
    if (pid) return pid;
    auto_fd int dir = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (getppid() != 1) (void) renameat2(dir, "a", dir, "b", RENAME_EXCHANGE);
    _exit(0);
}

static void test_spawn_races_on_a_volume_stay_inside_r7(void **state) {
    (void) state;
    need_rig();
    char volume[128], canary[128], path[160];
    snprintf(volume, sizeof volume, "%s/volume", rig.dir);
    snprintf(canary, sizeof canary, "%s/canary", rig.dir);
    assert_int_equal(mkdir(volume, 0755) | mkdir(canary, 0755), 0);
    snprintf(path, sizeof path, "%s/a", volume);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/b", volume);
    assert_int_equal(symlink(canary, path), 0);
    pid_t peer = start_exchanger(volume);
    for (int i = 0; i < RACE_STARTS; i++) {
        struct rig_spec s;
        Orlop__SandboxMount m[3], *list[3];
        char data[] = "/data", inner[] = "/data/a/made", file[] = "/data/a/file",
             cwd[] = "/data/a/cwd";
        rig_spec_init(&rig, &s, SH("touch /data/a/made/x; echo y >/data/a/file; pwd"));
        add_mount(&s, &m[0], list, data, bind_of(volume));
        add_mount(&s, &m[1], list, inner, -1);
        snprintf(path, sizeof path, "%s/image/etc/group", rig.dir);
        add_mount(&s, &m[2], list, file, bind_of(path));
        m[2].file = true;
        s.spec.cwd = cwd;
        rig_run(&rig, &s, &res); /* it may fail: a loser of the race says so */
        rig_spec_fini(&s);
    }
    assert_int_equal(kill(peer, SIGKILL), 0);
    assert_int_equal(waitpid(peer, NULL, 0), peer);
    assert_int_equal(rmdir(canary), 0); /* nothing was made in it */
}

/* --- network --- */

static void test_spawn_links_carry_packets(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    Orlop__SandboxLink link, *list[] = {&link};
    char host[] = "olvtest0", inside[] = "eth0";
    orlop__sandbox_link__init(&link);
    link.host_name = host;
    link.name = inside;
    link.group = 0x4f520001;
    link.address = 0x0a500002;
    link.prefix_len = 22;
    link.gateway = 0x0a500001;
    link.mtu = 1450;
    link.default_route = true;
    rig_spec_init(&rig, &s,
                  SH("ip -o addr; ip route; cat /sys/class/net/eth0/mtu;"
                     "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ping -c 1 -W 5 10.80.0.1;"
                     "ping -c 1 -W 5 127.0.0.1 >/dev/null && echo lo"));
    s.spec.links = list;
    s.spec.n_links = 1;
    static const char make_gateway[] =
        "/bin/ip link add olg1 type bridge && /bin/ip addr add 10.80.0.1/32 dev "
        "olg1 && /bin/ip link set olg1 up";
    if (run_host(make_gateway) != 0) {
        rig_spec_fini(&s);
        print_message("skipped: cannot make a gateway device\n");
        skip();
    }
    struct container_process p;
    assert_int_equal(rig_spawn(&rig, &s, &p, NULL), 0);
    memset(&res, 0, sizeof res);
    rig_finish(&rig, &p, &res);
    if (res.failed < 0) print_message("%s: %s\n", res.phase, res.text);
    rig_spec_fini(&s);
    assert_int_equal(res.failed, 0);
    assert_has(res.out, "inet 10.80.0.2/22 brd 10.80.3.255");
    assert_not(res.out, "inet6 fe80");
    assert_has(res.out, "default via 10.80.0.1 dev eth0");
    assert_has(res.out, "\n1450\n0\n");
    assert_has(res.out, "1 packets received");
    assert_has(res.out, "lo\n");
}

static void test_spawn_links_that_clash_fail_as_a_whole(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    Orlop__SandboxLink link[2], *list[] = {&link[0], &link[1]};
    char host[] = "olvtest1", inside[] = "eth0", other[] = "eth1";
    for (int i = 0; i < 2; i++) {
        orlop__sandbox_link__init(&link[i]);
        link[i].host_name = host; /* the same twice */
        link[i].name = i ? other : inside;
        link[i].address = 0x0a500010 + (uint32_t) i;
        link[i].prefix_len = 24;
    }
    rig_spec_init(&rig, &s, SH("echo ran"));
    s.spec.links = list;
    s.spec.n_links = 2;
    rig_run(&rig, &s, &res);
    rig_spec_fini(&s);
    assert_fails(-EEXIST, "network", "eth1: make the link");
    assert_string_equal(res.out, "");
}

/* --- cgroups --- */

static void test_spawn_and_exec_are_in_their_cgroup(void **state) {
    (void) state;
    need_rig();
    struct cgroup_limits l = {.memory_bytes = 64 << 20, .pids = 32};
    struct err e = {.code = 0};
    if (cgroup_mode() == CGROUP_MODE_NONE) skip();
    int r = cgroup_make(rig.cgroup_parent, "box", &l, &e);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
    struct rig_spec s;
    struct container_process p;
    static char name[] = "box";
    rig_spec_init(&rig, &s,
                  SH("cat /proc/self/cgroup; cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
                     "/sys/fs/cgroup/memory.max 2>/dev/null; touch /sys/fs/cgroup/x 2>/dev/null || "
                     "echo ro; ls /sys/fs/cgroup; echo end; sleep 1000"));
    s.spec.cgroup = name;
    start_sleeper(&s, &p);
    struct cgroup_usage u;
    assert_int_equal(cgroup_read_usage(rig.cgroup_parent, name, &u), 0);
    assert_true(u.pids >= 1);
    static struct rig_result got;
    struct exec_case c;
    exec_sh(&c, "cat /proc/self/cgroup; cat /proc/1/cgroup");
    run_exec_in(&p, &c, name, &got);
    assert_int_equal(got.failed, 0);
    size_t half = strlen(got.out) / 2;
    assert_true(half > 4 && memcmp(got.out, got.out + half, half) == 0);
    assert_has(got.out, ":/\n");
    rig_await(&rig, &res, "end\n");
    assert_int_equal(cgroup_kill(rig.cgroup_parent, name, &e), 0);
    rig_finish(&rig, &p, &res);
    rig_spec_fini(&s);
    assert_has(res.out, "67108864\nro\n");
    assert_not(res.out, rig.cgroup_parent); /* the namespace hides where it lies */
    r = cgroup_remove(rig.cgroup_parent, name, &e);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
}

static void test_exec_terminal_has_size_and_own_devpts_r4(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p, child;
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    start_sleeper(&s, &p);
    struct err e = {.code = 0};
    auto_fd int devpts = container_open_devpts(p.pidfd, &e);
    if (devpts < 0) print_message("%s\n", e.text);
    assert_true(devpts >= 0);
    struct exec_case c;
    static char user[] = "app", text[4096];
    exec_sh(&c, "tty; stty size; id -u; echo back >/dev/tty && echo done");
    c.exec.tty = true;
    c.exec.rows = 33;
    c.exec.cols = 101;
    c.exec.user = user;
    struct container_exec where = {.target_pidfd = p.pidfd,
                                   .target_pid = p.pid,
                                   .cgroup_parent = rig.cgroup_parent,
                                   .cgroup = "",
                                   .stdio = {-1, -1, -1},
                                   .tty = true,
                                   .devpts_fd = devpts};
    int master = -1;
    int r = container_exec(&c.exec, NULL, 0, &where, &child, &master, &e);
    if (r < 0) print_message("%s\n", e.text);
    assert_int_equal(r, 0);
    read_master(master, text, sizeof text, "done");
    assert_has(text, "/dev/pts/0\r\n33 101\r\n1000\r\nback\r\ndone");
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_int_equal(status, 0);
    fd_close(&master);
    fd_close(&child.pidfd);
    fd_close(&child.status_fd);
    end_sleeper(&s, &p);
    assert_int_equal(container_open_devpts(0, &e), -EINVAL); /* no pidfd */
}

static void test_exec_after_the_end_is_refused(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p, child;
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    start_sleeper(&s, &p);
    auto_fd int pidfd = fcntl(p.pidfd, F_DUPFD_CLOEXEC, 3);
    pid_t pid = p.pid;
    end_sleeper(&s, &p);
    struct exec_case c;
    struct err e = {.code = 0};
    auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    exec_sh(&c, "echo ran");
    struct container_exec where = {.target_pidfd = pidfd,
                                   .target_pid = pid,
                                   .cgroup_parent = rig.cgroup_parent,
                                   .cgroup = "",
                                   .stdio = {null, null, null},
                                   .devpts_fd = -1};
    int master = -1;
    assert_int_equal(container_exec(&c.exec, NULL, 0, &where, &child, &master, &e), -ESRCH);
    assert_int_equal(container_open_devpts(pidfd, &e), -ESRCH);
}

static void test_exec_shares_namespaces_root_and_confinement_r10(void **state) {
    (void) state;
    need_rig();
    static const char script[] =
        "for n in mnt uts ipc net pid cgroup; do readlink /proc/$1/ns/$n; done;"
        "grep -E 'Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups' /proc/$1/status; stat -c %i /;"
        "cat /proc/$1/limits";
    char one[1024], self[1024];
    snprintf(one, sizeof one, "set -- 1; %s", script);
    snprintf(self, sizeof self, "set -- self; %s", script);
    struct rig_spec s;
    struct container_process p;
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    start_sleeper(&s, &p);
    static struct rig_result by_one, by_self;
    struct exec_case c;
    exec_sh(&c, one);
    run_exec(&p, &c, &by_one);
    exec_sh(&c, self);
    run_exec(&p, &c, &by_self);
    assert_int_equal(by_one.failed, 0);
    assert_true(strlen(by_one.out) > 200);
    assert_string_equal(by_one.out, by_self.out);
    end_sleeper(&s, &p);
}

static void test_exec_missing_program_is_reported(void **state) {
    (void) state;
    need_rig();
    struct rig_spec s;
    struct container_process p;
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    start_sleeper(&s, &p);
    static struct rig_result got;
    struct exec_case c;
    exec_sh(&c, "");
    static char name[] = "nothere";
    c.argv[0] = name;
    run_exec(&p, &c, &got);
    assert_int_equal(got.failed, -ENOENT);
    assert_string_equal(got.phase, "exec");
    assert_has(got.text, "executable file not found in $PATH");
    end_sleeper(&s, &p);
}

/* As the keeper has them: an ignored and a blocked signal, which no workload may inherit. */
static void odd_signals(void) {
    sigset_t some;
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void) sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGCHLD);
    (void) sigprocmask(SIG_BLOCK, &some, NULL);
}

int main(void) {
    odd_signals();
    cannot = rig_set_up(&rig);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spawn_shell_is_pid_one_with_own_name),
        cmocka_unit_test(test_spawn_status_is_confined_r9),
        cmocka_unit_test(test_spawn_has_three_descriptors_r2),
        cmocka_unit_test(test_spawn_mounts_are_the_expected_ones),
        cmocka_unit_test(test_spawn_kernel_files_are_masked_r13),
        cmocka_unit_test(test_spawn_dev_has_the_harmless_nodes),
        cmocka_unit_test(test_spawn_devices_are_nodes_of_its_own),
        cmocka_unit_test(test_spawn_devices_on_kernel_places_are_refused),
        cmocka_unit_test(test_spawn_read_only_root_keeps_its_workdir),
        cmocka_unit_test(test_spawn_user_gets_ids_home_and_streams),
        cmocka_unit_test(test_spawn_programs_that_cannot_run_are_named),
        cmocka_unit_test(test_spawn_users_that_do_not_exist_are_named),
        cmocka_unit_test(test_spawn_workdir_outside_is_refused_r2),
        cmocka_unit_test(test_spawn_root_with_odd_folders_is_refused_r6),
        cmocka_unit_test(test_spawn_null_device_of_the_image_is_not_used_r3),
        cmocka_unit_test(test_spawn_mounts_in_order_on_made_targets),
        cmocka_unit_test(test_spawn_mounts_on_kernel_places_are_refused_r5),
        cmocka_unit_test(test_spawn_targets_cannot_leave_the_root_r8),
        cmocka_unit_test(test_spawn_init_reaps_forwards_and_passes_the_code),
        cmocka_unit_test(test_spawn_without_go_runs_nothing),
        cmocka_unit_test(test_spawn_waiting_children_do_not_hold_each_other),
        cmocka_unit_test(test_spawn_reports_ready_when_asked),
        cmocka_unit_test(test_spawn_terminal_is_the_containers_own),
        cmocka_unit_test(test_spawn_seccomp_is_loaded_last),
        cmocka_unit_test(test_spawn_init_hides_its_executable_r1),
        cmocka_unit_test(test_spawn_init_with_terminal_has_the_foreground),
        cmocka_unit_test(test_spawn_host_network_is_the_hosts),
        cmocka_unit_test(test_spawn_specs_that_make_no_sense_are_refused),
        cmocka_unit_test(test_spawn_without_memory_leaves_nothing),
        cmocka_unit_test(test_spawn_small_limits_do_not_hurt_the_start),
        cmocka_unit_test(test_spawn_races_on_a_volume_stay_inside_r7),
        cmocka_unit_test(test_spawn_links_carry_packets),
        cmocka_unit_test(test_spawn_links_that_clash_fail_as_a_whole),
        cmocka_unit_test(test_spawn_and_exec_are_in_their_cgroup),
        cmocka_unit_test(test_exec_terminal_has_size_and_own_devpts_r4),
        cmocka_unit_test(test_exec_after_the_end_is_refused),
        cmocka_unit_test(test_exec_shares_namespaces_root_and_confinement_r10),
        cmocka_unit_test(test_exec_missing_program_is_reported),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    rig_tear_down(&rig);
    return r;
}
