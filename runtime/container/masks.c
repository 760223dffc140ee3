// SPDX-License-Identifier: Apache-2.0
/* What of /proc and /sys the workload must not see or write. Both were mounted a moment ago by this
 * process and nobody else has been there: no symlink is followed on the way, and files are covered
 * by the null device that rootfs.c proved to be one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "mounts.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum { CPUS_MAX = 8192 };

static const char *const masked[] = {
    "proc/acpi",       "proc/asound",        "proc/interrupts",  "proc/kcore",
    "proc/keys",       "proc/latency_stats", "proc/sched_debug", "proc/scsi",
    "proc/timer_list", "proc/timer_stats",   "sys/firmware",     "sys/devices/virtual/powercap",
};
static const char *const read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys",
                                        "proc/sysrq-trigger"};

static int open_plain(int root, const char *path) {
    return sys_openat2(root, path, O_PATH | O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* One empty read-only tmpfs covers all folders: the first time it is moved, then cloned from its
 * place (Linux 6.1 clones only what is attached). */
static int cover_folder(int *empty, int target, struct err *err) {
    static const struct mount_option options[] = {{"mode", "555"}, {"size", "4k"}, {NULL, NULL}};
    unsigned attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    if (*empty < 0) {
        *empty = mounts__new_fs("tmpfs", options, attr, err);
        return *empty < 0 ? *empty : mounts__move(*empty, target, err);
    }
    auto_fd int m = sys_open_tree(*empty, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    return m < 0 ? err_set(err, m, "clone the empty folder") : mounts__move(m, target, err);
}

static int cover(const struct child *c, int *empty, int target, struct err *err) {
    struct stat st;
    if (fstat(target, &st) < 0) return err_set(err, -errno, "stat");
    if (S_ISDIR(st.st_mode)) return cover_folder(empty, target, err);
    auto_fd int m = sys_open_tree(c->null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    return m < 0 ? err_set(err, m, "clone /dev/null") : mounts__move(m, target, err);
}

/* TARGET is what the open said; a path that is not there needs no mask. */
static int mask(const struct child *c, int *empty, int target, const char *path, struct err *err) {
    if (target == -ENOENT) return 0;
    auto_fd int fd = target;
    int r = fd < 0 ? err_set(err, fd, "open it") : cover(c, empty, fd, err);
    return r < 0 ? err_wrap(err, r, "mask %s", path) : 0;
}

/* A machine without them on its first CPU has them on none. */
static int mask_throttles(const struct child *c, int *empty, struct err *err) {
    for (int i = 0; i < CPUS_MAX; i++) {
        char path[64];
        snprintf(path, sizeof path, "sys/devices/system/cpu/cpu%d/thermal_throttle", i);
        int fd = open_plain(c->root, path);
        if (fd == -ENOENT) return 0;
        int r = mask(c, empty, fd, path, err);
        if (r < 0) return r;
    }
    return 0;
}

static int make_read_only(int root, const char *path, struct err *err) {
    auto_fd int target = open_plain(root, path);
    if (target == -ENOENT) return 0;
    if (target < 0) return err_set(err, target, "open %s", path);
    auto_fd int m = sys_open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (m < 0) return err_set(err, m, "clone %s", path);
    struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
    int r = sys_mount_setattr(m, "", AT_EMPTY_PATH, &a);
    if (r < 0) return err_set(err, r, "make %s read-only", path);
    return mounts__move(m, target, err);
}

int masks__apply(struct child *c, struct err *err) {
    auto_fd int empty = -1;
    int r = 0;
    bool usual = !c->spec->privileged;
    for (size_t i = 0; usual && r == 0 && i < array_len(read_only); i++)
        r = make_read_only(c->root, read_only[i], err);
    for (size_t i = 0; usual && r == 0 && i < array_len(masked); i++)
        r = mask(c, &empty, open_plain(c->root, masked[i]), masked[i], err);
    if (usual && r == 0) r = mask_throttles(c, &empty, err);
    for (size_t i = 0; r == 0 && i < c->spec->n_masked_paths; i++) {
        const char *path = c->spec->masked_paths[i];
        r = mask(c, &empty, sys_open_in_root(c->root, path, O_PATH, 0), path, err);
    }
    return r;
}
