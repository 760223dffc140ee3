// SPDX-License-Identifier: Apache-2.0
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { DEADLINE_MS = 30000 };

_Noreturn static void die(const char *what) {
    fprintf(stderr, "node: %s: %s\n", what, strerror(errno));
    abort();
}

static void wait_a_moment(void) {
    (void) poll(NULL, 0, 2);
}

bool node_possible(void) {
    static int known = -1;
    if (known >= 0) return known;
    known = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    if (!known) fprintf(stderr, "skipped: needs root and a mount namespace of its own\n");
    return known;
}

/* Child of ours; waited for until it holds its lock. */
static pid_t spawn_role(const struct node *n, const char *role) {
    pid_t pid = fork();
    if (pid < 0) die("fork");
    char name[32], log[PATHS_FULL_MAX];
    if (pid) {
        snprintf(name, sizeof name, "%s.lock", role);
        paths_run(&n->paths, name, log);
        for (int64_t end = clock_mono_ms() + DEADLINE_MS; clock_mono_ms() < end; wait_a_moment())
            if (fd_lock_holder(log) == pid) return pid;
        die("a role does not get its lock");
    }
    if (str_eq(role, "anchor"))
        snprintf(log, sizeof log, "%s/anchor.log", n->dir);
    else
        snprintf(log, sizeof log, "%s/logs/%s.log", n->paths.run, role); /* the anchor's place */
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0); /* none of the test's own: who reads its output must see the end */
    dup2(fd, 1);
    dup2(fd, 2);
    prctl(PR_SET_PDEATHSIG, SIGUSR1); /* a test that fails leaves no anchor behind */
    unsetenv("NOTIFY_SOCKET");
    unsetenv("INVOCATION_ID");
    execl(n->program, "orlop-keeper", role, "--no-proxy", "--run-dir", n->paths.run, "--state-dir",
          n->paths.state, (char *) NULL);
    _exit(127);
}

void node_anchor(struct node *n) {
    n->anchor = spawn_role(n, "anchor");
}

void node_new_anchor(struct node *n) {
    auto_free char *bytes = NULL;
    size_t len;
    if (fd_read_file(AT_FDCWD, n->program, 64 << 20, &bytes, &len) < 0) die("read the program");
    snprintf(n->program, sizeof n->program, "%s/orlop-keeper", n->dir);
    auto_fd int fd = open(n->program, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (fd < 0 || fd_write_all(fd, bytes, len) < 0 || fd_write_all(fd, "new", 3) < 0)
        die("write the program");
    fd_close(&fd);
    node_anchor(n);
}

pid_t node_other_keeper(const struct node *n) {
    return spawn_role(n, "keeper");
}

/* A test that fails leaves nothing behind: an anchor that a keeper has started knows nothing of the
 * test. The pipe ends with the test, however it ends. */
static void guard(const struct node *n) {
    int alive[2];
    char lock[PATHS_FULL_MAX];
    if (pipe2(alive, O_CLOEXEC) < 0) die("pipe");
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid > 0) {
        close(alive[0]); /* alive[1] is left open on purpose */
        return;
    }
    (void) setsid();
    for (int fd = 0; fd < 3; fd++) close(fd);
    close(alive[1]);
    char byte;
    while (read(alive[0], &byte, 1) < 0) continue;
    pid_t anchor = fd_lock_holder(paths_run(&n->paths, "anchor.lock", lock));
    pid_t keeper = fd_lock_holder(paths_run(&n->paths, "keeper.lock", lock));
    if (anchor > 0) kill(anchor, SIGKILL);
    if (keeper > 0) kill(keeper, SIGKILL);
    _exit(0);
}

void node_start(struct node *n) {
    memset(n, 0, sizeof *n);
    snprintf(n->program, sizeof n->program, "%s", KEEPER_UNDER_TEST);
    snprintf(n->dir, sizeof n->dir, "/tmp/orlop-keeper-test-XXXXXX");
    if (!mkdtemp(n->dir)) die("mkdtemp");
    char run[PATHS_MAX], state[PATHS_MAX];
    snprintf(run, sizeof run, "%s/run", n->dir);
    snprintf(state, sizeof state, "%s/state", n->dir);
    if (paths_init(&n->paths, state, run, NULL) < 0) die("paths");
    if (fd_mkdirs(AT_FDCWD, run, 0755) < 0 || fd_mkdirs(AT_FDCWD, state, 0700) < 0) die("mkdir");
    guard(n);
    node_anchor(n);
    node_connect(n);
}

