// SPDX-License-Identifier: Apache-2.0
#include "agent/storelog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { MAGIC = 0x314c4f53 /* "SOL1" */, HEADER_BYTES = 12 };

struct header {
    uint32_t magic, len, crc; /* crc covers len and the bytes */
};
_Static_assert(sizeof(struct header) == HEADER_BYTES, "header is written as it is in memory");

static uint32_t crc_add(uint32_t crc, const void *data, size_t len) {
    /* CRC-32C (Castagnoli), four bits at a time. */
    static const uint32_t step[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *p = data;
    while (len--) {
        crc ^= *p++;
        crc = (crc >> 4) ^ step[crc & 15];
        crc = (crc >> 4) ^ step[crc & 15];
    }
    return crc;
}

uint32_t storelog_crc32c(const void *data, size_t len) {
    return ~crc_add(~0U, data, len);
}

static struct header make_header(const void *data, size_t len) {
    struct header h = {.magic = MAGIC, .len = (uint32_t) len};
    h.crc = ~crc_add(crc_add(~0U, &h.len, sizeof h.len), data, len);
    return h;
}

/* Length of the whole record at AT, 0 = there is none. */
static size_t record_at(const char *file, size_t size, size_t at) {
    struct header h;
    if (size - at < HEADER_BYTES) return 0;
    memcpy(&h, file + at, sizeof h);
    if (h.magic != MAGIC || h.len > STORELOG_RECORD_MAX || h.len > size - at - HEADER_BYTES)
        return 0;
    struct header want = make_header(file + at + HEADER_BYTES, h.len);
    return want.crc == h.crc ? HEADER_BYTES + (size_t) h.len : 0;
}

static bool any_record_after(const char *file, size_t size, size_t at) {
    static const uint32_t magic = MAGIC;
    while (at < size) {
        const char *hit = memmem(file + at, size - at, &magic, sizeof magic);
        if (!hit) return false;
        at = (size_t) (hit - file);
        if (record_at(file, size, at)) return true;
        at++;
    }
    return false;
}

static int load(struct storelog *l, const char *file, size_t size, storelog_cb cb, void *ctx,
                struct err *err) {
    size_t at = 0;
    while (at < size) {
        size_t n = record_at(file, size, at);
        if (!n) break;
        int r = cb(ctx, (const uint8_t *) file + at + HEADER_BYTES, n - HEADER_BYTES, err);
        if (r < 0) return err_wrap(err, r, "%s, record at byte %zu", l->name, at);
        at += n;
    }
    if (at < size && any_record_after(file, size, at + 1))
        return err_say(err, -EBADMSG, "%s is damaged at byte %zu and has whole records behind it",
                       l->name, at);
    l->end = at;
    return 0;
}

int storelog_open(struct storelog *l, int dirfd, const char *name, storelog_cb cb, void *ctx,
                  uint64_t *ret_torn, struct err *err) {
    struct storelog new = {.dirfd = dirfd, .name = name};
    auto_fd int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return err_set(err, -errno, "open %s", name);
    auto_free char *file = NULL;
    size_t size = 0;
    int r = fd_read_file(dirfd, name, STORELOG_FILE_MAX, &file, &size);
    if (r < 0) return err_set(err, r, "read %s", name);
    r = load(&new, file, size, cb, ctx, err);
    if (r < 0) return r;
    if (new.end < size && (ftruncate(fd, (off_t) new.end) < 0 || fsync(fd) < 0))
        return err_set(err, -errno, "cut the torn end off %s", name);
    if (size == 0 && fsync(dirfd) < 0)
        return err_set(err, -errno, "sync the directory of %s", name);
    *ret_torn = size - new.end;
    new.fd = steal_fd(&fd);
    *l = new;
    return 0;
}

void storelog_close(struct storelog *l) {
    fd_close(&l->fd);
}

static int write_at(int fd, const void *data, size_t len, uint64_t at) {
    const char *p = data;
    while (len) {
        ssize_t w = pwrite(fd, p, len, (off_t) at);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return -errno;
        p += w;
        at += (uint64_t) w;
        len -= (size_t) w;
    }
    return 0;
}

int storelog_append(struct storelog *l, const void *data, size_t len, bool sync, struct err *err) {
    if (len > STORELOG_RECORD_MAX || l->end + HEADER_BYTES + len > STORELOG_FILE_MAX)
        return err_set(err, -EFBIG, "%s would grow over its limit", l->name);
    struct header h = make_header(data, len);
    int r = write_at(l->fd, &h, sizeof h, l->end);
    if (r == 0) r = write_at(l->fd, data, len, l->end + HEADER_BYTES);
    if (r == 0 && sync && fdatasync(l->fd) < 0) r = -errno;
    if (r < 0) {
        int cut = ftruncate(l->fd, (off_t) l->end);
        (void) cut; /* best effort: a torn end is recognised as such */
        return err_set(err, r, "write %s", l->name);
    }
    l->end += HEADER_BYTES + len;
    return 0;
}

int storelog_frame(struct buf *b, const void *data, size_t len) {
    if (len > STORELOG_RECORD_MAX) return -EFBIG;
    struct header h = make_header(data, len);
    int r = buf_add(b, &h, sizeof h);
    return r < 0 ? r : buf_add(b, data, len);
}

int storelog_rewrite(struct storelog *l, const struct buf *records, struct err *err) {
    int r = fd_replace_file(l->dirfd, l->name, records->data, records->len, 0600);
    if (r < 0) return err_set(err, r, "rewrite %s", l->name);
    fd_close(
        &l->fd); /* the old file: when the new one can't be opened every append fails, loudly */
    l->fd = openat(l->dirfd, l->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (l->fd < 0) return err_set(err, -errno, "open %s", l->name);
    l->end = records->len;
    return 0;
}
