// SPDX-License-Identifier: Apache-2.0
/* The routed veth: no bridge. The host's end answers every ARP question of the task (proxy_arp), a
 * /32 route leads to it, and a permanent neighbour entry saves the host the question. Both ends'
 * hardware addresses follow from the task's address, so that nothing has to be asked back. */
#include "attach.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach_netlink.h"
#include "runtime/base/fd.h"

struct mac {
    uint8_t b[6];
};

/* Locally administered; SIDE tells the two ends apart. */
static struct mac make_mac(uint8_t side, uint32_t address) {
    return (struct mac){{side, 0x4f, (uint8_t) (address >> 24), (uint8_t) (address >> 16),
                         (uint8_t) (address >> 8), (uint8_t) address}};
}
static struct mac task_mac(uint32_t address) {
    return make_mac(0x02, address);
}
static struct mac host_mac(uint32_t address) {
    return make_mac(0x06, address);
}

static int open_netlink(void) {
    auto_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl a = {.nl_family = AF_NETLINK};
    /* An answer lost for want of room would be waited for until the end of time. */
    int big = 1 << 18, on = 1;
    if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof a) < 0) return -errno;
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    (void) setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return steal_fd(&fd);
}

int attach_host_open(struct attach_host *ret, struct err *err) {
    int fd = open_netlink();
    if (fd < 0) return err_set(err, fd, "open rtnetlink");
    ret->netlink = fd;
    return 0;
}

void attach_host_close(struct attach_host *h) {
    fd_close(&h->netlink);
}

/* --- the pair --- */

static void add_veth(struct attach_batch *b, const Orlop__SandboxLink *l, int netns) {
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    struct mac ours = host_mac(l->address), theirs = task_mac(l->address);
    attach_batch_add(b, "make the link", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head,
                     sizeof head);
    attach_attr_str(b, IFLA_IFNAME, l->host_name);
    attach_attr_u32(b, IFLA_GROUP, l->group);
    attach_attr(b, IFLA_ADDRESS, &ours, sizeof ours);
    if (l->mtu) attach_attr_u32(b, IFLA_MTU, l->mtu);
    size_t info = attach_nest(b, IFLA_LINKINFO);
    attach_attr_str(b, IFLA_INFO_KIND, "veth");
    size_t data = attach_nest(b, IFLA_INFO_DATA);
    size_t peer = attach_nest(b, VETH_INFO_PEER);
    attach_raw(b, &head, sizeof head);
    attach_attr_str(b, IFLA_IFNAME, l->name);
    attach_attr(b, IFLA_ADDRESS, &theirs, sizeof theirs);
    if (l->mtu) attach_attr_u32(b, IFLA_MTU, l->mtu);
    attach_attr_u32(b, IFLA_NET_NS_FD, (uint32_t) netns);
    attach_nest_end(b, peer);
    attach_nest_end(b, data);
    attach_nest_end(b, info);
}

/* IFLA_NET_NS_FD needs the new namespace as a descriptor of the sender. */
static int make_pair(int netlink, const Orlop__SandboxLink *l, struct err *err) {
    auto_fd int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (netns < 0) return err_set(err, -errno, "open the new network namespace");
    struct attach_batch b;
    attach_batch_init(&b);
    add_veth(&b, l, netns);
    return attach_batch_run(&b, netlink, err);
}

/* Index of NAME where NETLINK's socket lives; any socket answers this ioctl for its own namespace.
 */
static int index_of(int netlink, const char *name, struct err *err) {
    struct ifreq r = {.ifr_name = ""};
    if (strlen(name) >= sizeof r.ifr_name) return err_set(err, -ENAMETOOLONG, "link %s", name);
    memcpy(r.ifr_name, name, strlen(name) + 1);
    if (ioctl(netlink, SIOCGIFINDEX, &r) < 0) return err_set(err, -errno, "link %s", name);
    return r.ifr_ifindex;
}

/* --- host side --- */

