// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/prepare.h"

enum { CONNECT_TRIES = 500, CONNECT_MS = 10, GROUP = 7001 };

struct err rig_err;
static struct paths paths;
static const char *lower;
static struct keeper_client *client;
static uint64_t caps;
static pid_t anchor;

long rig_check(long r, const char *what, const char *file, int line) {
    if (r >= 0) return r;
    fprintf(stderr, "%s:%d: %s: %ld, %s (%s)\n", file, line, what, r, strerrordesc_np(errno),
            rig_err.text);
    _exit(99);
}

int64_t rig_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t rig_cpu_ns(pid_t pid) {
    char path[64];
    auto_free char *text = NULL;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int) pid);
    CK(fd_read_file(AT_FDCWD, path, 256, &text, NULL));
    return strtoll(text, NULL, 10);
}

struct paths *rig_paths(void) {
    return &paths;
}

void rig_init(const char *lower_dir, const char *state, const char *run) {
    lower = lower_dir;
    CK(paths_init(&paths, state, run, &rig_err));
    CK(prepare_caps(NULL, 0, NULL, 0, &caps, &rig_err));
}

void rig_write_seccomp(const char *path) {
    auto_fd int fd = (int) CK(prepare_seccomp(caps, &rig_err));
    auto_fd int out = (int) CK(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    off_t at = 0;
    CK(sendfile(out, fd, &at, 1 << 20));
}

/* --- the processes --- */

void rig_start(const char *keeper) {
    anchor = (pid_t) CK(fork());
    if (anchor == 0) {
        execl(keeper, keeper, "anchor", "--no-proxy", "--state-dir", paths.state, "--run-dir",
              paths.run, NULL);
        _exit(127);
    }
    char socket[PATHS_FULL_MAX];
    paths_run(&paths, "keeper.sock", socket);
    for (int i = 0; keeper_client_open(socket, &client, &rig_err) < 0; i++) {
        if (i > CONNECT_TRIES) CK(-1);
        poll(NULL, 0, CONNECT_MS);
    }
}

pid_t rig_anchor_pid(void) {
    return anchor;
}

pid_t rig_keeper_pid(void) {
    char path[PATHS_FULL_MAX];
    return (pid_t) CK(fd_lock_holder(paths_run(&paths, "keeper.lock", path)));
}

static void send_empty(uint64_t id, Orlop__KeeperRequest__WhatCase what) {
    Orlop__KeeperRequest req = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty empty = ORLOP__KEEPER_EMPTY__INIT;
    req.id = id;
    req.what_case = what;
    req.shutdown = &empty;
    CK(keeper_client_send(client, &req, NULL, 0, &rig_err));
}

/* The anchor first, which leaves its keeper alone: else it would start the next one. */
void rig_stop(void) {
    CK(kill(anchor, SIGTERM));
    CK(waitpid(anchor, NULL, 0));
    send_empty(UINT64_MAX, ORLOP__KEEPER_REQUEST__WHAT_SHUTDOWN);
    keeper_message_free(rig_next());
    char path[PATHS_FULL_MAX];
    while (fd_lock_holder(paths_run(&paths, "keeper.lock", path)) != 0) poll(NULL, 0, CONNECT_MS);
    keeper_client_free(client);
    CK(cgroup_remove_parent(paths.cgroup, &rig_err));
}

Orlop__KeeperMessage *rig_next(void) {
    for (;;) {
        Orlop__KeeperMessage *m;
        int fd = -1, r = keeper_client_read(client, &m, &fd, &rig_err);
        if (r == 0 && m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_FAILED) {
            fprintf(stderr, "failed: %s: %s\n", m->failed->phase, m->failed->text);
            _exit(98);
        }
        if (r == 0) return m;
        if (r != -EAGAIN) CK(r);
        struct pollfd p = {.fd = keeper_client_fd(client), .events = POLLIN};
        CK(poll(&p, 1, -1));
    }
}

/* --- sandboxes --- */

static int make_root(const char *task) {
    char dir[PATHS_FULL_MAX], sub[4][PATHS_FULL_MAX + 16];
    static const char *const names[] = {"upper", "work", "scratch", "log"};
    snprintf(dir, sizeof dir, "%s/tasks/%s", paths.state, task);
    CK(fd_mkdirs(AT_FDCWD, dir, 0700));
    for (size_t i = 0; i < 4; i++) {
        snprintf(sub[i], sizeof sub[i], "%s/%s", dir, names[i]);
        CK(mkdir(sub[i], 0755));
    }
    return (int) CK(prepare_overlay(&lower, 1, sub[0], sub[1], sub[2], &rig_err));
}

void rig_box_make(struct rig_box *b, int k) {
    const struct cgroup_limits limits = {
        .memory_bytes = 256 << 20, .pids = 512, .cpu_millis = 2000};
    snprintf(b->task, sizeof b->task, "1.1.%d", k);
    snprintf(b->cgroup, sizeof b->cgroup, "%s-1.1", b->task);
    b->root = make_root(b->task);
    b->seccomp = (int) CK(prepare_seccomp(caps, &rig_err));
    CK(cgroup_make(paths.cgroup, b->cgroup, &limits, &rig_err));
}

/* CK of a send that waits where the socket is full. */
static void send_request(const Orlop__KeeperRequest *req, const int *fds, size_t n_fds) {
    int r;
    while ((r = keeper_client_send(client, req, fds, n_fds, &rig_err)) == -EAGAIN) {
        struct pollfd p = {.fd = keeper_client_fd(client), .events = POLLOUT};
        CK(poll(&p, 1, -1));
    }
    CK(r);
}

void rig_box_start(const struct rig_box *b, uint64_t id, char **argv) {
    char task[RIG_TASK_MAX], cgroup[RIG_CGROUP_MAX], link_name[16], eth[] = "eth0";
    char path[] = "PATH=/bin", host[] = "orlop";
    char *envp[] = {path};
    Orlop__LogOptions log = ORLOP__LOG_OPTIONS__INIT;
    log.max_bytes = (uint64_t) b->log_max_bytes;
    Orlop__SandboxSpec spec = ORLOP__SANDBOX_SPEC__INIT;
    spec.task = strcpy(task, b->task);
    spec.boot = 1;
    spec.attempt = 1;
    spec.argv = argv;
    while (argv[spec.n_argv]) spec.n_argv++;
    spec.env = envp;
    spec.n_env = 1;
    spec.hostname = host;
    spec.cgroup = strcpy(cgroup, b->cgroup);
    spec.fd_root = 0;
    spec.fd_seccomp = 1;
    spec.capabilities = caps;
    spec.no_new_privs = true;
    spec.log = &log;
    Orlop__SandboxLink link = ORLOP__SANDBOX_LINK__INIT, *links[] = {&link};
    if (b->address) {
        snprintf(link_name, sizeof link_name, "olt%08x", b->address);
        link.host_name = link_name;
        link.name = eth;
        link.group = GROUP;
        link.address = b->address;
        link.prefix_len = 16;
        link.gateway = (b->address & 0xffff0000) | 1;
        link.default_route = true;
        spec.links = links;
        spec.n_links = 1;
    }
    Orlop__KeeperRequest req = ORLOP__KEEPER_REQUEST__INIT;
    req.id = id;
    req.what_case = ORLOP__KEEPER_REQUEST__WHAT_START;
    req.start = &spec;
    send_request(&req, (const int[]){b->root, b->seccomp}, 2);
}

void rig_box_signal(const struct rig_box *b, uint64_t id, int signal) {
    char task[RIG_TASK_MAX];
    Orlop__KeeperSignal s = ORLOP__KEEPER_SIGNAL__INIT;
    Orlop__KeeperRequest req = ORLOP__KEEPER_REQUEST__INIT;
    s.task = strcpy(task, b->task);
    s.boot = 1;
    s.attempt = 1;
    s.signal = signal;
    req.id = id;
    req.what_case = ORLOP__KEEPER_REQUEST__WHAT_SIGNAL;
    req.signal = &s;
    send_request(&req, NULL, 0);
}

static void send_task(const struct rig_box *b, uint64_t id, Orlop__KeeperRequest__WhatCase what) {
    char task[RIG_TASK_MAX];
    Orlop__KeeperTask t = ORLOP__KEEPER_TASK__INIT;
    Orlop__KeeperRequest req = ORLOP__KEEPER_REQUEST__INIT;
    t.task = strcpy(task, b->task);
    req.id = id;
    req.what_case = what;
    req.close = &t;
    send_request(&req, NULL, 0);
}

void rig_box_close(const struct rig_box *b, uint64_t id) {
    send_task(b, id, ORLOP__KEEPER_REQUEST__WHAT_CLOSE);
}

void rig_box_forget(const struct rig_box *b, uint64_t id) {
    send_task(b, id, ORLOP__KEEPER_REQUEST__WHAT_FORGET);
}

void rig_box_remove(struct rig_box *b) {
    fd_close(&b->root);
    fd_close(&b->seccomp);
    CK(cgroup_remove(paths.cgroup, b->cgroup, &rig_err));
}
