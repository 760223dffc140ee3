// SPDX-License-Identifier: Apache-2.0
#include "snapshot_frame.h"

#include <errno.h>
#include <string.h>

#include "runtime/base/str.h"

enum { MAGIC = 0x4f534e50, VERSION = 1 };

static uint64_t digest(uint64_t idx, const uint8_t *data, size_t len) {
    return str_hash(data, len) ^ str_hash(&idx, sizeof idx);
}

void snapshot_frame_fill(struct snapshot_frame *f, uint64_t idx, const uint8_t *data, size_t len) {
    *f = (struct snapshot_frame){MAGIC, VERSION, idx, len, digest(idx, data, len)};
}

int snapshot_frame_check(const uint8_t *buf, size_t len, struct snapshot_frame *ret) {
    struct snapshot_frame f;
    if (len < sizeof f) return -EBADMSG;
    memcpy(&f, buf, sizeof f);
    if (f.magic != MAGIC || f.version != VERSION || f.len != len - sizeof f) return -EBADMSG;
    if (f.hash != digest(f.idx, buf + sizeof f, (size_t) f.len)) return -EBADMSG;
    *ret = f;
    return 0;
}
