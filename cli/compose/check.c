// SPDX-License-Identifier: Apache-2.0
/* The tree against the rows: kinds, unknown keys, words, patterns, repeats. All findings, not the
 * first. */
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "schema.h"

static const char *const kind_names[] = {
    [CF_NULL] = "null",      [CF_BOOL] = "a boolean", [CF_INT] = "an integer",
    [CF_FLOAT] = "a number", [CF_STR] = "a string",   [CF_MAP] = "a mapping",
    [CF_SEQ] = "a list",
};

/* "a string or a list" */
static const char *expected(unsigned kinds, char *buf, size_t size) {
    static const enum cf_kind order[] = {CF_STR, CF_BOOL, CF_INT, CF_FLOAT, CF_SEQ, CF_MAP};
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < array_len(order); i++) {
        if (!(kinds & 1U << order[i])) continue;
        if (order[i] == CF_INT && kinds & 1U << CF_FLOAT) continue;
        int w = snprintf(buf + n, size - n, "%s%s", n ? " or " : "", kind_names[order[i]]);
        if (w > 0 && (size_t) w < size - n) n += (size_t) w;
    }
    return buf;
}

static bool kind_fits(struct compose_project *c, const struct cf_node *n, const struct cf_key *k) {
    unsigned kinds = k->type->kinds;
    char buf[120];
    bool fits = kinds & 1U << n->kind;
    if (fits && n->kind == CF_FLOAT && !isfinite(n->f)) {
        cf_issue(c, n, "schema-type", "must be a finite number");
        return false;
    }
    if (fits) return true;
    if (n->kind == CF_FLOAT && kinds & 1U << CF_INT && fabs(n->f) >= 9.2e18)
        cf_issue(c, n, "range", "the number is out of range");
    else
        cf_issue(c, n, "schema-type", "must be %s, not %s", expected(kinds, buf, sizeof buf),
                 cf_kind_name(n));
    return false;
}

static bool matches(const char *pattern, const char *s) {
    regex_t re;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0) return false;
    bool m = regexec(&re, s, 0, NULL, 0) == 0;
    regfree(&re);
    return m;
}

static bool check_text(struct compose_project *c, const struct cf_node *n, const struct cf_key *k) {
    if (k->pattern && !matches(k->pattern, n->s)) {
        cf_issue(c, n, "schema-pattern", "\"%.100s\" does not match %s", n->s, k->pattern);
        return false;
    }
    if (!k->words || cf_is_word(n->s, k->words)) return true;
    struct cf_text list = {0};
    for (const char *const *w = k->words; *w; w++) {
        const char *word = cf_printf(c, "%s\"%s\"", list.len ? ", " : "", *w);
        cf_text_add(c, &list, word, strlen(word));
    }
    cf_issue(c, n, "schema-enum", "\"%.100s\" must be one of %s", n->s, list.s);
    return false;
}

bool cf_is_word(const char *s, const char *const *words) {
    for (; *words; words++)
        if (str_eq(*words, s)) return true;
    return false;
}

bool cf_name_ok(const char *s) {
    return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
                     strlen(s);
}

static void unknown(struct compose_project *c, const struct cf_node *at, const struct cf_table *t,
                    const char *name) {
    enum { MAX = 128 };
    const char *names[MAX];
    size_t n = 0;
    for (size_t i = 0; i < t->n && n < MAX; i++) names[n++] = t->keys[i].name;
    const char *near = cf_nearest(name, names, n);
    cf_issue(c, at, "schema-unknown", "property %.100s is not allowed here%s%s%s", name,
             near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static void check_object(struct compose_project *c, const struct cf_node *n,
                         const struct cf_table *t) {
    for (uint32_t i = 0; i < n->n; i++) {
        const char *name = n->entries[i].key;
        const struct cf_key *k = cf_key_of(t, name);
        if (!k && !t->closed && str_starts(name, "x-")) continue;
        size_t mark = cf_enter(c, name);
        if (k)
            cf_check(c, n->entries[i].value, k);
        else
            unknown(c, n->entries[i].value, t, name);
        cf_leave(c, mark);
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->keys[i].flags & CF_NEED && !cf_get(n, t->keys[i].name))
            cf_issue(c, n, "schema-required", "%s is required", t->keys[i].name);
}

static void check_named(struct compose_project *c, const struct cf_node *n,
                        const struct cf_key *k) {
    for (uint32_t i = 0; i < n->n; i++) {
        const char *name = n->entries[i].key;
        size_t mark = cf_enter(c, name);
        cf_check(c, n->entries[i].value, k->value);
        if (k->flags & CF_NAMES && !cf_name_ok(name)) {
            cf_issue(c, n->entries[i].value, "schema-unknown",
                     "\"%.100s\" is not allowed as a name: letters, digits, . _ and - are", name);
            n->entries[i].value->bad = true;
        }
        cf_leave(c, mark);
    }
}

/* Repeats by a mapping of what was seen: lists can be long. Only texts are compared. */
static void check_unique(struct compose_project *c, const struct cf_node *n) {
    struct cf_node *seen = cf_new(c, CF_MAP, NULL);
    for (uint32_t i = 0; i < n->n; i++) {
        const char *s = cf_scalar_text(c, n->items[i]);
        if (!s) continue;
        size_t mark = cf_enter_item(c, i);
        if (cf_get(seen, s)) cf_issue(c, n->items[i], "schema-unique", "\"%.100s\" is repeated", s);
        cf_put(c, seen, s, n->items[i]);
        cf_leave(c, mark);
    }
}

void cf_drop_bad(struct cf_node *n) {
    uint32_t kept = 0;
    if (n->kind != CF_MAP && n->kind != CF_SEQ) return;
    for (uint32_t i = 0; i < n->n; i++) {
        struct cf_node *v = n->kind == CF_MAP ? n->entries[i].value : n->items[i];
        if (v->bad) continue;
        cf_drop_bad(v);
        if (n->kind == CF_MAP)
            n->entries[kept++] = n->entries[i];
        else
            n->items[kept++] = v;
    }
    if (kept != n->n) n->index = NULL;
    n->n = kept;
}

void cf_check(struct compose_project *c, struct cf_node *n, const struct cf_key *k) {
    if (n->bad) return;
    if (!kind_fits(c, n, k) || (n->kind == CF_STR && !check_text(c, n, k))) {
        n->bad = true;
        return;
    }
    if (n->kind == CF_MAP && k->table) check_object(c, n, k->table);
    if (n->kind == CF_MAP && !k->table && k->value) check_named(c, n, k);
    if (n->kind != CF_SEQ || !k->item) return;
    for (uint32_t i = 0; i < n->n; i++) {
        size_t mark = cf_enter_item(c, i);
        cf_check(c, n->items[i], k->item);
        cf_leave(c, mark);
    }
    if (k->flags & CF_UNIQUE) check_unique(c, n);
}
