// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/keeper/reap.h"

#define T1 "1.1.1"

enum { LOOKS = 15000 }; /* of 2 ms */

static void need_node(void) {
    if (!node_possible()) skip();
}

static int what(Orlop__KeeperMessage *m) {
    assert_non_null(m);
    int w = (int) m->what_case;
    keeper_message_free(m);
    return w;
}

static void failed_with(Orlop__KeeperMessage *m, int error) {
    assert_non_null(m);
    assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_FAILED);
    assert_int_equal(m->failed->error, error);
    keeper_message_free(m);
}

static char *log_of(const struct node *n, const char *task, unsigned number) {
    char path[PATHS_FULL_MAX * 2];
    snprintf(path, sizeof path, "%s/tasks/%s/log/%u.log", n->paths.state, task, number);
    char *data = NULL;
    assert_int_equal(fd_read_file(AT_FDCWD, path, 64 << 20, &data, NULL), 0);
    return data;
}

/* Something that runs in T1 beside its own; the ends of its pipes. */
static void start_exec(struct node *n, const char *script, int *ret_in, int *ret_out) {
    char sh[] = "/bin/sh", c[] = "-c", task[] = T1;
    auto_free char *copy = strdup(script);
    char *argv[] = {sh, c, copy};
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) + pipe2(out, O_CLOEXEC), 0);
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperExec x = ORLOP__KEEPER_EXEC__INIT;
    x.task = task;
    x.argv = argv;
    x.n_argv = 3;
    x.fd_seccomp = -1;
    x.fd_stdout = x.fd_stderr = 1;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_EXEC;
    r.exec = &x;
    assert_int_equal(what(node_call(n, &r, (int[]){in[0], out[1]}, 2)),
                     ORLOP__KEEPER_MESSAGE__WHAT_EXEC_STARTED);
    close(in[0]);
    close(out[1]);
    *ret_in = in[1];
    *ret_out = out[0];
}

/* Until the log of a role says it. */
static bool comes_to_say(const char *path, const char *want) {
    for (int i = 0; i < LOOKS; i++, (void) poll(NULL, 0, 2)) {
        auto_free char *said = NULL;
        assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &said, NULL), 0);
        if (strstr(said, want)) return true;
    }
    return false;
}

