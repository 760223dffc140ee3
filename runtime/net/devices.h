// SPDX-License-Identifier: Apache-2.0
/* runtime/net/devices.h - gateway devices, unreachable routes, forwarding of the uplinks.
 *
 * Role     devices_ensure() compares the kernel with the wanted networks and repairs the
 *          difference; asking again costs a few dumps and changes nothing.
 * Thread   [loop]
 * Owns     links "olg<n>", their addresses; unreachable routes of our protocol number; the
 *          forwarding switch of uplinks that did not forward (old values are kept in the record
 *          file).
 */
#ifndef ORLOP_NET_DEVICES_H
#define ORLOP_NET_DEVICES_H

#include "netlink.h"
#include "runtime/base/buf.h"
#include "state.h"

enum { DEVICES_ROUTE_PROTOCOL = 79 }; /* 'O': marks our routes */

struct devices {
    struct netlink rt;
    const char *record;                           /* borrowed from net_config; NULL = none */
    struct net__uplink uplinks[NET__UPLINKS_MAX]; /* we made them forward; sorted */
    size_t n_uplinks;
    char conflict[128]; /* a device of the host that lives in a subnet of ours; "" = none */
};

must_use int devices_open(struct devices *d, const struct net_config *cfg, struct err *err);
void devices_close(struct devices *d); /* leaves the kernel as it is */

/* What was repaired is appended to LOG as "a; b". */
must_use int devices_ensure(struct devices *d, const struct net_config *cfg,
                            const struct net__state *want, struct buf *log, struct err *err);

/* Everything of ours goes; uplinks get their old value back. */
must_use int devices_remove(struct devices *d, const struct net_config *cfg, struct err *err);

void devices_gateway_name(uint32_t network, char ret[static IF_NAMESIZE]);
bool devices_is_gateway(const char *name);

#endif
