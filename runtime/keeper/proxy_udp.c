// SPDX-License-Identifier: Apache-2.0
/* UDP: a session per client address and held socket: a socket of its own, connected to one target.
 * Answers leave from the address that was asked (pktinfo). Sessions are bounded: the one that was
 * idle longest goes first. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy_int.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

union info {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct session {
    struct list in_port, in_bucket, by_age;
    struct port_socket *at;
    struct loop_source source; /* connected to the target */
    union address client;
    socklen_t client_len;
    struct in_addr local4;
    struct in6_addr local6;
    int64_t active_ms;
    struct loop_garbage garbage;
};

static void drop(struct session *s) {
    struct proxy *p = s->at->port->proxy;
    loop_remove(&p->loop, &s->source);
    list_del(&s->in_port);
    list_del(&s->in_bucket);
    list_del(&s->by_age);
    p->n_sessions--;
    loop_free_later(&p->loop, &s->garbage, s);
}

void proxy__udp_drop(struct port *port) {
    list_each_safe (it, &port->sessions) drop(list_entry(it, struct session, in_port));
}

void proxy__udp_sweep(struct proxy *p) {
    list_each_safe (it, &p->sessions) {
        struct session *s = list_entry(it, struct session, by_age);
        if (p->now_ms - s->active_ms < PROXY_UDP_IDLE_MS) return;
        drop(s);
    }
}

static void touch(struct session *s) {
    struct proxy *p = s->at->port->proxy;
    s->active_ms = p->now_ms;
    list_del(&s->by_age);
    list_add_tail(&p->sessions, &s->by_age);
}

static struct list *bucket(struct proxy *p, const struct port_socket *at, const union address *a,
                           socklen_t len) {
    uint64_t h = str_hash(a, len) ^ str_hash(&at, sizeof at);
    return &p->buckets[(h ^ (h >> 32)) % PROXY_SESSION_BUCKETS];
}

/* To the client, from the address that it had sent to. */
static void answer(struct session *s, void *data, size_t len) {
    struct iovec iov = {data, len};
    union info info = {0};
    struct msghdr m = {.msg_name = &s->client,
                       .msg_namelen = s->client_len,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &info,
                       .msg_controllen = sizeof info};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (s->at->v6) {
        struct in6_pktinfo i = {.ipi6_addr = s->local6};
        *c = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof i), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
        memcpy(CMSG_DATA(c), &i, sizeof i);
        m.msg_controllen = CMSG_SPACE(sizeof i);
    } else {
        struct in_pktinfo i = {.ipi_spec_dst = s->local4};
        *c = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof i), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
        memcpy(CMSG_DATA(c), &i, sizeof i);
        m.msg_controllen = CMSG_SPACE(sizeof i);
    }
    (void) !sendmsg(s->at->source.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL); /* UDP: may be lost */
}

static void on_target(struct loop_source *source, uint32_t events) {
    (void) events;
    struct session *s = container_of(source, struct session, source);
    struct proxy *p = s->at->port->proxy;
    for (int i = 0; i < PROXY_UDP_BATCH; i++) {
        ssize_t n = recv(source->fd, p->datagram, sizeof p->datagram, MSG_DONTWAIT);
        if (n < 0 && errno == ECONNREFUSED) continue; /* nobody there: what was sent is lost */
        if (n < 0) return;
        touch(s);
        answer(s, p->datagram, (size_t) n);
    }
}

static void remember_local(struct session *s, struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            s->local4 = i.ipi_spec_dst;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            s->local6 = i.ipi6_addr;
        }
    }
}

static struct session *find(struct port_socket *at, const union address *a, socklen_t len) {
    struct proxy *p = at->port->proxy;
    list_each (it, bucket(p, at, a, len)) {
        struct session *s = list_entry(it, struct session, in_bucket);
        if (s->at == at && s->client_len == len && memcmp(&s->client, a, len) == 0) return s;
    }
    return NULL;
}

static struct session *open_session(struct port_socket *at, const union address *a, socklen_t len) {
    struct proxy *p = at->port->proxy;
    const struct sockaddr_in *target = proxy__pick(p, at->port);
    if (!target) return NULL;
    if (p->n_sessions >= PROXY_SESSIONS_MAX)
        drop(list_entry(p->sessions.next, struct session, by_age));
    auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    union address to = {.v4 = *target};
    if (fd < 0 || connect(fd, &to.any, sizeof to.v4) < 0) return NULL;
    struct session *s = mem_zalloc(sizeof *s);
    if (!s) return NULL;
    s->at = at;
    s->client = *a;
    s->client_len = len;
    if (loop_add(&p->loop, &s->source, fd, EPOLLIN, on_target) < 0) {
        mem_free(s);
        return NULL;
    }
    fd = -1; /* the loop's */
    list_add_tail(&at->port->sessions, &s->in_port);
    list_add_tail(bucket(p, at, a, len), &s->in_bucket);
    list_add_tail(&p->sessions, &s->by_age);
    p->n_sessions++;
    return s;
}

void proxy__udp_receive(struct loop_source *source, uint32_t events) {
    (void) events;
    struct port_socket *at = container_of(source, struct port_socket, source);
    struct proxy *p = at->port->proxy;
    for (int i = 0; i < PROXY_UDP_BATCH; i++) {
        union address from = {0};
        union info info;
        struct iovec iov = {p->datagram, sizeof p->datagram};
        struct msghdr m = {.msg_name = &from,
                           .msg_namelen = sizeof from,
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = &info,
                           .msg_controllen = sizeof info};
        ssize_t n = recvmsg(source->fd, &m, MSG_DONTWAIT);
        if (n < 0) return;
        struct session *s = find(at, &from, m.msg_namelen);
        if (!s) s = open_session(at, &from, m.msg_namelen);
        if (!s) continue;
        remember_local(s, &m);
        touch(s);
        (void) !send(s->source.fd, p->datagram, (size_t) n, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}
