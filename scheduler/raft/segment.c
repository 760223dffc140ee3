// SPDX-License-Identifier: Apache-2.0
#include "segment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/base/torn.h"

enum { WORD = 8, FORMAT = 1, SUMS = 8, HEAD_MIN = 24, ENTRY = 16, SIZE_AT = 12 };

uint32_t segment_crc(const uint8_t *p, size_t n) {
    /* CRC-32 as raft has it: 0x04c11db7, highest bit first, from 0; four bits at a time. */
    static const uint32_t step[16] = {
        0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc, 0x17c56b6b,
        0x1a864db2, 0x1e475005, 0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61,
        0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd,
    };
    uint32_t v = 0;
    while (n--) {
        v ^= (uint32_t) *p++ << 24;
        v = v << 4 ^ step[v >> 28];
        v = v << 4 ^ step[v >> 28];
    }
    return v;
}

static uint64_t word_at(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t half_at(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

struct span {
    const uint8_t *data;
    size_t size;
};

/* Bytes of the batch's sums and head at AT, as far as its count can be believed. */
static size_t head_size(const struct span *s, size_t at) {
    uint64_t n = s->size - at >= SUMS + WORD ? word_at(s->data + at + SUMS) : 0;
    if (n < 1 || n > SEGMENT_BATCH_MAX) n = 1;
    return SUMS + WORD + (size_t) n * ENTRY;
}

/* Is there a good head at AT? *ret_size of the whole batch, which may go beyond the file. */
static bool head_ok(const struct span *s, size_t at, size_t *ret_size, uint64_t *ret_n) {
    if (s->size - at < SUMS + HEAD_MIN) return false;
    size_t head = head_size(s, at);
    uint64_t n = word_at(s->data + at + SUMS);
    if (head > s->size - at || n != (head - SUMS - WORD) / ENTRY) return false;
    if (segment_crc(s->data + at + SUMS, head - SUMS) != half_at(s->data + at)) return false;
    size_t sum = head;
    for (uint64_t i = 0; i < n; i++)
        sum += half_at(s->data + at + SUMS + WORD + i * ENTRY + SIZE_AT);
    *ret_size = sum;
    *ret_n = n;
    return true;
}

/* Size of the whole batch at AT, 0 = there is none. */
static size_t batch_at(const struct span *s, size_t at, uint64_t *ret_n) {
    size_t size;
    if (!head_ok(s, at, &size, ret_n) || size > s->size - at) return 0;
    size_t head = head_size(s, at);
    return segment_crc(s->data + at + head, size - head) == half_at(s->data + at + SUMS / 2) ? size
                                                                                             : 0;
}

static bool any_batch_after(const struct span *s, size_t at) {
    uint64_t n;
    for (at += WORD; at < s->size; at += WORD)
        if (batch_at(s, at, &n)) return true;
    return false;
}

/* What is wrong with the batch at AT, which is not whole? */
static enum segment_end judge(const struct span *s, size_t at) {
    size_t size;
    uint64_t n;
    if (any_batch_after(s, at)) return SEGMENT_DAMAGED;
    if (!head_ok(s, at, &size, &n)) size = at ? head_size(s, at) : WORD;
    if (size > s->size - at) return SEGMENT_CUT;
    return torn_lacks_sector(s->data, at, at + size) ? SEGMENT_TORN : SEGMENT_DAMAGED;
}

static size_t trailing(const struct span *s, size_t from) {
    size_t end = s->size;
    while (end > from && !s->data[end - 1]) end--;
    return end - from;
}

void segment_scan(const uint8_t *data, size_t size, struct segment *ret) {
    const struct span s = {data, size};
    *ret = (struct segment){.size = size};
    if (size >= WORD && word_at(data) == FORMAT) {
        uint64_t n = 0;
        ret->used = WORD;
        for (size_t len; ret->used < size && (len = batch_at(&s, ret->used, &n));) {
            ret->used += len;
            ret->entries += n;
        }
    }
    ret->behind = trailing(&s, ret->used);
    if (ret->behind)
        ret->end = judge(&s, ret->used);
    else
        ret->end = ret->used && size - ret->used < WORD ? SEGMENT_EXACT : SEGMENT_WHOLE;
}

int segment_check_meta(const uint8_t *data, size_t size) {
    enum { SUM_AT = 8, BODY_AT = 16, LENGTH_AT = 24, CONF_AT = 32 };
    if (size < CONF_AT || word_at(data) != FORMAT) return -EBADMSG;
    if (word_at(data + LENGTH_AT) != size - CONF_AT) return -EBADMSG;
    return word_at(data + SUM_AT) == segment_crc(data + BODY_AT, size - BODY_AT) ? 0 : -EBADMSG;
}
