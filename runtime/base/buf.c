// SPDX-License-Identifier: Apache-2.0
#include "buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

void buf_init(struct buf *b, size_t max) {
    *b = (struct buf){.max = max};
}

void buf_fini(struct buf *b) {
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b) {
    b->len = 0;
    b->error = 0;
    if (b->data) b->data[0] = 0;
}

static int reserve(struct buf *b, size_t n) {
    if (b->error) return b->error;
    if (n > b->max || b->len > b->max - n) return b->error = -EFBIG;
    size_t need = b->len + n + 1;
    if (need <= b->cap) return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap *= 2;
    char *p = mem_resize(b->data, cap, 1);
    if (!p) return b->error = -ENOMEM;
    b->data = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n) {
    int r = reserve(b, n);
    if (r < 0) return r;
    if (n) memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return 0;
}

int buf_puts(struct buf *b, const char *s) {
    return buf_add(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c) {
    return buf_add(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) return b->error = -EINVAL;
    int r = reserve(b, (size_t) n);
    if (r < 0) return r;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t) n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t) n;
    return 0;
}

void buf_consume(struct buf *b, size_t n) {
    ensure(n <= b->len);
    if (n == 0) return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = 0;
}

char *buf_take(struct buf *b) {
    if (b->error || reserve(b, 0) < 0) return NULL;
    b->data[b->len] = 0;
    char *s = b->data;
    *b = (struct buf){.max = b->max};
    return s;
}
