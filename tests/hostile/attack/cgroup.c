// SPDX-License-Identifier: Apache-2.0
/* Ways out by cgroups: what could be mounted, made, written, entered. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

static void try_mount(const char *fs, const char *options) {
    if (mount("x", "/tmp", fs, 0, options) < 0) return;
    printf("mounted %s %s\n", fs, options);
    (void) umount2("/tmp", MNT_DETACH);
}

static void try_write(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    printf("%s can be written\n", path);
    (void) close(fd);
}

/* A group and all that is above it, as far as it goes. */
static void try_group(const char *dir) {
    static const char *const files[] = {"release_agent",
                                        "notify_on_release",
                                        "cgroup.procs",
                                        "tasks",
                                        "devices.allow",
                                        "memory.limit_in_bytes",
                                        "cgroup.subtree_control",
                                        "memory.max",
                                        "pids.max",
                                        "freezer.state",
                                        "cgroup.freeze",
                                        "cgroup.kill",
                                        "cgroup.event_control"};
    char path[512];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) try_write(dir, files[i]);
    snprintf(path, sizeof path, "%s/made", dir);
    if (mkdir(path, 0755) == 0) printf("%s could be made\n", path);
    if (mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND, NULL) == 0) printf("%s is writable\n", dir);
}

static void try_all_groups(void) {
    DIR *d = opendir("/sys/fs/cgroup");
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[300];
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", e->d_name);
        if (e->d_type == DT_DIR || e->d_type == DT_LNK) try_group(path);
    }
    if (d) (void) closedir(d);
    try_group("/sys/fs/cgroup");
    try_group("/proc/1/root/sys/fs/cgroup");
}

/* New namespaces first, as the known exploit does it. */
static void try_namespaces(void) {
    static const int flags[] = {CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP,
                                CLONE_NEWCGROUP, CLONE_NEWNS};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (unshare(flags[i]) == 0) {
                printf("unshared %#x\n", (unsigned) flags[i]);
                try_mount("cgroup", "memory");
                (void) fflush(stdout);
            }
            _exit(0);
        }
        if (pid > 0) (void) waitpid(pid, NULL, 0);
    }
    int ns = open("/proc/1/ns/cgroup", O_RDONLY | O_CLOEXEC);
    if (ns >= 0 && setns(ns, CLONE_NEWCGROUP) == 0) printf("entered a cgroup namespace\n");
    if (ns >= 0) (void) close(ns);
}

int attack_cgroup(int argc, char **argv) {
    (void) argc;
    (void) argv;
    static const char *const options[] = {
        "memory", "rdma", "pids", "devices", "none,name=x", "memory,release_agent=/bin/attack"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) try_mount("cgroup", options[i]);
    try_mount("cgroup2", "");
    try_mount("sysfs", "");
    int fs = (int) syscall(SYS_fsopen, "cgroup2", 0);
    if (fs >= 0) printf("fsopen of cgroup2\n");
    try_all_groups();
    try_namespaces();
    return 0;
}
