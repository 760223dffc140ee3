// SPDX-License-Identifier: Apache-2.0
/* runtime/image/digest.h - SHA-256 of what streams by, and digests as text.
 *
 * Role     the only includer of OpenSSL in this folder. "hex" and "digest": image_name.h.
 * Thread   [any], one owner.
 */
#ifndef ORLOP_IMAGE_DIGEST_H
#define ORLOP_IMAGE_DIGEST_H

#include <stddef.h>

#include "runtime/base/image_name.h"

struct image_hash {
    void *ctx; /* EVP_MD_CTX */
};

must_use int image__hash_init(struct image_hash *h);
void image__hash_fini(struct image_hash *h); /* NULL, half-built and finished ones too */
must_use int image__hash_add(struct image_hash *h, const void *p, size_t n);
must_use int image__hash_end(struct image_hash *h, char ret_hex[static IMAGE_HEX_MAX]);
must_use int image__hash_bytes(const void *p, size_t n, char ret_hex[static IMAGE_HEX_MAX]);

#endif
