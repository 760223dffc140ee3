// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

static int open_sub(struct image_store *s, const char *name, int *ret, struct err *err) {
    int r = fd_mkdirs(s->dir, name, 0700);
    if (r < 0) return err_set(err, r, "make %s/%s", s->path, name);
    *ret = openat(s->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret < 0 ? err_set(err, -errno, "open %s/%s", s->path, name) : 0;
}

/* Nobody but root gets into the store: layers hold set-user-id files of other worlds. */
static int open_root(struct image_store *s, struct err *err) {
    int r = fd_mkdirs(AT_FDCWD, s->path, 0700);
    if (r < 0) return err_set(err, r, "make %s", s->path);
    s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0 || fchmod(s->dir, 0700) < 0) return err_set(err, -errno, "open %s", s->path);
    s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock < 0) return err_set(err, -errno, "open %s/lock", s->path);
    pid_t holder = 0;
    r = fd_lock(s->lock, &holder);
    if (r == -EAGAIN)
        return err_say(err, -EBUSY, "the image store %s is in use by process %d", s->path,
                       (int) holder);
    return r < 0 ? err_set(err, r, "lock %s", s->path) : 0;
}

static int clear_tmp(struct image_store *s, struct err *err) {
    int r = fd_remove_tree(s->dir, "tmp");
    if (r < 0) return err_set(err, r, "clear %s/tmp", s->path);
    return open_sub(s, "tmp", &s->tmp, err);
}

/* Other tools can then read the store as an OCI image layout. */
static int mark_layout(struct image_store *s, struct err *err) {
    static const char text[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    if (faccessat(s->dir, "oci-layout", F_OK, 0) == 0) return 0;
    int r = fd_replace_file(s->dir, "oci-layout", text, sizeof text - 1, 0600);
    return r < 0 ? err_set(err, r, "write %s/oci-layout", s->path) : 0;
}

static int open_all(struct image_store *s, struct err *err) {
    int r = open_root(s, err);
    if (r == 0) r = image__index_load(s->dir, &s->index, err);
    if (r == 0) r = open_sub(s, "blobs/sha256", &s->blobs, err);
    if (r == 0) r = open_sub(s, "layers", &s->layers, err);
    if (r == 0) r = clear_tmp(s, err);
    if (r == 0) r = mark_layout(s, err);
    return r;
}

int image_store_open(const char *dir, struct image_store **ret, struct err *err) {
    struct image_store *s = mem_zalloc(sizeof *s);
    if (!s) return err_set(err, -ENOMEM, "image store");
    s->dir = s->lock = s->blobs = s->layers = s->tmp = -1;
    s->limits = image__limits_default;
    pthread_mutex_init(&s->ingest, NULL); /* cannot fail with default attributes */
    pthread_mutex_init(&s->mutex, NULL);
    s->path = mem_strdup(dir);
    int r = s->path ? open_all(s, err) : err_set(err, -ENOMEM, "image store");
    if (r < 0) {
        image_store_free(s);
        return r;
    }
    /* Leftovers of an import or removal that was cut off. A damaged image must not keep the others
     * from being used: then everything stays. */
    struct err why = {0};
    r = image__gc(s, NULL, &why);
    if (r < 0) log_debug("image.gc", "err=\"%s\"", why.text);
    *ret = s;
    return 0;
}

void image_store_free(struct image_store *s) {
    if (!s) return;
    image__index_fini(&s->index);
    strv_fini(&s->held);
    fd_close(&s->tmp);
    fd_close(&s->layers);
    fd_close(&s->blobs);
    fd_close(&s->lock);
    fd_close(&s->dir);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->ingest);
    mem_free(s->path);
    mem_free(s);
}

void image__store_set_limits(struct image_store *s, const struct image_limits *l) {
    s->limits = *l;
}

int image__store_swap(struct image_store *s, struct image_index *x, struct err *err) {
    int r = image__index_save(s->dir, x, err);
    if (r < 0) return r;
    image__index_fini(&s->index);
    s->index = *x;
    *x = (struct image_index){0};
    return 0;
}

int image__store_read(struct image_store *s, const char *hex, char **ret, size_t *ret_n,
                      struct err *err) {
    auto_free char *text = NULL;
    char found[IMAGE_HEX_MAX];
    size_t n = 0;
    int r = fd_read_file(s->blobs, hex, IMAGE_JSON_MAX, &text, &n);
    if (r < 0) return err_set(err, r, "read blob sha256:%s", hex);
    r = image__hash_bytes(text, n, found);
    if (r < 0) return err_set(err, r, "hash blob sha256:%s", hex);
    if (!str_eq(found, hex))
        return err_set(err, -EBADMSG, "blob sha256:%s is damaged on the disk", hex);
    *ret = steal_ptr(&text);
    *ret_n = n;
    return 0;
}

int image__store_manifest(struct image_store *s, const char *hex, struct image_manifest *ret,
                          struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    int r = image__store_read(s, hex, &text, &n, err);
    return r < 0 ? r : image__manifest_parse(text, n, "manifest", ret, err);
}

int image__store_config(struct image_store *s, const char *hex, struct image_manifest *ret_m,
                        struct image_config_doc *ret, char **ret_json, struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    struct image_manifest m = {0};
    int r = image__store_manifest(s, hex, &m, err);
    if (r < 0) return r;
    r = image__store_read(s, m.config.hex, &text, &n, err);
    if (r == 0) r = image__config_parse(text, n, "image config", ret, err);
    if (r < 0) {
        image__manifest_fini(&m);
        return r;
    }
    if (ret_json) *ret_json = steal_ptr(&text);
    *ret_m = m;
    return 0;
}
