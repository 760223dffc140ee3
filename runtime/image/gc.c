// SPDX-License-Identifier: Apache-2.0
/* Mark and sweep: what the index reaches stays, the rest goes. There is no count of references that
 * could be wrong. A removed layer is renamed into tmp/ first, so that layers/HEX is whole or
 * absent. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/map.h"
#include "runtime/base/mem.h"
#include "runtime/image/store.h"

static int mark(struct map *m, const char *hex) {
    return map_set(m, hex, m);
}

static int mark_image(struct image_store *s, const char *hex, struct map *blobs, struct map *layers,
                      struct err *err) {
    struct image_manifest m = {0};
    struct image_config_doc c = {0};
    int r = image__store_config(s, hex, &m, &c, NULL, err);
    if (r < 0) return r;
    r = mark(blobs, hex);
    if (r == 0) r = mark(blobs, m.config.hex);
    for (size_t i = 0; r == 0 && i < m.n_layers; i++) r = mark(blobs, m.layers[i].hex);
    for (size_t i = 0; r == 0 && i < c.diff_ids.n; i++)
        r = mark(layers, c.diff_ids.v[i] + sizeof "sha256:" - 1);
    image__manifest_fini(&m);
    image__config_doc_fini(&c);
    return r < 0 ? err_set(err, r, "collect garbage") : 0;
}

/* Bytes on the disk of FD and all below it. A file with two names counts twice: good enough to tell
 * a person what came free. */
static uint64_t tree_bytes(int fd, int depth) {
    uint64_t sum = 0;
    DIR *d = fdopendir(fd); /* takes FD */
    if (!d) {
        fd_close(&fd);
        return 0;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..")) continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) continue;
        sum += (uint64_t) st.st_blocks * 512;
        if (!S_ISDIR(st.st_mode) || depth > IMAGE_DEPTH_MAX) continue;
        int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0) sum += tree_bytes(sub, depth + 1);
    }
    closedir(d);
    return sum;
}

static int delete_blob(struct image_store *s, const char *name, uint64_t *freed) {
    struct stat st;
    if (fstatat(s->blobs, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        *freed += (uint64_t) st.st_blocks * 512;
    return unlinkat(s->blobs, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int delete_layer(struct image_store *s, const char *name, uint64_t *freed) {
    int fd = openat(s->layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) *freed += tree_bytes(fd, 0);
    if (renameat(s->layers, name, s->tmp, name) < 0) return -errno;
    return fd_remove_tree(s->tmp, name);
}

static int sweep(struct image_store *s, int dir, const struct map *keep,
                 int (*delete)(struct image_store *, const char *, uint64_t *), uint64_t *freed) {
    int r = 0;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        r = -errno;
        fd_close(&fd);
        return r;
    }
    for (struct dirent *e; r == 0 && (e = readdir(d)) != NULL;)
        if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..") && !map_get(keep, e->d_name))
            r = delete (s, e->d_name, freed);
    closedir(d);
    return r;
}

int image__gc(struct image_store *s, uint64_t *ret_freed, struct err *err) {
    struct map blobs = {0}, layers = {0};
    struct image_index x = {0};
    uint64_t freed = 0;
    pthread_mutex_lock(&s->mutex);
    int r = image__index_copy(&s->index, &x);
    pthread_mutex_unlock(&s->mutex);
    if (r < 0) (void) err_set(err, r, "collect garbage");
    for (size_t i = 0; r == 0 && i < x.n; i++) {
        if (map_get(&blobs, x.v[i].hex)) continue; /* another name of it */
        r = mark_image(s, x.v[i].hex, &blobs, &layers, err);
    }
    if (r == 0) {
        r = sweep(s, s->blobs, &blobs, delete_blob, &freed);
        if (r == 0) r = sweep(s, s->layers, &layers, delete_layer, &freed);
        if (r < 0) (void) err_set(err, r, "collect garbage");
    }
    map_fini(&blobs);
    map_fini(&layers);
    image__index_fini(&x);
    if (r == 0 && ret_freed) *ret_freed = freed;
    return r;
}
