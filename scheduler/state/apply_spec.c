// SPDX-License-Identifier: Apache-2.0
/* Taking in a revision: first whether it can be, beside everything else in the cluster; then doing
 * it. */
#include <errno.h>
#include <stdio.h>

#include "apply_internal.h"
#include "net.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { PORT_FIRST = 32768, PORT_LAST = 60999 };

/* --- published ports ------------------------------------------------------------------------- */

static bool ports_meet(const Orlop__Port *a, const Orlop__Port *b) {
    return a->published && a->published == b->published && a->protocol == b->protocol &&
           (!*a->host_ip || !*b->host_ip || str_eq(a->host_ip, b->host_ip));
}

/* Who publishes PORT in SPEC; other than the port itself. */
static const Orlop__Service *publisher(const struct spec *p, const Orlop__Port *port) {
    for (size_t i = 0; i < p->app->n_services; i++)
        for (size_t k = 0; k < p->app->services[i]->n_ports; k++) {
            const Orlop__Port *other = p->app->services[i]->ports[k];
            if (other != port && ports_meet(other, port)) return p->app->services[i];
        }
    return NULL;
}

static int port_free(const struct state *s, const struct spec *own, const Orlop__Port *port,
                     struct err *why) {
    const Orlop__Service *holder = publisher(own, port);
    const char *app = own->app->name;
    void *value;
    for (size_t i = 0; !holder && map_next(&s->apps, &i, NULL, &value);) {
        const struct app *a = value;
        app = a->name;
        if (!a->removing && !str_eq(a->name, own->app->name)) holder = publisher(a->spec, port);
    }
    if (!holder) return 0;
    return err_say(why, -EADDRINUSE, "port %s%s%u/%s is published by service %s of app %s",
                   port->host_ip, *port->host_ip ? ":" : "", port->published,
                   port->protocol == ORLOP__PORT__PROTOCOL__UDP ? "udp" : "tcp", holder->name, app);
}

/* What the old revision has chosen for the same port stays. */
static uint32_t chosen_before(const struct app *old, const char *service, const Orlop__Port *port) {
    const struct spec_service *def = old ? spec_find(old->spec, service) : NULL;
    for (size_t i = 0; def && i < def->def->n_ports; i++) {
        const Orlop__Port *p = def->def->ports[i];
        if (p->target == port->target && p->protocol == port->protocol &&
            str_eq(p->host_ip, port->host_ip) && p->published >= PORT_FIRST &&
            p->published <= PORT_LAST)
            return p->published;
    }
    return 0;
}

static int choose_port(const struct state *s, const struct spec *p, const struct app *old,
                       const Orlop__Service *svc, Orlop__Port *port) {
    uint32_t count = PORT_LAST - PORT_FIRST + 1;
    char seed[256];
    int n = snprintf(seed, sizeof seed, "%s/%s/%u", p->app->name, svc->name, port->target);
    uint32_t start = (uint32_t) (str_hash(seed, (size_t) n) % count);
    port->published = chosen_before(old, svc->name, port);
    if (port->published && port_free(s, p, port, NULL) == 0) return 0;
    for (uint32_t i = 0; i < count; i++) {
        port->published = PORT_FIRST + (start + i) % count;
        if (port_free(s, p, port, NULL) == 0) return 0;
    }
    return -EADDRINUSE;
}

int apply__choose_ports(const struct state *s, struct spec *p, const struct app *old,
                        struct err *why) {
    for (size_t i = 0; i < p->app->n_services; i++) {
        Orlop__Service *svc = p->app->services[i];
        for (size_t k = 0; k < svc->n_ports; k++)
            if (!svc->ports[k]->published && choose_port(s, p, old, svc, svc->ports[k]) < 0)
                return err_say(why, -EADDRINUSE, "no port of %u to %u is free", PORT_FIRST,
                               PORT_LAST);
    }
    return 0;
}

/* --- can it be taken in? --------------------------------------------------------------------- */

static struct network *own_network(const struct app *a, const char *key) {
    if (!a) return NULL;
    list_each (it, &a->networks) {
        struct network *n = list_entry(it, struct network, app_link);
        if (!n->retired && str_eq(n->key, key)) return n;
    }
    return NULL;
}

/* The network goes on as it is under DEF. */
static bool unchanged(const struct network *n, const Orlop__Network *def) {
    uint32_t subnet, prefix_len;
    if (!str_eq(n->name, def->name) || n->internal != def->internal) return false;
    if (!*def->subnet) return (n->subnet & net_mask(NET_POOL_PREFIX)) == NET_POOL;
    return str_to_cidr4(def->subnet, &subnet, &prefix_len) == 0 && subnet == n->subnet &&
           prefix_len == n->prefix_len;
}

