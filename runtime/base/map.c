// SPDX-License-Identifier: Apache-2.0
#include "map.h"

#include <errno.h>
#include <string.h>

#include "mem.h"
#include "str.h"

/* index[] holds 1 + the entry's number, 0 = free. A deleted entry keeps its place in the index
 * until the next rebuild, so probing never has to move anything. */

void map_fini(struct map *m) {
    for (size_t i = 0; i < m->n; i++) mem_free(m->entries[i].key);
    mem_free(m->entries);
    mem_free(m->index);
    *m = (struct map){0};
}

static struct map_entry *find(const struct map *m, const char *key, uint64_t hash) {
    if (!m->index_cap) return NULL;
    for (size_t i = hash & (m->index_cap - 1);; i = (i + 1) & (m->index_cap - 1)) {
        if (!m->index[i]) return NULL;
        struct map_entry *e = &m->entries[m->index[i] - 1];
        if (e->key && e->hash == hash && str_eq(e->key, key)) return e;
    }
}

static void index_entry(uint32_t *index, size_t cap, uint64_t hash, uint32_t number) {
    size_t i = hash & (cap - 1);
    while (index[i]) i = (i + 1) & (cap - 1);
    index[i] = number;
}

/* Make room for one more: drop deleted entries, grow, index anew. */
static int rebuild(struct map *m) {
    size_t cap = 8;
    while (cap < m->live * 2 + 2) cap *= 2;
    struct map_entry *entries = mem_array(cap, sizeof *entries);
    uint32_t *index = mem_array(cap * 2, sizeof *index);
    if (!entries || !index) {
        mem_free(entries);
        mem_free(index);
        return -ENOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (!m->entries[i].key) continue;
        entries[n++] = m->entries[i];
        index_entry(index, cap * 2, m->entries[i].hash, (uint32_t) n);
    }
    mem_free(m->entries);
    mem_free(m->index);
    *m = (struct map){entries, n, cap, n, index, cap * 2};
    return 0;
}

void *map_get(const struct map *m, const char *key) {
    struct map_entry *e = find(m, key, str_hash(key, strlen(key)));
    return e ? e->value : NULL;
}

int map_set(struct map *m, const char *key, void *value) {
    uint64_t hash = str_hash(key, strlen(key));
    struct map_entry *e = find(m, key, hash);
    if (e) {
        e->value = value;
        return 0;
    }
    char *copy = mem_strdup(key);
    if (!copy) return -ENOMEM;
    if (m->n == m->cap && rebuild(m) < 0) {
        mem_free(copy);
        return -ENOMEM;
    }
    m->entries[m->n++] = (struct map_entry){copy, value, hash};
    index_entry(m->index, m->index_cap, hash, (uint32_t) m->n);
    m->live++;
    return 0;
}

void *map_del(struct map *m, const char *key) {
    struct map_entry *e = find(m, key, str_hash(key, strlen(key)));
    if (!e) return NULL;
    void *value = e->value;
    mem_free(e->key);
    e->key = NULL;
    m->live--;
    return value;
}

int map_next(const struct map *m, size_t *pos, const char **ret_key, void **ret_value) {
    while (*pos < m->n) {
        const struct map_entry *e = &m->entries[(*pos)++];
        if (!e->key) continue;
        if (ret_key) *ret_key = e->key;
        if (ret_value) *ret_value = e->value;
        return 1;
    }
    return 0;
}
