// SPDX-License-Identifier: Apache-2.0
/* One service. */
#include <ctype.h>
#include <string.h>

#include "manifest.h"
#include "proto/check.h"
#include "proto/value.h"

static void check_build(struct cf_manifest *m, const struct cf_node *n) {
    const struct cf_node *build = cf_get(n, "build"), *image = cf_get(n, "image");
    if (!build) return;
    if (image)
        cf_warn(m->c, build, "ignored",
                "Orlop builds no images: %.200s must be there (`orlop image import`)", image->s);
    else
        cf_issue(m->c, build, "unsupported",
                 "Orlop builds no images: name one with `image`, and bring it with `orlop image "
                 "import`");
}

/* ---- parts ---- */

static void words(struct cf_manifest *m, const struct cf_node *list, protobuf_c_boolean *has,
                  char ***v, size_t *n) {
    if (!list) return;
    *has = true;
    cf_m_texts(m, list, v, n);
}

static void capabilities(struct cf_manifest *m, const struct cf_node *list, char ***v, size_t *n) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        char *name = cf_m_text(m, list->items[i]->s);
        for (char *p = name; *p; p++) *p = (char) toupper((unsigned char) *p);
        CF_M_ADD(m, *v, *n, str_starts(name, "CAP_") ? name + 4 : name);
    }
}

static void add_alias(struct cf_manifest *m, Orlop__ServiceNetwork *net, const char *alias) {
    for (size_t i = 0; i < net->n_aliases; i++)
        if (str_eq(net->aliases[i], alias)) return;
    CF_M_ADD(m, net->aliases, net->n_aliases, cf_m_text(m, alias));
}

/* "db:database" of a service OTHER makes "database" a name of db in the networks of both: for all
 * who are in them, so it must be nobody's name. */
static void link_aliases(struct cf_manifest *m, const Orlop__Service *s, Orlop__ServiceNetwork *net,
                         const struct cf_node *other) {
    const struct cf_node *links = cf_get(other, "links"), *services = cf_get(m->model, "services");
    size_t len = strlen(s->name);
    if (!cf_get(cf_get(other, "networks"), net->network)) return;
    for (uint32_t i = 0; links && i < links->n; i++) {
        const char *text = links->items[i]->s, *alias = text + len + 1;
        if (strncmp(text, s->name, len) != 0 || text[len] != ':' || str_eq(alias, s->name))
            continue;
        if (cf_get(services, alias))
            cf_refuse(m->c, links->items[i],
                      "a link by the name of another service, %.100s, is "
                      "not supported",
                      alias);
        else
            add_alias(m, net, alias);
        cf_look_at_value(m->c, links->items[i], alias, value_alias);
    }
}

/* Other tasks find it by these names too. */
static void more_aliases(struct cf_manifest *m, const Orlop__Service *s,
                         Orlop__ServiceNetwork *net) {
    const struct cf_node *services = cf_get(m->model, "services");
    if (*s->container_name && !str_eq(s->container_name, s->name))
        add_alias(m, net, s->container_name);
    for (uint32_t i = 0; i < services->n; i++) link_aliases(m, s, net, services->entries[i].value);
}

static void networks(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *map) {
    for (uint32_t i = 0; map && i < map->n; i++) {
        const struct cf_node *n = map->entries[i].value;
        Orlop__ServiceNetwork *net = cf_m_alloc(m, sizeof *net);
        orlop__service_network__init(net);
        net->network = cf_m_text(m, map->entries[i].key);
        cf_m_texts(m, cf_get(n, "aliases"), &net->aliases, &net->n_aliases);
        more_aliases(m, s, net);
        net->ipv4_address = cf_m_text(m, cf_get_str(n, "ipv4_address"));
        CF_M_ADD(m, s->networks, s->n_networks, net);
    }
}

