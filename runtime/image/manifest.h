// SPDX-License-Identifier: Apache-2.0
/* runtime/image/manifest.h - OCI and Docker (schema 2) indexes and manifests.
 *
 * Role     parse what is outside's, make our own. A document is what its media type and its shape
 *          say together: one with both "manifests" and "layers" is refused (manifest confusion), as
 *          are layers that are to be fetched from elsewhere and digests other than sha256.
 * Thread   [any].
 */
#ifndef ORLOP_IMAGE_MANIFEST_H
#define ORLOP_IMAGE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/str.h"
#include "runtime/image/digest.h"

enum image_media {
    IMAGE_MEDIA_OTHER,
    IMAGE_MEDIA_INDEX,
    IMAGE_MEDIA_MANIFEST,
    IMAGE_MEDIA_CONFIG,
    IMAGE_MEDIA_LAYER,
    IMAGE_MEDIA_FOREIGN_LAYER,
};

#define IMAGE_TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define IMAGE_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define IMAGE_TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define IMAGE_TYPE_LAYER "application/vnd.oci.image.layer.v1.tar"
#define IMAGE_TYPE_LAYER_GZIP "application/vnd.oci.image.layer.v1.tar+gzip"
#define IMAGE_TYPE_LAYER_ZSTD "application/vnd.oci.image.layer.v1.tar+zstd"

struct image_descriptor {
    char type[128]; /* the media type as written */
    enum image_media media;
    char hex[IMAGE_HEX_MAX];
    uint64_t size;
    /* Of an index's entries only: */
    bool has_platform, fits; /* fits: this machine's, or none is named */
    char *name;              /* org.opencontainers.image.ref.name, or containerd's full one */
    bool removed;            /* our own store's mark */
};

struct image_manifest {
    char type[128];
    struct image_descriptor config;
    struct image_descriptor *layers;
    size_t n_layers;
};
struct image_index_doc {
    struct image_descriptor *entries;
    size_t n;
};

/* WHAT names the document in sentences. -EINVAL. */
must_use int image__manifest_parse(const char *data, size_t n, const char *what,
                                   struct image_manifest *ret, struct err *err);
void image__manifest_fini(struct image_manifest *m);
must_use int image__index_parse(const char *data, size_t n, const char *what,
                                struct image_index_doc *ret, struct err *err);
void image__index_doc_fini(struct image_index_doc *d);

/* The text of an OCI manifest; always the same for the same parts. mem_free. */
must_use int image__manifest_make(const struct image_descriptor *config,
                                  const struct image_descriptor *layers, size_t n, char **ret);

/* GOARCH of this machine. */
const char *image__arch(void);

#endif
