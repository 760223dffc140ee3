// SPDX-License-Identifier: Apache-2.0
/* runtime/base/image_name.h - image names as Docker reads them, and digests as text.
 *
 * "nginx" = "docker.io/library/nginx:latest"; a first component with '.', ':' or an upper-case
 * letter, and "localhost", is a registry. Stored in full, shown short. "hex" is always 64 lower-case
 * digits, a digest is "sha256:" and hex; other algorithms are refused.
 *
 * Role     one reading for the Compose file, the manifest's check and the image store.
 * Thread   [any]. Pure.
 */
#ifndef ORLOP_BASE_IMAGE_NAME_H
#define ORLOP_BASE_IMAGE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { IMAGE_HEX_LEN = 64, IMAGE_HEX_MAX = 65 };

/* The full name, registry/path:tag, without the @digest part. A digest in TEXT is checked and given
 * as hex in ret_hex (65 bytes; "" = none; NULL: a digest is refused). *ret: mem_free. -EINVAL. */
must_use int image_name_parse(const char *text, char **ret, char *ret_hex, struct err *err);

/* Where the short form of a full name starts: "nginx:latest". Borrowed from FULL. */
const char *image_name_short(const char *full);

bool image_is_hex(const char *s, size_t n); /* N lower-case hexadecimal digits */

/* "sha256:<64 hex>" -> hex. -EINVAL; the sentence names TEXT. */
must_use int image_digest_parse(const char *text, char ret_hex[static IMAGE_HEX_MAX],
                                struct err *err);

#endif
