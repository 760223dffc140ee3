// SPDX-License-Identifier: Apache-2.0
#include "view.h"

#include "runtime/base/mem.h"

static void *must(void *p) {
    ensure(p != NULL);
    return p;
}

struct view *view_new(void) {
    return must(mem_zalloc(sizeof(struct view)));
}

static void free_service(Orlop__ViewService *s) {
    for (size_t k = 0; k < s->n_endpoints; k++) {
        mem_free(s->endpoints[k]->task);
        mem_free(s->endpoints[k]);
    }
    for (size_t k = 0; k < s->n_ports; k++) {
        mem_free(s->ports[k]->host_ip);
        mem_free(s->ports[k]);
    }
    for (size_t k = 0; k < s->n_aliases; k++) mem_free(s->aliases[k]);
    mem_free(s->aliases);
    mem_free(s->endpoints);
    mem_free(s->ports);
    mem_free(s->service);
    mem_free(s->app);
    mem_free(s);
}

void view_free(struct view *v) {
    if (!v) return;
    for (size_t i = 0; i < v->networks.made; i++) {
        mem_free(v->networks.v[i]->name);
        mem_free(v->networks.v[i]->app);
        mem_free(v->networks.v[i]);
    }
    for (size_t i = 0; i < v->services.made; i++) free_service(v->services.v[i]);
    mem_free(v);
}

struct net_view view_of(const struct view *v) {
    return (struct net_view){.networks = v->networks.v,
                             .n_networks = v->networks.n,
                             .services = v->services.v,
                             .n_services = v->services.n,
                             .local = v->local,
                             .n_local = v->n_local};
}

Orlop__ViewNetwork *view_network(struct view *v, uint32_t id, uint32_t subnet, uint32_t gateway,
                                 bool internal) {
    Orlop__ViewNetwork *n = must(mem_zalloc(sizeof *n));
    orlop__view_network__init(n);
    n->id = id;
    n->app = must(mem_strdup("shop"));
    n->name = must(mem_printf("net%u", id & 0xffff));
    n->subnet = subnet;
    n->prefix_len = 22;
    n->gateway = gateway;
    n->internal = internal;
    ensure(v->networks.n < VIEW_MAX);
    v->networks.v[v->networks.n++] = n;
    v->networks.made = v->networks.n;
    return n;
}

Orlop__ViewService *view_service(struct view *v, const char *name, uint32_t network, uint32_t vip) {
    Orlop__ViewService *s = must(mem_zalloc(sizeof *s));
    orlop__view_service__init(s);
    s->id = v->services.n + 1;
    s->app = must(mem_strdup("shop"));
    s->service = must(mem_strdup(name));
    s->network = network;
    s->vip = vip;
    s->endpoints = must(mem_array(VIEW_MAX, sizeof(void *)));
    s->ports = must(mem_array(VIEW_MAX, sizeof(void *)));
    s->aliases = must(mem_array(VIEW_MAX, sizeof(void *)));
    ensure(v->services.n < VIEW_MAX);
    v->services.v[v->services.n++] = s;
    v->services.made = v->services.n;
    return s;
}

Orlop__Endpoint *view_endpoint(Orlop__ViewService *s, const char *task, uint32_t address,
                               bool serving) {
    Orlop__Endpoint *e = must(mem_zalloc(sizeof *e));
    orlop__endpoint__init(e);
    e->task = must(mem_strdup(task));
    e->address = address;
    e->serving = serving;
    e->slot = (uint32_t) s->n_endpoints + 1;
    ensure(s->n_endpoints < VIEW_MAX);
    return s->endpoints[s->n_endpoints++] = e;
}

Orlop__Endpoint *view_endpoint_at(struct view *v, size_t service, size_t endpoint) {
    return v->services.v[service]->endpoints[endpoint];
}

void view_port(Orlop__ViewService *s, Orlop__Port__Protocol protocol, uint32_t target,
               uint32_t published, const char *host_ip) {
    Orlop__Port *p = must(mem_zalloc(sizeof *p));
    orlop__port__init(p);
    p->protocol = protocol;
    p->target = target;
    p->published = published;
    p->host_ip = must(mem_strdup(host_ip));
    ensure(s->n_ports < VIEW_MAX);
    s->ports[s->n_ports++] = p;
}

void view_local(struct view *v, uint32_t address, uint32_t gateway) {
    struct net_local l = {.task = "", .address = address, .gateway = gateway};
    for (size_t i = 0; i < v->services.n; i++) {
        const Orlop__ViewService *s = v->services.v[i];
        for (size_t k = 0; k < s->n_endpoints; k++) {
            if (s->endpoints[k]->address != address) continue;
            l.task = s->endpoints[k]->task;
            l.network = s->network;
        }
    }
    ensure(v->n_local < VIEW_MAX);
    v->local[v->n_local++] = l;
}
