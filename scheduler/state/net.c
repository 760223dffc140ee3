// SPDX-License-Identifier: Apache-2.0
#include "net.h"

#include <errno.h>
#include <stdio.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "tables.h"

/* --- lookups -------------------------------------------------------------------------------------
 */

struct network *state_network(const struct state *s, uint32_t id) {
    return index_get(&s->networks, id);
}

const struct holding *state_holding(const struct state *s, uint32_t network, uint32_t address) {
    return index_get(&s->addresses, index_pair(network, address));
}

enum { FULL_NAME_MAX = 600 };

static const char *full_name(const char *tenant, const char *name, char buf[static FULL_NAME_MAX]) {
    snprintf(buf, FULL_NAME_MAX, "%s/%s", tenant, name);
    return buf;
}

struct network *state_network_of(const struct state *s, const struct spec *spec, const char *key) {
    const Orlop__Network *def = spec_network(spec, key);
    if (!def) return NULL;
    char name[FULL_NAME_MAX];
    return map_get(&s->network_names, full_name(spec->app->tenant, def->name, name));
}

/* --- holdings ------------------------------------------------------------------------------------
 */

static bool rested(const struct state *s, const struct holding *h) {
    return !h->held && s->now_ms - h->released_ms >= STATE_REST_MS;
}

static int hold(struct state *s, uint32_t network, uint32_t address) {
    struct holding *h = index_get(&s->addresses, index_pair(network, address));
    if (!h) {
        h = mem_zalloc(sizeof *h);
        if (!h || index_set(&s->addresses, index_pair(network, address), h) < 0) {
            mem_free(h);
            return -ENOMEM;
        }
    }
    ensure(!h->held);
    list_del(&h->rest);
    *h = (struct holding){.network = network, .address = address, .held = true};
    return 0;
}

static void let_rest(struct state *s, uint32_t network, uint32_t address, uint64_t barrier_idx) {
    struct holding *h = index_get(&s->addresses, index_pair(network, address));
    if (!h || !h->held) return;
    h->held = false;
    h->released_ms = s->now_ms;
    h->barrier_idx = barrier_idx;
    list_add_tail(&s->resting, &h->rest);
}

static void forget(struct state *s, struct holding *h) {
    list_del(&h->rest);
    index_del(&s->addresses, index_pair(h->network, h->address));
    mem_free(h);
}

void net_expire(struct state *s) {
    while (!list_empty(&s->resting)) {
        struct holding *h = list_entry(s->resting.next, struct holding, rest);
        if (s->now_ms - h->released_ms < STATE_REST_FORGET_MS) return;
        forget(s, h);
    }
}

int net_hold(struct state *s, struct network *n, uint32_t address) {
    int r = hold(s, n->id, address);
    if (r < 0) return r;
    n->n_users++;
    n->next_host = (address & ~net_mask(n->prefix_len)) + 1;
    return 0;
}

int net_hold_global(struct state *s, uint32_t address) {
    return hold(s, 0, address);
}

/* --- networks ------------------------------------------------------------------------------------
 */

static bool overlap(uint32_t a, uint32_t a_len, uint32_t b, uint32_t b_len) {
    uint32_t mask = net_mask(a_len < b_len ? a_len : b_len);
    return ((a ^ b) & mask) == 0;
}

static const struct network *in_the_way(const struct state *s, uint32_t subnet, uint32_t prefix_len,
                                        const struct network *except) {
    list_each (it, &s->networks_changed) {
        const struct network *n = list_entry(it, struct network, changed);
        if (n != except && overlap(subnet, prefix_len, n->subnet, n->prefix_len)) return n;
    }
    return NULL;
}

int net_subnet_free(const struct state *s, uint32_t subnet, uint32_t prefix_len,
                    const struct network *except, struct err *why) {
    static const struct {
        uint32_t base, len;
        const char *what;
    } taken[] = {
        {0, 8, "\"this host\""},
        {0x7f000000, 8, "loopback"},
        {0xa9fe0000, 16, "link-local addresses"},
        {0xe0000000, 3, "multicast and reserved addresses"},
        {NET_VIP_POOL, NET_VIP_PREFIX, "the services' virtual addresses"},
    };
    char text[STR_IPV4_MAX];
    str_from_ipv4(subnet, text);
    if (prefix_len < 8 || prefix_len > 29)
        return err_set(why, -EINVAL, "subnet %s/%u: the prefix must be 8 to 29", text, prefix_len);
    for (size_t i = 0; i < array_len(taken); i++)
        if (overlap(subnet, prefix_len, taken[i].base, taken[i].len))
            return err_say(why, -EADDRINUSE, "subnet %s/%u is taken by %s", text, prefix_len,
                           taken[i].what);
    const struct network *n = in_the_way(s, subnet, prefix_len, except);
    if (n)
        return err_say(why, -EADDRINUSE, "subnet %s/%u overlaps network %s of app %s", text,
                       prefix_len, n->name, n->app->name);
    return 0;
}

