// SPDX-License-Identifier: Apache-2.0
#include "seccomp_table.h"

#include <linux/capability.h>
#include <stddef.h>

#define CAP(name) (UINT64_C(1) << CAP_##name)
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* In no group, hence refused to everybody: add_key, keyctl, request_key (keyrings know no
 * namespaces), io_uring_* (what a ring does passes by the filter), userfaultfd, kexec_*, swapon,
 * swapoff, nfsservctl, move_pages, migrate_pages, and what only old kernels have. */
const struct seccomp_group seccomp_groups[] = {
    {0, /* files */
     NAMES("access", "chdir", "chmod", "chown", "chown32", "close", "close_range",
           "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2",
           "fadvise64", "fadvise64_64", "fallocate", "fanotify_mark", "fchdir", "fchmod",
           "fchmodat", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync",
           "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstat64",
           "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat",
           "getcwd", "getdents", "getdents64", "getxattr", "lchown", "lchown32", "lgetxattr",
           "link", "linkat", "listxattr", "llistxattr", "_llseek", "lremovexattr", "lseek",
           "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat",
           "name_to_handle_at", "newfstatat", "oldfstat", "oldlstat", "oldstat", "open", "openat",
           "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read",
           "readahead", "readlink", "readlinkat", "readv", "removexattr", "rename", "renameat",
           "renameat2", "rmdir", "sendfile", "sendfile64", "setxattr", "splice", "stat", "stat64",
           "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
           "sync_file_range2", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink",
           "unlinkat", "utime", "utimensat", "utimensat_time64", "utimes", "vmsplice", "write",
           "writev")},
    {0, /* waiting and events */
     NAMES("epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
           "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2",
           "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel",
           "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup",
           "io_submit", "ioctl", "_newselect", "pipe", "pipe2", "poll", "ppoll", "ppoll_time64",
           "pselect6", "pselect6_time64", "select", "signalfd", "signalfd4", "timerfd_create",
           "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64")},
    {0, /* memory */
     NAMES("brk", "madvise", "membarrier", "memfd_create", "memfd_secret", "mincore", "mlock",
           "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mremap", "msync", "munlock",
           "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "process_mrelease",
           "remap_file_pages", "shmat", "shmctl", "shmdt", "shmget")},
    {0, /* processes, signals, identity */
     NAMES("capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "getegid",
           "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32",
           "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getresgid", "getresgid32",
           "getresuid", "getresuid32", "getrlimit", "get_robust_list", "getrusage", "getsid",
           "get_thread_area", "gettid", "getuid", "getuid32", "ioprio_get", "ioprio_set", "kill",
           "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "pause",
           "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64", "process_vm_readv",
           "process_vm_writev", "ptrace", "restart_syscall", "rseq", "rt_sigaction",
           "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
           "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "seccomp",
           "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32",
           "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setpgid",
           "setpriority", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
           "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setuid", "setuid32",
           "sigaction", "sigaltstack", "signal", "sigpending", "sigprocmask", "sigreturn",
           "sigsuspend", "tgkill", "tkill", "vfork", "wait4", "waitid", "waitpid")},
    {0, /* threads, time, scheduling */
     NAMES("adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres",
           "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep",
           "clock_nanosleep_time64", "futex", "futex_time64", "futex_waitv", "getcpu", "getitimer",
           "gettimeofday", "nanosleep", "sched_get_priority_max", "sched_get_priority_min",
           "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
           "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity",
           "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "setitimer",
           "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
           "timer_gettime64", "timer_settime", "timer_settime64", "times")},
    {0, /* talking: sockets but for their families, queues, semaphores */
     NAMES("accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt",
           "ipc", "listen", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
           "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl",
           "msgget", "msgrcv", "msgsnd", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64",
           "recvmsg", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send",
           "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair")},
    {0, /* the rest */
     NAMES("arch_prctl", "getrandom", "modify_ldt", "sysinfo", "uname")},
    {CAP(DAC_READ_SEARCH), NAMES("open_by_handle_at")},
    {CAP(SYS_ADMIN),
     NAMES("bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
           "lookup_dcookie", "mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open",
           "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
           "syslog", "umount", "umount2", "unshare")},
    {CAP(BPF), NAMES("bpf")},
    {CAP(PERFMON), NAMES("perf_event_open")},
    {CAP(SYSLOG), NAMES("syslog")},
    {CAP(SYS_BOOT), NAMES("reboot")},
    {CAP(SYS_CHROOT), NAMES("chroot")},
    {CAP(SYS_MODULE), NAMES("delete_module", "finit_module", "init_module")},
    {CAP(SYS_PACCT), NAMES("acct")},
    {CAP(SYS_PTRACE), NAMES("kcmp", "pidfd_getfd", "process_madvise")},
    {CAP(SYS_RAWIO), NAMES("ioperm", "iopl")},
    {CAP(SYS_TIME), NAMES("clock_settime", "clock_settime64", "settimeofday", "stime")},
    {CAP(SYS_TTY_CONFIG), NAMES("vhangup")},
    {CAP(SYS_NICE), NAMES("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node")},
};
const unsigned seccomp_n_groups = sizeof seccomp_groups / sizeof *seccomp_groups;
