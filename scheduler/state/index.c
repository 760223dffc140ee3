// SPDX-License-Identifier: Apache-2.0
#include "index.h"

#include <errno.h>

#include "runtime/base/mem.h"

/* Open addressing with linear probing; a deletion moves the followers up, so there are no
 * tombstones. */

static size_t home(const struct index *x, uint64_t key) {
    key ^= key >> 33;
    key *= UINT64_C(0xff51afd7ed558ccd);
    key ^= key >> 33;
    return (size_t) key & (x->cap - 1);
}

static struct index_slot *probe(const struct index *x, uint64_t key) {
    size_t i = home(x, key);
    while (x->slots[i].value && x->slots[i].key != key) i = (i + 1) & (x->cap - 1);
    return &x->slots[i];
}

void index_fini(struct index *x) {
    mem_free(x->slots);
    *x = (struct index){0};
}

void *index_get(const struct index *x, uint64_t key) {
    return x->cap ? probe(x, key)->value : NULL;
}

static int grow(struct index *x) {
    size_t cap = x->cap ? x->cap * 2 : 16;
    struct index bigger = {mem_array(cap, sizeof *x->slots), cap, x->n};
    if (!bigger.slots) return -ENOMEM;
    for (size_t i = 0; i < x->cap; i++)
        if (x->slots[i].value) *probe(&bigger, x->slots[i].key) = x->slots[i];
    mem_free(x->slots);
    *x = bigger;
    return 0;
}

int index_set(struct index *x, uint64_t key, void *value) {
    ensure(value);
    if (x->n * 2 >= x->cap && grow(x) < 0) return -ENOMEM;
    struct index_slot *s = probe(x, key);
    if (!s->value) x->n++;
    *s = (struct index_slot){key, value};
    return 0;
}

void *index_del(struct index *x, uint64_t key) {
    if (!x->cap) return NULL;
    struct index_slot *s = probe(x, key);
    void *value = s->value;
    if (!value) return NULL;
    x->n--;
    size_t hole = (size_t) (s - x->slots);
    for (size_t i = (hole + 1) & (x->cap - 1); x->slots[i].value; i = (i + 1) & (x->cap - 1)) {
        size_t want = home(x, x->slots[i].key);
        /* May stay unless its home lies cyclically outside (hole, i]. */
        if (((i - want) & (x->cap - 1)) < ((i - hole) & (x->cap - 1))) continue;
        x->slots[hole] = x->slots[i];
        hole = i;
    }
    x->slots[hole].value = NULL;
    return value;
}

void *index_next(const struct index *x, size_t *pos) {
    while (*pos < x->cap) {
        void *value = x->slots[(*pos)++].value;
        if (value) return value;
    }
    return NULL;
}
