// SPDX-License-Identifier: Apache-2.0
/* extends: a service starts from another, of the same file or of another file. */
#include <string.h>

#include "load.h"

enum { CHAIN = 100 };

struct link { /* one service of the chain that is being resolved */
    const struct cf_node *services;
    const char *name;
    const struct link *up;
    unsigned depth;
};

static struct cf_node *resolve(struct compose_project *c, struct cf_node *services,
                               const char *name, const struct link *up);

static bool in_chain(const struct link *l, const struct cf_node *services, const char *name) {
    for (; l; l = l->up)
        if (l->services == services && str_eq(l->name, name)) return true;
    return false;
}

/* The services of FILE, read once; its extends are resolved as they are asked for. */
static struct cf_node *services_of(struct compose_project *c, const char *file,
                                   const struct cf_node *at) {
    const struct cf_file *from = cf_file(c, at->file);
    const char *path = cf_path_is_fixed(file) ? file : cf_path_join(c, from->base, file);
    if (!c->extended) c->extended = cf_new(c, CF_MAP, NULL);
    struct cf_node *known = cf_get(c->extended, path);
    if (known) return known;
    struct cf_node *documents = cf_load_documents(c, path, cf_path_dir(c, path), from->env, at);
    struct cf_node *model = NULL;
    for (uint32_t i = 0; documents && i < documents->n; i++) {
        if (documents->items[i]->kind != CF_MAP) continue;
        cf_interpolate_document(c, documents->items[i]);
        model = cf_merge(c, model, documents->items[i], &cf_root);
    }
    struct cf_node *services = model ? cf_get(model, "services") : NULL;
    if (!cf_is(services, CF_MAP)) services = cf_new(c, CF_MAP, at);
    if (documents) cf_put(c, c->extended, path, services);
    return documents ? services : NULL;
}

/* What SERVICE's `extends` says; false when the check will complain of it. */
static bool parse(const struct cf_node *extends, const char **ret_service, const char **ret_file) {
    if (extends->bad) return false;
    *ret_service = extends->kind == CF_STR ? extends->s : cf_get_str(extends, "service");
    *ret_file = extends->kind == CF_MAP ? cf_get_str(extends, "file") : NULL;
    return *ret_service;
}

static struct cf_node *base_of(struct compose_project *c, struct cf_node *services,
                               const char *name, const struct cf_node *extends,
                               const struct link *chain) {
    const char *service, *file;
    if (!parse(extends, &service, &file)) return NULL;
    struct cf_node *from = file ? services_of(c, file, extends) : services;
    if (!from) return NULL;
    if (in_chain(chain, from, service)) {
        cf_issue(c, extends, "extends-cycle",
                 "Circular reference: service \"%.100s\" extends itself%s", service,
                 str_eq(service, name) ? "" : " by way of others");
        return NULL;
    }
    if (chain->depth == CHAIN) {
        cf_issue(c, extends, "extends", "more than %d services extend one another", CHAIN);
        return NULL;
    }
    if (!cf_get(from, service)) {
        cf_issue(c, extends, "extends",
                 "cannot extend service \"%.100s\": service \"%.100s\" not found%s%.200s", name,
                 service, file ? " in " : "", file ? file : "");
        return NULL;
    }
    return resolve(c, from, service, chain);
}

static struct cf_node *resolve(struct compose_project *c, struct cf_node *services,
                               const char *name, const struct link *up) {
    struct cf_node *service = cf_get(services, name);
    struct cf_node *extends = cf_get(service, "extends");
    struct link here = {services, name, up, up ? up->depth + 1 : 0};
    if (!extends) return service;
    size_t errors = c->n_errors;
    struct cf_node *base = base_of(c, services, name, extends, &here);
    if (!base) {
        if (c->n_errors > errors) cf_del(service, "extends"); /* once is enough */
        return service;
    }
    cf_del(service, "extends");
    struct cf_node *copy = base->kind == CF_NULL ? cf_new(c, CF_MAP, service) : cf_copy(c, base);
    cf_del(copy, "extends");
    struct cf_node *merged = cf_merge(c, copy, service, &cf_service);
    if (!merged) return service;
    merged->file = service->file;
    merged->line = service->line;
    merged->column = service->column;
    cf_put(c, services, name, merged);
    return merged;
}

void cf_apply_extends(struct compose_project *c, struct cf_node *document) {
    struct cf_node *services = cf_get(document, "services");
    if (!cf_is(services, CF_MAP)) return;
    size_t mark = cf_enter(c, "services");
    for (uint32_t i = 0; i < services->n; i++) {
        size_t inner = cf_enter(c, services->entries[i].key);
        size_t key = cf_enter(c, "extends");
        (void) resolve(c, services, services->entries[i].key, NULL);
        cf_leave(c, key);
        cf_leave(c, inner);
    }
    cf_leave(c, mark);
}
