// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "request.h"

static void *take(void *ctx, size_t n) {
    return budget_alloc(ctx, n);
}
static void give(void *ctx, void *p) {
    (void) ctx; /* all at once, by budget_reset */
    (void) p;
}

int budget_init(struct budget *b) {
    void *m = mmap(NULL, BUDGET_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return -errno;
    *b = (struct budget){.memory = m, .allocator = {.alloc = take, .free = give}};
    b->allocator.allocator_data = b;
    return 0;
}

void budget_fini(struct budget *b) {
    if (b->memory) (void) munmap(b->memory, BUDGET_BYTES);
    *b = (struct budget){0};
}

/* Wiped: a request may hold secrets, and every sandbox begins as a copy of this memory, with
 * `init: true` for as long as it lives. */
void budget_reset(struct budget *b) {
    enum { KEEP = 64 * 1024 };
    explicit_bzero(b->memory, b->used < KEEP ? b->used : KEEP);
    if (b->used > KEEP) /* a rare large message must not stay in our memory for ever */
        (void) madvise(b->memory + KEEP, BUDGET_BYTES - KEEP, MADV_DONTNEED);
    b->used = 0;
}

void *budget_alloc(struct budget *b, size_t n) {
    if (n > BUDGET_BYTES) return NULL;
    n = (n + 15) & ~(size_t) 15;
    if (n > BUDGET_BYTES - b->used) return NULL;
    void *p = b->memory + b->used;
    b->used += n;
    return p;
}
