// SPDX-License-Identifier: Apache-2.0
#include "devices.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "uplink.h"

enum {
    LINKS_MAX = 65536,
    ROUTE_METRIC = 0x4f52, /* behind everybody's */
};

struct snapshot { /* of the kernel */
    struct netlink_link *links;
    size_t n_links, cap_links;
    struct netlink_address *addresses, *neighbours;
    size_t n_addresses, cap_addresses, n_neighbours, cap_neighbours;
};

void devices_gateway_name(uint32_t network, char ret[static IF_NAMESIZE]) {
    snprintf(ret, IF_NAMESIZE, "olg%u", network & 0xffff);
}

bool devices_is_gateway(const char *name) {
    uint32_t n;
    return str_starts(name, "olg") && str_to_u32(name + 3, 0xffff, &n) == 0;
}

static bool is_task_link(const char *name) {
    return str_starts(name, "olv");
}

/* Room for one more item of SIZE in *ARRAY. */
static int grow(void *array, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return 0;
    if (n >= LINKS_MAX) return -E2BIG;
    size_t want = *cap ? *cap * 2 : 32;
    void **p = array;
    void *more = mem_resize(*p, want, size);
    if (!more) return -ENOMEM;
    *p = more;
    *cap = want;
    return 0;
}

static int on_link(const struct nlmsghdr *h, void *arg) {
    struct snapshot *s = arg;
    int r = grow(&s->links, s->n_links, &s->cap_links, sizeof *s->links);
    if (r < 0) return r;
    if (netlink_parse_link(h, &s->links[s->n_links]) == 0) s->n_links++;
    return 0;
}

static int on_address(const struct nlmsghdr *h, void *arg) {
    struct snapshot *s = arg;
    int r = grow(&s->addresses, s->n_addresses, &s->cap_addresses, sizeof *s->addresses);
    if (r < 0) return r;
    if (netlink_parse_address(h, &s->addresses[s->n_addresses]) == 0) s->n_addresses++;
    return 0;
}

static int on_neighbour(const struct nlmsghdr *h, void *arg) {
    struct snapshot *s = arg;
    int r = grow(&s->neighbours, s->n_neighbours, &s->cap_neighbours, sizeof *s->neighbours);
    if (r < 0) return r;
    if (netlink_parse_neighbour(h, &s->neighbours[s->n_neighbours]) == 0) s->n_neighbours++;
    return 0;
}

static void snapshot_fini(struct snapshot *s) {
    mem_free(s->links);
    mem_free(s->addresses);
    mem_free(s->neighbours);
}

enum { SNAPSHOT_TRIES = 8 };

/* One list; taken again when it changed while it was read. */
static int take_list(struct devices *d, uint16_t type, size_t extra, netlink_each_cb each,
                     size_t *n, struct snapshot *s) {
    int r = -EINTR;
    for (int i = 0; r == -EINTR && i < SNAPSHOT_TRIES; i++) {
        _Alignas(struct nlmsghdr) char buf[256];
        unsigned char *family; /* the first member of every one of these headers */
        struct nlmsghdr *h = netlink_begin(buf, type, 0, extra, &family);
        if (type != RTM_GETLINK) *family = AF_INET;
        *n = 0;
        r = netlink_dump(&d->rt, h, each, s);
    }
    return r == -EINTR ? 0 : r; /* the change is announced: another round follows */
}

static int snapshot_take(struct devices *d, struct snapshot *s, struct err *err) {
    int r = take_list(d, RTM_GETLINK, sizeof(struct ifinfomsg), on_link, &s->n_links, s);
    if (r < 0) return err_set(err, r, "list the links");
    r = take_list(d, RTM_GETADDR, sizeof(struct ifaddrmsg), on_address, &s->n_addresses, s);
    if (r < 0) return err_set(err, r, "list the addresses");
    r = take_list(d, RTM_GETNEIGH, sizeof(struct ndmsg), on_neighbour, &s->n_neighbours, s);
    return r < 0 ? err_set(err, r, "list the neighbours") : 0;
}

static const struct netlink_link *link_named(const struct snapshot *s, const char *name) {
    for (size_t i = 0; i < s->n_links; i++)
        if (str_eq(s->links[i].name, name)) return &s->links[i];
    return NULL;
}

