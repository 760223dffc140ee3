// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/mem.h"

enum { BLOCK = 64 << 10 };

struct image_tar {
    struct archive *reader;
    struct image_stream *stream; /* or, NULL: */
    int fd;
    uint64_t start, position, size; /* of the file */
    locale_t c_locale;
    int source_code; /* what the source said: it goes before libarchive's view of it */
    struct err source_err;
    unsigned char block[BLOCK];
};

static la_ssize_t source_read(struct archive *a, void *ctx, const void **ret) {
    struct image_tar *t = ctx;
    ssize_t n = -EINTR;
    if (t->stream) n = image__stream_read(t->stream, t->block, sizeof t->block, &t->source_err);
    while (!t->stream && n == -EINTR) {
        n = pread(t->fd, t->block, sizeof t->block, (off_t) t->position);
        if (n < 0) n = -errno;
        if (n < 0 && n != -EINTR) (void) err_set(&t->source_err, (int) n, "read the archive");
    }
    if (n < 0) {
        t->source_code = (int) n;
        archive_set_error(a, -(int) n, "read");
        return -1;
    }
    t->position += (uint64_t) n;
    *ret = t->block;
    return n;
}

/* Members that are not wanted are not read. Never past the end: a member that is cut off must be
 * seen as such by the read that follows. */
static la_int64_t source_skip(struct archive *a, void *ctx, la_int64_t n) {
    (void) a;
    struct image_tar *t = ctx;
    if (t->stream || n < 0 || t->position >= t->size) return 0;
    uint64_t rest = t->size - t->position;
    uint64_t skip = (uint64_t) n < rest ? (uint64_t) n : rest;
    t->position += skip;
    return (la_int64_t) skip;
}

static int tar_error(struct image_tar *t, struct err *err) {
    if (t->source_code) {
        if (err) *err = t->source_err;
        return t->source_code;
    }
    if (archive_errno(t->reader) == ENOMEM) return err_set(err, -ENOMEM, "read the archive");
    const char *why = archive_error_string(t->reader);
    return err_set(err, -EBADMSG, "not a valid tar archive: %.120s", why ? why : "damaged");
}

static int tar_new(struct image_stream *s, int fd, uint64_t offset, struct image_tar **ret,
                   struct err *err) {
    auto_tar struct image_tar *t = mem_alloc(sizeof *t);
    if (!t) return err_set(err, -ENOMEM, "read the archive");
    memset(t, 0, offsetof(struct image_tar, block));
    t->stream = s;
    t->fd = fd;
    t->start = t->position = offset;
    struct stat st;
    if (!s && fstat(fd, &st) < 0) return err_set(err, -errno, "read the archive");
    if (!s) t->size = (uint64_t) st.st_size;
    t->c_locale = newlocale(LC_CTYPE_MASK, "C", (locale_t) 0);
    t->reader = archive_read_new();
    if (!t->reader || !t->c_locale) return err_set(err, -ENOMEM, "read the archive");
    if (archive_read_support_format_tar(t->reader) != ARCHIVE_OK ||
        archive_read_set_read_callback(t->reader, source_read) != ARCHIVE_OK ||
        archive_read_set_skip_callback(t->reader, source_skip) != ARCHIVE_OK ||
        archive_read_set_callback_data(t->reader, t) != ARCHIVE_OK ||
        archive_read_open1(t->reader) != ARCHIVE_OK)
        return tar_error(t, err);
    *ret = steal_ptr(&t);
    return 0;
}

int image__tar_from_stream(struct image_stream *s, struct image_tar **ret, struct err *err) {
    return tar_new(s, -1, 0, ret, err);
}

int image__tar_from_file(int fd, uint64_t offset, struct image_tar **ret, struct err *err) {
    return tar_new(NULL, fd, offset, ret, err);
}

void image__tar_free(struct image_tar *t) {
    if (!t) return;
    (void) archive_read_free(t->reader); /* read side: nothing can be lost */
    if (t->c_locale) freelocale(t->c_locale);
    mem_free(t);
}

/* Of the block with blanks in the checksum's place; old writers added signed bytes. */
bool image__tar_is_header(const unsigned char block[static IMAGE_TAR_BLOCK]) {
    enum { AT = 148, LEN = 8 };
    int want = 0, sum = LEN * ' ', sum_signed = LEN * ' ';
    size_t i = AT;
    while (i < AT + LEN && block[i] == ' ') i++;
    while (i < AT + LEN && block[i] >= '0' && block[i] <= '7') want = want * 8 + block[i++] - '0';
    for (i = 0; i < IMAGE_TAR_BLOCK; i++) {
        if (i >= AT && i < AT + LEN) continue;
        sum += block[i];
        sum_signed += (signed char) block[i];
    }
    return want == sum || want == sum_signed;
}

/* In the C locale every name beyond ASCII in an extended header is "not convertible": libarchive
 * then hands out the bytes themselves, which is what is wanted. */
static bool harmless(struct archive *a) {
    const char *why = archive_error_string(a);
    return why && strstr(why, "can't be converted from UTF-8") != NULL;
}

int image__tar_next(struct image_tar *t, struct archive_entry **ret, struct err *err) {
    locale_t old = uselocale(t->c_locale);
    int r = archive_read_next_header(t->reader, ret);
    (void) uselocale(old);
    if (r == ARCHIVE_EOF) return 0;
    if (r == ARCHIVE_OK || (r == ARCHIVE_WARN && harmless(t->reader))) return 1;
    return tar_error(t, err);
}

int image__tar_data(struct image_tar *t, const void **ret, size_t *ret_n, uint64_t *ret_offset,
                    struct err *err) {
    la_int64_t offset = 0;
    int r = archive_read_data_block(t->reader, ret, ret_n, &offset);
    if (r == ARCHIVE_EOF) return 0;
    if (r != ARCHIVE_OK) return tar_error(t, err);
    if (offset < 0) return err_set(err, -EBADMSG, "not a valid tar archive: negative offset");
    *ret_offset = (uint64_t) offset;
    return 1;
}

uint64_t image__tar_position(const struct image_tar *t) {
    la_int64_t at = archive_read_header_position(t->reader);
    return t->start + (at > 0 ? (uint64_t) at : 0);
}
