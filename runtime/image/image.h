// SPDX-License-Identifier: Apache-2.0
/* runtime/image/image.h - the node's image store: content-addressed, shared by all tasks.
 *
 * Layout   DIR (0700): blobs/sha256/HEX (OCI blobs), layers/HEX/ (unpacked by diff id), index.json
 *          (OCI image layout index; names as org.opencontainers.image.ref.name), tmp/. A blob or
 *          layer is there whole or not at all: temporary name, fsync, rename.
 * Role     everything from outside is hostile: digests verified while streaming, output bytes,
 *          entries and depth limited, extraction by dirfd with openat2 into an empty root.
 * Thread   [pool]: all functions may block; calls on one store are serialised inside (a mutex).
 * See      OCI image-spec v1.1 (image-layout.md, layer.md, config.md)
 */
#ifndef ORLOP_IMAGE_H
#define ORLOP_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/str.h"

enum { IMAGE_DIGEST_MAX = 72 }; /* "sha256:" + 64 + NUL */

struct image_store;

must_use int image_store_open(const char *dir, struct image_store **ret, struct err *err);
void image_store_free(struct image_store *s);

/* What a task needs to know of an image's config. */
struct image_config {
    struct strv entrypoint, cmd, env, exposed /* "80/tcp" */, volumes;
    bool has_entrypoint, has_cmd;
    char *user, *working_dir, *stop_signal; /* never NULL */
    struct strv health_test;                /* empty: none */
    uint64_t health_interval_ms, health_timeout_ms, health_start_period_ms;
    uint32_t health_retries;
};
void image_config_fini(struct image_config *c);

struct image_info {
    char digest[IMAGE_DIGEST_MAX]; /* of the manifest */
    struct strv names; /* normalised: "docker.io/library/nginx:latest" is shown "nginx:latest" */
    uint64_t size_bytes;
    int64_t created_unix_ms;
    char arch[32], os[32];
    struct strv layers; /* diff ids, bottom first */
    char *config_json;  /* NULL in lists */
};
void image_info_fini(struct image_info *i);

/* Import what FD (a pipe or file) holds: a tar of an OCI layout, of `docker save`, or of a root
 * file system (told apart by what is in it; also compressed by gzip or zstd). NAME "" = the names
 * inside
 * (-EINVAL when there are none). On success the images are whole, unpacked, named and fsynced. On
 * failure nothing is left. */
must_use int image_import(struct image_store *s, int fd, const char *name, struct image_info *ret,
                          struct err *err);
/* The same for bytes that come over a connection: WHOLE is asked, on the calling thread, when FD
 * has ended; false = the sender broke off: -ECANCELED. */
must_use int image_import_if(struct image_store *s, int fd, const char *name,
                             bool (*whole)(void *ctx), void *ctx, struct image_info *ret,
                             struct err *err);

/* NAME, digest, or unambiguous digest prefix (>= 12 hex) -> manifest digest. -ENOENT. */
must_use int image_resolve(struct image_store *s, const char *name,
                           char ret[static IMAGE_DIGEST_MAX], struct err *err);
must_use int image_read_config(struct image_store *s, const char *digest, struct image_config *ret,
                               struct err *err);
/* Directories of the unpacked layers, top first (as overlay wants them). Unpacks what is missing.
 */
must_use int image_layers(struct image_store *s, const char *digest, struct strv *ret,
                          struct err *err);
must_use int image_inspect(struct image_store *s, const char *name, struct image_info *ret,
                           struct err *err);
must_use int image_list(struct image_store *s, struct image_info **ret, size_t *ret_n,
                        struct err *err);

/* From here on DIGEST counts as used by a task, for image_remove of this store, until it is
 * released as often as held: for whoever prepares a task between asking for the layers and being in
 * IN_USE. In memory only. -ENOENT: there is no such image (any more). */
must_use int image_hold(struct image_store *s, const char *digest, struct err *err);
void image_release(struct image_store *s, const char *digest);

/* Remove the name (or, given a digest, all its names), then what nothing refers to any more. IN_USE
 * are the manifest digests that tasks on this node use: -EBUSY (the sentence names one) unless
 * FORCE, which removes the name but never what is in use. */
struct image_removed {
    struct strv untagged, deleted;
    uint64_t freed_bytes;
};
must_use int image_remove(struct image_store *s, const char *name, const struct strv *in_use,
                          bool force, struct image_removed *ret, struct err *err);
void image_removed_fini(struct image_removed *r);

#endif
