// SPDX-License-Identifier: Apache-2.0
/* Whether the canonical model is consistent: references, contradictions, cycles. */
#include <stdio.h>
#include <string.h>

#include "load.h"

/* ---- references ---- */

static void check_networks(struct compose_project *c, const struct cf_node *model,
                           const struct cf_node *service, const char *name) {
    const struct cf_node *uses = cf_get(service, "networks"), *all = cf_get(model, "networks");
    for (uint32_t i = 0; uses && i < uses->n; i++)
        if (!cf_get(all, uses->entries[i].key))
            cf_issue(c, uses->entries[i].value, "undefined-network",
                     "service \"%.100s\" refers to undefined network %.100s", name,
                     uses->entries[i].key);
}

static void check_volumes(struct compose_project *c, const struct cf_node *model,
                          const struct cf_node *service, const char *name) {
    const struct cf_node *uses = cf_get(service, "volumes"), *all = cf_get(model, "volumes");
    for (uint32_t i = 0; uses && i < uses->n; i++) {
        const char *type = cf_get_str(uses->items[i], "type"),
                   *source = cf_get_str(uses->items[i], "source");
        if (type && source && str_eq(type, "volume") && !cf_get(all, source))
            cf_issue(c, uses->items[i], "undefined-volume",
                     "service \"%.100s\" refers to undefined volume %.100s", name, source);
    }
}

static void check_uses(struct compose_project *c, const struct cf_node *model,
                       const struct cf_node *uses, const char *section, const char *name) {
    const struct cf_node *all = cf_get(model, section);
    int len = (int) strlen(section) - 1;
    for (uint32_t i = 0; uses && i < uses->n; i++) {
        const char *source = cf_get_str(uses->items[i], "source");
        if (!source || cf_get(all, source)) continue;
        cf_issue(c, uses->items[i], cf_printf(c, "undefined-%.*s", len, section),
                 "service \"%.100s\" refers to undefined %.*s %.100s", name, len, section, source);
    }
}

static void check_models(struct compose_project *c, const struct cf_node *model,
                         const struct cf_node *service, const char *name) {
    const struct cf_node *uses = cf_get(service, "models");
    for (uint32_t i = 0; uses && i < uses->n; i++)
        if (!cf_get(cf_get(model, "models"), uses->entries[i].key))
            cf_issue(c, uses->entries[i].value, "undefined-model",
                     "service \"%.100s\" refers to undefined model %.100s", name,
                     uses->entries[i].key);
}

static void check_depends(struct compose_project *c, const struct cf_node *model,
                          const struct cf_node *service, const char *name) {
    const struct cf_node *uses = cf_get(service, "depends_on");
    for (uint32_t i = 0; uses && i < uses->n; i++) {
        const char *on = uses->entries[i].key;
        if (cf_get(cf_get(model, "services"), on)) continue;
        if (cf_get(c->inactive, on))
            cf_issue(c, uses->entries[i].value, "undefined-service",
                     "service \"%.100s\" depends on \"%.100s\", none of whose profiles is active",
                     name, on);
        else if (cf_get_bool(uses->entries[i].value, "required"))
            cf_issue(c, uses->entries[i].value, "undefined-service",
                     "service \"%.100s\" depends on undefined service \"%.100s\"", name, on);
    }
}

static void check_contexts(struct compose_project *c, const struct cf_node *model,
                           const struct cf_node *service, const char *name) {
    const struct cf_node *all = cf_get(cf_get(service, "build"), "additional_contexts");
    for (uint32_t i = 0; all && i < all->n; i++) {
        const char *s = all->entries[i].value->s;
        if (!str_starts(s, "service:") || cf_get(cf_get(model, "services"), s + strlen("service:")))
            continue;
        cf_issue(c, all->entries[i].value, "undefined-service",
                 "build of service \"%.100s\" refers to undefined service \"%.100s\"", name,
                 s + strlen("service:"));
    }
}

/* ---- contradictions within a service ---- */

static bool number_differs(const struct cf_node *a, const struct cf_node *b) {
    if (!a || !b) return false;
    double x = cf_number(a), y = cf_number(b);
    return x < y || x > y;
}

static void check_scale(struct compose_project *c, const struct cf_node *service,
                        const char *name) {
    const struct cf_node *scale = cf_get(service, "scale");
    const struct cf_node *replicas = cf_get(cf_get(service, "deploy"), "replicas");
    if (number_differs(scale, replicas))
        cf_issue(c, scale, "conflict",
                 "can't set distinct values on 'scale' and 'deploy.replicas'");
    const struct cf_node *count = scale ? scale : replicas,
                         *container = cf_get(service, "container_name");
    if (container && count && cf_number(count) > 1)
        cf_issue(c, container, "conflict",
                 "service \"%.100s\" cannot have container_name and %lld replicas: the name must "
                 "be unique",
                 name, (long long) cf_int(count));
}

