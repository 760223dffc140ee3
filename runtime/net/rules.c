// SPDX-License-Identifier: Apache-2.0
#include "rules.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/str.h"

#define TABLE "orlop"
#define HOLD "orlop_hold"
enum { MARK = 0x4e000000 };

/* Sets that both tables have, because both filter. */
static const char shared_sets[] = "  set ours { type devgroup; }\n"
                                  "  set internal { type devgroup; }\n"
                                  "  set gateway { type devgroup . ipv4_addr; }\n"
                                  "  set samenet { type ipv4_addr . ipv4_addr; flags interval; }\n"
                                  "  set crossok { type ipv4_addr . devgroup; }\n"
                                  "  set uplink { type ifname; }\n"
                                  "  set uplink_self { type ifname . ifname; }\n";

static const char maps[] =
    "  map self { type ipv4_addr . ipv4_addr : ipv4_addr; }\n"
    "  map cross { type ipv4_addr . devgroup : ipv4_addr; }\n"
    "  map svc { type ipv4_addr : verdict; }\n"
    "  set served { type ipv4_addr; }\n"
    "  map ep { type ipv4_addr . mark : ipv4_addr; }\n"
    "  map pub { type inet_proto . inet_service : verdict; }\n"
    "  map pub_ep { type inet_proto . inet_service . mark : ipv4_addr . inet_service; }\n"
    "  map pubh { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
    "  map pubh_ep { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . "
    "inet_service; }\n";

/* What each kind of forward uses. */
static const struct kind {
    char chain;           /* chain of K slots: this letter and K */
    const char *verdicts; /* key -> chain */
    const char *slots;    /* key . mark -> target */
    const char *dnat;
} kinds[NET__KIND__COUNT] = {
    [NET__VIP] = {'n', "svc", "ep", "dnat ip to ip daddr . meta mark map @ep"},
    [NET__PUB_ANY] = {'p', "pub", "pub_ep",
                      "dnat ip to meta l4proto . th dport . meta mark map @pub_ep"},
    [NET__PUB_ONE] = {'h', "pubh", "pubh_ep",
                      "dnat ip to ip daddr . meta l4proto . th dport . meta mark map @pubh_ep"},
};

struct pool {
    char tasks[STR_IPV4_MAX + 4], vips[STR_IPV4_MAX + 4];
};

static void pool_init(struct pool *p, const struct net_config *cfg) {
    char ip[STR_IPV4_MAX];
    snprintf(p->tasks, sizeof p->tasks, "%s/%u", str_from_ipv4(cfg->task_pool, ip),
             cfg->task_pool_prefix & 63);
    snprintf(p->vips, sizeof p->vips, "%s/%u", str_from_ipv4(cfg->vip_pool, ip),
             cfg->vip_pool_prefix & 63);
}

/* --- elements: consecutive ones of one set are put into one command --- */

struct writer {
    struct buf *out;
    const char *verb, *table, *set; /* of the command that is open; NULL = none */
};

static void writer_end(struct writer *w) {
    if (w->set) buf_puts(w->out, " }\n");
    w->set = NULL;
}

printf_like(5, 6) static void element(struct writer *w, const char *verb, const char *table,
                                      const char *set, const char *fmt, ...) {
    if (w->set && str_eq(w->set, set) && w->verb == verb && w->table == table) {
        buf_puts(w->out, ", ");
    } else {
        writer_end(w);
        buf_printf(w->out, "%s element inet %s %s { ", verb, table, set);
        w->verb = verb;
        w->table = table;
        w->set = set;
    }
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_puts(w->out, text);
}

/* Compared by address. */
static const char add[] = "add";
static const char del[] = "delete";
static const char in_table[] = TABLE;
static const char in_hold[] = HOLD;

/* --- forwards --- */

enum { KEY_MAX = 64 };

static const char *key_text(const struct net__key *k, char buf[static KEY_MAX]) {
    char ip[STR_IPV4_MAX];
    const char *protocol = k->protocol == IPPROTO_UDP ? "udp" : "tcp";
    if (k->kind == NET__VIP) {
        snprintf(buf, KEY_MAX, "%s", str_from_ipv4(k->address, ip));
    } else if (k->kind == NET__PUB_ANY) {
        snprintf(buf, KEY_MAX, "%s . %u", protocol, k->port);
    } else {
        snprintf(buf, KEY_MAX, "%s . %s . %u", str_from_ipv4(k->address, ip), protocol, k->port);
    }
    return buf;
}

