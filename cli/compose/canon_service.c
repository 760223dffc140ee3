// SPDX-License-Identifier: Apache-2.0
/* Canonical values of single keys, most of them with a short and a long form. */
#include <stdlib.h>
#include <string.h>

#include "schema.h"

static struct cf_node *object(struct compose_project *c, const struct cf_node *at) {
    struct cf_node *o = cf_new(c, CF_MAP, at);
    o->fixed = true;
    return o;
}

/* ---- build ---- */

struct cf_node *cf_canon_build(struct compose_project *c, const struct cf_node *n,
                               const struct cf_key *k) {
    if (n->kind == CF_MAP) return cf_canon_object(c, n, k);
    struct cf_node *raw = cf_new(c, CF_MAP, n);
    cf_put(c, raw, "context", cf_new_str(c, n->s, n));
    return cf_canon_object(c, raw, k);
}

void cf_finish_build(struct compose_project *c, struct cf_node *o) {
    if (!cf_get(o, "context")) cf_put(c, o, "context", cf_new_path(c, ".", o));
    if (!cf_get(o, "dockerfile") && !cf_get(o, "dockerfile_inline"))
        cf_put(c, o, "dockerfile", cf_new_str(c, "Dockerfile", o));
}

/* ---- secrets and configs of a service ---- */

struct cf_node *cf_canon_uses(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *item = n->items[i];
        size_t mark = cf_enter_item(c, i);
        struct cf_node *o =
            item->kind == CF_MAP ? cf_canon_object(c, item, k->item) : object(c, item);
        if (item->kind == CF_STR) cf_put(c, o, "source", cf_new_str(c, item->s, item));
        const char *source = cf_get_str(o, "source");
        if (source && !cf_get(o, "target"))
            cf_put(c, o, "target", cf_new_str(c, cf_printf(c, "%s%s", k->fallback, source), item));
        cf_push(c, list, o);
        cf_leave(c, mark);
    }
    return list;
}

static const char *use_target(struct compose_project *c, const struct cf_node *n,
                              const char *fallback) {
    const char *target = cf_get_str(n, "target");
    const char *source = n->kind == CF_STR ? n->s : cf_get_str(n, "source");
    if (target) return target;
    return source ? cf_printf(c, "%s%s", fallback, source) : NULL;
}

const char *cf_id_secret(struct compose_project *c, const struct cf_node *n) {
    return use_target(c, n, "/run/secrets/");
}

const char *cf_id_config(struct compose_project *c, const struct cf_node *n) {
    return use_target(c, n, "/");
}

/* ---- depends_on, networks, models ---- */

struct cf_node *cf_canon_depends(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *v = n->kind == CF_MAP ? n->entries[i].value : n->items[i];
        const char *name = n->kind == CF_MAP ? n->entries[i].key : v->s;
        size_t mark = cf_enter(c, name);
        struct cf_node *o = n->kind == CF_MAP ? cf_canon_object(c, v, k->value) : object(c, v);
        if (!cf_get(o, "condition")) cf_put(c, o, "condition", cf_new_str(c, "service_started", v));
        if (!cf_get(o, "required")) cf_put(c, o, "required", cf_new_bool(c, true, v));
        cf_put(c, map, name, o);
        cf_leave(c, mark);
    }
    return map;
}

struct cf_node *cf_canon_networks(struct compose_project *c, const struct cf_node *n,
                                  const struct cf_key *k) {
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *v = n->kind == CF_MAP ? n->entries[i].value : n->items[i];
        const char *name = n->kind == CF_MAP ? n->entries[i].key : v->s;
        size_t mark = cf_enter(c, name);
        cf_put(c, map, name, v->kind == CF_MAP ? cf_canon_object(c, v, k->value) : object(c, v));
        cf_leave(c, mark);
    }
    return map;
}

/* ---- env_file ---- */

struct cf_node *cf_canon_env_files(struct compose_project *c, const struct cf_node *n,
                                   const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < (n->kind == CF_SEQ ? n->n : 1); i++) {
        const struct cf_node *item = n->kind == CF_SEQ ? n->items[i] : n;
        size_t mark = cf_enter_item(c, i);
        struct cf_node *o =
            item->kind == CF_MAP ? cf_canon_object(c, item, k->item) : object(c, item);
        if (item->kind == CF_STR) cf_put(c, o, "path", cf_new_path(c, item->s, item));
        if (!cf_get(o, "required")) cf_put(c, o, "required", cf_new_bool(c, true, item));
        cf_push(c, list, o);
        cf_leave(c, mark);
    }
    return list;
}

const char *cf_id_path(struct compose_project *c, const struct cf_node *n) {
    const char *s = n->kind == CF_STR ? n->s : cf_get_str(n, "path");
    return s && *s ? cf_host_path(c, s, n) : NULL;
}

/* ---- extra_hosts ---- */

static void add_host(struct compose_project *c, struct cf_node *list, const char *host,
                     const char *ips, const struct cf_node *at) {
    if (!*host || !*ips) {
        cf_issue(c, at, "extra-hosts", "invalid additional host, missing IP: %.60s", host);
        return;
    }
    while (*ips) {
        size_t n = strcspn(ips, ",");
        const char *ip = cf_strndup(c, ips, n);
        if (n > 2 && ip[0] == '[' && ip[n - 1] == ']') ip = cf_strndup(c, ip + 1, n - 2);
        cf_push(c, list, cf_new_str(c, cf_printf(c, "%s=%s", host, ip), at));
        ips += n + (ips[n] ? 1 : 0);
    }
}

