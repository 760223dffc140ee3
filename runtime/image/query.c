// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/query.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/image_name.h"
#include "runtime/base/mem.h"
#include "runtime/image/import.h"

enum { PREFIX_MIN = 12, PREFIX_LEN = sizeof "sha256:" - 1 };

void image_info_fini(struct image_info *i) {
    strv_fini(&i->names);
    strv_fini(&i->layers);
    mem_free(i->config_json);
    *i = (struct image_info){0};
}

static const char *hex_of(const char *digest) {
    return str_starts(digest, "sha256:") ? digest + PREFIX_LEN : digest;
}

/* Under mutex. A name goes before a digest prefix, which could be one too. */
static int find_locked(struct image_store *s, const char *text, const char *full, const char *hex,
                       const struct image_entry **ret) {
    const char *prefix = hex_of(text);
    size_t n = strlen(prefix);
    if (*hex) {
        *ret = image__index_by_hex(&s->index, hex);
        return *ret ? 0 : -ENOENT;
    }
    *ret = full ? image__index_by_name(&s->index, full) : NULL;
    if (*ret) return 0;
    if (n < PREFIX_MIN || n > IMAGE_HEX_LEN || !image_is_hex(prefix, n)) return -ENOENT;
    return image__index_by_prefix(&s->index, prefix, ret);
}

int image__store_find(struct image_store *s, const char *text, struct image_entry *ret,
                      char **ret_full, struct err *err) {
    auto_free char *full = NULL;
    char hex[IMAGE_HEX_MAX] = "";
    const struct image_entry *e = NULL;
    struct err why = {0};
    int bad = image_name_parse(text, &full, hex, &why);
    if (bad == -ENOMEM) return err_set(err, bad, "image name");
    pthread_mutex_lock(&s->mutex);
    int r = find_locked(s, text, full, hex, &e);
    bool by_name = r == 0 && full && !*hex && e->name && str_eq(e->name, full);
    if (r == 0) *ret = *e;
    pthread_mutex_unlock(&s->mutex);
    ret->name = NULL;
    if (r == -EEXIST) return err_set(err, -EINVAL, "several images start with \"%.80s\"", text);
    if (r < 0 && bad < 0 && !str_starts(text, "sha256:")) {
        if (err) *err = why;
        return bad;
    }
    if (r < 0) return err_say(err, -ENOENT, "no image \"%.100s\" on this node", text);
    if (ret_full) *ret_full = by_name ? steal_ptr(&full) : NULL;
    return 0;
}

int image_resolve(struct image_store *s, const char *name, char ret[static IMAGE_DIGEST_MAX],
                  struct err *err) {
    struct image_entry e = {0};
    int r = image__store_find(s, name, &e, NULL, err);
    if (r < 0) return r;
    (void) snprintf(ret, IMAGE_DIGEST_MAX, "sha256:%s", e.hex);
    return 0;
}

int image_read_config(struct image_store *s, const char *digest, struct image_config *ret,
                      struct err *err) {
    struct image_entry e = {0};
    struct image_manifest m = {0};
    struct image_config_doc c = {0};
    int r = image__store_find(s, digest, &e, NULL, err);
    if (r == 0) r = image__store_config(s, e.hex, &m, &c, NULL, err);
    if (r < 0) return r;
    *ret = c.config;
    c.config = (struct image_config){0};
    image__config_doc_fini(&c);
    image__manifest_fini(&m);
    return 0;
}

/* Layers that somebody deleted by hand come back from their blobs. */
static int unpack_missing(struct image_store *s, const struct image_manifest *m,
                          const struct image_config_doc *c, struct err *err) {
    struct image_stage g = {.dir = -1};
    struct image_budget budget;
    image__budget_init(&budget, &s->limits, s->dir);
    pthread_mutex_lock(&s->ingest);
    int r = image__stage_open(s, &g, err);
    for (size_t i = 0; r == 0 && i < m->n_layers; i++)
        r = image__layer_unpack(&g, &budget, m->layers[i].hex, c->diff_ids.v[i] + PREFIX_LEN, err);
    if (r == 0) r = image__stage_commit(&g, err);
    image__stage_discard(&g);
    pthread_mutex_unlock(&s->ingest);
    return r;
}

