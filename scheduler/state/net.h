// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/net.h - networks, subnets, VIPs and addresses as part of the state.
 *
 * Role     who holds which address, which ones rest, which are free. Choosing is
 *          the planner's (net_pick); taking is apply's, which checks again.
 * Thread   [loop].
 * Limits   subnets: /22 from 10.80.0.0/12; VIPs: 10.96.0.0/16.
 */
#ifndef ORLOP_SCHEDULER_STATE_NET_H
#define ORLOP_SCHEDULER_STATE_NET_H

#include "proto/value.h"
#include "state.h"

#define NET_ID_BASE UINT32_C(0x4f520000)
#define NET_POOL VALUE_POOL /* 10.80.0.0/12 */
#define NET_POOL_PREFIX VALUE_POOL_PREFIX
#define NET_SUBNET_PREFIX 22
#define NET_VIP_POOL UINT32_C(0x0a600000) /* 10.96.0.0/16 */
#define NET_VIP_PREFIX 16

static inline uint32_t net_mask(uint32_t prefix_len) {
    return prefix_len ? UINT32_MAX << (32 - prefix_len) : 0;
}
static inline bool net_contains(const struct network *n, uint32_t address) {
    return ((address ^ n->subnet) & net_mask(n->prefix_len)) == 0;
}

/* Would a network with this explicit subnet be possible beside the others? -EADDRINUSE names the
 * one in the way, -EINVAL says what is wrong with it. EXCEPT: a network that is being replaced, or
 * NULL. */
must_use int net_subnet_free(const struct state *s, uint32_t subnet, uint32_t prefix_len,
                             const struct network *except, struct err *why);

/* Are COUNT subnets of the pool free? */
bool net_pool_room(const struct state *s, size_t count);

/* A new network of A as DEF says; the caller has checked it. -ENOSPC: the pool is used up. */
must_use int net_create(struct state *s, struct app *a, const Orlop__Network *def,
                        struct network **ret, struct err *why);
/* It is in no spec any more: deleted at once or with its last user. */
must_use int net_retire(struct state *s, struct network *n);
/* Make SVC's VIPs match its spec and its living tasks. */
must_use int net_settle_vips(struct state *s, struct service *svc);
/* Give up all VIPs but those for which KEEP (NULL: none) says true. */
must_use int net_drop_vips(struct state *s, struct service *svc,
                           bool (*keep)(const struct state *s, const struct service *svc,
                                        uint32_t network));

/* The addresses that SVC's spec asks for by ipv4_address are for it alone. */
must_use int net_reserve(struct state *s, struct service *svc);
void net_unreserve(struct state *s, const struct service *svc);

/* Of a snapshot. -EINVAL: two of one name. */
must_use int net_restore(struct state *s, struct app *a, const Orlop__SnapshotNetwork *m);
must_use int net_restore_rest(struct state *s, const Orlop__SnapshotRest *m);

must_use int net_release_task(struct state *s, struct task *t);
must_use int net_hold(struct state *s, struct network *n, uint32_t address);
must_use int net_hold_global(struct state *s, uint32_t address); /* VIPs; subnets by snapshot */

/* Is ADDRESS of N free for a task of SVC now? 0, or a negative errno and the reason. */
must_use int net_address_free(const struct state *s, const struct network *n, uint32_t address,
                              const struct service *svc, struct err *why);
/* The next free one from CURSOR on, at rest long enough and seen as free by every node (ACKED_IDX).
 * 0 = none. */
uint32_t net_pick(const struct state *s, const struct network *n, uint32_t cursor,
                  const struct service *svc, uint64_t acked_idx);

/* Forget what has rested for long. */
void net_expire(struct state *s);

#endif
