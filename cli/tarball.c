// SPDX-License-Identifier: Apache-2.0
#include "tarball.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { COPY_CHUNK = 256 << 10 };

struct writing {
    struct archive *disk, *tar;
    struct archive_entry_linkresolver *links;
    const char *dir;
    size_t skip; /* of each path: the directory's name */
    char *chunk;
    struct err *err;
};

static int code_of(struct archive *a) {
    int e = archive_errno(a);
    return e > 0 && e < 4096 ? -e : -EIO;
}

static int disk_failed(struct writing *w, const char *path) {
    return err_say(w->err, code_of(w->disk), "read %s: %s", path, archive_error_string(w->disk));
}

static int tar_failed(struct writing *w, const char *path) {
    return err_say(w->err, code_of(w->tar), "pack %s: %s", path, archive_error_string(w->tar));
}

static int copy_content(struct writing *w, struct archive_entry *e) {
    const char *path = archive_entry_sourcepath(e);
    auto_fd int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return err_set(w->err, -errno, "open %s", path);
    int64_t left = archive_entry_size(e);
    while (left > 0) {
        size_t want = left < COPY_CHUNK ? (size_t) left : COPY_CHUNK;
        ssize_t n = fd_read_full(fd, w->chunk, want);
        if (n < 0) return err_set(w->err, (int) n, "read %s", path);
        if ((size_t) n < want)
            return err_say(w->err, -EAGAIN, "%s became shorter while it was read", path);
        if (archive_write_data(w->tar, w->chunk, (size_t) n) < 0) return tar_failed(w, path);
        left -= n;
    }
    return 0;
}

static int write_entry(struct writing *w, struct archive_entry *e) {
    if (!e) return 0;
    if (archive_write_header(w->tar, e) < ARCHIVE_WARN)
        return tar_failed(w, archive_entry_pathname(e));
    bool content = archive_entry_filetype(e) == AE_IFREG && archive_entry_size(e) > 0 &&
                   !archive_entry_hardlink(e);
    return content ? copy_content(w, e) : 0;
}

/* Names inside the archive start below the directory; the directory itself is ".". */
static void rename_entry(const struct writing *w, struct archive_entry *e) {
    const char *path = archive_entry_pathname(e) + w->skip;
    while (*path == '/') path++;
    auto_free char *name = mem_strdup(*path ? path : ".");
    if (name) archive_entry_copy_pathname(e, name);
}

static int next_entry(struct writing *w, struct archive_entry *e) {
    int r = archive_read_next_header2(w->disk, e);
    if (r == ARCHIVE_EOF) return 0;
    const char *path = archive_entry_sourcepath(e);
    if (r < ARCHIVE_WARN) return disk_failed(w, path ? path : w->dir);
    if (archive_entry_filetype(e) == AE_IFDIR) (void) archive_read_disk_descend(w->disk);
    if (archive_entry_filetype(e) == AE_IFSOCK) return 1; /* means nothing in an image */
    rename_entry(w, e);
    struct archive_entry *later = NULL;
    archive_entry_linkify(w->links, &e, &later);
    r = write_entry(w, e);
    if (r == 0) r = write_entry(w, later);
    return r < 0 ? r : 1;
}

static int write_all(struct writing *w) {
    int r = 1;
    while (r > 0) {
        struct archive_entry *e = archive_entry_new();
        if (!e) return err_set(w->err, -ENOMEM, "pack");
        r = next_entry(w, e);
        archive_entry_free(e);
    }
    if (r == 0 && archive_write_close(w->tar) != ARCHIVE_OK) r = tar_failed(w, w->dir);
    return r;
}

static int open_both(struct writing *w, int fd) {
    if (!w->disk || !w->tar || !w->links || !w->chunk) return err_set(w->err, -ENOMEM, "pack");
    archive_read_disk_set_symlink_physical(w->disk);
    archive_read_disk_set_behavior(w->disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
    if (archive_read_disk_open(w->disk, w->dir) != ARCHIVE_OK) return disk_failed(w, w->dir);
    archive_entry_linkresolver_set_strategy(w->links, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
    if (archive_write_set_format_pax(w->tar) != ARCHIVE_OK ||
        archive_write_open_fd(w->tar, fd) != ARCHIVE_OK)
        return tar_failed(w, w->dir);
    return 0;
}

static void work(uv_work_t *req) {
    struct tarball *t = container_of(req, struct tarball, work);
    struct writing w = {.disk = archive_read_disk_new(),
                        .tar = archive_write_new(),
                        .links = archive_entry_linkresolver_new(),
                        .dir = t->dir,
                        .skip = strlen(t->dir),
                        .chunk = mem_alloc(COPY_CHUNK),
                        .err = &t->err};
    int r = open_both(&w, t->write_fd);
    if (r == 0) r = write_all(&w);
    if (w.links) archive_entry_linkresolver_free(w.links);
    if (r < 0 && w.tar) (void) archive_write_fail(w.tar);
    archive_write_free(w.tar);
    archive_read_free(w.disk);
    mem_free(w.chunk);
    fd_close(&t->write_fd); /* the reader sees the end only now */
}

static void after(uv_work_t *req, int status) {
    struct tarball *t = container_of(req, struct tarball, work);
    if (status < 0 && t->err.code == 0) t->err.code = status;
    t->done = true;
}

int tarball_start(struct tarball *t, uv_loop_t *loop, const char *dir) {
    int fds[2];
    *t = (struct tarball){.dir = dir, .read_fd = -1, .write_fd = -1};
    if (pipe2(fds, O_CLOEXEC) < 0) return -errno;
    t->read_fd = fds[0];
    t->write_fd = fds[1];
    int r = uv_queue_work(loop, &t->work, work, after);
    if (r == 0) return 0;
    fd_close(&t->read_fd);
    fd_close(&t->write_fd);
    return r;
}