static void host_text(struct compose_project *c, struct cf_node *list, const struct cf_node *n) {
    const char *sep = strchr(n->s, '=');
    if (!sep) sep = strchr(n->s, ':');
    if (!sep)
        cf_issue(c, n, "extra-hosts", "invalid additional host, missing IP: %.60s", n->s);
    else
        add_host(c, list, cf_strndup(c, n->s, (size_t) (sep - n->s)), sep + 1, n);
}

static int by_text(const void *a, const void *b) {
    const struct cf_node *const *x = a, *const *y = b;
    return strcmp((*x)->s, (*y)->s);
}

static void sort_texts_once(struct cf_node *list) {
    if (list->n) qsort(list->items, list->n, sizeof(struct cf_node *), by_text);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->n; i++)
        if (!kept || !str_eq(list->items[i]->s, list->items[kept - 1]->s))
            list->items[kept++] = list->items[i];
    list->n = kept;
}

struct cf_node *cf_canon_hosts(struct compose_project *c, const struct cf_node *n,
                               const struct cf_key *k) {
    (void) k;
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        if (n->kind == CF_SEQ) {
            host_text(c, list, n->items[i]);
            continue;
        }
        const struct cf_node *v = n->entries[i].value;
        for (uint32_t j = 0; j < (v->kind == CF_SEQ ? v->n : 1); j++) {
            const struct cf_node *ip = v->kind == CF_SEQ ? v->items[j] : v;
            add_host(c, list, n->entries[i].key, ip->s, ip);
        }
    }
    sort_texts_once(list);
    return list;
}

/* ---- ulimits, devices, gpus ---- */

struct cf_node *cf_canon_ulimits(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    static const struct cf_key number = {.name = "ulimit"};
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *v = n->entries[i].value;
        size_t mark = cf_enter(c, n->entries[i].key);
        struct cf_node *o = v->kind == CF_MAP ? cf_canon_object(c, v, k->value) : object(c, v);
        struct cf_node *both = v->kind == CF_MAP ? NULL : cf_canon_int(c, v, &number);
        if (both) {
            cf_put(c, o, "soft", both);
            cf_put(c, o, "hard", both);
        }
        cf_put(c, map, n->entries[i].key, o);
        cf_leave(c, mark);
    }
    return map;
}

static struct cf_node *device(struct compose_project *c, const struct cf_node *n) {
    static const char *const names[] = {"source", "target", "permissions"};
    struct cf_node *o = object(c, n);
    const char *p = n->s;
    for (size_t i = 0;; i++) {
        size_t len = strcspn(p, ":");
        if (i == array_len(names)) {
            cf_issue(c, n, "device", "confusing device mapping, please use long syntax: %.100s",
                     n->s);
            return NULL;
        }
        if (len) cf_put(c, o, names[i], cf_new_str(c, cf_strndup(c, p, len), n));
        if (!p[len]) break;
        p += len + 1;
    }
    if (!cf_get(o, "target")) cf_put(c, o, "target", cf_get(o, "source"));
    if (!cf_get(o, "permissions")) cf_put(c, o, "permissions", cf_new_str(c, "rwm", n));
    return o;
}

struct cf_node *cf_canon_devices(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *item = n->items[i];
        size_t mark = cf_enter_item(c, i);
        struct cf_node *o = item->kind == CF_MAP ? cf_canon_object(c, item, k->item)
                            : *item->s           ? device(c, item)
                                                 : NULL;
        if (o && !cf_get(o, "target") && cf_get(o, "source"))
            cf_put(c, o, "target", cf_get(o, "source"));
        if (o) cf_push(c, list, o);
        cf_leave(c, mark);
    }
    return list;
}

const char *cf_id_device(struct compose_project *c, const struct cf_node *n) {
    if (n->kind != CF_STR) {
        const char *target = cf_get_str(n, "target");
        return target ? target : cf_get_str(n, "source");
    }
    const char *colon = strchr(n->s, ':');
    if (!colon) return n->s;
    return cf_strndup(c, colon + 1, strcspn(colon + 1, ":"));
}

struct cf_node *cf_canon_count(struct compose_project *c, const struct cf_node *n,
                               const struct cf_key *k) {
    if (n->kind == CF_STR && str_eq(n->s, "all")) return cf_new_int(c, -1, n);
    return cf_canon_int(c, n, k);
}

void cf_finish_gpu(struct compose_project *c, struct cf_node *o) {
    if (!cf_get(o, "count") && !cf_get(o, "device_ids"))
        cf_put(c, o, "count", cf_new_int(c, -1, o));
}

struct cf_node *cf_canon_gpus(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    if (n->kind == CF_SEQ) return cf_canon_objects(c, n, k);
    struct cf_node *list = cf_new(c, CF_SEQ, n), *o = object(c, n);
    cf_put(c, o, "count", cf_new_int(c, -1, n));
    cf_push(c, list, o);
    return list;
}

/* ---- provider options, external ---- */

struct cf_node *cf_canon_options(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    struct cf_node *map = cf_new(c, CF_MAP, n);
    for (uint32_t i = 0; i < n->n; i++)
        cf_put(c, map, n->entries[i].key, cf_canon_texts(c, n->entries[i].value, k->value));
    return map;
}

struct cf_node *cf_canon_external(struct compose_project *c, const struct cf_node *n,
                                  const struct cf_key *k) {
    return n->kind == CF_MAP ? cf_canon_object(c, n, k) : cf_canon_bool(c, n, k);
}

/* `external: {name: N}` is an old way to say `external: true, name: N`. */
void cf_finish_resource(struct compose_project *c, struct cf_node *o) {
    const struct cf_node *external = cf_get(o, "external");
    if (!cf_is(external, CF_MAP)) return;
    const char *name = cf_get_str(external, "name");
    if (name && !cf_get(o, "name")) cf_put(c, o, "name", cf_new_str(c, name, external));
    cf_put(c, o, "external", cf_new_bool(c, true, external));
}