static void slot_add(struct writer *w, const struct net__forward *f, uint32_t i) {
    char key[KEY_MAX], ip[STR_IPV4_MAX], port[16] = "";
    if (f->key.kind != NET__VIP)
        snprintf(port, sizeof port, " . %u", (unsigned) (f->slots[i] & 0xffff));
    element(w, add, in_table, kinds[f->key.kind].slots, "%s . 0x%x : %s%s", key_text(&f->key, key),
            MARK + i, str_from_ipv4((uint32_t) (f->slots[i] >> 16), ip), port);
}

static void slot_delete(struct writer *w, const struct net__forward *f, uint32_t i) {
    char key[KEY_MAX];
    element(w, del, in_table, kinds[f->key.kind].slots, "%s . 0x%x", key_text(&f->key, key),
            MARK + i);
}

static void verdict(struct writer *w, const char *verb, const struct net__forward *f) {
    char key[KEY_MAX];
    const struct kind *k = &kinds[f->key.kind];
    key_text(&f->key, key);
    if (verb == del) {
        element(w, verb, in_table, k->verdicts, "%s", key);
    } else {
        element(w, verb, in_table, k->verdicts, "%s : goto %c%u", key, k->chain, f->n_live);
    }
}

/* VIPs that have a verdict at all: see after_dnat. */
static void served(struct writer *w, const char *verb, const struct net__forward *f) {
    char key[KEY_MAX];
    if (f->key.kind == NET__VIP) element(w, verb, in_table, "served", "%s", key_text(&f->key, key));
}

/* The shared chain that chooses one of N slots. Once made it stays until the table is made anew. */
static void chain(struct buf *out, struct net__state *s, uint32_t kind, uint32_t n) {
    if (n == 0 || s->chains[kind][n]) return;
    const struct kind *k = &kinds[kind];
    s->chains[kind][n] = 1;
    buf_printf(out, "add chain inet " TABLE " %c%u\n", k->chain, n);
    if (n == 1) {
        buf_printf(out, "add rule inet " TABLE " %c1 meta mark set 0x%x\n", k->chain, MARK);
    } else {
        buf_printf(out,
                   "add rule inet " TABLE " %c%u meta mark set numgen random mod %u offset 0x%x\n",
                   k->chain, n, n, MARK);
    }
    buf_printf(out, "add rule inet " TABLE " %c%u %s\n", k->chain, n, k->dnat);
}

/* --- sets that follow the networks, tasks and uplinks --- */

static void network_element(struct writer *w, const char *verb, const void *item) {
    const struct net__network *n = item;
    const char *tables[] = {in_table, in_hold};
    char ip[STR_IPV4_MAX], gateway[STR_IPV4_MAX];
    str_from_ipv4(n->subnet, ip);
    str_from_ipv4(n->gateway, gateway);
    for (int i = 0; i < 2; i++) {
        element(w, verb, tables[i], "ours", "%u", n->id);
        element(w, verb, tables[i], "gateway", "%u . %s", n->id, gateway);
        element(w, verb, tables[i], "samenet", "%s/%u . %s/%u", ip, n->prefix_len, ip,
                n->prefix_len);
        if (n->internal) element(w, verb, tables[i], "internal", "%u", n->id);
    }
}

static void self_element(struct writer *w, const char *verb, const void *item) {
    const struct net__self *s = item;
    char a[STR_IPV4_MAX], b[STR_IPV4_MAX], g[STR_IPV4_MAX];
    str_from_ipv4(s->source, a);
    str_from_ipv4(s->destination, b);
    if (verb == del) {
        element(w, verb, in_table, "self", "%s . %s", a, b);
    } else {
        element(w, verb, in_table, "self", "%s . %s : %s", a, b, str_from_ipv4(s->gateway, g));
    }
}

static void cross_element(struct writer *w, const char *verb, const void *item) {
    const struct net__cross *c = item;
    char a[STR_IPV4_MAX], b[STR_IPV4_MAX];
    str_from_ipv4(c->source, a);
    element(w, verb, in_table, "crossok", "%s . %u", a, c->group);
    element(w, verb, in_hold, "crossok", "%s . %u", a, c->group);
    if (verb == del) {
        element(w, verb, in_table, "cross", "%s . %u", a, c->group);
    } else {
        element(w, verb, in_table, "cross", "%s . %u : %s", a, c->group,
                str_from_ipv4(c->address, b));
    }
}

