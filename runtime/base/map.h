// SPDX-License-Identifier: Apache-2.0
/* runtime/base/map.h - string -> pointer, in insertion order.
 *
 * Thread   one owner. Keys are copied; values are the caller's. Iteration is in order of insertion
 *          (of the keys still there), so that everything computed from a map is reproducible.
 */
#ifndef ORLOP_BASE_MAP_H
#define ORLOP_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct map_entry {
    char *key; /* NULL: deleted */
    void *value;
    uint64_t hash;
};

struct map {
    struct map_entry *entries;
    size_t n; /* used slots of entries, deleted ones too */
    size_t cap;
    size_t live; /* what map_len answers */
    uint32_t *index;
    size_t index_cap; /* a power of two */
};

void map_fini(struct map *m);                                      /* not the values */
void *map_get(const struct map *m, const char *key);               /* NULL = not there */
must_use int map_set(struct map *m, const char *key, void *value); /* adds or replaces; -ENOMEM */
void *map_del(struct map *m, const char *key);                     /* the value, NULL = not there */
static inline size_t map_len(const struct map *m) {
    return m->live;
}

/* for (size_t i = 0; map_next(&m, &i, &key, &value);) ...  The body may delete the current key
 * only. */
int map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value);

#endif
