// SPDX-License-Identifier: Apache-2.0
#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>

/* linux 5.8; the user-space headers of Debian 12 have the attribute, but not what goes into it. */
enum { FILTER_ORIG_FLAGS = 1, FILTER_REPLY_FLAGS = 2, FILTER_IP_SRC = 1 };
enum { FORGET_MAX = 65536 }; /* at a time; the rest is found by the next call */

int conntrack_open(struct conntrack *c, struct err *err) {
    *c = (struct conntrack){0};
    int r = netlink_open(&c->dump, NETLINK_NETFILTER, err);
    if (r == 0) r = netlink_open(&c->change, NETLINK_NETFILTER, err);
    if (r < 0) conntrack_close(c);
    return r;
}

void conntrack_close(struct conntrack *c) {
    netlink_close(&c->dump);
    netlink_close(&c->change);
}

static struct nlmsghdr *begin(void *buf, int type, uint16_t flags) {
    struct nfgenmsg *g;
    struct nlmsghdr *h =
        netlink_begin(buf, (uint16_t) (NFNL_SUBSYS_CTNETLINK << 8 | type), flags, sizeof *g, &g);
    g->nfgen_family = AF_INET;
    g->version = NFNETLINK_V0;
    return h;
}

static struct nlmsghdr *begin_dump(void *buf, uint32_t address) {
    struct nlmsghdr *h = begin(buf, IPCTNL_MSG_CT_GET, 0);
    struct nlattr *tuple = mnl_attr_nest_start(h, CTA_TUPLE_REPLY);
    struct nlattr *ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
    mnl_attr_put_u32(h, CTA_IP_V4_SRC, htonl(address));
    mnl_attr_nest_end(h, ip);
    mnl_attr_nest_end(h, tuple);
    struct nlattr *filter = mnl_attr_nest_start(h, CTA_FILTER);
    mnl_attr_put_u32(h, FILTER_ORIG_FLAGS, 0);
    mnl_attr_put_u32(h, FILTER_REPLY_FLAGS, FILTER_IP_SRC);
    mnl_attr_nest_end(h, filter);
    return h;
}

/* --- parsing --- */

static void parse_tuple(const struct nlattr *tuple, struct conntrack_entry *e,
                        uint32_t *ret_source) {
    const struct nlattr *part, *a;
    netlink_nested(part, tuple) {
        uint16_t type = mnl_attr_get_type(part);
        if (type != CTA_TUPLE_IP && type != CTA_TUPLE_PROTO) continue;
        netlink_nested(a, part) {
            uint32_t ip;
            if (type == CTA_TUPLE_IP && mnl_attr_get_type(a) == CTA_IP_V4_SRC &&
                netlink_u32(a, &ip))
                *ret_source = ntohl(ip);
            if (type == CTA_TUPLE_PROTO && mnl_attr_get_type(a) == CTA_PROTO_NUM &&
                mnl_attr_get_payload_len(a) == 1)
                e->protocol = mnl_attr_get_u8(a);
        }
    }
}

static void parse_state(const struct nlattr *info, struct conntrack_entry *e) {
    const struct nlattr *part, *a;
    netlink_nested(part, info) {
        if (mnl_attr_get_type(part) != CTA_PROTOINFO_TCP) continue;
        netlink_nested(a, part) {
            uint16_t type = mnl_attr_get_type(a);
            struct nf_ct_tcp_flags flags;
            if (type == CTA_PROTOINFO_TCP_STATE && mnl_attr_get_payload_len(a) == 1)
                e->tcp_state = mnl_attr_get_u8(a);
            if (type != CTA_PROTOINFO_TCP_FLAGS_ORIGINAL ||
                mnl_attr_get_payload_len(a) != sizeof flags)
                continue;
            memcpy(&flags, mnl_attr_get_payload(a), sizeof flags);
            e->asker_finished = flags.flags & IP_CT_TCP_FLAG_CLOSE_INIT;
        }
    }
}

int conntrack__parse(const struct nlmsghdr *h, struct conntrack_entry *ret) {
    if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg)) return -EBADMSG;
    const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
    if (g->nfgen_family != AF_INET) return -EBADMSG;
    struct conntrack_entry e = {.tcp_state = -1};
    const struct nlattr *a;
    netlink_attrs(a, h, sizeof *g) {
        uint16_t type = mnl_attr_get_type(a);
        if (type == CTA_TUPLE_ORIG) {
            e.original = a;
            parse_tuple(a, &e, &e.source);
        }
        if (type == CTA_TUPLE_REPLY) parse_tuple(a, &e, &e.reply_source);
        if (type == CTA_PROTOINFO) parse_state(a, &e);
        if (type == CTA_ID) e.has_id = netlink_u32(a, &e.id);
        if (type == CTA_STATUS && netlink_u32(a, &e.status)) e.status = ntohl(e.status);
        if (type == CTA_ZONE && mnl_attr_get_payload_len(a) == 2) e.zone = a;
    }
    if (!e.original || e.reply_source == 0) return -EBADMSG;
    *ret = e;
    return 0;
}

