// SPDX-License-Identifier: Apache-2.0
/* runtime/image/unpack.h - a layer's tar into an empty directory, as overlayfs wants a lower layer.
 *
 * Role     every name is resolved with openat2 inside the directory as if it were "/", so symlinks
 *          in the layer lead nowhere else; ".." is refused, a leading '/' means the layer's root.
 *          Of two entries with one name the later counts, as in every tar. Parents that the archive
 *          does not have are made 0755 root:root. Policy whiteouts (.wh.NAME, .wh..wh..opq) become
 *          what overlayfs understands: a character device 0/0 and trusted.overlay.opaque. Devices
 *          and FIFOs are made as the archive says: the store is 0700, and in a container the device
 *          cgroup decides (a container may mknod anyway). A device 0/0 is refused: it would be a
 *          whiteout in disguise. Extended attributes: security.capability, user.*,
 *          system.posix_acl_* are kept; security.selinux, .ima and .evm are labels of the machine
 *          that built the image and are left out; all others are refused, above all
 *          trusted.overlay.* and user.overlay.*, which would steer overlayfs. Set-user-id bits are
 *          kept: nobody but root reaches them outside a container.
 * Limits   see limits.h; the depth is that of the real directory, not of the name.
 * Thread   [pool]; needs root. The directory is private: nobody else changes it meanwhile.
 */
#ifndef ORLOP_IMAGE_UNPACK_H
#define ORLOP_IMAGE_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "runtime/base/err.h"
#include "runtime/image/limits.h"
#include "runtime/image/tar.h"

struct image_unpacked {
    uint64_t entries;
};

/* All entries of T below ROOT. After a failure ROOT holds a part: the caller removes it. */
must_use int image__unpack(int root, struct image_tar *t, struct image_budget *budget,
                           struct image_unpacked *ret, struct err *err);

/* Shared by unpack.c and unpack_node.c. */
struct image_unpack {
    int root;
    size_t root_depth; /* '/' in the root's own path */
    struct image_budget *budget;
    struct image_unpacked *result;

    /* The directory of the last entry stays open, and gets its times back when it is left. */
    int parent;
    bool parent_valid; /* parent_path still leads to it */
    struct timespec parent_times[2];
    char parent_path[IMAGE_PATH_BYTES_MAX + 1];
};

#define IMAGE_OPAQUE_XATTR "trusted.overlay.opaque"

/* The inode NAME in the directory PARENT for entry E, which is no hard link and no whiteout. */
must_use int image__unpack_node(struct image_unpack *u, struct image_tar *t,
                                struct archive_entry *e, const char *name, struct err *err);
/* Owner, mode, attributes and times of E onto the directory FD. */
must_use int image__unpack_dir_attributes(int fd, struct archive_entry *e, struct err *err);

#endif
