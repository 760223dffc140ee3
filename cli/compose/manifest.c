// SPDX-License-Identifier: Apache-2.0
/* The manifest as a whole, and where in the files a part of it stands. */
#include "manifest.h"
#include "load.h"

#include <errno.h>
#include <string.h>

#include "proto/check.h"
#include "proto/value.h"

/* ---- memory of the manifest ---- */

void *cf_m_alloc(struct cf_manifest *m, size_t n) {
    void *p = arena_alloc(m->a, n ? n : 1);
    if (!p) cf_no_memory(m->c);
    return p;
}

char *cf_m_text(struct cf_manifest *m, const char *s) {
    char *t = arena_strdup(m->a, s ? s : "");
    if (!t) cf_no_memory(m->c);
    return t;
}

void *cf_m_grow(struct cf_manifest *m, void *list, size_t n) {
    if (n & (n - 1)) return list; /* full only at powers of two, and at 0 */
    void **bigger = cf_m_alloc(m, (n ? n * 2 : 1) * sizeof *bigger);
    if (n) memcpy(bigger, list, n * sizeof *bigger);
    return bigger;
}

/* ---- small parts ---- */

void cf_m_pairs(struct cf_manifest *m, const struct cf_node *map, Orlop__KeyValue ***list,
                size_t *n) {
    for (uint32_t i = 0; map && i < map->n; i++) {
        if (map->entries[i].value->kind != CF_STR) continue; /* a variable that is not set */
        Orlop__KeyValue *kv = cf_m_alloc(m, sizeof *kv);
        orlop__key_value__init(kv);
        kv->key = cf_m_text(m, map->entries[i].key);
        kv->value = cf_m_text(m, map->entries[i].value->s);
        CF_M_ADD(m, *list, *n, kv);
    }
}

void cf_m_texts(struct cf_manifest *m, const struct cf_node *seq, char ***list, size_t *n) {
    for (uint32_t i = 0; seq && i < seq->n; i++)
        CF_M_ADD(m, *list, *n, cf_m_text(m, seq->items[i]->s));
}

uint64_t cf_m_ms(struct cf_manifest *m, const struct cf_node *map, const char *key) {
    const struct cf_node *n = cf_get(map, key);
    if (!n) return 0;
    int64_t ns = cf_int(n);
    if (ns < 0) cf_issue(m->c, n, "range", "%s cannot be negative", key);
    if (ns / 1000000 > CHECK_TIME_MAX_MS)
        cf_issue(m->c, n, "range", "%s is longer than a day", key);
    if (ns <= 0) return 0;
    return ns < 1000000 ? 1 : (uint64_t) ns / 1000000;
}

uint64_t cf_m_amount(struct cf_manifest *m, const struct cf_node *n, const char *what,
                     uint64_t max) {
    if (!n || (!n->negative && n->u <= max)) return n ? n->u : 0;
    cf_issue(m->c, n, "range", "%s must be a number from 0 to %llu, not %lld", what,
             (unsigned long long) max, (long long) cf_int(n));
    return 0;
}

uint32_t cf_m_mode(struct cf_manifest *m, const struct cf_node *map) {
    const struct cf_node *n = cf_get(map, "mode");
    if (!n || (!n->negative && n->u <= 07777)) return n ? (uint32_t) n->u : 0;
    cf_issue(m->c, n, "range", "mode must be an octal number from 0 to 07777");
    return 0;
}

/* ---- networks and volumes: those that a service uses ---- */

static bool v6(const struct cf_node *config) {
    const char *subnet = cf_get_str(config, "subnet");
    return subnet && strchr(subnet, ':');
}

static void refuse_in_network(struct cf_manifest *m, const struct cf_node *n) {
    struct compose_project *c = m->c;
    if (cf_get_bool(n, "enable_ipv6"))
        cf_refuse(c, cf_get(n, "enable_ipv6"),
                  "`enable_ipv6` is not supported: tasks have IPv4 addresses only");
    if (cf_is(cf_get(n, "enable_ipv4"), CF_BOOL) && !cf_get_bool(n, "enable_ipv4"))
        cf_refuse(c, cf_get(n, "enable_ipv4"), "a network without IPv4 is not supported");
    const struct cf_node *config = cf_get(cf_get(n, "ipam"), "config");
    for (uint32_t i = 0; config && i < config->n; i++) {
        if (i || v6(config->items[i]))
            cf_refuse(c, config->items[i], "only one IPv4 subnet for a network is supported");
    }
}

static void add_network(struct cf_manifest *m, const char *key, const struct cf_node *n) {
    Orlop__Network *net = cf_m_alloc(m, sizeof *net);
    orlop__network__init(net);
    refuse_in_network(m, n);
    net->key = cf_m_text(m, key);
    net->name = cf_m_text(m, cf_get_str(n, "name"));
    net->internal = cf_get_bool(n, "internal");
    net->external = cf_get_bool(n, "external");
    const struct cf_node *config = cf_get(cf_get(n, "ipam"), "config");
    if (config && config->n && !v6(config->items[0])) {
        net->subnet = cf_m_text(m, cf_get_str(config->items[0], "subnet"));
        net->gateway = cf_m_text(m, cf_get_str(config->items[0], "gateway"));
    }
    struct err err = {0};
    bool named = value_resource(net->key, NULL) == 0 && value_resource(net->name, NULL) == 0;
    if (named && check_network(net, &err) < 0) cf_issue(m->c, n, "value", "%s", err.text);
    cf_m_pairs(m, cf_get(n, "labels"), &net->labels, &net->n_labels);
    CF_M_ADD(m, m->app->networks, m->app->n_networks, net);
}

