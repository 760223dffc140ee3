// SPDX-License-Identifier: Apache-2.0
/* runtime/base/buf.h - a growing byte string with a mandatory maximum.
 *
 * Thread   one owner. After the first failure (-ENOMEM, -EFBIG) the buffer keeps what it had and
 *          every later append fails with the same code: build first, check once at the end
 *          (buf_error).
 */
#ifndef ORLOP_BASE_BUF_H
#define ORLOP_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct buf {
    char *data; /* NUL behind the last byte; NULL while empty */
    size_t len;
    size_t cap;
    size_t max;
    int error;
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_reset(struct buf *b); /* empty again, memory and maximum kept, error forgotten */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
void buf_consume(struct buf *b, size_t n); /* drop the first N bytes */
char *buf_take(struct buf *b); /* gives the string (never NULL unless an error is set) */
static inline int buf_error(const struct buf *b) {
    return b->error;
}
static inline const char *buf_str(const struct buf *b) {
    return b->data ? b->data : "";
}

#endif
