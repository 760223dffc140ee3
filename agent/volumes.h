// SPDX-License-Identifier: Apache-2.0
/* agent/volumes.h - the node's named volumes: STATE/volumes/NAME/{_data,app}.
 *
 * Role     make, fill from the image, list, remove. A volume is made under a temporary name and
 *          renamed, so that it is there whole or not at all; an anonymous one lies in its task's
 *          folder and goes with it.
 * Thread   [pool] but for volumes_name_ok.
 * Limits   VOLUMES_COPY_DEPTH levels; devices and sockets of the image are left out of a copy, like
 *          Docker.
 */
#ifndef ORLOP_AGENT_VOLUMES_H
#define ORLOP_AGENT_VOLUMES_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/str.h"

enum { VOLUMES_COPY_DEPTH = 128, VOLUMES_PATH_MAX = 512 };

bool volumes_name_ok(const char *name);

/* Make DIR/_data unless it is there. ROOT: the container's root (a detached mount's fd): what lies
 * below TARGET there is copied in when _data is empty, owner and mode of the folder itself too; -1
 * = copy nothing. APP "" = anonymous. */
must_use int volumes_make(const char *dir, const char *app, int root, const char *target,
                          struct err *err);

struct volumes_info {
    char *name, *app;
    int64_t created_unix_ms;
};
/* All of STATE/volumes. *ret is the caller's: volumes_infos_free. */
must_use int volumes_list(const char *volumes_dir, struct volumes_info **ret, size_t *ret_n,
                          struct err *err);
void volumes_infos_free(struct volumes_info *v, size_t n);

/* -ENOENT when it isn't there. The caller knows that no task uses it. */
must_use int volumes_remove(const char *volumes_dir, const char *name, struct err *err);

/* Copy the tree in FROM into TO (both directory fds), never leaving either, keeping owners, modes,
 * times, extended attributes. */
must_use int volumes_copy_tree(int from, int to, struct err *err);

#endif
