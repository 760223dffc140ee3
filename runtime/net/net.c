// SPDX-License-Identifier: Apache-2.0
/* A change   view -> state (checked) -> devices of new networks -> slots settled against what is
 *            loaded -> one transaction with the difference; stale slots a second later by
 *            net_dispatch.
 * A repair   watch says who changed what -> whole tables / devices again, at most every REPAIR_MS.
 *            Whole tables are also what the first apply and any refused difference end in.
 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conntrack.h"
#include "devices.h"
#include "nft.h"
#include "rules.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "state.h"
#include "watch.h"

enum {
    REPAIR_MS = 100, /* somebody who fights with us gets no more of our time than this */
    RETRY_MS = 2000, /* a repair that failed */
    REPORT_MAX = 4096,
};

struct net {
    struct net_config cfg;
    char *record;
    struct nft_ctx *nft;
    struct devices devices;
    struct watch watch;
    struct conntrack conntrack;
    struct net__state *loaded; /* what the kernel holds, if nobody touched it */
    bool whole;                /* the tables are not known to be ours: load all of it */
    bool applied;              /* before the first view, what an earlier agent left is right */
    struct watch_events dirty; /* to repair */
    int64_t repair_after_mono_ms;
    struct buf text;
};

static void report(struct net *n, const char *text) {
    log_debug("net.repair", "what=\"%s\"", text);
    if (n->cfg.on_repair) n->cfg.on_repair(n->cfg.arg, text);
}

/* Run what is in n->text. */
static int commit(struct net *n, struct err *err) {
    int r = buf_error(&n->text);
    if (r < 0) return err_set(err, r, "write nftables commands");
    if (n->text.len == 0) return 0;
    r = nft_run(n->nft, buf_str(&n->text), err);
    if (r == 0) watch_own_commit(&n->watch);
    /* Read at once what our own commit said, lest it fill the socket. */
    watch_drain(&n->watch, &n->dirty);
    return r;
}

static int check_config(const struct net_config *cfg, struct err *err) {
    const uint32_t pools[2][2] = {{cfg->task_pool, cfg->task_pool_prefix},
                                  {cfg->vip_pool, cfg->vip_pool_prefix}};
    for (int i = 0; i < 2; i++) {
        uint32_t prefix = pools[i][1];
        if (prefix < 8 || prefix > 30 || (pools[i][0] & (UINT32_MAX >> prefix)) != 0)
            return err_say(err, -EINVAL, "the %s pool is no network", i ? "VIP" : "task");
    }
    uint32_t shorter = pools[0][1] < pools[1][1] ? pools[0][1] : pools[1][1];
    if ((pools[0][0] ^ pools[1][0]) >> (32 - shorter) == 0)
        return err_say(err, -EINVAL, "the task pool and the VIP pool overlap");
    return 0;
}

/* Our owned table beside whatever an earlier agent left; the first apply replaces that. */
static int take_hold(struct net *n, struct err *err) {
    buf_reset(&n->text);
    net__rules_hold(&n->text, &n->cfg);
    struct err said = {0};
    int r = commit(n, &said);
    if (r == -EPERM)
        return err_say(err, -EBUSY,
                       "another Orlop runs in this network namespace: it owns the nftables table "
                       "orlop_hold");
    if (r < 0) {
        if (err) *err = said;
        return err_wrap(err, r, "load the network rules");
    }
    return 0;
}

