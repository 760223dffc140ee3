// SPDX-License-Identifier: Apache-2.0
/* The whole agent against a real keeper, kernel and image store; only the scheduler is a stand-in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/container/cgroup.h"

#define STATE(x) ORLOP__TASK_STATE__##x
static struct node n;

static int setup(void **state) {
    (void) state;
    const char *why = node_set_up(&n);
    if (!why) return 0;
    print_message("skipped: %s\n", why);
    if (getenv("MUST_WORK")) return -1;
    exit(77);
}

static int teardown(void **state) {
    (void) state;
    node_tear_down(&n);
    return 0;
}

static void test_task_runs_logs_stops_and_leaves_nothing(void **state) {
    (void) state;
    node_want(
        &n,
        node_task(&n, "1.6.0", "web",
                  "echo hello from $HOSTNAME; trap 'exit 3' TERM; while :; do sleep 0.05; done"));
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    assert_true(node_status_of(&n, "1.6.0")->pid > 1);
    assert_true(node_log_has(&n, "1.6.0", "hello from app-web-1\n"));
    node_set_want(&n, "1.6.0", ORLOP__WANT__WANT_STOP);
    node_wait_gone(&n, "1.6.0");
    const Orlop__TaskStatus *s = node_status_of(&n, "1.6.0");
    assert_int_equal(s->state, STATE(SHUTDOWN));
    assert_int_equal(s->exit_code, 3);
    assert_true(node_path_exists(&n, "%s/tasks/1.6.0/log", n.paths.state));
    node_drop(&n, "1.6.0");
    char path[256];
    snprintf(path, sizeof path, "%s/tasks/1.6.0", n.paths.state);
    while (access(path, F_OK) == 0) uv_run(&n.loop, UV_RUN_ONCE);
}

static void want(const char *id, const char *service, const char *script) {
    node_want(&n, node_task(&n, id, service, script));
}

static void test_ends_are_told_with_code_and_cause(void **state) {
    (void) state;
    want("1.6.0", "good", "exit 0");
    want("1.7.0", "bad", "exit 7");
    want("1.8.0", "killed", "sleep 1000");
    Orlop__TaskSpec *t = node_task(&n, "1.9.0", "nope", "");
    t->spec->command[0] = (char *) (uintptr_t) "/bin/nope";
    node_want(&n, t);
    t = node_task(&n, "1.10.0", "noimage", "");
    t->spec->image = t->spec->image_digest = (char *) (uintptr_t) "missing:1";
    node_want(&n, t);
    t = node_task(&n, "1.11.0", "nothing", "");
    t->spec->has_command = false;
    t->spec->has_entrypoint = true; /* empty: hides the command of the image */
    node_want(&n, t);
    node_wait_state(&n, "1.6.0", STATE(COMPLETE));
    node_wait_state(&n, "1.7.0", STATE(FAILED));
    assert_int_equal(node_status_of(&n, "1.7.0")->exit_code, 7);
    node_wait_state(&n, "1.8.0", STATE(RUNNING));
    assert_int_equal(kill(node_status_of(&n, "1.8.0")->pid, SIGKILL), 0);
    node_wait_state(&n, "1.8.0", STATE(FAILED));
    assert_int_equal(node_status_of(&n, "1.8.0")->signal, SIGKILL);
    node_wait_state(&n, "1.9.0", STATE(FAILED));
    assert_non_null(strstr(node_status_of(&n, "1.9.0")->reason, "/bin/nope"));
    assert_int_equal(node_status_of(&n, "1.9.0")->exit_code, 127);
    node_wait_state(&n, "1.10.0", STATE(REJECTED));
    assert_non_null(strstr(node_status_of(&n, "1.10.0")->reason, "missing:1 is not on this node"));
    node_wait_state(&n, "1.11.0", STATE(REJECTED));
    assert_non_null(strstr(node_status_of(&n, "1.11.0")->reason, "nothing to run"));
}

static void test_restart_policy_starts_again(void **state) {
    (void) state;
    Orlop__TaskSpec *t = node_task(&n, "1.6.0", "crash",
                                   "echo x >> /tmp/runs; cat /tmp/runs; [ $(cat /tmp/runs | "
                                   "busybox wc -l) -ge 3 ] && sleep 1000; exit 1");
    node_restart_policy(&n, t, ORLOP__RESTART_POLICY__CONDITION__ALWAYS);
    node_want(&n, t);
    node_wait_attempt(&n, "1.6.0", 3);
    assert_int_equal(node_status_of(&n, "1.6.0")->restarts, 2);
    assert_true(
        node_log_has(&n, "1.6.0", "x\nx\nx\n")); /* the upper layer lives as long as the task */
}

