// SPDX-License-Identifier: Apache-2.0
/* An import from its first byte to the index. On every failure before the commit the stage is
 * thrown away and the store is as it was; a failure within the commit is cleaned up by the garbage
 * collector, because the index, written last, is what makes an image exist. */
#include "runtime/image/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/image_name.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/image/query.h"
#include "runtime/image/stream.h"
#include "runtime/image/tar.h"

enum { CHUNK = 64 << 10, TAR_BLOCK = IMAGE_TAR_BLOCK };

/* What is no archive is refused by its first block, and not read up to the limit. */
static int check_begin(const struct image_import *im, struct err *err) {
    static const unsigned char zeros[TAR_BLOCK];
    unsigned char first[TAR_BLOCK];
    ssize_t n = pread(im->spool, first, TAR_BLOCK, 0);
    if (n < 0) return err_set(err, -errno, "read the archive");
    if (n == TAR_BLOCK && memcmp(first, zeros, TAR_BLOCK) == 0)
        return err_set(err, -EINVAL, "the archive is empty");
    if (n != TAR_BLOCK || !image__tar_is_header(first))
        return err_set(err, -EBADMSG, "not a tar archive");
    return 0;
}

static int copy_stream(struct image_stream *from, struct image_import *im,
                       struct image_budget *budget, struct err *err) {
    auto_free char *chunk = mem_alloc(CHUNK);
    if (!chunk) return err_set(err, -ENOMEM, "receive the archive");
    bool begun = false;
    for (;;) {
        ssize_t n = image__stream_read(from, chunk, CHUNK, err);
        if (n <= 0) return (int) n;
        int r = image__budget_bytes(budget, (uint64_t) n, err);
        if (r < 0) return r;
        r = fd_write_all(im->spool, chunk, (size_t) n);
        if (r < 0) return err_set(err, r, "write to the image store");
        im->spool_bytes += (uint64_t) n;
        if (begun || im->spool_bytes < TAR_BLOCK) continue;
        begun = true;
        r = check_begin(im, err);
        if (r < 0) return r;
    }
}

/* A stream that just stops looks like one that ended: only the tar's own end marker tells. */
static int check_end(const struct image_import *im, struct err *err) {
    static const char zeros[TAR_BLOCK];
    char last[TAR_BLOCK];
    if (im->spool_bytes == 0) return err_set(err, -EINVAL, "the archive is empty");
    if (im->spool_bytes < TAR_BLOCK || im->spool_bytes % TAR_BLOCK)
        return err_set(err, -EBADMSG, "not a tar archive, or cut off");
    ssize_t n = pread(im->spool, last, TAR_BLOCK, (off_t) im->spool_bytes - TAR_BLOCK);
    if (n < 0) return err_set(err, -errno, "read the archive");
    if (n != TAR_BLOCK || memcmp(last, zeros, TAR_BLOCK) != 0)
        return err_set(err, -EBADMSG, "not a tar archive, or cut off: its end marker is missing");
    return 0;
}

static int spool(struct image_import *im, int fd, struct err *err) {
    auto_stream struct image_stream *s = NULL;
    struct image_budget budget; /* of its own: the unpacked bytes are counted apart */
    image__budget_init(&budget, &im->store->limits, im->store->dir);
    im->spool = image__stage_file(&im->stage, IMAGE_SPOOL_NAME, err);
    if (im->spool < 0) return im->spool;
    int r = image__stream_new(fd, &budget, &s, err);
    if (r == 0) r = copy_stream(s, im, &budget, err);
    if (r == 0) r = image__stream_end(s, 0, im->spool_hex, err);
    return r < 0 ? r : check_end(im, err);
}

int image__import_blob(struct image_import *im, const char *name, const char *want_hex,
                       uint64_t *ret_n, char ret_hex[static IMAGE_HEX_MAX], struct err *err) {
    static const char part[] = "part";
    auto_fd int fd = image__stage_file(&im->stage, part, err);
    if (fd < 0) return fd;
    int r = image__bundle_copy(&im->bundle, name, fd, &im->budget, ret_n, ret_hex, err);
    if (r < 0) return r;
    if (want_hex && !str_eq(want_hex, ret_hex))
        return err_set(err, -EBADMSG, "\"%.80s\" does not have its digest but sha256:%s", name,
                       ret_hex);
    return image__stage_adopt(&im->stage, part, ret_hex, err);
}