static void add_up(struct attach_batch *b, int index) {
    struct ifinfomsg head = {
        .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    attach_batch_add(b, "bring the link up", RTM_NEWLINK, 0, &head, sizeof head);
}

/* No link-local address on the host's end: by it a task would reach the host around every rule. */
static void add_no_ipv6(struct attach_batch *b, int index) {
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    uint8_t none = IN6_ADDR_GEN_MODE_NONE;
    attach_batch_add(b, "keep IPv6 off the link", RTM_SETLINK, 0, &head, sizeof head);
    size_t spec = attach_nest(b, IFLA_AF_SPEC);
    size_t inet6 = attach_nest(b, AF_INET6);
    attach_attr(b, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
    attach_nest_end(b, inet6);
    attach_nest_end(b, spec);
}

static void add_proxy_arp(struct attach_batch *b, int index) {
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    attach_batch_add(b, "answer ARP for all", RTM_SETLINK, 0, &head, sizeof head);
    size_t spec = attach_nest(b, IFLA_AF_SPEC);
    size_t inet = attach_nest(b, AF_INET);
    size_t conf = attach_nest(b, IFLA_INET_CONF);
    attach_attr_u32(b, IPV4_DEVCONF_FORWARDING, 1); /* on this link, whatever the host does */
    attach_attr_u32(b, IPV4_DEVCONF_PROXY_ARP, 1);
    attach_attr_u32(b, IPV4_DEVCONF_SEND_REDIRECTS, 0);
    attach_nest_end(b, conf);
    attach_nest_end(b, inet);
    attach_nest_end(b, spec);
}

/* The default would hold the first answer back by up to 0.8 s. */
static void add_proxy_delay(struct attach_batch *b, int index) {
    struct ndtmsg head = {.ndtm_family = AF_INET};
    uint64_t none = 0;
    attach_batch_add(b, "answer ARP at once", RTM_SETNEIGHTBL, NLM_F_REPLACE, &head, sizeof head);
    attach_attr_str(b, NDTA_NAME, "arp_cache");
    size_t parms = attach_nest(b, NDTA_PARMS);
    attach_attr_u32(b, NDTPA_IFINDEX, (uint32_t) index);
    attach_attr(b, NDTPA_PROXY_DELAY, &none, sizeof none);
    attach_nest_end(b, parms);
}

static void add_neighbour(struct attach_batch *b, const Orlop__SandboxLink *l, int index) {
    struct ndmsg head = {.ndm_family = AF_INET, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
    struct mac theirs = task_mac(l->address);
    attach_batch_add(b, "tell the host the task's hardware address", RTM_NEWNEIGH,
                     NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof head);
    attach_attr_u32(b, NDA_DST, htonl(l->address));
    attach_attr(b, NDA_LLADDR, &theirs, sizeof theirs);
}

/* No NLM_F_REPLACE: somebody else's route to this address is a mistake to be told. */
static void add_host_route(struct attach_batch *b, const Orlop__SandboxLink *l, int index) {
    struct rtmsg head = {
        .rtm_family = AF_INET,
        .rtm_dst_len = 32,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = RT_SCOPE_LINK,
        .rtm_type = RTN_UNICAST,
    };
    attach_batch_add(b, "route to the task", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head,
                     sizeof head);
    attach_attr_u32(b, RTA_DST, htonl(l->address));
    attach_attr_u32(b, RTA_OIF, (uint32_t) index);
}

static int have_ipv6(void) {
    return access("/proc/net/if_inet6", F_OK) == 0;
}

static int set_up_host(int netlink, const Orlop__SandboxLink *l, struct err *err) {
    int index = index_of(netlink, l->host_name, err);
    if (index < 0) return index;
    struct attach_batch b;
    attach_batch_init(&b);
    if (have_ipv6()) add_no_ipv6(&b, index);
    add_proxy_arp(&b, index);
    add_proxy_delay(&b, index);
    /* In this order: the agent repairs a link that is up and does not forward, and a route that is
     * missing where a neighbour is. */
    add_up(&b, index);
    add_host_route(&b, l, index);
    add_neighbour(&b, l, index);
    return attach_batch_run(&b, netlink, err);
}

/* --- inside --- */

static void add_address(struct attach_batch *b, const Orlop__SandboxLink *l, int index) {
    struct ifaddrmsg head = {.ifa_family = AF_INET,
                             .ifa_prefixlen = (uint8_t) l->prefix_len,
                             .ifa_index = (uint32_t) index};
    uint32_t mask = l->prefix_len == 0 ? 0 : ~UINT32_C(0) << (32 - l->prefix_len);
    attach_batch_add(b, "give the task its address", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &head,
                     sizeof head);
    attach_attr_u32(b, IFA_LOCAL, htonl(l->address));
    attach_attr_u32(b, IFA_ADDRESS, htonl(l->address));
    if (l->prefix_len < 31) attach_attr_u32(b, IFA_BROADCAST, htonl(l->address | ~mask));
}

static void add_default_route(struct attach_batch *b, const Orlop__SandboxLink *l, int index) {
    struct rtmsg head = {
        .rtm_family = AF_INET,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_BOOT,
        .rtm_scope = RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_UNICAST,
    };
    attach_batch_add(b, "default route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head,
                     sizeof head);
    attach_attr_u32(b, RTA_GATEWAY, htonl(l->gateway));
    attach_attr_u32(b, RTA_OIF, (uint32_t) index);
}

static int set_up_inside(int netlink, const Orlop__SandboxLink *l, struct err *err) {
    int index = index_of(netlink, l->name, err);
    if (index < 0) return index;
    struct attach_batch b;
    attach_batch_init(&b);
    if (have_ipv6()) add_no_ipv6(&b, index);
    add_address(&b, l, index);
    add_up(&b, index);
    if (l->default_route) add_default_route(&b, l, index);
    return attach_batch_run(&b, netlink, err);
}

static int bring_lo_up(int netlink, struct err *err) {
    struct attach_batch b;
    attach_batch_init(&b);
    add_up(&b, 1); /* lo is the first of every namespace */
    return attach_batch_run(&b, netlink, err);
}

static int check_link(const Orlop__SandboxLink *l, struct err *err) {
    if (!l->host_name[0] || strlen(l->host_name) >= IFNAMSIZ || !l->name[0] ||
        strlen(l->name) >= IFNAMSIZ)
        return err_say(err, -EINVAL, "\"%s\", \"%s\" are no names for a link", l->host_name,
                       l->name);
    if (l->address == 0 || l->prefix_len > 32 || (l->default_route && l->gateway == 0))
        return err_say(err, -EINVAL, "link %s has no usable address", l->name);
    return 0;
}

int attach_links(const struct attach_host *host, Orlop__SandboxLink *const *links, size_t n,
                 struct err *err) {
    auto_fd int inside = open_netlink();
    if (inside < 0) return err_set(err, inside, "open rtnetlink");
    int r = bring_lo_up(inside, err);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = check_link(links[i], err);
        if (r == 0) r = make_pair(host->netlink, links[i], err);
        if (r == 0) r = set_up_host(host->netlink, links[i], err);
        if (r == 0) r = set_up_inside(inside, links[i], err);
        if (r < 0) (void) err_wrap(err, r, "%s", links[i]->name);
    }
    return r;
}
