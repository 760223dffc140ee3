// SPDX-License-Identifier: Apache-2.0
/* The network of the floor: what runtime/net/attach.c asks of the kernel, in as few calls as it can
 * be: indices are chosen, so that one batch makes and sets up the host's end, one the inner end. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor_int.h"
#include "runtime/net/attach_netlink.h"

enum { GROUP = 7002, HOST_INDEX = 0x100000, INNER_INDEX = 2 };

static int netlink(void) {
    return (int) CK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
}

static void run(struct attach_batch *b, int fd) {
    struct err err = {.code = 0};
    if (attach_batch_run(b, fd, &err) < 0) {
        fprintf(stderr, "floor: %s\n", err.text);
        _exit(99);
    }
}

static void up(struct attach_batch *b, int index) {
    struct ifinfomsg head = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    attach_batch_add(b, "up", RTM_NEWLINK, 0, &head, sizeof head);
}

static void pair(struct attach_batch *b, uint32_t address, int index, int netns) {
    struct ifinfomsg head = {.ifi_index = index}, inner = {.ifi_index = INNER_INDEX};
    uint8_t mac[6] = {2, 0x4e};
    char name[IFNAMSIZ];
    memcpy(mac + 2, &address, sizeof address);
    snprintf(name, sizeof name, "olb%08x", address);
    attach_batch_add(b, "veth", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
    attach_attr_str(b, IFLA_IFNAME, name);
    attach_attr_u32(b, IFLA_GROUP, GROUP);
    size_t info = attach_nest(b, IFLA_LINKINFO);
    attach_attr_str(b, IFLA_INFO_KIND, "veth");
    size_t data = attach_nest(b, IFLA_INFO_DATA), peer = attach_nest(b, VETH_INFO_PEER);
    attach_raw(b, &inner, sizeof inner);
    attach_attr_str(b, IFLA_IFNAME, "eth0");
    attach_attr(b, IFLA_ADDRESS, mac, sizeof mac);
    attach_attr_u32(b, IFLA_NET_NS_FD, (uint32_t) netns);
    attach_nest_end(b, peer);
    attach_nest_end(b, data);
    attach_nest_end(b, info);
}

/* No IPv6 on a link; the host's end forwards and answers ARP for all. */
static void settings(struct attach_batch *b, int index, bool host) {
    struct ifinfomsg head = {.ifi_index = index};
    uint8_t none = IN6_ADDR_GEN_MODE_NONE;
    attach_batch_add(b, "settings", RTM_SETLINK, 0, &head, sizeof head);
    size_t spec = attach_nest(b, IFLA_AF_SPEC);
    size_t inet6 = attach_nest(b, AF_INET6);
    attach_attr(b, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
    attach_nest_end(b, inet6);
    if (host) {
        size_t inet = attach_nest(b, AF_INET), conf = attach_nest(b, IFLA_INET_CONF);
        attach_attr_u32(b, IPV4_DEVCONF_FORWARDING, 1);
        attach_attr_u32(b, IPV4_DEVCONF_PROXY_ARP, 1);
        attach_attr_u32(b, IPV4_DEVCONF_SEND_REDIRECTS, 0);
        attach_nest_end(b, conf);
        attach_nest_end(b, inet);
    }
    attach_nest_end(b, spec);
}

static void neighbours(struct attach_batch *b, uint32_t address, int index) {
    struct ndtmsg table = {.ndtm_family = AF_INET};
    uint64_t none = 0;
    attach_batch_add(b, "delay", RTM_SETNEIGHTBL, NLM_F_REPLACE, &table, sizeof table);
    attach_attr_str(b, NDTA_NAME, "arp_cache");
    size_t parms = attach_nest(b, NDTA_PARMS);
    attach_attr_u32(b, NDTPA_IFINDEX, (uint32_t) index);
    attach_attr(b, NDTPA_PROXY_DELAY, &none, sizeof none);
    attach_nest_end(b, parms);
    struct ndmsg head = {.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
    uint8_t mac[6] = {2, 0x4e};
    memcpy(mac + 2, &address, sizeof address);
    attach_batch_add(b, "neighbour", RTM_NEWNEIGH, NLM_F_CREATE, &head, sizeof head);
    attach_attr_u32(b, NDA_DST, htonl(address));
    attach_attr(b, NDA_LLADDR, mac, sizeof mac);
}

static void route(struct attach_batch *b, uint32_t to, uint32_t gateway, int index) {
    struct rtmsg head = {.rtm_family = AF_INET,
                         .rtm_dst_len = to ? 32 : 0,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = RTPROT_STATIC,
                         .rtm_scope = to ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                         .rtm_type = RTN_UNICAST};
    attach_batch_add(b, "route", RTM_NEWROUTE, NLM_F_CREATE, &head, sizeof head);
    if (to) attach_attr_u32(b, RTA_DST, htonl(to));
    if (gateway) attach_attr_u32(b, RTA_GATEWAY, htonl(gateway));
    attach_attr_u32(b, RTA_OIF, (uint32_t) index);
}

static void address_inside(struct attach_batch *b, uint32_t address) {
    struct ifaddrmsg head = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = INNER_INDEX};
    attach_batch_add(b, "address", RTM_NEWADDR, NLM_F_CREATE, &head, sizeof head);
    attach_attr_u32(b, IFA_LOCAL, htonl(address));
    attach_attr_u32(b, IFA_ADDRESS, htonl(address));
    attach_attr_u32(b, IFA_BROADCAST, htonl(address | 0xffff));
}

static void make_link(uint32_t address, int outside, struct attach_batch *inner) {
    struct attach_batch b;
    int index = HOST_INDEX + (int) (address & 0xfffff);
    int netns = (int) CK(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    attach_batch_init(&b);
    pair(&b, address, index, netns);
    settings(&b, index, true);
    up(&b, index);
    neighbours(&b, address, index);
    route(&b, address, 0, index);
    run(&b, outside);
    close(netns);
    settings(inner, INNER_INDEX, false);
    address_inside(inner, address);
    up(inner, INNER_INDEX);
    route(inner, 0, (address & 0xffff0000) | 1, INNER_INDEX);
}

void floor__network(uint32_t address) {
    struct attach_batch b;
    int outside = address ? netlink() : -1;
    CK(unshare(CLONE_NEWNET));
    int inside = netlink();
    attach_batch_init(&b);
    up(&b, 1);
    if (address) make_link(address, outside, &b);
    run(&b, inside);
    close(inside);
    if (address) close(outside);
    floor__put("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    floor__put("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}
