// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/index.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/image/doc.h"
#include "runtime/image/limits.h"
#include "runtime/image/manifest.h"

/* A name or a digest with one wrong letter is a sound document of another meaning: the last member
 * is the SHA-256 of the whole text with zeros in its own place. */
static const char file_name[] = "index.json", check_key[] = "\"dev.orlop.check\":\"";

static char *find_check(char *text) {
    char *at = strstr(text, check_key);
    if (!at || strlen(at) < sizeof check_key - 1 + IMAGE_HEX_LEN) return NULL;
    return at + sizeof check_key - 1;
}

/* TEXT is unchanged when this returns. */
static int check_of(char *text, size_t n, char *at, char ret[static IMAGE_HEX_MAX]) {
    char own[IMAGE_HEX_LEN];
    memcpy(own, at, sizeof own);
    memset(at, '0', sizeof own);
    int r = image__hash_bytes(text, n, ret);
    memcpy(at, own, sizeof own);
    return r;
}

static int verify(char *text, size_t n, struct err *err) {
    char want[IMAGE_HEX_MAX], *at = find_check(text);
    int r = at ? check_of(text, n, at, want) : 0;
    if (r < 0) return err_set(err, r, "check the image store's %s", file_name);
    if (at && memcmp(at, want, IMAGE_HEX_LEN) == 0) return 0;
    return err_say(
        err, -EBADMSG,
        "the image store's %s is damaged: its checksum is %s; move it away and import the "
        "images again",
        file_name, at ? "wrong" : "missing");
}

void image__index_fini(struct image_index *x) {
    for (size_t i = 0; i < x->n; i++) mem_free(x->v[i].name);
    mem_free(x->v);
    *x = (struct image_index){0};
}

/* A copy of E under NAME (NULL: none). */
static int append(struct image_index *x, const struct image_entry *e, const char *name) {
    struct image_entry copy = *e;
    struct image_entry *v = mem_resize(x->v, x->n + 1, sizeof *v);
    if (!v) return -ENOMEM;
    x->v = v;
    copy.name = NULL;
    if (name && !(copy.name = mem_strdup(name))) return -ENOMEM;
    x->v[x->n++] = copy;
    return 0;
}

static void delete_at(struct image_index *x, size_t i) {
    mem_free(x->v[i].name);
    memmove(&x->v[i], &x->v[i + 1], (x->n - i - 1) * sizeof *x->v);
    x->n--;
}

int image__index_copy(const struct image_index *x, struct image_index *ret) {
    struct image_index copy = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < x->n; i++) r = append(&copy, &x->v[i], x->v[i].name);
    if (r < 0) {
        image__index_fini(&copy);
        return r;
    }
    *ret = copy;
    return 0;
}

static size_t count(const struct image_index *x, const char *hex) {
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++) n += str_eq(x->v[i].hex, hex);
    return n;
}

void image__index_untag(struct image_index *x, size_t i) {
    if (count(x, x->v[i].hex) > 1) {
        delete_at(x, i);
        return;
    }
    mem_free(x->v[i].name);
    x->v[i].name = NULL;
}

void image__index_drop(struct image_index *x, const char *hex) {
    for (size_t i = x->n; i-- > 0;)
        if (str_eq(x->v[i].hex, hex)) delete_at(x, i);
}

int image__index_add(struct image_index *x, const char *hex, uint64_t size, const char *type,
                     const char *name) {
    struct image_entry e = {.size = size};
    (void) snprintf(e.hex, sizeof e.hex, "%s", hex);
    (void) snprintf(e.type, sizeof e.type, "%s", type);
    for (size_t i = x->n; name && i-- > 0;)
        if (x->v[i].name && str_eq(x->v[i].name, name)) image__index_untag(x, i);
    if (!name && count(x, hex)) {
        for (size_t i = 0; i < x->n; i++)
            if (str_eq(x->v[i].hex, hex)) x->v[i].removed = false;
        return 0;
    }
    for (size_t i = x->n; name && i-- > 0;)
        if (str_eq(x->v[i].hex, hex) && !x->v[i].name) delete_at(x, i);
    return append(x, &e, name);
}

