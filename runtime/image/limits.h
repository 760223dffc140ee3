// SPDX-License-Identifier: Apache-2.0
/* runtime/image/limits.h - what an archive from outside may cost.
 *
 * Role     one struct image_budget goes with an import; whatever writes to the disk takes from it
 *          first. It counts what comes out of the decompressors, never what goes in, and looks at
 *          the file system now and then, so that an import ends before the disk does.
 * Thread   [pool], one owner.
 */
#ifndef ORLOP_IMAGE_LIMITS_H
#define ORLOP_IMAGE_LIMITS_H

#include <stdint.h>

#include "runtime/base/err.h"

enum {
    IMAGE_JSON_MAX = 4 << 20,
    IMAGE_JSON_DEPTH_MAX = 64,
    IMAGE_LAYERS_MAX = 127,
    IMAGE_IMAGES_MAX = 256,      /* in one archive */
    IMAGE_INDEX_DEPTH_MAX = 4,   /* an index in an index ... */
    IMAGE_MEMBERS_MAX = 8192,    /* of an OCI layout or docker archive */
    IMAGE_PATH_BYTES_MAX = 4095, /* in a layer */
    IMAGE_NAME_BYTES_MAX = 255,
    IMAGE_DEPTH_MAX = 128,
    IMAGE_XATTR_BYTES_MAX = 64 << 10, /* one value */
    IMAGE_XATTRS_MAX = 64,            /* of one entry */
};

struct image_limits {
    uint64_t bytes;         /* unpacked by one import */
    uint64_t entries;       /* made by one import */
    uint64_t ratio;         /* output bytes a compressed byte may give ... */
    uint64_t ratio_free;    /* ... above this much output */
    uint64_t reserve_bytes; /* left free on the disk */
    uint64_t reserve_inodes;
};

/* What a store uses unless told otherwise. */
extern const struct image_limits image__limits_default;

struct image_budget {
    struct image_limits left; /* bytes and entries go down */
    int fs;                   /* borrowed: any descriptor on the store's file system */
    uint64_t since_look;
};

void image__budget_init(struct image_budget *b, const struct image_limits *l, int fs);
must_use int image__budget_bytes(struct image_budget *b, uint64_t n, struct err *err);
must_use int image__budget_entry(struct image_budget *b, struct err *err);

#endif
