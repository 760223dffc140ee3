// SPDX-License-Identifier: Apache-2.0
#include "agent/etc.h"

#include <string.h>

#include "runtime/base/str.h"

static const struct prepare_network *first_outer(const struct prepare_input *in) {
    for (size_t i = 0; i < in->n_networks; i++)
        if (!in->networks[i].internal) return &in->networks[i];
    return in->n_networks ? &in->networks[0] : NULL;
}

static void put_own(const char *address, const char *host, const char *domain, struct buf *b) {
    if (*domain) {
        buf_printf(b, "%s\t%s.%s %s\n", address, host, domain, host);
    } else {
        buf_printf(b, "%s\t%s\n", address, host);
    }
}

void etc_hosts(const struct prepare_input *in, const char *hostname, struct buf *b) {
    char text[STR_IPV4_MAX];
    const Orlop__Service *s = in->task->spec;
    const struct prepare_network *n = first_outer(in);
    buf_puts(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (size_t i = 0; i < in->n_networks; i++)
        put_own(str_from_ipv4(in->networks[i].address, text), hostname, s->domainname, b);
    if (in->n_networks == 0) put_own("127.0.1.1", hostname, s->domainname, b);
    for (size_t i = 0; i < s->n_extra_hosts; i++) {
        const Orlop__KeyValue *h = s->extra_hosts[i];
        bool gateway = str_eq(h->value, "host-gateway");
        if (gateway && !n) continue;
        buf_printf(b, "%s\t%s\n", gateway ? str_from_ipv4(n->gateway, text) : h->value, h->key);
    }
}

static void put_words(const char *word, char *const *list, size_t n, struct buf *b) {
    for (size_t i = 0; i < n; i++) buf_printf(b, "%s%s", i ? " " : word, list[i]);
    if (n) buf_puts(b, "\n");
}

static bool is_line_of(const char *line, const char *word) {
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && (line[n] == ' ' || line[n] == '\t');
}

static void put_lines_of_node(const Orlop__Service *s, const char *line, struct buf *b) {
    while (*line) {
        size_t n = strcspn(line, "\n");
        bool mine = s->n_dns_search && (is_line_of(line, "search") || is_line_of(line, "domain"));
        mine = mine || (s->n_dns_options && is_line_of(line, "options"));
        if (!mine) buf_printf(b, "%.*s\n", (int) n, line);
        line += n + (line[n] == '\n');
    }
}

void etc_resolv_conf(const struct prepare_input *in, const char *of_node, struct buf *b) {
    char text[STR_IPV4_MAX];
    const Orlop__Service *s = in->task->spec;
    const struct prepare_network *n = first_outer(in);
    if (of_node) put_lines_of_node(s, of_node, b);
    if (n) buf_printf(b, "nameserver %s\n", str_from_ipv4(n->gateway, text));
    put_words("search ", s->dns_search, s->n_dns_search, b);
    put_words("options ", s->dns_options, s->n_dns_options, b);
    if (!of_node && !s->n_dns_options) buf_puts(b, "options ndots:0\n");
}
