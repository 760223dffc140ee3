// SPDX-License-Identifier: Apache-2.0
/* Devices of the node in the container: nodes of its own, so that a chmod inside stays inside. Each
 * is made in the container's /dev, cloned as a mount, and the clone laid over its target: nothing
 * of it comes to the layers on disk. What may be opened, and how, is the cgroup's business. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "child.h"
#include "mounts.h"
#include "runtime/base/fd.h"
#include "runtime/base/sys.h"

static const char node_name[] = ".orlop-device";

/* A mount of a new node. */
static int make_node(int dev, const Orlop__SandboxDevice *d, struct err *err) {
    mode_t mode = (d->block ? S_IFBLK : S_IFCHR) | (mode_t) (d->mode & 0777);
    if (mknodat(dev, node_name, mode, makedev(d->major, d->minor)) < 0)
        return err_set(err, -errno, "make device %s", d->target);
    if (fchownat(dev, node_name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(err, -errno, "owner of device %s", d->target);
    int m = sys_open_tree(dev, node_name, OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);
    return m < 0 ? err_set(err, m, "clone device %s", d->target) : m;
}

static int put_device(struct child *c, int dev, const Orlop__SandboxDevice *d, struct err *err) {
    auto_fd int target = mounts__open_or_make(c->root, d->target, true, err);
    if (target < 0) return target;
    int r = mounts__check_target(c, target, d->target, err);
    if (r < 0) return r;
    auto_fd int node = make_node(dev, d, err);
    if (node < 0) return node;
    r = mounts__move(node, target, err);
    if (r < 0) return err_wrap(err, r, "device %s", d->target);
    /* Only now: what has no name cannot be moved to its place. */
    return unlinkat(dev, node_name, 0) < 0 ? err_set(err, -errno, "name of a device") : 0;
}

/* --- privileged: all that the host has --- */

enum { DEPTH_MAX = 3, ENTRIES_BYTES = 2048 };

struct entry { /* of getdents64(2) */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static int copy_all(int from, int to, dev_t fs, unsigned depth, struct err *err);

/* What the container has of this name is its own. Other file systems (pts, shm) are no devices. */
static int copy_one(int from, int to, const char *name, dev_t fs, unsigned depth, struct err *err) {
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0; /* it has gone meanwhile */
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        if (mknodat(to, name, st.st_mode & (S_IFMT | 0777), st.st_rdev) < 0)
            return errno == EEXIST ? 0 : err_set(err, -errno, "make device %s", name);
        if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
            return err_set(err, -errno, "owner of device %s", name);
    }
    if (!S_ISDIR(st.st_mode) || st.st_dev != fs || depth == DEPTH_MAX || *name == '.') return 0;
    if (mkdirat(to, name, 0755) < 0)
        return errno == EEXIST ? 0 : err_set(err, -errno, "make /dev/%s", name);
    auto_fd int below = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    auto_fd int made = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below < 0 || made < 0) return err_set(err, -errno, "open /dev/%s", name);
    return copy_all(below, made, fs, depth + 1, err);
}

static int copy_all(int from, int to, dev_t fs, unsigned depth, struct err *err) {
    _Alignas(struct entry) char buf[ENTRIES_BYTES];
    int r = 0;
    for (;;) {
        long n = syscall(SYS_getdents64, from, buf, sizeof buf);
        if (n < 0) return err_set(err, -errno, "read the host's /dev");
        if (n == 0) return 0;
        for (long at = 0; r == 0 && at < n;) {
            const struct entry *e = (const struct entry *) (const void *) (buf + at);
            r = copy_one(from, to, e->name, fs, depth, err);
            at += e->length;
        }
        if (r < 0) return r;
    }
}

static int copy_host(int dev, struct err *err) {
    struct stat st;
    auto_fd int host = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (host < 0 || fstat(host, &st) < 0) return err_set(err, -errno, "the host's /dev");
    return copy_all(host, dev, st.st_dev, 0, err);
}

int devices__apply(struct child *c, struct err *err) {
    if (!c->spec->n_devices && !c->spec->privileged) return 0;
    auto_fd int dev = mounts__plain_folder(c->root, "dev", err);
    int r = dev < 0 ? dev : 0;
    if (r == 0 && c->spec->privileged) r = copy_host(dev, err);
    for (size_t i = 0; r == 0 && i < c->spec->n_devices; i++)
        r = put_device(c, dev, c->spec->devices[i], err);
    return r;
}
