// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/statvfs.h>

enum { LOOK_BYTES = 16 << 20, ENTRY_COST = 4096 };

const struct image_limits image__limits_default = {
    .bytes = UINT64_C(64) << 30,
    .entries = 2000000,
    .ratio = 200,
    .ratio_free = UINT64_C(256) << 20,
    .reserve_bytes = UINT64_C(256) << 20,
    .reserve_inodes = 10000,
};

void image__budget_init(struct image_budget *b, const struct image_limits *l, int fs) {
    *b = (struct image_budget){.left = *l, .fs = fs};
}

/* Every LOOK_BYTES: would what is left on the disk still be ours to take? File systems without a
 * fixed number of inodes say 0 for all of them. */
static int look(struct image_budget *b, uint64_t n, struct err *err) {
    b->since_look += n;
    if (b->since_look < LOOK_BYTES) return 0;
    b->since_look = 0;
    struct statvfs v;
    if (fstatvfs(b->fs, &v) < 0) return err_set(err, -errno, "look at the image store's disk");
    uint64_t available = (uint64_t) v.f_bavail * v.f_frsize;
    if (available < b->left.reserve_bytes)
        return err_set(err, -ENOSPC, "image store: %" PRIu64 " MiB are left on its disk",
                       available >> 20);
    if (v.f_files && v.f_favail < b->left.reserve_inodes)
        return err_set(err, -ENOSPC, "image store: %" PRIu64 " inodes are left on its disk",
                       (uint64_t) v.f_favail);
    return 0;
}

int image__budget_bytes(struct image_budget *b, uint64_t n, struct err *err) {
    if (n > b->left.bytes)
        return err_say(err, -EFBIG, "the image unpacks to more than the limit for one import");
    b->left.bytes -= n;
    return look(b, n, err);
}

int image__budget_entry(struct image_budget *b, struct err *err) {
    if (b->left.entries == 0)
        return err_say(err, -EFBIG, "the image has more files than the limit for one import");
    b->left.entries--;
    return look(b, ENTRY_COST, err);
}