static void dependencies(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *map) {
    for (uint32_t i = 0; map && i < map->n; i++) {
        const struct cf_node *n = map->entries[i].value;
        const char *condition = cf_get_str(n, "condition");
        Orlop__Dependency *d = cf_m_alloc(m, sizeof *d);
        if (!cf_get(cf_get(m->model, "services"), map->entries[i].key))
            continue; /* optional, and not there */
        orlop__dependency__init(d);
        d->service = cf_m_text(m, map->entries[i].key);
        d->condition = str_eq(condition, "service_healthy") ? ORLOP__DEPENDENCY__CONDITION__HEALTHY
                       : str_eq(condition, "service_completed_successfully")
                           ? ORLOP__DEPENDENCY__CONDITION__COMPLETED
                           : ORLOP__DEPENDENCY__CONDITION__STARTED;
        d->restart = cf_get_bool(n, "restart");
        d->optional = !cf_get_bool(n, "required");
        CF_M_ADD(m, s->depends_on, s->n_depends_on, d);
    }
}

static void extra_hosts(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *list) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        const char *text = list->items[i]->s, *eq = strchr(text, '=');
        Orlop__KeyValue *kv = cf_m_alloc(m, sizeof *kv);
        orlop__key_value__init(kv);
        kv->key = cf_m_text(m, cf_strndup(m->c, text, (size_t) (eq - text)));
        kv->value = cf_m_text(m, eq + 1);
        cf_look_at_value(m->c, list->items[i], kv->key, value_alias);
        cf_look_at_value(m->c, list->items[i], kv->value, value_host_address);
        CF_M_ADD(m, s->extra_hosts, s->n_extra_hosts, kv);
    }
}

static uint32_t replicas(struct cf_manifest *m, const struct cf_node *n) {
    const struct cf_node *r = cf_get(cf_get(n, "deploy"), "replicas"), *scale = cf_get(n, "scale");
    if (!r) r = scale;
    return r ? (uint32_t) cf_m_amount(m, r, "replicas", CHECK_REPLICAS_MAX) : 1;
}

/* 0 would mean the default. */
static uint64_t drain(struct cf_manifest *m, const struct cf_node *n) {
    const struct cf_node *x = cf_get(n, "x-orlop");
    uint64_t ms = cf_m_ms(m, x, "drain");
    return cf_get(x, "drain") && !ms ? 1 : ms;
}

static void simple(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const struct {
        char **field;
        const char *key;
    } texts[] = {{&s->image, "image"},
                 {&s->user, "user"},
                 {&s->working_dir, "working_dir"},
                 {&s->hostname, "hostname"},
                 {&s->container_name, "container_name"},
                 {&s->stop_signal, "stop_signal"}};
    for (size_t i = 0; i < array_len(texts); i++)
        *texts[i].field = cf_m_text(m, cf_get_str(n, texts[i].key));
    s->read_only = cf_get_bool(n, "read_only");
    s->init = cf_get_bool(n, "init");
    s->stdin_open = cf_get_bool(n, "stdin_open");
    s->has_stop_grace = cf_get(n, "stop_grace_period") != NULL;
    s->stop_grace_ms = cf_m_ms(m, n, "stop_grace_period");
    s->replicas = replicas(m, n);
    s->drain_ms = drain(m, n);
}

void cf_m_service(struct cf_manifest *m, const char *name, const struct cf_node *n) {
    Orlop__Service *s = cf_m_alloc(m, sizeof *s);
    orlop__service__init(s);
    s->name = cf_m_text(m, name);
    CF_M_ADD(m, m->app->services, m->app->n_services, s);
    check_build(m, n);
    simple(m, s, n);
    words(m, cf_get(n, "command"), &s->has_command, &s->command, &s->n_command);
    words(m, cf_get(n, "entrypoint"), &s->has_entrypoint, &s->entrypoint, &s->n_entrypoint);
    cf_m_pairs(m, cf_get(n, "environment"), &s->environment, &s->n_environment);
    cf_m_pairs(m, cf_get(n, "labels"), &s->labels, &s->n_labels);
    capabilities(m, cf_get(n, "cap_add"), &s->cap_add, &s->n_cap_add);
    capabilities(m, cf_get(n, "cap_drop"), &s->cap_drop, &s->n_cap_drop);
    networks(m, s, cf_get(n, "networks"));
    dependencies(m, s, cf_get(n, "depends_on"));
    extra_hosts(m, s, cf_get(n, "extra_hosts"));
    cf_m_runtime(m, s, n);
    cf_m_ports(m, s, n);
    cf_m_mounts(m, s, n);
    cf_m_policies(m, s, n);
    cf_m_deploy(m, s, n);
}
