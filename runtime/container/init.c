// SPDX-License-Identifier: Apache-2.0
/* Pid 1 of a sandbox with `init: true`, inside the child itself: the image needs no program for it
 * and no file of ours is bound into the image. It owns one child, forwards signals to it, reaps
 * what is orphaned, and ends as the child ends; the kernel then ends the rest of the namespace. It
 * stays undumpable, so /proc/1/exe leads nowhere for the workload. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "runtime/base/fd.h"
#include "runtime/base/sys.h"

/* Everything that is ready; when MAIN ended, its code as a shell would give it, else -1. */
static int reap(pid_t main_pid) {
    int code = -1;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) return code;
        if (pid != main_pid) continue;
        code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

_Noreturn static void watch(pid_t main_pid, const sigset_t *all) {
    for (;;) {
        int sig = sigwaitinfo(all, NULL);
        if (sig < 0) continue;
        if (sig == SIGCHLD) {
            int code = reap(main_pid);
            if (code >= 0) _exit(code);
            continue;
        }
        (void) kill(main_pid, sig); /* it may just have ended; SIGCHLD is on its way then */
    }
}

/* Fields FIRST and FIRST + 1 of our own /proc/self/stat, a range of addresses. */
static bool own_range(int first, uintptr_t *ret_from, uintptr_t *ret_to) {
    char text[1024];
    auto_fd int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0) return false;
    text[n] = 0;
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < first; field++) at = strchr(at + 1, ' ');
    if (!at) return false;
    char *end;
    *ret_from = strtoul(at, &end, 10);
    *ret_to = strtoul(end, NULL, 10);
    return *ret_from && *ret_from < *ret_to;
}

/* What `ps` inside shows of pid 1 would be the keeper's command line with paths of the host. */
static void hide_origin(void) {
    enum { ARGUMENTS = 48, ENVIRONMENT = 50 }; /* proc(5) */
    static const char name[] = "orlop-init";
    uintptr_t from, to;
    (void) prctl(PR_SET_NAME, name, 0, 0, 0);
    if (own_range(ENVIRONMENT, &from, &to)) memset((void *) from, 0, to - from);
    if (!own_range(ARGUMENTS, &from, &to)) return;
    memset((void *) from, 0, to - from);
    if (to - from >= sizeof name) memcpy((void *) from, name, sizeof name);
}

/* The child's signals are blocked since it began (child__alone), so none is lost in between. */
int init__split(struct process *p, struct err *err) {
    sigset_t all;
    sigfillset(&all);
    pid_t pid = _Fork();
    if (pid < 0) return err_set(err, -errno, "fork the workload");
    if (pid > 0) {
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0,
                     0); /* it may be in the host's PID namespace */
        hide_origin();
        (void) sys_close_range(0, ~0u, 0); /* the end of the status pipe must mean exec */
        watch(pid, &all);
    }
    if (setpgid(0, 0) < 0) return err_set(err, -errno, "process group of the workload");
    if (p->tty && tcsetpgrp(0, getpid()) < 0)
        return err_set(err, -errno, "put the workload into the terminal's foreground");
    return 0;
}
