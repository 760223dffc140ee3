// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "runtime/base/mem.h"
#include "runtime/image/doc.h"
#include "runtime/image/limits.h"

static const struct {
    const char *type;
    enum image_media media;
} media_types[] = {
    {IMAGE_TYPE_INDEX, IMAGE_MEDIA_INDEX},
    {"application/vnd.docker.distribution.manifest.list.v2+json", IMAGE_MEDIA_INDEX},
    {IMAGE_TYPE_MANIFEST, IMAGE_MEDIA_MANIFEST},
    {"application/vnd.docker.distribution.manifest.v2+json", IMAGE_MEDIA_MANIFEST},
    {IMAGE_TYPE_CONFIG, IMAGE_MEDIA_CONFIG},
    {"application/vnd.docker.container.image.v1+json", IMAGE_MEDIA_CONFIG},
    {IMAGE_TYPE_LAYER, IMAGE_MEDIA_LAYER},
    {IMAGE_TYPE_LAYER_GZIP, IMAGE_MEDIA_LAYER},
    {IMAGE_TYPE_LAYER_ZSTD, IMAGE_MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar", IMAGE_MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", IMAGE_MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", IMAGE_MEDIA_LAYER},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", IMAGE_MEDIA_FOREIGN_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", IMAGE_MEDIA_FOREIGN_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", IMAGE_MEDIA_FOREIGN_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", IMAGE_MEDIA_FOREIGN_LAYER},
};

static enum image_media media_of(const char *type) {
    for (size_t i = 0; i < array_len(media_types); i++)
        if (str_eq(media_types[i].type, type)) return media_types[i].media;
    return IMAGE_MEDIA_OTHER;
}

const char *image__arch(void) {
    static const char *const names[][2] = {
        {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"},      {"i686", "386"},
        {"riscv64", "riscv64"}, {"s390x", "s390x"},   {"ppc64le", "ppc64le"},
    };
    struct utsname u;
    if (uname(&u) < 0) return "unknown";
    for (size_t i = 0; i < array_len(names); i++)
        if (str_eq(names[i][0], u.machine)) return names[i][1];
    return "unknown";
}

static int parse_platform(const json_t *obj, struct image_descriptor *d, struct err *err) {
    json_t *p = NULL;
    const char *os = NULL, *arch = NULL;
    d->fits = true;
    int r = image__doc_object(obj, "platform", &p, err);
    if (r < 0 || !p) return r;
    r = image__doc_string(p, "os", &os, err);
    if (r == 0) r = image__doc_string(p, "architecture", &arch, err);
    if (r < 0) return r;
    d->has_platform = true;
    d->fits = os && arch && str_eq(os, "linux") && str_eq(arch, image__arch());
    return 0;
}

/* The name is containerd's full one where there is one: Docker then puts only the tag in ref.name.
 */
static int parse_annotations(const json_t *obj, struct image_descriptor *d, struct err *err) {
    json_t *a = NULL;
    const char *name = NULL, *full = NULL, *removed = NULL;
    int r = image__doc_object(obj, "annotations", &a, err);
    if (r < 0 || !a) return r;
    r = image__doc_string(a, "org.opencontainers.image.ref.name", &name, err);
    if (r == 0) r = image__doc_string(a, "io.containerd.image.name", &full, err);
    if (r == 0) r = image__doc_string(a, "dev.orlop.removed", &removed, err);
    if (r < 0) return r;
    d->removed = removed != NULL;
    if (full) name = full;
    if (!name) return 0;
    d->name = mem_strdup(name);
    return d->name ? 0 : err_set(err, -ENOMEM, "annotations");
}

static int parse_descriptor(const json_t *obj, struct image_descriptor *d, struct err *err) {
    const char *type = NULL, *digest = NULL;
    json_t *size = json_object_get(obj, "size");
    if (!json_is_object(obj)) return err_set(err, -EINVAL, "a descriptor must be an object");
    int r = image__doc_string(obj, "mediaType", &type, err);
    if (r == 0) r = image__doc_string(obj, "digest", &digest, err);
    if (r == 0) r = image__doc_u64(obj, "size", &d->size, err);
    if (r < 0) return r;
    if (!type || !digest || !size)
        return err_set(err, -EINVAL, "a descriptor needs mediaType, digest and size");
    if (strlen(type) >= sizeof d->type)
        return err_set(err, -EINVAL, "the media type \"%.40s...\" is too long", type);
    memcpy(d->type, type, strlen(type) + 1);
    d->media = media_of(type);
    return image_digest_parse(digest, d->hex, err);
}

/* A list of descriptors under KEY of DOC into an array of MAX at most. */
static int parse_descriptors(const json_t *doc, const char *key, size_t max,
                             struct image_descriptor **ret, size_t *ret_n, struct err *err) {
    json_t *list = NULL;
    int r = image__doc_array(doc, key, &list, err);
    if (r < 0) return r;
    if (!list) return err_set(err, -EINVAL, "\"%s\" is missing", key);
    size_t n = json_array_size(list);
    if (n > max) return err_set(err, -EINVAL, "more than %zu %s", max, key);
    *ret = mem_array(n ? n : 1, sizeof **ret);
    if (!*ret) return err_set(err, -ENOMEM, "%s", key);
    *ret_n = n;
    for (size_t i = 0; i < n; i++) {
        r = parse_descriptor(json_array_get(list, i), &(*ret)[i], err);
        if (r < 0) return r;
    }
    return 0;
}

/* The media type that a document gives itself must be WANT; one that gives none is taken by shape.
 */
static int check_kind(const json_t *doc, enum image_media want, const char **ret_type,
                      struct err *err) {
    uint64_t version = 0;
    if (!json_is_object(doc)) return err_set(err, -EINVAL, "must be an object");
    bool layers = json_object_get(doc, "layers") || json_object_get(doc, "config");
    bool manifests = json_object_get(doc, "manifests") != NULL;
    if (layers && manifests)
        return err_set(err, -EINVAL, "has both \"manifests\" and \"layers\": it is ambiguous");
    int r = image__doc_u64(doc, "schemaVersion", &version, err);
    if (r == 0) r = image__doc_string(doc, "mediaType", ret_type, err);
    if (r < 0) return r;
    if (version != 2) return err_set(err, -EINVAL, "schemaVersion must be 2");
    if (*ret_type && media_of(*ret_type) != want)
        return err_set(err, -EINVAL, "says that it is \"%.80s\"", *ret_type);
    return 0;
}

static int manifest_from(const json_t *doc, struct image_manifest *m, struct err *err) {
    const char *type = NULL;
    int r = check_kind(doc, IMAGE_MEDIA_MANIFEST, &type, err);
    if (r < 0) return r;
    (void) snprintf(m->type, sizeof m->type, "%s", type ? type : IMAGE_TYPE_MANIFEST);
    json_t *config = json_object_get(doc, "config");
    if (!config) return err_set(err, -EINVAL, "\"config\" is missing");
    r = parse_descriptor(config, &m->config, err);
    if (r == 0)
        r = parse_descriptors(doc, "layers", IMAGE_LAYERS_MAX, &m->layers, &m->n_layers, err);
    if (r < 0) return r;
    if (m->config.media != IMAGE_MEDIA_CONFIG)
        return err_set(err, -EINVAL, "no container image: its config is \"%.80s\"", m->config.type);
    if (m->n_layers == 0) return err_set(err, -EINVAL, "has no layers");
    for (size_t i = 0; i < m->n_layers; i++) {
        const struct image_descriptor *l = &m->layers[i];
        if (l->media == IMAGE_MEDIA_FOREIGN_LAYER)
            return err_set(err, -EINVAL, "layer %zu is not in the image, only a place to fetch it",
                           i + 1);
        if (l->media != IMAGE_MEDIA_LAYER)
            return err_set(err, -EINVAL, "layer %zu has the unknown type \"%.80s\"", i + 1,
                           l->type);
    }
    return 0;
}

int image__manifest_parse(const char *data, size_t n, const char *what, struct image_manifest *ret,
                          struct err *err) {
    auto_json json_t *doc = NULL;
    struct image_manifest m = {0};
    int r = image__doc_load(data, n, what, &doc, err);
    if (r < 0) return r;
    r = manifest_from(doc, &m, err);
    if (r < 0) {
        image__manifest_fini(&m);
        return err_wrap(err, r, "%s", what);
    }
    *ret = m;
    return 0;
}

void image__manifest_fini(struct image_manifest *m) {
    mem_free(m->layers);
    *m = (struct image_manifest){0};
}

static int index_from(const json_t *doc, struct image_index_doc *d, struct err *err) {
    const char *type = NULL;
    int r = check_kind(doc, IMAGE_MEDIA_INDEX, &type, err);
    if (r < 0) return r;
    const json_t *list = json_object_get(doc, "manifests");
    r = parse_descriptors(doc, "manifests", IMAGE_MEMBERS_MAX, &d->entries, &d->n, err);
    for (size_t i = 0; r == 0 && i < d->n; i++) {
        const json_t *obj = json_array_get(list, i);
        r = parse_platform(obj, &d->entries[i], err);
        if (r == 0) r = parse_annotations(obj, &d->entries[i], err);
    }
    return r;
}

int image__index_parse(const char *data, size_t n, const char *what, struct image_index_doc *ret,
                       struct err *err) {
    auto_json json_t *doc = NULL;
    struct image_index_doc d = {0};
    int r = image__doc_load(data, n, what, &doc, err);
    if (r < 0) return r;
    r = index_from(doc, &d, err);
    if (r < 0) {
        image__index_doc_fini(&d);
        return err_wrap(err, r, "%s", what);
    }
    *ret = d;
    return 0;
}

void image__index_doc_fini(struct image_index_doc *d) {
    for (size_t i = 0; i < d->n; i++) mem_free(d->entries[i].name);
    mem_free(d->entries);
    *d = (struct image_index_doc){0};
}

static json_t *descriptor_json(const struct image_descriptor *d) {
    char digest[IMAGE_HEX_MAX + 8];
    (void) snprintf(digest, sizeof digest, "sha256:%s", d->hex);
    return json_pack("{s:s, s:s, s:I}", "mediaType", d->type, "digest", digest, "size",
                     (json_int_t) d->size);
}

int image__manifest_make(const struct image_descriptor *config,
                         const struct image_descriptor *layers, size_t n, char **ret) {
    auto_json json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, descriptor_json(&layers[i])) < 0) return -ENOMEM;
    auto_json json_t *doc =
        json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", IMAGE_TYPE_MANIFEST,
                  "config", descriptor_json(config), "layers", list);
    if (!doc) return -ENOMEM;
    *ret = image__doc_text(doc);
    return *ret ? 0 : -ENOMEM;
}
