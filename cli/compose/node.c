// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cf.h"

/* A mapping of more than INDEXED entries gets a hash index at the first look: slots hold 1 + the
 * entry's number, 0 = free. Whatever changes the set of keys drops or extends it. */
enum { INDEXED = 12 };

/* ---- memory ---- */

_Noreturn void cf_no_memory(struct compose_project *c) {
    ensure(c->jump);
    longjmp(*c->jump, 1);
}

void *cf_alloc(struct compose_project *c, size_t n) {
    void *p = arena_alloc(&c->arena, n ? n : 1);
    if (!p) cf_no_memory(c);
    return p;
}

char *cf_strndup(struct compose_project *c, const char *s, size_t n) {
    char *p = arena_strndup(&c->arena, s, n);
    if (!p) cf_no_memory(c);
    return p;
}

char *cf_strdup(struct compose_project *c, const char *s) {
    return cf_strndup(c, s, strlen(s));
}

char *cf_printf(struct compose_project *c, const char *fmt, ...) {
    char small[256]; /* most are: formatted once */
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    bool fits = n >= 0 && (size_t) n < sizeof small;
    char *p = n < 0 ? NULL : arena_strndup(&c->arena, small, fits ? (size_t) n : 0);
    if (p && !fits) p = arena_alloc(&c->arena, (size_t) n + 1);
    if (p && !fits) vsnprintf(p, (size_t) n + 1, fmt, again);
    va_end(again);
    if (!p) cf_no_memory(c);
    return p;
}

int cf_guard(struct compose_project *c, void (*fn)(struct compose_project *c, void *arg),
             void *arg) {
    jmp_buf here;
    if (setjmp(here)) {
        c->jump = NULL;
        if (c->event_live) yaml_event_delete(&c->event);
        if (c->parsing) yaml_parser_delete(&c->parser);
        c->parsing = c->event_live = false;
        return -ENOMEM;
    }
    c->jump = &here;
    fn(c, arg);
    c->jump = NULL;
    return 0;
}

static void text_room(struct compose_project *c, struct cf_text *t, size_t n) {
    if (n < t->cap - t->len) return;
    size_t cap = t->cap ? t->cap * 2 : 64;
    while (cap - t->len <= n) cap *= 2;
    char *s = cf_alloc(c, cap);
    if (t->len) memcpy(s, t->s, t->len);
    t->s = s;
    t->cap = cap;
}

void cf_text_add(struct compose_project *c, struct cf_text *t, const char *s, size_t n) {
    text_room(c, t, n);
    memcpy(t->s + t->len, s, n);
    t->len += n;
    t->s[t->len] = '\0';
}

void cf_text_putc(struct compose_project *c, struct cf_text *t, char ch) {
    cf_text_add(c, t, &ch, 1);
}

const char *cf_text_str(struct compose_project *c, struct cf_text *t) {
    text_room(c, t, 0);
    t->s[t->len] = '\0';
    return t->s;
}

/* ---- making ---- */

struct cf_node *cf_new(struct compose_project *c, enum cf_kind kind, const struct cf_node *at) {
    struct cf_node *n = cf_alloc(c, sizeof *n);
    n->kind = (uint8_t) kind;
    if (at) {
        n->file = at->file;
        n->line = at->line;
        n->column = at->column;
    }
    return n;
}

struct cf_node *cf_new_str(struct compose_project *c, const char *s, const struct cf_node *at) {
    struct cf_node *n = cf_new(c, CF_STR, at);
    n->s = s;
    return n;
}

struct cf_node *cf_new_int(struct compose_project *c, int64_t v, const struct cf_node *at) {
    struct cf_node *n = cf_new(c, CF_INT, at);
    n->negative = v < 0;
    n->u = v < 0 ? -(uint64_t) v : (uint64_t) v;
    return n;
}