static void check_resources(struct compose_project *c, const struct cf_node *service) {
    static const struct {
        const char *old, *section, *now;
    } twice[] = {{"cpus", "limits", "cpus"},
                 {"mem_limit", "limits", "memory"},
                 {"pids_limit", "limits", "pids"},
                 {"mem_reservation", "reservations", "memory"}};
    const struct cf_node *resources = cf_get(cf_get(service, "deploy"), "resources");
    for (size_t i = 0; i < array_len(twice); i++) {
        const struct cf_node *old = cf_get(service, twice[i].old);
        const struct cf_node *now = cf_get(cf_get(resources, twice[i].section), twice[i].now);
        if (number_differs(old, now))
            cf_issue(c, old, "conflict",
                     "can't set distinct values on '%s' and 'deploy.resources.%s.%s'", twice[i].old,
                     twice[i].section, twice[i].now);
    }
}

static void check_build(struct compose_project *c, const struct cf_node *service) {
    const struct cf_node *build = cf_get(service, "build"), *platforms = cf_get(build, "platforms");
    const char *platform = cf_get_str(service, "platform");
    if (cf_get(build, "dockerfile") && cf_get(build, "dockerfile_inline"))
        cf_issue(c, build, "conflict",
                 "declares mutually exclusive dockerfile and dockerfile_inline");
    bool found = !platform || !platforms;
    for (uint32_t i = 0; !found && i < platforms->n; i++)
        found = str_eq(platforms->items[i]->s, platform);
    if (!found)
        cf_issue(c, cf_get(service, "platform"), "conflict",
                 "build.platforms must contain the platform \"%.100s\"", platform);
}

/* tmpfs and volumes: each target once. */
static void check_targets(struct compose_project *c, const struct cf_node *service) {
    const struct cf_node *tmpfs = cf_get(service, "tmpfs"), *volumes = cf_get(service, "volumes");
    struct cf_node *seen = cf_new(c, CF_MAP, NULL);
    for (uint32_t i = 0; tmpfs && i < tmpfs->n; i++) {
        const char *s = tmpfs->items[i]->s;
        cf_put(c, seen, cf_path_clean(c, cf_strndup(c, s, strcspn(s, ":"))), tmpfs->items[i]);
    }
    for (uint32_t i = 0; volumes && i < volumes->n; i++) {
        const char *target = cf_get_str(volumes->items[i], "target");
        if (!target) continue;
        if (cf_get(seen, target))
            cf_issue(c, volumes->items[i], "conflict", "target %.200s already mounted (line %u)",
                     target, cf_get(seen, target)->line);
        cf_put(c, seen, target, volumes->items[i]);
    }
}

static void check_health(struct compose_project *c, const struct cf_node *service) {
    const struct cf_node *test = cf_get(cf_get(service, "healthcheck"), "test");
    if (!test || !test->n) return;
    const char *first = test->items[0]->s;
    if (!str_eq(first, "CMD") && !str_eq(first, "CMD-SHELL") && !str_eq(first, "NONE"))
        cf_issue(c, test, "healthcheck",
                 "healthcheck.test must start with \"CMD\", \"CMD-SHELL\" or \"NONE\"");
}

static void check_service(struct compose_project *c, const struct cf_node *model,
                          const struct cf_node *service, const char *name) {
    if (!cf_get(service, "image") && !cf_get(service, "build") && !cf_get(service, "provider"))
        cf_issue(c, service, "service-no-image",
                 "service \"%.100s\" has neither an image nor a build context specified", name);
    if (cf_get(service, "network_mode") && cf_get(service, "networks"))
        cf_issue(c, cf_get(service, "network_mode"), "conflict",
                 "service \"%.100s\" declares mutually exclusive `network_mode` and `networks`",
                 name);
    check_networks(c, model, service, name);
    check_volumes(c, model, service, name);
    check_uses(c, model, cf_get(service, "secrets"), "secrets", name);
    check_uses(c, model, cf_get(cf_get(service, "build"), "secrets"), "secrets", name);
    check_uses(c, model, cf_get(service, "configs"), "configs", name);
    check_models(c, model, service, name);
    check_depends(c, model, service, name);
    check_contexts(c, model, service, name);
    check_scale(c, service, name);
    check_resources(c, service);
    check_build(c, service);
    check_targets(c, service);
    check_health(c, service);
}

/* ---- cycles of depends_on ---- */

enum { WHITE, GREY, BLACK };

struct visit {
    uint32_t service, edge; /* its number, and the next of its dependencies to follow */
};

