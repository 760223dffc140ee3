// SPDX-License-Identifier: Apache-2.0
/* Doors of the kernel, each tried in a child of its own: what it said, or what became of the
 * child. */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

enum {
    FAMILY_ALG = 38,
    FAMILY_VSOCK = 40,
    X32 = 0x40000000,
    I386_GETPID = 20,
    I386_SOCKETCALL = 102
};

enum door { PLAIN, INT80, CLONE, CLONE3 };

static const struct {
    const char *name;
    enum door door;
    long nr, a0, a1;
} doors[] = {
    {"getpid by int 0x80", INT80, I386_GETPID, 0, 0},
    {"socketcall by int 0x80", INT80, I386_SOCKETCALL, 1, 0},
    {"getpid of x32", PLAIN, X32 | SYS_getpid, 0, 0},
    {"io_uring_setup of x32", PLAIN, X32 | SYS_io_uring_setup, 0, 0},
    {"socket AF_ALG", PLAIN, SYS_socket, FAMILY_ALG, SOCK_SEQPACKET},
    {"socket AF_VSOCK", PLAIN, SYS_socket, FAMILY_VSOCK, SOCK_STREAM},
    {"io_uring_setup", PLAIN, SYS_io_uring_setup, 1, 0},
    {"clone NEWUSER", CLONE, SYS_clone, CLONE_NEWUSER | SIGCHLD, 0},
    {"clone NEWNS", CLONE, SYS_clone, CLONE_NEWNS | SIGCHLD, 0},
    {"clone3 NEWUSER", CLONE3, SYS_clone3, CLONE_NEWUSER, 0},
    {"unshare NEWUSER", PLAIN, SYS_unshare, CLONE_NEWUSER, 0},
    {"setns", PLAIN, SYS_setns, 0, 0},
    {"mount", PLAIN, SYS_mount, 0, 0},
    {"fsopen", PLAIN, SYS_fsopen, 0, 0},
    {"open_tree", PLAIN, SYS_open_tree, 0, 0},
    {"bpf", PLAIN, SYS_bpf, 0, 0},
    {"perf_event_open", PLAIN, SYS_perf_event_open, 0, 0},
    {"userfaultfd", PLAIN, SYS_userfaultfd, 0, 0},
    {"keyctl", PLAIN, SYS_keyctl, 0, 0},
    {"add_key", PLAIN, SYS_add_key, 0, 0},
    {"open_by_handle_at", PLAIN, SYS_open_by_handle_at, 0, 0},
    {"kexec_load", PLAIN, SYS_kexec_load, 0, 0},
    {"init_module", PLAIN, SYS_init_module, 0, 0},
    {"personality 0x40000", PLAIN, SYS_personality, 0x40000, 0},
    {"number 1000", PLAIN, 1000, 0, 0},
    {"clone", CLONE, SYS_clone, SIGCHLD, 0},
    {"socket AF_INET", PLAIN, SYS_socket, AF_INET, SOCK_STREAM},
    {"ptrace", PLAIN, SYS_ptrace, PTRACE_TRACEME, 0},
};

static long by_int80(long nr, long a0, long a1) {
#ifdef __x86_64__
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a0), "c"(a1) : "memory", "cc");
    return r;
#else
    (void) nr, (void) a0, (void) a1;
    return -ENOSYS;
#endif
}

static long knock(size_t i) {
    long r;
    if (doors[i].door == INT80) return by_int80(doors[i].nr, doors[i].a0, doors[i].a1);
    struct clone_args args = {.flags = (uint64_t) doors[i].a0, .exit_signal = SIGCHLD};
    if (doors[i].door == CLONE3)
        r = syscall(SYS_clone3, &args, sizeof args);
    else
        r = syscall(doors[i].nr, doors[i].a0, doors[i].a1, 0, 0, 0, 0);
    if (r == 0 && doors[i].door != PLAIN) _exit(0); /* the new one */
    return r < 0 ? -errno : r;
}

static void tell(const char *name, int status) {
    /* SIGSEGV: a kernel that has no such door at all. */
    bool killed =
        WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
    if (killed)
        printf("%s: killed\n", name);
    else if (WIFSIGNALED(status))
        printf("%s: signal %d\n", name, WTERMSIG(status));
    else if (WEXITSTATUS(status) == EPERM)
        printf("%s: EPERM\n", name);
    else if (WEXITSTATUS(status) == ENOSYS)
        printf("%s: ENOSYS\n", name);
    else if (WEXITSTATUS(status) == 0)
        printf("%s: fine\n", name);
    else
        printf("%s: errno %d\n", name, WEXITSTATUS(status));
}

int attack_syscalls(int argc, char **argv) {
    (void) argc;
    (void) argv;
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            long r = knock(i);
            _exit(r < 0 ? (int) -r : 0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid) return 1;
        tell(doors[i].name, status);
    }
    return 0;
}
