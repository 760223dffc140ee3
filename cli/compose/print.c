// SPDX-License-Identifier: Apache-2.0
/* The canonical model as JSON, and as a Compose file again (YAML that loads to the same model). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schema.h"

struct printer {
    struct compose_project *c;
    FILE *out;
    bool yaml;
};

/* ---- what both have in common ---- */

static int by_key(const void *a, const void *b) {
    const struct cf_entry *x = a, *y = b;
    return strcmp(x->key, y->key);
}

/* The entries that are shown, sorted bytewise. */
static struct cf_entry *shown(struct printer *p, const struct cf_node *map, uint32_t *ret_n) {
    struct cf_entry *list = cf_alloc(p->c, map->n * sizeof *list);
    uint32_t n = 0;
    for (uint32_t i = 0; i < map->n; i++) {
        bool extension = map->fixed && str_starts(map->entries[i].key, "x-");
        if (extension && !p->yaml) continue; /* the canonical form has none; a file keeps them */
        list[n++] = map->entries[i];
    }
    if (n) qsort(list, n, sizeof *list, by_key);
    *ret_n = n;
    return list;
}

static void quoted(FILE *out, const char *s) {
    fputc('"', out);
    for (; *s; s++) {
        unsigned char ch = (unsigned char) *s;
        static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
        const char *at = strchr(from, ch);
        if (at)
            fprintf(out, "\\%c", to[at - from]);
        else if (ch < 0x20 || ch == 0x7F)
            fprintf(out, "\\u%04x", ch);
        else
            fputc(ch, out);
    }
    fputc('"', out);
}

static void indent(FILE *out, unsigned depth) {
    fprintf(out, "%*s", (int) depth * 2, "");
}

/* ---- JSON ---- */

static void json(struct printer *p, const struct cf_node *n, unsigned depth);

static void json_map(struct printer *p, const struct cf_node *n, unsigned depth) {
    uint32_t count;
    struct cf_entry *e = shown(p, n, &count);
    if (!count) {
        fputs("{}", p->out);
        return;
    }
    fputs("{\n", p->out);
    for (uint32_t i = 0; i < count; i++) {
        indent(p->out, depth + 1);
        quoted(p->out, e[i].key);
        fputs(": ", p->out);
        json(p, e[i].value, depth + 1);
        fputs(i + 1 < count ? ",\n" : "\n", p->out);
    }
    indent(p->out, depth);
    fputc('}', p->out);
}

static void json_list(struct printer *p, const struct cf_node *n, unsigned depth) {
    if (!n->n) {
        fputs("[]", p->out);
        return;
    }
    fputs("[\n", p->out);
    for (uint32_t i = 0; i < n->n; i++) {
        indent(p->out, depth + 1);
        json(p, n->items[i], depth + 1);
        fputs(i + 1 < n->n ? ",\n" : "\n", p->out);
    }
    indent(p->out, depth);
    fputc(']', p->out);
}

static void json(struct printer *p, const struct cf_node *n, unsigned depth) {
    switch ((enum cf_kind) n->kind) {
    case CF_NULL:
        fputs("null", p->out);
        break;
    case CF_STR:
        quoted(p->out, n->s);
        break;
    case CF_BOOL:
    case CF_INT:
    case CF_FLOAT:
        fputs(cf_scalar_text(p->c, n), p->out);
        break;
    case CF_MAP:
        json_map(p, n, depth);
        break;
    case CF_SEQ:
        json_list(p, n, depth);
        break;
    }
}

/* ---- YAML ---- */

/* Whether a plain S would read back as the same string. Few characters are trusted. */
static bool plain(struct compose_project *c, const char *s) {
    struct cf_node n = {0};
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+@=";
    if (!*s || strspn(s, safe) != strlen(s) || strchr("-=@", *s)) return false;
    static const char *const words[] = {"yes", "no", "on",
                                        "off", "y",  "n"}; /* for YAML 1.1 readers */
    bool b;
    for (size_t i = 0; i < array_len(words); i++)
        if (cf_parse_bool(s, &b)) return false;
    cf_resolve_plain(c, &n, s);
    return n.kind == CF_STR;
}

