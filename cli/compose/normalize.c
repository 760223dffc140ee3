// SPDX-License-Identifier: Apache-2.0
/* What the specification fills in: the default network, names of resources, implied dependencies.
 */
#include <string.h>

#include "load.h"

static struct cf_node *section(struct compose_project *c, struct cf_node *model, const char *name) {
    struct cf_node *map = cf_get(model, name);
    if (map) return map;
    map = cf_new(c, CF_MAP, model);
    cf_put(c, model, name, map);
    return map;
}

static struct cf_node *object_in(struct compose_project *c, struct cf_node *map, const char *name,
                                 const struct cf_node *at) {
    struct cf_node *o = cf_new(c, CF_MAP, at);
    o->fixed = true;
    cf_put(c, map, name, o);
    return o;
}

static void default_network(struct compose_project *c, struct cf_node *model,
                            struct cf_node *service) {
    if (cf_get(service, "provider") || cf_get(service, "network_mode")) return;
    struct cf_node *networks = cf_get(service, "networks");
    if (!networks) {
        networks = section(c, service, "networks");
        object_in(c, networks, "default", service);
    }
    struct cf_node *all = section(c, model, "networks");
    if (cf_get(networks, "default") && !cf_get(all, "default"))
        object_in(c, all, "default", service);
}

static void imply(struct compose_project *c, struct cf_node *service, const char *on, bool restart,
                  const struct cf_node *at) {
    struct cf_node *depends = section(c, service, "depends_on");
    if (cf_get(depends, on)) return;
    struct cf_node *o = object_in(c, depends, on, at);
    cf_put(c, o, "condition", cf_new_str(c, "service_started", at));
    cf_put(c, o, "required", cf_new_bool(c, true, at));
    if (restart) cf_put(c, o, "restart", cf_new_bool(c, true, at));
}

static void implied_dependencies(struct compose_project *c, struct cf_node *service) {
    static const char *const modes[] = {"network_mode", "ipc", "pid", "uts", "cgroup"};
    const struct cf_node *links = cf_get(service, "links");
    for (uint32_t i = 0; links && i < links->n; i++) {
        const char *s = links->items[i]->s;
        imply(c, service, cf_strndup(c, s, strcspn(s, ":")), true, links->items[i]);
    }
    for (size_t i = 0; i < array_len(modes); i++) {
        const char *mode = cf_get_str(service, modes[i]);
        if (mode && str_starts(mode, "service:"))
            imply(c, service, mode + strlen("service:"), true, cf_get(service, modes[i]));
    }
    const struct cf_node *from = cf_get(service, "volumes_from");
    for (uint32_t i = 0; from && i < from->n; i++) {
        const char *s = from->items[i]->s;
        if (!str_starts(s, "container:"))
            imply(c, service, cf_strndup(c, s, strcspn(s, ":")), false, from->items[i]);
    }
}

static void normalize_service(struct compose_project *c, struct cf_node *model,
                              struct cf_node *service) {
    struct cf_node *policy = cf_get(service, "pull_policy");
    if (cf_is(policy, CF_STR) && str_eq(policy->s, "if_not_present")) policy->s = "missing";
    struct cf_node *scale = cf_get(service, "scale"), *deploy = cf_get(service, "deploy");
    if (scale && deploy && !cf_get(deploy, "replicas")) cf_put(c, deploy, "replicas", scale);
    struct cf_node *hooks = cf_get(service, "pre_start"), *image = cf_get(service, "image");
    for (uint32_t i = 0; hooks && image && i < hooks->n; i++)
        if (!cf_get(hooks->items[i], "image")) cf_put(c, hooks->items[i], "image", image);
    default_network(c, model, service);
    implied_dependencies(c, service);
}

static void name_resources(struct compose_project *c, struct cf_node *model, const char *kind) {
    struct cf_node *map = cf_get(model, kind);
    for (uint32_t i = 0; map && i < map->n; i++) {
        struct cf_node *o = map->entries[i].value;
        const char *key = map->entries[i].key;
        if (cf_get(o, "name")) continue;
        const char *name = cf_get_bool(o, "external") ? key : cf_printf(c, "%s_%s", c->name, key);
        /* At no line: it stands in no file. */
        cf_put(c, o, "name", cf_new_str(c, name, NULL));
    }
}

void cf_normalize(struct compose_project *c, struct cf_node *model) {
    struct cf_node *services = section(c, model, "services");
    for (uint32_t i = 0; i < services->n; i++)
        normalize_service(c, model, services->entries[i].value);
    name_resources(c, model, "networks");
    name_resources(c, model, "volumes");
    name_resources(c, model, "secrets");
    name_resources(c, model, "configs");
}
