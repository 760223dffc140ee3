// SPDX-License-Identifier: Apache-2.0
/* One value over another, as the rows say. The result may share nodes with both: neither is used
 * afterwards. Positions stay those of the file a value came from. */
#include <string.h>

#include "schema.h"

/* N without what is tagged !reset; the tags have done their work. */
static struct cf_node *strip(struct cf_node *n) {
    if (n->tag == CF_TAG_RESET) return NULL;
    n->tag = CF_TAG_NONE;
    uint32_t kept = 0;
    if (n->kind == CF_MAP) {
        for (uint32_t i = 0; i < n->n; i++)
            if (strip(n->entries[i].value)) n->entries[kept++] = n->entries[i];
    } else if (n->kind == CF_SEQ) {
        for (uint32_t i = 0; i < n->n; i++)
            if (strip(n->items[i])) n->items[kept++] = n->items[i];
    } else {
        return n;
    }
    if (kept != n->n) n->index = NULL;
    n->n = kept;
    return n;
}

/* ---- one form for what has two ---- */

/* ["A=1", "B"] -> {A: "1", B: null} */
static struct cf_node *as_pairs(struct compose_project *c, struct cf_node *n) {
    if (n->kind != CF_SEQ) return n;
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        struct cf_node *item = n->items[i];
        const char *s = cf_scalar_text(c, item);
        if (!s) return n; /* the check says so */
        const char *eq = strchr(s, '=');
        struct cf_node *v = eq ? cf_new_str(c, eq + 1, item) : cf_new(c, CF_NULL, item);
        cf_put(c, map, eq ? cf_strndup(c, s, (size_t) (eq - s)) : s, v);
    }
    return map;
}

static struct cf_node *as_list(struct compose_project *c, struct cf_node *n) {
    if (n->kind == CF_SEQ || n->kind == CF_MAP || n->kind == CF_NULL) return n;
    struct cf_node *seq = cf_new(c, CF_SEQ, n);
    cf_push(c, seq, n);
    return seq;
}

/* ["a"] -> {a: null}, or what a dependency in a list means. */
static struct cf_node *as_names(struct compose_project *c, struct cf_node *n,
                                const struct cf_key *k) {
    if (n->kind != CF_SEQ) return n;
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        struct cf_node *item = n->items[i];
        if (item->kind != CF_STR) return n;
        struct cf_node *v = cf_new(c, CF_NULL, item);
        if (str_eq(k->name, "depends_on")) {
            v = cf_new(c, CF_MAP, item);
            cf_put(c, v, "condition", cf_new_str(c, "service_started", item));
            cf_put(c, v, "required", cf_new_bool(c, true, item));
        }
        cf_put(c, map, item->s, v);
    }
    return map;
}

static struct cf_node *as_build(struct compose_project *c, struct cf_node *n) {
    if (n->kind != CF_STR) return n;
    struct cf_node *map = cf_new(c, CF_MAP, n);
    cf_put(c, map, "context", n);
    return map;
}

/* {host: ip, host: [ip, ip]} -> ["host=ip", ...] */
static struct cf_node *as_hosts(struct compose_project *c, struct cf_node *n) {
    if (n->kind != CF_MAP) return n;
    struct cf_node *seq = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        struct cf_node *v = as_list(c, n->entries[i].value);
        for (uint32_t j = 0; v->kind == CF_SEQ && j < v->n; j++) {
            const char *ip = cf_scalar_text(c, v->items[j]);
            if (!ip) return n;
            cf_push(c, seq,
                    cf_new_str(c, cf_printf(c, "%s=%s", n->entries[i].key, ip), v->items[j]));
        }
    }
    return seq;
}

static struct cf_node *one_form(struct compose_project *c, struct cf_node *n,
                                const struct cf_key *k) {
    switch (k->type->merge) {
    case CF_MERGE_KEYVALUE:
        return as_pairs(c, n);
    case CF_MERGE_TEXTS:
        return as_list(c, n);
    case CF_MERGE_NAMES:
        return as_names(c, n, k);
    case CF_MERGE_BUILD:
        return as_build(c, n);
    case CF_MERGE_HOSTS:
        return as_hosts(c, n);
    case CF_MERGE_DEEP:
    case CF_MERGE_REPLACE:
    case CF_MERGE_LOGGING:
    case CF_MERGE_SUBNETS:
        return n;
    }
    return n;
}

/* ---- merging ---- */

