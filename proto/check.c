// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>

#include "check_service.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"
#include "value.h"

/* --- words ----------------------------------------------------------------------------------- */

static bool is_lower(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c) {
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

bool check_is_app_name(const char *s) {
    size_t n = strlen(s);
    if (n == 0 || n > CHECK_NAME_MAX || !is_lower(s[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (!is_lower(s[i]) && s[i] != '_' && s[i] != '-') return false;
    return true;
}

bool check_is_name(const char *s, size_t max) {
    size_t n = strlen(s);
    if (n == 0 || n > max || !is_alnum(s[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (!is_alnum(s[i]) && !strchr("_.-", s[i])) return false;
    return true;
}

bool check_is_task_id(const char *s) {
    size_t n = strlen(s), dots = 0;
    if (n < 5 || n > 60) return false;
    for (size_t i = 0; i < n; i++) {
        bool edge = i == 0 || i == n - 1 || s[i - 1] == '.';
        if (s[i] == '.' && !edge)
            dots++;
        else if (s[i] < '0' || s[i] > '9')
            return false;
    }
    return dots == 2;
}

bool check_is_abs_path(const char *s) {
    if (s[0] != '/' || strlen(s) >= CHECK_TEXT_MAX) return false;
    if (!s[1]) return true;
    while (*s == '/') {
        size_t n = strcspn(++s, "/");
        if (n == 0 && !*s) return true; /* one slash at the end */
        if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        s += n;
    }
    return true;
}

/* --- definitions of an app ------------------------------------------------------------------- */

static int unique(struct map *seen, const char *what, const char *name, struct err *err) {
    if (map_get(seen, name)) return err_say(err, -EINVAL, "%s %s is there twice", what, name);
    return map_set(seen, name, seen);
}

/* Every rule of a node's network is about the pool: what lies outside it no node can do. */
static int check_pool(const Orlop__Network *n, struct err *err) {
    uint32_t subnet, prefix_len;
    if (!*n->subnet || str_to_cidr4(n->subnet, &subnet, &prefix_len) < 0) return 0;
    if (prefix_len >= VALUE_POOL_PREFIX &&
        subnet >> (32 - VALUE_POOL_PREFIX) == VALUE_POOL >> (32 - VALUE_POOL_PREFIX))
        return 0;
    return err_say(err, -EINVAL,
                   "network %s: subnet %s is not in 10.80.0.0/12, where tasks have their "
                   "addresses",
                   n->key, n->subnet);
}

int check_network(const Orlop__Network *n, struct err *err) {
    uint32_t subnet, prefix_len, gateway;
    int r = value_resource(n->key, err);
    if (!r) r = value_resource(n->name, err);
    if (!r && *n->subnet) r = value_subnet(n->subnet, err);
    if (r < 0) return err_wrap(err, r, "network %.255s", n->key);
    if (!*n->gateway) return check_pool(n, err);
    if (str_to_cidr4(n->subnet, &subnet, &prefix_len) < 0 || str_to_ipv4(n->gateway, &gateway) < 0)
        return err_say(err, -EINVAL, "network %s: a gateway is an address of its subnet", n->key);
    uint32_t hosts = UINT32_MAX >> prefix_len;
    if ((gateway & ~hosts) != subnet || (gateway & hosts) == 0 || (gateway & hosts) == hosts)
        return err_say(err, -EINVAL, "network %s: gateway %s is not in %s", n->key, n->gateway,
                       n->subnet);
    return check_pool(n, err);
}

static int check_networks(const Orlop__App *a, struct err *err) {
    struct map keys = {0}, names = {0};
    int r = 0;
    if (a->n_networks > CHECK_NETWORKS_MAX)
        r = err_say(err, -EINVAL, "%zu networks; at most %d", a->n_networks, CHECK_NETWORKS_MAX);
    for (size_t i = 0; i < a->n_networks && !r; i++) {
        r = check_network(a->networks[i], err);
        if (!r) r = unique(&keys, "network", a->networks[i]->key, err);
        if (!r) r = unique(&names, "network name", a->networks[i]->name, err);
    }
    map_fini(&keys);
    map_fini(&names);
    return r;
}

static int check_volumes(const Orlop__App *a, struct err *err) {
    struct map keys = {0};
    int r = 0;
    if (a->n_volumes > CHECK_LIST_MAX)
        r = err_say(err, -EINVAL, "%zu volumes; at most %d", a->n_volumes, CHECK_LIST_MAX);
    for (size_t i = 0; i < a->n_volumes && !r; i++) {
        const Orlop__Volume *v = a->volumes[i];
        r = value_resource(v->key, err);
        if (!r) r = value_resource(v->name, err);
        if (r < 0) err_wrap(err, r, "volume %.255s", v->key);
        if (!r) r = unique(&keys, "volume", v->key, err);
    }
    map_fini(&keys);
    return r;
}

static int check_contents(Orlop__Content *const *v, size_t n, const char *what, size_t *total,
                          struct err *err) {
    struct map names = {0};
    int r = 0;
    if (n > CHECK_LIST_MAX)
        r = err_say(err, -EINVAL, "%zu %ss; at most %d", n, what, CHECK_LIST_MAX);
    for (size_t i = 0; i < n && !r; i++) {
        *total += v[i]->data.len;
        r = value_resource(v[i]->name, err);
        if (r < 0)
            err_wrap(err, r, "%s", what);
        else if (v[i]->data.len > CHECK_CONTENT_BYTES)
            r = err_say(err, -EINVAL, "%s %s has %zu bytes; at most %d", what, v[i]->name,
                        v[i]->data.len, CHECK_CONTENT_BYTES);
        else if (*total > CHECK_CONTENTS_BYTES)
            r = err_say(err, -EINVAL, "secrets and configs have more than %d bytes in all",
                        CHECK_CONTENTS_BYTES);
        if (!r) r = unique(&names, what, v[i]->name, err);
    }
    map_fini(&names);
    return r;
}

/* --- dependencies ---------------------------------------------------------------------------- */

enum mark { UNSEEN = 0, OPEN = 1, DONE = 2 };

struct graph {
    const Orlop__App *app;
    struct map index; /* name -> its mark */
    unsigned char marks[CHECK_SERVICES_MAX];
    uint32_t stack[CHECK_SERVICES_MAX]; /* services on the way down */
    uint32_t next[CHECK_SERVICES_MAX];  /* dependency to look at next */
};

static int enter(struct graph *g, const char *name, size_t *depth, const char *from,
                 struct err *err) {
    unsigned char *m = map_get(&g->index, name);
    if (!m || *m == DONE) return 0; /* optional and missing; or seen */
    if (*m == OPEN)
        return err_say(err, -EINVAL, "service %s depends on %s, which depends on it: a circle",
                       from, name);
    *m = OPEN;
    g->stack[*depth] = (uint32_t) (m - g->marks);
    g->next[(*depth)++] = 0;
    return 0;
}

/* Depth first without recursion: the manifest decides how deep. */
static int walk(struct graph *g, const char *root, struct err *err) {
    size_t depth = 0;
    int r = enter(g, root, &depth, root, err);
    while (depth && !r) {
        const Orlop__Service *s = g->app->services[g->stack[depth - 1]];
        uint32_t i = g->next[depth - 1]++;
        if (i < s->n_depends_on) {
            r = enter(g, s->depends_on[i]->service, &depth, s->name, err);
            continue;
        }
        g->marks[g->stack[--depth]] = DONE;
    }
    return r;
}

static int check_circles(const Orlop__App *a, struct err *err) {
    struct graph g = {.app = a};
    int r = 0;
    for (size_t i = 0; i < a->n_services && !r; i++)
        r = map_set(&g.index, a->services[i]->name, &g.marks[i]);
    for (size_t i = 0; i < a->n_services && !r; i++) r = walk(&g, a->services[i]->name, err);
    map_fini(&g.index);
    return r;
}

/* --- the app --------------------------------------------------------------------------------- */

static int check_services(const Orlop__App *a, size_t *ret_service, struct err *err) {
    struct check_refs refs = {.app = a};
    uint64_t replicas = 0;
    int r = check__refs_init(&refs, err);
    for (size_t i = 0; i < a->n_services && !r; i++) {
        replicas += a->services[i]->replicas;
        r = check__service(&refs, a->services[i], err);
        if (r < 0) *ret_service = i;
        if (r < 0 && r != -ENOMEM) err_wrap(err, r, "service %s", a->services[i]->name);
    }
    if (!r && replicas > CHECK_REPLICAS_MAX)
        r = err_say(err, -EINVAL, "%lu replicas in all; at most %d", (unsigned long) replicas,
                    CHECK_REPLICAS_MAX);
    check__refs_fini(&refs);
    return r;
}

int check_app(const Orlop__App *a, struct err *err) {
    size_t service;
    return check_app_at(a, &service, err);
}

int check_app_at(const Orlop__App *a, size_t *ret_service, struct err *err) {
    *ret_service = SIZE_MAX;
    if (!check_is_app_name(a->name))
        return err_say(err, -EINVAL,
                       "app name \"%.80s\": lower-case letters, digits, - and _, at most %d, and "
                       "not - or _ first",
                       a->name, CHECK_NAME_MAX);
    if (*a->tenant && !check_is_app_name(a->tenant))
        return err_say(err, -EINVAL, "tenant \"%.80s\" is not a valid name", a->tenant);
    if (a->n_services == 0 || a->n_services > CHECK_SERVICES_MAX)
        return err_say(err, -EINVAL, "%zu services; 1 to %d are possible", a->n_services,
                       CHECK_SERVICES_MAX);
    size_t total = 0;
    int r = check_networks(a, err);
    if (!r) r = check_volumes(a, err);
    if (!r) r = check_contents(a->secrets, a->n_secrets, "secret", &total, err);
    if (!r) r = check_contents(a->configs, a->n_configs, "config", &total, err);
    if (!r) r = check_services(a, ret_service, err);
    if (!r) r = check_circles(a, err);
    if (!r && protobuf_c_message_get_packed_size(&a->base) > CHECK_APP_BYTES)
        r = err_say(err, -EINVAL, "the app is larger than %d bytes", CHECK_APP_BYTES);
    return r;
}

/* --- what agents say ------------------------------------------------------------------------- */

static int check_status(const Orlop__TaskStatus *t, struct err *err) {
    if (!check_is_task_id(t->task))
        return err_say(err, -EINVAL, "\"%.80s\" is no task id", t->task);
    if (t->state < ORLOP__TASK_STATE__PENDING || t->state > ORLOP__TASK_STATE__ORPHANED)
        return err_say(err, -EINVAL, "task %s: unknown state %d", t->task, (int) t->state);
    if (t->health < ORLOP__HEALTH__HEALTH_NONE || t->health > ORLOP__HEALTH__HEALTH_UNHEALTHY)
        return err_say(err, -EINVAL, "task %s: unknown health %d", t->task, (int) t->health);
    if (strlen(t->reason) > CHECK_TEXT_MAX || strlen(t->health_output) > CHECK_TEXT_MAX)
        return err_say(err, -EINVAL, "task %s: text above %d bytes", t->task, CHECK_TEXT_MAX);
    return 0;
}

int check_statuses(Orlop__TaskStatus *const *v, size_t n, struct err *err) {
    if (n > CHECK_REPORT_TASKS_MAX)
        return err_say(err, -EINVAL, "%zu tasks; at most %d", n, CHECK_REPORT_TASKS_MAX);
    for (size_t i = 0; i < n; i++) {
        int r = check_status(v[i], err);
        if (r < 0) return r;
    }
    return 0;
}

int check_hello(const Orlop__Hello *h, struct err *err) {
    if (!check_is_name(h->node, CHECK_NAME_MAX))
        return err_say(err, -EINVAL, "node name \"%.80s\" is not valid", h->node);
    if (h->store.len != 16) return err_say(err, -EINVAL, "the store id must have 16 bytes");
    if (h->boot == 0) return err_say(err, -EINVAL, "boot numbers start at 1");
    if (!h->inventory) return err_say(err, -EINVAL, "there is no inventory");
    if (h->inventory->n_addresses > CHECK_LIST_MAX ||
        protobuf_c_message_get_packed_size(&h->inventory->base) > 64 << 10)
        return err_say(err, -EINVAL, "the inventory is too large");
    return 0;
}
