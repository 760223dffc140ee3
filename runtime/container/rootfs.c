// SPDX-License-Identifier: Apache-2.0
/* The container's file system tree: its root, what the kernel shows in it, its devices. The root is
 * mounted over "/" of a private mount namespace and stays out of the host's paths: everything in it
 * is reached from its descriptor. No process of the workload exists yet. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cgroup_tree.h"
#include "child.h"
#include "mounts.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

enum { UMOUNT_DETACH = 2, DEFAULT_SHM_BYTES = 64 << 20 };

static const unsigned locked = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

static unsigned read_only(const struct child *c) {
    return c->spec->privileged ? 0 : MOUNT_ATTR_RDONLY;
}

int rootfs__private(struct child *c, struct err *err) {
    (void) c;
    int r = sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return r < 0 ? err_set(err, r, "make all mounts private") : 0;
}

int rootfs__attach(struct child *c, struct err *err) {
    c->root = c->fds[c->spec->fd_root];
    int r = sys_move_mount(c->root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
    return r < 0 ? err_set(err, r, "mount the root") : 0;
}

int rootfs__proc(struct child *c, struct err *err) {
    auto_fd int m = mounts__put(c->root, "proc", "proc", NULL, locked, err);
    return m < 0 ? m : 0;
}

int rootfs__sys(struct child *c, struct err *err) {
    auto_fd int m = mounts__put(c->root, "sys", "sysfs", NULL, locked | read_only(c), err);
    return m < 0 ? m : 0;
}

/* --- cgroups, read-only: programs size themselves by their limits --- */

/* "cpu,cpuacct" -> the flags of a v1 mount. */
static size_t controller_options(char *list, struct mount_option *o, size_t max) {
    size_t n = 0;
    for (char *word = list; word && n < max;) {
        char *comma = strchr(word, ',');
        if (comma) *comma = 0;
        o[n++] = (struct mount_option){word, NULL};
        word = comma ? comma + 1 : NULL;
    }
    return n;
}

static int mount_v1(int top, const struct cgroup_tree *t, unsigned attr, struct err *err) {
    char name[CGROUP_CONTROLLERS_MAX], list[CGROUP_CONTROLLERS_MAX];
    struct mount_option o[9] = {{NULL, NULL}};
    memcpy(name, t->controllers, sizeof name);
    memcpy(list, t->controllers, sizeof list);
    (void) controller_options(list, o, array_len(o) - 1);
    auto_fd int m = mounts__put(top, name, "cgroup", o, locked | attr, err);
    if (m < 0) return m;
    if (!strchr(name, ',')) return 0;
    for (size_t i = 0; o[i].key; i++) /* "cpu" leads to "cpu,cpuacct" */
        if (symlinkat(name, top, o[i].key) < 0) return err_set(err, -errno, "link %s", o[i].key);
    return 0;
}

static int mount_all_v1(struct child *c, const struct cgroup_forest *f, struct err *err) {
    static const struct mount_option options[] = {{"mode", "755"}, {"size", "64k"}, {NULL, NULL}};
    auto_fd int top = mounts__put(c->root, "sys/fs/cgroup", "tmpfs", options, locked, err);
    if (top < 0) return top;
    c->cgroup_mount_id = mounts__id(top);
    for (size_t i = 0; i < f->n_v1; i++) {
        if (str_starts(f->v1[i].controllers, "name=")) continue;
        int r = mount_v1(top, &f->v1[i], read_only(c), err);
        if (r < 0) return err_wrap(err, r, "cgroup %s", f->v1[i].controllers);
    }
    struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
    int r = sys_mount_setattr(top, "", AT_EMPTY_PATH, &a);
    return r < 0 ? err_set(err, r, "make /sys/fs/cgroup read-only") : 0;
}

int rootfs__cgroup(struct child *c, struct err *err) {
    const struct cgroup_forest *f = cgroup__forest();
    if (!*c->cgroup || f->mode == CGROUP_MODE_NONE) return 0;
    if (f->mode != CGROUP_MODE_V2) return mount_all_v1(c, f, err);
    auto_fd int m =
        mounts__put(c->root, "sys/fs/cgroup", "cgroup2", NULL, locked | read_only(c), err);
    return m < 0 ? m : 0;
}

/* --- /dev --- */

