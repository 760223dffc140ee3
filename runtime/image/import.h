// SPDX-License-Identifier: Apache-2.0
/* runtime/image/import.h - one import on its way: what the three kinds of archive have in common.
 *
 * Way      spool the archive into the stage (import.c); see what it is; its own file turns it into
 *          staged blobs (import_oci.c, import_docker.c, import_rootfs.c) and calls import__image
 *          for each image, which unpacks the layers; import.c commits and writes the index.
 * Thread   [pool], one owner.
 */
#ifndef ORLOP_IMAGE_IMPORT_H
#define ORLOP_IMAGE_IMPORT_H

#include "runtime/image/bundle.h"
#include "runtime/image/manifest.h"
#include "runtime/image/stage.h"
#include "runtime/image/unpack.h"

struct image_imported {
    char hex[IMAGE_HEX_MAX];
    uint64_t size;
    char type[128];
    struct strv names; /* full */
};

struct image_import {
    struct image_store *store;
    const char *name; /* full; NULL: the names inside */
    struct image_stage stage;
    int spool; /* the tar, not compressed */
    char spool_hex[IMAGE_HEX_MAX];
    uint64_t spool_bytes;
    struct image_budget budget;
    struct image_bundle bundle;
    struct image_imported *images;
    size_t n_images;
};

#define IMAGE_SPOOL_NAME "spool"

must_use int image__import_oci(struct image_import *im, struct err *err);
must_use int image__import_docker(struct image_import *im, struct err *err);
must_use int image__import_rootfs(struct image_import *im, struct err *err);

/* A manifest whose blobs are all staged or in the store: check it against its config, unpack its
 * layers, add it to im->images under NAMES (as the archive writes them; borrowed). */
must_use int image__import_image(struct image_import *im, const char *text, size_t n,
                                 const struct strv *names, struct err *err);

/* Stage the member NAME as a blob. WANT: the digest it must have; NULL: none is known. */
must_use int image__import_blob(struct image_import *im, const char *name, const char *want_hex,
                                uint64_t *ret_n, char ret_hex[static IMAGE_HEX_MAX],
                                struct err *err);

/* The media type of a staged layer, by its magic number. */
must_use int image__import_layer_type(struct image_import *im, const char *hex,
                                      char ret[static 128], struct err *err);

/* layer.c: unpack the blob HEX as layer DIFF_HEX, unless it is there. */
must_use int image__layer_unpack(struct image_stage *g, struct image_budget *budget,
                                 const char *blob_hex, const char *diff_hex, struct err *err);

#endif