static const struct netlink_link *link_indexed(const struct snapshot *s, uint32_t index) {
    for (size_t i = 0; i < s->n_links; i++)
        if (s->links[i].index == index) return &s->links[i];
    return NULL;
}

static void note(struct buf *log, const char *what, const char *name) {
    buf_printf(log, "%s%s %s", log->len ? "; " : "", what, name);
}

/* --- requests --- */

static int link_create(struct devices *d, const char *name, uint32_t group) {
    _Alignas(struct nlmsghdr) char buf[512];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h =
        netlink_begin(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *ifi, &ifi);
    ifi->ifi_flags = ifi->ifi_change = IFF_UP;
    mnl_attr_put_strz(h, IFLA_IFNAME, name);
    mnl_attr_put_u32(h, IFLA_GROUP, group);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(h, info);
    return netlink_talk(&d->rt, h);
}

static int link_set(struct devices *d, uint32_t index, uint32_t group) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h = netlink_begin(buf, RTM_NEWLINK, 0, sizeof *ifi, &ifi);
    ifi->ifi_index = (int) index;
    ifi->ifi_flags = ifi->ifi_change = IFF_UP;
    mnl_attr_put_u32(h, IFLA_GROUP, group);
    return netlink_talk(&d->rt, h);
}

static int link_delete(struct devices *d, uint32_t index) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h = netlink_begin(buf, RTM_DELLINK, 0, sizeof *ifi, &ifi);
    ifi->ifi_index = (int) index;
    return netlink_talk(&d->rt, h);
}

/* All links of a group at once: one by one each waits for RCU, 20 to 30 ms. */
static int group_delete(struct devices *d, uint32_t group) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h = netlink_begin(buf, RTM_DELLINK, 0, sizeof *ifi, &ifi);
    mnl_attr_put_u32(h, IFLA_GROUP, group);
    return netlink_talk(&d->rt, h);
}

static int address_change(struct devices *d, bool add, uint32_t index, uint32_t address) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifaddrmsg *ifa;
    struct nlmsghdr *h = netlink_begin(buf, add ? RTM_NEWADDR : RTM_DELADDR,
                                       add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *ifa, &ifa);
    ifa->ifa_family = AF_INET;
    ifa->ifa_prefixlen = 32;
    ifa->ifa_index = index;
    mnl_attr_put_u32(h, IFA_LOCAL, htonl(address));
    mnl_attr_put_u32(h, IFA_ADDRESS, htonl(address));
    return netlink_talk(&d->rt, h);
}

/* An unreachable route of a pool, so that nothing of ours leaves by the default route. */
static int pool_route(struct devices *d, bool add, uint32_t address, uint32_t prefix_len) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct rtmsg *rt;
    struct nlmsghdr *h = netlink_begin(buf, add ? RTM_NEWROUTE : RTM_DELROUTE,
                                       add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *rt, &rt);
    rt->rtm_family = AF_INET;
    rt->rtm_dst_len = (uint8_t) prefix_len;
    rt->rtm_table = RT_TABLE_MAIN;
    rt->rtm_protocol = DEVICES_ROUTE_PROTOCOL;
    rt->rtm_scope = RT_SCOPE_UNIVERSE;
    rt->rtm_type = RTN_UNREACHABLE;
    mnl_attr_put_u32(h, RTA_DST, htonl(address));
    mnl_attr_put_u32(h, RTA_PRIORITY, ROUTE_METRIC);
    return netlink_talk(&d->rt, h);
}

/* The route to a task, as attach made it. */
static int task_route(struct devices *d, uint32_t index, uint32_t address) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct rtmsg *rt;
    struct nlmsghdr *h =
        netlink_begin(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *rt, &rt);
    rt->rtm_family = AF_INET;
    rt->rtm_dst_len = 32;
    rt->rtm_table = RT_TABLE_MAIN;
    rt->rtm_protocol = RTPROT_BOOT;
    rt->rtm_scope = RT_SCOPE_LINK;
    rt->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(h, RTA_DST, htonl(address));
    mnl_attr_put_u32(h, RTA_OIF, index);
    return netlink_talk(&d->rt, h);
}

/* --- ensure --- */

