// SPDX-License-Identifier: Apache-2.0
#include "watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netconf.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "devices.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { RECEIVE_BYTES = 8 << 20, READ_BYTES = 256 * 1024 };

static struct mnl_socket *subscribe(int bus, const int *groups, size_t n, int *ret_errno) {
    struct mnl_socket *s = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
    bool ok = s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0;
    for (size_t i = 0; ok && i < n; i++) {
        int group = groups[i];
        ok = mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
    }
    *ret_errno = -errno;
    if (!ok) {
        if (s) mnl_socket_close(s);
        return NULL;
    }
    int size = RECEIVE_BYTES; /* 20,000 messages in one commit are possible */
    if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        (void) setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return s;
}

int watch_open(struct watch *w, struct err *err) {
    static const int nft_groups[] = {NFNLGRP_NFTABLES};
    static const int rt_groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
                                    RTNLGRP_IPV4_NETCONF};
    *w = (struct watch){0};
    int r = 0;
    w->nft = subscribe(NETLINK_NETFILTER, nft_groups, array_len(nft_groups), &r);
    if (!w->nft) return err_set(err, r, "listen to changes of nftables");
    w->rt = subscribe(NETLINK_ROUTE, rt_groups, array_len(rt_groups), &r);
    if (!w->rt) {
        watch_close(w);
        return err_set(err, r, "listen to changes of links");
    }
    r = netlink_open(&w->ask, NETLINK_NETFILTER, err);
    if (r < 0) watch_close(w);
    return r;
}

void watch_close(struct watch *w) {
    if (w->nft) mnl_socket_close(w->nft);
    if (w->rt) mnl_socket_close(w->rt);
    w->nft = w->rt = NULL;
    netlink_close(&w->ask);
}

void watch_own_commit(struct watch *w) {
    w->own_unseen++;
}

/* --- nf_tables --- */

static void generation(struct watch *w, const struct nlmsghdr *h, struct watch_events *ev) {
    const struct nlattr *a;
    uint32_t pid = 0, gen = 0;
    char name[32] = "";
    netlink_attrs(a, h, sizeof(struct nfgenmsg)) {
        uint16_t type = mnl_attr_get_type(a);
        if (type == NFTA_GEN_ID && netlink_u32(a, &gen)) w->generation = ntohl(gen);
        if (type == NFTA_GEN_PROC_PID) (void) netlink_u32(a, &pid);
        if (type == NFTA_GEN_PROC_NAME) (void) netlink_text(a, name, sizeof name);
    }
    bool own = w->own_port != 0 && h->nlmsg_pid == w->own_port;
    if (own && w->own_unseen > 0) w->own_unseen--;
    if (w->touched) {
        ev->tables = true;
        snprintf(ev->who, sizeof ev->who, "%s (pid %u)", name, ntohl(pid));
    }
    w->touched = false;
}

/* NFTA_*_TABLE is attribute 1 in every message, with the table's name. */
static void about_table(struct watch *w, const struct nlmsghdr *h) {
    const struct nlattr *a;
    char table[32] = "";
    uint32_t owner = 0;
    netlink_attrs(a, h, sizeof(struct nfgenmsg)) {
        uint16_t type = mnl_attr_get_type(a);
        if (type == NFTA_TABLE_NAME && !netlink_text(a, table, sizeof table)) return;
        if (type == NFTA_TABLE_OWNER && (h->nlmsg_type & 0xff) == NFT_MSG_NEWTABLE)
            (void) netlink_u32(a, &owner);
    }
    /* Only the socket that owns a table is named as its owner: that is how we learn our own port.
     */
    if (str_eq(table, "orlop_hold") && owner != 0) w->own_port = ntohl(owner);
    if (str_eq(table, "orlop") && h->nlmsg_pid != w->own_port) w->touched = true;
}

void watch__nft_message(struct watch *w, const struct nlmsghdr *h, struct watch_events *ev) {
    if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES) return;
    if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg)) return;
    if ((h->nlmsg_type & 0xff) == NFT_MSG_NEWGEN) {
        generation(w, h, ev);
    } else {
        about_table(w, h);
    }
}

static int read_generation(const struct nlmsghdr *h, void *arg) {
    const struct nlattr *a;
    uint32_t *ret = arg, gen;
    if (mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg)) return 0;
    netlink_attrs(a, h, sizeof(struct nfgenmsg)) {
        if (mnl_attr_get_type(a) == NFTA_GEN_ID && netlink_u32(a, &gen)) *ret = ntohl(gen);
    }
    return 0;
}

