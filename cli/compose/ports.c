// SPDX-License-Identifier: Apache-2.0
/* Published ports: "[IP:][HOST:]CONTAINER[/proto]" and the long form. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/value.h"
#include "schema.h"

struct range {
    uint32_t first, last;
};

struct spec {
    const char *ip, *host, *container, *protocol; /* "" = not given */
    struct range from, to;                        /* host, container */
};

static bool parse_range(struct compose_project *c, const char *s, struct range *ret) {
    const char *dash = strchr(s, '-');
    const char *first = dash ? cf_strndup(c, s, (size_t) (dash - s)) : s;
    if (str_to_u32(first, 65535, &ret->first) < 0) return false;
    ret->last = ret->first;
    if (dash && str_to_u32(dash + 1, 65535, &ret->last) < 0) return false;
    return ret->last >= ret->first;
}

/* The parts from the right, so that an IPv6 address may stand bare. */
static void split(struct compose_project *c, const char *s, struct spec *p) {
    const char *colon = strrchr(s, ':');
    p->ip = p->host = "";
    p->container = colon ? colon + 1 : s;
    if (colon) {
        const char *rest = cf_strndup(c, s, (size_t) (colon - s));
        colon = strrchr(rest, ':');
        p->host = colon ? colon + 1 : rest;
        if (colon) p->ip = cf_strndup(c, rest, (size_t) (colon - rest));
    }
    const char *slash = strchr(p->container, '/');
    p->protocol = slash && slash[1] ? slash + 1 : "tcp";
    if (slash) p->container = cf_strndup(c, p->container, (size_t) (slash - p->container));
    size_t n = strlen(p->ip);
    if (n > 2 && p->ip[0] == '[' && p->ip[n - 1] == ']') p->ip = cf_strndup(c, p->ip + 1, n - 2);
}

static const char *lower(struct compose_project *c, const char *s) {
    char *l = cf_strdup(c, s);
    for (char *p = l; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char) (*p - 'A' + 'a');
    return l;
}

static const char *parse(struct compose_project *c, const char *s, struct spec *p) {
    split(c, s, p);
    if (*p->ip && value_address(p->ip, NULL) < 0)
        return cf_printf(c, "invalid IP address: %.60s", p->ip);
    if (!*p->container) return "no port specified for the container";
    if (!parse_range(c, p->container, &p->to) || !p->to.first)
        return cf_printf(c, "invalid container port: %.60s", p->container);
    if (*p->host && !parse_range(c, p->host, &p->from))
        return cf_printf(c, "invalid host port: %.60s", p->host);
    uint32_t to = p->to.last - p->to.first, from = p->from.last - p->from.first;
    if (*p->host && to && to != from)
        return cf_printf(
            c, "invalid ranges: %.40s of the container and %.40s of the host differ in size",
            p->container, p->host);
    p->protocol = lower(c, p->protocol);
    if (!str_eq(p->protocol, "tcp") && !str_eq(p->protocol, "udp") && !str_eq(p->protocol, "sctp"))
        return cf_printf(c, "invalid proto: %.60s (tcp, udp or sctp)", p->protocol);
    return NULL;
}

const char *cf_parse_port(struct compose_project *c, const char *s, const struct cf_node *at,
                          struct cf_node *list) {
    struct spec p = {0};
    const char *wrong = parse(c, s, &p);
    if (wrong) return wrong;
    bool range_of_host = p.from.last - p.from.first != p.to.last - p.to.first;
    for (uint32_t i = 0; i <= p.to.last - p.to.first; i++) {
        struct cf_node *o = cf_new(c, CF_MAP, at);
        o->fixed = true;
        cf_put(c, o, "mode", cf_new_str(c, "ingress", at));
        cf_put(c, o, "target", cf_new_int(c, p.to.first + i, at));
        cf_put(c, o, "protocol", cf_new_str(c, p.protocol, at));
        if (*p.ip) cf_put(c, o, "host_ip", cf_new_str(c, p.ip, at));
        const char *published = range_of_host ? cf_printf(c, "%u-%u", p.from.first, p.from.last)
                                              : cf_printf(c, "%u", p.from.first + i);
        if (*p.host) cf_put(c, o, "published", cf_new_str(c, published, at));
        cf_push(c, list, o);
    }
    return NULL;
}

void cf_finish_port(struct compose_project *c, struct cf_node *o) {
    const char *protocol = cf_get_str(o, "protocol"), *ip = cf_get_str(o, "host_ip");
    if (!cf_get(o, "target")) cf_issue(c, o, "port", "the port is missing a target");
    if (!str_empty(ip) && value_address(ip, NULL) < 0)
        cf_issue(c, o, "port", "invalid IP address: %.60s", ip);
    if (!cf_get(o, "mode")) cf_put(c, o, "mode", cf_new_str(c, "ingress", o));
    cf_put(c, o, "protocol", cf_new_str(c, protocol ? lower(c, protocol) : "tcp", o));
}

struct cf_node *cf_canon_ports(struct compose_project *c, const struct cf_node *n,
                               const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *item = n->items[i];
        size_t mark = cf_enter_item(c, i);
        if (list->n >= CF_PORTS) {
            cf_issue(c, item, "size", "more than %d ports, ranges counted out", CF_PORTS);
            cf_leave(c, mark);
            break;
        }
        if (item->kind == CF_MAP) {
            cf_push(c, list, cf_canon_object(c, item, k->item));
        } else {
            const char *wrong = cf_parse_port(c, cf_scalar_text(c, item), item, list);
            if (wrong) cf_issue(c, item, "port", "%s", wrong);
        }
        cf_leave(c, mark);
    }
    return list;
}

static const char *text_of(struct compose_project *c, const struct cf_node *map, const char *key,
                           const char *otherwise) {
    const struct cf_node *n = cf_get(map, key);
    const char *s = n ? cf_scalar_text(c, n) : NULL;
    return s ? s : otherwise;
}

const char *cf_id_port(struct compose_project *c, const struct cf_node *n) {
    struct spec p = {0};
    if (n->kind == CF_MAP)
        return cf_printf(c, "%s:%s:%s/%s", text_of(c, n, "host_ip", ""),
                         text_of(c, n, "published", ""), text_of(c, n, "target", ""),
                         text_of(c, n, "protocol", "tcp"));
    const char *s = cf_scalar_text(c, n);
    if (!s || parse(c, s, &p)) return NULL;
    return cf_printf(c, "%s:%s:%s/%s", p.ip, p.host, p.container, p.protocol);
}
