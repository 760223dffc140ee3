// SPDX-License-Identifier: Apache-2.0
/* runtime/net/attach.h - give a new network namespace its routed veths. Part of the keeper: runs in
 * the child, libc only (Debian has no static libmnl; one message builder of 40 lines instead).
 *
 * Thread   [child] between clone and exec: no heap.
 */
#ifndef ORLOP_NET_ATTACH_H
#define ORLOP_NET_ATTACH_H

#include "keeper.pb-c.h"
#include "runtime/base/err.h"

/* A rtnetlink socket of the host, opened before its namespace is left: the host's end of each link
 * is set up through it. */
struct attach_host {
    int netlink;
};
must_use int attach_host_open(struct attach_host *ret, struct err *err);
void attach_host_close(struct attach_host *h);

/* In the new namespace: lo up, each LINK made (host side up, in its group, proxy_arp, proxy_delay
 * 0, a permanent neighbour and a /32 route), address, mtu, up, default route. Before return
 * everything works; on failure the namespace is thrown away with all its links. */
must_use int attach_links(const struct attach_host *host, Orlop__SandboxLink *const *links,
                          size_t n, struct err *err);

#endif
