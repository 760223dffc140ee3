// SPDX-License-Identifier: Apache-2.0
/* runtime/image/config.h - the config document of an image: what to run, and of which layers it is.
 *
 * Thread   [any].
 */
#ifndef ORLOP_IMAGE_CONFIG_H
#define ORLOP_IMAGE_CONFIG_H

#include "runtime/image/image.h"

struct image_config_doc {
    char arch[32], os[32];
    int64_t created_unix_ms;
    struct strv diff_ids; /* "sha256:HEX", bottom first */
    struct image_config config;
};

/* -EINVAL with a sentence that names the key. */
must_use int image__config_parse(const char *data, size_t n, const char *what,
                                 struct image_config_doc *ret, struct err *err);
void image__config_doc_fini(struct image_config_doc *d);

/* RFC 3339 -> milliseconds since 1970; -EINVAL. */
must_use int image__time_parse(const char *text, int64_t *ret_unix_ms);

/* The config of an image that was only a root file system. CMD "" = none. mem_free. */
must_use int image__config_make(const char *diff_hex, const char *cmd, int64_t created_unix_s,
                                char **ret);

#endif