void node_connect(struct node *n) {
    keeper_client_free(n->client);
    n->client = NULL;
    char path[PATHS_FULL_MAX];
    paths_run(&n->paths, "keeper.sock", path);
    for (int64_t end = clock_mono_ms() + DEADLINE_MS; clock_mono_ms() < end; wait_a_moment())
        if (keeper_client_open(path, &n->client, NULL) == 0) return;
    die("connect to the keeper");
}

pid_t node_keeper(const struct node *n) {
    char path[PATHS_FULL_MAX];
    paths_run(&n->paths, "keeper.lock", path);
    for (int64_t end = clock_mono_ms() + DEADLINE_MS; clock_mono_ms() < end; wait_a_moment()) {
        pid_t pid = fd_lock_holder(path);
        if (pid > 0) return pid;
    }
    die("no keeper came");
}

void node_kill_keeper(struct node *n) {
    pid_t old = node_keeper(n);
    if (kill(old, SIGKILL) < 0) die("kill the keeper");
    while (node_keeper(n) == old) wait_a_moment();
    node_connect(n);
}

static bool settled(struct node *n) {
    char path[PATHS_FULL_MAX], want[96];
    auto_free char *text = NULL;
    pid_t anchor = fd_lock_holder(paths_run(&n->paths, "anchor.lock", path));
    pid_t keeper = fd_lock_holder(paths_run(&n->paths, "keeper.lock", path));
    paths_run(&n->paths, "logs/keeper.log", path);
    if (!anchor || !keeper || fd_read_file(AT_FDCWD, path, 64 << 20, &text, NULL) < 0) return false;
    n->anchor = anchor;
    snprintf(want, sizeof want, "anchor=%d keeper=%d ", (int) anchor, (int) keeper);
    return strstr(text, want) != NULL;
}

void node_settle(struct node *n) {
    for (int64_t end = clock_mono_ms() + DEADLINE_MS; clock_mono_ms() < end; wait_a_moment())
        if (settled(n)) return;
    die("anchor and keeper do not come together");
}

static void collect(struct node *n, const Orlop__KeeperMessage *m) {
    if (m->what_case != ORLOP__KEEPER_MESSAGE__WHAT_EXITED || n->n_exits >= array_len(n->exits))
        return;
    snprintf(n->exits[n->n_exits].task, sizeof n->exits[0].task, "%s", m->exited->task);
    n->exits[n->n_exits].attempt = m->exited->attempt;
    n->exits[n->n_exits].wait_status = m->exited->wait_status;
    n->exits[n->n_exits].known = m->exited->exit_known;
    n->n_exits++;
}

/* The message with ID, or NULL when the connection broke or time is up (*ret_up tells). */
static Orlop__KeeperMessage *next(struct node *n, uint64_t id, int timeout_ms, bool *ret_up) {
    int64_t end = clock_mono_ms() + timeout_ms;
    *ret_up = true;
    do {
        Orlop__KeeperMessage *m = NULL;
        int fd = -1;
        int r = keeper_client_read(n->client, &m, &fd, NULL);
        if (r == 0) {
            fd_close(&fd);
            if (id && m->id == id) return m;
            collect(n, m);
            keeper_message_free(m);
            continue;
        }
        if (r != -EAGAIN) {
            *ret_up = false;
            return NULL;
        }
        struct pollfd p = {.fd = keeper_client_fd(n->client), .events = POLLIN};
        (void) poll(&p, 1, timeout_ms < 20 ? timeout_ms : 20);
    } while (clock_mono_ms() <= end);
    return NULL;
}

bool node_pump(struct node *n, int timeout_ms) {
    bool up;
    (void) next(n, 0, timeout_ms, &up);
    return up;
}

