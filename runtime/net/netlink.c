// SPDX-License-Identifier: Apache-2.0
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* A dump's messages are at most this long; the kernel cuts its pages to what the reader offers. */
enum { DUMP_BYTES = 64 * 1024 };

int netlink_open(struct netlink *n, int bus, struct err *err) {
    *n = (struct netlink){0};
    struct mnl_socket *s = mnl_socket_open2(bus, SOCK_CLOEXEC);
    if (!s) return err_set(err, -errno, "open a netlink socket");
    if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
        int r = -errno;
        mnl_socket_close(s);
        return err_set(err, r, "bind a netlink socket");
    }
    n->socket = s;
    return 0;
}

void netlink_close(struct netlink *n) {
    if (n->socket) mnl_socket_close(n->socket);
    n->socket = NULL;
}

static int send_request(struct netlink *n, struct nlmsghdr *request) {
    request->nlmsg_seq = ++n->seq;
    if (mnl_socket_sendto(n->socket, request, request->nlmsg_len) < 0) return -errno;
    return 0;
}

static ssize_t receive(struct netlink *n, void *buf, size_t size) {
    ssize_t r;
    do {
        r = mnl_socket_recvfrom(n->socket, buf, size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

struct answer {
    netlink_each_cb each;
    void *arg;
    int result;       /* of EACH */
    bool interrupted; /* the kernel's list changed while it was read */
};

enum { MORE = 1, END = 0 };

static int error_code(const struct nlmsghdr *h) {
    if (mnl_nlmsg_get_payload_len(h) < sizeof(int)) return -EBADMSG;
    int code;
    memcpy(&code, mnl_nlmsg_get_payload(h), sizeof code); /* struct nlmsgerr begins with it */
    return code <= 0 ? code : -EBADMSG;
}

/* MORE, END or negative errno. What belongs to an earlier request is passed over. */
static int take_messages(const struct netlink *n, const void *buf, size_t size, struct answer *a) {
    int left = (int) size;
    for (const struct nlmsghdr *h = buf; netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        if (h->nlmsg_seq != n->seq) continue;
        if (h->nlmsg_flags & NLM_F_DUMP_INTR) a->interrupted = true;
        if (h->nlmsg_type == NLMSG_ERROR) return error_code(h);
        if (h->nlmsg_type == NLMSG_DONE) {
            int code = mnl_nlmsg_get_payload_len(h) >= sizeof(int) ? error_code(h) : 0;
            return code < 0 ? code : END;
        }
        if (a->result == 0) a->result = a->each(h, a->arg);
    }
    return MORE;
}

int netlink_dump(struct netlink *n, struct nlmsghdr *request, netlink_each_cb each, void *arg) {
    static _Alignas(struct nlmsghdr) char buf[DUMP_BYTES]; /* [loop] only: one dump at a time */
    struct answer a = {.each = each, .arg = arg};
    request->nlmsg_flags |= NLM_F_DUMP;
    int r = send_request(n, request);
    while (r >= 0) {
        ssize_t got = receive(n, buf, sizeof buf);
        r = got < 0 ? (int) got : take_messages(n, buf, (size_t) got, &a);
        if (r == END) return a.result < 0 ? a.result : a.interrupted ? -EINTR : 0;
    }
    return r;
}

int netlink_get(struct netlink *n, struct nlmsghdr *request, netlink_each_cb each, void *arg) {
    _Alignas(struct nlmsghdr) char buf[8192];
    struct answer a = {.each = each, .arg = arg};
    int r = send_request(n, request);
    if (r < 0) return r;
    ssize_t got = receive(n, buf, sizeof buf);
    r = got < 0 ? (int) got : take_messages(n, buf, (size_t) got, &a);
    return r < 0 ? r : a.result;
}

static int ignore(const struct nlmsghdr *h, void *arg) {
    (void) h;
    (void) arg;
    return 0;
}

int netlink_talk(struct netlink *n, struct nlmsghdr *request) {
    request->nlmsg_flags |= NLM_F_ACK;
    return netlink_get(n, request, ignore, NULL);
}

struct nlmsghdr *netlink_begin(void *buf, uint16_t type, uint16_t flags, size_t size,
                               void *ret_extra) {
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t) (NLM_F_REQUEST | flags);
    void *extra = mnl_nlmsg_put_extra_header(h, size);
    memcpy(ret_extra, &extra, sizeof extra);
    return h;
}

bool netlink_u32(const struct nlattr *a, uint32_t *ret) {
    if (mnl_attr_get_payload_len(a) != sizeof *ret) return false;
    *ret = mnl_attr_get_u32(a);
    return true;
}

bool netlink_text(const struct nlattr *a, char *ret, size_t size) {
    size_t n = mnl_attr_get_payload_len(a);
    const char *s = mnl_attr_get_payload(a);
    n = strnlen(s, n);
    if (n >= size) return false;
    memcpy(ret, s, n);
    ret[n] = 0;
    return true;
}

/* Does H carry at least SIZE bytes behind its header? */
static bool has_extra(const struct nlmsghdr *h, size_t size) {
    return mnl_nlmsg_get_payload_len(h) >= netlink_align(size);
}

static void link_kind(const struct nlattr *info, struct netlink_link *l) {
    const struct nlattr *a;
    netlink_nested(a, info) {
        if (mnl_attr_get_type(a) == IFLA_INFO_KIND && !netlink_text(a, l->kind, sizeof l->kind))
            l->kind[0] = 0;
    }
}

/* IFLA_INET_CONF is an array of 32-bit values, IPV4_DEVCONF_FORWARDING (1) the first of them. */
static void link_forwarding(const struct nlattr *spec, struct netlink_link *l) {
    const struct nlattr *family, *a;
    uint32_t value;
    netlink_nested(family, spec) {
        if (mnl_attr_get_type(family) != AF_INET) continue;
        netlink_nested(a, family) {
            if (mnl_attr_get_type(a) != IFLA_INET_CONF) continue;
            if (mnl_attr_get_payload_len(a) < sizeof value) continue;
            memcpy(&value, mnl_attr_get_payload(a), sizeof value);
            l->forwarding = value != 0;
        }
    }
}

int netlink_parse_link(const struct nlmsghdr *h, struct netlink_link *ret) {
    if (h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) return -EBADMSG;
    if (!has_extra(h, sizeof(struct ifinfomsg))) return -EBADMSG;
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
    if (ifi->ifi_index <= 0) return -EBADMSG;
    struct netlink_link l = {.forwarding = true,
                             .index = (uint32_t) ifi->ifi_index,
                             .up = (ifi->ifi_flags & IFF_UP) != 0,
                             .loopback = (ifi->ifi_flags & IFF_LOOPBACK) != 0};
    const struct nlattr *a;
    netlink_attrs(a, h, sizeof *ifi) {
        uint16_t type = mnl_attr_get_type(a);
        if (type == IFLA_IFNAME && !netlink_text(a, l.name, sizeof l.name)) return -EBADMSG;
        if (type == IFLA_GROUP && !netlink_u32(a, &l.group)) return -EBADMSG;
        if (type == IFLA_LINKINFO) link_kind(a, &l);
        if (type == IFLA_AF_SPEC) link_forwarding(a, &l);
    }
    if (!l.name[0]) return -EBADMSG;
    *ret = l;
    return 0;
}

int netlink_parse_address(const struct nlmsghdr *h, struct netlink_address *ret) {
    if (h->nlmsg_type != RTM_NEWADDR && h->nlmsg_type != RTM_DELADDR) return -EBADMSG;
    if (!has_extra(h, sizeof(struct ifaddrmsg))) return -EBADMSG;
    const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(h);
    if (ifa->ifa_family != AF_INET) return -EBADMSG;
    struct netlink_address v = {.index = ifa->ifa_index, .prefix_len = ifa->ifa_prefixlen};
    const struct nlattr *a;
    bool found = false;
    netlink_attrs(a, h, sizeof *ifa) {
        if (mnl_attr_get_type(a) == IFA_LOCAL) found = netlink_u32(a, &v.address);
    }
    if (!found || v.prefix_len > 32) return -EBADMSG;
    v.address = ntohl(v.address);
    *ret = v;
    return 0;
}

int netlink_parse_neighbour(const struct nlmsghdr *h, struct netlink_address *ret) {
    if (h->nlmsg_type != RTM_NEWNEIGH) return -EBADMSG;
    if (!has_extra(h, sizeof(struct ndmsg))) return -EBADMSG;
    const struct ndmsg *nd = mnl_nlmsg_get_payload(h);
    if (nd->ndm_family != AF_INET || nd->ndm_ifindex <= 0 || !(nd->ndm_state & NUD_PERMANENT))
        return -EBADMSG;
    struct netlink_address v = {.index = (uint32_t) nd->ndm_ifindex, .prefix_len = 32};
    const struct nlattr *a;
    bool found = false;
    netlink_attrs(a, h, sizeof *nd) {
        if (mnl_attr_get_type(a) == NDA_DST) found = netlink_u32(a, &v.address);
    }
    if (!found) return -EBADMSG;
    v.address = ntohl(v.address);
    *ret = v;
    return 0;
}
