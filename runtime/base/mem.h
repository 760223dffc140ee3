// SPDX-License-Identifier: Apache-2.0
/* runtime/base/mem.h - the heap, fallible, and scope-bound ownership.
 *
 * Role     all of base, proto, runtime, scheduler and agent allocate by mem_*: NULL means -ENOMEM.
 *          Tests make the Nth allocation fail (mem_fail_after).
 * Thread   [any]; mem_fail_after is process-wide and for single-threaded tests.
 */
#ifndef ORLOP_BASE_MEM_H
#define ORLOP_BASE_MEM_H

#include <stddef.h>

#include "err.h"

must_use void *mem_alloc(size_t n);                        /* uninitialised */
must_use void *mem_zalloc(size_t n);                       /* zeroed */
must_use void *mem_array(size_t n, size_t size);           /* zeroed; NULL on overflow */
must_use void *mem_resize(void *p, size_t n, size_t size); /* realloc; P stays valid on failure */
must_use char *mem_strdup(const char *s);
must_use char *mem_strndup(const char *s, size_t n);
must_use void *mem_dup(const void *p, size_t n);
must_use char *mem_printf(const char *fmt, ...) printf_like(1, 2);
void mem_free(void *p); /* NULL allowed */

/* For a daemon with a few threads: one arena for all of them instead of one each, and what a peak
 * needed goes back to the kernel. */
void mem_be_thrifty(void);

/* Let the Nth allocation from now (1 = the next) fail, and only that one; 0 = none. */
void mem_fail_after(unsigned long nth);

/* Scope-bound ownership: declare and initialise on one line. */
static inline void mem__auto_free(void *p) {
    mem_free(*(void **) p);
}
#define auto_free __attribute__((cleanup(mem__auto_free)))

/* Hand an auto_free pointer over. */
#define steal_ptr(pp)                                                                              \
    ({                                                                                             \
        __auto_type steal__p_ = (pp);                                                              \
        __auto_type steal__v_ = *steal__p_;                                                        \
        *steal__p_ = NULL;                                                                         \
        steal__v_;                                                                                 \
    })

#define container_of(ptr, type, member) ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))
#define array_len(a) (sizeof(a) / sizeof((a)[0]))

#endif
