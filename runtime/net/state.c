// SPDX-License-Identifier: Apache-2.0
#include "state_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

static uint32_t mask(uint32_t prefix_len) {
    return prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
}

static bool inside(uint32_t address, uint32_t subnet, uint32_t prefix_len) {
    return (address & mask(prefix_len)) == subnet;
}

struct net__state *net__state_new(void) {
    return mem_zalloc(sizeof(struct net__state));
}

void net__state_free(struct net__state *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_forwards; i++) mem_free(s->forwards[i].slots);
    mem_free(s->forwards);
    mem_free(s->networks);
    mem_free(s->selfs);
    mem_free(s->crosses);
    mem_free(s);
}

static int compare_words(const void *a, const void *b, size_t words) {
    const uint32_t *x = a, *y = b;
    for (size_t i = 0; i < words; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

int net__by_key(const void *a, const void *b) {
    const struct net__forward *x = a, *y = b;
    return compare_words(&x->key, &y->key, sizeof x->key / 4);
}

static int by_id(const void *a, const void *b) {
    return compare_words(a, b, 1);
}

int net__by_pair(const void *a, const void *b) {
    return compare_words(a, b, 2);
}

static int by_target(const void *a, const void *b) {
    const net__target *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

const struct net__forward *net__state_find(const struct net__state *s, const struct net__key *key) {
    if (s->n_forwards == 0) return NULL;
    struct net__forward probe = {.key = *key};
    return bsearch(&probe, s->forwards, s->n_forwards, sizeof probe, net__by_key);
}

static const struct net__network *find_network(const struct net__state *s, uint32_t id) {
    if (s->n_networks == 0) return NULL;
    return bsearch(&id, s->networks, s->n_networks, sizeof *s->networks, by_id);
}

/* --- networks --- */

static int check_network(const struct net_config *cfg, const Orlop__ViewNetwork *v,
                         struct err *err) {
    if ((v->id & 0xffff0000) != NET__GROUP_BASE)
        return err_say(err, -EINVAL, "network \"%s\": %u is no link group of ours", v->name, v->id);
    if (v->prefix_len < cfg->task_pool_prefix || v->prefix_len > 30 ||
        (v->subnet & ~mask(v->prefix_len)) != 0 ||
        !inside(v->subnet, cfg->task_pool, cfg->task_pool_prefix))
        return err_say(err, -EINVAL, "network \"%s\": its subnet is not part of the task pool",
                       v->name);
    if (!inside(v->gateway, v->subnet, v->prefix_len))
        return err_say(err, -EINVAL, "network \"%s\": its gateway is outside its subnet", v->name);
    return 0;
}

static int check_overlap(const struct net__state *s, struct err *err) {
    for (size_t i = 0; i < s->n_networks; i++) {
        const struct net__network *a = &s->networks[i];
        if (i > 0 && a->id == s->networks[i - 1].id)
            return err_say(err, -EINVAL, "two networks have the link group %u", a->id);
        for (size_t k = 0; k < i; k++) {
            const struct net__network *b = &s->networks[k];
            if (inside(a->subnet, b->subnet, b->prefix_len) ||
                inside(b->subnet, a->subnet, a->prefix_len))
                return err_say(err, -EINVAL, "the subnets of networks %u and %u overlap", b->id,
                               a->id);
        }
    }
    return 0;
}

static int add_networks(struct net__state *s, const struct net_config *cfg,
                        const struct net_view *view, struct err *err) {
    if (view->n_networks > NET__NETWORKS_MAX)
        return err_say(err, -EINVAL, "more than %d networks on one node", NET__NETWORKS_MAX);
    s->networks = mem_array(view->n_networks + 1, sizeof *s->networks);
    if (!s->networks) return err_set(err, -ENOMEM, "networks");
    for (size_t i = 0; i < view->n_networks; i++) {
        const Orlop__ViewNetwork *v = view->networks[i];
        int r = check_network(cfg, v, err);
        if (r < 0) return r;
        s->networks[s->n_networks++] = (struct net__network){
            .id = v->id,
            .subnet = v->subnet,
            .prefix_len = v->prefix_len,
            .gateway = v->gateway,
            .internal = v->internal ? 1 : 0,
        };
    }
    qsort(s->networks, s->n_networks, sizeof *s->networks, by_id);
    return check_overlap(s, err);
}

/* --- forwards --- */

/* Serving endpoints of V as targets with PORT; sorted, doubles thrown out. */
static int collect_targets(const Orlop__ViewService *v, const struct net__network *net,
                           uint16_t port, struct net__forward *f, struct err *err) {
    f->slots = mem_array(v->n_endpoints + 1, sizeof *f->slots);
    if (!f->slots) return err_set(err, -ENOMEM, "endpoints");
    uint32_t n = 0;
    for (size_t i = 0; i < v->n_endpoints; i++) {
        const Orlop__Endpoint *e = v->endpoints[i];
        if (!inside(e->address, net->subnet, net->prefix_len))
            return err_say(err, -EINVAL, "service \"%s\": a task's address is outside its network",
                           v->service);
        if (e->serving) f->slots[n++] = (net__target) e->address << 16 | port;
    }
    if (n > 1) qsort(f->slots, n, sizeof *f->slots, by_target);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || f->slots[i] != f->slots[f->n_live - 1]) f->slots[f->n_live++] = f->slots[i];
    f->n_loaded = f->n_live;
    return 0;
}

static int add_forward(struct net__state *s, const struct net__key *key,
                       const Orlop__ViewService *v, const struct net__network *net, uint16_t port,
                       struct err *err) {
    struct net__forward f = {.key = *key, .service = v->id};
    int r = collect_targets(v, net, port, &f, err);
    if (r < 0 || f.n_live == 0) {
        mem_free(f.slots);
        return r;
    }
    s->forwards[s->n_forwards++] = f;
    return 0;
}

static int add_port(struct net__state *s, const Orlop__ViewService *v,
                    const struct net__network *net, const Orlop__Port *p, struct err *err) {
    struct net__key key = {.kind = NET__PUB_ANY, .port = p->published};
    if (p->published == 0) return 0; /* not chosen yet */
    if (p->published > UINT16_MAX || p->target == 0 || p->target > UINT16_MAX)
        return err_say(err, -EINVAL, "service \"%s\": port %u:%u is none", v->service, p->published,
                       p->target);
    key.protocol = p->protocol == ORLOP__PORT__PROTOCOL__UDP ? IPPROTO_UDP : IPPROTO_TCP;
    if (!str_empty(p->host_ip)) {
        /* Loopback and IPv6 addresses are the proxy's alone. */
        if (strchr(p->host_ip, ':')) return 0;
        if (str_to_ipv4(p->host_ip, &key.address) < 0)
            return err_say(err, -EINVAL, "service \"%s\": host_ip \"%.60s\" is no address",
                           v->service, p->host_ip);
        if (key.address >> 24 == 127) return 0;
        if (key.address != 0) key.kind = NET__PUB_ONE;
    }
    return add_forward(s, &key, v, net, (uint16_t) p->target, err);
}

static int add_service(struct net__state *s, const struct net_config *cfg,
                       const Orlop__ViewService *v, struct err *err) {
    const struct net__network *net = find_network(s, v->network);
    if (!net)
        return err_say(err, -EINVAL, "service \"%s\": its network %u is not in the view",
                       v->service, v->network);
    if (v->n_endpoints > NET__SLOTS_MAX)
        return err_say(err, -EINVAL, "service \"%s\" has more than %d replicas", v->service,
                       NET__SLOTS_MAX);
    int r = 0;
    if (v->vip != 0) {
        if (!inside(v->vip, cfg->vip_pool, cfg->vip_pool_prefix))
            return err_say(err, -EINVAL, "service \"%s\": its VIP is outside the VIP pool",
                           v->service);
        r = add_forward(s, &(struct net__key){.kind = NET__VIP, .address = v->vip}, v, net, 0, err);
    }
    for (size_t i = 0; r == 0 && i < v->n_ports; i++) r = add_port(s, v, net, v->ports[i], err);
    return r;
}

/* Two services with one VIP or one published port: the scheduler and the proxy's holding socket
 * refuse that before; should it come here nevertheless, one of them gets it rather than nobody
 * anything. */
static void drop_doubles(struct net__state *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_forwards; i++) {
        if (n > 0 && net__by_key(&s->forwards[n - 1], &s->forwards[i]) == 0) {
            log_debug("net.double", "kind=%u port=%u", s->forwards[i].key.kind,
                      s->forwards[i].key.port);
            s->doubled = true;
            mem_free(s->forwards[i].slots);
        } else {
            s->forwards[n++] = s->forwards[i];
        }
    }
    s->n_forwards = n;
}

static int add_services(struct net__state *s, const struct net_config *cfg,
                        Orlop__ViewService *const *services, size_t n_services, struct err *err) {
    if (n_services > NET__SERVICES_MAX)
        return err_say(err, -EINVAL, "more than %d services", NET__SERVICES_MAX);
    size_t n = n_services;
    for (size_t i = 0; i < n_services; i++) n += services[i]->n_ports;
    s->forwards = mem_array(n + 1, sizeof *s->forwards);
    if (!s->forwards) return err_set(err, -ENOMEM, "services");
    for (size_t i = 0; i < n_services; i++) {
        int r = add_service(s, cfg, services[i], err);
        if (r < 0) return r;
    }
    qsort(s->forwards, s->n_forwards, sizeof *s->forwards, net__by_key);
    drop_doubles(s);
    return 0;
}

/* --- tasks of this node --- */

static int by_task(const void *a, const void *b) {
    const struct net_local *const *x = a, *const *y = b;
    int r = strcmp((*x)->task, (*y)->task);
    return r ? r : compare_words(&(*x)->address, &(*y)->address, 1);
}

static void add_self(struct net__state *s, uint32_t source, uint32_t destination,
                     uint32_t gateway) {
    s->selfs[s->n_selfs++] = (struct net__self){source, destination, gateway};
}

/* A task in several networks asks a VIP of the second one by its default route, that is by its link
 * (and with its address) in the first: let it through and give it the address that belongs there.
 */
static void cross_pair(struct net__state *s, const struct net_local *a, const struct net_local *b) {
    s->crosses[s->n_crosses++] = (struct net__cross){a->address, b->network, b->address};
    add_self(s, a->address, b->address, b->gateway);
}

/* Pairs of addresses of one task in different networks; put into FILL unless it is NULL. */
static size_t pairs(const struct net_local *const *local, size_t n, struct net__state *fill) {
    size_t count = 0;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && str_eq(local[end]->task, local[i]->task);) end++;
        for (size_t a = i; a < end; a++)
            for (size_t b = i; b < end; b++) {
                if (local[a]->network == local[b]->network) continue;
                count++;
                if (fill) cross_pair(fill, local[a], local[b]);
            }
    }
    return count;
}

