// SPDX-License-Identifier: Apache-2.0
/* `docker save`: manifest.json is a list of {Config, RepoTags, Layers}, each naming members. The
 * config is OCI's; the manifest is made here. */
#include <errno.h>
#include <stdio.h>

#include "runtime/base/mem.h"
#include "runtime/image/doc.h"
#include "runtime/image/import.h"
#include "runtime/image/path.h"

/* The digest in "HEX.json", "blobs/sha256/HEX" or "sha256:HEX"; NULL when the name says none. */
static const char *digest_in(const char *name, char buf[static IMAGE_HEX_MAX]) {
    const char *base = image__path_base(name);
    if (str_starts(base, "sha256:")) base += sizeof "sha256:" - 1;
    size_t n = strcspn(base, ".");
    if (n != IMAGE_HEX_LEN || (base[n] && !str_eq(base + n, ".json"))) return NULL;
    memcpy(buf, base, n);
    buf[n] = 0;
    return image_is_hex(buf, IMAGE_HEX_LEN) ? buf : NULL;
}

static int stage_layers(struct image_import *im, const struct strv *names,
                        struct image_descriptor *layers, struct err *err) {
    for (size_t i = 0; i < names->n; i++) {
        int r = image__import_blob(im, names->v[i], NULL, &layers[i].size, layers[i].hex, err);
        if (r < 0) return r;
        r = image__import_layer_type(im, layers[i].hex, layers[i].type, err);
        if (r < 0) return r;
    }
    return 0;
}

static int import_parts(struct image_import *im, const char *config, const struct strv *layers,
                        const struct strv *tags, struct err *err) {
    auto_free char *manifest = NULL;
    auto_free struct image_descriptor *l = mem_array(layers->n + 1, sizeof *l);
    struct image_descriptor c = {.type = IMAGE_TYPE_CONFIG};
    char want[IMAGE_HEX_MAX];
    if (!l) return err_set(err, -ENOMEM, "import");
    int r = image__import_blob(im, config, digest_in(config, want), &c.size, c.hex, err);
    if (r == 0) r = stage_layers(im, layers, l, err);
    if (r < 0) return r;
    r = image__manifest_make(&c, l, layers->n, &manifest);
    if (r < 0) return err_set(err, r, "make the image's manifest");
    return image__import_image(im, manifest, strlen(manifest), tags, err);
}

static int import_one(struct image_import *im, const json_t *item, struct err *err) {
    struct strv layers = {0}, tags = {0};
    const char *config = NULL;
    int r = 0;
    if (!json_is_object(item)) r = err_set(err, -EINVAL, "must hold objects");
    if (r == 0) r = image__doc_string(item, "Config", &config, err);
    if (r == 0) r = image__doc_strv(item, "Layers", &layers, err);
    if (r == 0) r = image__doc_strv(item, "RepoTags", &tags, err);
    if (r == 0 && (!config || layers.n == 0))
        r = err_set(err, -EINVAL, "an image needs \"Config\" and \"Layers\"");
    if (r == 0 && layers.n > IMAGE_LAYERS_MAX)
        r = err_set(err, -EINVAL, "more than %d layers", IMAGE_LAYERS_MAX);
    if (r < 0) (void) err_wrap(err, r, "manifest.json");
    if (r == 0) r = import_parts(im, config, &layers, &tags, err);
    strv_fini(&layers);
    strv_fini(&tags);
    return r;
}

int image__import_docker(struct image_import *im, struct err *err) {
    static const char name[] = "manifest.json";
    auto_free char *text = NULL;
    auto_json json_t *doc = NULL;
    size_t n = 0;
    int r = image__bundle_read(&im->bundle, name, IMAGE_JSON_MAX, &text, &n, err);
    if (r == 0) r = image__doc_load(text, n, name, &doc, err);
    if (r < 0) return r;
    if (!json_is_array(doc)) return err_set(err, -EINVAL, "%s: must be a list", name);
    if (json_array_size(doc) > IMAGE_IMAGES_MAX)
        return err_set(err, -EINVAL, "the archive has more than %d images", IMAGE_IMAGES_MAX);
    for (size_t i = 0; r == 0 && i < json_array_size(doc); i++)
        r = import_one(im, json_array_get(doc, i), err);
    return r;
}
