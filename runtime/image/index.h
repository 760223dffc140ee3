// SPDX-License-Identifier: Apache-2.0
/* runtime/image/index.h - the store's index.json: which images there are and under which names.
 *
 * Role     in memory a list of (digest, name); every digest has either one entry per name or
 *          exactly one without. Changes are made on a copy which is saved and then swapped in: what
 *          is in memory is what is on the disk.
 * Thread   one owner (the store's mutex).
 */
#ifndef ORLOP_IMAGE_INDEX_H
#define ORLOP_IMAGE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/str.h"
#include "runtime/image/digest.h"

struct image_entry {
    char hex[IMAGE_HEX_MAX]; /* of the manifest */
    uint64_t size;
    char type[128];
    char *name;   /* full; NULL = none */
    bool removed; /* wanted gone, but a task still used it: the next removal looks again */
};

struct image_index {
    struct image_entry *v;
    size_t n;
};

void image__index_fini(struct image_index *x);
must_use int image__index_copy(const struct image_index *x, struct image_index *ret);
must_use int image__index_load(int dirfd, struct image_index *ret, struct err *err);
must_use int image__index_save(int dirfd, const struct image_index *x, struct err *err);

/* NAME (NULL: none) now means this manifest. Another image of that name loses it, and stays. */
must_use int image__index_add(struct image_index *x, const char *hex, uint64_t size,
                              const char *type, const char *name);
/* Take the name from entry I; the image stays as one without name when it was the last. */
void image__index_untag(struct image_index *x, size_t i);
void image__index_drop(struct image_index *x, const char *hex); /* all entries of a manifest */

const struct image_entry *image__index_by_name(const struct image_index *x, const char *full);
const struct image_entry *image__index_by_hex(const struct image_index *x, const char *hex);
/* Hex digits that one manifest starts with. -ENOENT, -EEXIST (several). */
must_use int image__index_by_prefix(const struct image_index *x, const char *prefix,
                                    const struct image_entry **ret);

#endif