enum { POOL_COUNT = 1 << (NET_SUBNET_PREFIX - NET_POOL_PREFIX) };

static bool subnet_free(const struct state *s, uint32_t number, uint32_t *ret) {
    uint32_t subnet = NET_POOL + (number % POOL_COUNT << (32 - NET_SUBNET_PREFIX));
    const struct holding *h = state_holding(s, 0, subnet);
    if ((h && !rested(s, h)) || in_the_way(s, subnet, NET_SUBNET_PREFIX, NULL)) return false;
    *ret = subnet;
    return true;
}

/* From next_network on, in a circle: never used ones first, then the longest unused. */
static int pick_subnet(const struct state *s, uint32_t *ret) {
    for (uint32_t i = 0; i < POOL_COUNT; i++)
        if (subnet_free(s, s->next_network + i, ret)) return 0;
    return -ENOSPC;
}

bool net_pool_room(const struct state *s, size_t count) {
    uint32_t subnet;
    size_t free = 0;
    for (uint32_t i = 0; i < POOL_COUNT && free < count; i++)
        if (subnet_free(s, s->next_network + i, &subnet)) free++;
    return free >= count;
}

void state__free_network(struct network *n) {
    list_del(&n->app_link);
    list_del(&n->changed);
    index_fini(&n->reserved);
    mem_free(n->key);
    mem_free(n->name);
    mem_free(n);
}

static uint32_t free_id(struct state *s) {
    uint32_t id;
    do id = NET_ID_BASE + ++s->next_network % 0xffff;
    while (state_network(s, id));
    return id;
}

static int fill(struct network *n, const Orlop__Network *def) {
    n->key = mem_strdup(def->key);
    n->name = mem_strdup(def->name);
    if (!n->key || !n->name) return -ENOMEM;
    n->internal = def->internal;
    n->gateway = n->subnet + 1;
    uint32_t gateway;
    if (str_to_ipv4(def->gateway, &gateway) == 0) n->gateway = gateway; /* "": the first one */
    /* Another place to start in each life of a subnet: what rested there is reached last. */
    uint32_t hosts = ~net_mask(n->prefix_len);
    n->next_host = n->id * 97 % hosts + 1;
    return 0;
}

int net_create(struct state *s, struct app *a, const Orlop__Network *def, struct network **ret,
               struct err *why) {
    uint32_t subnet, prefix_len = NET_SUBNET_PREFIX;
    if (*def->subnet ? str_to_cidr4(def->subnet, &subnet, &prefix_len) < 0
                     : pick_subnet(s, &subnet) < 0)
        return err_say(why, -ENOSPC, "network %s: no subnet is free in the pool 10.80.0.0/12",
                       def->name);
    struct network *n = mem_zalloc(sizeof *n);
    if (!n) return -ENOMEM;
    n->app = a;
    n->subnet = subnet;
    n->prefix_len = prefix_len;
    n->id = free_id(s);
    char name[FULL_NAME_MAX];
    full_name(a->spec->app->tenant, def->name, name);
    if (fill(n, def) < 0 || index_set(&s->networks, n->id, n) < 0 ||
        map_set(&s->network_names, name, n) < 0)
        return -ENOMEM;
    list_add_tail(&a->networks, &n->app_link);
    list_add_tail(&s->networks_changed, &n->changed);
    n->ver = s->applied_idx;
    *ret = n;
    return hold(s, 0, subnet);
}

