// SPDX-License-Identifier: Apache-2.0
#include "canonical.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool among(const char *s, const char *const *words) {
    for (; *words; words++)
        if (strcmp(s, *words) == 0) return true;
    return false;
}

/* Empty values of these are kept. */
static const char *const kept[] = {
    "command", "entrypoint",  "init",         "attach",      "replicas",    "scale",
    "retries", "parallelism", "max_attempts", "enable_ipv4", "enable_ipv6", "required",
    "soft",    "hard",        "mode",         "content",     "test",        NULL};
/* Mappings with the user's keys: entries are never dropped. */
static const char *const user_keys[] = {"environment",
                                        "labels",
                                        "args",
                                        "options",
                                        "driver_opts",
                                        "annotations",
                                        "sysctls",
                                        "storage_opt",
                                        "aux_addresses",
                                        "services",
                                        "networks",
                                        "volumes",
                                        "secrets",
                                        "configs",
                                        "models",
                                        "depends_on",
                                        "additional_contexts",
                                        "ulimits",
                                        "ssh",
                                        NULL};
static const char *const sets[] = {"ports", "extra_hosts", "expose", "cap_add", "cap_drop", NULL};

static bool is_empty(const json_t *v) {
    return json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && !(fabs(json_number_value(v)) > 0)) ||
           (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

/* A copy of V without what makes no difference. KEY: what V stands under. FREE: its keys are the
 * user's. */
static json_t *prune(const json_t *v, bool free_keys) {
    if (json_is_array(v)) {
        json_t *list = json_array();
        for (size_t i = 0; i < json_array_size(v); i++)
            json_array_append_new(list, prune(json_array_get(v, i), false));
        return list;
    }
    if (!json_is_object(v)) return json_deep_copy(v);
    json_t *map = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *) (uintptr_t) v, key, value) {
        if (!free_keys && strncmp(key, "x-", 2) == 0) continue;
        json_t *below = prune(value, !free_keys && among(key, user_keys));
        bool keep = free_keys || (among(key, kept) && !json_is_null(below)) || !is_empty(below);
        if (keep) json_object_set(map, key, below);
        json_decref(below);
    }
    return map;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Both sorted by their text; the same as sets. */
static bool same_set(const json_t *a, const json_t *b) {
    size_t n = json_array_size(a);
    if (n != json_array_size(b)) return false;
    char **x = calloc(n + 1, sizeof *x), **y = calloc(n + 1, sizeof *y);
    bool same = true;
    for (size_t i = 0; i < n; i++) {
        x[i] = json_dumps(json_array_get(a, i), JSON_SORT_KEYS | JSON_ENCODE_ANY);
        y[i] = json_dumps(json_array_get(b, i), JSON_SORT_KEYS | JSON_ENCODE_ANY);
    }
    qsort(x, n, sizeof *x, by_text);
    qsort(y, n, sizeof *y, by_text);
    for (size_t i = 0; i < n; i++) {
        same &= strcmp(x[i], y[i]) == 0;
        free(x[i]);
        free(y[i]);
    }
    free(x);
    free(y);
    return same;
}

static bool same_number(const json_t *a, const json_t *b) {
    double x = json_number_value(a), y = json_number_value(b);
    return fabs(x - y) <= 1e-6 * fmax(fabs(x), fabs(y));
}

static bool differs(const json_t *a, const json_t *b, const char *path, char **ret_where) {
    char *x = a ? json_dumps(a, JSON_ENCODE_ANY) : NULL,
         *y = b ? json_dumps(b, JSON_ENCODE_ANY) : NULL;
    if (asprintf(ret_where, "%s: expected %.300s, got %.300s", path, x ? x : "nothing",
                 y ? y : "nothing") < 0)
        *ret_where = NULL;
    free(x);
    free(y);
    return false;
}

static bool same(const json_t *a, const json_t *b, const char *key, const char *path,
                 char **ret_where);

static bool same_below(const json_t *a, const json_t *b, const char *key, const char *path,
                       char **ret_where) {
    char *below = NULL;
    if (asprintf(&below, "%s.%s", path, key) < 0) return false;
    bool good = a && b ? same(a, b, key, below, ret_where) : differs(a, b, below, ret_where);
    free(below);
    return good;
}

static bool same_maps(const json_t *a, const json_t *b, const char *path, char **ret_where) {
    json_t *value;
    const char *key;
    json_object_foreach((json_t *) (uintptr_t) a, key, value) {
        if (!same_below(value, json_object_get(b, key), key, path, ret_where)) return false;
    }
    json_object_foreach((json_t *) (uintptr_t) b, key, value) {
        if (!json_object_get(a, key)) return same_below(NULL, value, key, path, ret_where);
    }
    return true;
}

static bool same(const json_t *a, const json_t *b, const char *key, const char *path,
                 char **ret_where) {
    if (json_is_object(a) && json_is_object(b)) return same_maps(a, b, path, ret_where);
    if (json_is_array(a) && json_is_array(b) && among(key, sets))
        return same_set(a, b) || differs(a, b, path, ret_where);
    if (json_is_array(a) && json_is_array(b)) {
        if (json_array_size(a) != json_array_size(b)) return differs(a, b, path, ret_where);
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!same_below(json_array_get(a, i), json_array_get(b, i), "[]", path, ret_where))
                return false;
        return true;
    }
    if (json_is_number(a) && json_is_number(b))
        return same_number(a, b) || differs(a, b, path, ret_where);
    return json_equal(a, b) || differs(a, b, path, ret_where);
}

bool canonical_equal(const json_t *expected, const json_t *actual, char **ret_where) {
    json_t *a = prune(expected, false), *b = prune(actual, false);
    *ret_where = NULL;
    bool good = same(a, b, "", "", ret_where);
    json_decref(a);
    json_decref(b);
    return good;
}
