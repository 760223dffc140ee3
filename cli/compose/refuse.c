// SPDX-License-Identifier: Apache-2.0
/* Nothing is ignored in silence: each key that is in the model is looked up in the schema's `use`.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "manifest.h"

void cf_refuse(struct compose_project *c, const struct cf_node *n, const char *fmt, ...) {
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->permissive)
        cf_warn(c, n, "unsupported", "dropped: %s", text);
    else
        cf_issue(c, n, "unsupported", "%s", text);
}

/* Of the row's words, those that Orlop does. */
static void look_at_word(struct compose_project *c, const struct cf_node *n,
                         const struct cf_key *k) {
    if (!k->done || n->kind != CF_STR || cf_is_word(n->s, k->done)) return;
    struct cf_text list = {0};
    for (const char *const *w = k->done; *w; w++) {
        if (w != k->done) cf_text_add(c, &list, ", ", 2);
        cf_text_add(c, &list, *w, strlen(*w));
    }
    cf_refuse(c, n, "`%s: %.60s` is not supported (%s %s): %s", k->name, n->s, list.s,
              k->done[1] ? "are" : "is", k->why);
}

void cf_look_at_value(struct compose_project *c, const struct cf_node *n, const char *s,
                      int (*value)(const char *s, struct err *err)) {
    struct err err = {0};
    int r = value(s, &err);
    if (r == -ENOMEM) cf_no_memory(c);
    if (r < 0) cf_issue(c, n, "value", "%s", err.text);
}

static void look_at_values(struct compose_project *c, const struct cf_node *n,
                           const struct cf_key *k) {
    if (n->kind == CF_STR) cf_look_at_value(c, n, n->s, k->fine);
    for (uint32_t i = 0; n->kind == CF_SEQ && i < n->n; i++)
        if (n->items[i]->kind == CF_STR) cf_look_at_value(c, n->items[i], n->items[i]->s, k->fine);
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++)
        cf_look_at_value(c, n->entries[i].value, n->entries[i].key, k->fine);
}

static void look(struct compose_project *c, const struct cf_node *n, const struct cf_key *k) {
    if (k->fine && k->use != CF_REFUSES) look_at_values(c, n, k);
    switch (k->use) {
    case CF_REFUSES:
        cf_refuse(c, n, "`%s` is not supported: %s", k->name, k->why);
        return;
    case CF_WARNS:
        if (k->done && n->kind == CF_STR && cf_is_word(n->s, k->done)) return; /* as it is anyway */
        cf_warn(c, n, "ignored", "`%s` has no effect: %s", k->name, k->why);
        return;
    case CF_DOES:
        cf_refuse_keys(c, n, k);
        return;
    case CF_PARTLY:
        look_at_word(c, n, k);
        if (!str_eq(k->name, "build")) cf_refuse_keys(c, n, k);
        return;
    }
}

/* An empty value is no different from no key, but for numbers that the row keeps. What stands in no
 * file (a default name) was not asked for. */
static bool says_something(const struct cf_node *n, const struct cf_key *k) {
    if (!n->line) return false;
    return !cf_is_empty(n) || (k->flags & CF_KEEP && n->kind == CF_INT);
}

void cf_refuse_keys(struct compose_project *c, const struct cf_node *n, const struct cf_key *k) {
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        const char *name = n->entries[i].key;
        const struct cf_key *below = k->table ? cf_key_of(k->table, name) : k->value;
        struct cf_node *v = n->entries[i].value;
        if (!k->table && below)
            cf_refuse_keys(c, v, below);
        else if (below && below->use && says_something(v, below))
            look(c, v, below);
    }
    for (uint32_t i = 0; n->kind == CF_SEQ && k->item && i < n->n; i++) {
        cf_refuse_keys(c, n->items[i], k->item);
    }
}
