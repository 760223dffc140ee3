// SPDX-License-Identifier: Apache-2.0
/* Canonical values, the general ones. The tree has passed cf_check(), so kinds are known. */
#include <string.h>

#include "schema.h"

struct cf_node *cf_canon(struct compose_project *c, const struct cf_node *n,
                         const struct cf_key *k) {
    if (n->bad || (n->kind == CF_NULL && !(k->type->kinds & 1U << CF_NULL))) return NULL;
    struct cf_node *v = k->type->canon(c, n, k);
    if (!v) return NULL;
    bool keep = k->type->keep || k->flags & CF_KEEP;
    return cf_is_empty(v) && !keep ? NULL : v;
}

struct cf_node *cf_canon_none(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    (void) c, (void) n, (void) k;
    return NULL;
}

/* ---- strings ---- */

const char *cf_host_path(struct compose_project *c, const char *path, const struct cf_node *n) {
    return cf_path_relative(c, cf_file(c, n->file)->base, path);
}

static bool is_remote(const char *s) {
    return strstr(s, "://") || str_starts(s, "github.com/") || str_starts(s, "git@") ||
           str_starts(s, "service:");
}

struct cf_node *cf_new_path(struct compose_project *c, const char *path, const struct cf_node *n) {
    struct cf_node *p = cf_new_str(c, cf_host_path(c, path, n), n);
    p->unit = CF_UNIT_PATH;
    return p;
}

/* S as the row wants it: a path, or what it is. */
static struct cf_node *text(struct compose_project *c, const char *s, const struct cf_node *n,
                            unsigned flags) {
    bool path = flags & CF_HOSTPATH || (flags & CF_CONTEXT && !is_remote(s));
    return path && *s ? cf_new_path(c, s, n) : cf_new_str(c, s, n);
}

struct cf_node *cf_canon_text(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    const char *s = cf_scalar_text(c, n);
    return s ? text(c, s, n, k->flags) : NULL;
}

/* A string is a list of one. */
struct cf_node *cf_canon_texts(struct compose_project *c, const struct cf_node *n,
                               const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < (n->kind == CF_SEQ ? n->n : 1); i++) {
        const struct cf_node *item = n->kind == CF_SEQ ? n->items[i] : n;
        const char *s = cf_scalar_text(c, item);
        if (!s || (k->flags & CF_NOT_EMPTY && !*s)) continue;
        cf_push(c, list, text(c, s, item, k->flags));
    }
    return list;
}

/* ---- key=value ---- */

typedef void (*pair_cb)(struct compose_project *c, struct cf_node *map, const char *key,
                        const char *value, const struct cf_node *at);

/* CB for each entry of a mapping or "key=value" list; a NULL value = none given. */
static struct cf_node *pairs(struct compose_project *c, const struct cf_node *n, pair_cb cb) {
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        if (n->kind == CF_MAP) {
            const struct cf_node *v = n->entries[i].value;
            cb(c, map, n->entries[i].key, cf_scalar_text(c, v), v);
            continue;
        }
        const char *s = cf_scalar_text(c, n->items[i]), *eq = strchr(s, '=');
        cb(c, map, eq ? cf_strndup(c, s, (size_t) (eq - s)) : s, eq ? eq + 1 : NULL, n->items[i]);
    }
    return map;
}

static void text_pair(struct compose_project *c, struct cf_node *map, const char *key,
                      const char *value, const struct cf_node *at) {
    cf_put(c, map, key, cf_new_str(c, value ? value : "", at));
}

struct cf_node *cf_canon_map(struct compose_project *c, const struct cf_node *n,
                             const struct cf_key *k) {
    (void) k;
    return pairs(c, n, text_pair);
}

static bool env_key_ok(struct compose_project *c, const char *key, const struct cf_node *at) {
    size_t n = strlen(key);
    bool good = n && !strchr(" \t", key[n - 1]);
    if (!good)
        cf_issue(c, at, "environment",
                 "environment variable \"%.60s\": a name cannot end in a space"
                 " or be empty",
                 key);
    return good;
}

static const char *env_value(struct compose_project *c, const char *key, const char *value,
                             const struct cf_node *at) {
    return value ? value : cf_env_get(cf_file(c, at->file)->env, key);
}

static void env_pair(struct compose_project *c, struct cf_node *map, const char *key,
                     const char *value, const struct cf_node *at) {
    if (!env_key_ok(c, key, at)) return;
    const char *v = env_value(c, key, value, at);
    cf_put(c, map, key, v ? cf_new_str(c, v, at) : cf_new(c, CF_NULL, at));
}

struct cf_node *cf_canon_env(struct compose_project *c, const struct cf_node *n,
                             const struct cf_key *k) {
    (void) k;
    return pairs(c, n, env_pair);
}

static void arg_pair(struct compose_project *c, struct cf_node *map, const char *key,
                     const char *value, const struct cf_node *at) {
    if (!env_key_ok(c, key, at)) return;
    const char *v = env_value(c, key, value, at);
    if (v) cf_put(c, map, key, cf_new_str(c, v, at));
}

struct cf_node *cf_canon_args(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    (void) k;
    return pairs(c, n, arg_pair);
}

static void context_pair(struct compose_project *c, struct cf_node *map, const char *key,
                         const char *value, const struct cf_node *at) {
    cf_put(c, map, key, text(c, value ? value : "", at, CF_CONTEXT));
}

struct cf_node *cf_canon_contexts(struct compose_project *c, const struct cf_node *n,
                                  const struct cf_key *k) {
    (void) k;
    return pairs(c, n, context_pair);
}

/* ---- mappings ---- */

/* Extensions are kept as they are; printing leaves them out. */
struct cf_node *cf_canon_object(struct compose_project *c, const struct cf_node *n,
                                const struct cf_key *k) {
    struct cf_node *o = cf_new(c, CF_MAP, n);
    o->fixed = true;
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        const char *name = n->entries[i].key;
        const struct cf_key *below = cf_key_of(k->table, name);
        size_t mark = cf_enter(c, name);
        struct cf_node *v = below ? cf_canon(c, n->entries[i].value, below) : n->entries[i].value;
        if (v) cf_put(c, o, name, v);
        cf_leave(c, mark);
    }
    if (k->table->finish) k->table->finish(c, o);
    return o;
}

struct cf_node *cf_canon_objects(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        size_t mark = cf_enter_item(c, i);
        cf_push(c, list, cf_canon_object(c, n->items[i], k->item));
        cf_leave(c, mark);
    }
    return list;
}

/* Names are the user's: an empty value stays. */
struct cf_node *cf_canon_named(struct compose_project *c, const struct cf_node *n,
                               const struct cf_key *k) {
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        size_t mark = cf_enter(c, n->entries[i].key);
        struct cf_node *v = k->value->type->canon(c, n->entries[i].value, k->value);
        if (v) cf_put(c, map, n->entries[i].key, v);
        cf_leave(c, mark);
    }
    return map;
}

const char *cf_id_text(struct compose_project *c, const struct cf_node *n) {
    const char *s = cf_scalar_text(c, n);
    return s ? cf_strndup(c, s, strcspn(s, "=")) : NULL;
}
