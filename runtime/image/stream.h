// SPDX-License-Identifier: Apache-2.0
/* runtime/image/stream.h - bytes of a file or pipe, decompressed and hashed while they go by.
 *
 * Role     gzip and zstd (exactly one layer of it) are told by their magic numbers, anything else
 *          goes through as it is. The hash is that of what comes out: the diff id of a layer.
 * Limits   image_limits.ratio of the budget: a compressed byte may give only so much. The budget's
 *          bytes are the caller's to take. zstd windows above 128 MiB are refused (libarchive).
 * Thread   [pool], one owner.
 */
#ifndef ORLOP_IMAGE_STREAM_H
#define ORLOP_IMAGE_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/err.h"
#include "runtime/image/digest.h"
#include "runtime/image/limits.h"

struct image_stream;

/* Reads FD (borrowed) from where it stands. BUDGET is borrowed until the stream is freed. */
must_use int image__stream_new(int fd, const struct image_budget *budget, struct image_stream **ret,
                               struct err *err);
void image__stream_free(struct image_stream *s);

/* At most N bytes; 0 = the end. -EBADMSG: damaged data; -EFBIG: expands too much. */
must_use ssize_t image__stream_read(struct image_stream *s, void *buf, size_t n, struct err *err);

/* Read on to the end (at most MAX bytes more), then the hash of all that came out. */
must_use int image__stream_end(struct image_stream *s, uint64_t max,
                               char ret_hex[static IMAGE_HEX_MAX], struct err *err);

static inline void image__auto_stream(struct image_stream **s) {
    image__stream_free(*s);
}
#define auto_stream __attribute__((cleanup(image__auto_stream)))

#endif
