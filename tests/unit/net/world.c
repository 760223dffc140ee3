// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/net/attach.h"
#include "runtime/net/netlink.h"

_Noreturn static void broken(const char *what, int code) {
    fprintf(stderr, "set-up: %s: %s\n", what, strerror(code < 0 ? -code : code));
    exit(99);
}

void world_enter(int netns) {
    if (setns(netns, CLONE_NEWNET) < 0) broken("setns", errno);
}

static int own_netns(void) {
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) broken("open the namespace", errno);
    return fd;
}

static void talk(struct nlmsghdr *h, const char *what) {
    struct netlink n;
    int r = netlink_open(&n, NETLINK_ROUTE, NULL);
    if (r == 0) r = netlink_talk(&n, h);
    netlink_close(&n);
    if (r < 0) broken(what, r);
}

static void up(const char *name) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h = netlink_begin(buf, RTM_NEWLINK, 0, sizeof *ifi, &ifi);
    ifi->ifi_index = (int) if_nametoindex(name);
    ifi->ifi_flags = ifi->ifi_change = IFF_UP;
    talk(h, name);
}

static void address(const char *name, uint32_t ip, uint32_t prefix_len) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifaddrmsg *ifa;
    struct nlmsghdr *h =
        netlink_begin(buf, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *ifa, &ifa);
    ifa->ifa_family = AF_INET;
    ifa->ifa_prefixlen = (uint8_t) prefix_len;
    ifa->ifa_index = if_nametoindex(name);
    mnl_attr_put_u32(h, IFA_LOCAL, htonl(ip));
    talk(h, "address");
}

static void default_route(uint32_t gateway) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct rtmsg *rt;
    struct nlmsghdr *h =
        netlink_begin(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *rt, &rt);
    rt->rtm_family = AF_INET;
    rt->rtm_table = RT_TABLE_MAIN;
    rt->rtm_protocol = RTPROT_BOOT;
    rt->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(h, RTA_GATEWAY, htonl(gateway));
    talk(h, "default route");
}

void world_delete_route(uint32_t ip) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct rtmsg *rt;
    struct nlmsghdr *h = netlink_begin(buf, RTM_DELROUTE, 0, sizeof *rt, &rt);
    rt->rtm_family = AF_INET;
    rt->rtm_dst_len = 32;
    rt->rtm_table = RT_TABLE_MAIN;
    rt->rtm_scope = RT_SCOPE_NOWHERE;
    mnl_attr_put_u32(h, RTA_DST, htonl(ip));
    talk(h, "delete a route");
}

int world_netns(void) {
    int before = own_netns();
    if (unshare(CLONE_NEWNET) < 0) broken("unshare", errno);
    int fd = own_netns();
    up("lo");
    world_enter(before);
    close(before);
    return fd;
}

static void veth(const struct world_link *l, const unsigned char mac[6]) {
    _Alignas(struct nlmsghdr) char buf[1024];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h =
        netlink_begin(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *ifi, &ifi);
    mnl_attr_put_strz(h, IFLA_IFNAME, l->host_name);
    mnl_attr_put_u32(h, IFLA_GROUP, l->group);
    struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
    mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
    memset(mnl_nlmsg_get_payload_tail(h), 0, sizeof *ifi);
    h->nlmsg_len += (uint32_t) sizeof *ifi;
    mnl_attr_put_strz(h, IFLA_IFNAME, l->name);
    mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
    mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t) l->netns);
    mnl_attr_nest_end(h, peer);
    mnl_attr_nest_end(h, data);
    mnl_attr_nest_end(h, info);
    talk(h, "veth");
}

void world_half_link(const struct world_link *l) {
    veth(l, (const unsigned char[6]){2, 0, 0, 0, 0, 1});
}

void world_link_up(const char *name) {
    up(name);
}

static void far_end(const struct world_link *l) {
    int here = own_netns();
    world_enter(l->netns);
    up(l->name);
    address(l->name, l->address, l->prefix_len);
    if (l->gateway) default_route(l->gateway);
    world_enter(here);
    close(here);
}

void world_task_links(const struct world_link *l, size_t n) {
    Orlop__SandboxLink links[4], *list[4];
    struct attach_host host;
    struct err err = {0};
    int here = own_netns();
    ensure(n <= 4);
    for (size_t i = 0; i < n; i++) {
        orlop__sandbox_link__init(&links[i]);
        links[i].host_name = mem_strdup(l[i].host_name);
        links[i].name = mem_strdup(l[i].name);
        links[i].group = l[i].group;
        links[i].address = l[i].address;
        links[i].prefix_len = l[i].prefix_len;
        links[i].gateway = l[i].gateway;
        links[i].default_route = l[i].gateway != 0;
        links[i].mtu = 1500;
        list[i] = &links[i];
    }
    int r = attach_host_open(&host, &err);
    world_enter(l->netns);
    if (r == 0) r = attach_links(&host, list, n, &err);
    if (r < 0) broken(err.text, r);
    world_enter(here);
    close(here);
    attach_host_close(&host);
    for (size_t i = 0; i < n; i++) {
        mem_free(links[i].host_name);
        mem_free(links[i].name);
    }
}

void world_cable(const struct world_link *l, uint32_t host_address) {
    static unsigned char mac[6] = {0x02, 0x50, 0, 0, 0, 0};
    mac[5]++;
    veth(l, mac);
    up(l->host_name);
    address(l->host_name, host_address, l->prefix_len);
    far_end(l);
}

void world_local_address(uint32_t ip) {
    address("lo", ip, 32);
}

void world_sysctl(const char *path, const char *value) {
    int r = fd_write_file(AT_FDCWD, path, value);
    if (r < 0) broken(path, r);
}

