// SPDX-License-Identifier: Apache-2.0
/* Durations, sizes, booleans, integers, modes. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "schema.h"

/* ---- durations ---- */

static const struct {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},
    {"us", 1000},
    {"\xC2\xB5s", 1000}, /* the micro sign, and the Greek letter */
    {"\xCE\xBCs", 1000},
    {"ms", 1000000},
    {"s", 1000000000},
    {"m", 60000000000},
    {"h", 3600000000000},
    {"d", 86400000000000},
    {"w", 604800000000000},
};

static size_t unit(const char *s, uint64_t *ret_ns) {
    for (size_t i = 0; i < array_len(units); i++) {
        if (!str_starts(s, units[i].name)) continue;
        *ret_ns = units[i].ns;
        return strlen(units[i].name);
    }
    return 0;
}

/* One "1.5h". NULL, or what is wrong; *s is moved behind it. */
static const char *duration_part(const char **s, uint64_t *total) {
    const char *p = *s;
    uint64_t whole = 0, ns, v;
    double fraction = 0, scale = 1;
    size_t digits = 0;
    for (; isdigit((unsigned char) *p); p++, digits++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t) (*p - '0'), &whole))
            return "out of range";
    if (*p == '.')
        for (p++; isdigit((unsigned char) *p); p++, digits++) {
            fraction = fraction * 10 + (*p - '0');
            scale *= 10;
        }
    if (!digits) return "a number is missing";
    size_t len = unit(p, &ns);
    if (!len) return *p ? "unknown unit" : "missing unit";
    if (__builtin_mul_overflow(whole, ns, &v)) return "out of range";
    if (isfinite(scale)) v += (uint64_t) (fraction * ((double) ns / scale));
    if (__builtin_add_overflow(*total, v, total) || *total > (uint64_t) INT64_MAX)
        return "out of range";
    *s = p + len;
    return NULL;
}

const char *cf_parse_duration(const char *s, int64_t *ret) {
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    uint64_t total = 0;
    if (str_eq(s, "0")) {
        *ret = 0;
        return NULL;
    }
    do {
        const char *wrong = duration_part(&s, &total);
        if (wrong) return wrong;
    } while (*s);
    *ret = negative ? -(int64_t) total : (int64_t) total;
    return NULL;
}

struct cf_node *cf_canon_duration(struct compose_project *c, const struct cf_node *n,
                                  const struct cf_key *k) {
    (void) k;
    int64_t ns;
    const char *wrong = cf_parse_duration(n->s, &ns);
    if (wrong) {
        cf_issue(c, n, "duration", "invalid duration \"%.60s\": %s; write for example 1m30s", n->s,
                 wrong);
        return NULL;
    }
    struct cf_node *v = cf_new_int(c, ns, n);
    v->unit = CF_UNIT_NS;
    return v;
}

/* ---- sizes ---- */

const char *cf_parse_size(const char *s, int64_t *ret) {
    static const char letters[] = "kmgtp";
    const char *p = s;
    char number[40];
    double v;
    p += strspn(p, "0123456789.");
    if (p == s || (size_t) (p - s) >= sizeof number) return "no number at its start";
    memcpy(number, s, (size_t) (p - s));
    number[p - s] = '\0';
    if (!cf_parse_number(number, &v)) return "no number at its start";
    if (*p == ' ') p++;
    if (*p && strcasecmp(p, "b") != 0) {
        const char *letter = strchr(letters, tolower((unsigned char) *p));
        if (!letter ||
            !(p[1] == '\0' || strcasecmp(p + 1, "b") == 0 || strcasecmp(p + 1, "ib") == 0))
            return "invalid suffix";
        for (const char *l = letters; l <= letter; l++) v *= 1024;
    }
    if (v >= 9.2e18) return "out of range";
    *ret = (int64_t) v;
    return NULL;
}

static struct cf_node *bytes(struct compose_project *c, int64_t v, const struct cf_node *at) {
    struct cf_node *n = cf_new_int(c, v, at);
    n->unit = CF_UNIT_BYTES;
    return n;
}

struct cf_node *cf_canon_size(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    int64_t v = 0;
    const char *wrong = NULL, *text = cf_scalar_text(c, n);
    bool swap = str_eq(k->name, "memswap_limit");
    if (swap && str_eq(text, "-1")) return cf_new_int(c, -1, n);
    if (n->kind == CF_STR)
        wrong = cf_parse_size(n->s, &v);
    else if (cf_number(n) < 0 || cf_number(n) >= 9.2e18)
        wrong = "out of range";
    else
        v = n->kind == CF_INT ? cf_int(n) : (int64_t) n->f;
    if (!wrong) return bytes(c, v, n);
    cf_issue(c, n, n->kind == CF_STR ? "size" : "schema-type",
             "invalid size \"%.60s\": %s; write for example 512m", text, wrong);
    return NULL;
}