static size_t unique_pairs(void *array, size_t n, size_t size) {
    char *p = array;
    size_t kept = 0;
    if (n > 1) qsort(p, n, size, net__by_pair);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && net__by_pair(p + (kept - 1) * size, p + i * size) == 0) continue;
        memmove(p + kept++ * size, p + i * size, size);
    }
    return kept;
}

/* Every address and itself; every address and the others of its task. */
static int add_local(struct net__state *s, const struct net_local *local, size_t n_local,
                     struct err *err) {
    if (n_local > NET__LOCAL_MAX)
        return err_say(err, -EINVAL, "more than %d task addresses on one node", NET__LOCAL_MAX);
    auto_free const struct net_local **sorted = mem_array(n_local + 1, sizeof *sorted);
    if (!sorted) return err_set(err, -ENOMEM, "task addresses");
    for (size_t i = 0; i < n_local; i++) sorted[i] = &local[i];
    if (n_local > 1) qsort(sorted, n_local, sizeof *sorted, by_task);
    size_t n = pairs(sorted, n_local, NULL);
    s->crosses = mem_array(n + 1, sizeof *s->crosses);
    s->selfs = mem_array(n_local + n + 1, sizeof *s->selfs);
    if (!s->selfs || !s->crosses) return err_set(err, -ENOMEM, "task addresses");
    for (size_t i = 0; i < n_local; i++)
        add_self(s, local[i].address, local[i].address, local[i].gateway);
    pairs(sorted, n_local, s);
    s->n_selfs = unique_pairs(s->selfs, s->n_selfs, sizeof *s->selfs);
    s->n_crosses = unique_pairs(s->crosses, s->n_crosses, sizeof *s->crosses);
    return 0;
}

