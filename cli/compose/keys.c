// SPDX-License-Identifier: Apache-2.0
/* The schema as a table for people: each key, and what Orlop does with it. */
#include <stdio.h>
#include <string.h>

#include "schema.h"

enum { KEY_PATH = 256 };

static const char *const uses[] = {
    [CF_DOES] = "yes",
    [CF_PARTLY] = "partly",
    [CF_WARNS] = "accepted, with a warning",
    [CF_REFUSES] = "refused",
};

static void print_table(FILE *out, const struct cf_table *t, const char *path);

/* What lies below a row, when Orlop looks into it. */
static void print_below(FILE *out, const struct cf_key *k, const char *path) {
    char below[KEY_PATH];
    const struct {
        const struct cf_key *key;
        const char *suffix;
    } ways[] = {{k->value, ".*"}, {k->item, "[]"}};
    if (k->table) print_table(out, k->table, path);
    for (size_t i = 0; !k->table && i < array_len(ways); i++) {
        if (!ways[i].key) continue;
        snprintf(below, sizeof below, "%s%s", path, ways[i].suffix);
        print_below(out, ways[i].key, below);
    }
}

/* "only `a`, `b`: " */
static void print_done(FILE *out, const char *const *done) {
    for (const char *const *w = done; w && *w; w++)
        fprintf(out, "%s`%s`%s", w == done ? "only " : ", ", *w, w[1] ? "" : ": ");
}

static void print_table(FILE *out, const struct cf_table *t, const char *path) {
    char below[KEY_PATH];
    for (size_t i = 0; i < t->n; i++) {
        const struct cf_key *k = &t->keys[i];
        if (!k->use) continue; /* part of something that is refused as a whole */
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", k->name);
        fprintf(out, "| `%s` | %s | ", below, uses[k->use]);
        if (k->use == CF_PARTLY) print_done(out, k->done);
        fprintf(out, "%s |\n", k->why ? k->why : "");
        if (k->use == CF_DOES || k->use == CF_PARTLY) print_below(out, k, below);
    }
}

void compose_print_keys(FILE *out) {
    fputs("| key | Orlop | |\n|---|---|---|\n", out);
    print_table(out, &cf_root_table, "");
}
