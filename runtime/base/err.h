// SPDX-License-Identifier: Apache-2.0
/* runtime/base/err.h - what went wrong, as a code and a sentence, without the heap.
 *
 * Role     every fallible function returns 0 or more, or a negative errno; the optional last
 *          argument `struct err *err` carries the sentence. Leaf: err_set(); on the way up:
 *          err_wrap().
 * Thread   [any], also in a child between clone and exec: no heap, no locks, no locale.
 * Owns     nothing: the caller provides the struct; a NULL `err` is allowed everywhere.
 */
#ifndef ORLOP_BASE_ERR_H
#define ORLOP_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define must_use __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

enum { ERR_TEXT_MAX = 240 };

struct err {
    int code; /* negative errno; 0 = none */
    char text[ERR_TEXT_MAX];
};

/* Store CODE (negative errno) and the sentence FMT, followed by ": <text of the errno>" unless CODE
 * is -EINVAL or -EBADMSG, whose sentences say it all. Returns CODE. */
int err_set(struct err *err, int code, const char *fmt, ...) printf_like(3, 4);

/* The same without the errno's text. */
int err_say(struct err *err, int code, const char *fmt, ...) printf_like(3, 4);

/* Put FMT and ": " before the sentence in ERR. Returns CODE. When the result is too long its end is
 * cut: the outermost text stays. */
int err_wrap(struct err *err, int code, const char *fmt, ...) printf_like(3, 4);

/* Text of a negative or positive errno; never NULL, static. */
const char *err_text(int code);

/* Abort with file and line: for our own bugs only, never for what input, kernel or peers did. */
#define ensure(x) ((x) ? (void) 0 : err_ensure_failed(#x, __FILE__, __LINE__))
_Noreturn void err_ensure_failed(const char *what, const char *file, int line);

#endif
