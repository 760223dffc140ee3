// SPDX-License-Identifier: Apache-2.0
/* runtime/net/net.h - the node's network: devices, routes, nft tables, conntrack, from one wanted
 * view.
 *
 * Role     net_apply() makes the kernel equal to a NetView: gateway devices per network, the two
 *          nft tables (`orlop`, and `orlop_hold` with flags owner), VIPs, published ports, in
 *          deltas and in two steps (new slots and verdicts now, stale slots a second later).
 *          Watches nfnetlink and rtnetlink and repairs what others removed. All of it removed by
 *          net_teardown().
 * Thread   [loop]. One nft context, one owner.
 * Owns     link groups 0x4f52xxxx, marks 0x4e/0x4f in the top byte, tables orlop and orlop_hold,
 *          gateway devices "olg<n>", sandbox veths "olv…", unreachable routes of the two pools.
 * See      README.md
 */
#ifndef ORLOP_NET_H
#define ORLOP_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.pb-c.h"
#include "runtime/base/err.h"

struct net;

struct net_config {
    uint32_t task_pool, task_pool_prefix; /* host byte order */
    uint32_t vip_pool, vip_pool_prefix;
    const char
        *record; /* file that names the uplinks which forward because of us (RUN/net-uplinks), so
                  * that a later agent can put them back; NULL = forgotten at the end. Copied. */
    /* Called from net_dispatch with a sentence about what somebody else removed and was put back,
     * or could not be. NULL = nobody listens. */
    void (*on_repair)(void *arg, const char *text);
    /* Called from net_dispatch: links of tasks have gone, with their tasks or by somebody's hand:
     * net_link_exists tells which. NULL = nobody listens. */
    void (*on_links)(void *arg);
    void *arg;
};

/* One address of a task of this node. A task of several networks has several. */
struct net_local {
    const char *task;
    uint32_t address, network, gateway;
};

/* What the kernel should hold: borrowed pointers, valid during the call. */
struct net_view {
    Orlop__ViewNetwork *const *networks;
    size_t n_networks;
    Orlop__ViewService *const *services; /* endpoints with serving=false get no traffic */
    size_t n_services;
    const struct net_local *local;
    size_t n_local;
};

/* What is different since the view that was applied last. */
struct net_change {
    Orlop__ViewService *const *services; /* new ones, and others as they are now */
    size_t n_services;
    const uint64_t *services_gone; /* ids; one that never was is no mistake */
    size_t n_services_gone;
    const uint32_t *addresses; /* every address of each local task that came or went */
    size_t n_addresses;
    const struct net_local *local; /* those of them that are there now */
    size_t n_local;
};

/* Load the tables (or take over what an earlier agent left), check that nobody else's Orlop uses
 * this network namespace (-EBUSY), set the sysctls of our own devices only. */
must_use int net_open(const struct net_config *cfg, struct net **ret, struct err *err);
void net_free(struct net *n); /* leaves the kernel as it is: tasks go on */

must_use int net_apply(struct net *n, const struct net_view *want, struct err *err);
/* The same at the price of what changed, not of what there is. -EAGAIN: it takes the whole view,
 * nothing was done (there was none yet, or two services want the same address or port). Networks may
 * not have changed. */
must_use int net_apply_change(struct net *n, const struct net_change *c, struct err *err);

/* Descriptors to poll for reading and what to do then (repairs; step two of a change). */
enum { NET_FDS_MAX = 4 };
int net_fds(const struct net *n, int fds[static NET_FDS_MAX]); /* how many */
void net_dispatch(struct net *n);
/* Milliseconds until net_dispatch is wanted anyway; -1 = never. */
int net_timeout_ms(const struct net *n, int64_t now_mono_ms);

/* Name of the host side of a task's link: "olv" + 12 characters made of sandbox and network. */
enum { NET_IFNAME_MAX = 16 };
void net_link_name(const char *sandbox, uint32_t network, char ret[static NET_IFNAME_MAX]);

/* Does the link still exist? A veth goes with its namespace; its name and address are free only
 * then. */
bool net_link_exists(const char *name);

/* The kernel's connections that task addresses answer. A look costs a walk over the kernel's whole
 * table, 9 ms with 262,144 buckets, however few are found: ask for many at once. V comes back sorted
 * by address; an address may be there once. */
enum net_forget {
    NET_FORGET_NOTHING,
    NET_FORGET_DATAGRAMS, /* all but TCP: it leaves, and they would stick to it */
    NET_FORGET_ALL,       /* dead, or released */
};
struct net_connections {
    uint32_t address;
    enum net_forget forget;
    int open; /* out: TCP connections that it may still have to answer, for the drain */
};
must_use int net_connections(struct net *n, struct net_connections *v, size_t n_v, struct err *err);

/* Remove everything of ours from this network namespace. */
must_use int net_teardown(struct net *n, struct err *err);

#endif
