// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/index.h - u64 -> pointer: networks by id, addresses by (network, address).
 *
 * Thread   one owner. Values are the caller's, never NULL. Order of iteration is not defined:
 *          nothing that must be reproducible may come from it.
 */
#ifndef ORLOP_SCHEDULER_STATE_INDEX_H
#define ORLOP_SCHEDULER_STATE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct index_slot {
    uint64_t key;
    void *value; /* NULL = free */
};

struct index {
    struct index_slot *slots;
    size_t cap; /* a power of two */
    size_t n;
};

void index_fini(struct index *x); /* not the values */
void *index_get(const struct index *x, uint64_t key);
must_use int index_set(struct index *x, uint64_t key, void *value); /* adds or replaces; -ENOMEM */
void *index_del(struct index *x, uint64_t key);
void *index_next(const struct index *x, size_t *pos); /* NULL at the end */

static inline uint64_t index_pair(uint32_t hi, uint32_t lo) {
    return (uint64_t) hi << 32 | lo;
}

#endif
