// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/snapshot_frame.h - a checksum and the index around a snapshot's bytes, because
 * raft 0.15 hands a damaged snapshot on as it is.
 *
 * Thread   [any].
 */
#ifndef ORLOP_SCHEDULER_SNAPSHOT_FRAME_H
#define ORLOP_SCHEDULER_SNAPSHOT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct snapshot_frame {
    uint32_t magic; /* "OSNP" */
    uint32_t version;
    uint64_t idx;
    uint64_t len;
    uint64_t hash; /* FNV-1a of the bytes and of IDX: against damage, not against malice */
};

void snapshot_frame_fill(struct snapshot_frame *f, uint64_t idx, const uint8_t *data, size_t len);
/* BUF starts with a frame. -EBADMSG when anything does not fit. */
must_use int snapshot_frame_check(const uint8_t *buf, size_t len, struct snapshot_frame *ret);

#endif