int net_restore(struct state *s, struct app *a, const Orlop__SnapshotNetwork *m) {
    struct network *n = mem_zalloc(sizeof *n);
    if (!n) return -ENOMEM;
    n->app = a;
    n->id = m->id;
    if (index_set(&s->networks, n->id, n) < 0) return -ENOMEM;
    list_add_tail(&a->networks, &n->app_link);
    list_add_tail(&s->networks_changed, &n->changed);
    n->key = mem_strdup(m->key);
    n->name = mem_strdup(m->name);
    if (!n->key || !n->name) return -ENOMEM;
    n->subnet = m->subnet;
    n->prefix_len = m->prefix_len;
    n->gateway = m->gateway;
    n->internal = m->internal;
    n->next_host = m->next_host;
    n->retired = m->retired;
    n->ver = s->applied_idx;
    char name[FULL_NAME_MAX];
    full_name(a->spec->app->tenant, n->name, name);
    struct network *other = map_get(&s->network_names, name);
    if (other && !other->retired && !n->retired) return -EINVAL;
    if ((!other || other->retired) && map_set(&s->network_names, name, n) < 0) return -ENOMEM;
    const struct holding *h = state_holding(s, 0, n->subnet);
    return h && h->held ? -EINVAL : hold(s, 0, n->subnet);
}

int net_restore_rest(struct state *s, const Orlop__SnapshotRest *m) {
    const struct holding *old = state_holding(s, m->network, m->address);
    if (old) return 0; /* in use, or there twice: the first one counts */
    int r = hold(s, m->network, m->address);
    if (r < 0) return r;
    let_rest(s, m->network, m->address, m->barrier_idx);
    struct holding *h = index_get(&s->addresses, index_pair(m->network, m->address));
    h->released_ms = m->released_unix_ms;
    return 0;
}

void net_unreserve(struct state *s, const struct service *svc) {
    const struct spec_service *old = spec_find(svc->app->spec, svc->name);
    for (size_t i = 0; old && i < old->def->n_networks; i++) {
        const Orlop__ServiceNetwork *sn = old->def->networks[i];
        struct network *n = state_network_of(s, svc->app->spec, sn->network);
        uint32_t address;
        if (!n || str_to_ipv4(sn->ipv4_address, &address) < 0) continue;
        if (index_get(&n->reserved, address) == svc) index_del(&n->reserved, address);
    }
}

int net_reserve(struct state *s, struct service *svc) {
    const struct spec_service *def = spec_find(svc->app->spec, svc->name);
    for (size_t i = 0; def && i < def->def->n_networks; i++) {
        const Orlop__ServiceNetwork *sn = def->def->networks[i];
        struct network *n = state_network_of(s, svc->app->spec, sn->network);
        uint32_t address;
        if (!n || str_to_ipv4(sn->ipv4_address, &address) < 0) continue;
        int r = index_set(&n->reserved, address, svc);
        if (r < 0) return r;
    }
    return 0;
}

static int delete_network(struct state *s, struct network *n) {
    char name[FULL_NAME_MAX];
    full_name(n->app->spec->app->tenant, n->name, name);
    if (map_get(&s->network_names, name) == n) map_del(&s->network_names, name);
    index_del(&s->networks, n->id);
    let_rest(s, 0, n->subnet, s->applied_idx);
    int r = state__tomb(s, TOMB_NETWORK, n->id, NULL, NULL);
    state__free_network(n);
    return r;
}

int net_retire(struct state *s, struct network *n) {
    n->retired = true;
    return n->n_users ? 0 : delete_network(s, n);
}

static int leave(struct state *s, struct network *n) {
    ensure(n->n_users > 0);
    n->n_users--;
    return n->retired && !n->n_users ? delete_network(s, n) : 0;
}

int net_release_task(struct state *s, struct task *t) {
    uint64_t barrier = t->drain_idx ? t->drain_idx : s->applied_idx;
    for (size_t i = 0; i < t->n_addresses; i++) {
        struct network *n = state_network(s, t->addresses[i].network);
        if (!n) continue;
        let_rest(s, n->id, t->addresses[i].address, barrier);
        int r = leave(s, n);
        if (r < 0) return r;
    }
    return net_settle_vips(s, t->service);
}

/* --- addresses -----------------------------------------------------------------------------------
 */