static bool layers_there(struct image_store *s, const struct image_config_doc *c) {
    for (size_t i = 0; i < c->diff_ids.n; i++)
        if (faccessat(s->layers, c->diff_ids.v[i] + PREFIX_LEN, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            return false;
    return true;
}

/* overlayfs does not honour an opaque root: what is below such a layer is left out of the stack. */
static bool is_opaque(struct image_store *s, const char *hex) {
    char value[4];
    auto_fd int fd = openat(s->layers, hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fgetxattr(fd, IMAGE_OPAQUE_XATTR, value, sizeof value) == 1 &&
           value[0] == 'y';
}

static int add_paths(struct image_store *s, const struct image_config_doc *c, struct strv *ret) {
    for (size_t i = c->diff_ids.n; i-- > 0;) {
        const char *hex = c->diff_ids.v[i] + PREFIX_LEN;
        char *path = mem_printf("%s/layers/%s", s->path, hex);
        int r = path ? strv_take(ret, path) : -ENOMEM;
        if (r < 0) {
            mem_free(path);
            return r;
        }
        if (is_opaque(s, hex)) break;
    }
    return 0;
}

int image_layers(struct image_store *s, const char *digest, struct strv *ret, struct err *err) {
    struct image_entry e = {0};
    struct image_manifest m = {0};
    struct image_config_doc c = {0};
    struct strv paths = {0};
    int r = image__store_find(s, digest, &e, NULL, err);
    if (r == 0) r = image__store_config(s, e.hex, &m, &c, NULL, err);
    if (r < 0) return r;
    if (m.n_layers != c.diff_ids.n)
        r = err_set(err, -EBADMSG, "the image's manifest and config disagree");
    if (r == 0 && !layers_there(s, &c)) r = unpack_missing(s, &m, &c, err);
    if (r == 0 && (r = add_paths(s, &c, &paths)) < 0) (void) err_set(err, r, "image layers");
    image__config_doc_fini(&c);
    image__manifest_fini(&m);
    if (r < 0)
        strv_fini(&paths);
    else
        *ret = paths;
    return r;
}

static int add_names(struct image_store *s, const char *hex, struct strv *ret) {
    int r = 0;
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; r == 0 && i < s->index.n; i++) {
        const struct image_entry *e = &s->index.v[i];
        if (e->name && str_eq(e->hex, hex)) r = strv_add(ret, image_name_short(e->name));
    }
    pthread_mutex_unlock(&s->mutex);
    strv_sort(ret);
    return r;
}

int image__info(struct image_store *s, const char *hex, bool with_config, struct image_info *ret,
                struct err *err) {
    struct image_info i = {0};
    struct image_manifest m = {0};
    struct image_config_doc c = {0};
    (void) snprintf(i.digest, sizeof i.digest, "sha256:%s", hex);
    int r = image__store_config(s, hex, &m, &c, with_config ? &i.config_json : NULL, err);
    if (r < 0) return r;
    memcpy(i.arch, c.arch, sizeof i.arch);
    memcpy(i.os, c.os, sizeof i.os);
    i.created_unix_ms = c.created_unix_ms;
    i.size_bytes = m.config.size;
    for (size_t k = 0; k < m.n_layers; k++) i.size_bytes += m.layers[k].size;
    i.layers = c.diff_ids;
    c.diff_ids = (struct strv){0};
    image__config_doc_fini(&c);
    image__manifest_fini(&m);
    r = add_names(s, hex, &i.names);
    if (r < 0) {
        image_info_fini(&i);
        return err_set(err, r, "image names");
    }
    *ret = i;
    return 0;
}

int image_inspect(struct image_store *s, const char *name, struct image_info *ret,
                  struct err *err) {
    struct image_entry e = {0};
    int r = image__store_find(s, name, &e, NULL, err);
    return r < 0 ? r : image__info(s, e.hex, true, ret, err);
}

/* One damaged image must not hide the others: it is listed by digest and names alone. */
static int list_one(struct image_store *s, const char *hex, struct image_info *ret) {
    int r = image__info(s, hex, false, ret, NULL);
    if (r == 0 || r == -ENOMEM) return r;
    *ret = (struct image_info){0};
    (void) snprintf(ret->digest, sizeof ret->digest, "sha256:%s", hex);
    return add_names(s, hex, &ret->names);
}

static bool seen(const struct image_index *x, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (str_eq(x->v[k].hex, x->v[i].hex)) return true;
    return false;
}

int image_list(struct image_store *s, struct image_info **ret, size_t *ret_n, struct err *err) {
    struct image_index x = {0};
    size_t n = 0;
    pthread_mutex_lock(&s->mutex);
    int r = image__index_copy(&s->index, &x);
    pthread_mutex_unlock(&s->mutex);
    if (r < 0) return err_set(err, r, "list images");
    struct image_info *list = mem_array(x.n + 1, sizeof *list);
    if (!list) r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < x.n; i++) {
        if (seen(&x, i)) continue;
        r = list_one(s, x.v[i].hex, &list[n]);
        n += r == 0;
    }
    image__index_fini(&x);
    if (r < 0) {
        for (size_t i = 0; i < n; i++) image_info_fini(&list[i]);
        mem_free(list);
        return err_set(err, r, "list images");
    }
    *ret = list;
    *ret_n = n;
    return 0;
}