static void uplink_element(struct writer *w, const char *verb, const void *item) {
    const struct net__uplink *u = item;
    const char *tables[] = {in_table, in_hold};
    for (int i = 0; i < 2; i++) {
        element(w, verb, tables[i], "uplink", "\"%s\"", u->name);
        element(w, verb, tables[i], "uplink_self", "\"%s\" . \"%s\"", u->name, u->name);
    }
}

typedef void (*element_cb)(struct writer *w, const char *verb, const void *item);

static bool has(const void *array, size_t n, size_t size, const void *item) {
    size_t low = 0, high = n;
    while (low < high) { /* by all words, as net__state sorts; memcmp would follow the byte order */
        size_t mid = (low + high) / 2;
        const uint32_t *x = (const uint32_t *) (const void *) ((const char *) array + mid * size);
        const uint32_t *y = item;
        int order = 0;
        for (size_t i = 0; order == 0 && i < size / 4; i++) order = x[i] < y[i] ? -1 : x[i] > y[i];
        if (order == 0) return true;
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return false;
}

/* VERB for each item of A that B lacks. */
static void each_missing(struct writer *w, const char *verb, element_cb cb, size_t size,
                         const void *a, size_t n_a, const void *b, size_t n_b) {
    for (size_t i = 0; i < n_a; i++) {
        const char *item = (const char *) a + i * size;
        if (!has(b, n_b, size, item)) cb(w, verb, item);
    }
    writer_end(w);
}

/* VERB for everything beside the forwards that A has and B has not. */
static void sets(struct writer *w, const char *verb, const struct net__state *a,
                 const struct net__state *b) {
    each_missing(w, verb, network_element, sizeof *a->networks, a->networks, a->n_networks,
                 b->networks, b->n_networks);
    each_missing(w, verb, self_element, sizeof *a->selfs, a->selfs, a->n_selfs, b->selfs,
                 b->n_selfs);
    each_missing(w, verb, cross_element, sizeof *a->crosses, a->crosses, a->n_crosses, b->crosses,
                 b->n_crosses);
    each_missing(w, verb, uplink_element, sizeof *a->uplinks, a->uplinks, a->n_uplinks, b->uplinks,
                 b->n_uplinks);
}

/* --- the fixed part --- */

/* Dropping what may never pass. IPv6 of tasks does not exist yet: nothing of it passes either. */
static void guard(struct buf *out, const char *priority) {
    buf_printf(out,
               "  chain guard { type filter hook prerouting priority %s; policy accept;\n"
               "    iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n"
               "    iifgroup @ours meta nfproto ipv6 drop\n"
               "    iifgroup @ours fib saddr . iif oif missing drop\n"
               "    iifgroup @ours ip daddr 169.254.0.0/16 drop\n"
               "  }\n",
               priority);
}

/* Who may pass through the host. What conntrack cannot place would pass with the address of a task
 * where the other side knows a VIP, and be answered by a reset that ends the connection. */
static void through(struct buf *out, const struct pool *p, const char *priority,
                    const char *refuse) {
    buf_printf(out,
               "  chain through { type filter hook forward priority %s; policy accept;\n"
               "    iifgroup != @ours oifgroup != @ours iifname . oifname @uplink_self accept\n"
               "    iifgroup != @ours oifgroup != @ours meta nfproto ipv4 iifname @uplink drop\n"
               "    iifgroup != @ours oifgroup != @ours accept\n"
               "    ct state invalid drop\n"
               "    ct state established,related accept\n"
               "    ip saddr . ip daddr @samenet accept\n"
               "    ip saddr . meta oifgroup @crossok accept\n"
               "    iifgroup != @internal ct status dnat ct original ip daddr != %s oifgroup != "
               "@internal accept\n"
               "    iifgroup @ours iifgroup != @internal oifgroup != @ours accept\n"
               "%s"
               "  }\n",
               priority, p->vips, refuse);
}

/* What tasks may ask of the host itself: names of their own network's gateway; and, unless the
 * network is internal, the host's services, but not by another network's gateway address. */
static void to_host(struct buf *out, const struct pool *p, const char *priority,
                    const char *refuse) {
    buf_printf(
        out,
        "  chain refuse_host {\n%s  }\n"
        "  chain to_host { type filter hook input priority %s; policy accept;\n"
        "    iifgroup != @ours accept\n"
        "    ct state established,related accept\n"
        "    meta l4proto { tcp, udp } th dport 53 meta iifgroup . ip daddr @gateway accept\n"
        "    iifgroup @internal goto refuse_host\n"
        "    meta iifgroup . ip daddr @gateway accept\n"
        "    ip daddr %s goto refuse_host\n"
        "  }\n",
        refuse, priority, p->tasks);
}

static const char refusal[] = "    meta l4proto tcp reject with tcp reset\n"
                              "    reject with icmpx admin-prohibited\n";
static const char silent[] = "    drop\n";

static void nat(struct buf *out, const struct pool *p) {
    /* DNS of a gateway comes before a published port 53. Internal networks have no published ports.
     */
    buf_printf(
        out,
        "  chain dnat_in { type nat hook prerouting priority dstnat; policy accept;\n"
        "    ip daddr %s ip daddr vmap @svc\n"
        "    fib daddr type != local accept\n"
        "    iifgroup @internal accept\n"
        "    meta l4proto { tcp, udp } th dport 53 meta iifgroup . ip daddr @gateway accept\n"
        "    ip daddr . meta l4proto . th dport vmap @pubh\n"
        "    meta l4proto . th dport vmap @pub\n"
        "  }\n",
        p->vips);
    buf_puts(out, "  chain dnat_out { type nat hook output priority -100; policy accept;\n"
                  "    ip daddr 127.0.0.0/8 accept\n"
                  "    fib daddr type != local accept\n"
                  "    ip daddr . meta l4proto . th dport vmap @pubh\n"
                  "    meta l4proto . th dport vmap @pub\n"
                  "  }\n");
    buf_printf(out,
               "  chain nat_post { type nat hook postrouting priority srcnat; policy accept;\n"
               "    snat ip to ip saddr . ip daddr map @self\n"
               "    snat ip to ip saddr . meta oifgroup map @cross\n"
               "    ip saddr %s oifgroup != @ours oifname != \"lo\" masquerade\n"
               "  }\n",
               p->tasks);
}

/* A VIP that nothing serves is refused before routing, which has nowhere to send it. The reset is
 * not rate-limited as ICMP is. One that is served, and is seen here nevertheless, was between two
 * lookups when the tables were loaded anew, or has no place in its connection: dropped, because what
 * is sent again will do, and a refusal is for good. The same for a new connection to a task whose link
 * has just gone: the next try finds another task, or the link restored. Then the marks that chose the
 * slots go. */
static void vip_refused(struct buf *out, const struct pool *p) {
    buf_printf(out,
               "  chain after_dnat { type filter hook prerouting priority -99; policy accept;\n"
               "    ct state new ct status dnat ip daddr %s fib daddr oif missing drop\n"
               "    ip daddr @served iifgroup @ours drop\n"
               "    ip daddr %s iifgroup @ours meta l4proto tcp reject with tcp reset\n"
               "    ip daddr %s iifgroup @ours reject\n"
               "    meta mark & 0xff000000 == 0x%x meta mark set 0\n"
               "  }\n"
               "  chain unmark_out { type filter hook postrouting priority mangle; policy accept;\n"
               "    meta mark & 0xff000000 == 0x%x meta mark set 0\n"
               "  }\n",
               p->tasks, p->vips, p->vips, MARK, MARK);
}

void net__rules_hold(struct buf *out, const struct net_config *cfg) {
    struct pool p;
    pool_init(&p, cfg);
    buf_puts(out, "table inet " HOLD " { flags owner; }\n"
                  "delete table inet " HOLD "\n"
                  "table inet " HOLD " { flags owner;\n");
    buf_puts(out, shared_sets);
    guard(out, "raw");
    through(out, &p, "filter + 10", silent);
    to_host(out, &p, "filter + 10", silent);
    /* Comes here only while the other table is missing: what is sent again finds it back. */
    buf_printf(out,
               "  chain after_dnat { type filter hook prerouting priority -98; policy accept;\n"
               "    ip daddr %s iifgroup @ours drop\n"
               "  }\n",
               p.vips);
    buf_puts(out,
             "  chain nat_pre { type nat hook prerouting priority dstnat; policy accept;\n  }\n"
             "  chain nat_in { type nat hook input priority 100; policy accept;\n  }\n"
             "  chain nat_out { type nat hook output priority -100; policy accept;\n  }\n"
             "  chain nat_post { type nat hook postrouting priority srcnat; policy accept;\n  }\n"
             "}\n");
}

void net__rules_whole(struct buf *out, const struct net_config *cfg, struct net__state *s) {
    static const struct net__state nothing;
    struct pool p;
    pool_init(&p, cfg);
    net__rules_hold(out, cfg);
    buf_puts(out, "table inet " TABLE "\n"
                  "delete table inet " TABLE "\n"
                  "table inet " TABLE " {\n");
    buf_puts(out, shared_sets);
    buf_puts(out, maps);
    guard(out, "raw");
    nat(out, &p);
    vip_refused(out, &p);
    through(out, &p, "filter", refusal);
    to_host(out, &p, "filter", refusal);
    buf_puts(out, "}\n");
    memset(s->chains, 0, sizeof s->chains);
    struct writer w = {.out = out};
    sets(&w, add, s, &nothing);
    for (size_t i = 0; i < s->n_forwards; i++)
        chain(out, s, s->forwards[i].key.kind, s->forwards[i].n_live);
    for (size_t i = 0; i < s->n_forwards; i++)
        for (uint32_t k = 0; k < s->forwards[i].n_live; k++) slot_add(&w, &s->forwards[i], k);
    for (size_t i = 0; i < s->n_forwards; i++)
        if (s->forwards[i].n_live > 0) verdict(&w, add, &s->forwards[i]);
    for (size_t i = 0; i < s->n_forwards; i++)
        if (s->forwards[i].n_live > 0) served(&w, add, &s->forwards[i]);
    writer_end(&w);
}

static uint32_t loaded_slots(const struct net__forward *old) {
    return old ? old->n_loaded : 0;
}

static uint32_t live_slots(const struct net__forward *old) {
    return old ? old->n_live : 0;
}

/* One slot in turn: an element is replaced by delete and add, whatever it was. */
static void slots(struct writer *w, const char *verb, const struct net__forward *old,
                  const struct net__forward *f) {
    for (uint32_t i = 0; i < f->n_live; i++) {
        bool there = i < loaded_slots(old);
        if (there && old->slots[i] == f->slots[i]) continue;
        if (verb == add) slot_add(w, f, i);
        if (verb == del && there) slot_delete(w, f, i);
    }
}

void net__rules_delta(struct buf *out, const struct net__state *loaded, struct net__state *wanted) {
    struct writer w = {.out = out};
    for (size_t i = 0; i < wanted->n_forwards; i++)
        chain(out, wanted, wanted->forwards[i].key.kind, wanted->forwards[i].n_live);
    const char *verbs[] = {del, add};
    for (int v = 0; v < 2; v++) {
        bool adding = verbs[v] == add;
        sets(&w, verbs[v], adding ? wanted : loaded, adding ? loaded : wanted);
        for (size_t i = 0; i < wanted->n_forwards; i++)
            slots(&w, verbs[v], net__state_find(loaded, &wanted->forwards[i].key),
                  &wanted->forwards[i]);
        for (size_t i = 0; i < wanted->n_forwards; i++) {
            const struct net__forward *f = &wanted->forwards[i];
            uint32_t before = live_slots(net__state_find(loaded, &f->key));
            if (before != f->n_live && (adding ? f->n_live : before) > 0) verdict(&w, verbs[v], f);
        }
        for (size_t i = 0; i < wanted->n_forwards; i++) {
            const struct net__forward *f = &wanted->forwards[i];
            uint32_t before = live_slots(net__state_find(loaded, &f->key));
            if (adding ? before == 0 && f->n_live > 0 : before > 0 && f->n_live == 0)
                served(&w, verbs[v], f);
        }
        writer_end(&w);
    }
}

void net__rules_trim(struct buf *out, const struct net__state *s, int64_t now_mono_ms) {
    struct writer w = {.out = out};
    for (size_t i = 0; i < s->n_forwards; i++) {
        const struct net__forward *f = &s->forwards[i];
        if (!net__forward_due(f, now_mono_ms)) continue;
        for (uint32_t k = f->n_live; k < f->n_loaded; k++) slot_delete(&w, f, k);
    }
    writer_end(&w);
}

void net__rules_remove(struct buf *out) {
    buf_puts(out, "table inet " TABLE "\n"
                  "delete table inet " TABLE "\n"
                  "table inet " HOLD " { flags owner; }\n"
                  "delete table inet " HOLD "\n");
}