Orlop__KeeperMessage *node_call(struct node *n, Orlop__KeeperRequest *req, const int *fds,
                                size_t n_fds) {
    req->id = ++n->next_id;
    if (keeper_client_send(n->client, req, fds, n_fds, NULL) < 0) return NULL;
    bool up;
    Orlop__KeeperMessage *m = next(n, req->id, DEADLINE_MS, &up);
    if (!m && up) die("no answer");
    return m;
}

Orlop__KeeperMessage *node_sh(struct node *n, const char *task, uint32_t attempt,
                              const char *script) {
    char *argv[] = {strdup("/bin/sh"), strdup("-c"), strdup(script)};
    char *env[] = {strdup("PATH=/usr/bin:/bin")};
    Orlop__SandboxSpec s = ORLOP__SANDBOX_SPEC__INIT;
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    s.task = strdup(task);
    s.boot = 1;
    s.attempt = attempt;
    s.argv = argv;
    s.n_argv = 3;
    s.env = env;
    s.n_env = 1;
    s.fd_seccomp = -1;
    s.cgroup = strdup("none");
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_START;
    r.start = &s;
    int root = open("/", O_PATH | O_CLOEXEC);
    Orlop__KeeperMessage *m = node_call(n, &r, &root, 1);
    close(root);
    for (size_t i = 0; i < 3; i++) free(argv[i]);
    free(env[0]);
    free(s.task);
    free(s.cgroup);
    return m;
}

Orlop__KeeperMessage *node_task(struct node *n, Orlop__KeeperRequest__WhatCase what,
                                const char *task) {
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperTask t = ORLOP__KEEPER_TASK__INIT;
    t.task = strdup(task);
    r.what_case = what;
    r.close = &t; /* close and forget share the union's place and type */
    Orlop__KeeperMessage *m = node_call(n, &r, NULL, 0);
    free(t.task);
    return m;
}

size_t node_exit(struct node *n, const char *task, uint32_t attempt) {
    for (int64_t end = clock_mono_ms() + DEADLINE_MS; clock_mono_ms() < end;) {
        for (size_t i = 0; i < n->n_exits; i++)
            if (str_eq(n->exits[i].task, task) && n->exits[i].attempt == attempt) return i;
        if (!node_pump(n, 20)) node_connect(n);
    }
    die("no exit event");
}

static Orlop__KeeperMessage *list(struct node *n) {
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty e = ORLOP__KEEPER_EMPTY__INIT;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_LIST;
    r.list = &e;
    return node_call(n, &r, NULL, 0);
}

void node_stop(struct node *n) {
    Orlop__KeeperMessage *l = list(n);
    for (size_t i = 0; l && i < l->listed->n_entries; i++) {
        const char *task = l->listed->entries[i]->task;
        keeper_message_free(node_task(n, ORLOP__KEEPER_REQUEST__WHAT_CLOSE, task));
        keeper_message_free(node_task(n, ORLOP__KEEPER_REQUEST__WHAT_FORGET, task));
    }
    keeper_message_free(l);
    pid_t keeper = node_keeper(n);
    kill(n->anchor, SIGUSR1); /* no agent: it ends the keeper at once */
    int status = -1;
    if (waitpid(n->anchor, &status, 0) < 0) { /* not our child: the keeper has started it */
        while (kill(n->anchor, 0) == 0) wait_a_moment();
        status = 0;
    }
    if (status != 0) fprintf(stderr, "node: anchor ended with 0x%x\n", (unsigned) status);
    char lock[PATHS_FULL_MAX]; /* not kill(2): pid 1 takes its time to reap an orphan */
    if (fd_lock_holder(paths_run(&n->paths, "keeper.lock", lock)) == keeper)
        fprintf(stderr, "node: keeper %d lives on\n", (int) keeper);
    keeper_client_free(n->client);
    if (getenv("KEEP")) return;
    char path[PATHS_FULL_MAX];
    (void) umount2(paths_run(&n->paths, "fifo", path), MNT_DETACH);
    if (fd_remove_tree(AT_FDCWD, n->dir) < 0) fprintf(stderr, "node: %s is left\n", n->dir);
}