static void add_volume(struct cf_manifest *m, const char *key, const struct cf_node *n) {
    Orlop__Volume *v = cf_m_alloc(m, sizeof *v);
    orlop__volume__init(v);
    v->key = cf_m_text(m, key);
    v->name = cf_m_text(m, cf_get_str(n, "name"));
    v->external = cf_get_bool(n, "external");
    cf_m_pairs(m, cf_get(n, "labels"), &v->labels, &v->n_labels);
    CF_M_ADD(m, m->app->volumes, m->app->n_volumes, v);
}

static void each_used(struct cf_manifest *m, const char *section,
                      void (*add)(struct cf_manifest *m, const char *key,
                                  const struct cf_node *n)) {
    const struct cf_node *map = cf_get(m->model, section);
    for (uint32_t i = 0; map && i < map->n; i++) {
        if (!cf_is_used(m->model, section, map->entries[i].key)) continue;
        add(m, map->entries[i].key, map->entries[i].value);
    }
}

/* ---- all of it ---- */

static void refuse_extensions(struct compose_project *c, const struct cf_node *model) {
    const struct cf_node *x = cf_get(model, "x-orlop");
    if (x) cf_refuse(c, x, "`x-orlop` belongs into a service");
}

static void convert(struct compose_project *c, void *arg) {
    struct cf_manifest *m = arg;
    m->published = cf_new(c, CF_MAP, NULL);
    m->app = cf_m_alloc(m, sizeof *m->app);
    orlop__app__init(m->app);
    m->app->name = cf_m_text(m, c->name);
    cf_refuse_keys(c, m->model, &cf_root);
    refuse_extensions(c, m->model);
    each_used(m, "networks", add_network);
    each_used(m, "volumes", add_volume);
    cf_m_contents(m);
    const struct cf_node *services = cf_get(m->model, "services");
    for (uint32_t i = 0; i < services->n; i++) {
        cf_m_service(m, services->entries[i].key, services->entries[i].value);
    }
}

/* What lies between several values, or is too much of them: the scheduler's own check. */
static void check(struct compose_project *c, void *arg) {
    struct cf_manifest *m = arg;
    struct err err = {0};
    size_t service;
    int r = check_app_at(m->app, &service, &err);
    if (r == -ENOMEM) cf_no_memory(c);
    if (r == 0) return;
    const struct cf_node *services = cf_get(m->model, "services");
    cf_issue(c, service < services->n ? services->entries[service].value : m->model, "manifest",
             "%s", err.text);
}

int compose_to_manifest(struct compose_project *c, struct arena *a, Orlop__App **ret) {
    if (!c->model) return -EINVAL;
    struct cf_manifest m = {.c = c, .a = a, .model = c->model};
    size_t errors = c->n_errors;
    int r = cf_guard(c, convert, &m);
    if (r == 0 && c->n_errors == errors) r = cf_guard(c, check, &m);
    cf_sort_issues(c);
    if (r < 0) cf_no_memory_issue(c);
    if (r == 0 && c->n_errors > errors) r = -EINVAL;
    if (r == 0) *ret = m.app;
    return r;
}

size_t compose_foresee(struct compose_project *c) {
    size_t first = c->n_issues, errors = c->n_errors, n = 0;
    struct arena a;
    Orlop__App *app;
    arena_init(&a, CF_ARENA_BYTES);
    if (compose_to_manifest(c, &a, &app) == -EINVAL) n = c->n_errors - errors;
    arena_fini(&a);
    for (size_t i = first; i < c->n_issues; i++) c->issues[i].warning = true;
    c->n_errors = errors;
    return n;
}

/* ---- where a part stands ---- */

/* The child of N that the front of *path names; *path is moved behind it. Names may hold dots, so
 * the longest that fits is taken. */
static const struct cf_node *step(const struct cf_node *n, const char **path) {
    const char *p = *path;
    const struct cf_node *best = NULL;
    size_t longest = 0;
    if (n->kind == CF_SEQ && *p == '[') {
        uint64_t i = 0;
        for (p++; *p >= '0' && *p <= '9' && i < UINT32_MAX; p++) i = i * 10 + (uint64_t) (*p - '0');
        if (*p != ']' || i >= n->n) return NULL;
        *path = p[1] == '.' ? p + 2 : p + 1;
        return n->items[i];
    }
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        size_t len = strlen(n->entries[i].key);
        if (strncmp(p, n->entries[i].key, len) != 0 || !strchr(".[", p[len])) continue;
        if (best && len <= longest) continue;
        best = n->entries[i].value;
        longest = len;
    }
    if (best) *path = p[longest] == '.' ? p + longest + 1 : p + longest;
    return best;
}

bool compose_locate(const struct compose_project *c, const char *path, const char **ret_file,
                    unsigned *ret_line, unsigned *ret_column) {
    const struct cf_node *n = c->model;
    while (n && *path) n = step(n, &path);
    if (!n || !n->line) return false;
    *ret_file = cf_file(c, n->file)->path;
    *ret_line = n->line;
    *ret_column = n->column;
    return true;
}