char *world_read_sysctl(const char *path) {
    static char text[64];
    auto_free char *data = NULL;
    size_t n;
    int r = fd_read_file(AT_FDCWD, path, 60, &data, &n);
    if (r < 0) broken(path, r);
    snprintf(text, sizeof text, "%.*s", (int) strcspn(data, "\n"), data);
    return text;
}

void world_delete_link(const char *name) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifinfomsg *ifi;
    struct nlmsghdr *h = netlink_begin(buf, RTM_DELLINK, 0, sizeof *ifi, &ifi);
    ifi->ifi_index = (int) if_nametoindex(name);
    talk(h, "delete a link");
}

/* Down and up again: every address stays, every route goes; so delete by index what the dump says.
 */
static int delete_address(const struct nlmsghdr *msg, void *arg) {
    const uint32_t *index = arg;
    struct netlink_address a;
    if (netlink_parse_address(msg, &a) < 0 || a.index != *index) return 0;
    _Alignas(struct nlmsghdr) char buf[256];
    struct ifaddrmsg *ifa;
    struct nlmsghdr *h = netlink_begin(buf, RTM_DELADDR, 0, sizeof *ifa, &ifa);
    ifa->ifa_family = AF_INET;
    ifa->ifa_prefixlen = (uint8_t) a.prefix_len;
    ifa->ifa_index = a.index;
    mnl_attr_put_u32(h, IFA_LOCAL, htonl(a.address));
    talk(h, "delete an address");
    return 0;
}

void world_delete_addresses(const char *name) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct netlink n;
    struct ifaddrmsg *ifa;
    uint32_t index = if_nametoindex(name);
    struct nlmsghdr *h = netlink_begin(buf, RTM_GETADDR, 0, sizeof *ifa, &ifa);
    ifa->ifa_family = AF_INET;
    if (netlink_open(&n, NETLINK_ROUTE, NULL) < 0) broken("netlink", errno);
    int r = netlink_dump(&n, h, delete_address, &index);
    netlink_close(&n);
    if (r < 0 && r != -EINTR) broken("list addresses", r);
}

struct counting {
    const char *prefix;
    unsigned n;
};

static int count_link(const struct nlmsghdr *h, void *arg) {
    struct counting *c = arg;
    struct netlink_link l;
    if (netlink_parse_link(h, &l) == 0 && str_starts(l.name, c->prefix)) c->n++;
    return 0;
}

unsigned world_count_links(const char *prefix) {
    _Alignas(struct nlmsghdr) char buf[256];
    struct counting c = {prefix, 0};
    struct netlink n;
    struct ifinfomsg *ifi;
    struct nlmsghdr *h = netlink_begin(buf, RTM_GETLINK, 0, sizeof *ifi, &ifi);
    if (netlink_open(&n, NETLINK_ROUTE, NULL) < 0) broken("netlink", errno);
    int r = netlink_dump(&n, h, count_link, &c);
    netlink_close(&n);
    if (r < 0) broken("list links", r);
    return c.n;
}

/* --- traffic --- */

static int socket_in(int netns, int type) {
    int here = own_netns();
    world_enter(netns);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) broken("socket", errno);
    world_enter(here);
    close(here);
    return fd;
}

int world_listen(int netns, int type, uint16_t port) {
    int fd = socket_in(netns, type), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (bind(fd, (struct sockaddr *) &a, sizeof a) < 0) broken("bind", errno);
    if (type == SOCK_STREAM && listen(fd, 64) < 0) broken("listen", errno);
    return fd;
}

static int finish_connect(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int code = 0;
    socklen_t n = sizeof code;
    if (poll(&p, 1, WORLD_PATIENCE_MS) == 0) return -ETIMEDOUT;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &n) < 0) return -errno;
    return -code;
}

/* A datagram is sent at once; a refusal that comes back by ICMP is there when send has returned. */
static int finish_datagram(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (send(fd, "hello", 5, 0) < 0) return -errno;
    if (poll(&p, 1, 0) > 0 && (p.revents & POLLERR)) {
        char c;
        return recv(fd, &c, 1, MSG_DONTWAIT) < 0 ? -errno : 0;
    }
    return 0;
}

int world_connect_from(int netns, int type, uint32_t source, uint32_t to, uint16_t port) {
    auto_fd int fd = socket_in(netns, type);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    if (source && bind(fd, (struct sockaddr *) &a, sizeof a) < 0) return -errno;
    a.sin_addr.s_addr = htonl(to);
    a.sin_port = htons(port);
    int r = connect(fd, (struct sockaddr *) &a, sizeof a);
    if (r < 0 && errno != EINPROGRESS) return -errno;
    r = type == SOCK_STREAM ? finish_connect(fd) : finish_datagram(fd);
    return r < 0 ? r : steal_fd(&fd);
}

int world_connect(int netns, int type, uint32_t to, uint16_t port) {
    return world_connect_from(netns, type, 0, to, port);
}

bool world_await(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, WORLD_PATIENCE_MS) > 0;
}

bool world_take(int fd, int type, uint32_t *ret_from, int *ret_fd) {
    struct sockaddr_in from;
    socklen_t n = sizeof from;
    char byte[64];
    if (type == SOCK_STREAM) {
        auto_fd int got = accept4(fd, (struct sockaddr *) &from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (got < 0) return false;
        if (ret_fd) *ret_fd = steal_fd(&got);
    } else if (recvfrom(fd, byte, sizeof byte, MSG_DONTWAIT, (struct sockaddr *) &from, &n) < 0) {
        return false;
    }
    if (ret_from) *ret_from = ntohl(from.sin_addr.s_addr);
    return true;
}
