// SPDX-License-Identifier: Apache-2.0
/* runtime/base/str.h - strings: strict numbers, checks, lists of strings.
 *
 * Thread   [any].
 */
#ifndef ORLOP_BASE_STR_H
#define ORLOP_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "err.h"

static inline bool str_eq(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}
static inline bool str_empty(const char *s) {
    return !s || !*s;
}
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* Decimal digits only, the whole string, at most MAX. 0; -EINVAL (also empty, signs, blanks);
 * -ERANGE. *ret is untouched on failure. */
must_use int str_to_u64(const char *s, uint64_t max, uint64_t *ret);
must_use int str_to_u32(const char *s, uint32_t max, uint32_t *ret);

/* Valid UTF-8 without NUL, surrogates or overlong forms. */
bool str_is_utf8(const char *s, size_t n);

/* Control characters (C0, DEL, and C1 as UTF-8 has it) become '?', but for those in KEEP: text from
 * outside must not drive the terminal that shows it. In place; it may get shorter. */
void str_make_printable(char *s, const char *keep);

/* Dotted quad, strict (four decimal numbers, no leading zeros). Host byte order. */
must_use int str_to_ipv4(const char *s, uint32_t *ret);
enum { STR_IPV4_MAX = 16 };
const char *str_from_ipv4(uint32_t addr, char buf[static STR_IPV4_MAX]); /* returns BUF */
/* "a.b.c.d/n" with no host bits set. */
must_use int str_to_cidr4(const char *s, uint32_t *ret_addr, uint32_t *ret_prefix);

/* A list of strings, NULL behind the last. */
struct strv {
    char **v;
    size_t n;
    size_t cap;
};
void strv_fini(struct strv *l);
must_use int strv_add(struct strv *l, const char *s); /* copies */
must_use int strv_take(struct strv *l, char *s);      /* TAKES S on success */
bool strv_has(const struct strv *l, const char *s);
void strv_sort(struct strv *l);

/* FNV-1a, for hash tables and short names; not for anything hostile that needs a digest. */
uint64_t str_hash(const void *p, size_t n);

#endif
