// SPDX-License-Identifier: Apache-2.0
/* runtime/net/uplink.h - make the devices that lead outside forward, on hosts that are no routers;
 * and put them back.
 *
 * Role     published ports come in and answers to tasks' questions come back by an uplink, so the
 *          kernel must forward what it brings: conf.IFACE.forwarding, never the host-wide
 *          ip_forward. The rule set drops what such an uplink would now route between strangers
 *          (set `uplink`). As soon as somebody makes the host a router, the uplinks are his: they
 *          leave the set for ever.
 * Thread   [loop]
 */
#ifndef ORLOP_NET_UPLINK_H
#define ORLOP_NET_UPLINK_H

#include "devices.h"

/* NAME forwards from now on; when that was our doing it is in d->uplinks and in the record. */
must_use int uplink_forward(struct devices *d, const char *name, struct buf *log, struct err *err);

/* The switch itself. -ENOENT: no such device. */
must_use int uplink_set_forwarding(const char *name, bool on);

/* If the host has become a router: the uplinks are no longer our doing. */
must_use int uplink_yield(struct devices *d, struct err *err);

/* Read the record of an earlier agent. */
must_use int uplink_recall(struct devices *d, struct err *err);

/* Forwarding off again where it was, record removed. */
must_use int uplink_restore(struct devices *d, struct err *err);

#endif
