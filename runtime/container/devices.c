// SPDX-License-Identifier: Apache-2.0
/* Devices of the node in the container: nodes of its own, so that a chmod inside stays inside. Each
 * is made in the container's /dev, cloned as a mount, and the clone laid over its target: nothing
 * of it comes to the layers on disk. What may be opened, and how, is the cgroup's business. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/stat.h>
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

int devices__apply(struct child *c, struct err *err) {
    if (!c->spec->n_devices) return 0;
    auto_fd int dev = mounts__plain_folder(c->root, "dev", err);
    int r = dev < 0 ? dev : 0;
    for (size_t i = 0; r == 0 && i < c->spec->n_devices; i++)
        r = put_device(c, dev, c->spec->devices[i], err);
    return r;
}