const struct image_entry *image__index_by_name(const struct image_index *x, const char *full) {
    for (size_t i = 0; i < x->n; i++)
        if (x->v[i].name && str_eq(x->v[i].name, full)) return &x->v[i];
    return NULL;
}

const struct image_entry *image__index_by_hex(const struct image_index *x, const char *hex) {
    for (size_t i = 0; i < x->n; i++)
        if (str_eq(x->v[i].hex, hex)) return &x->v[i];
    return NULL;
}

int image__index_by_prefix(const struct image_index *x, const char *prefix,
                           const struct image_entry **ret) {
    const struct image_entry *found = NULL;
    for (size_t i = 0; i < x->n; i++) {
        if (!str_starts(x->v[i].hex, prefix)) continue;
        if (found && !str_eq(found->hex, x->v[i].hex)) return -EEXIST;
        found = &x->v[i];
    }
    if (!found) return -ENOENT;
    *ret = found;
    return 0;
}

int image__index_load(int dirfd, struct image_index *ret, struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    struct image_index_doc doc = {0};
    struct image_index x = {0};
    int r = fd_read_file(dirfd, file_name, IMAGE_JSON_MAX, &text, &n);
    if (r == -ENOENT) {
        *ret = x;
        return 0;
    }
    if (r < 0) return err_set(err, r, "read the image store's %s", file_name);
    r = verify(text, n, err);
    if (r < 0) return r;
    r = image__index_parse(text, n, "the image store's index.json", &doc, err);
    if (r < 0) return r;
    for (size_t i = 0; r == 0 && i < doc.n; i++) {
        const struct image_descriptor *d = &doc.entries[i];
        struct image_entry e = {.size = d->size, .removed = d->removed};
        memcpy(e.hex, d->hex, sizeof e.hex);
        memcpy(e.type, d->type, sizeof e.type);
        r = append(&x, &e, d->name);
    }
    image__index_doc_fini(&doc);
    if (r < 0) {
        image__index_fini(&x);
        return err_set(err, r, "read the image store's %s", file_name);
    }
    *ret = x;
    return 0;
}

static json_t *entry_json(const struct image_entry *e) {
    char digest[IMAGE_HEX_MAX + 8];
    (void) snprintf(digest, sizeof digest, "sha256:%s", e->hex);
    auto_json json_t *o = json_pack("{s:s, s:s, s:I}", "mediaType", e->type, "digest", digest,
                                    "size", (json_int_t) e->size);
    auto_json json_t *a = json_object();
    if (e->name &&
        json_object_set_new(a, "org.opencontainers.image.ref.name", json_string(e->name)) < 0)
        return NULL;
    if (e->removed && json_object_set_new(a, "dev.orlop.removed", json_string("true")) < 0)
        return NULL;
    if (json_object_size(a) && json_object_set(o, "annotations", a) < 0) return NULL;
    return json_incref(o);
}

int image__index_save(int dirfd, const struct image_index *x, struct err *err) {
    auto_json json_t *list = json_array();
    for (size_t i = 0; i < x->n; i++)
        if (json_array_append_new(list, entry_json(&x->v[i])) < 0)
            return err_set(err, -ENOMEM, "write the image store's %s", file_name);
    char check[IMAGE_HEX_MAX] = "";
    memset(check, '0', IMAGE_HEX_LEN);
    auto_json json_t *doc =
        json_pack("{s:i, s:s, s:O, s:{s:s}}", "schemaVersion", 2, "mediaType", IMAGE_TYPE_INDEX,
                  "manifests", list, "annotations", "dev.orlop.check", check);
    auto_free char *text = doc ? image__doc_text(doc) : NULL;
    if (!text) return err_set(err, -ENOMEM, "write the image store's %s", file_name);
    size_t n = strlen(text);
    char *at = find_check(text);
    int h = at ? check_of(text, n, at, check) : -EBADMSG;
    if (h < 0) return err_set(err, h, "write the image store's %s", file_name);
    memcpy(at, check, IMAGE_HEX_LEN);
    if (n > IMAGE_JSON_MAX || x->n > IMAGE_MEMBERS_MAX)
        return err_say(err, -EFBIG, "the image store has too many images");
    int r = fd_replace_file(dirfd, file_name, text, n, 0600);
    return r < 0 ? err_set(err, r, "write the image store's %s", file_name) : 0;
}