struct cf_node *cf_new_bool(struct compose_project *c, bool b, const struct cf_node *at) {
    struct cf_node *n = cf_new(c, CF_BOOL, at);
    n->b = b;
    return n;
}

/* Depth is bounded by the reader (CF_DEPTH), so this may recurse. */
struct cf_node *cf_copy(struct compose_project *c, const struct cf_node *from) {
    struct cf_node *n = cf_alloc(c, sizeof *n);
    *n = *from;
    n->index = NULL;
    n->open = false;
    n->cap = n->n;
    if (n->kind == CF_MAP) {
        n->entries = cf_alloc(c, n->n * sizeof *n->entries);
        for (uint32_t i = 0; i < n->n; i++)
            n->entries[i] =
                (struct cf_entry){from->entries[i].key, cf_copy(c, from->entries[i].value)};
    } else if (n->kind == CF_SEQ) {
        n->items = cf_alloc(c, n->n * sizeof(struct cf_node *));
        for (uint32_t i = 0; i < n->n; i++) n->items[i] = cf_copy(c, from->items[i]);
    }
    return n;
}

/* ---- mappings ---- */

static void index_add(uint32_t *index, uint32_t slots, const char *key, uint32_t number) {
    uint32_t i = (uint32_t) str_hash(key, strlen(key)) & (slots - 1);
    while (index[i]) i = (i + 1) & (slots - 1);
    index[i] = number;
}

static uint32_t index_slots(uint32_t cap) {
    uint32_t slots = 32;
    while (slots < cap * 2) slots *= 2;
    return slots;
}

/* Its memory belongs to the entries' room: built when that grows, dropped by cf_del. */
static void index_build(struct compose_project *c, struct cf_node *map) {
    uint32_t slots = index_slots(map->cap);
    map->index = cf_alloc(c, slots * sizeof *map->index);
    for (uint32_t i = 0; i < map->n; i++) index_add(map->index, slots, map->entries[i].key, i + 1);
}

static bool same_key(const char *a, const char *b) {
    return *a == *b && strcmp(a, b) == 0;
}

static struct cf_entry *find(const struct cf_node *map, const char *key) {
    if (!cf_is(map, CF_MAP)) return NULL;
    if (!map->index) {
        for (uint32_t i = 0; i < map->n; i++)
            if (same_key(map->entries[i].key, key)) return &map->entries[i];
        return NULL;
    }
    uint32_t slots = index_slots(map->cap);
    for (uint32_t i = (uint32_t) str_hash(key, strlen(key)) & (slots - 1); map->index[i];
         i = (i + 1) & (slots - 1)) {
        struct cf_entry *e = &map->entries[map->index[i] - 1];
        if (same_key(e->key, key)) return e;
    }
    return NULL;
}

struct cf_node *cf_get(const struct cf_node *map, const char *key) {
    struct cf_entry *e = find(map, key);
    return e ? e->value : NULL;
}

static void map_grow(struct compose_project *c, struct cf_node *map) {
    uint32_t cap = map->cap ? map->cap * 2 : 4;
    struct cf_entry *e = cf_alloc(c, cap * sizeof *e);
    if (map->n) memcpy(e, map->entries, map->n * sizeof *e);
    map->entries = e;
    map->cap = cap;
    map->index = NULL;
}

void cf_put(struct compose_project *c, struct cf_node *map, const char *key, struct cf_node *v) {
    ensure(map->kind == CF_MAP);
    struct cf_entry *e = find(map, key);
    if (e) {
        e->value = v;
        return;
    }
    if (map->n == map->cap) map_grow(c, map);
    map->entries[map->n++] = (struct cf_entry){key, v};
    if (map->index)
        index_add(map->index, index_slots(map->cap), key, map->n);
    else if (map->n > INDEXED)
        index_build(c, map);
}

void cf_del(struct cf_node *map, const char *key) {
    struct cf_entry *e = find(map, key);
    if (!e) return;
    size_t i = (size_t) (e - map->entries);
    memmove(e, e + 1, (map->n - i - 1) * sizeof *e);
    map->n--;
    map->index = NULL;
}