int net__state_from_view(const struct net_config *cfg, const struct net_view *view,
                         struct net__state **ret, struct err *err) {
    struct net__state *s = net__state_new();
    if (!s) return err_set(err, -ENOMEM, "network state");
    int r = add_networks(s, cfg, view, err);
    if (r == 0) r = add_services(s, cfg, view->services, view->n_services, err);
    if (r == 0) r = add_local(s, view->local, view->n_local, err);
    if (r < 0) {
        net__state_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* Only what CHANGE names, in the networks of LOADED. */
int net__state_from_change(const struct net_config *cfg, const struct net__state *loaded,
                           const struct net_change *change, struct net__state **ret,
                           struct err *err) {
    struct net__state *s = net__state_new();
    if (!s) return err_set(err, -ENOMEM, "network state");
    s->networks = loaded->networks; /* borrowed while services are checked */
    s->n_networks = loaded->n_networks;
    int r = add_services(s, cfg, change->services, change->n_services, err);
    s->networks = NULL;
    s->n_networks = 0;
    if (r == 0) r = add_local(s, change->local, change->n_local, err);
    if (r < 0) {
        net__state_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

/* --- slots --- */

/* Slots that keep their place, then the others into the holes, then what becomes or stays stale. */
static int settle_forward(struct net__forward *w, const struct net__forward *old, int64_t now) {
    uint32_t total = old->n_loaded > w->n_live ? old->n_loaded : w->n_live;
    auto_free net__target *slots = mem_array(total + 1, sizeof *slots);
    auto_free bool *filled = mem_array(total + 1, sizeof *filled);
    auto_free bool *used = mem_array(w->n_live + 1, sizeof *used);
    if (!slots || !filled || !used) return -ENOMEM;
    for (uint32_t i = 0; i < old->n_loaded; i++) {
        slots[i] = old->slots[i];
        if (i >= w->n_live) continue;
        const net__target *at = bsearch(&slots[i], w->slots, w->n_live, sizeof *at, by_target);
        if (!at || used[at - w->slots]) continue;
        used[at - w->slots] = filled[i] = true;
    }
    for (uint32_t i = 0, next = 0; i < w->n_live; i++) {
        if (filled[i]) continue;
        while (used[next]) next++;
        slots[i] = w->slots[next++];
    }
    w->stale_since_mono_ms = w->n_live < old->n_live ? now : old->stale_since_mono_ms;
    w->n_loaded = total;
    mem_free(w->slots);
    w->slots = steal_ptr(&slots);
    return 0;
}

/* A forward that nobody wants any more: everything of it is stale. */
static int keep_stale(struct net__forward *w, const struct net__forward *old, int64_t now) {
    *w = (struct net__forward){.key = old->key, .service = old->service, .n_loaded = old->n_loaded};
    w->slots = mem_dup(old->slots, old->n_loaded * sizeof *old->slots);
    w->stale_since_mono_ms = old->n_live > 0 ? now : old->stale_since_mono_ms;
    return w->slots ? 0 : -ENOMEM;
}

int net__state_settle(struct net__state *wanted, const struct net__state *loaded,
                      int64_t now_mono_ms) {
    size_t n = wanted->n_forwards;
    struct net__forward *all =
        mem_resize(wanted->forwards, n + loaded->n_forwards + 1, sizeof *wanted->forwards);
    if (!all) return -ENOMEM;
    wanted->forwards = all;
    for (size_t i = 0; i < loaded->n_forwards; i++) {
        const struct net__forward *old = &loaded->forwards[i];
        struct net__forward *w = n ? bsearch(old, all, n, sizeof *w, net__by_key) : NULL;
        int r = 0;
        if (w) {
            r = settle_forward(w, old, now_mono_ms);
        } else if (old->n_loaded > 0) {
            r = keep_stale(&all[wanted->n_forwards], old, now_mono_ms);
            if (r == 0) wanted->n_forwards++;
        }
        if (r < 0) return r;
    }
    qsort(all, wanted->n_forwards, sizeof *all, net__by_key);
    memcpy(wanted->chains, loaded->chains, sizeof wanted->chains);
    return 0;
}

int64_t net__state_trim_due(const struct net__state *s) {
    int64_t due = -1;
    for (size_t i = 0; i < s->n_forwards; i++) {
        const struct net__forward *f = &s->forwards[i];
        int64_t at = f->stale_since_mono_ms + NET__STALE_MS;
        if (f->n_loaded > f->n_live && (due < 0 || at < due)) due = at;
    }
    return due;
}

bool net__forward_due(const struct net__forward *f, int64_t now_mono_ms) {
    return f->n_loaded > f->n_live && f->stale_since_mono_ms <= now_mono_ms - NET__STALE_MS;
}

void net__state_trimmed(struct net__state *s, int64_t now_mono_ms) {
    size_t n = 0;
    for (size_t i = 0; i < s->n_forwards; i++) {
        struct net__forward *f = &s->forwards[i];
        if (net__forward_due(f, now_mono_ms)) f->n_loaded = f->n_live;
        if (f->n_loaded > 0) {
            s->forwards[n++] = *f;
        } else {
            mem_free(f->slots);
        }
    }
    s->n_forwards = n;
}
