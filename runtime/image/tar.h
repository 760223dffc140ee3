// SPDX-License-Identifier: Apache-2.0
/* runtime/image/tar.h - entries of a tar archive; libarchive's reader and nothing else of it.
 *
 * Role     names come out as the bytes that the archive holds: libarchive reads in the C locale
 *          here, because in an UTF-8 one it composes accents and so makes two names one. What
 *          libarchive only warns about (malformed extended headers) is an error.
 * Thread   [pool], one owner.
 */
#ifndef ORLOP_IMAGE_TAR_H
#define ORLOP_IMAGE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/image/stream.h"

struct archive_entry;
struct image_tar;

/* From a stream (borrowed), or from OFFSET of a seekable file (borrowed; its position is not used).
 */
must_use int image__tar_from_stream(struct image_stream *s, struct image_tar **ret,
                                    struct err *err);
must_use int image__tar_from_file(int fd, uint64_t offset, struct image_tar **ret, struct err *err);
void image__tar_free(struct image_tar *t);

/* 1 and the next entry (borrowed, until the next call), 0 at the end, -EBADMSG. */
must_use int image__tar_next(struct image_tar *t, struct archive_entry **ret, struct err *err);

/* 1 and a piece of the entry's data with its offset in the file (holes are left out), 0 at its end.
 */
must_use int image__tar_data(struct image_tar *t, const void **ret, size_t *ret_n,
                             uint64_t *ret_offset, struct err *err);

/* Does a member's header have its checksum? What is no archive is known by its first block. */
enum { IMAGE_TAR_BLOCK = 512 };
bool image__tar_is_header(const unsigned char block[static IMAGE_TAR_BLOCK]);

/* Where the current entry's first header starts: an offset for image__tar_from_file. */
uint64_t image__tar_position(const struct image_tar *t);

static inline void image__auto_tar(struct image_tar **t) {
    image__tar_free(*t);
}
#define auto_tar __attribute__((cleanup(image__auto_tar)))

#endif
