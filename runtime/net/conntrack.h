// SPDX-License-Identifier: Apache-2.0
/* runtime/net/conntrack.h - the kernel's connections that task addresses answer: count, forget.
 *
 * Role     one dump by reply source (an address that a VIP, a published port or nobody has
 *          translated answers by itself), which the kernel filters when one address is meant, then
 *          deletions by original tuple and id. Never a delete by filter: old kernels would flush
 *          everything.
 * Thread   [loop]; 9 ms in the kernel with 262,144 buckets, 18 ms with 40,000 entries.
 */
#ifndef ORLOP_NET_CONNTRACK_H
#define ORLOP_NET_CONNTRACK_H

#include "net.h"
#include "netlink.h"

struct conntrack {
    struct netlink dump, change;
};

must_use int conntrack_open(struct conntrack *c, struct err *err);
void conntrack_close(struct conntrack *c);

/* See net_connections(). */
must_use int conntrack_look(struct conntrack *c, struct net_connections *v, size_t n,
                            struct err *err);

/* All entries that begin or end in POOL, at the end of everything: walks every entry there is. */
must_use int conntrack_forget_pool(struct conntrack *c, uint32_t pool, uint32_t prefix_len,
                                   struct err *err);

struct conntrack_entry {
    uint32_t source, reply_source; /* host byte order */
    uint8_t protocol;
    int tcp_state;       /* -1 = no TCP */
    bool asker_finished; /* first: the one who answers may still be at it */
    uint32_t status;
    bool has_id;
    uint32_t id;                          /* as it came */
    const struct nlattr *original, *zone; /* inside the message */
};
/* Any bytes (fuzzed). -EBADMSG: no IPv4 entry. */
must_use int conntrack__parse(const struct nlmsghdr *h, struct conntrack_entry *ret);

#endif