static int check_external(const struct state *s, const struct app *a, const struct spec *p,
                          const Orlop__Network *def, struct err *why) {
    const struct network *n = state_network_of(s, p, def->key);
    if (!n || n->retired || n->app->removing || n->app == a)
        return err_say(why, -ENOENT,
                       "network %s is external, but no other app has a network of that name",
                       def->name);
    return 0;
}

static int check_network(const struct state *s, const struct app *a, const struct spec *p,
                         const Orlop__Network *def, struct err *why) {
    if (def->external) return check_external(s, a, p, def, why);
    const struct network *named = state_network_of(s, p, def->key);
    if (named && named->app != a)
        return err_say(why, -EEXIST, "network %s belongs to app %s (external: true joins it)",
                       def->name, named->app->name);
    const struct network *own = own_network(a, def->key);
    if (!*def->subnet || (own && unchanged(own, def))) return 0;
    uint32_t subnet, prefix_len;
    if (str_to_cidr4(def->subnet, &subnet, &prefix_len) < 0)
        return err_say(why, -EINVAL, "network %s: subnet %s is no a.b.c.d/n without host bits",
                       def->name, def->subnet);
    return net_subnet_free(s, subnet, prefix_len, NULL, why);
}

/* A network that another app has joined may not go away. */
static int check_joined(const struct state *s, const struct app *a, const struct spec *p,
                        struct err *why) {
    list_each (it, &s->services_changed) {
        const struct service *svc = list_entry(it, struct service, changed);
        for (size_t i = 0; svc->app != a && i < svc->n_vips; i++) {
            const struct network *n = state_network(s, svc->vips[i].network);
            if (!n || n->app != a || n->retired) continue;
            const Orlop__Network *def = spec_network(p, n->key);
            if (!def || def->external || !unchanged(n, def))
                return err_say(why, -EBUSY, "network %s cannot change: app %s is joined to it",
                               n->name, svc->app->name);
        }
    }
    return 0;
}

/* Two of its own networks with overlapping explicit subnets, or one address for two services. */
static int check_inside(const struct spec *p, struct err *why) {
    const Orlop__App *app = p->app;
    for (size_t i = 0; i < app->n_networks; i++)
        for (size_t k = i + 1; k < app->n_networks; k++) {
            uint32_t a, al, b, bl;
            if (str_to_cidr4(app->networks[i]->subnet, &a, &al) < 0 ||
                str_to_cidr4(app->networks[k]->subnet, &b, &bl) < 0)
                continue;
            if (((a ^ b) & net_mask(al < bl ? al : bl)) == 0)
                return err_say(why, -EADDRINUSE, "the subnets of networks %s and %s overlap",
                               app->networks[i]->key, app->networks[k]->key);
        }
    return 0;
}

/* As if every network of the revision were new: the retired ones still hold their subnets. */
static int check_pool(const struct state *s, const struct app *a, const struct spec *p,
                      struct err *why) {
    size_t wanted = 0;
    for (size_t i = 0; i < p->app->n_networks; i++) {
        const Orlop__Network *def = p->app->networks[i];
        if (!def->external && !own_network(a, def->key)) wanted++;
        if (own_network(a, def->key) && !unchanged(own_network(a, def->key), def)) wanted++;
    }
    if (!wanted || net_pool_room(s, wanted + p->app->n_networks)) return 0;
    return err_say(why, -ENOSPC, "no subnet is free in the pool 10.80.0.0/12");
}

int apply__check_spec(const struct state *s, const struct app *a, const struct spec *p,
                      struct err *why) {
    if (a && !str_eq(a->spec->app->tenant, p->app->tenant))
        return err_say(why, -EEXIST, "app %s belongs to another tenant", a->name);
    for (size_t i = 0; i < p->app->n_services; i++)
        for (size_t k = 0; k < p->app->services[i]->n_ports; k++) {
            int r = port_free(s, p, p->app->services[i]->ports[k], why);
            if (r < 0) return r;
        }
    for (size_t i = 0; i < p->app->n_networks; i++) {
        int r = check_network(s, a, p, p->app->networks[i], why);
        if (r < 0) return r;
    }
    int r = check_inside(p, why);
    if (!r) r = check_pool(s, a, p, why);
    return !r && a ? check_joined(s, a, p, why) : r;
}

/* --- taking it in ---------------------------------------------------------------------------- */

