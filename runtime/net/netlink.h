// SPDX-License-Identifier: Apache-2.0
/* runtime/net/netlink.h - request, acknowledgement and dump over one netlink socket; strict parsers
 * of what the kernel tells about links and addresses.
 *
 * Thread   [loop]. Blocking, but the kernel answers within the call.
 * Limits   parsers accept any bytes (fuzzed): an attribute of the wrong size counts as absent.
 * See      tests/fuzz/fuzz_netlink.c
 */
#ifndef ORLOP_NET_NETLINK_H
#define ORLOP_NET_NETLINK_H

#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct netlink {
    struct mnl_socket *socket; /* NULL = closed */
    uint32_t seq;
};

must_use int netlink_open(struct netlink *n, int bus, struct err *err);
void netlink_close(struct netlink *n);

/* Send REQUEST and wait for its acknowledgement: 0 or the kernel's negative errno. */
must_use int netlink_talk(struct netlink *n, struct nlmsghdr *request);

/* Send a dump and give every message to EACH; a negative value of EACH is returned after the rest
 * of the dump has been read and thrown away. -EINTR: all was given, but the list changed meanwhile.
 */
typedef int (*netlink_each_cb)(const struct nlmsghdr *h, void *arg);
must_use int netlink_dump(struct netlink *n, struct nlmsghdr *request, netlink_each_cb each,
                          void *arg);

/* Send REQUEST and give the one answer (an error is returned) to EACH. */
must_use int netlink_get(struct netlink *n, struct nlmsghdr *request, netlink_each_cb each,
                         void *arg);

/* Begin a message of TYPE in BUF (MNL_SOCKET_BUFFER_SIZE or more) with an extra header of SIZE
 * zeroed bytes, returned in *ret_extra. */
struct nlmsghdr *netlink_begin(void *buf, uint16_t type, uint16_t flags, size_t size,
                               void *ret_extra);

struct netlink_link {
    uint32_t index;
    uint32_t group;
    bool up;
    bool loopback;
    bool forwarding; /* IPv4; true when the kernel does not say */
    char name[IF_NAMESIZE];
    char kind[16]; /* "bridge", "veth"; "" = hardware or unknown */
};
/* From RTM_NEWLINK or RTM_DELLINK; -EBADMSG when it is none or has no name. */
must_use int netlink_parse_link(const struct nlmsghdr *h, struct netlink_link *ret);

struct netlink_address {
    uint32_t index;
    uint32_t address; /* host byte order */
    uint32_t prefix_len;
};
/* From RTM_NEWADDR or RTM_DELADDR of IPv4; -EBADMSG otherwise. */
must_use int netlink_parse_address(const struct nlmsghdr *h, struct netlink_address *ret);

/* From RTM_NEWNEIGH of IPv4: a permanent entry (attach makes one per task link). */
must_use int netlink_parse_neighbour(const struct nlmsghdr *h, struct netlink_address *ret);

/* mnl_nlmsg_ok() takes a length of 2 GiB and more for a negative one, and lets it pass. */
static inline bool netlink_ok(const struct nlmsghdr *h, int left) {
    return left >= (int) sizeof *h && h->nlmsg_len >= sizeof *h && h->nlmsg_len <= (uint32_t) left;
}

static inline size_t netlink_align(size_t n) {
    return (n + 3) & ~(size_t) 3;
}

static inline bool netlink__attr_ok(const struct nlattr *a, const void *end) {
    return mnl_attr_ok(a, (int) ((const char *) end - (const char *) a));
}

/* Walk the attributes behind H's extra header of SIZE bytes, or inside the nest N. To the exact end:
 * mnl_nlmsg_get_payload_tail() rounds up, beyond what was received. */
#define netlink_attrs(a, h, size)                                                                  \
    for ((a) = mnl_nlmsg_get_payload_offset((h), netlink_align(size));                             \
         netlink__attr_ok((a), (const char *) (h) + (h)->nlmsg_len); (a) = mnl_attr_next(a))
#define netlink_nested(a, n)                                                                       \
    for ((a) = mnl_attr_get_payload(n); netlink__attr_ok(                                          \
             (a), (const char *) mnl_attr_get_payload(n) + mnl_attr_get_payload_len(n));           \
         (a) = mnl_attr_next(a))

/* Attribute readers that check the size. */
bool netlink_u32(const struct nlattr *a, uint32_t *ret);
bool netlink_text(const struct nlattr *a, char *ret, size_t size);

#endif