int image__import_layer_type(struct image_import *im, const char *hex, char ret[static 128],
                             struct err *err) {
    static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    unsigned char magic[4] = {0};
    const char *type = IMAGE_TYPE_LAYER;
    auto_fd int fd = image__stage_blob(&im->stage, hex);
    ssize_t n = fd < 0 ? fd : fd_read_full(fd, magic, sizeof magic);
    if (n < 0) return err_set(err, (int) n, "read blob sha256:%s", hex);
    if (memcmp(magic, gzip, sizeof gzip) == 0) type = IMAGE_TYPE_LAYER_GZIP;
    if (memcmp(magic, zstd, sizeof zstd) == 0) type = IMAGE_TYPE_LAYER_ZSTD;
    (void) snprintf(ret, 128, "%s", type);
    return 0;
}

static int read_staged(struct image_import *im, const struct image_descriptor *d, char **ret,
                       size_t *ret_n, struct err *err) {
    auto_fd int fd = image__stage_blob(&im->stage, d->hex);
    char path[32];
    if (fd < 0) return err_set(err, fd, "blob sha256:%s", d->hex);
    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int r = fd_read_file(AT_FDCWD, path, IMAGE_JSON_MAX, ret, ret_n);
    if (r < 0) return err_set(err, r, "read blob sha256:%s", d->hex);
    if (*ret_n == d->size) return 0;
    mem_free(steal_ptr(ret));
    return err_set(err, -EBADMSG, "blob sha256:%s is not as large as said", d->hex);
}

static int check_config(const struct image_config_doc *c, const struct image_manifest *m,
                        struct err *err) {
    if (!str_eq(c->os, "linux") || !str_eq(c->arch, image__arch()))
        return err_set(err, -EINVAL, "the image is for %s/%s, this machine is linux/%s", c->os,
                       c->arch, image__arch());
    if (c->diff_ids.n != m->n_layers)
        return err_set(err, -EINVAL, "the manifest has %zu layers, the config %zu", m->n_layers,
                       c->diff_ids.n);
    return 0;
}

/* The names it gets: the caller's, else those inside, made full. */
static int full_names(const struct image_import *im, const struct strv *names, struct strv *ret,
                      struct err *err) {
    if (im->name) {
        int r = strv_add(ret, im->name);
        return r < 0 ? err_set(err, r, "image name") : 0;
    }
    for (size_t i = 0; i < names->n; i++) {
        auto_free char *full = NULL;
        int r = image_name_parse(names->v[i], &full, NULL, err);
        if (r < 0) return r;
        if (strv_has(ret, full)) continue;
        r = strv_take(ret, full);
        if (r < 0) return err_set(err, r, "image name");
        full = NULL;
    }
    return 0;
}

/* The same image once more, under another name. */
static int merge_names(struct image_imported *i, const struct strv *names, struct err *err) {
    for (size_t k = 0; k < names->n; k++) {
        if (strv_has(&i->names, names->v[k])) continue;
        int r = strv_add(&i->names, names->v[k]);
        if (r < 0) return err_set(err, r, "image name");
    }
    return 0;
}

static int add_imported(struct image_import *im, const struct image_manifest *m, const char *hex,
                        size_t size, struct strv *names, struct err *err) {
    if (im->n_images == IMAGE_IMAGES_MAX)
        return err_set(err, -EINVAL, "the archive has more than %d images", IMAGE_IMAGES_MAX);
    for (size_t i = 0; i < im->n_images; i++)
        if (str_eq(im->images[i].hex, hex)) return merge_names(&im->images[i], names, err);
    if (im->name && im->n_images)
        return err_set(err, -EINVAL, "the archive has several images: they cannot share one name");
    struct image_imported *v = mem_resize(im->images, im->n_images + 1, sizeof *v);
    if (!v) return err_set(err, -ENOMEM, "import");
    im->images = v;
    struct image_imported *i = &v[im->n_images++];
    *i = (struct image_imported){.size = size, .names = *names};
    *names = (struct strv){0};
    (void) snprintf(i->hex, sizeof i->hex, "%s", hex);
    (void) snprintf(i->type, sizeof i->type, "%s", m->type);
    return 0;
}

static int import_parsed(struct image_import *im, const struct image_manifest *m,
                         const struct strv *names, const char *hex, size_t size, struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    struct image_config_doc c = {0};
    struct strv full = {0};
    int r = read_staged(im, &m->config, &text, &n, err);
    if (r < 0) return r;
    r = image__config_parse(text, n, "image config", &c, err);
    if (r == 0) r = check_config(&c, m, err);
    for (size_t i = 0; r == 0 && i < m->n_layers; i++)
        r = image__layer_unpack(&im->stage, &im->budget, m->layers[i].hex,
                                c.diff_ids.v[i] + sizeof "sha256:" - 1, err);
    if (r == 0) r = full_names(im, names, &full, err);
    if (r == 0) r = add_imported(im, m, hex, size, &full, err);
    strv_fini(&full);
    image__config_doc_fini(&c);
    return r;
}

