// SPDX-License-Identifier: Apache-2.0
/* runtime/image/doc.h - JSON documents from outside: bounded before they are parsed, every access
 * checked for its type.
 *
 * Role     the only place that parses JSON here. Malformed, too large or too deep text and
 *          duplicate keys are refused; a value of another type than asked for is an error that
 *          names the key.
 * Thread   [any].
 * Owns     strings and objects returned are borrowed from the document.
 */
#ifndef ORLOP_IMAGE_DOC_H
#define ORLOP_IMAGE_DOC_H

#include <jansson.h>
#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/str.h"

static inline void image__auto_json(json_t **j) {
    json_decref(*j);
}
#define auto_json __attribute__((cleanup(image__auto_json)))

/* DATA needs no NUL. WHAT names the document in sentences. -EINVAL, -EFBIG, -ENOMEM. */
must_use int image__doc_load(const char *data, size_t n, const char *what, json_t **ret,
                             struct err *err);

/* Members of OBJ. An absent or null one gives NULL (0, nothing added) and success. -EINVAL. */
must_use int image__doc_string(const json_t *obj, const char *key, const char **ret,
                               struct err *err);
must_use int image__doc_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *err);
must_use int image__doc_object(const json_t *obj, const char *key, json_t **ret, struct err *err);
must_use int image__doc_array(const json_t *obj, const char *key, json_t **ret, struct err *err);
must_use int image__doc_strv(const json_t *obj, const char *key, struct strv *ret, struct err *err);
must_use int image__doc_keys(const json_t *obj, const char *key, struct strv *ret, struct err *err);

/* Compact text, members in the order they were set. NULL when out of memory; mem_free. */
must_use char *image__doc_text(const json_t *j);

#endif
