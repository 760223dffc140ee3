// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { BLOCK = 128 << 10, MAGIC_MAX = 4 };

struct image_stream {
    int fd;
    const struct image_budget *budget;
    struct archive *unpacker; /* NULL: not compressed */
    struct image_hash hash;
    uint64_t in_bytes, out_bytes;
    size_t peeked; /* bytes of block that were read to see the magic and not yet given out */
    int error;     /* of the read below the decompressor */
    unsigned char block[BLOCK];
};

/* libarchive's read callback. */
static la_ssize_t source_read(struct archive *a, void *ctx, const void **ret) {
    struct image_stream *s = ctx;
    ssize_t n = (ssize_t) s->peeked;
    s->peeked = 0;
    while (n == 0) {
        n = read(s->fd, s->block, sizeof s->block);
        if (n >= 0) break;
        n = errno == EINTR ? 0 : -1;
        if (n < 0) s->error = -errno;
    }
    if (n < 0) {
        archive_set_error(a, -s->error, "read");
        return -1;
    }
    s->in_bytes += (uint64_t) n;
    *ret = s->block;
    return n;
}

static int unpacker_error(struct image_stream *s, struct err *err) {
    if (s->error) return err_set(err, s->error, "read the archive");
    const char *why = archive_error_string(s->unpacker);
    if (archive_errno(s->unpacker) == ENOMEM) return err_set(err, -ENOMEM, "decompress");
    return err_set(err, -EBADMSG, "damaged compressed data: %.120s", why ? why : "unknown");
}

static int unpacker_open(struct image_stream *s, int filter, struct err *err) {
    struct archive_entry *e = NULL;
    s->unpacker = archive_read_new();
    if (!s->unpacker) return err_set(err, -ENOMEM, "decompress");
    if (archive_read_append_filter(s->unpacker, filter) != ARCHIVE_OK ||
        archive_read_support_format_raw(s->unpacker) != ARCHIVE_OK ||
        archive_read_support_format_empty(s->unpacker) != ARCHIVE_OK ||
        archive_read_open(s->unpacker, s, NULL, source_read, NULL) != ARCHIVE_OK)
        return unpacker_error(s, err);
    int r = archive_read_next_header(s->unpacker, &e);
    if (r == ARCHIVE_EOF) return 0; /* nothing was compressed: reads give 0 */
    return r == ARCHIVE_OK ? 0 : unpacker_error(s, err);
}

int image__stream_new(int fd, const struct image_budget *budget, struct image_stream **ret,
                      struct err *err) {
    static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    auto_stream struct image_stream *s = mem_alloc(sizeof *s);
    if (!s) return err_set(err, -ENOMEM, "archive");
    memset(s, 0, offsetof(struct image_stream, block));
    s->fd = fd;
    s->budget = budget;
    int r = image__hash_init(&s->hash);
    if (r < 0) return err_set(err, r, "archive");
    ssize_t n = fd_read_full(fd, s->block, MAGIC_MAX);
    if (n < 0) return err_set(err, (int) n, "read the archive");
    s->peeked = (size_t) n;
    if (n >= 2 && memcmp(s->block, gzip, sizeof gzip) == 0)
        r = unpacker_open(s, ARCHIVE_FILTER_GZIP, err);
    else if (n == 4 && memcmp(s->block, zstd, sizeof zstd) == 0)
        r = unpacker_open(s, ARCHIVE_FILTER_ZSTD, err);
    if (r < 0) return r;
    *ret = steal_ptr(&s);
    return 0;
}

void image__stream_free(struct image_stream *s) {
    if (!s) return;
    (void) archive_read_free(s->unpacker); /* read side: nothing can be lost */
    image__hash_fini(&s->hash);
    mem_free(s);
}

static ssize_t plain_read(struct image_stream *s, void *buf, size_t n, struct err *err) {
    if (s->peeked) {
        size_t k = s->peeked < n ? s->peeked : n;
        memcpy(buf, s->block, k);
        memmove(s->block, s->block + k, s->peeked - k);
        s->peeked -= k;
        return (ssize_t) k;
    }
    for (;;) {
        ssize_t k = read(s->fd, buf, n);
        if (k >= 0) return k;
        if (errno != EINTR) return err_set(err, -errno, "read the archive");
    }
}

static ssize_t unpacked_read(struct image_stream *s, void *buf, size_t n, struct err *err) {
    la_ssize_t k = archive_read_data(s->unpacker, buf, n);
    if (k < 0) return unpacker_error(s, err);
    const struct image_limits *l = &s->budget->left;
    uint64_t out = s->out_bytes + (uint64_t) k;
    if (out > l->ratio_free && out - l->ratio_free > s->in_bytes * l->ratio)
        return err_say(err, -EFBIG, "compressed data expands more than %llu times",
                       (unsigned long long) l->ratio);
    return k;
}

ssize_t image__stream_read(struct image_stream *s, void *buf, size_t n, struct err *err) {
    ssize_t k = s->unpacker ? unpacked_read(s, buf, n, err) : plain_read(s, buf, n, err);
    if (k <= 0) return k;
    s->out_bytes += (uint64_t) k;
    int r = image__hash_add(&s->hash, buf, (size_t) k);
    return r < 0 ? err_set(err, r, "hash the archive") : k;
}

int image__stream_end(struct image_stream *s, uint64_t max, char ret_hex[static IMAGE_HEX_MAX],
                      struct err *err) {
    unsigned char scrap[8192];
    for (;;) {
        ssize_t n = image__stream_read(s, scrap, sizeof scrap, err);
        if (n < 0) return (int) n;
        if (n == 0) break;
        if ((uint64_t) n > max)
            return err_say(err, -EFBIG, "too much data behind the end of the archive");
        max -= (uint64_t) n;
    }
    int r = image__hash_end(&s->hash, ret_hex);
    return r < 0 ? err_set(err, r, "hash the archive") : 0;
}
