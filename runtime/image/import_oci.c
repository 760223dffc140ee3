// SPDX-License-Identifier: Apache-2.0
/* An OCI image layout: index.json names manifests, or indexes with one manifest per platform, of
 * which the one for this machine is taken. Every blob's digest and size are checked while it is
 * copied. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/image/doc.h"
#include "runtime/image/import.h"

static const char *blob_name(const char *hex, char buf[static 80]) {
    (void) snprintf(buf, 80, "blobs/sha256/%s", hex);
    return buf;
}

/* A document among the archive's blobs, verified; mem_free. */
static int read_document(const struct image_import *im, const struct image_descriptor *d,
                         char **ret, size_t *ret_n, struct err *err) {
    auto_free char *text = NULL;
    char name[80], hex[IMAGE_HEX_MAX];
    size_t n = 0;
    int r =
        image__bundle_read(&im->bundle, blob_name(d->hex, name), IMAGE_JSON_MAX, &text, &n, err);
    if (r < 0) return r;
    r = image__hash_bytes(text, n, hex);
    if (r < 0) return err_set(err, r, "hash \"%s\"", name);
    if (!str_eq(hex, d->hex) || n != d->size)
        return err_set(err, -EBADMSG, "\"%s\" does not have its digest or size", name);
    *ret = steal_ptr(&text);
    *ret_n = n;
    return 0;
}

static int stage_blob(struct image_import *im, const struct image_descriptor *d, struct err *err) {
    char name[80], hex[IMAGE_HEX_MAX];
    uint64_t n = 0;
    auto_fd int there = image__stage_blob(&im->stage, d->hex); /* an earlier image's */
    struct stat st;
    int r = 0;
    if (there >= 0 && fstat(there, &st) == 0)
        n = (uint64_t) st.st_size;
    else
        r = image__import_blob(im, blob_name(d->hex, name), d->hex, &n, hex, err);
    if (r == 0 && n != d->size)
        return err_set(err, -EBADMSG, "blob sha256:%s has %llu bytes, not %llu", d->hex,
                       (unsigned long long) n, (unsigned long long) d->size);
    return r;
}

static int import_manifest(struct image_import *im, const struct image_descriptor *d,
                           const char *name, struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    struct image_manifest m = {0};
    struct strv names = {0};
    int r = read_document(im, d, &text, &n, err);
    if (r < 0) return r;
    r = image__manifest_parse(text, n, "manifest", &m, err);
    if (r == 0) r = stage_blob(im, &m.config, err);
    for (size_t i = 0; r == 0 && i < m.n_layers; i++) r = stage_blob(im, &m.layers[i], err);
    if (r == 0 && name && (r = strv_add(&names, name)) < 0) (void) err_set(err, r, "image name");
    if (r == 0) r = image__import_image(im, text, n, &names, err);
    strv_fini(&names);
    image__manifest_fini(&m);
    return r;
}

static int import_index(struct image_import *im, const struct image_descriptor *d, const char *name,
                        int depth, struct err *err);

static int import_descriptor(struct image_import *im, const struct image_descriptor *d,
                             const char *name, int depth, struct err *err) {
    switch (d->media) {
    case IMAGE_MEDIA_MANIFEST:
        return import_manifest(im, d, name, err);
    case IMAGE_MEDIA_INDEX:
        return import_index(im, d, name, depth + 1, err);
    case IMAGE_MEDIA_OTHER:
    case IMAGE_MEDIA_CONFIG:
    case IMAGE_MEDIA_LAYER:
    case IMAGE_MEDIA_FOREIGN_LAYER:
        break;
    }
    return err_set(err, -EINVAL, "the archive holds a \"%.80s\", which is no image", d->type);
}

/* An image for several platforms: the first manifest for this one is it. Those for others, and the
 * attestations that build tools put beside them as platform "unknown", are not ours. */
static int import_index(struct image_import *im, const struct image_descriptor *d, const char *name,
                        int depth, struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    struct image_index_doc doc = {0};
    if (depth > IMAGE_INDEX_DEPTH_MAX)
        return err_set(err, -EINVAL, "indexes are nested deeper than %d", IMAGE_INDEX_DEPTH_MAX);
    int r = read_document(im, d, &text, &n, err);
    if (r == 0) r = image__index_parse(text, n, "image index", &doc, err);
    if (r < 0) return r;
    size_t i = 0;
    while (i < doc.n && !doc.entries[i].fits) i++;
    if (i < doc.n)
        r = import_descriptor(im, &doc.entries[i], name, depth, err);
    else
        r = err_set(err, -EINVAL, "the archive has no image for linux/%s", image__arch());
    image__index_doc_fini(&doc);
    return r;
}

/* A bare word is a tag here, not a name: it says nothing about whose tag. */
static const char *usable_name(const char *name) {
    return name && (strchr(name, ':') || strchr(name, '/')) ? name : NULL;
}

static int check_layout(const struct image_import *im, struct err *err) {
    auto_free char *text = NULL;
    auto_json json_t *doc = NULL;
    const char *version = NULL;
    size_t n = 0;
    int r = image__bundle_read(&im->bundle, "oci-layout", IMAGE_JSON_MAX, &text, &n, err);
    if (r == 0) r = image__doc_load(text, n, "oci-layout", &doc, err);
    if (r == 0) r = image__doc_string(doc, "imageLayoutVersion", &version, err);
    if (r < 0) return r;
    if (!version || !str_starts(version, "1."))
        return err_set(err, -EINVAL, "oci-layout: version \"%.20s\" is not supported",
                       version ? version : "");
    return 0;
}

int image__import_oci(struct image_import *im, struct err *err) {
    auto_free char *text = NULL;
    size_t n = 0;
    struct image_index_doc doc = {0};
    int r = check_layout(im, err);
    if (r == 0) r = image__bundle_read(&im->bundle, "index.json", IMAGE_JSON_MAX, &text, &n, err);
    if (r == 0) r = image__index_parse(text, n, "index.json", &doc, err);
    if (r < 0) return r;
    size_t fitting = 0;
    for (size_t i = 0; r == 0 && i < doc.n; i++) {
        const struct image_descriptor *d = &doc.entries[i];
        if (!d->fits) continue;
        fitting++;
        r = import_descriptor(im, d, usable_name(d->name), 0, err);
    }
    if (r == 0 && doc.n && !fitting)
        r = err_set(err, -EINVAL, "the archive has no image for linux/%s", image__arch());
    image__index_doc_fini(&doc);
    return r;
}
