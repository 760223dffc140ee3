// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/log.h"

enum { STAGED_NAME_MAX = IMAGE_HEX_MAX + 2 };

static const char *staged(char kind, const char *hex, char buf[static STAGED_NAME_MAX]) {
    (void) snprintf(buf, STAGED_NAME_MAX, "%c.%s", kind, hex);
    return buf;
}

int image__stage_open(struct image_store *s, struct image_stage *ret, struct err *err) {
    struct image_stage g = {.store = s, .dir = -1};
    pthread_mutex_lock(&s->mutex);
    (void) snprintf(g.name, sizeof g.name, "%" PRIu64, s->next_stage++);
    pthread_mutex_unlock(&s->mutex);
    if (mkdirat(s->tmp, g.name, 0700) < 0 ||
        (g.dir = openat(s->tmp, g.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return err_set(err, -errno, "make %s/tmp/%s", s->path, g.name);
    *ret = g;
    return 0;
}

void image__stage_discard(struct image_stage *g) {
    if (g->dir < 0) return;
    fd_close(&g->dir);
    int r = fd_remove_tree(g->store->tmp, g->name);
    if (r < 0)
        log_debug("image.discard", "err=\"%s\"", err_text(r)); /* the next open clears tmp/ */
}

int image__stage_file(struct image_stage *g, const char *name, struct err *err) {
    int fd = openat(g->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? err_set(err, -errno, "make a file in the image store") : fd;
}

int image__stage_adopt(struct image_stage *g, const char *name, const char *hex, struct err *err) {
    char to[STAGED_NAME_MAX];
    if (renameat(g->dir, name, g->dir, staged('b', hex, to)) < 0)
        return err_set(err, -errno, "keep a blob in the image store");
    return 0;
}

int image__stage_document(struct image_stage *g, const char *text, size_t n,
                          char ret_hex[static IMAGE_HEX_MAX], struct err *err) {
    static const char part[] = "document";
    int r = image__hash_bytes(text, n, ret_hex);
    if (r < 0) return err_set(err, r, "hash a document");
    auto_fd int fd = image__stage_file(g, part, err);
    if (fd < 0) return fd;
    r = fd_write_all(fd, text, n);
    if (r < 0) return err_set(err, r, "write to the image store");
    return image__stage_adopt(g, part, ret_hex, err);
}

int image__stage_blob(struct image_stage *g, const char *hex) {
    char name[STAGED_NAME_MAX];
    int fd = openat(g->dir, staged('b', hex, name), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) fd = openat(g->store->blobs, hex, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int image__stage_open_layer(struct image_stage *g, const char *hex) {
    char name[STAGED_NAME_MAX];
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = openat(g->dir, staged('l', hex, name), flags);
    if (fd < 0 && errno == ENOENT) fd = openat(g->store->layers, hex, flags);
    return fd < 0 ? -errno : fd;
}

bool image__stage_has_layer(struct image_stage *g, const char *hex) {
    auto_fd int fd = image__stage_open_layer(g, hex);
    return fd >= 0;
}

int image__stage_layer(struct image_stage *g, const char *hex, struct err *err) {
    char name[STAGED_NAME_MAX];
    if (mkdirat(g->dir, staged('l', hex, name), 0755) < 0)
        return err_set(err, -errno, "make a layer");
    int fd = openat(g->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0755) < 0) { /* whatever the umask is */
        int r = err_set(err, -errno, "make a layer");
        fd_close(&fd);
        return r;
    }
    return fd;
}

/* One staged thing to its place. The same blob may be there already, which is as good; a layer that
 * is there may be in use and stays. */
static int move(struct image_stage *g, const char *name) {
    const char *hex = name + 2;
    if (name[0] == 'b') return renameat(g->dir, name, g->store->blobs, hex) < 0 ? -errno : 0;
    if (renameat2(g->dir, name, g->store->layers, hex, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? 0 : -errno;
    return 0;
}

static int move_all(struct image_stage *g) {
    int fd = openat(g->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    int r = 0;
    if (!d) {
        r = -errno;
        fd_close(&fd);
        return r;
    }
    for (struct dirent *e; r == 0 && (e = readdir(d)) != NULL;)
        if (str_starts(e->d_name, "b.") || str_starts(e->d_name, "l.")) r = move(g, e->d_name);
    closedir(d);
    return r;
}

/* syncfs, not an fsync for each of the many thousand files: one pass over the journal. */
int image__stage_commit(struct image_stage *g, struct err *err) {
    if (syncfs(g->dir) < 0) return err_set(err, -errno, "write the image to the disk");
    int r = move_all(g);
    if (r == 0 && (fsync(g->store->blobs) < 0 || fsync(g->store->layers) < 0)) r = -errno;
    return r < 0 ? err_set(err, r, "move the image into the store") : 0;
}