static void test_killed_agent_adopts_and_goes_on(void **state) {
    (void) state;
    want("1.6.0", "web", "sleep 1000");
    want("1.7.0", "job", "while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 5");
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    node_wait_state(&n, "1.7.0", STATE(RUNNING));
    int pid = node_status_of(&n, "1.6.0")->pid, job = node_status_of(&n, "1.7.0")->pid;
    assert_int_equal(node_end_agent(&n, SIGKILL), -SIGKILL);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(kill(job, SIGKILL), 0); /* ends while no agent is there */
    node_start_agent(&n);
    node_wait_state(&n, "1.7.0", STATE(FAILED));
    assert_int_equal(node_status_of(&n, "1.7.0")->signal, SIGKILL);
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    assert_int_equal(node_status_of(&n, "1.6.0")->pid, pid);
    assert_int_equal(node_status_of(&n, "1.6.0")->attempt, 1);
    node_set_want(&n, "1.6.0", ORLOP__WANT__WANT_STOP);
    node_wait_gone(&n, "1.6.0");
}

static void test_sigterm_leaves_everything_running(void **state) {
    (void) state;
    want("1.6.0", "web", "sleep 1000");
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    int pid = node_status_of(&n, "1.6.0")->pid;
    assert_int_equal(node_end_agent(&n, SIGTERM), 0);
    assert_int_equal(kill(pid, 0), 0);
    node_start_agent(&n);
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    assert_int_equal(node_status_of(&n, "1.6.0")->pid, pid);
}

static void test_killed_keeper_changes_nothing_for_tasks(void **state) {
    (void) state;
    want("1.6.0", "web", "sleep 1000");
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    int pid = node_status_of(&n, "1.6.0")->pid;
    node_kill_keeper(&n);
    want("1.7.0", "later", "sleep 1000");
    node_wait_state(&n, "1.7.0", STATE(RUNNING));
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(node_status_of(&n, "1.6.0")->state, STATE(RUNNING));
    node_set_want(&n, "1.6.0", ORLOP__WANT__WANT_STOP);
    node_wait_gone(&n, "1.6.0");
}

/* Kills the keeper in the moment when it has a child more: the sandbox builds itself, no start record
 * is written yet. */
static pid_t kill_at_next_child(pid_t keeper) {
    char path[64], before[1024] = "", now[1024];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int) keeper, (int) keeper);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n_before = fd < 0 ? -1 : pread(fd, before, sizeof before, 0), got = n_before;
    pid_t pid = fork();
    if (pid != 0) {
        close(fd);
        return pid;
    }
    for (int64_t end = clock_mono_ms() + 10000; got == n_before && clock_mono_ms() < end;)
        got = pread(fd, now, sizeof now, 0);
    kill(keeper, SIGKILL);
    _exit(0);
}

/* A START that is repeated needs a root of its own: the first child may have mounted the other. */
static void test_keeper_killed_while_a_sandbox_builds_fails_no_task(void **state) {
    (void) state;
    char id[16], path[PATHS_FULL_MAX];
    for (int i = 0; i < 10; i++) {
        pid_t keeper = 0;
        while ((keeper = fd_lock_holder(paths_run(&n.paths, "keeper.lock", path))) <= 0) continue;
        pid_t killer = kill_at_next_child(keeper);
        snprintf(id, sizeof id, "1.6.%d", i);
        want(id, "web", "sleep 1000");
        node_wait_state(&n, id, STATE(RUNNING));
        waitpid(killer, NULL, 0);
        assert_int_equal(node_status_of(&n, id)->restarts, 0);
    }
}

