// SPDX-License-Identifier: Apache-2.0
/* runtime/image/query.h - what is in the store.
 *
 * Thread   [pool].
 */
#ifndef ORLOP_IMAGE_QUERY_H
#define ORLOP_IMAGE_QUERY_H

#include "runtime/image/store.h"

/* All that is known of the manifest HEX; its config only WITH_CONFIG. */
must_use int image__info(struct image_store *s, const char *hex, bool with_config,
                         struct image_info *ret, struct err *err);

#endif