static const struct {
    const char *name;
    unsigned major, minor;
} nodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
             {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

static const struct {
    const char *name, *target;
} links[] = {{"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
             {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
             {"ptmx", "pts/ptmx"},          {"core", "/proc/kcore"}};

static int make_nodes(int dev, struct err *err) {
    for (size_t i = 0; i < array_len(nodes); i++)
        if (mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) <
            0)
            return err_set(err, -errno, "make /dev/%s", nodes[i].name);
    for (size_t i = 0; i < array_len(links); i++)
        if (symlinkat(links[i].target, dev, links[i].name) < 0)
            return err_set(err, -errno, "make /dev/%s", links[i].name);
    return 0;
}

/* Masks and standard input rest on it: prove that it is the real one. */
static int open_null(int dev, struct err *err) {
    auto_fd int fd = openat(dev, "null", O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) return err_set(err, -errno, "open /dev/null");
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        return err_say(err, -EPERM, "/dev/null is no null device");
    return steal_fd(&fd);
}

static int make_pts(struct child *c, int dev, struct err *err) {
    static const struct mount_option options[] = {
        {"mode", "620"}, {"ptmxmode", "0666"}, {"gid", "5"}, {NULL, NULL}};
    if (c->devpts < 0) {
        auto_fd int m =
            mounts__put(dev, "pts", "devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
        return m < 0 ? m : 0;
    }
    auto_fd int target = mounts__plain_folder(dev, "pts", err);
    return target < 0 ? target : mounts__move(c->devpts, target, err);
}

/* A namespace's shared memory is its /dev/shm, too: by path of the host, whose tree is still here. */
static int bind_host_shm(int dev, struct err *err) {
    auto_fd int shm = sys_open_tree(AT_FDCWD, "/dev/shm", OPEN_TREE_CLONE);
    if (shm < 0) return err_set(err, shm, "the host's /dev/shm");
    struct mount_attr a = {.attr_set = locked};
    int r = sys_mount_setattr(shm, "", AT_EMPTY_PATH, &a);
    if (r < 0) return err_set(err, r, "the host's /dev/shm");
    auto_fd int target = mounts__plain_folder(dev, "shm", err);
    if (target < 0) return target;
    if ((r = mounts__move(shm, target, err)) < 0) return r;
    auto_fd int q = mounts__put(dev, "mqueue", "mqueue", NULL, locked, err);
    return q < 0 ? q : 0;
}

int rootfs__dev(struct child *c, struct err *err) {
    static const struct mount_option dev_options[] = {
        {"mode", "755"}, {"size", "65536k"}, {NULL, NULL}};
    char size[24];
    unsigned long long shm = c->spec->shm_bytes ? c->spec->shm_bytes : DEFAULT_SHM_BYTES;
    snprintf(size, sizeof size, "%llu", shm);
    const struct mount_option shm_options[] = {{"mode", "1777"}, {"size", size}, {NULL, NULL}};

    auto_fd int dev = mounts__put(c->root, "dev", "tmpfs", dev_options, MOUNT_ATTR_NOSUID, err);
    if (dev < 0) return dev;
    int r = make_nodes(dev, err);
    if (r < 0) return r;
    if ((c->null = open_null(dev, err)) < 0) return c->null;
    if ((r = make_pts(c, dev, err)) < 0) return r;
    if (c->spec->host_ipc) return bind_host_shm(dev, err);
    auto_fd int m = mounts__put(dev, "shm", "tmpfs", shm_options, locked, err);
    if (m < 0) return m;
    auto_fd int q = mounts__put(dev, "mqueue", "mqueue", NULL, locked, err);
    return q < 0 ? q : 0;
}

/* By descriptor of the terminal itself: no name below /dev/pts is looked up. */
int rootfs__console(struct child *c, struct err *err) {
    if (!c->process.tty) return 0;
    auto_fd int dev = mounts__plain_folder(c->root, "dev", err);
    if (dev < 0) return dev;
    auto_fd int target = mounts__open_or_make(dev, "console", true, err);
    if (target < 0) return target;
    auto_fd int m = sys_open_tree(c->process.stdio[0], "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (m < 0) return err_set(err, m, "bind the terminal");
    return mounts__move(m, target, err);
}

/* --- leaving the host's tree --- */

int rootfs__pivot(struct child *c, struct err *err) {
    struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
    int r = c->spec->read_only ? sys_mount_setattr(c->root, "", AT_EMPTY_PATH, &a) : 0;
    if (r < 0) return err_set(err, r, "make the root read-only");
    if (fchdir(c->root) < 0) return err_set(err, -errno, "enter the root");
    if ((r = sys_pivot_root(".", ".")) < 0) return err_set(err, r, "pivot_root");
    /* The old root now lies on top of the new one. */
    if ((r = sys_umount2(".", UMOUNT_DETACH)) < 0) return err_set(err, r, "leave the old root");
    if (chdir("/") < 0) return err_set(err, -errno, "enter the root");
    return 0;
}