static void test_halt_and_start_again_without_a_scheduler(void **state) {
    (void) state;
    Orlop__TaskSpec *t =
        node_task(&n, "1.6.0", "web", "echo run >> /tmp/runs; cat /tmp/runs; sleep 1000");
    node_restart_policy(&n, t, ORLOP__RESTART_POLICY__CONDITION__UNLESS_STOPPED);
    node_want(&n, t);
    want("1.7.0", "once", "echo once; sleep 1000");
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    node_wait_state(&n, "1.7.0", STATE(RUNNING));
    int pid = node_status_of(&n, "1.6.0")->pid;
    assert_int_equal(node_end_agent(&n, SIGUSR1), 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_false(node_path_exists(&n, "/sys/fs/cgroup/unified/%s", n.paths.cgroup));
    assert_false(node_path_exists(&n, "/proc/sys/net/ipv4/conf/olg1"));
    n.deaf = true;
    node_start_agent(&n);
    assert_true(node_log_has(&n, "1.6.0", "run\nrun\n"));
    n.deaf = false;
    node_wait_attempt(&n, "1.6.0", 2);
    node_wait_state(&n, "1.7.0", STATE(FAILED)); /* restart: no */
}

static void test_reboot_starts_what_should_run(void **state) {
    (void) state;
    Orlop__TaskSpec *t =
        node_task(&n, "1.6.0", "web", "echo run >> /tmp/runs; cat /tmp/runs; sleep 1000");
    node_restart_policy(&n, t, ORLOP__RESTART_POLICY__CONDITION__ALWAYS);
    node_want(&n, t);
    want("1.7.0", "once", "echo once; sleep 1000");
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    node_wait_state(&n, "1.7.0", STATE(RUNNING));
    assert_int_equal(node_end_agent(&n, SIGUSR1),
                     0); /* what a reboot does to sandboxes, RUN and kernel */
    node_end_anchor(&n, SIGUSR1);
    n.boot_id = "boot-2";
    n.deaf = true;
    node_start_anchor(&n);
    node_start_agent(&n);
    assert_true(node_log_has(&n, "1.6.0", "run\nrun\n"));
    n.deaf = false;
    node_wait_state(&n, "1.7.0", STATE(FAILED));
    assert_int_equal(node_status_of(&n, "1.6.0")->boot, 2);
    assert_int_equal(node_status_of(&n, "1.6.0")->attempt, 1);
}

static bool is_healthy(struct node *node, const void *arg) {
    (void) arg;
    const Orlop__TaskStatus *s = node_status_of(node, "1.6.0");
    return s && s->health == ORLOP__HEALTH__HEALTH_HEALTHY;
}

static bool is_unhealthy(struct node *node, const void *arg) {
    (void) arg;
    const Orlop__TaskStatus *s = node_status_of(node, "1.6.0");
    return s && s->health == ORLOP__HEALTH__HEALTH_UNHEALTHY;
}

static void test_health_is_probed_and_told(void **state) {
    (void) state;
    Orlop__TaskSpec *t = node_task(
        &n, "1.6.0", "web", "sleep 1; echo > /tmp/ok; sleep 1; busybox rm /tmp/ok; sleep 1000");
    Orlop__Healthcheck h = ORLOP__HEALTHCHECK__INIT;
    char *test[] = {(char *) (uintptr_t) "CMD-SHELL",
                    (char *) (uintptr_t) "[ -e /tmp/ok ] || { echo it is broken; exit 1; }"};
    h.test = test;
    h.n_test = 2;
    h.interval_ms = 100;
    h.retries = 2;
    h.start_period_ms = 60000;
    h.start_interval_ms = 100;
    t->spec->healthcheck = &h;
    node_want(&n, t);
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    assert_int_equal(node_status_of(&n, "1.6.0")->health, ORLOP__HEALTH__HEALTH_STARTING);
    assert_true(node_until(&n, is_healthy, NULL));
    assert_true(node_until(&n, is_unhealthy, NULL));
    assert_string_equal(node_status_of(&n, "1.6.0")->health_output, "it is broken");
}

static void test_volumes_are_filled_kept_and_removed(void **state) {
    (void) state;
    Orlop__TaskSpec *t = node_task(&n, "1.6.0", "db",
                                   "cat /data/sub/from-image; stat -c %a /data/sub/from-image; "
                                   "ls -l /data/link; echo new > /data/new; sleep 1000");
    node_mount(&n, t, ORLOP__MOUNT__KIND__VOLUME, "app_data", "/data");
    node_want(&n, t);
    assert_true(node_log_has(&n, "1.6.0", "content of the image\n640\n"));
    assert_true(node_log_has(&n, "1.6.0", "link -> /etc/passwd"));
    node_set_want(&n, "1.6.0", ORLOP__WANT__WANT_STOP);
    node_wait_gone(&n, "1.6.0");
    t = node_task(&n, "1.7.0", "db", "cat /data/new; sleep 1000");
    node_mount(&n, t, ORLOP__MOUNT__KIND__VOLUME, "app_data", "/data");
    node_want(&n, t);
    assert_true(node_log_has(&n, "1.7.0", "new\n"));
    node_volume_gone(&n, "app_data");
    assert_true(node_path_exists(&n, "%s/volumes/app_data/_data/new", n.paths.state)); /* in use */
    node_set_want(&n, "1.7.0", ORLOP__WANT__WANT_STOP);
    node_wait_gone(&n, "1.7.0");
    char path[256];
    snprintf(path, sizeof path, "%s/volumes/app_data", n.paths.state);
    while (access(path, F_OK) == 0) uv_run(&n.loop, UV_RUN_ONCE);
}

static void test_files_of_ours_are_there(void **state) {
    (void) state;
    Orlop__TaskSpec *t =
        node_task(&n, "1.6.0", "web",
                  "cat /etc/hostname /etc/resolv.conf /etc/hosts /run/secrets/key; "
                  "stat -c %a.%u /run/secrets/key; touch /x 2>&1; sleep 1000");
    Orlop__Content c = ORLOP__CONTENT__INIT, *cs[] = {&c};
    Orlop__ContentUse u = ORLOP__CONTENT_USE__INIT, *us[] = {&u};
    c.name = u.source = (char *) (uintptr_t) "key";
    u.target = (char *) (uintptr_t) "/run/secrets/key";
    u.uid = 7;
    u.mode = 0400;
    c.data.data = (uint8_t *) (uintptr_t) "s3cret\n";
    c.data.len = 7;
    t->contents = cs;
    t->n_contents = 1;
    t->spec->secrets = us;
    t->spec->n_secrets = 1;
    node_want(&n, t);
    assert_true(node_log_has(&n, "1.6.0", "400.7\n"));
    auto_free char *log = node_log(&n, "1.6.0");
    assert_non_null(
        strstr(log, "app-web-1\nnameserver 10.80.0.1\noptions ndots:0\n127.0.0.1\tlocalhost"));
    assert_non_null(strstr(log, "10.80.0.10\tapp-web-1\n"));
    assert_non_null(strstr(log, "s3cret\n"));
    node_set_want(&n, "1.6.0", ORLOP__WANT__WANT_STOP);
    node_wait_gone(&n, "1.6.0");
    assert_false(node_path_exists(&n, "%s/private/1.6.0-1.1", n.paths.run));
}

static void test_a_new_store_ends_what_it_does_not_know(void **state) {
    (void) state;
    want("1.6.0", "web", "sleep 1000");
    node_wait_state(&n, "1.6.0", STATE(RUNNING));
    int pid = node_status_of(&n, "1.6.0")->pid;
    assert_int_equal(node_end_agent(&n, SIGKILL), -SIGKILL);
    char path[256];
    snprintf(path, sizeof path, "%s/agent/log", n.paths.state);
    assert_int_equal(unlink(path), 0);
    map_del(&n.wanted, "1.6.0");
    unsigned hellos = n.hellos;
    node_start_agent(&n);
    while (n.hellos == hellos) uv_run(&n.loop, UV_RUN_ONCE);
    assert_int_equal(kill(pid, 0), -1); /* before Hello */
    assert_false(node_path_exists(&n, "%s/tasks/1.6.0", n.paths.state));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_task_runs_logs_stops_and_leaves_nothing),
        T(test_ends_are_told_with_code_and_cause),
        T(test_restart_policy_starts_again),
        T(test_killed_agent_adopts_and_goes_on),
        T(test_sigterm_leaves_everything_running),
        T(test_killed_keeper_changes_nothing_for_tasks),
        T(test_keeper_killed_while_a_sandbox_builds_fails_no_task),
        T(test_halt_and_start_again_without_a_scheduler),
        T(test_reboot_starts_what_should_run),
        T(test_health_is_probed_and_told),
        T(test_volumes_are_filled_kept_and_removed),
        T(test_files_of_ours_are_there),
        T(test_a_new_store_ends_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
