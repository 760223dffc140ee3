// SPDX-License-Identifier: Apache-2.0
/* runtime/image/store.h - inside of the image store: its directories, its locks, blobs by digest.
 *
 * Locks    `ingest` is held by whoever adds or deletes blobs and layers (an import once its archive
 *          has arrived, a removal, unpacking a layer again); `mutex` guards the index and is never
 *          held over slow work. Order: ingest, then mutex.
 * Thread   [pool].
 */
#ifndef ORLOP_IMAGE_STORE_H
#define ORLOP_IMAGE_STORE_H

#include <pthread.h>

#include "runtime/image/config.h"
#include "runtime/image/image.h"
#include "runtime/image/index.h"
#include "runtime/image/limits.h"
#include "runtime/image/manifest.h"

struct image_store {
    char *path;
    int dir, lock, blobs /* blobs/sha256 */, layers, tmp;
    pthread_mutex_t ingest, mutex;
    struct image_index index; /* guarded by mutex */
    struct image_limits limits;
    uint64_t next_stage; /* guarded by mutex */
    struct strv held;    /* digests, one entry a hold; guarded by mutex */
};

void image__store_set_limits(struct image_store *s, const struct image_limits *l); /* for tests */

/* A document among the blobs, its digest checked again; NUL behind it; mem_free. */
must_use int image__store_read(struct image_store *s, const char *hex, char **ret, size_t *ret_n,
                               struct err *err);
must_use int image__store_manifest(struct image_store *s, const char *hex,
                                   struct image_manifest *ret, struct err *err);
/* The config of the image with this manifest. RET_JSON may be NULL. */
must_use int image__store_config(struct image_store *s, const char *hex,
                                 struct image_manifest *ret_m, struct image_config_doc *ret,
                                 char **ret_json, struct err *err);

/* What a reference means. *ret is a copy without name; *ret_full (mem_free) is the full name when
 * TEXT was a name, else NULL. -ENOENT, -EINVAL. */
must_use int image__store_find(struct image_store *s, const char *text, struct image_entry *ret,
                               char **ret_full, struct err *err);

/* Save X, then make it the store's (TAKES X on success). Under mutex. */
must_use int image__store_swap(struct image_store *s, struct image_index *x, struct err *err);

/* gc.c: delete every blob and layer that no image in the index needs. Under ingest. Deletes nothing
 * when a manifest or config cannot be read. *ret_freed may be NULL. */
must_use int image__gc(struct image_store *s, uint64_t *ret_freed, struct err *err);

#endif
