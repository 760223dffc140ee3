// SPDX-License-Identifier: Apache-2.0
/* runtime/image/bundle.h - a tar file used as a set of named members, in any order.
 *
 * Role     OCI layouts and docker archives keep their documents anywhere in the tar: one pass notes
 *          where each member is, then members are read by name. Symlinks between members (docker
 *          archives have them for shared layers) are followed by name, never on a file system.
 * Limits   IMAGE_MEMBERS_MAX members; beyond that the bundle says `overflow`, and it can only be a
 *          root file system. Two members of one name are refused.
 * Thread   [pool], one owner.
 */
#ifndef ORLOP_IMAGE_BUNDLE_H
#define ORLOP_IMAGE_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/map.h"
#include "runtime/image/digest.h"
#include "runtime/image/limits.h"

struct image_bundle {
    int fd;             /* borrowed */
    struct map members; /* clean name -> struct member */
    bool overflow, empty;
    char duplicate[IMAGE_NAME_BYTES_MAX + 1]; /* "" = none */
};

must_use int image__bundle_init(struct image_bundle *b, int fd, struct err *err);
void image__bundle_fini(struct image_bundle *b);

bool image__bundle_has(const struct image_bundle *b, const char *name); /* a regular file */

/* The whole member, at most MAX bytes, NUL behind it; mem_free. -ENOENT, -EFBIG. */
must_use int image__bundle_read(const struct image_bundle *b, const char *name, size_t max,
                                char **ret, size_t *ret_n, struct err *err);

/* Write the member to OUT_FD; its size and hash. BUDGET gives the bytes. */
must_use int image__bundle_copy(const struct image_bundle *b, const char *name, int out_fd,
                                struct image_budget *budget, uint64_t *ret_n,
                                char ret_hex[static IMAGE_HEX_MAX], struct err *err);

#endif
