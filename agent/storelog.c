// SPDX-License-Identifier: Apache-2.0
#include "agent/storelog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/torn.h"

enum { MAGIC = 0x324c4f53 /* "SOL2" */, HEADER_BYTES = 16, GROW = 64 << 10 };

struct header {
    uint32_t magic, len, crc;
    uint32_t check; /* of the three before it: LEN can be believed though the bytes are torn */
};
static const char zeros[HEADER_BYTES]; /* always behind the last record */
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
    h.crc = storelog_crc32c(data, len);
    h.check = storelog_crc32c(&h, offsetof(struct header, check));
    return h;
}

static bool header_at(const char *file, size_t size, size_t at, struct header *ret) {
    if (size - at < HEADER_BYTES) return false;
    memcpy(ret, file + at, sizeof *ret);
    return ret->magic == MAGIC && ret->len <= STORELOG_RECORD_MAX &&
           ret->check == storelog_crc32c(ret, offsetof(struct header, check));
}

/* Length of the whole record at AT, 0 = there is none. */
static size_t record_at(const char *file, size_t size, size_t at) {
    struct header h;
    if (!header_at(file, size, at, &h) || h.len > size - at - HEADER_BYTES) return 0;
    bool whole = h.crc == storelog_crc32c(file + at + HEADER_BYTES, h.len);
    return whole ? HEADER_BYTES + (size_t) h.len : 0;
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

/* AT is behind the last whole record, and not all zero from there on. 0: a torn write. */
static int judge(const char *file, size_t size, size_t at) {
    struct header h;
    if (any_record_after(file, size, at + 1)) return -EBADMSG;
    size_t need = header_at(file, size, at, &h) ? HEADER_BYTES + (size_t) h.len : HEADER_BYTES;
    if (need > size - at) return -ENODATA;
    return torn_lacks_sector(file, at, at + need) ? 0 : -EBADMSG;
}

static int load(struct storelog *l, const char *file, size_t size, storelog_cb cb, void *ctx,
                uint64_t *ret_torn, struct err *err) {
    size_t at = 0;
    for (size_t n; at < size && (n = record_at(file, size, at)); at += n) {
        int r = cb(ctx, (const uint8_t *) file + at + HEADER_BYTES, n - HEADER_BYTES, err);
        if (r < 0) return err_wrap(err, r, "%s, record at byte %zu", l->name, at);
    }
    l->end = at;
    l->size = size;
    *ret_torn = 0;
    int r = size - at < HEADER_BYTES ? -ENODATA : 0; /* its end is not there */
    if (r == 0 && !torn_is_zero(file + at, size - at)) {
        r = judge(file, size, at);
        for (size_t end = size; !*ret_torn; end--)
            if (file[end - 1]) *ret_torn = end - at;
    }
    if (r == 0) return 0;
    return err_say(err, -EBADMSG, "%s is %s at byte %zu", l->name,
                   r == -ENODATA ? "cut off" : "damaged", at);
}

/* Zero again from END on, as if nothing had been written there. */
static int clear_end(const struct storelog *l) {
    if (ftruncate(l->fd, (off_t) l->end) < 0) return -errno;
    return ftruncate(l->fd, (off_t) l->size) < 0 ? -errno : 0;
}

static int make_new(int dirfd, const char *name) {
    auto_free char *empty = mem_zalloc(GROW);
    return empty ? fd_replace_file(dirfd, name, empty, GROW, 0600) : -ENOMEM;
}

static int open_file(int dirfd, const char *name, int *ret, struct err *err) {
    int r = faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    if (r == -ENOENT) r = make_new(dirfd, name);
    if (r < 0) return err_set(err, r, "make %s", name);
    *ret = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return *ret < 0 ? err_set(err, -errno, "open %s", name) : 0;
}

int storelog_open(struct storelog *l, int dirfd, const char *name, storelog_cb cb, void *ctx,
                  uint64_t *ret_torn, struct err *err) {
    struct storelog new = {.dirfd = dirfd, .fd = -1, .name = name};
    auto_fd int fd = -1;
    int r = open_file(dirfd, name, &fd, err);
    if (r < 0) return r;
    auto_free char *file = NULL;
    size_t size = 0;
    r = fd_read_file(dirfd, name, STORELOG_FILE_MAX, &file, &size);
    if (r < 0) return err_set(err, r, "read %s", name);
    r = load(&new, file, size, cb, ctx, ret_torn, err);
    if (r < 0) return r;
    new.fd = fd;
    if (*ret_torn && ((r = clear_end(&new)) < 0 || fsync(fd) < 0))
        return err_set(err, r < 0 ? r : -errno, "undo the torn end of %s", name);
    fd = -1;
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

static int make_room(struct storelog *l, size_t len) {
    uint64_t need = l->end + HEADER_BYTES + len + HEADER_BYTES;
    if (need <= l->size) return 0;
    uint64_t size = (need + GROW - 1) / GROW * GROW;
    if (ftruncate(l->fd, (off_t) size) < 0) return -errno;
    l->size = size;
    return 0;
}

int storelog_append(struct storelog *l, const void *data, size_t len, bool sync, struct err *err) {
    if (len > STORELOG_RECORD_MAX || l->end + len + GROW > STORELOG_FILE_MAX)
        return err_set(err, -EFBIG, "%s would grow over its limit", l->name);
    struct header h = make_header(data, len);
    int r = make_room(l, len);
    if (r == 0) r = write_at(l->fd, &h, sizeof h, l->end);
    if (r == 0) r = write_at(l->fd, data, len, l->end + HEADER_BYTES);
    if (r == 0 && sync && fdatasync(l->fd) < 0) r = -errno;
    if (r < 0) {
        int cleared = clear_end(l);
        (void) cleared; /* best effort: a torn end is recognised as such */
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

int storelog_rewrite(struct storelog *l, struct buf *records, struct err *err) {
    size_t end = records->len;
    int r = buf_add(records, zeros, sizeof zeros);
    if (r == 0) r = fd_replace_file(l->dirfd, l->name, records->data, records->len, 0600);
    if (r < 0) return err_set(err, r, "rewrite %s", l->name);
    fd_close(
        &l->fd); /* the old file: when the new one can't be opened every append fails, loudly */
    l->fd = openat(l->dirfd, l->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (l->fd < 0) return err_set(err, -errno, "open %s", l->name);
    l->end = end;
    l->size = records->len;
    return 0;
}