static int count_files(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_start_of_a_command_gives_its_output_and_exit_code(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    assert_int_equal(what(node_sh(&n, T1, 1, "echo hello; echo oops >&2; exit 7")),
                     ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    size_t e = node_exit(&n, T1, 1);
    assert_true(n.exits[e].known);
    assert_int_equal(WEXITSTATUS(n.exits[e].wait_status), 7);
    auto_free char *log = log_of(&n, T1, 1);
    assert_non_null(strstr(log, "hello\n"));
    assert_non_null(strstr(log, "oops\n"));
    node_stop(&n);
}

static void test_start_repeated_answers_the_same_attempt(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    Orlop__KeeperMessage *a = node_sh(&n, T1, 1, "exec sleep 1000");
    assert_int_equal(a->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    Orlop__KeeperMessage *b = node_sh(&n, T1, 1, "exec sleep 1000");
    assert_int_equal(b->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    assert_int_equal(a->started->pid, b->started->pid);
    keeper_message_free(a);
    keeper_message_free(b);
    failed_with(node_sh(&n, T1, 2, "true"), EBUSY);
    node_stop(&n);
}

static void test_start_after_close_is_refused(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    assert_int_equal(what(node_sh(&n, T1, 1, "exec sleep 1000")),
                     ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    assert_int_equal(what(node_task(&n, ORLOP__KEEPER_REQUEST__WHAT_CLOSE, T1)),
                     ORLOP__KEEPER_MESSAGE__WHAT_CLOSED);
    size_t e = node_exit(&n, T1, 1);
    assert_int_equal(WTERMSIG(n.exits[e].wait_status), SIGKILL);
    failed_with(node_sh(&n, T1, 2, "true"), ESHUTDOWN);
    /* Closed before it ever started; also in the memory of the next keeper */
    assert_int_equal(what(node_task(&n, ORLOP__KEEPER_REQUEST__WHAT_CLOSE, "1.1.2")),
                     ORLOP__KEEPER_MESSAGE__WHAT_CLOSED);
    node_kill_keeper(&n);
    failed_with(node_sh(&n, "1.1.2", 1, "true"), ESHUTDOWN);
    failed_with(node_sh(&n, T1, 2, "true"), ESHUTDOWN);
    node_stop(&n);
}

/* The next agent's list would be older than what the keeper does after it. */
static void test_what_a_dead_agent_left_unread_is_void(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    pid_t keeper = node_keeper(&n);
    char id[] = T1;
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperTask t = ORLOP__KEEPER_TASK__INIT;
    t.task = id;
    r.id = 1;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_CLOSE;
    r.close = &t;
    assert_int_equal(kill(keeper, SIGSTOP), 0);
    for (int i = 0; i < 8; i++)
        assert_int_equal(keeper_client_send(n.client, &r, NULL, 0, NULL), 0);
    node_connect(&n);
    assert_int_equal(kill(keeper, SIGCONT), 0);
    assert_int_equal(what(node_sh(&n, T1, 1, "exec sleep 1000")),
                     ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    node_stop(&n);
}

static void test_start_of_a_missing_command_fails_with_its_phase(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    char command[] = "/no/such/command", task[] = T1, cgroup[] = "none";
    char *argv[] = {command};
    Orlop__SandboxSpec s = ORLOP__SANDBOX_SPEC__INIT;
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    s.task = task;
    s.boot = s.attempt = 1;
    s.argv = argv;
    s.n_argv = 1;
    s.fd_seccomp = -1;
    s.cgroup = cgroup;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_START;
    r.start = &s;
    int root = open("/", O_PATH | O_CLOEXEC);
    Orlop__KeeperMessage *m = node_call(&n, &r, &root, 1);
    assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_FAILED);
    assert_int_equal(m->failed->error, ENOENT);
    assert_string_equal(m->failed->phase, "exec");
    keeper_message_free(m);
    failed_with(node_call(&n, &r, &root, 1), ENOENT); /* repeated: the same answer */
    close(root);
    /* the id is used: the next attempt starts */
    assert_int_equal(what(node_sh(&n, T1, 2, "exit 0")), ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    node_exit(&n, T1, 2);
    for (size_t i = 0; i < n.n_exits; i++) assert_int_not_equal(n.exits[i].attempt, 1);
    node_stop(&n);
}

/* The log is opened while the child already works: it must not live on, nor leave anything. */
static void test_start_without_a_log_fails_and_leaves_nothing(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    char dir[PATHS_FULL_MAX], path[PATHS_FULL_MAX + 8];
    paths_state(&n.paths, "tasks/" T1, dir);
    snprintf(path, sizeof path, "%s/log", dir);
    assert_int_equal(fd_mkdirs(AT_FDCWD, dir, 0700), 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* no folder */
    assert_true(fd >= 0 && close(fd) == 0);
    Orlop__KeeperMessage *m = node_sh(&n, T1, 1, "exec sleep 1000");
    assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_FAILED);
    assert_string_equal(m->failed->phase, "log");
    keeper_message_free(m);
    assert_int_equal(count_files(paths_run(&n.paths, "fifo", dir)), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(what(node_sh(&n, T1, 2, "exit 0")), ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    node_exit(&n, T1, 2);
    node_stop(&n);
}

static void test_keeper_death_while_running_is_adopted_with_exit_code(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    Orlop__KeeperMessage *a = node_sh(&n, T1, 1, "exec sleep 1000");
    assert_int_equal(a->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    pid_t pid = a->started->pid;
    keeper_message_free(a);
    node_kill_keeper(&n);
    Orlop__KeeperMessage *b = node_sh(&n, T1, 1, "never"); /* the id is known to the new one */
    assert_int_equal(b->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    assert_int_equal(b->started->pid, pid);
    keeper_message_free(b);
    kill(pid, SIGTERM);
    size_t e = node_exit(&n, T1, 1);
    assert_true(n.exits[e].known);
    assert_int_equal(WTERMSIG(n.exits[e].wait_status), SIGTERM);
    node_stop(&n);
}

static void test_forget_needs_a_closed_task(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    assert_int_equal(what(node_sh(&n, T1, 1, "exit 0")), ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    node_exit(&n, T1, 1);
    failed_with(node_task(&n, ORLOP__KEEPER_REQUEST__WHAT_FORGET, T1), EBUSY);
    assert_int_equal(what(node_task(&n, ORLOP__KEEPER_REQUEST__WHAT_CLOSE, T1)),
                     ORLOP__KEEPER_MESSAGE__WHAT_CLOSED);
    assert_int_equal(what(node_task(&n, ORLOP__KEEPER_REQUEST__WHAT_FORGET, T1)),
                     ORLOP__KEEPER_MESSAGE__WHAT_DONE);
    node_kill_keeper(&n);
    failed_with(node_sh(&n, "x", 1, "true"), EINVAL);
    node_stop(&n);
}

/* Another holder of the lock than OLD. */
static pid_t other_anchor(const struct node *n, pid_t old) {
    char path[PATHS_FULL_MAX];
    paths_run(&n->paths, "anchor.lock", path);
    for (int i = 0; i < 15000; i++, (void) poll(NULL, 0, 2)) {
        pid_t pid = fd_lock_holder(path);
        if (pid > 0 && pid != old) return pid;
    }
    return 0;
}

static void test_anchor_killed_is_replaced_and_keeps_the_keeper(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    assert_int_equal(what(node_sh(&n, T1, 1, "while :; do echo tick; sleep 0.01; done")),
                     ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    pid_t keeper = node_keeper(&n), old = n.anchor;
    kill(old, SIGKILL);
    waitpid(old, NULL, 0);
    n.anchor = other_anchor(&n, old);
    assert_true(n.anchor > 0);
    assert_int_equal(node_keeper(&n), keeper);
    assert_true(node_pump(&n, 0)); /* our connection was not touched */
    node_kill_keeper(&n);          /* the new anchor looks after it */
    Orlop__KeeperMessage *m = node_sh(&n, T1, 1, "never");
    assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    assert_false(m->started->ended);
    keeper_message_free(m);
    node_stop(&n);
}

/* An anchor that is killed between the fork of a role and the role's lock leaves one that the next
 * anchor does not see when it comes. */
static void test_anchor_adopts_a_keeper_that_came_beside_its_own(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    node_settle(&n);
    kill(n.anchor, SIGSTOP);
    assert_int_equal(waitpid(n.anchor, NULL, WUNTRACED), n.anchor);
    kill(node_keeper(&n), SIGKILL);
    pid_t other = node_other_keeper(&n);
    kill(n.anchor, SIGCONT);
    char path[PATHS_FULL_MAX], want[64];
    snprintf(path, sizeof path, "%s/anchor.log", n.dir);
    snprintf(want, sizeof want, "ev=role.adopt role=keeper pid=%d\n", (int) other);
    assert_true(comes_to_say(path, want));
    assert_int_equal(node_keeper(&n), other);
    node_connect(&n);
    node_stop(&n); /* ends it as well */
}

static void wait_state(pid_t pid, char state) {
    char path[64], want[] = ") ? ";
    want[2] = state;
    snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
    for (bool found = false; !found; (void) poll(NULL, 0, 1)) {
        auto_free char *stat = NULL;
        assert_int_equal(fd_read_file(AT_FDCWD, path, 4096, &stat, NULL), 0);
        found = strstr(stat, want) != NULL;
    }
}

/* What has been started and ends while keeper and anchor are both away is lost to no one, as long as
 * the keeper has named it: the anchor finds the words of a dead keeper in its socket. */
static void test_anchor_takes_the_last_words_of_a_dead_keeper(void **state) {
    (void) state;
    need_node();
    enum { TASKS = 8 };
    struct node n;
    pid_t pids[TASKS];
    char script[256], task[32];
    node_start(&n);
    pid_t keeper = node_keeper(&n);
    node_settle(&n);
    kill(n.anchor, SIGSTOP);
    assert_int_equal(waitpid(n.anchor, NULL, WUNTRACED), n.anchor);
    snprintf(script, sizeof script,
             "while [ ! -e %s/go ]; do sleep 0.01; done; echo out; echo err >&2; exit 3", n.dir);
    for (int i = 0; i < TASKS; i++) {
        snprintf(task, sizeof task, "1.1.%d", i);
        Orlop__KeeperMessage *m = node_sh(&n, task, 1, script);
        assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
        pids[i] = m->started->pid;
        keeper_message_free(m);
    }
    kill(keeper, SIGKILL);
    wait_state(keeper, 'Z');
    snprintf(script, sizeof script, "%s/go", n.dir);
    int go = open(script, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(go);
    for (int i = 0; i < TASKS; i++) wait_state(pids[i], 'Z');
    kill(n.anchor, SIGCONT);
    node_connect(&n);
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty e = ORLOP__KEEPER_EMPTY__INIT;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_LIST;
    r.list = &e;
    Orlop__KeeperMessage *m = node_call(&n, &r, NULL, 0);
    assert_int_equal(m->listed->n_entries, TASKS);
    for (int i = 0; i < TASKS; i++) {
        const Orlop__SandboxEntry *x = m->listed->entries[i];
        assert_true(x->ended && x->exit_known);
        assert_int_equal(x->wait_status, 3 << 8);
        auto_free char *log = log_of(&n, x->task, 1);
        assert_non_null(strstr(log, "out\n"));
        assert_non_null(strstr(log, "err\n"));
    }
    keeper_message_free(m);
    node_stop(&n);
}

/* Who is slow is waited for: what an anchor knows is not said to be unknown. */
static void test_exit_code_that_only_a_slow_anchor_knows(void **state) {
    (void) state;
    need_node();
    struct node n;
    char script[256], go[sizeof n.dir + 4];
    node_start(&n);
    snprintf(go, sizeof go, "%s/go", n.dir);
    snprintf(script, sizeof script, "while [ ! -e %s ]; do sleep 0.01; done; exit 3", go);
    Orlop__KeeperMessage *m = node_sh(&n, T1, 1, script);
    pid_t pid = m->started->pid, keeper = node_keeper(&n);
    int pidfd = sys_pidfd_open(pid, 0), status;
    keeper_message_free(m);
    node_settle(&n);
    kill(n.anchor, SIGKILL); /* the next one is not the task's ancestor: pid 1 reaps it */
    waitpid(n.anchor, NULL, 0);
    node_settle(&n);
    kill(n.anchor, SIGSTOP);
    wait_state(n.anchor, 'T');
    kill(keeper, SIGKILL);
    while (kill(keeper, 0) == 0) (void) poll(NULL, 0, 1);
    close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    while (kill(pid, 0) == 0) (void) poll(NULL, 0, 1);
    if (!reap_ask(pidfd, &status)) status = -1; /* before Linux 6.15 nobody knows it */
    close(pidfd);
    (void) node_other_keeper(&n);
    node_connect(&n);
    for (int i = 0; i < 10; i++) assert_true(node_pump(&n, 100));
    assert_int_equal(n.n_exits, 0);
    kill(n.anchor, SIGCONT);
    size_t i = node_exit(&n, T1, 1);
    assert_int_equal(n.exits[i].known, status >= 0);
    if (status >= 0) assert_int_equal(n.exits[i].wait_status, 3 << 8);
    node_stop(&n);
}

static void test_anchor_terminated_leaves_keeper_and_sandboxes(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    Orlop__KeeperMessage *m = node_sh(&n, T1, 1, "exec sleep 1000");
    pid_t pid = m->started->pid, keeper = node_keeper(&n);
    keeper_message_free(m);
    node_settle(&n);
    kill(n.anchor, SIGSTOP); /* so that it ends with records of the keeper unread */
    assert_int_equal(waitpid(n.anchor, NULL, WUNTRACED), n.anchor);
    assert_int_equal(what(node_sh(&n, "1.1.2", 1, "true")), ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    kill(keeper, SIGSTOP); /* and has ended before the keeper hears of it */
    kill(n.anchor, SIGTERM);
    kill(n.anchor, SIGCONT);
    int status = -1;
    waitpid(n.anchor, &status, 0);
    kill(keeper, SIGCONT);
    assert_int_equal(status, 0);
    assert_int_equal(node_keeper(&n), keeper);
    assert_int_equal(kill(pid, 0), 0);
    kill(keeper, SIGTERM);        /* something lives: it stays */
    for (int i = 0; i < 2; i++) { /* the second answer comes after it has looked for an anchor */
        Orlop__KeeperMessage *again = node_sh(&n, T1, 1, "never");
        assert_int_equal(again->started->pid, pid);
        keeper_message_free(again);
    }
    char path[PATHS_FULL_MAX];
    auto_free char *said = NULL;
    paths_run(&n.paths, "logs/keeper.log", path);
    assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &said, NULL), 0);
    assert_null(strstr(said, "ev=anchor.start ")); /* it has heard the goodbye: none is wanted */
    node_anchor(&n);                               /* adopts the keeper */
    node_stop(&n);
}

static bool runs_from(pid_t pid, const char *file) {
    char path[64];
    struct stat is, wanted;
    snprintf(path, sizeof path, "/proc/%d/exe", (int) pid);
    return stat(path, &is) == 0 && stat(file, &wanted) == 0 && is.st_ino == wanted.st_ino;
}

static void end_anchor(struct node *n) {
    node_settle(n);
    kill(n->anchor, SIGTERM);
    waitpid(n->anchor, NULL, 0);
}

static void check_counted(const char *log) {
    long line = 0;
    char *at;
    for (; *log; log = at + 1, line++) {
        assert_int_equal(strtol(log, &at, 10), line);
        assert_int_equal(*at, '\n');
    }
    assert_true(line > 10);
}

/* The keeper goes on as the new executable and is what it was: the same process, never without its
 * lock, parent of its sandboxes. An exec that runs is waited for. */
static void test_anchor_of_another_version_takes_the_keeper_along(void **state) {
    (void) state;
    need_node();
    struct node n;
    char script[256], path[PATHS_FULL_MAX];
    int in, out;
    node_start(&n);
    snprintf(script, sizeof script,
             "i=0; while [ ! -e %s/go ]; do echo $i; i=$((i + 1)); done; exit 3", n.dir);
    Orlop__KeeperMessage *m = node_sh(&n, T1, 1, script);
    assert_int_equal(m->what_case, ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    pid_t pid = m->started->pid, keeper = node_keeper(&n);
    keeper_message_free(m);
    start_exec(&n, "exec sleep 1000", &in, &out);
    end_anchor(&n);
    node_new_anchor(&n);
    snprintf(path, sizeof path, "%s/anchor.log", n.dir);
    assert_true(comes_to_say(path, "ev=keeper.upgrade "));
    assert_int_equal(what(node_sh(&n, T1, 1, "never")), ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    assert_false(runs_from(keeper, n.program)); /* our connection lives, and with it the exec */
    keeper_client_free(n.client);
    n.client = NULL;
    for (int i = 0; !runs_from(keeper, n.program) && i < LOOKS; i++, (void) poll(NULL, 0, 2))
        assert_int_equal(fd_lock_holder(paths_run(&n.paths, "keeper.lock", path)), keeper);
    assert_true(runs_from(keeper, n.program));
    paths_run(&n.paths, "logs/keeper.log", path); /* until then the old socket may answer */
    assert_true(comes_to_say(path, "ev=keeper.recovered tasks=1 living=1"));
    node_connect(&n);
    close(in);
    close(out);
    snprintf(script, sizeof script, "%s/go", n.dir);
    close(open(script, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    size_t e = node_exit(&n, T1, 1);
    assert_true(n.exits[e].known);
    assert_int_equal(n.exits[e].wait_status, 3 << 8);
    assert_true(kill(pid, 0) < 0 && errno == ESRCH); /* reaped: nobody but its parent could */
    auto_free char *log = log_of(&n, T1, 1);
    check_counted(log);
    assert_true(node_pump(&n, 0));
    assert_int_equal(node_keeper(&n), keeper);
    node_stop(&n);
}

static void test_attempts_of_a_crash_loop_are_not_kept_for_ever(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    for (uint32_t i = 1; i <= 100; i++) {
        assert_int_equal(what(node_sh(&n, T1, i, "exit 1")), ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
        n.n_exits = 0;
        node_exit(&n, T1, i);
    }
    failed_with(node_sh(&n, T1, 50, "true"), ESTALE); /* an id is never used again */
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty e = ORLOP__KEEPER_EMPTY__INIT;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_LIST;
    r.list = &e;
    Orlop__KeeperMessage *m = node_call(&n, &r, NULL, 0);
    assert_int_equal(m->listed->n_entries, 3);
    assert_int_equal(m->listed->entries[2]->attempt, 100);
    keeper_message_free(m);
    node_kill_keeper(&n);
    m = node_call(&n, &r, NULL, 0);
    assert_int_equal(m->listed->entries[m->listed->n_entries - 1]->attempt, 100);
    keeper_message_free(m);
    node_stop(&n);
}

static void test_exec_runs_with_pipes_and_ends_with_its_peer(void **state) {
    (void) state;
    need_node();
    struct node n;
    node_start(&n);
    assert_int_equal(what(node_sh(&n, T1, 1, "exec sleep 1000")),
                     ORLOP__KEEPER_MESSAGE__WHAT_STARTED);
    int in, out;
    start_exec(&n, "cat; echo done; exec sleep 1000", &in, &out);
    assert_int_equal(fd_write_all(in, "hello ", 6), 0);
    close(in);
    char got[16] = "";
    assert_int_equal(fd_read_full(out, got, 11), 11);
    assert_string_equal(got, "hello done\n");
    node_connect(&n); /* the old connection is closed: the process is killed */
    assert_int_equal(fd_read_full(out, got, 1), 0);
    close(out);
    node_stop(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_of_a_command_gives_its_output_and_exit_code),
        cmocka_unit_test(test_start_repeated_answers_the_same_attempt),
        cmocka_unit_test(test_start_after_close_is_refused),
        cmocka_unit_test(test_what_a_dead_agent_left_unread_is_void),
        cmocka_unit_test(test_start_of_a_missing_command_fails_with_its_phase),
        cmocka_unit_test(test_start_without_a_log_fails_and_leaves_nothing),
        cmocka_unit_test(test_keeper_death_while_running_is_adopted_with_exit_code),
        cmocka_unit_test(test_forget_needs_a_closed_task),
        cmocka_unit_test(test_anchor_killed_is_replaced_and_keeps_the_keeper),
        cmocka_unit_test(test_anchor_adopts_a_keeper_that_came_beside_its_own),
        cmocka_unit_test(test_anchor_takes_the_last_words_of_a_dead_keeper),
        cmocka_unit_test(test_exit_code_that_only_a_slow_anchor_knows),
        cmocka_unit_test(test_anchor_terminated_leaves_keeper_and_sandboxes),
        cmocka_unit_test(test_anchor_of_another_version_takes_the_keeper_along),
        cmocka_unit_test(test_attempts_of_a_crash_loop_are_not_kept_for_ever),
        cmocka_unit_test(test_exec_runs_with_pipes_and_ends_with_its_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
