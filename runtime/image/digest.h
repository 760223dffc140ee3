// SPDX-License-Identifier: Apache-2.0
/* runtime/image/digest.h - SHA-256 of what streams by, and digests as text.
 *
 * Role     the only includer of OpenSSL in this folder. "hex" is always 64 lower-case digits;
 *          "digest" is "sha256:" and hex. Other algorithms are refused by image__digest_parse.
 * Thread   [any], one owner.
 */
#ifndef ORLOP_IMAGE_DIGEST_H
#define ORLOP_IMAGE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/err.h"

enum { IMAGE_HEX_LEN = 64, IMAGE_HEX_MAX = 65 };

struct image_hash {
    void *ctx; /* EVP_MD_CTX */
};

must_use int image__hash_init(struct image_hash *h);
void image__hash_fini(struct image_hash *h); /* NULL, half-built and finished ones too */
must_use int image__hash_add(struct image_hash *h, const void *p, size_t n);
must_use int image__hash_end(struct image_hash *h, char ret_hex[static IMAGE_HEX_MAX]);
must_use int image__hash_bytes(const void *p, size_t n, char ret_hex[static IMAGE_HEX_MAX]);

bool image__is_hex(const char *s, size_t n); /* N lower-case hexadecimal digits */

/* "sha256:<64 hex>" -> hex. -EINVAL; the sentence names TEXT. */
must_use int image__digest_parse(const char *text, char ret_hex[static IMAGE_HEX_MAX],
                                 struct err *err);

#endif
