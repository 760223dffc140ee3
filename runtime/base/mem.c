// SPDX-License-Identifier: Apache-2.0
#include "mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long fail_in;

static int fails(void) {
    return fail_in && --fail_in == 0;
}

void mem_fail_after(unsigned long nth) {
    fail_in = nth;
}

void *mem_alloc(size_t n) {
    return fails() ? NULL : malloc(n ? n : 1);
}

void *mem_zalloc(size_t n) {
    return fails() ? NULL : calloc(1, n ? n : 1);
}

void *mem_array(size_t n, size_t size) {
    return fails() ? NULL : calloc(n ? n : 1, size ? size : 1);
}

void *mem_resize(void *p, size_t n, size_t size) {
    size_t bytes;
    if (fails() || __builtin_mul_overflow(n, size, &bytes)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *mem_dup(const void *p, size_t n) {
    void *d = mem_alloc(n);
    if (d && n) memcpy(d, p, n);
    return d;
}

char *mem_strndup(const char *s, size_t n) {
    size_t len = strnlen(s, n);
    char *d = mem_alloc(len + 1);
    if (!d) return NULL;
    memcpy(d, s, len);
    d[len] = 0;
    return d;
}

char *mem_strdup(const char *s) {
    return mem_strndup(s, (size_t) -1 / 2);
}

char *mem_printf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) return NULL;
    char *s = mem_alloc((size_t) n + 1);
    if (!s) return NULL;
    va_start(ap, fmt);
    vsnprintf(s, (size_t) n + 1, fmt, ap);
    va_end(ap);
    return s;
}

void mem_free(void *p) {
    free(p);
}

void mem_be_thrifty(void) {
    enum { LARGE = 128 * 1024 }; /* glibc's own start values, kept from growing */
    (void) mallopt(M_ARENA_MAX, 1);
    (void) mallopt(M_MMAP_THRESHOLD, LARGE);
    (void) mallopt(M_TRIM_THRESHOLD, LARGE);
}
