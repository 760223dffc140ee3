// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/doc.h"

#include <errno.h>

#include "runtime/base/mem.h"
#include "runtime/image/limits.h"

/* Nesting is bounded before the parser, which is recursive, sees the text. */
static bool too_deep(const char *s, size_t n) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        if (quoted) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                quoted = false;
            continue;
        }
        if (s[i] == '"')
            quoted = true;
        else if (s[i] == '{' || s[i] == '[')
            depth++;
        else if (s[i] == '}' || s[i] == ']')
            depth--;
        if (depth > IMAGE_JSON_DEPTH_MAX) return true;
    }
    return false;
}

int image__doc_load(const char *data, size_t n, const char *what, json_t **ret, struct err *err) {
    if (n > IMAGE_JSON_MAX)
        return err_say(err, -EFBIG, "%s: larger than %d MiB", what, IMAGE_JSON_MAX >> 20);
    if (too_deep(data, n))
        return err_set(err, -EINVAL, "%s: nested deeper than %d", what, IMAGE_JSON_DEPTH_MAX);
    json_error_t e;
    json_t *j = json_loadb(data, n, JSON_REJECT_DUPLICATES, &e);
    if (j) {
        *ret = j;
        return 0;
    }
    if (json_error_code(&e) == json_error_out_of_memory) return err_set(err, -ENOMEM, "%s", what);
    return err_set(err, -EINVAL, "%s: not valid JSON (line %d: %.80s)", what, e.line, e.text);
}

/* The member, or NULL for an absent or null one. */
static json_t *member(const json_t *obj, const char *key) {
    json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

int image__doc_string(const json_t *obj, const char *key, const char **ret, struct err *err) {
    json_t *v = member(obj, key);
    if (v && !json_is_string(v)) return err_set(err, -EINVAL, "\"%s\" must be a string", key);
    *ret = json_string_value(v);
    return 0;
}

int image__doc_u64(const json_t *obj, const char *key, uint64_t *ret, struct err *err) {
    json_t *v = member(obj, key);
    if (v && (!json_is_integer(v) || json_integer_value(v) < 0))
        return err_set(err, -EINVAL, "\"%s\" must be a whole number of 0 or more", key);
    *ret = (uint64_t) json_integer_value(v);
    return 0;
}

int image__doc_object(const json_t *obj, const char *key, json_t **ret, struct err *err) {
    json_t *v = member(obj, key);
    if (v && !json_is_object(v)) return err_set(err, -EINVAL, "\"%s\" must be an object", key);
    *ret = v;
    return 0;
}

int image__doc_array(const json_t *obj, const char *key, json_t **ret, struct err *err) {
    json_t *v = member(obj, key);
    if (v && !json_is_array(v)) return err_set(err, -EINVAL, "\"%s\" must be a list", key);
    *ret = v;
    return 0;
}

int image__doc_strv(const json_t *obj, const char *key, struct strv *ret, struct err *err) {
    json_t *a = NULL;
    int r = image__doc_array(obj, key, &a, err);
    if (r < 0) return r;
    for (size_t i = 0; i < json_array_size(a); i++) {
        const char *s = json_string_value(json_array_get(a, i));
        if (!s) return err_set(err, -EINVAL, "\"%s\" must be a list of strings", key);
        r = strv_add(ret, s);
        if (r < 0) return err_set(err, r, "\"%s\"", key);
    }
    return 0;
}

int image__doc_keys(const json_t *obj, const char *key, struct strv *ret, struct err *err) {
    json_t *o = NULL;
    int r = image__doc_object(obj, key, &o, err);
    if (r < 0) return r;
    for (void *i = json_object_iter(o); i; i = json_object_iter_next(o, i)) {
        r = strv_add(ret, json_object_iter_key(i));
        if (r < 0) return err_set(err, r, "\"%s\"", key);
    }
    return 0;
}

char *image__doc_text(const json_t *j) {
    size_t n = json_dumpb(j, NULL, 0, JSON_COMPACT);
    if (n == 0) return NULL;
    auto_free char *text = mem_alloc(n + 1);
    if (!text || json_dumpb(j, text, n, JSON_COMPACT) != n) return NULL;
    text[n] = 0;
    return steal_ptr(&text);
}