static struct cf_node *merge_maps(struct compose_project *c, struct cf_node *base,
                                  struct cf_node *over, const struct cf_key *k) {
    for (uint32_t i = 0; i < over->n; i++) {
        const char *name = over->entries[i].key;
        size_t mark = cf_enter(c, name);
        struct cf_node *v =
            cf_merge(c, cf_get(base, name), over->entries[i].value, cf_key_below(k, name));
        cf_leave(c, mark);
        if (v)
            cf_put(c, base, name, v);
        else
            cf_del(base, name);
    }
    return base;
}

static struct cf_node *append(struct compose_project *c, struct cf_node *base,
                              struct cf_node *over) {
    for (uint32_t i = 0; i < over->n; i++) {
        struct cf_node *item = strip(over->items[i]);
        if (item) cf_push(c, base, item);
    }
    return base;
}

static struct cf_node *merge_subnets(struct compose_project *c, struct cf_node *base,
                                     struct cf_node *over, const struct cf_key *k) {
    uint32_t before = base->n;
    for (uint32_t i = 0; i < over->n; i++) {
        const char *subnet = cf_get_str(over->items[i], "subnet");
        uint32_t j = 0;
        while (j < before && !(subnet && cf_get_str(base->items[j], "subnet") &&
                               str_eq(subnet, cf_get_str(base->items[j], "subnet"))))
            j++;
        if (j < before)
            base->items[j] = cf_merge(c, base->items[j], over->items[i], k->item);
        else
            cf_push(c, base, over->items[i]);
    }
    return base;
}

static bool same_driver(const struct cf_node *a, const struct cf_node *b) {
    const char *x = cf_get_str(a, "driver"), *y = cf_get_str(b, "driver");
    return !x || !y || str_eq(x, y);
}

struct cf_node *cf_merge(struct compose_project *c, struct cf_node *base, struct cf_node *over,
                         const struct cf_key *k) {
    enum cf_merge how = k ? k->type->merge : CF_MERGE_DEEP;
    if (over->tag == CF_TAG_RESET) return NULL;
    if (over->tag == CF_TAG_OVERRIDE || !base || base->kind == CF_NULL) return strip(over);
    if (over->kind == CF_NULL) return base;
    if (how == CF_MERGE_REPLACE) return strip(over);
    if (k) {
        base = one_form(c, base, k);
        over = one_form(c, over, k);
    }
    if (how == CF_MERGE_LOGGING && !same_driver(base, over)) return strip(over);
    if (base->kind == CF_MAP && over->kind == CF_MAP) return merge_maps(c, base, over, k);
    if (base->kind == CF_SEQ && over->kind == CF_SEQ) {
        if (how == CF_MERGE_SUBNETS) return merge_subnets(c, base, over, k);
        return append(c, base, over);
    }
    bool collections = base->kind == CF_MAP || base->kind == CF_SEQ || over->kind == CF_MAP ||
                       over->kind == CF_SEQ;
    if (!collections) return over;
    /* A value of a wrong kind is the check's to report; two right ones that do not fit are ours. */
    if (k && !(k->type->kinds & 1U << over->kind)) return over;
    cf_issue(c, over, "merge", "cannot merge %s over %s", cf_kind_name(over), cf_kind_name(base));
    return base;
}

/* ---- one item per identity ---- */

static void unify_list(struct compose_project *c, struct cf_node *n, const struct cf_key *k) {
    struct cf_node *places =
        cf_new(c, CF_MAP, NULL); /* identity -> its place, 1-based, as a number */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->n; i++) {
        const char *id = k->identity(c, n->items[i]);
        const struct cf_node *place = id ? cf_get(places, id) : NULL;
        if (place) {
            n->items[place->u] = n->items[i];
            continue;
        }
        if (id) cf_put(c, places, id, cf_new_int(c, kept, NULL));
        n->items[kept++] = n->items[i];
    }
    n->n = kept;
}

void cf_unify(struct compose_project *c, struct cf_node *n, const struct cf_key *k) {
    if (!k) return;
    if (n->kind == CF_MAP)
        for (uint32_t i = 0; i < n->n; i++)
            cf_unify(c, n->entries[i].value, cf_key_below(k, n->entries[i].key));
    if (n->kind == CF_SEQ && k->identity && n->n > 1) unify_list(c, n, k);
    if (n->kind == CF_SEQ && k->item)
        for (uint32_t i = 0; i < n->n; i++) cf_unify(c, n->items[i], k->item);
}