void cf_push(struct compose_project *c, struct cf_node *seq, struct cf_node *v) {
    ensure(seq->kind == CF_SEQ);
    if (seq->n == seq->cap) {
        uint32_t cap = seq->cap ? seq->cap * 2 : 4;
        struct cf_node **items = cf_alloc(c, cap * sizeof(struct cf_node *));
        if (seq->n) memcpy(items, seq->items, seq->n * sizeof(struct cf_node *));
        seq->items = items;
        seq->cap = cap;
    }
    seq->items[seq->n++] = v;
}

/* ---- looking ---- */

const char *cf_get_str(const struct cf_node *map, const char *key) {
    const struct cf_node *n = cf_get(map, key);
    return cf_is(n, CF_STR) ? n->s : NULL;
}

bool cf_get_bool(const struct cf_node *map, const char *key) {
    const struct cf_node *n = cf_get(map, key);
    return cf_is(n, CF_BOOL) && n->b;
}

bool cf_is_empty(const struct cf_node *n) {
    if (!n) return true;
    switch ((enum cf_kind) n->kind) {
    case CF_NULL:
        return true;
    case CF_BOOL:
        return !n->b;
    case CF_INT:
        return n->u == 0;
    case CF_FLOAT:
        return !(n->f < 0 || n->f > 0);
    case CF_STR:
        return !*n->s;
    case CF_MAP:
    case CF_SEQ:
        return n->n == 0;
    }
    return true;
}

const char *cf_kind_name(const struct cf_node *n) {
    switch ((enum cf_kind) n->kind) {
    case CF_NULL:
        return "null";
    case CF_BOOL:
        return "a boolean";
    case CF_INT:
        return "an integer";
    case CF_FLOAT:
        return "a number";
    case CF_STR:
        return "a string";
    case CF_MAP:
        return "a mapping";
    case CF_SEQ:
        return "a list";
    }
    return "?";
}

int64_t cf_int(const struct cf_node *n) {
    if (n->negative) return n->u > (uint64_t) INT64_MAX ? INT64_MIN : -(int64_t) n->u;
    return n->u > (uint64_t) INT64_MAX ? INT64_MAX : (int64_t) n->u;
}

double cf_number(const struct cf_node *n) {
    if (n->kind == CF_FLOAT) return n->f;
    return n->negative ? -(double) n->u : (double) n->u;
}

/* NaN is like itself: a model is equal to its copy. */
static bool equal_numbers(double a, double b) {
    return isnan(a) || isnan(b) ? isnan(a) && isnan(b) : !(a < b || a > b);
}

static bool equal_children(const struct cf_node *a, const struct cf_node *b) {
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct cf_node *x = a->kind == CF_MAP ? a->entries[i].value : a->items[i];
        const struct cf_node *y = a->kind == CF_MAP ? cf_get(b, a->entries[i].key) : b->items[i];
        if (!y || !cf_equal(x, y)) return false;
    }
    return true;
}

static bool is_number(const struct cf_node *n) {
    return n->kind == CF_INT || n->kind == CF_FLOAT;
}

bool cf_equal(const struct cf_node *a, const struct cf_node *b) {
    if (a->kind != b->kind)
        return is_number(a) && is_number(b) && equal_numbers(cf_number(a), cf_number(b));
    switch ((enum cf_kind) a->kind) {
    case CF_NULL:
        return true;
    case CF_BOOL:
        return a->b == b->b;
    case CF_INT:
        return a->u == b->u && a->negative == b->negative;
    case CF_FLOAT:
        return equal_numbers(a->f, b->f);
    case CF_STR:
        return str_eq(a->s, b->s);
    case CF_MAP:
    case CF_SEQ:
        return equal_children(a, b);
    }
    return false;
}