int net_open(const struct net_config *cfg, struct net **ret, struct err *err) {
    int r = check_config(cfg, err);
    if (r < 0) return r;
    struct net *n = mem_zalloc(sizeof *n);
    if (!n) return err_set(err, -ENOMEM, "network");
    n->cfg = *cfg;
    n->whole = true;
    buf_init(&n->text, NET__RULES_MAX);
    n->loaded = net__state_new();
    if (cfg->record) n->record = mem_strdup(cfg->record);
    n->cfg.record = n->record;
    if (!n->loaded || (cfg->record && !n->record)) r = err_set(err, -ENOMEM, "network");
    if (r == 0) nft_load_modules();
    if (r == 0) r = watch_open(&n->watch, err);
    if (r == 0) r = devices_open(&n->devices, &n->cfg, err);
    if (r == 0) r = conntrack_open(&n->conntrack, err);
    if (r == 0) r = nft_open(&n->nft, err);
    if (r == 0) r = take_hold(n, err);
    if (r < 0) {
        net_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

void net_free(struct net *n) {
    if (!n) return;
    nft_close(n->nft);
    conntrack_close(&n->conntrack);
    devices_close(&n->devices);
    watch_close(&n->watch);
    net__state_free(n->loaded);
    buf_fini(&n->text);
    mem_free(n->record);
    mem_free(n);
}

/* --- apply --- */

static int load_whole(struct net *n, struct net__state *s, struct err *err) {
    n->whole = true;
    buf_reset(&n->text);
    net__rules_whole(&n->text, &n->cfg, s);
    int r = commit(n, err);
    if (r < 0) return err_wrap(err, r, "load the network rules");
    net__state_trimmed(s, INT64_MAX);
    n->whole = false;
    return 0;
}

static int load(struct net *n, struct net__state *wanted, struct err *err) {
    if (n->whole) return load_whole(n, wanted, err);
    buf_reset(&n->text);
    net__rules_delta(&n->text, n->loaded, wanted);
    struct err said = {0};
    int r = commit(n, &said);
    if (r == 0) return 0;
    /* Somebody changed the tables and we have not heard of it yet, or a bug of ours: say which. */
    r = load_whole(n, wanted, err);
    if (r == 0) report(n, said.text);
    return r;
}

static bool same_networks(const struct net__state *a, const struct net__state *b) {
    return a->n_networks == b->n_networks &&
           (a->n_networks == 0 ||
            memcmp(a->networks, b->networks, a->n_networks * sizeof *a->networks) == 0);
}

static int ensure_devices(struct net *n, const struct net__state *want, struct buf *log,
                          struct err *err) {
    char before[sizeof n->devices.conflict];
    memcpy(before, n->devices.conflict, sizeof before);
    n->dirty.devices = false;
    int r = devices_ensure(&n->devices, &n->cfg, want, log, err);
    if (r < 0) n->dirty.devices = true;
    if (n->devices.conflict[0] && !str_eq(before, n->devices.conflict))
        report(n, n->devices.conflict);
    return r;
}

static void copy_uplinks(struct net *n, struct net__state *s) {
    memcpy(s->uplinks, n->devices.uplinks, sizeof s->uplinks);
    s->n_uplinks = n->devices.n_uplinks;
}

static int replace(struct net *n, struct net__state *wanted, struct err *err) {
    copy_uplinks(n, wanted);
    int r = net__state_settle(wanted, n->loaded, clock_mono_ms());
    if (r < 0) return err_set(err, r, "compare the network with what is loaded");
    r = load(n, wanted, err);
    if (r < 0) return r;
    net__state_free(n->loaded);
    n->loaded = wanted;
    n->applied = true;
    return 0;
}

int net_apply(struct net *n, const struct net_view *want, struct err *err) {
    struct net__state *wanted = NULL;
    int r = net__state_from_view(&n->cfg, want, &wanted, err);
    if (r < 0) return r;
    if (n->whole || n->dirty.devices || !same_networks(n->loaded, wanted)) {
        struct buf log;
        buf_init(&log, REPORT_MAX);
        r = ensure_devices(n, wanted, &log, err);
        buf_fini(&log);
    }
    if (r == 0) r = replace(n, wanted, err);
    if (r < 0 && n->loaded != wanted) net__state_free(wanted);
    return r;
}

int net_apply_change(struct net *n, const struct net_change *c, struct err *err) {
    if (n->whole || !n->applied) return -EAGAIN;
    struct net__part part;
    int r = net__state_part(&n->cfg, n->loaded, c, clock_mono_ms(), &part, err);
    if (r < 0) return r;
    struct err said = {0};
    buf_reset(&n->text);
    net__rules_delta(&n->text, part.old, part.new);
    int refused = commit(n, &said);
    r = net__state_merge(n->loaded, &part);
    net__part_fini(&part);
    if (r < 0) {
        n->whole = true;
        return err_set(err, r, "note what changed in the network");
    }
    if (refused == 0) return 0;
    r = load_whole(n, n->loaded, err);
    if (r == 0) report(n, said.text);
    return r;
}

/* --- step two, repairs --- */

static void trim(struct net *n) {
    int64_t now = clock_mono_ms(), due = net__state_trim_due(n->loaded);
    if (n->whole || due < 0 || due > now) return;
    struct err err = {0};
    buf_reset(&n->text);
    net__rules_trim(&n->text, n->loaded, now);
    int r = commit(n, &err);
    net__state_trimmed(n->loaded, now);
    if (r < 0) { /* not what we thought is in there */
        n->whole = true;
        n->dirty.tables = true;
    }
}

static int repair_devices(struct net *n, struct err *err) {
    struct buf log;
    buf_init(&log, REPORT_MAX);
    size_t before = n->devices.n_uplinks;
    int r = ensure_devices(n, n->loaded, &log, err);
    if (r == 0 && log.len > 0) {
        char text[ERR_TEXT_MAX];
        snprintf(text, sizeof text, "somebody else changed the network; restored: %s",
                 buf_str(&log));
        report(n, text);
    }
    buf_fini(&log);
    /* The set of uplinks is part of the tables. */
    if (r == 0 && (before != n->devices.n_uplinks || memcmp(n->loaded->uplinks, n->devices.uplinks,
                                                            sizeof n->loaded->uplinks) != 0)) {
        copy_uplinks(n, n->loaded);
        r = load_whole(n, n->loaded, err);
    }
    return r;
}

static int repair_tables(struct net *n, struct err *err) {
    char who[sizeof n->dirty.who];
    memcpy(who, n->dirty.who, sizeof who);
    n->dirty.tables = false;
    n->dirty.who[0] = 0;
    int r = load_whole(n, n->loaded, err);
    if (r < 0) {
        n->dirty.tables = true;
        return r;
    }
    char text[ERR_TEXT_MAX];
    snprintf(text, sizeof text, "the nftables table orlop was changed by %s; it is restored",
             who[0] ? who : "somebody else");
    report(n, text);
    return 0;
}

static bool wants_repair(const struct net *n) {
    return n->applied && (n->dirty.tables || n->dirty.devices);
}

static void repair(struct net *n) {
    int64_t now = clock_mono_ms();
    if (!wants_repair(n) || now < n->repair_after_mono_ms) return;
    struct err err = {0};
    int r = n->dirty.tables ? repair_tables(n, &err) : 0;
    if (r == 0 && n->dirty.devices) r = repair_devices(n, &err);
    n->repair_after_mono_ms = clock_mono_ms() + (r < 0 ? RETRY_MS : REPAIR_MS);
    if (r < 0) {
        err_wrap(&err, r, "the network could not be restored, trying again");
        report(n, err.text);
    }
}

int net_fds(const struct net *n, int fds[static NET_FDS_MAX]) {
    fds[0] = mnl_socket_get_fd(n->watch.nft);
    fds[1] = mnl_socket_get_fd(n->watch.rt);
    return 2;
}

void net_dispatch(struct net *n) {
    watch_drain(&n->watch, &n->dirty);
    repair(n);
    trim(n);
    if (n->dirty.links && n->cfg.on_links) n->cfg.on_links(n->cfg.arg);
    n->dirty.links = false;
}

int net_timeout_ms(const struct net *n, int64_t now_mono_ms) {
    int64_t due = net__state_trim_due(n->loaded);
    if (wants_repair(n) && (due < 0 || n->repair_after_mono_ms < due))
        due = n->repair_after_mono_ms;
    if (n->dirty.links) return 0;
    if (due < 0) return -1;
    return due <= now_mono_ms ? 0 : (int) (due - now_mono_ms);
}

/* --- links, connections, the end --- */

void net_link_name(const char *sandbox, uint32_t network, char ret[static NET_IFNAME_MAX]) {
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint64_t hash = str_hash(sandbox, strlen(sandbox));
    uint64_t both[2] = {hash, network};
    hash = str_hash(both, sizeof both);
    memcpy(ret, "olv", 3);
    for (int i = 3; i < NET_IFNAME_MAX - 1; i++, hash >>= 5) ret[i] = digits[hash & 31];
    ret[NET_IFNAME_MAX - 1] = 0;
}

bool net_link_exists(const char *name) {
    return if_nametoindex(name) != 0;
}

int net_connections(struct net *n, struct net_connections *v, size_t n_v, struct err *err) {
    return conntrack_look(&n->conntrack, v, n_v, err);
}

int net_teardown(struct net *n, struct err *err) {
    buf_reset(&n->text);
    net__rules_remove(&n->text);
    int r = commit(n, err);
    if (r < 0) return err_wrap(err, r, "remove the network rules");
    net__state_free(n->loaded);
    n->loaded = net__state_new();
    if (!n->loaded) return err_set(err, -ENOMEM, "network");
    r = devices_remove(&n->devices, &n->cfg, err);
    if (r == 0)
        r = conntrack_forget_pool(&n->conntrack, n->cfg.task_pool, n->cfg.task_pool_prefix, err);
    if (r > 0) r = 0;
    watch_drain(&n->watch, &n->dirty); /* our own doing */
    n->dirty = (struct watch_events){0};
    n->whole = true;
    n->applied = false;
    return r;
}
