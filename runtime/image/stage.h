// SPDX-License-Identifier: Apache-2.0
/* runtime/image/stage.h - what an import has made so far, apart from the store until all of it is
 * whole: tmp/N/ with blobs "b.HEX" and layers "l.HEX". Discarding it leaves nothing.
 *
 * Thread   [pool], one owner; commit and the questions need the store's ingest lock.
 */
#ifndef ORLOP_IMAGE_STAGE_H
#define ORLOP_IMAGE_STAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/err.h"
#include "runtime/image/digest.h"
#include "runtime/image/store.h"

struct image_stage {
    struct image_store *store;
    int dir; /* -1: none */
    char name[24];
};

must_use int image__stage_open(struct image_store *s, struct image_stage *ret, struct err *err);
void image__stage_discard(struct image_stage *g); /* also after a commit, and twice */

/* A new file NAME in the stage, readable and writable. */
must_use int image__stage_file(struct image_stage *g, const char *name, struct err *err);
/* The stage's file NAME is the blob HEX. */
must_use int image__stage_adopt(struct image_stage *g, const char *name, const char *hex,
                                struct err *err);
must_use int image__stage_document(struct image_stage *g, const char *text, size_t n,
                                   char ret_hex[static IMAGE_HEX_MAX], struct err *err);
/* A blob for reading, of the stage or of the store; -ENOENT. */
int image__stage_blob(struct image_stage *g, const char *hex);
bool image__stage_has_layer(struct image_stage *g, const char *hex);
/* An empty directory for the layer; its descriptor. */
must_use int image__stage_layer(struct image_stage *g, const char *hex, struct err *err);
/* The same for reading what is unpacked, of the stage or of the store; -ENOENT. */
int image__stage_open_layer(struct image_stage *g, const char *hex);

/* Make everything durable, then move it into the store. After a failure the store may hold some of
 * it: the caller collects garbage. */
must_use int image__stage_commit(struct image_stage *g, struct err *err);

#endif