int image__import_image(struct image_import *im, const char *text, size_t n,
                        const struct strv *names, struct err *err) {
    char hex[IMAGE_HEX_MAX];
    struct image_manifest m = {0};
    int r = image__stage_document(&im->stage, text, n, hex, err);
    if (r == 0) r = image__manifest_parse(text, n, "manifest", &m, err);
    if (r == 0) r = import_parsed(im, &m, names, hex, n, err);
    image__manifest_fini(&m);
    return r;
}

static int by_kind(struct image_import *im, struct err *err) {
    struct image_bundle *b = &im->bundle;
    int r = image__bundle_init(b, im->spool, err);
    if (r < 0) return r;
    if (b->empty) return err_set(err, -EINVAL, "the archive is empty");
    bool oci = image__bundle_has(b, "oci-layout") && image__bundle_has(b, "index.json");
    bool docker = !oci && image__bundle_has(b, "manifest.json");
    if (!oci && !docker) return image__import_rootfs(im, err);
    if (b->overflow)
        return err_set(err, -EINVAL, "the archive has more than %d members", IMAGE_MEMBERS_MAX);
    if (*b->duplicate)
        return err_set(err, -EINVAL, "the archive has \"%.100s\" twice", b->duplicate);
    return oci ? image__import_oci(im, err) : image__import_docker(im, err);
}

/* The images exist from the moment when the index is saved. */
static int publish(struct image_import *im, struct err *err) {
    struct image_index x = {0};
    int r = image__index_copy(&im->store->index, &x);
    for (size_t i = 0; r == 0 && i < im->n_images; i++) {
        const struct image_imported *g = &im->images[i];
        if (g->names.n == 0) r = image__index_add(&x, g->hex, g->size, g->type, NULL);
        for (size_t k = 0; r == 0 && k < g->names.n; k++)
            r = image__index_add(&x, g->hex, g->size, g->type, g->names.v[k]);
    }
    if (r < 0) (void) err_set(err, r, "write the index");
    if (r == 0) r = image__store_swap(im->store, &x, err);
    image__index_fini(&x);
    return r;
}

static int commit(struct image_import *im, struct image_info *ret, struct err *err) {
    size_t named = 0;
    for (size_t i = 0; i < im->n_images; i++) named += im->images[i].names.n > 0;
    if (im->n_images == 0) return err_set(err, -EINVAL, "the archive has no image");
    if (named < im->n_images)
        return err_set(err, -EINVAL, "the archive gives its image no name: a name is needed");
    int r = image__stage_commit(&im->stage, err);
    if (r == 0) {
        pthread_mutex_lock(&im->store->mutex);
        r = publish(im, err);
        pthread_mutex_unlock(&im->store->mutex);
    }
    if (r == 0) return image__info(im->store, im->images[0].hex, false, ret, err);
    /* What it has to leave, the next removal or the next open takes. */
    if (image__gc(im->store, NULL, NULL) < 0) log_debug("image.gc", "import=failed");
    return r;
}

static void import_fini(struct image_import *im) {
    for (size_t i = 0; i < im->n_images; i++) strv_fini(&im->images[i].names);
    mem_free(im->images);
    image__bundle_fini(&im->bundle);
    fd_close(&im->spool);
    image__stage_discard(&im->stage);
}

int image_import_if(struct image_store *s, int fd, const char *name, bool (*whole)(void *ctx),
                    void *ctx, struct image_info *ret, struct err *err) {
    auto_free char *full = NULL;
    struct image_import im = {.store = s, .spool = -1, .stage.dir = -1};
    int r = str_empty(name) ? 0 : image_name_parse(name, &full, NULL, err);
    if (r < 0) return r;
    im.name = full;
    image__budget_init(&im.budget, &s->limits, s->dir);
    r = image__stage_open(s, &im.stage, err);
    if (r == 0) r = spool(&im, fd, err);
    if (r == 0 && whole && !whole(ctx))
        r = err_say(err, -ECANCELED, "the archive did not arrive whole");
    if (r == 0) {
        pthread_mutex_lock(&s->ingest);
        r = by_kind(&im, err);
        if (r == 0) r = commit(&im, ret, err);
        pthread_mutex_unlock(&s->ingest);
    }
    import_fini(&im);
    return r < 0 ? err_wrap(err, r, "import") : 0;
}

int image_import(struct image_store *s, int fd, const char *name, struct image_info *ret,
                 struct err *err) {
    return image_import_if(s, fd, name, NULL, NULL, ret, err);
}
