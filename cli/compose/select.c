// SPDX-License-Identifier: Apache-2.0
/* A part of a project: some services and what they need. */
#include <errno.h>
#include <string.h>

#include "load.h"

static bool service_uses(const struct cf_node *service, const char *section, const char *key) {
    const struct cf_node *uses = cf_get(service, section);
    if (str_eq(section, "networks")) return cf_get(uses, key);
    for (uint32_t i = 0; uses && i < uses->n; i++) {
        const char *source = cf_get_str(uses->items[i], "source"),
                   *type = cf_get_str(uses->items[i], "type");
        bool named = !str_eq(section, "volumes") || (type && str_eq(type, "volume"));
        if (named && source && str_eq(source, key)) return true;
    }
    return false;
}

bool cf_is_used(const struct cf_node *model, const char *section, const char *key) {
    const struct cf_node *services = cf_get(model, "services");
    for (uint32_t i = 0; i < services->n; i++)
        if (service_uses(services->entries[i].value, section, key)) return true;
    return false;
}

struct selection {
    char *const *names;
    size_t n;
    const char *missing;
};

/* NAME, and behind it what it depends on that is not there yet. */
static void take(struct compose_project *c, struct cf_node *to, const char *name) {
    struct cf_node *service = cf_get(cf_get(c->model, "services"), name);
    if (service && !cf_get(to, name)) cf_put(c, to, name, service);
}

static void drop_unused(struct cf_node *model, const char *section) {
    struct cf_node *map = cf_get(model, section);
    for (uint32_t i = 0; map && i < map->n;) {
        const char *key = map->entries[i].key;
        if (cf_is_used(model, section, key))
            i++;
        else
            cf_del(map, key);
    }
    if (map && !map->n) cf_del(model, section);
}

static void select_services(struct compose_project *c, void *arg) {
    static const char *const sections[] = {"networks", "volumes", "secrets", "configs"};
    struct selection *s = arg;
    struct cf_node *services = cf_get(c->model, "services"), *kept = cf_new(c, CF_MAP, services);
    for (size_t i = 0; i < s->n; i++) {
        if (!cf_get(services, s->names[i])) s->missing = s->names[i];
        take(c, kept, s->names[i]);
    }
    if (s->missing) return;
    for (uint32_t i = 0; i < kept->n; i++) {
        const struct cf_node *on = cf_get(kept->entries[i].value, "depends_on");
        for (uint32_t k = 0; on && k < on->n; k++) take(c, kept, on->entries[k].key);
    }
    cf_put(c, c->model, "services", kept);
    for (size_t i = 0; i < array_len(sections); i++) drop_unused(c->model, sections[i]);
}

int compose_select(struct compose_project *c, char *const *names, size_t n,
                   const char **ret_missing) {
    struct selection s = {.names = names, .n = n};
    int r = cf_guard(c, select_services, &s);
    if (r < 0) cf_no_memory_issue(c);
    *ret_missing = s.missing;
    return r < 0 ? r : s.missing ? -ENOENT : 0;
}
