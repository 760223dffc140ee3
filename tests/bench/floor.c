// SPDX-License-Identifier: Apache-2.0
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "floor_int.h"

int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);

#define COUNT(a) (sizeof(a) / sizeof *(a))

long floor__check(long r, const char *what, const char *file, int line) {
    if (r >= 0) return r;
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, strerrordesc_np(errno));
    _exit(99);
}

enum { CONTROLLERS_MAX = 16, DIR_MAX = 256 };
_Static_assert(CONTROLLERS_MAX == COUNT(((struct floor_box *) NULL)->tasks), "room for all");

static const char *lower, *state, *cgroup;
static struct sock_fprog program;
static char controllers[CONTROLLERS_MAX][32];
static int n_controllers;
static const unsigned locked = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

int64_t floor_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t floor_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

void floor__put(const char *path, const char *text) {
    int f = (int) CK(open(path, O_WRONLY | O_CLOEXEC));
    CK(write(f, text, strlen(text)));
    close(f);
}

static int new_fs(const char *fs, const char *const *options, unsigned attr) {
    int f = (int) CK(syscall(SYS_fsopen, fs, FSOPEN_CLOEXEC));
    for (; options && options[0]; options += 2)
        CK(syscall(SYS_fsconfig, f, options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                   options[0], options[1], 0));
    CK(syscall(SYS_fsconfig, f, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int m = (int) CK(syscall(SYS_fsmount, f, FSMOUNT_CLOEXEC, attr));
    close(f);
    return m;
}

static void move(int m, int dir, const char *path) {
    CK(syscall(SYS_move_mount, m, "", dir, path, MOVE_MOUNT_F_EMPTY_PATH));
}

static void put_fs(int dir, const char *path, const char *fs, const char *const *o, unsigned attr) {
    int m = new_fs(fs, o, attr);
    move(m, dir, path);
    close(m);
}

static int clone_tree(int dir, const char *path, unsigned flags) {
    return (int) syscall(SYS_open_tree, dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

static void devices(int root) {
    static const struct {
        const char *name;
        unsigned a, b;
    } nodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                 {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    static const char *const links[] = {"fd",     "/proc/self/fd",   "stdin",  "/proc/self/fd/0",
                                        "stdout", "/proc/self/fd/1", "stderr", "/proc/self/fd/2",
                                        "ptmx",   "pts/ptmx",        "core",   "/proc/kcore"};
    static const char *const dirs[] = {"pts", "shm", "mqueue"};
    put_fs(root, "dev", "tmpfs", (const char *[]){"mode", "755", "size", "65536k", NULL},
           MOUNT_ATTR_NOSUID);
    int dev = (int) CK(openat(root, "dev", O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (size_t i = 0; i < COUNT(nodes); i++)
        CK(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].a, nodes[i].b)));
    for (size_t i = 0; i < COUNT(links); i += 2) CK(symlinkat(links[i + 1], dev, links[i]));
    for (size_t i = 0; i < COUNT(dirs); i++) CK(mkdirat(dev, dirs[i], 0755));
    put_fs(dev, "pts", "devpts",
           (const char *[]){"mode", "620", "ptmxmode", "0666", "gid", "5", NULL},
           MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    put_fs(dev, "shm", "tmpfs", (const char *[]){"mode", "1777", "size", "67108864", NULL}, locked);
    put_fs(dev, "mqueue", "mqueue", NULL, locked);
    close(dev);
}

static void cgroup_mounts(int root) {
    put_fs(root, "sys/fs/cgroup", "tmpfs", (const char *[]){"mode", "755", "size", "64k", NULL},
           locked);
    int top = (int) CK(openat(root, "sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (int i = 0; i < n_controllers; i++) {
        CK(mkdirat(top, controllers[i], 0755));
        put_fs(top, controllers[i], "cgroup", (const char *[]){controllers[i], NULL, NULL},
               locked | MOUNT_ATTR_RDONLY);
    }
    struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
    CK(syscall(SYS_mount_setattr, top, "", AT_EMPTY_PATH, &a, sizeof a));
    close(top);
}

static void read_only_paths(int root) {
    static const char *const paths[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys",
                                        "proc/sysrq-trigger"};
    struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
    for (size_t i = 0; i < COUNT(paths); i++) {
        int m = clone_tree(root, paths[i], 0);
        if (m < 0) continue;
        CK(syscall(SYS_mount_setattr, m, "", AT_EMPTY_PATH, &a, sizeof a));
        move(m, root, paths[i]);
        close(m);
    }
}

static void masks(int root) {
    static const char *const paths[] = {"proc/acpi",
                                        "proc/asound",
                                        "proc/interrupts",
                                        "proc/kcore",
                                        "proc/keys",
                                        "proc/latency_stats",
                                        "proc/sched_debug",
                                        "proc/scsi",
                                        "proc/timer_list",
                                        "proc/timer_stats",
                                        "sys/firmware",
                                        "sys/devices/virtual/powercap",
                                        "sys/devices/system/cpu/cpu0/thermal_throttle"};
    int null = (int) CK(openat(root, "dev/null", O_PATH | O_CLOEXEC)), empty = -1;
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct stat st;
        if (fstatat(root, paths[i], &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        int m;
        if (!S_ISDIR(st.st_mode))
            m = (int) CK(clone_tree(null, "", AT_EMPTY_PATH));
        else if (empty < 0)
            m = empty = new_fs("tmpfs", (const char *[]){"mode", "555", "size", "4k", NULL},
                               MOUNT_ATTR_RDONLY | locked);
        else
            m = (int) CK(clone_tree(empty, "", AT_EMPTY_PATH));
        move(m, root, paths[i]);
        if (m != empty) close(m);
    }
    close(empty);
    close(null);
}

static void confine(void) {
    const uint64_t caps = 0xa80425fbull;
    CK(sethostname("bare", 4));
    struct rlimit rl;
    CK(getrlimit(RLIMIT_NOFILE, &rl));
    rl.rlim_cur = 1024;
    CK(setrlimit(RLIMIT_NOFILE, &rl));
    CK(setsid());
    (void) syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    for (int c = 0; c < 64; c++)
        if (!(caps >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0) break;
    CK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    CK(setgroups(0, NULL));
    CK(setresgid(0, 0, 0));
    CK(setresuid(0, 0, 0));
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{(uint32_t) caps, (uint32_t) caps, 0}, {0, 0, 0}};
    CK(syscall(SYS_capset, &h, d));
    CK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

_Noreturn static void child(const struct floor_box *b, char *const argv[], int out) {
    int root = b->root;
    CK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    umask(0);
    for (int i = 0; i < n_controllers; i++) CK(write(b->tasks[i], "0", 1));
    CK(unshare(CLONE_NEWCGROUP));
    floor__network(b->address);
    CK(mount(NULL, "/", NULL, (1 << 14) | (1 << 18), NULL)); /* MS_REC | MS_PRIVATE */
    move(root, AT_FDCWD, "/");
    put_fs(root, "proc", "proc", NULL, locked);
    put_fs(root, "sys", "sysfs", NULL, locked | MOUNT_ATTR_RDONLY);
    cgroup_mounts(root);
    devices(root);
    read_only_paths(root);
    masks(root);
    floor__put("/proc/self/oom_score_adj", "0");
    CK(fchdir(root));
    CK(syscall(SYS_pivot_root, ".", "."));
    CK(umount2(".", 2)); /* MNT_DETACH */
    CK(chdir("/"));
    umask(022);
    CK(dup2(out, 1));
    confine();
    CK(syscall(SYS_seccomp, 1, 0, &program));
    CK(syscall(SYS_close_range, 3, ~0u, 4));
    char path[] = "PATH=/bin";
    execve(argv[0], argv, (char *[]){path, NULL});
    _exit(98);
}

static int overlay(int k) {
    static const char *const names[] = {"", "/u", "/w", "/m"};
    char options[4 * DIR_MAX], dir[DIR_MAX];
    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(dir, sizeof dir, "%s/%d%s", state, k, names[i]);
        CK(mkdir(dir, 0755));
    }
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/%d/u,workdir=%s/%d/w", lower, state,
             k, state, k);
    CK(mount("overlay", dir, "overlay", 0, options));
    int m = (int) CK(clone_tree(AT_FDCWD, dir, 0));
    CK(umount2(dir, 2));
    return m;
}

/* A cpuset without CPUs takes no task. */
static void inherit_cpuset(const char *dir) {
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[3 * DIR_MAX], text[DIR_MAX];
        snprintf(path, sizeof path, "/sys/fs/cgroup/cpuset/%s", files[i]);
        int fd = (int) CK(open(path, O_RDONLY | O_CLOEXEC));
        ssize_t n = CK(read(fd, text, sizeof text - 1));
        text[n] = 0;
        close(fd);
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        floor__put(path, text);
    }
}

static void cgroup_dir(char *dir, int i, int k) {
    int n = snprintf(dir, DIR_MAX, "/sys/fs/cgroup/%.31s/%.100s", controllers[i], cgroup);
    if (k >= 0) snprintf(dir + n, (size_t) (DIR_MAX - n), "/b%d", k);
}

/* K < 0: the parent of them all. */
static void make_cgroups(int k, int *tasks) {
    for (int i = 0; i < n_controllers; i++) {
        char dir[DIR_MAX], file[DIR_MAX + 8];
        cgroup_dir(dir, i, k);
        CK(mkdir(dir, 0755));
        if (strcmp(controllers[i], "cpuset") == 0) inherit_cpuset(dir);
        snprintf(file, sizeof file, "%s/tasks", dir);
        if (k >= 0) tasks[i] = (int) CK(open(file, O_WRONLY | O_CLOEXEC));
    }
}

static void remove_cgroups(int k, const int *tasks) {
    for (int i = 0; i < n_controllers; i++) {
        char dir[DIR_MAX];
        cgroup_dir(dir, i, k);
        if (k >= 0) close(tasks[i]);
        CK(rmdir(dir));
    }
}

/* The v1 hierarchies that have a controller, from /proc/self/mountinfo. */
static void find_controllers(void) {
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096];
    while (f && fgets(line, sizeof line, f) && n_controllers < CONTROLLERS_MAX) {
        char *at = strstr(line, " /sys/fs/cgroup/");
        if (!at || !strstr(line, " - cgroup ") || strstr(line, "name=")) continue;
        at += strlen(" /sys/fs/cgroup/");
        at[strcspn(at, " ")] = 0;
        snprintf(controllers[n_controllers++], sizeof controllers[0], "%.31s", at);
    }
    if (f) fclose(f);
}

void floor_init(const char *lower_dir, const char *state_dir, const char *parent,
                const char *seccomp) {
    static struct sock_filter filter[4096];
    lower = lower_dir;
    state = state_dir;
    cgroup = parent;
    int fd = (int) CK(open(seccomp, O_RDONLY | O_CLOEXEC));
    program.filter = filter;
    program.len = (unsigned short) (CK(read(fd, filter, sizeof filter)) / (long) sizeof *filter);
    close(fd);
    find_controllers();
    make_cgroups(-1, NULL);
}

void floor_fini(void) {
    remove_cgroups(-1, NULL);
}

void floor_box_make(struct floor_box *b, int k) {
    b->k = k;
    b->root = overlay(k);
    make_cgroups(k, b->tasks);
}

void floor_box_start(struct floor_box *b, char *program_path, char *argument, int out) {
    int status[2];
    CK(pipe2(status, O_CLOEXEC));
    struct clone_args a = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
                                    CLONE_PIDFD,
                           .pidfd = (uint64_t) (uintptr_t) &b->pidfd,
                           .exit_signal = SIGCHLD};
    b->pid = (pid_t) CK(syscall(SYS_clone3, &a, sizeof a));
    if (b->pid == 0) child(b, (char *[]){program_path, argument, NULL}, out);
    close(status[1]);
    b->status = status[0];
}

void floor_box_reap(struct floor_box *b, int status) {
    struct pollfd p = {.fd = b->pidfd, .events = POLLIN};
    siginfo_t si;
    CK(poll(&p, 1, -1));
    CK(waitid(P_PIDFD, (id_t) b->pidfd, &si, WEXITED));
    if (si.si_status != status) _exit(97);
}

void floor_box_remove(struct floor_box *b) {
    close(b->status);
    close(b->pidfd);
    close(b->root);
    remove_cgroups(b->k, b->tasks);
}
