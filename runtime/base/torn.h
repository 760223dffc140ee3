// SPDX-License-Identifier: Apache-2.0
/* runtime/base/torn.h - a write that never arrived whole, and damage, told apart.
 *
 * Files that are written front to back into zeros: what a power loss cuts short lacks whole sectors
 * (kill -9: whole pages). Bytes that are all there but wrong were changed afterwards. */
#ifndef ORLOP_BASE_TORN_H
#define ORLOP_BASE_TORN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { TORN_SECTOR = 512 };

static inline bool torn_is_zero(const void *p, size_t n) {
    const char *c = p;
    return n == 0 || (c[0] == 0 && memcmp(c, c + 1, n - 1) == 0);
}

/* Of the sectors of FILE in which its bytes FROM up to TO lie: is one still zero there? */
static inline bool torn_lacks_sector(const void *file, size_t from, size_t to) {
    while (from < to) {
        size_t end = (from / TORN_SECTOR + 1) * TORN_SECTOR;
        if (end > to) end = to;
        if (torn_is_zero((const char *) file + from, end - from)) return true;
        from = end;
    }
    return false;
}

#endif
