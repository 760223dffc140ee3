// SPDX-License-Identifier: Apache-2.0
/* runtime/image/path.h - names inside archives, made plain: relative, no "." or "..", no empty
 * parts.
 *
 * Thread   [any].
 */
#ifndef ORLOP_IMAGE_PATH_H
#define ORLOP_IMAGE_PATH_H

#include "runtime/base/err.h"
#include "runtime/image/limits.h"

/* "./usr//bin/" and "/usr/bin" -> "usr/bin"; "./" and "/" -> "" (the root). A leading '/' means the
 * root of the archive. -EINVAL for "..", -ENAMETOOLONG, -ELOOP (too deep). */
must_use int image__path_clean(const char *name, char ret[static IMAGE_PATH_BYTES_MAX + 1],
                               struct err *err);

/* Start of the last component. */
const char *image__path_base(const char *clean);

#endif