int net_address_free(const struct state *s, const struct network *n, uint32_t address,
                     const struct service *svc, struct err *why) {
    char text[STR_IPV4_MAX];
    str_from_ipv4(address, text);
    uint32_t host = address & ~net_mask(n->prefix_len);
    if (!net_contains(n, address) || host == 0 || host == ~net_mask(n->prefix_len) ||
        address == n->gateway)
        return err_say(why, -EINVAL, "address %s is no host address of network %s", text, n->name);
    const struct service *owner = index_get(&n->reserved, address);
    if (owner && owner != svc)
        return err_say(why, -EADDRINUSE, "address %s is reserved for service %s", text,
                       owner->name);
    const struct holding *h = state_holding(s, n->id, address);
    if (!h || rested(s, h) || (owner && !h->held)) return 0;
    return err_say(why, -EADDRINUSE, "address %s is %s", text,
                   h->held ? "in use" : "at rest after its last use");
}

uint32_t net_pick(const struct state *s, const struct network *n, uint32_t cursor,
                  const struct service *svc, uint64_t acked_idx) {
    uint32_t hosts = ~net_mask(n->prefix_len); /* also the broadcast address' number */
    for (uint32_t i = 0; i < hosts; i++) {
        uint32_t address = n->subnet + (cursor + i) % hosts;
        if (index_get(&n->reserved, address)) continue;
        const struct holding *h = state_holding(s, n->id, address);
        if (h && (h->held || h->barrier_idx > acked_idx)) continue;
        if (net_address_free(s, n, address, svc, NULL) == 0) return address;
    }
    return 0;
}

/* --- VIPs ----------------------------------------------------------------------------------------
 */

static uint32_t pick_vip(struct state *s) {
    uint32_t hosts = ~net_mask(NET_VIP_PREFIX);
    for (uint32_t i = 0; i < hosts; i++) {
        uint32_t host = s->next_vip++ % hosts;
        const struct holding *h = state_holding(s, 0, NET_VIP_POOL + host);
        if (host && (!h || rested(s, h))) return NET_VIP_POOL + host;
    }
    return 0; /* the service has no VIP then; names still list its tasks */
}

static bool uses(const struct state *s, const struct spec *spec, const struct spec_service *def,
                 uint32_t network) {
    for (size_t i = 0; i < def->def->n_networks; i++) {
        const struct network *n = state_network_of(s, spec, def->def->networks[i]->network);
        if (n && n->id == network) return true;
    }
    return false;
}

static bool still_needed(const struct state *s, const struct service *svc, uint32_t network) {
    const struct spec_service *def =
        svc->removed || svc->app->removing ? NULL : spec_find(svc->app->spec, svc->name);
    if (def && uses(s, svc->app->spec, def, network)) return true;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        for (size_t i = 0; t->holds && i < t->n_addresses; i++)
            if (t->addresses[i].network == network) return true;
    }
    return false;
}

int net_drop_vips(struct state *s, struct service *svc,
                  bool (*keep)(const struct state *s, const struct service *svc,
                               uint32_t network)) {
    size_t kept = 0;
    int r = 0;
    for (size_t i = 0; i < svc->n_vips && !r; i++) {
        struct vip v = svc->vips[i];
        if (keep && keep(s, svc, v.network)) {
            svc->vips[kept++] = v;
            continue;
        }
        let_rest(s, 0, v.address, s->applied_idx);
        r = state__tomb(s, TOMB_SERVICE, state_view_id(svc, v.network), NULL, NULL);
        if (!r) r = leave(s, state_network(s, v.network));
    }
    svc->n_vips = kept;
    return r;
}

static int add_vip(struct state *s, struct service *svc, struct network *n) {
    for (size_t i = 0; i < svc->n_vips; i++)
        if (svc->vips[i].network == n->id) return 0;
    struct vip *v = mem_resize(svc->vips, svc->n_vips + 1, sizeof *v);
    if (!v) return -ENOMEM;
    svc->vips = v;
    uint32_t address = pick_vip(s);
    svc->vips[svc->n_vips++] = (struct vip){n->id, address};
    n->n_users++;
    state__touch_service(s, svc);
    return address ? hold(s, 0, address) : 0;
}

int net_settle_vips(struct state *s, struct service *svc) {
    int r = net_drop_vips(s, svc, still_needed);
    if (r < 0 || svc->removed || svc->app->removing) return r;
    const struct spec_service *def = spec_find(svc->app->spec, svc->name);
    for (size_t i = 0; def && i < def->def->n_networks && !r; i++) {
        struct network *n = state_network_of(s, svc->app->spec, def->def->networks[i]->network);
        if (n) r = add_vip(s, svc, n);
    }
    return r;
}
