// SPDX-License-Identifier: Apache-2.0
/* bench_orlop KEEPER LOWER STATE RUN [SECCOMP-OUT] - starts by a real keeper. Reads one byte from
 * stdin a start, answers "FIRST EXIT\n": microseconds from the request to the workload's first
 * instruction and to the event of its recorded exit. Overlay, cgroup and seccomp program are made
 * before, as the agent makes them. With SECCOMP-OUT it writes the seccomp program there, for the
 * bare program. */
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
#include "runtime/base/paths.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/prepare.h"
#include "runtime/keeper/client.h"

#define CK(x) ck((long) (x), #x, __LINE__)
static struct err err;

static long ck(long r, const char *what, int line) {
    if (r >= 0) return r;
    fprintf(stderr, "bench_orlop:%d: %s: %s (%s)\n", line, what, strerrordesc_np(errno), err.text);
    _exit(99);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct paths paths;
static const char *lower;
static struct keeper_client *client;
static uint64_t caps;

static Orlop__KeeperMessage *next_message(void) {
    for (;;) {
        Orlop__KeeperMessage *m;
        int fd = -1, r = keeper_client_read(client, &m, &fd, &err);
        if (r == 0) return m;
        if (r != -EAGAIN) CK(r);
        struct pollfd p = {.fd = keeper_client_fd(client), .events = POLLIN};
        CK(poll(&p, 1, -1));
    }
}

static int make_root(const char *task) {
    char dir[PATHS_FULL_MAX], sub[4][PATHS_FULL_MAX + 16];
    static const char *const names[] = {"upper", "work", "scratch", "log"};
    snprintf(dir, sizeof dir, "%s/tasks/%s", paths.state, task);
    CK(fd_mkdirs(AT_FDCWD, dir, 0700));
    for (size_t i = 0; i < 4; i++) {
        snprintf(sub[i], sizeof sub[i], "%s/%s", dir, names[i]);
        CK(mkdir(sub[i], 0755));
    }
    return (int) CK(prepare_overlay(&lower, 1, sub[0], sub[1], sub[2], &err));
}

static int64_t first_instruction(const char *task) {
    char path[PATHS_FULL_MAX], *text;
    for (int n = 0; n < 2; n++) {
        snprintf(path, sizeof path, "%s/tasks/%s/log/%d.log", paths.state, task, n);
        if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL) == 0 && *text) {
            int64_t ns = strtoll(text, NULL, 10);
            free(text);
            return ns;
        }
    }
    return -1;
}

static void one(int k) {
    char task[32], cgroup[48];
    snprintf(task, sizeof task, "1.1.%d", k);
    snprintf(cgroup, sizeof cgroup, "%s-1.1", task);
    int fds[2] = {make_root(task), (int) CK(prepare_seccomp(caps, &err))};
    const struct cgroup_limits limits = {
        .memory_bytes = 256 << 20, .pids = 512, .cpu_millis = 2000};
    CK(cgroup_make(paths.cgroup, cgroup, &limits, &err));
    Orlop__LogOptions log = ORLOP__LOG_OPTIONS__INIT;
    Orlop__SandboxSpec spec = ORLOP__SANDBOX_SPEC__INIT;
    char name[] = "/bin/now", path[] = "PATH=/bin", host[] = "orlop";
    char *argv[] = {name}, *envp[] = {path};
    spec.task = task;
    spec.boot = 1;
    spec.attempt = 1;
    spec.argv = argv;
    spec.n_argv = 1;
    spec.env = envp;
    spec.n_env = 1;
    spec.hostname = host;
    spec.cgroup = cgroup;
    spec.fd_root = 0;
    spec.fd_seccomp = 1;
    spec.capabilities = caps;
    spec.no_new_privs = true;
    spec.log = &log;
    Orlop__KeeperRequest req = ORLOP__KEEPER_REQUEST__INIT;
    req.id = (uint64_t) k + 1;
    req.what_case = ORLOP__KEEPER_REQUEST__WHAT_START;
    req.start = &spec;
    int64_t t0 = now_ns(), t1 = 0;
    CK(keeper_client_send(client, &req, fds, 2, &err));
    while (!t1) {
        Orlop__KeeperMessage *m = next_message();
        if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_FAILED) {
            fprintf(stderr, "start failed: %s: %s\n", m->failed->phase, m->failed->text);
            _exit(98);
        }
        if (m->what_case == ORLOP__KEEPER_MESSAGE__WHAT_EXITED) t1 = now_ns();
        keeper_message_free(m);
    }
    close(fds[0]);
    close(fds[1]);
    int64_t first = first_instruction(task);
    CK(first);
    CK(cgroup_remove(paths.cgroup, cgroup, &err));
    printf("%lld %lld\n", (long long) (first - t0) / 1000, (long long) (t1 - t0) / 1000);
    fflush(stdout);
}

static pid_t start_keeper(const char *keeper) {
    pid_t pid = fork();
    if (pid == 0) {
        execl(keeper, keeper, "keeper", "--state-dir", paths.state, "--run-dir", paths.run, NULL);
        _exit(127);
    }
    char socket[PATHS_FULL_MAX];
    paths_run(&paths, "keeper.sock", socket);
    for (int i = 0; keeper_client_open(socket, &client, &err) < 0; i++) {
        if (i > 500) CK(-1);
        poll(NULL, 0, 10);
    }
    return pid;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    lower = argv[2];
    CK(paths_init(&paths, argv[3], argv[4], &err));
    CK(prepare_caps(NULL, 0, NULL, 0, &caps, &err));
    if (argc > 5) {
        int fd = (int) CK(prepare_seccomp(caps, &err));
        int out = (int) CK(open(argv[5], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        off_t at = 0;
        CK(sendfile(out, fd, &at, 1 << 20));
        return 0;
    }
    pid_t keeper = start_keeper(argv[1]);
    char byte;
    for (int k = 0; read(0, &byte, 1) == 1; k++) one(k);
    Orlop__KeeperRequest req = ORLOP__KEEPER_REQUEST__INIT;
    Orlop__KeeperEmpty empty = ORLOP__KEEPER_EMPTY__INIT;
    req.id = UINT64_MAX;
    req.what_case = ORLOP__KEEPER_REQUEST__WHAT_SHUTDOWN;
    req.shutdown = &empty;
    CK(keeper_client_send(client, &req, NULL, 0, &err));
    keeper_message_free(next_message());
    waitpid(keeper, NULL, 0);
    CK(cgroup_remove_parent(paths.cgroup, &err));
    return 0;
}
