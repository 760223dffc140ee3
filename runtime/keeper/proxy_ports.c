// SPDX-License-Identifier: Apache-2.0
/* The held ports: what is wanted is bound, what is not wanted any more is let go, the rest stays as
 * it is with new targets. Connections that exist are not touched by any of it. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy_int.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

enum { BACKLOG = 4096 };

const struct sockaddr_in *proxy__pick(struct proxy *p, const struct port *port) {
    if (port->n_targets == 0) return NULL;
    p->random ^= p->random << 13; /* xorshift: spreads load, keeps no secret */
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return &port->targets[p->random % port->n_targets];
}

static int set_int(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int prepare(int fd, bool tcp, bool v6) {
    int r = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) : 0;
    if (r < 0) return r;
    if (tcp) return set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* past connections' TIME_WAIT */
    /* UDP: no SO_REUSEADDR, it would let two of us bind. Replies leave from where they were asked.
     */
    return v6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
              : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

static int bind_one(struct port *port, struct port_socket *s, const union address *a, bool v6) {
    bool tcp = port->protocol == IPPROTO_TCP;
    auto_fd int fd = socket(v6 ? AF_INET6 : AF_INET,
                            (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int r = prepare(fd, tcp, v6);
    if (r < 0) return r;
    if (bind(fd, &a->any, v6 ? sizeof a->v6 : sizeof a->v4) < 0) return -errno;
    if (tcp && listen(fd, BACKLOG) < 0) return -errno;
    s->port = port;
    s->v6 = v6;
    r = loop_add(&port->proxy->loop, &s->source, fd, EPOLLIN,
                 tcp ? proxy__tcp_accept : proxy__udp_receive);
    if (r == 0) fd = -1; /* the loop's */
    return r;
}

static int bind_wildcard(struct port *port, uint16_t number) {
    union address a = {.v4 = {.sin_family = AF_INET, .sin_port = htons(number)}};
    int r = bind_one(port, &port->sockets[0], &a, false);
    if (r < 0) return r;
    a = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(number)}};
    r = bind_one(port, &port->sockets[1], &a, true);
    return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL ? 0 : r; /* a host without IPv6 */
}

static int bind_port(struct port *port, const Orlop__ProxyPort *w) {
    uint16_t number = (uint16_t) w->port;
    if (!*w->host_ip) return bind_wildcard(port, number);
    union address a = {.v4 = {.sin_family = AF_INET, .sin_port = htons(number)}};
    if (inet_pton(AF_INET, w->host_ip, &a.v4.sin_addr) == 1)
        return bind_one(port, &port->sockets[0], &a, false);
    a = (union address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(number)}};
    if (inet_pton(AF_INET6, w->host_ip, &a.v6.sin6_addr) == 1)
        return bind_one(port, &port->sockets[1], &a, true);
    return -EINVAL;
}

static void port_drop(struct port *port) {
    struct proxy *p = port->proxy;
    proxy__udp_drop(port);
    for (size_t i = 0; i < 2; i++) loop_remove(&p->loop, &port->sockets[i].source);
    (void) map_del(&p->ports, port->key);
    mem_free(port->targets);
    port->targets = NULL;
    port->n_targets = 0;
    loop_free_later(&p->loop, &port->garbage, port);
}

static int set_targets(struct port *port, const Orlop__ProxyPort *w) {
    struct sockaddr_in *t = mem_array(w->n_targets ? w->n_targets : 1, sizeof *t);
    if (!t) return -ENOMEM;
    for (size_t i = 0; i < w->n_targets; i++)
        t[i] = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t) w->targets[i]->port),
                                    .sin_addr.s_addr = htonl(w->targets[i]->address)};
    mem_free(port->targets);
    port->targets = t;
    port->n_targets = w->n_targets;
    return 0;
}

static int hold_new(struct proxy *p, const char *key, const Orlop__ProxyPort *w) {
    struct port *port = mem_zalloc(sizeof *port);
    if (!port) return -ENOMEM;
    port->proxy = p;
    port->protocol = w->protocol;
    port->wanted = true;
    list_init(&port->sessions);
    memcpy(port->key, key, strlen(key) + 1);
    int r = set_targets(port, w);
    if (r == 0) r = bind_port(port, w);
    if (r == 0) r = map_set(&p->ports, key, port);
    if (r < 0) port_drop(port);
    return r;
}

static int hold(struct proxy *p, const Orlop__ProxyPort *w) {
    char key[sizeof((struct port *) NULL)->key];
    snprintf(key, sizeof key, "%u %s %u", w->protocol, w->host_ip, w->port);
    struct port *port = map_get(&p->ports, key);
    if (!port) return hold_new(p, key, w);
    port->wanted = true;
    return set_targets(port, w);
}

static void let_go(struct proxy *p) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&p->ports, &i, &key, &value);) {
        struct port *port = value;
        if (!port->wanted) port_drop(port);
    }
}

static void mark_unwanted(struct proxy *p, const Orlop__ProxyWant *want) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&p->ports, &i, &key, &value);)
        ((struct port *) value)->wanted = false;
    for (size_t i = 0; i < want->n_ports; i++) {
        char k[sizeof((struct port *) NULL)->key];
        const Orlop__ProxyPort *w = want->ports[i];
        snprintf(k, sizeof k, "%u %s %u", w->protocol, w->host_ip, w->port);
        struct port *port = map_get(&p->ports, k);
        if (port) port->wanted = true;
    }
}

/* First let go, then bind: a port may go from "127.0.0.1" to "" in one list. */
void proxy__apply(struct proxy *p, const Orlop__ProxyWant *want, Orlop__ProxyReply *reply,
                  Orlop__ProxyRefusal *refusals, Orlop__ProxyRefusal **pointers) {
    mark_unwanted(p, want);
    let_go(p);
    for (size_t i = 0; i < want->n_ports; i++) {
        const Orlop__ProxyPort *w = want->ports[i];
        int r = hold(p, w);
        if (r == 0) continue;
        log_warn("port.refused", "protocol=%u host_ip=\"%s\" port=%u err=\"%s\"", w->protocol,
                 w->host_ip, w->port, err_text(r));
        Orlop__ProxyRefusal *x = &refusals[reply->n_refused];
        *x = (Orlop__ProxyRefusal) ORLOP__PROXY_REFUSAL__INIT;
        x->protocol = w->protocol;
        x->host_ip = w->host_ip;
        x->port = w->port;
        x->error = -r;
        pointers[reply->n_refused++] = x;
    }
    reply->refused = pointers;
}

void proxy__pause(struct proxy *p, bool pause) {
    if (p->paused == pause) return;
    p->paused = pause;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&p->ports, &i, &key, &value);) {
        struct port *port = value;
        for (size_t j = 0; j < 2 && port->protocol == IPPROTO_TCP; j++)
            if (port->sockets[j].source.ready)
                loop_events(&p->loop, &port->sockets[j].source, pause ? 0 : EPOLLIN);
    }
}
