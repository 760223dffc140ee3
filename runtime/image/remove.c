// SPDX-License-Identifier: Apache-2.0
/* Removal: names go from the index first, durably; then the garbage collector takes what nothing
 * names. An image that a task uses keeps its entry, marked as removed: the next removal looks at it
 * again. */
#include <errno.h>
#include <stdio.h>

#include "runtime/base/image_name.h"
#include "runtime/base/mem.h"
#include "runtime/image/store.h"

void image_removed_fini(struct image_removed *r) {
    strv_fini(&r->untagged);
    strv_fini(&r->deleted);
    *r = (struct image_removed){0};
}

int image_hold(struct image_store *s, const char *digest, struct err *err) {
    char hex[IMAGE_HEX_MAX];
    int r = image_digest_parse(digest, hex, err);
    if (r < 0) return r;
    pthread_mutex_lock(&s->mutex);
    bool there = image__index_by_hex(&s->index, hex) != NULL;
    if (there) r = strv_add(&s->held, digest);
    pthread_mutex_unlock(&s->mutex);
    if (!there) return err_say(err, -ENOENT, "no image %s on this node", digest);
    return r < 0 ? err_set(err, r, "hold the image") : 0;
}

void image_release(struct image_store *s, const char *digest) {
    pthread_mutex_lock(&s->mutex);
    struct strv *h = &s->held;
    size_t i = 0;
    while (i < h->n && !str_eq(h->v[i], digest)) i++;
    ensure(i < h->n);
    mem_free(h->v[i]);
    h->v[i] = h->v[--h->n];
    h->v[h->n] = NULL;
    pthread_mutex_unlock(&s->mutex);
}

/* By a task that the caller knows, or by one that is being prepared. */
struct users {
    const struct strv *in_use, *held;
};

static bool used(const struct users *u, const char *hex) {
    char digest[IMAGE_DIGEST_MAX];
    (void) snprintf(digest, sizeof digest, "sha256:%s", hex);
    return (u->in_use && strv_has(u->in_use, digest)) || strv_has(u->held, digest);
}

/* Take FULL, or every name when it is NULL, from the image. */
static int untag(struct image_index *x, const char *hex, const char *full, struct strv *untagged) {
    for (size_t i = x->n; i-- > 0;) {
        const struct image_entry *e = &x->v[i];
        if (!e->name || !str_eq(e->hex, hex) || (full && !str_eq(e->name, full))) continue;
        int r = strv_add(untagged, image_name_short(e->name));
        if (r < 0) return r;
        image__index_untag(x, i);
    }
    return 0;
}

static bool has_name(const struct image_index *x, const char *hex) {
    for (size_t i = 0; i < x->n; i++)
        if (x->v[i].name && str_eq(x->v[i].hex, hex)) return true;
    return false;
}

static void mark_removed(struct image_index *x, const char *hex) {
    for (size_t i = 0; i < x->n; i++)
        if (str_eq(x->v[i].hex, hex)) x->v[i].removed = true;
}

/* Drop all that is marked, has no name and no user. */
static int drop_removed(struct image_index *x, const struct users *u, struct strv *deleted) {
    for (size_t i = x->n; i-- > 0;) {
        char hex[IMAGE_HEX_MAX], digest[IMAGE_DIGEST_MAX];
        if (!x->v[i].removed || x->v[i].name || used(u, x->v[i].hex)) continue;
        memcpy(hex, x->v[i].hex, sizeof hex);
        (void) snprintf(digest, sizeof digest, "sha256:%s", hex);
        int r = strv_add(deleted, digest);
        if (r < 0) return r;
        image__index_drop(x, hex);
    }
    return 0;
}

static int change_index(struct image_store *s, const char *hex, const char *full,
                        const struct strv *in_use, bool force, struct image_removed *ret,
                        struct err *err) {
    const struct users u = {in_use, &s->held};
    struct image_index x = {0};
    int r = image__index_copy(&s->index, &x);
    if (r == 0) r = untag(&x, hex, full, &ret->untagged);
    if (r < 0) (void) err_set(err, r, "remove the image");
    if (r == 0 && !has_name(&x, hex)) {
        if (used(&u, hex) && !force)
            r = err_say(err, -EBUSY, "image sha256:%.12s is used by a task", hex);
        mark_removed(&x, hex);
    }
    if (r == 0 && (r = drop_removed(&x, &u, &ret->deleted)) < 0)
        (void) err_set(err, r, "remove the image");
    if (r == 0) r = image__store_swap(s, &x, err);
    image__index_fini(&x);
    return r;
}

int image_remove(struct image_store *s, const char *name, const struct strv *in_use, bool force,
                 struct image_removed *ret, struct err *err) {
    auto_free char *full = NULL;
    struct image_entry e = {0};
    struct image_removed out = {0};
    pthread_mutex_lock(&s->ingest);
    int r = image__store_find(s, name, &e, &full, err);
    if (r == 0) {
        pthread_mutex_lock(&s->mutex);
        r = change_index(s, e.hex, full, in_use, force, &out, err);
        pthread_mutex_unlock(&s->mutex);
    }
    if (r == 0) r = image__gc(s, &out.freed_bytes, err);
    pthread_mutex_unlock(&s->ingest);
    if (r < 0)
        image_removed_fini(&out);
    else
        *ret = out;
    return r;
}
