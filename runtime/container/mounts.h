// SPDX-License-Identifier: Apache-2.0
/* runtime/container/mounts.h - targets inside a container's root, and new mounts by descriptor.
 *
 * Thread   [child] no heap.
 */
#ifndef ORLOP_CONTAINER_MOUNTS_H
#define ORLOP_CONTAINER_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct mount_option { /* ends with a NULL key; a NULL value makes it a flag */
    const char *key, *value;
};

/* Open PATH in the container (O_PATH), making what is missing: folders, and a FILE at the end.
 * Symlinks are followed inside the root, dangling ones too. */
must_use int mounts__open_or_make(int root, const char *path, bool file, struct err *err);
/* A folder of ROOT itself, reached by no symlink; made when missing. NAME has no leading slash. */
must_use int mounts__plain_folder(int root, const char *name, struct err *err);
/* A new file system, mounted nowhere yet. */
must_use int mounts__new_fs(const char *fs, const struct mount_option *options, unsigned attributes,
                            struct err *err);
must_use int mounts__move(int mount, int target, struct err *err);
/* The three in one: a new FS on plain FOLDER; returns the mount. */
must_use int mounts__put(int root, const char *folder, const char *fs,
                         const struct mount_option *options, unsigned attributes, struct err *err);
uint64_t mounts__id(int fd); /* of the mount that FD is on; 0 = unknown */

#endif
