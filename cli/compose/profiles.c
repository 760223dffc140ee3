// SPDX-License-Identifier: Apache-2.0
/* Services of profiles that are not active leave the model; who needs one of them says so. */
#include <string.h>

#include "load.h"

static const char *trimmed(struct compose_project *c, const char *s, size_t n) {
    for (; n && *s == ' '; n--) s++;
    for (; n && s[n - 1] == ' ';) n--;
    return cf_strndup(c, s, n);
}

static bool active_by_environment(struct compose_project *c, const char *profile) {
    const char *list = cf_env_get(&c->env, "COMPOSE_PROFILES");
    while (list && *list) {
        size_t n = strcspn(list, ",");
        const char *one = trimmed(c, list, n);
        if (str_eq(one, profile) || str_eq(one, "*")) return true;
        list += n + (list[n] ? 1 : 0);
    }
    return false;
}

/* Who names a service wants its profiles, too. */
static bool active_by_name(struct compose_project *c, const struct cf_node *services,
                           const char *profile) {
    const struct strv *named = &c->options->services;
    for (size_t i = 0; i < named->n; i++) {
        const struct cf_node *list = cf_get(cf_get(services, named->v[i]), "profiles");
        for (uint32_t k = 0; list && k < list->n; k++)
            if (str_eq(list->items[k]->s, profile)) return true;
    }
    return false;
}

static bool is_active(struct compose_project *c, const struct cf_node *services,
                      const struct cf_node *service) {
    const struct cf_node *profiles = cf_get(service, "profiles");
    const struct strv *wanted = &c->options->profiles;
    if (!profiles || strv_has(wanted, "*")) return true;
    for (uint32_t i = 0; i < profiles->n; i++) {
        const char *p = profiles->items[i]->s;
        if (strv_has(wanted, p) || (!wanted->n && active_by_environment(c, p))) return true;
        if (active_by_name(c, services, p)) return true;
    }
    return false;
}

/* An optional dependency on what has left goes with it; a required one is an error of validate.c,
 * which finds the service in c->inactive. */
static void drop_optional(struct cf_node *service, const struct cf_node *inactive) {
    struct cf_node *depends = cf_get(service, "depends_on");
    for (uint32_t i = 0; depends && i < depends->n;) {
        const char *name = depends->entries[i].key;
        if (cf_get(inactive, name) && !cf_get_bool(depends->entries[i].value, "required"))
            cf_del(depends, name);
        else
            i++;
    }
    if (depends && !depends->n) cf_del(service, "depends_on");
}

static int add_profiles(const struct cf_node *services, struct strv *ret) {
    int r = 0;
    for (uint32_t i = 0; services && i < services->n; i++) {
        const struct cf_node *list = cf_get(services->entries[i].value, "profiles");
        for (uint32_t k = 0; list && k < list->n && !r; k++)
            if (!strv_has(ret, list->items[k]->s)) r = strv_add(ret, list->items[k]->s);
    }
    return r;
}

int compose_profiles(const struct compose_project *c, struct strv *ret) {
    int r = add_profiles(cf_get(c->model, "services"), ret);
    if (!r) r = add_profiles(c->inactive, ret);
    strv_sort(ret);
    return r;
}

void cf_apply_profiles(struct compose_project *c, struct cf_node *model) {
    struct cf_node *services = cf_get(model, "services"), *active = cf_new(c, CF_MAP, services);
    c->inactive = cf_new(c, CF_MAP, services);
    for (uint32_t i = 0; i < services->n; i++) {
        struct cf_node *s = services->entries[i].value;
        cf_put(c, is_active(c, services, s) ? active : c->inactive, services->entries[i].key, s);
    }
    for (uint32_t i = 0; i < active->n; i++) drop_optional(active->entries[i].value, c->inactive);
    cf_put(c, model, "services", active);
}