static int create_networks(struct state *s, struct app *a, bool with_subnet, struct err *why) {
    for (size_t i = 0; i < a->spec->app->n_networks; i++) {
        const Orlop__Network *def = a->spec->app->networks[i];
        struct network *n;
        if (def->external || !*def->subnet == with_subnet || own_network(a, def->key)) continue;
        int r = net_create(s, a, def, &n, why);
        if (r < 0) return r;
    }
    return 0;
}

static int take_networks(struct state *s, struct app *a, struct err *why) {
    list_each_safe (it, &a->networks) {
        struct network *n = list_entry(it, struct network, app_link);
        const Orlop__Network *def = spec_network(a->spec, n->key);
        if (n->retired || (def && !def->external && unchanged(n, def))) continue;
        int r = net_retire(s, n);
        if (r < 0) return r;
    }
    int r = create_networks(s, a, true, why); /* explicit subnets before the pool's choice */
    return r < 0 ? r : create_networks(s, a, false, why);
}

struct taken {
    bool changed; /* its tasks are to be replaced */
    bool fresh;
};

static int take_service(struct state *s, struct app *a, const struct spec *old,
                        const struct spec_service *def, struct taken *ret) {
    struct service *svc = map_get(&a->services, def->def->name);
    ret->fresh = !svc || svc->removed;
    if (!svc) {
        int r = state__add_service(s, a, def->def->name, &svc);
        if (r < 0) return r;
        svc->id = s->next_service++;
    }
    const struct spec_service *before = old ? spec_find(old, svc->name) : NULL;
    ret->changed = before && !ret->fresh && !str_eq(before->hash, def->hash);
    bool scaled = before && before->def->replicas != def->def->replicas;
    if (ret->fresh || ret->changed || scaled || a->removing)
        state__bump(&svc->mod, &svc->mod_before, s->applied_idx);
    svc->removed = false;
    state__touch_service(s, svc);
    int r = net_reserve(s, svc);
    return r < 0 ? r : net_settle_vips(s, svc);
}

static int drop_services(struct state *s, struct app *a) {
    void *value;
    for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
        struct service *svc = value;
        if (spec_find(a->spec, svc->name)) continue;
        if (!svc->removed) state__bump(&svc->mod, &svc->mod_before, s->applied_idx);
        svc->removed = true;
        state__touch_service(s, svc);
        int r = net_settle_vips(s, svc);
        if (r < 0) return r;
    }
    return 0;
}

/* Changed services take those along that ask for it by depends_on.restart; forced ones are
 * replaced. */
static void replace_more(struct state *s, struct app *a, const struct taken *taken,
                         char *const *force, size_t n_force) {
    for (size_t i = 0; i < a->spec->app->n_services; i++) {
        struct service *svc = map_get(&a->services, a->spec->app->services[i]->name);
        bool forced = false;
        for (size_t k = 0; k < n_force; k++) forced |= str_eq(force[k], svc->name);
        if (taken[i].fresh || svc->restarted_idx == s->applied_idx) continue;
        if (forced || taken[i].changed) apply__restart_service(s, a, svc);
    }
}

/* The old volumes' removal is off when the app wants them again. */
static void keep_volumes(struct state *s, const struct app *a) {
    for (size_t i = 0; i < a->spec->app->n_volumes; i++)
        state__volume_back(s, a->spec->app->volumes[i]->name);
}

int apply__take_spec(struct state *s, struct app *a, struct spec *p, char *const *force,
                     size_t n_force, struct err *why) {
    struct spec *old = a->spec == p ? NULL : a->spec;
    void *value;
    for (size_t i = 0; old && map_next(&a->services, &i, NULL, &value);) net_unreserve(s, value);
    if (old) {
        a->spec = spec_ref(p);
        int r = state__push_history(a, old);
        if (r < 0) return r;
    }
    int r = take_networks(s, a, why);
    auto_free struct taken *taken = mem_array(p->app->n_services + 1, sizeof *taken);
    if (!taken) r = -ENOMEM;
    for (size_t i = 0; i < p->app->n_services && !r; i++)
        r = take_service(s, a, old, &p->services[i], &taken[i]);
    if (r < 0) return r;
    replace_more(s, a, taken, force, n_force);
    a->removing = a->remove_volumes = false;
    a->updated_ms = s->now_ms;
    a->mod = s->applied_idx;
    keep_volumes(s, a);
    for (size_t i = 0; i < p->app->n_services && !r;
         i++) /* those of an app that was being removed */
        r = net_settle_vips(s, map_get(&a->services, p->app->services[i]->name));
    if (!r) r = drop_services(s, a);
    for (size_t i = 0; !r && map_next(&a->services, &i, NULL, &value);)
        r = apply__prune_unwanted(s, value);
    state__trim_history(a);
    return r;
}