/* Messages were lost. If the generation has moved by just our own commits, nothing of value was. */
static void lost(struct watch *w, struct watch_events *ev) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct nfgenmsg *g;
    uint32_t now = 0;
    struct nlmsghdr *h =
        netlink_begin(buf, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, sizeof *g, &g);
    int r = netlink_get(&w->ask, h, read_generation, &now);
    if (r < 0 || now - w->generation != w->own_unseen) ev->tables = true;
    w->generation = now;
    w->own_unseen = 0;
    w->touched = false;
}

/* --- rtnetlink --- */

static void about_link(const struct nlmsghdr *h, struct watch_events *ev) {
    struct netlink_link l;
    if (netlink_parse_link(h, &l) < 0) return;
    bool ours = (l.group & 0xffff0000) == NET__GROUP_BASE;
    if (devices_is_gateway(l.name) || (ours && str_eq(l.kind, "bridge"))) ev->devices = true;
    if (ours && str_eq(l.kind, "veth") && h->nlmsg_type == RTM_DELLINK) ev->links = true;
}

static void about_route(const struct nlmsghdr *h, struct watch_events *ev) {
    if (mnl_nlmsg_get_payload_len(h) < sizeof(struct rtmsg)) return;
    const struct rtmsg *rt = mnl_nlmsg_get_payload(h);
    if (rt->rtm_family != AF_INET || rt->rtm_table != RT_TABLE_MAIN) return;
    if (rt->rtm_protocol == DEVICES_ROUTE_PROTOCOL || rt->rtm_dst_len == 32) ev->devices = true;
}

/* A forwarding switch went off, or the host became a router (index -1 = all). A new device is
 * announced with all its switches, its forwarding off by default: that is nobody's change. */
static void about_switch(const struct nlmsghdr *h, struct watch_events *ev) {
    if (mnl_nlmsg_get_payload_len(h) < netlink_align(sizeof(struct netconfmsg))) return;
    const struct nlattr *a;
    uint32_t index = 0, forwarding = 0;
    bool found = false, is_new = false;
    netlink_attrs(a, h, netlink_align(sizeof(struct netconfmsg))) {
        uint16_t type = mnl_attr_get_type(a);
        if (type == NETCONFA_IFINDEX) (void) netlink_u32(a, &index);
        if (type == NETCONFA_FORWARDING) found = netlink_u32(a, &forwarding);
        if (type == NETCONFA_RP_FILTER) is_new = true;
    }
    if (is_new) return; /* an uplink's address follows, and is looked at */
    if (found && (forwarding == 0 || index == (uint32_t) NETCONFA_IFINDEX_ALL)) ev->devices = true;
}

void watch__rt_message(const struct nlmsghdr *h, struct watch_events *ev) {
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        about_link(h, ev);
        break;
    case RTM_NEWADDR: /* task links have no address on this side: gateways and uplinks only */
    case RTM_DELADDR:
        ev->devices = true;
        break;
    case RTM_DELROUTE:
        about_route(h, ev);
        break;
    case RTM_NEWNETCONF:
        about_switch(h, ev);
        break;
    default:
        break;
    }
}

/* --- reading --- */

/* Bytes read, 0 = nothing more, negative errno. */
static ssize_t read_some(struct mnl_socket *s, char *buf, size_t size) {
    ssize_t n = recv(mnl_socket_get_fd(s), buf, size, MSG_DONTWAIT);
    if (n >= 0) return n;
    return errno == EAGAIN ? 0 : -errno;
}

static void drain_nft(struct watch *w, char *buf, struct watch_events *ev) {
    for (;;) {
        ssize_t n = read_some(w->nft, buf, READ_BYTES);
        if (n == 0) return;
        if (n == -EINTR) continue;
        if (n < 0) {
            lost(w, ev);
            if (n != -ENOBUFS) return;
            continue;
        }
        int left = (int) n;
        for (const struct nlmsghdr *h = (void *) buf; netlink_ok(h, left);
             h = mnl_nlmsg_next(h, &left))
            watch__nft_message(w, h, ev);
    }
}

static void drain_rt(struct watch *w, char *buf, struct watch_events *ev) {
    for (;;) {
        ssize_t n = read_some(w->rt, buf, READ_BYTES);
        if (n == 0) return;
        if (n == -EINTR) continue;
        if (n < 0) {
            ev->devices = true;
            if (n != -ENOBUFS) return;
            continue;
        }
        int left = (int) n;
        for (const struct nlmsghdr *h = (void *) buf; netlink_ok(h, left);
             h = mnl_nlmsg_next(h, &left))
            watch__rt_message(h, ev);
    }
}

void watch_drain(struct watch *w, struct watch_events *ret) {
    static _Alignas(struct nlmsghdr) char buf[READ_BYTES]; /* [loop] only */
    drain_nft(w, buf, ret);
    drain_rt(w, buf, ret);
}
