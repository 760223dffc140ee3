// SPDX-License-Identifier: Apache-2.0
/* runtime/net/watch.h - hear from the kernel that somebody changed what is ours.
 *
 * Role     two sockets: nf_tables' notifications (what was touched, by which netlink port; the
 *          closing NEWGEN names the process), and rtnetlink's (links, addresses, routes, forwarding
 *          switches). Decides only *whether* to look again; devices.c and net.c look and repair.
 * Thread   [loop]
 * Limits   a burst that overflows the socket counts as "everything may have changed", unless the
 *          generation number proves that only our own commits were lost.
 */
#ifndef ORLOP_NET_WATCH_H
#define ORLOP_NET_WATCH_H

#include "netlink.h"

struct watch {
    struct mnl_socket *nft, *rt;
    struct netlink ask;  /* for the generation number */
    uint32_t own_port;   /* netlink port of our nft context; 0 = not known yet */
    uint32_t generation; /* last one seen */
    uint32_t own_unseen; /* commits of ours whose NEWGEN has not been read */
    bool touched;        /* in the transaction being read */
};

struct watch_events {
    bool tables;  /* a stranger changed `orlop` */
    bool links;   /* a task's link has gone */
    bool devices; /* a link, address, route or switch that matters to us changed */
    char who[64]; /* "nft (pid 4711)"; "" = not known */
};

must_use int watch_open(struct watch *w, struct err *err);
void watch_close(struct watch *w);

/* To be called after each commit of our own context that succeeded. */
void watch_own_commit(struct watch *w);

/* Read all that has come; adds to *ret. */
void watch_drain(struct watch *w, struct watch_events *ret);

/* One message of each kind: any bytes (fuzzed). */
void watch__nft_message(struct watch *w, const struct nlmsghdr *h, struct watch_events *ev);
void watch__rt_message(const struct nlmsghdr *h, struct watch_events *ev);

#endif
