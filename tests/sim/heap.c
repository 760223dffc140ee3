// SPDX-License-Identifier: Apache-2.0
/* runtime/base/mem.h for processes that may be killed: each block is in the list of who asked for
 * it, and goes with it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "sim.h"

struct block {
    struct list link; /* two pointers: what follows stays aligned to 16 */
};

void sim_heap_init(void) {
    for (int i = 0; i < SIM_ROLES; i++) list_init(&sim.processes[i].blocks);
}

void sim_heap_drop(enum sim_role who) {
    struct list *all = &sim.processes[who].blocks;
    for (struct list *it = all->next, *next; it != all; it = next) {
        next = it->next;
        free(container_of(it, struct block, link));
    }
    list_init(all);
}

static void *enter(struct block *b) {
    ensure(b);
    list_add_tail(&sim.processes[sim.who].blocks, &b->link);
    return b + 1;
}

void mem_fail_after(unsigned long nth) {
    (void) nth;
}

void *mem_alloc(size_t n) {
    return enter(malloc(sizeof(struct block) + n));
}

void *mem_zalloc(size_t n) {
    return enter(calloc(1, sizeof(struct block) + n));
}

void *mem_array(size_t n, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : mem_zalloc(bytes);
}

void *mem_resize(void *p, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    if (!p) return mem_alloc(bytes);
    struct block *b = (struct block *) p - 1;
    list_del(&b->link);
    return enter(realloc(b, sizeof *b + bytes));
}

void mem_free(void *p) {
    if (!p) return;
    struct block *b = (struct block *) p - 1;
    list_del(&b->link);
    free(b);
}

void *mem_dup(const void *p, size_t n) {
    void *d = mem_alloc(n);
    if (n) memcpy(d, p, n);
    return d;
}

char *mem_strndup(const char *s, size_t n) {
    size_t len = strnlen(s, n);
    char *d = mem_alloc(len + 1);
    memcpy(d, s, len);
    d[len] = 0;
    return d;
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, (size_t) -1 / 2);
}

char *mem_printf(const char *fmt, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return mem_strdup(text);
}
