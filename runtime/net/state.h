// SPDX-License-Identifier: Apache-2.0
/* runtime/net/state.h - what the nft tables hold, as sorted arrays: checked once when made from a
 * view, then compared with what was loaded.
 *
 * Role     pure: no kernel, no clock. A *forward* is what traffic is spread over by number of
 *          replica: a VIP or a published port. Its *slots* are map elements 0..n: the live ones are
 *          chosen from, stale ones are still in the kernel for packets that are between two
 *          lookups.
 * Thread   [any], one owner.
 * Limits   NET__SLOTS_MAX endpoints of a forward; NET__NETWORKS_MAX, NET__SERVICES_MAX,
 *          NET__LOCAL_MAX.
 */
#ifndef ORLOP_NET_STATE_H
#define ORLOP_NET_STATE_H

#include <net/if.h>
#include <stdbool.h>

#include "net.h"

enum {
    NET__SLOTS_MAX = 1024,
    NET__NETWORKS_MAX = 4096,
    NET__SERVICES_MAX = 65536,
    NET__LOCAL_MAX = 16384,
    NET__UPLINKS_MAX = 64,
    NET__GROUP_BASE = 0x4f520000,
};

enum net__kind { NET__VIP, NET__PUB_ANY, NET__PUB_ONE, NET__KIND__COUNT };

struct net__key {
    uint32_t kind;
    uint32_t address;  /* VIP, or the host address that a port is published on; else 0 */
    uint32_t protocol; /* IPPROTO_*; 0 for a VIP */
    uint32_t port;
};

/* Where a slot leads: address << 16 | port (0 = the port asked for). */
typedef uint64_t net__target;

struct net__forward {
    struct net__key key;
    uint64_t service; /* whose it is: its id in the view */
    net__target *slots;
    uint32_t n_live, n_loaded; /* slots[n_live..n_loaded) are stale */
    int64_t stale_since_mono_ms;
};

/* These four are compared as bytes: no padding. */
struct net__network {
    uint32_t id, subnet, prefix_len, gateway, internal;
};
struct net__self { /* traffic of a task to itself by a VIP seems to come from the gateway */
    uint32_t source, destination, gateway;
};
struct net__cross { /* a task of several networks: its address in the network that a packet goes to
                     */
    uint32_t source, group, address;
};
struct net__uplink { /* the host was no router: forwards for us only */
    char name[IF_NAMESIZE];
};

struct net__state {
    struct net__forward *forwards; /* by key */
    size_t n_forwards;
    bool doubled;                  /* two services wanted one key: one of them has it */
    struct net__network *networks; /* by id */
    size_t n_networks;
    struct net__self *selfs;
    size_t n_selfs;
    struct net__cross *crosses;
    size_t n_crosses;
    struct net__uplink uplinks[NET__UPLINKS_MAX];
    size_t n_uplinks;
    uint8_t chains[NET__KIND__COUNT]
                  [NET__SLOTS_MAX + 1]; /* chains that exist, by number of slots */
};

struct net__state *net__state_new(void);
void net__state_free(struct net__state *s);

/* Check VIEW and make it a state with nothing stale. -EINVAL with a sentence that names the
 * culprit. */
must_use int net__state_from_view(const struct net_config *cfg, const struct net_view *view,
                                  struct net__state **ret, struct err *err);

/* Arrange WANTED's slots so that as few as possible of LOADED's change; keep what LOADED has beyond
 * them as stale since NOW. Chains that exist are carried over. */
must_use int net__state_settle(struct net__state *wanted, const struct net__state *loaded,
                               int64_t now_mono_ms);

/* What CHANGE is about, as two small states without networks and uplinks: as LOADED has it and as it
 * is to be, settled. -EAGAIN: the whole view is needed. After the kernel has taken the difference
 * net__state_merge puts NEW in the place of OLD and leaves both empty; it fails with -ENOMEM only,
 * and LOADED is then as before. */
struct net__part {
    struct net__state *old, *new;
};
must_use int net__state_part(const struct net_config *cfg, const struct net__state *loaded,
                             const struct net_change *change, int64_t now_mono_ms,
                             struct net__part *ret, struct err *err);
must_use int net__state_merge(struct net__state *loaded, struct net__part *part);
void net__part_fini(struct net__part *part);

const struct net__forward *net__state_find(const struct net__state *s, const struct net__key *key);

/* The earliest moment when stale slots may go; -1 = there are none. */
enum { NET__STALE_MS = 1000 };
int64_t net__state_trim_due(const struct net__state *s);
bool net__forward_due(const struct net__forward *f, int64_t now_mono_ms);
/* They are out of the kernel: forget those that were due at NOW; INT64_MAX = all of them. */
void net__state_trimmed(struct net__state *s, int64_t now_mono_ms);

#endif