/* Durations, sizes and modes as a person writes them: the specification wants strings there. */
static void yaml_number(struct printer *p, const struct cf_node *n) {
    int64_t v = n->kind == CF_INT ? cf_int(n) : 0;
    if (n->kind == CF_FLOAT && !isfinite(n->f)) { /* in an extension: nowhere else does it pass */
        fputs(isnan(n->f) ? ".nan" : n->f < 0 ? "-.inf" : ".inf", p->out);
        return;
    }
    switch ((enum cf_unit) n->unit) {
    case CF_UNIT_NS:
        if (v % 1000000000 == 0)
            fprintf(p->out, "%llds", (long long) (v / 1000000000));
        else if (v % 1000000 == 0)
            fprintf(p->out, "%lldms", (long long) (v / 1000000));
        else
            fprintf(p->out, "%lldns", (long long) v);
        break;
    case CF_UNIT_BYTES:
        fprintf(p->out, "\"%lld\"", (long long) v);
        break;
    case CF_UNIT_MODE:
        fprintf(p->out, "\"%04llo\"", (unsigned long long) v);
        break;
    case CF_UNIT_NONE:
    case CF_UNIT_PATH:
        fputs(cf_scalar_text(p->c, n), p->out);
        break;
    }
}

/* A "$" is doubled, so that reading the text again does not replace anything. */
static void yaml_text(struct printer *p, const char *s) {
    struct cf_text t = {0};
    for (const char *q = s; *q; q++) {
        if (*q == '$') cf_text_putc(p->c, &t, '$');
        cf_text_putc(p->c, &t, *q);
    }
    s = cf_text_str(p->c, &t);
    if (plain(p->c, s))
        fputs(s, p->out);
    else
        quoted(p->out, s);
}

static void yaml_key(struct printer *p, const char *s) {
    if (plain(p->c, s))
        fputs(s, p->out);
    else
        quoted(p->out, s);
}

/* The value behind "key:" or "-"; a mapping in a list starts on the line of the dash. */
static void yaml(struct printer *p, const struct cf_node *n, unsigned depth, bool in_list) {
    uint32_t count = 0;
    if (n->kind == CF_MAP) {
        struct cf_entry *e = shown(p, n, &count);
        if (!count) fputs(" {}\n", p->out);
        for (uint32_t i = 0; i < count; i++) {
            if (i == 0) fputs(in_list ? " " : depth ? "\n" : "", p->out);
            if (i || !in_list) indent(p->out, depth);
            yaml_key(p, e[i].key);
            fputc(':', p->out);
            yaml(p, e[i].value, depth + 1, false);
        }
        return;
    }
    if (n->kind == CF_SEQ) {
        fputs(n->n ? "\n" : " []\n", p->out);
        for (uint32_t i = 0; i < n->n; i++) {
            indent(p->out, depth);
            fputc('-', p->out);
            yaml(p, n->items[i], depth + 1, true);
        }
        return;
    }
    fputc(' ', p->out);
    if (n->kind == CF_STR)
        yaml_text(p, n->s);
    else if (n->kind == CF_NULL)
        fputs("null", p->out);
    else
        yaml_number(p, n);
    fputc('\n', p->out);
}

/* ---- the public side ---- */

static void print(struct compose_project *c, void *arg) {
    struct printer *p = arg;
    p->c = c;
    if (p->yaml) {
        yaml(p, c->model, 0, false);
    } else {
        json(p, c->model, 0);
        fputc('\n', p->out);
    }
}

static int print_model(const struct compose_project *project, FILE *out, bool as_yaml) {
    /* The arena grows while sorting; the model does not change. */
    struct compose_project *c = (struct compose_project *) (uintptr_t) project;
    if (!c->model) return -EINVAL;
    struct printer p = {.out = out, .yaml = as_yaml};
    int r = cf_guard(c, print, &p);
    if (r < 0) return r;
    return ferror(out) ? -EIO : 0;
}

int compose_print_json(const struct compose_project *c, FILE *out) {
    return print_model(c, out, false);
}

int compose_print_yaml(const struct compose_project *c, FILE *out) {
    return print_model(c, out, true);
}
