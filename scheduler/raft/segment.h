// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/segment.h - the bytes of raft's files, read as strictly as they were written.
 *
 * Role     says of a segment's bytes how far they are whole, and what lies behind: nothing, a write
 *          that a power loss cut short, or damage. raft 0.15 takes all three for the end of an open
 *          segment, and so loses what was acknowledged behind one flipped bit without a word.
 * Format   {u64 1}, then batches {u32 crc of the head, u32 crc of the data, head: u64 n, n times
 *          {u64 term, u8 type, 3 unused, u32 size}, data}. An open segment is zeros beforehand and
 *          is written front to back, one write at a time; sectors of 512 bytes are there or not.
 * Thread   [any]. Pure.
 * Limits   SEGMENT_BATCH_MAX entries a batch (store.c proposes 256).
 */
#ifndef ORLOP_SCHEDULER_SEGMENT_H
#define ORLOP_SCHEDULER_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

enum { SEGMENT_BATCH_MAX = 4096 };

enum segment_end {
    SEGMENT_WHOLE = 1, /* only zeros behind the last batch, and at least one word of them */
    SEGMENT_EXACT,     /* nothing behind the last batch: a closed segment */
    SEGMENT_TORN,      /* the last batch lacks sectors, nothing whole is behind it */
    SEGMENT_CUT,       /* the file ends within a batch */
    SEGMENT_DAMAGED,   /* bytes that raft never wrote */
};

struct segment {
    enum segment_end end;
    size_t size;
    uint64_t entries; /* in whole batches */
    size_t used;      /* offset behind the last whole batch, where END begins */
    size_t behind;    /* bytes from there to the last one that is not zero */
};

void segment_scan(const uint8_t *data, size_t size, struct segment *ret);

uint32_t segment_crc(const uint8_t *data, size_t size); /* as raft sums */

/* A snapshot's .meta: {u64 1, u64 crc of the rest, u64 index, u64 length, configuration}. */
must_use int segment_check_meta(const uint8_t *data, size_t size);

#endif
