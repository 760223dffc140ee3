// SPDX-License-Identifier: Apache-2.0
/* What a plain YAML scalar is, and what a typed scalar reads as where a string is wanted. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cf.h"

static bool among(const char *s, const char *const *words) {
    for (; *words; words++)
        if (str_eq(s, *words)) return true;
    return false;
}

static int digit_value(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    if (ch >= 'a' && ch <= 'f') return ch - 'a' + 10;
    if (ch >= 'A' && ch <= 'F') return ch - 'A' + 10;
    return 99;
}

/* All of S in BASE; false: not such a number, or *ret_big: one beyond 64 bits. */
static bool digits(const char *s, unsigned base, uint64_t *ret, bool *ret_big) {
    uint64_t v = 0;
    if (!*s) return false;
    *ret_big = false;
    for (; *s; s++) {
        unsigned d = (unsigned) digit_value(*s);
        if (d >= base) return false;
        if (v > (UINT64_MAX - d) / base) *ret_big = true;
        v = v * base + d;
    }
    *ret = v;
    return !*ret_big;
}

static bool resolve_int(struct cf_node *n, const char *s) {
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    unsigned base = 10;
    if (s[0] == '0' && s[1]) {
        base = s[1] == 'x' || s[1] == 'X' ? 16 : s[1] == 'b' || s[1] == 'B' ? 2 : 8;
        s += base != 8 || s[1] == 'o' || s[1] == 'O' ? 2 : 1;
    }
    uint64_t v;
    bool big;
    if (!digits(s, base, &v, &big)) return false;
    if (negative && v > (uint64_t) 1 << 63) return false;
    n->kind = CF_INT;
    n->negative = negative && v;
    n->u = v;
    return true;
}

static bool looks_like_float(const char *s) {
    if (*s == '-' || *s == '+') s++;
    size_t whole = strspn(s, "0123456789");
    s += whole;
    if (*s == '.') {
        size_t fraction = strspn(s + 1, "0123456789");
        if (!whole && !fraction) return false;
        s += 1 + fraction;
    } else if (!whole) {
        return false;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '-' || *s == '+') s++;
        size_t exponent = strspn(s, "0123456789");
        if (!exponent) return false;
        s += exponent;
    }
    return !*s;
}

bool cf_parse_number(const char *s, double *ret) {
    if (!looks_like_float(s)) return false;
    *ret = strtod(s, NULL);
    return isfinite(*ret);
}

static bool resolve_number(struct compose_project *c, struct cf_node *n, const char *s) {
    char *plain = cf_strdup(c, s), *to = plain;
    for (const char *from = s; *from; from++)
        if (*from != '_') *to++ = *from;
    *to = '\0';
    if (resolve_int(n, plain)) return true;
    double f;
    if (!cf_parse_number(plain, &f)) return false;
    n->kind = CF_FLOAT;
    n->f = f;
    return true;
}

static bool resolve_special_float(struct cf_node *n, const char *s) {
    static const char *const inf[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                      "+.INF", "-.inf", "-.Inf", "-.INF", NULL};
    static const char *const nan[] = {".nan", ".NaN", ".NAN", NULL};
    if (!strchr("+-.", *s)) return false;
    bool is_inf = among(s, inf);
    if (!is_inf && !among(s, nan)) return false;
    n->kind = CF_FLOAT;
    n->f = is_inf ? (double) INFINITY : (double) NAN;
    return true;
}

void cf_resolve_plain(struct compose_project *c, struct cf_node *n, const char *s) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    n->kind = CF_STR;
    n->s = s;
    if (*s && strchr("0123456789+-.", *s)) {
        if (!resolve_special_float(n, s)) (void) resolve_number(c, n, s); /* or it stays a string */
    } else if (*s && !strchr("~nNtTfF", *s)) {
        return; /* most */
    } else if (among(s, nulls)) {
        n->kind = CF_NULL;
    } else if (among(s, yes) || among(s, no)) {
        n->kind = CF_BOOL;
        n->b = *s == 't' || *s == 'T';
    }
}

/* The fewest digits that read back as the same number, exponents as in %g. */
static const char *float_text(struct compose_project *c, double f) {
    char e[40];
    int precision = 0;
    do snprintf(e, sizeof e, "%.*e", precision, f);
    while (precision++ < 16 && !cf_equal(&(struct cf_node){.kind = CF_FLOAT, .f = strtod(e, NULL)},
                                         &(struct cf_node){.kind = CF_FLOAT, .f = f}));
    precision--;
    const char *at = strchr(e, 'e');
    if (!at) return cf_strdup(c, e);
    long exponent =
        strtod(at + 1, NULL) < 0 ? -(long) strtod(at + 2, NULL) : (long) strtod(at + 1, NULL);
    if (exponent < -4 || exponent >= 6) return cf_strdup(c, e);
    int decimals = precision - (int) exponent;
    return cf_printf(c, "%.*f", decimals < 0 ? 0 : decimals, f);
}

const char *cf_scalar_text(struct compose_project *c, const struct cf_node *n) {
    switch ((enum cf_kind) n->kind) {
    case CF_STR:
        return n->s;
    case CF_BOOL:
        return n->b ? "true" : "false";
    case CF_INT:
        return cf_printf(c, "%s%llu", n->negative ? "-" : "", (unsigned long long) n->u);
    case CF_FLOAT:
        return float_text(c, n->f);
    case CF_NULL:
    case CF_MAP:
    case CF_SEQ:
        return NULL;
    }
    return NULL;
}