static void report_cycle(struct compose_project *c, const struct cf_node *services,
                         const struct visit *stack, size_t depth, const char *closing,
                         const struct cf_node *at) {
    char text[400];
    size_t n = 0, from = 0;
    while (from < depth && !str_eq(services->entries[stack[from].service].key, closing)) from++;
    for (size_t i = from; i < depth; i++) {
        int w = snprintf(text + n, sizeof text - n, "%.60s -> ",
                         services->entries[stack[i].service].key);
        if (w < 0 || (size_t) w >= sizeof text - n) break;
        n += (size_t) w;
    }
    text[n] = '\0';
    cf_issue(c, at, "depends-cycle", "dependency cycle detected: %s%.60s", text, closing);
}

/* Depth first without recursion: projects may be long chains. STATE holds a colour for each
 * service. */
static bool find_cycle(struct compose_project *c, const struct cf_node *services,
                       struct cf_node *numbers, uint8_t *state, struct visit *stack,
                       uint32_t start) {
    size_t depth = 0;
    stack[depth++] = (struct visit){start, 0};
    state[start] = GREY;
    while (depth) {
        struct visit *v = &stack[depth - 1];
        const struct cf_node *depends = cf_get(services->entries[v->service].value, "depends_on");
        if (!depends || v->edge == depends->n) {
            state[v->service] = BLACK;
            depth--;
            continue;
        }
        const struct cf_entry *e = &depends->entries[v->edge++];
        const struct cf_node *number = cf_get(numbers, e->key);
        if (!number || state[number->u] == BLACK) continue;
        if (state[number->u] == GREY) {
            report_cycle(c, services, stack, depth, e->key, e->value);
            return true;
        }
        state[number->u] = GREY;
        stack[depth++] = (struct visit){(uint32_t) number->u, 0};
    }
    return false;
}

static void check_cycles(struct compose_project *c, const struct cf_node *services) {
    struct cf_node *numbers = cf_new(c, CF_MAP, NULL);
    for (uint32_t i = 0; i < services->n; i++)
        cf_put(c, numbers, services->entries[i].key, cf_new_int(c, i, NULL));
    uint8_t *state = cf_alloc(c, services->n);
    struct visit *stack = cf_alloc(c, (services->n + 1) * sizeof *stack);
    for (uint32_t i = 0; i < services->n; i++)
        if (state[i] == WHITE && find_cycle(c, services, numbers, state, stack, i)) return;
}

void cf_validate(struct compose_project *c, const struct cf_node *model) {
    const struct cf_node *services = cf_get(model, "services");
    for (uint32_t i = 0; i < services->n; i++) {
        check_service(c, model, services->entries[i].value, services->entries[i].key);
    }
    check_cycles(c, services);
}

/* ---- what each part must be by itself, also in fragments ---- */

static void check_external_volume(struct compose_project *c, const struct cf_node *v) {
    if (!cf_get_bool(v, "external")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        const char *key = v->entries[i].key;
        if (str_eq(key, "external") || str_eq(key, "name") || str_starts(key, "x-")) continue;
        cf_issue(c, v, "conflict", "conflicting parameters \"external\" and \"%.100s\" specified",
                 key);
        return;
    }
}

static void check_source(struct compose_project *c, const struct cf_node *o, const char *choice) {
    static const char *const sources[] = {"file", "environment", "content"};
    unsigned n = 0;
    for (size_t i = 0; i < array_len(sources); i++) n += cf_get(o, sources[i]) != NULL;
    if (n > 1) cf_issue(c, o, "conflict", "%s attributes are mutually exclusive", choice);
    if (!n && !cf_get_bool(o, "external") && !cf_get(o, "driver"))
        cf_issue(c, o, "required", "one of %s must be set", choice);
}

static void check_gpus(struct compose_project *c, const struct cf_node *list) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        if (cf_get(list->items[i], "count") && cf_get(list->items[i], "device_ids"))
            cf_issue(c, list->items[i], "conflict",
                     "\"count\" and \"device_ids\" attributes are exclusive");
    }
}

void cf_validate_parts(struct compose_project *c, const struct cf_node *model) {
    static const char *const sections[] = {"volumes", "secrets", "configs", "services"};
    for (size_t s = 0; s < array_len(sections); s++) {
        const struct cf_node *map = cf_get(model, sections[s]);
        for (uint32_t i = 0; map && i < map->n; i++) {
            const struct cf_node *v = map->entries[i].value;
            if (s == 0) check_external_volume(c, v);
            if (s == 1) check_source(c, v, "file|environment");
            if (s == 2) check_source(c, v, "file|environment|content");
            if (s == 3) {
                const struct cf_node *r = cf_get(cf_get(v, "deploy"), "resources");
                check_gpus(c, cf_get(v, "gpus"));
                check_gpus(c, cf_get(cf_get(r, "reservations"), "devices"));
            }
        }
    }
}