/* ---- booleans and numbers ---- */

bool cf_parse_bool(const char *s, bool *ret) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "n", "y"};
    for (size_t i = 0; i < array_len(words); i++)
        if (strcasecmp(s, words[i]) == 0) {
            *ret = i % 2;
            return true;
        }
    return false;
}

struct cf_node *cf_canon_bool(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    (void) k;
    bool b = n->kind == CF_BOOL && n->b;
    if (n->kind == CF_STR && !cf_parse_bool(n->s, &b)) {
        cf_issue(c, n, "cast", "invalid boolean: \"%.60s\"; true or false is wanted", n->s);
        return NULL;
    }
    return cf_new_bool(c, b, n);
}

bool cf_parse_int(const char *s, int64_t *ret) {
    bool negative = *s == '-';
    uint64_t v;
    if (*s == '-' || *s == '+') s++;
    if (str_to_u64(s, (uint64_t) INT64_MAX, &v) < 0) return false;
    *ret = negative ? -(int64_t) v : (int64_t) v;
    return true;
}

static bool in_range(struct compose_project *c, const struct cf_node *n, const struct cf_key *k,
                     double v) {
    if (!k->min && !k->max) return true;
    if (v < (double) k->min)
        cf_issue(c, n, "range", "must be greater than or equal to %lld", (long long) k->min);
    else if (v > (double) k->max)
        cf_issue(c, n, "range", "must be less than or equal to %lld", (long long) k->max);
    return v >= (double) k->min && v <= (double) k->max;
}

struct cf_node *cf_canon_int(struct compose_project *c, const struct cf_node *n,
                             const struct cf_key *k) {
    int64_t v = 0;
    if (n->kind == CF_STR && !cf_parse_int(n->s, &v)) {
        cf_issue(c, n, "cast", "%s must be an integer, not \"%.60s\"", k->name, n->s);
        return NULL;
    }
    if (n->kind == CF_FLOAT) {
        if (n->f < -9.2e18 || n->f > 9.2e18 || floor(n->f) < n->f) {
            cf_issue(c, n, "range", "%s must be an integer", k->name);
            return NULL;
        }
        v = (int64_t) n->f;
    }
    if (n->kind == CF_INT) {
        v = cf_int(n);
        if (n->u > (uint64_t) INT64_MAX) {
            cf_issue(c, n, "range", "%s is out of range", k->name);
            return NULL;
        }
    }
    return in_range(c, n, k, (double) v) ? cf_new_int(c, v, n) : NULL;
}

struct cf_node *cf_canon_number(struct compose_project *c, const struct cf_node *n,
                                const struct cf_key *k) {
    double v = 0;
    if (n->kind == CF_INT)
        return in_range(c, n, k, cf_number(n)) ? cf_new_int(c, cf_int(n), n) : NULL;
    if (n->kind == CF_STR && !cf_parse_number(n->s, &v)) {
        cf_issue(c, n, "cast", "%s must be a number, not \"%.60s\"", k->name, n->s);
        return NULL;
    }
    if (n->kind == CF_FLOAT) v = n->f;
    if (!in_range(c, n, k, v)) return NULL;
    struct cf_node *f = cf_new(c, CF_FLOAT, n);
    f->f = v;
    return f;
}

/* A string is octal, a number is what it is (YAML has read 0440 as octal already). */
struct cf_node *cf_canon_mode(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    uint64_t v = n->kind == CF_INT && !n->negative ? n->u : UINT64_MAX;
    if (n->kind == CF_STR && *n->s && strlen(n->s) <= 8 &&
        strspn(n->s, "01234567") == strlen(n->s)) {
        v = 0;
        for (const char *p = n->s; *p; p++) v = v * 8 + (uint64_t) (*p - '0');
    }
    if (v > 07777777) {
        const char *text = cf_scalar_text(c, n);
        cf_issue(c, n, "cast", "invalid %s \"%.60s\": invalid syntax, an octal number is wanted",
                 k->name, text ? text : "");
        return NULL;
    }
    struct cf_node *m = cf_new_int(c, (int64_t) v, n);
    m->unit = CF_UNIT_MODE;
    return m;
}