static int ensure_address(struct devices *d, const struct snapshot *s, uint32_t index,
                          const struct net__network *n, const char *name, struct buf *log,
                          struct err *err) {
    bool found = false;
    for (size_t i = 0; i < s->n_addresses; i++) {
        const struct netlink_address *a = &s->addresses[i];
        if (a->index != index) continue;
        if (a->address == n->gateway && a->prefix_len == 32) {
            found = true;
        } else {
            (void) address_change(d, false, index,
                                  a->address); /* a leftover: harmless if it stays */
        }
    }
    if (found) return 0;
    int r = address_change(d, true, index, n->gateway);
    if (r < 0) return err_set(err, r, "give %s its gateway address", name);
    note(log, "address of", name);
    return 0;
}

static int ensure_gateway(struct devices *d, const struct snapshot *s, const struct net__network *n,
                          struct buf *log, struct err *err) {
    char name[IF_NAMESIZE];
    devices_gateway_name(n->id, name);
    const struct netlink_link *l = link_named(s, name);
    uint32_t index = l ? l->index : 0;
    int r = 0;
    if (!l) {
        r = link_create(d, name, n->id);
        if (r < 0) return err_set(err, r, "make the gateway device %s", name);
        index = if_nametoindex(name);
        if (index == 0) return err_set(err, -ENODEV, "find the gateway device %s", name);
        note(log, "device", name);
    } else if (!str_eq(l->kind, "bridge")) {
        return err_say(err, -EEXIST, "the device %s is somebody else's: it is no bridge", name);
    } else if (l->group != n->id || !l->up) {
        r = link_set(d, index, n->id);
        if (r < 0) return err_set(err, r, "set up the gateway device %s", name);
        note(log, "state of", name);
    }
    return ensure_address(d, s, index, n, name, log, err);
}

static bool wanted_gateway(const struct net__state *want, const struct netlink_link *l) {
    char name[IF_NAMESIZE];
    for (size_t i = 0; i < want->n_networks; i++) {
        devices_gateway_name(want->networks[i].id, name);
        if (str_eq(name, l->name)) return true;
    }
    return false;
}

static bool our_gateway(const struct netlink_link *l) {
    return devices_is_gateway(l->name) && (l->group & 0xffff0000) == NET__GROUP_BASE &&
           str_eq(l->kind, "bridge");
}

static int ensure_pools(struct devices *d, const struct net_config *cfg, struct buf *log,
                        struct err *err) {
    const uint32_t pools[2][2] = {{cfg->task_pool, cfg->task_pool_prefix},
                                  {cfg->vip_pool, cfg->vip_pool_prefix}};
    for (int i = 0; i < 2; i++) {
        int r = pool_route(d, true, pools[i][0], pools[i][1]);
        if (r == 0) note(log, "unreachable route of", i ? "the VIP pool" : "the task pool");
        if (r < 0 && r != -EEXIST) return err_set(err, r, "add the unreachable route of a pool");
    }
    return 0;
}

/* Attach leaves a permanent neighbour on each task's link, as the last thing: where its route
 * belongs. */
static void ensure_task_routes(struct devices *d, const struct snapshot *s, struct buf *log) {
    char ip[STR_IPV4_MAX];
    for (size_t i = 0; i < s->n_neighbours; i++) {
        const struct netlink_address *a = &s->neighbours[i];
        const struct netlink_link *l = link_indexed(s, a->index);
        if (!l || !is_task_link(l->name) || (l->group & 0xffff0000) != NET__GROUP_BASE) continue;
        if (task_route(d, a->index, a->address) == 0)
            note(log, "route to", str_from_ipv4(a->address, ip));
    }
}

/* Writing ip_forward sets the switch of every device, those of attach too. A link that is not up
 * yet is attach's: it sets the switch before it brings the link up. */
static void ensure_task_links(const struct snapshot *s, struct buf *log) {
    for (size_t i = 0; i < s->n_links; i++) {
        const struct netlink_link *l = &s->links[i];
        if (!is_task_link(l->name) || (l->group & 0xffff0000) != NET__GROUP_BASE) continue;
        if (l->forwarding || !l->up) continue;
        if (uplink_set_forwarding(l->name, true) == 0) note(log, "forwarding of", l->name);
    }
}

