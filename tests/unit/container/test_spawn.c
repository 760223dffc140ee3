// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "runtime/base/fd.h"
#include "runtime/base/sys.h"

static struct rig rig;
static const char *cannot;
static struct rig_result res;

static void need_rig(void) {
    if (!cannot) return;
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

static void run_exec(const struct container_process *p, const struct exec_case *c,
                     struct rig_result *ret) {
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    auto_fd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct container_exec where = {.target_pidfd = p->pidfd,
                                   .target_pid = p->pid,
                                   .cgroup_parent = rig.cgroup_parent,
                                   .cgroup = "",
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

static void test_exec_shares_namespaces_root_and_confinement(void **state) {
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

int main(void) {
    cannot = rig_set_up(&rig);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spawn_shell_is_pid_one_with_own_name),
        cmocka_unit_test(test_exec_shares_namespaces_root_and_confinement),
        cmocka_unit_test(test_exec_missing_program_is_reported),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    rig_tear_down(&rig);
    return r;
}