/* --- deletion --- */

static void put_copy(struct nlmsghdr *h, const struct nlattr *a) {
    mnl_attr_put(h, a->nla_type, mnl_attr_get_payload_len(a), mnl_attr_get_payload(a));
}

static int delete_entry(struct conntrack *c, const struct conntrack_entry *e) {
    _Alignas(struct nlmsghdr) char buf[1024];
    if (!e->has_id || mnl_attr_get_payload_len(e->original) > 512) return 0;
    struct nlmsghdr *request = begin(buf, IPCTNL_MSG_CT_DELETE, 0);
    put_copy(request, e->original);
    mnl_attr_put_u32(request, CTA_ID, e->id);
    if (e->zone) put_copy(request, e->zone);
    int r = netlink_talk(&c->change, request);
    if (r == -ENOENT) return 0; /* it went by itself */
    return r < 0 ? r : 1;
}

/* --- of task addresses --- */

struct look {
    struct conntrack *c;
    struct net_connections *v;
    size_t n;
    int deleted;
};

static int by_address(const void *a, const void *b) {
    uint32_t x = ((const struct net_connections *) a)->address;
    uint32_t y = ((const struct net_connections *) b)->address;
    return (x > y) - (x < y);
}

static bool leaves(const struct conntrack_entry *e, enum net_forget what) {
    return what == NET_FORGET_ALL || (what == NET_FORGET_DATAGRAMS && e->protocol != IPPROTO_TCP);
}

/* Something may still have to be answered. A half-open one too: the answer to its SYN may be under
 * way, and forgotten now its next packet would go to another task, which knows nothing of it. */
static bool is_open(const struct conntrack_entry *e) {
    switch (e->protocol == IPPROTO_TCP ? e->tcp_state : TCP_CONNTRACK_NONE) {
    case TCP_CONNTRACK_SYN_SENT:
    case TCP_CONNTRACK_SYN_SENT2:
    case TCP_CONNTRACK_SYN_RECV:
    case TCP_CONNTRACK_ESTABLISHED:
        return true;
    case TCP_CONNTRACK_FIN_WAIT:
    case TCP_CONNTRACK_CLOSE_WAIT:
        return e->asker_finished;
    default:
        return false;
    }
}

static int look_at_entry(const struct nlmsghdr *h, void *arg) {
    struct look *l = arg;
    struct conntrack_entry e;
    if (conntrack__parse(h, &e) < 0) return 0;
    struct net_connections key = {.address = e.reply_source};
    struct net_connections *found = bsearch(&key, l->v, l->n, sizeof key, by_address);
    if (!found) return 0;
    if (!leaves(&e, found->forget)) {
        if (is_open(&e)) found->open++;
        return 0;
    }
    if (l->deleted >= FORGET_MAX) return -E2BIG;
    int r = delete_entry(l->c, &e);
    if (r > 0) l->deleted++;
    return r < 0 ? r : 0;
}

int conntrack_look(struct conntrack *c, struct net_connections *v, size_t n, struct err *err) {
    _Alignas(struct nlmsghdr) char buf[512];
    if (n == 0) return 0;
    struct look l = {.c = c, .v = v, .n = n};
    for (size_t i = 0; i < n; i++) v[i].open = 0;
    qsort(v, n, sizeof *v, by_address);
    struct nlmsghdr *request =
        n == 1 ? begin_dump(buf, v->address) : begin(buf, IPCTNL_MSG_CT_GET, 0);
    int r = netlink_dump(&c->dump, request, look_at_entry, &l);
    if (r == -E2BIG) r = 0; /* the rest is found by the next look */
    return r < 0 ? err_set(err, r, "look at connections") : 0;
}

/* --- of a pool --- */

struct pool {
    struct conntrack *c;
    uint32_t address, shift;
    int deleted;
};

static int forget_entry(const struct nlmsghdr *h, void *arg) {
    struct pool *p = arg;
    struct conntrack_entry e;
    if (conntrack__parse(h, &e) < 0) return 0;
    uint32_t pool = p->address >> p->shift;
    if (e.reply_source >> p->shift != pool && e.source >> p->shift != pool) return 0;
    if (p->deleted >= FORGET_MAX) return -E2BIG;
    int r = delete_entry(p->c, &e);
    if (r > 0) p->deleted++;
    return r < 0 ? r : 0;
}

int conntrack_forget_pool(struct conntrack *c, uint32_t pool, uint32_t prefix_len,
                          struct err *err) {
    _Alignas(struct nlmsghdr) char buf[512];
    struct pool p = {.c = c, .address = pool, .shift = 32 - prefix_len};
    int r = netlink_dump(&c->dump, begin(buf, IPCTNL_MSG_CT_GET, 0), forget_entry, &p);
    if (r == -E2BIG) r = 0;
    return r < 0 ? err_set(err, r, "forget connections") : p.deleted;
}
