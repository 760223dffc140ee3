// SPDX-License-Identifier: Apache-2.0
/* tests/unit/image/archive.h - tar archives made by hand, hostile ones included, and a store to put
 * them into. */
#ifndef ORLOP_TESTS_IMAGE_ARCHIVE_H
#define ORLOP_TESTS_IMAGE_ARCHIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/image/digest.h"
#include "runtime/image/store.h"

struct tar_entry {
    char type; /* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' dir, '6' FIFO */
    const char *name;
    const char *link;
    const char *data; /* NULL: none */
    unsigned mode, uid, gid, major, minor;
    int64_t mtime;
};

void archive_add(struct buf *tar, const struct tar_entry *e);
void archive_add_data(struct buf *tar, const char *name, const void *data, size_t n);
/* An extended header for the entry that follows: KEY=VALUE. */
void archive_add_pax(struct buf *tar, const char *key, const void *value, size_t n);
void archive_end(struct buf *tar);
/* FILTER: ARCHIVE_FILTER_GZIP or _ZSTD. */
void archive_compress(struct buf *b, int filter);

int archive_fd(const struct buf *b); /* a memfd at its start */

/* A pair of layer and image in one go: an OCI layout with one layer. NAME NULL: none inside. */
struct archive_image {
    struct buf layer, config, manifest, index;
    char layer_hex[65], diff_hex[65], config_hex[65], manifest_hex[65];
};
void archive_image_init(struct archive_image *im, const struct tar_entry *entries, size_t n);
void archive_image_describe(struct archive_image *im,
                            const char *name); /* documents from the layer */
void archive_image_tar(const struct archive_image *im, struct buf *tar);
void archive_image_fini(struct archive_image *im);

/* A store in a directory of its own. */
struct test_store {
    char dir[64]; /* its parent: canary and store */
    char path[80];
    struct image_store *store;
};
void test_store_open(struct test_store *t);
void test_store_reopen(struct test_store *t);
void test_store_close(struct test_store *t); /* removes the directory */
/* Blobs, layers and leftovers in tmp/. */
size_t test_store_count(const struct test_store *t, const char *sub);

#endif
