// SPDX-License-Identifier: Apache-2.0
/* container.h without namespaces, for the keeper's own tests: a fork that opens the FIFOs, waits
 * for the go byte and execs argv on the host. Everything that keeper and container agree on is
 * kept: the report, the go byte, the status pipe, pidfds, start ticks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/sys.h"
#include "runtime/container/container.h"
#include "runtime/keeper/records.h"

_Noreturn static void fail(int status, int error, const char *phase) {
    struct container_report rep = {.error = error};
    snprintf(rep.phase, sizeof rep.phase, "%s", phase);
    snprintf(rep.text, sizeof rep.text, "%s: %s", phase, err_text(error));
    (void) !write(status, &rep, sizeof rep);
    _exit(127);
}

_Noreturn static void child(char **argv, char **envp, const int stdio[3], int status, int go) {
    char byte;
    if (go >= 0 && read(go, &byte, 1) != 1) _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        if (dup2(stdio[i], i) < 0) fail(status, errno, "stdio");
    int moved = fcntl(status, F_DUPFD_CLOEXEC, 3);
    if (moved != 3) {
        dup3(moved, 3, O_CLOEXEC);
        moved = 3;
    }
    sys_close_range(4, ~0U, 0);
    execve(argv[0], argv, envp);
    fail(moved, errno, "exec");
}

static int spawn(char **argv, char **envp, const int stdio[3], bool with_go,
                 struct container_process *ret, struct err *err) {
    int status[2] = {-1, -1}, go[2] = {-1, -1};
    if (pipe2(status, O_CLOEXEC) < 0 || (with_go && pipe2(go, O_CLOEXEC) < 0))
        return err_set(err, -errno, "pipe");
    fcntl(status[0], F_SETFL, O_NONBLOCK);
    pid_t pid = fork();
    if (pid == 0) {
        fd_close(&go[1]);
        child(argv, envp, stdio, status[1], go[0]);
    }
    fd_close(&status[1]);
    fd_close(&go[0]);
    if (pid < 0) return err_set(err, -errno, "fork");
    *ret = (struct container_process){.pid = pid,
                                      .pidfd = sys_pidfd_open(pid, 0),
                                      .status_fd = status[0],
                                      .go_fd = go[1],
                                      .start_ticks = process_see(pid).start_ticks,
                                      .master = -1};
    return 0;
}

static char **terminated(char **v, size_t n) {
    char **out = calloc(n + 1, sizeof *out);
    if (out && n) memcpy(out, v, n * sizeof *out);
    return out;
}

int container_spawn(const Orlop__SandboxSpec *spec, const int *fds, size_t n_fds,
                    const struct container_host *host, const char *stdout_path,
                    const char *stderr_path, struct container_process *ret, struct err *err) {
    (void) fds;
    (void) n_fds;
    (void) host;
    int stdio[3] = {open("/dev/null", O_RDWR | O_CLOEXEC), open(stdout_path, O_RDWR | O_CLOEXEC),
                    open(stderr_path, O_RDWR | O_CLOEXEC)};
    char **argv = terminated(spec->argv, spec->n_argv), **envp = terminated(spec->env, spec->n_env);
    int r = spawn(argv, envp, stdio, true, ret, err);
    for (int i = 0; i < 3; i++) fd_close(&stdio[i]);
    free(argv);
    free(envp);
    return r;
}

int container_exec(const Orlop__KeeperExec *exec, const int *fds, size_t n_fds,
                   const struct container_exec *where, struct container_process *ret,
                   int *ret_master, struct err *err) {
    (void) fds;
    (void) n_fds;
    char **argv = terminated(exec->argv, exec->n_argv), **envp = terminated(exec->env, exec->n_env);
    int r = spawn(argv, envp, where->stdio, false, ret, err);
    *ret_master = -1;
    free(argv);
    free(envp);
    return r;
}

int container_open_devpts(int pidfd, struct err *err) {
    (void) pidfd;
    return err_say(err, -EOPNOTSUPP, "no terminals here");
}
