// SPDX-License-Identifier: Apache-2.0
/* runtime/image/reference.h - image names as Docker reads them.
 *
 * "nginx" = "docker.io/library/nginx:latest"; a first component with '.', ':' or an upper-case
 * letter, and "localhost", is a registry. Stored in full, shown short.
 *
 * Thread   [any].
 */
#ifndef ORLOP_IMAGE_REFERENCE_H
#define ORLOP_IMAGE_REFERENCE_H

#include "runtime/base/err.h"

/* The full name, registry/path:tag, without the @digest part. A digest in TEXT is checked and given
 * as hex in ret_hex (65 bytes; "" = none; NULL: a digest is refused). *ret: mem_free. -EINVAL. */
must_use int image__reference_parse(const char *text, char **ret, char *ret_hex, struct err *err);

/* Where the short form of a full name starts: "nginx:latest". Borrowed from FULL. */
const char *image__reference_short(const char *full);

#endif
