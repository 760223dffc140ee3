// SPDX-License-Identifier: Apache-2.0
/* ports and expose, and two services that want the same port of the host. */
#include <string.h>

#include "manifest.h"

static bool any_address(const char *ip) {
    return !*ip || str_eq(ip, "0.0.0.0") || str_eq(ip, "::");
}

/* Ports of one app on the host: no two may meet. */
static void claim(struct cf_manifest *m, const struct cf_node *at, const char *protocol,
                  const char *ip, uint32_t port) {
    struct compose_project *c = m->c;
    const char *key = cf_printf(c, "%s/%u", protocol, port);
    struct cf_node *holders = cf_get(m->published, key);
    if (!holders) {
        holders = cf_new(c, CF_SEQ, at);
        cf_put(c, m->published, key, holders);
    }
    for (uint32_t i = 0; i < holders->n; i++) {
        const char *other = holders->items[i]->s;
        if (!str_eq(other, ip) && !any_address(ip) && !any_address(other)) continue;
        cf_issue(c, at, "port-conflict", "port %u/%s of the host is published twice (line %u)",
                 port, protocol, holders->items[i]->line);
        return;
    }
    cf_push(c, holders, cf_new_str(c, ip, at));
}

/* Of the words the schema says which are done; in permissive mode a port with others is left out.
 */
static bool is_done(struct compose_project *c, const struct cf_node *n, uint32_t replicas) {
    const char *protocol = cf_get_str(n, "protocol"), *mode = cf_get_str(n, "mode");
    const char *published = cf_get_str(n, "published");
    bool known = str_eq(protocol, "udp") || str_eq(protocol, "tcp");
    bool single = str_eq(mode, "host") && replicas < 2;
    bool range = published && strchr(published, '-'), ingress = str_eq(mode, "ingress");
    if (range)
        cf_refuse(c, n,
                  "a range of host ports (%.40s) for one port is not supported: name one, or none",
                  published);
    if (!ingress && !single)
        cf_refuse(c, cf_get(n, "mode"), "`mode: %.20s` is not supported for %u replicas", mode,
                  replicas);
    return known && (ingress || single) && !range;
}

static void add_port(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *protocol = cf_get_str(n, "protocol"), *published = cf_get_str(n, "published");
    if (!is_done(m->c, n, s->replicas)) return;
    Orlop__Port *p = cf_m_alloc(m, sizeof *p);
    orlop__port__init(p);
    p->protocol = str_eq(protocol, "udp") ? ORLOP__PORT__PROTOCOL__UDP : ORLOP__PORT__PROTOCOL__TCP;
    p->target = (uint32_t) cf_get(n, "target")->u;
    p->host_ip = cf_m_text(m, cf_get_str(n, "host_ip"));
    if (!str_empty(published) && str_to_u32(published, 65535, &p->published) < 0)
        cf_issue(m->c, n, "port", "invalid published port: %.60s", published);
    if (p->published) claim(m, n, protocol, p->host_ip, p->published);
    CF_M_ADD(m, s->ports, s->n_ports, p);
}

/* "80", "80/udp", "3000-3005": the short syntax of ports without the host's part. */
static void add_expose(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    struct cf_node *list = cf_new(m->c, CF_SEQ, n);
    const char *wrong = strchr(n->s, ':') ? "a port of the task alone is wanted"
                                          : cf_parse_port(m->c, n->s, n, list);
    if (wrong) cf_issue(m->c, n, "port", "invalid exposed port \"%.60s\": %s", n->s, wrong);
    for (uint32_t i = 0; !wrong && i < list->n; i++) {
        const char *protocol = cf_get_str(list->items[i], "protocol");
        if (str_eq(protocol, "sctp")) {
            cf_refuse(m->c, n, "protocol sctp is not supported: tcp and udp are");
            return;
        }
        Orlop__Expose *e = cf_m_alloc(m, sizeof *e);
        orlop__expose__init(e);
        e->port = (uint32_t) cf_get(list->items[i], "target")->u;
        e->protocol =
            str_eq(protocol, "udp") ? ORLOP__PORT__PROTOCOL__UDP : ORLOP__PORT__PROTOCOL__TCP;
        CF_M_ADD(m, s->expose, s->n_expose, e);
    }
}

void cf_m_ports(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service) {
    const struct {
        const char *key;
        void (*add)(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n);
    } lists[] = {{"ports", add_port}, {"expose", add_expose}};
    for (size_t k = 0; k < array_len(lists); k++) {
        const struct cf_node *list = cf_get(service, lists[k].key);
        for (uint32_t i = 0; list && i < list->n; i++) {
            lists[k].add(m, s, list->items[i]);
        }
    }
}