static int collect_uplinks(struct devices *d, const struct snapshot *s, struct buf *log,
                           struct err *err) {
    for (size_t i = 0; i < s->n_links; i++) {
        const struct netlink_link *l = &s->links[i];
        bool has_address = false;
        for (size_t k = 0; k < s->n_addresses; k++)
            has_address = has_address || s->addresses[k].index == l->index;
        if (!has_address || l->loopback || (l->group & 0xffff0000) == NET__GROUP_BASE) continue;
        int r = uplink_forward(d, l->name, log, err);
        if (r < 0) return r;
    }
    return 0;
}

/* An address of the host (a VPN that came up, say) inside a network's subnet: its neighbours and
 * our tasks get in each other's way. The network goes on; the owner of the host has to decide. */
static void find_conflict(struct devices *d, const struct snapshot *s,
                          const struct net__state *want) {
    char ip[STR_IPV4_MAX];
    d->conflict[0] = 0;
    for (size_t i = 0; i < s->n_addresses; i++) {
        const struct netlink_address *a = &s->addresses[i];
        const struct netlink_link *l = link_indexed(s, a->index);
        if (!l || (l->group & 0xffff0000) == NET__GROUP_BASE) continue;
        for (size_t k = 0; k < want->n_networks; k++) {
            const struct net__network *n = &want->networks[k];
            uint32_t shorter = n->prefix_len < a->prefix_len ? n->prefix_len : a->prefix_len;
            if (shorter > 0 && (n->subnet ^ a->address) >> (32 - shorter) != 0) continue;
            snprintf(d->conflict, sizeof d->conflict,
                     "%s of %s (/%u) is in the subnet of network %u: choose another address pool",
                     str_from_ipv4(a->address, ip), l->name, a->prefix_len, n->id & 0xffff);
        }
    }
}

int devices_ensure(struct devices *d, const struct net_config *cfg, const struct net__state *want,
                   struct buf *log, struct err *err) {
    struct snapshot s = {0};
    int r = snapshot_take(d, &s, err);
    if (r == 0) find_conflict(d, &s, want);
    if (r == 0) r = ensure_pools(d, cfg, log, err);
    for (size_t i = 0; r == 0 && i < want->n_networks; i++)
        r = ensure_gateway(d, &s, &want->networks[i], log, err);
    if (r == 0) ensure_task_routes(d, &s, log);
    if (r == 0) ensure_task_links(&s, log);
    if (r == 0) r = uplink_yield(d, err);
    if (r == 0) r = collect_uplinks(d, &s, log, err);
    for (size_t i = 0; r == 0 && i < s.n_links; i++) {
        if (!our_gateway(&s.links[i]) || wanted_gateway(want, &s.links[i])) continue;
        r = link_delete(d, s.links[i].index);
        if (r == -ENODEV) r = 0;
        if (r < 0) r = err_set(err, r, "remove the gateway device %s", s.links[i].name);
    }
    snapshot_fini(&s);
    return r;
}

int devices_open(struct devices *d, const struct net_config *cfg, struct err *err) {
    *d = (struct devices){.record = cfg->record};
    int r = netlink_open(&d->rt, NETLINK_ROUTE, err);
    if (r == 0) r = uplink_recall(d, err);
    if (r < 0) devices_close(d);
    return r;
}

void devices_close(struct devices *d) {
    netlink_close(&d->rt);
}

/* Task links whose namespace still lives go as well: nothing of ours stays. */
int devices_remove(struct devices *d, const struct net_config *cfg, struct err *err) {
    struct snapshot s = {0};
    int r = snapshot_take(d, &s, err);
    for (size_t i = 0; r == 0 && i < s.n_links; i++) {
        const struct netlink_link *l = &s.links[i];
        if (l->group >> 16 != NET__GROUP_BASE >> 16) continue;
        int gone = group_delete(d, l->group); /* -ENODEV: gone with another of its group */
        if (gone < 0 && gone != -ENODEV)
            r = err_set(err, gone, "remove the devices of %s's network", l->name);
    }
    snapshot_fini(&s);
    if (r < 0) return r;
    (void) pool_route(d, false, cfg->task_pool, cfg->task_pool_prefix); /* may be gone already */
    (void) pool_route(d, false, cfg->vip_pool, cfg->vip_pool_prefix);
    return uplink_restore(d, err);
}
