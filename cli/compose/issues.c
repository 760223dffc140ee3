// SPDX-License-Identifier: Apache-2.0
/* Findings, and how they are shown: as a compiler shows them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cf.h"

const char *cf_path(struct compose_project *c) {
    size_t len = 0;
    c->path[0] = '\0';
    for (size_t i = 0; i < c->n_steps && i < CF_STEPS && len < CF_PATH - 1; i++) {
        const struct cf_step *s = &c->steps[i];
        int n = s->key ? snprintf(c->path + len, CF_PATH - len, "%s%s", i ? "." : "", s->key)
                       : snprintf(c->path + len, CF_PATH - len, "[%zu]", s->item);
        len += n > 0 ? (size_t) n : 0;
    }
    return c->path;
}

/* The path of TARGET below N into the project's path; false: it is not there. Issues are few, so a
 * search is cheaper than a path kept up to date. */
static bool find_path(struct compose_project *c, const struct cf_node *n,
                      const struct cf_node *target) {
    if (n == target) return true;
    if (n->kind != CF_MAP && n->kind != CF_SEQ) return false;
    for (uint32_t i = 0; i < n->n; i++) {
        bool map = n->kind == CF_MAP;
        size_t mark = map ? cf_enter(c, n->entries[i].key) : cf_enter_item(c, i);
        if (find_path(c, map ? n->entries[i].value : n->items[i], target)) return true;
        cf_leave(c, mark);
    }
    return false;
}

/* A copy that does not drive a terminal: keys and values are the file's. */
static char *printable(struct compose_project *c, const char *text) {
    char *copy = cf_strdup(c, text);
    str_make_printable(copy, "\n\t");
    return copy;
}

static void add(struct compose_project *c, const struct cf_node *at, bool warning, const char *kind,
                char *text) {
    if (!warning) c->n_errors++;
    if (c->n_issues == CF_ISSUES) {
        c->n_dropped++;
        return;
    }
    if (!c->issues) c->issues = cf_alloc(c, (CF_ISSUES + 1) * sizeof *c->issues);
    struct compose_issue *i = &c->issues[c->n_issues];
    i->file = cf_strdup(c, cf_file(c, at ? at->file : 0)->path);
    if (c->whole && at) {
        cf_leave(c, 0);
        (void) find_path(c, c->whole, at); /* not there: a default of ours, no path */
    }
    i->path = printable(c, cf_path(c));
    i->kind = cf_strdup(c, kind);
    i->text = text;
    i->warning = warning;
    i->line = at ? at->line : 0;
    i->column = at ? at->column : 0;
    c->n_issues++;
}

printf_like(2, 0) static char *vtext(struct compose_project *c, const char *fmt, va_list ap) {
    char buf[1024]; /* values quoted in messages are cut by this */
    vsnprintf(buf, sizeof buf, fmt, ap);
    return printable(c, buf);
}

void cf_issue(struct compose_project *c, const struct cf_node *at, const char *kind,
              const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    char *text = vtext(c, fmt, ap);
    va_end(ap);
    add(c, at, false, kind, text);
}

void cf_warn(struct compose_project *c, const struct cf_node *at, const char *kind, const char *fmt,
             ...) {
    va_list ap;
    va_start(ap, fmt);
    char *text = vtext(c, fmt, ap);
    va_end(ap);
    add(c, at, true, kind, text);
}

void cf_issue_at(struct compose_project *c, uint32_t file, uint32_t line, uint32_t column,
                 const char *kind, const char *text) {
    struct cf_node at = {.file = file, .line = line, .column = column};
    add(c, &at, false, kind, cf_strdup(c, text));
}

static size_t file_number(const struct compose_project *c, const struct compose_issue *i) {
    for (uint32_t k = 0; k < c->n_files; k++)
        if (str_eq(c->files[k]->path, i->file)) return k;
    return 0;
}

static bool before(const struct compose_project *c, const struct compose_issue *a,
                   const struct compose_issue *b) {
    size_t x = file_number(c, a), y = file_number(c, b);
    if (x != y) return x < y;
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* Insertion: stable, and the list is short. */
void cf_sort_issues(struct compose_project *c) {
    for (size_t i = c->n_printed + 1; i < c->n_issues; i++) {
        struct compose_issue one = c->issues[i];
        size_t k = i;
        for (; k > c->n_printed && before(c, &one, &c->issues[k - 1]); k--)
            c->issues[k] = c->issues[k - 1];
        c->issues[k] = one;
    }
}

/* ---- the nearest name ---- */

/* Edits between A and B (an exchange of neighbours counts one), at most LIMIT + 1. */
static unsigned distance(const char *a, const char *b, unsigned limit) {
    enum { MAX = 40 };
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX || m > MAX) return limit + 1;
    unsigned rows[3][MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    memset(rows, 0, sizeof rows);
    for (unsigned j = 0; j <= m; j++) last[j] = j;
    for (unsigned i = 1; i <= n; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= m; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[m];
}

const char *cf_nearest(const char *key, const char *const *names, size_t n) {
    size_t len = strlen(key);
    unsigned limit = len <= 3 ? 1 : len <= 7 ? 2 : 3;
    const char *best = NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned d = distance(key, names[i], limit);
        if (d > limit) continue;
        best = names[i];
        limit = d - (d > 0);
        if (!d) break;
    }
    return best;
}

/* ---- showing ---- */

size_t compose_issues(const struct compose_project *c, const struct compose_issue **ret) {
    *ret = c->issues;
    return c->n_issues;
}

enum { LINE_SHOWN = 200 };

static void print_source(const struct compose_project *c, const struct compose_issue *i,
                         FILE *out) {
    const struct cf_file *f = NULL;
    for (uint32_t k = 0; k < c->n_files && !f; k++)
        if (str_eq(c->files[k]->path, i->file) && c->files[k]->text) f = c->files[k];
    if (!f || !i->line) return;
    const char *at = f->text, *end = f->text + f->len;
    for (unsigned line = 1; line < i->line && at; line++) {
        at = memchr(at, '\n', (size_t) (end - at));
        if (at) at++;
    }
    if (!at || at >= end) return;
    const char *stop = memchr(at, '\n', (size_t) (end - at));
    size_t len = (size_t) ((stop ? stop : end) - at);
    if (len && at[len - 1] == '\r') len--;
    if (len > LINE_SHOWN) len = LINE_SHOWN;
    fprintf(out, "%5u | ", i->line);
    char text[LINE_SHOWN + 1];
    memcpy(text, at, len);
    text[len] = 0;
    str_make_printable(text, "\t");
    fputs(text, out);
    fputs("\n      | ", out);
    unsigned column = 1;
    for (size_t k = 0; k < len && column < i->column; k++) {
        if (((unsigned char) at[k] & 0xC0) == 0x80) continue;
        fputc(at[k] == '\t' ? '\t' : ' ', out);
        column++;
    }
    fputs("^\n", out);
}

void compose_print_issues(struct compose_project *c, FILE *out) {
    for (size_t k = c->n_printed; k < c->n_issues; k++) {
        const struct compose_issue *i = &c->issues[k];
        fputs(i->file, out);
        if (i->line) fprintf(out, ":%u:%u", i->line, i->column);
        fprintf(out, ": %s%s%s%s\n", i->warning ? "warning: " : "", i->path, *i->path ? ": " : "",
                i->text);
        print_source(c, i, out);
    }
    c->n_printed = c->n_issues;
    if (c->n_dropped) fprintf(out, "... and %zu more\n", c->n_dropped);
    c->n_dropped = 0;
}
