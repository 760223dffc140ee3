// SPDX-License-Identifier: Apache-2.0
/* A question:  parse -> table: answer at once | ask upstream, a *job* waits -> answer | drop.
 * A job belongs to the listener (UDP) or the client (TCP) that it answers, and goes with it. */
#include "dns.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns_table.h"
#include "dns_upstream.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { PORT = 53, BACKLOG = 64, IDLE_MS = 10000 };

struct agent_dns {
    uv_loop_t *loop;
    struct dns_table *table; /* NULL before the first apply */
    struct dns_upstream *upstream;
    struct list listeners;
    unsigned n_clients;
    unsigned open_handles; /* listeners' and clients' */
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    uint8_t receive[DNS_UDP_MAX]; /* of whichever listener is being read */
};

struct listener {
    struct list node;
    struct agent_dns *dns;
    uint32_t network, gateway;
    uv_udp_t udp;
    uv_tcp_t tcp;
    unsigned open_handles; /* 2, 1, 0 = freed */
    bool closing;
    struct list jobs; /* of UDP askers */
    struct list clients;
    unsigned n_clients;
};

struct client {
    struct list node;
    struct listener *listener;
    uint32_t address;
    uv_tcp_t tcp;
    uv_timer_t idle;
    unsigned open_handles;
    bool closing;
    struct job *job; /* waiting for it; not reading meanwhile */
    uint8_t in[2 + DNS_QUERY_MAX];
    size_t in_len;
    uint8_t *out; /* being written */
    uv_write_t write;
};

struct job {
    struct list node;
    struct listener *listener;
    struct client *client; /* NULL = UDP */
    struct sockaddr_in from;
    struct dns_query query;
    struct dns_ask *ask;
};

static void maybe_closed(struct agent_dns *d) {
    if (!d->closing || d->open_handles > 0 || d->upstream) return;
    void (*closed)(void *) = d->closed;
    void *arg = d->closed_arg;
    dns_table_free(d->table);
    mem_free(d);
    if (closed) closed(arg);
}

/* --- answering --- */

static void send_udp(struct listener *l, const struct sockaddr_in *to, uint8_t *message, size_t n) {
    uv_buf_t b = uv_buf_init((char *) message, (unsigned) n);
    /* A full socket drops it, as any network may; the asker asks again. */
    (void) uv_udp_try_send(&l->udp, &b, 1, (const struct sockaddr *) to);
}

static void client_answer(struct client *c, const uint8_t *message, size_t n);
static void client_close(struct client *c);

static void job_free(struct job *j) {
    dns_upstream_cancel(j->ask);
    if (j->client) {
        j->client->job = NULL;
    } else {
        list_del(&j->node);
    }
    mem_free(j);
}

static void reply_to(struct listener *l, struct client *c, const struct sockaddr_in *from,
                     uint8_t *message, size_t n) {
    if (c) {
        client_answer(c, message, n);
    } else {
        send_udp(l, from, message, n);
    }
}

static void reply_code(struct listener *l, struct client *c, const struct sockaddr_in *from,
                       const struct dns_query *q, enum dns_rcode code) {
    uint8_t buf[DNS_UDP_MIN];
    struct dns_reply reply;
    dns_reply_begin(&reply, q, code, buf, sizeof buf);
    reply_to(l, c, from, buf, dns_reply_end(&reply));
}

static void on_upstream(void *arg, uint8_t *message, size_t n) {
    struct job *j = arg;
    struct listener *l = j->listener;
    struct client *c = j->client;
    struct dns_query query = j->query;
    struct sockaddr_in from = j->from;
    j->ask = NULL;
    job_free(j);
    if (!message) {
        reply_code(l, c, &from, &query, DNS_SERVFAIL);
        return;
    }
    if (!c) n = dns_truncate(message, n, &query, query.udp_size);
    reply_to(l, c, &from, message, n);
}

static int forward(struct listener *l, struct client *c, const struct sockaddr_in *from,
                   const struct dns_query *q) {
    struct job *j = mem_zalloc(sizeof *j);
    if (!j) return -ENOMEM;
    *j = (struct job){.listener = l, .client = c, .from = *from, .query = *q};
    int r = dns_upstream_ask(l->dns->upstream, q, ntohl(from->sin_addr.s_addr), c != NULL,
                             on_upstream, j, &j->ask);
    if (r < 0) {
        mem_free(j);
        return r;
    }
    if (c) {
        c->job = j;
    } else {
        list_add_tail(&l->jobs, &j->node);
    }
    return 0;
}

/* Without any nameserver the host knows no other names, so there are none. */
static void forward_or_say_why(struct listener *l, struct client *c, const struct sockaddr_in *from,
                               const struct dns_query *q) {
    int r = forward(l, c, from, q);
    if (r < 0) reply_code(l, c, from, q, r == -ENOENT ? DNS_NXDOMAIN : DNS_SERVFAIL);
}

/* One question; BUF of CAP bytes for the answer. False: it deserves none. */
static bool question(struct listener *l, struct client *c, const struct sockaddr_in *from,
                     const uint8_t *data, size_t n, uint8_t *buf, size_t cap) {
    struct dns_query q;
    struct dns_reply reply;
    int r = dns_parse_query(data, n, &q);
    if (r < 0 || !l->dns->table) return false;
    if (r > 0) {
        reply_code(l, c, from, &q, (enum dns_rcode) r);
        return true;
    }
    if (!c && q.udp_size < cap) cap = q.udp_size;
    switch (dns_table_answer(l->dns->table, l->network, ntohl(from->sin_addr.s_addr), &q, &reply,
                             buf, cap)) {
    case DNS_DROP:
        return false;
    case DNS_FORWARD:
        forward_or_say_why(l, c, from, &q);
        return true;
    case DNS_ANSWER:
        reply_to(l, c, from, buf, dns_reply_end(&reply));
        return true;
    }
    return false;
}

/* --- UDP --- */

static void on_udp_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void) want;
    struct listener *l = h->data;
    *buf = uv_buf_init((char *) l->dns->receive, sizeof l->dns->receive);
}

static void on_udp(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                   unsigned flags) {
    struct listener *l = udp->data;
    struct sockaddr_in asker;
    uint8_t answer[DNS_UDP_MAX];
    if (l->closing || n <= 0 || !from || from->sa_family != AF_INET || (flags & UV_UDP_PARTIAL))
        return;
    memcpy(&asker, from, sizeof asker);
    (void) question(l, NULL, &asker, (const uint8_t *) buf->base, (size_t) n, answer,
                    sizeof answer);
}

/* --- TCP --- */

static void on_client_closed(uv_handle_t *h) {
    struct client *c = h->data;
    if (--c->open_handles > 0) return;
    struct agent_dns *d = c->listener->dns;
    struct listener *l = c->listener;
    list_del(&c->node);
    l->n_clients--;
    d->n_clients--;
    d->open_handles--;
    mem_free(c->out);
    mem_free(c);
    if (l->open_handles == 0 && l->n_clients == 0) mem_free(l); /* it waited for its clients */
    maybe_closed(d);
}

static void client_close(struct client *c) {
    if (c->closing) return;
    c->closing = true;
    if (c->job) job_free(c->job);
    uv_close((uv_handle_t *) &c->tcp, on_client_closed);
    uv_close((uv_handle_t *) &c->idle, on_client_closed);
}

static void on_idle(uv_timer_t *timer) {
    client_close(timer->data);
}

static void client_next(struct client *c);

static void on_written(uv_write_t *w, int status) {
    struct client *c = w->data;
    if (c->closing) return;
    mem_free(c->out);
    c->out = NULL;
    if (status < 0) {
        client_close(c);
        return;
    }
    client_next(c);
}

static void client_answer(struct client *c, const uint8_t *message, size_t n) {
    c->out = mem_alloc(2 + n);
    if (!c->out) {
        client_close(c);
        return;
    }
    dns_put16(c->out, (uint16_t) n);
    memcpy(c->out + 2, message, n);
    uv_buf_t b = uv_buf_init((char *) c->out, (unsigned) (2 + n));
    if (uv_write(&c->write, (uv_stream_t *) &c->tcp, &b, 1, on_written) < 0) client_close(c);
}

static void on_client_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void) want;
    struct client *c = h->data;
    *buf = uv_buf_init((char *) c->in + c->in_len, (unsigned) (sizeof c->in - c->in_len));
}

static void on_client_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    (void) buf;
    struct client *c = s->data;
    if (c->closing || n == 0) return;
    if (n < 0) {
        client_close(c);
        return;
    }
    c->in_len += (size_t) n;
    client_next(c);
}

/* Take the next question of C, or read on until it is whole. One at a time. */
static void client_next(struct client *c) {
    size_t size = c->in_len < 2 ? 0 : dns_get16(c->in);
    if (c->in_len >= 2 && (size < DNS_HEADER || size > DNS_QUERY_MAX)) {
        client_close(c);
        return;
    }
    if (c->in_len < 2 || c->in_len < 2 + size) {
        int r = uv_read_start((uv_stream_t *) &c->tcp, on_client_alloc, on_client_read);
        if (r < 0 && r != UV_EALREADY) client_close(c);
        return;
    }
    (void) uv_read_stop((uv_stream_t *) &c->tcp); /* never fails */
    (void) uv_timer_again(&c->idle);
    uint8_t data[DNS_QUERY_MAX];
    memcpy(data, c->in + 2, size);
    c->in_len -= 2 + size;
    memmove(c->in, c->in + 2 + size, c->in_len);
    auto_free uint8_t *answer = mem_alloc(DNS_MESSAGE_MAX);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(c->address)};
    if (!answer || !question(c->listener, c, &from, data, size, answer, DNS_MESSAGE_MAX))
        client_close(c);
}

static bool peer_address(const uv_tcp_t *tcp, uint32_t *ret) {
    struct sockaddr_storage ss;
    struct sockaddr_in v4;
    int n = sizeof ss;
    if (uv_tcp_getpeername(tcp, (struct sockaddr *) &ss, &n) < 0 || ss.ss_family != AF_INET)
        return false;
    memcpy(&v4, &ss, sizeof v4);
    *ret = ntohl(v4.sin_addr.s_addr);
    return true;
}

static int client_init(struct listener *l, struct client *c) {
    int r = uv_tcp_init(l->dns->loop, &c->tcp);
    if (r < 0) return r;
    r = uv_timer_init(l->dns->loop, &c->idle);
    ensure(r == 0); /* documented never to fail */
    c->listener = l;
    c->tcp.data = c->idle.data = c->write.data = c;
    c->open_handles = 2;
    l->dns->open_handles++;
    l->dns->n_clients++;
    l->n_clients++;
    list_add_tail(&l->clients, &c->node);
    return 0;
}

/* Always accepted, or libuv would call again for ever; too many are closed at once. */
static void on_connection(uv_stream_t *s, int status) {
    struct listener *l = s->data;
    struct client *c = status < 0 || l->closing ? NULL : mem_zalloc(sizeof *c);
    if (!c) return;
    if (client_init(l, c) < 0) {
        mem_free(c);
        return;
    }
    if (uv_accept(s, (uv_stream_t *) &c->tcp) < 0 || !peer_address(&c->tcp, &c->address) ||
        l->n_clients > DNS_CLIENTS_PER_NETWORK_MAX || l->dns->n_clients > DNS_CLIENTS_MAX ||
        uv_timer_start(&c->idle, on_idle, IDLE_MS, IDLE_MS) < 0) {
        client_close(c);
        return;
    }
    client_next(c);
}

/* --- listeners --- */

static void on_listener_closed(uv_handle_t *h) {
    struct listener *l = h->data;
    struct agent_dns *d = l->dns;
    d->open_handles--;
    if (--l->open_handles == 0 && l->n_clients == 0) mem_free(l);
    maybe_closed(d);
}

static void listener_close(struct listener *l) {
    if (l->closing) return;
    l->closing = true;
    list_del(&l->node);
    list_each_safe (it, &l->jobs) job_free(list_entry(it, struct job, node));
    list_each_safe (it, &l->clients) client_close(list_entry(it, struct client, node));
    uv_close((uv_handle_t *) &l->udp, on_listener_closed);
    uv_close((uv_handle_t *) &l->tcp, on_listener_closed);
}

/* A socket bound to port 53 of ADDRESS, whether a device has it or not. */
static int bound_socket(int type, uint32_t address, int *ret) {
    auto_fd int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0) return -errno;
    if (setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on) < 0) return -errno;
    /* For TCP: connections of an earlier agent may still be in TIME_WAIT. For UDP it would let two
     * agents share the port in silence. */
    if (type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -errno;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(address)};
    if (bind(fd, (struct sockaddr *) &a, sizeof a) < 0) return -errno;
    if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
        return -errno; /* EADDRINUSE comes here, too */
    *ret = steal_fd(&fd);
    return 0;
}

static int listener_start(struct listener *l, int *udp, int *tcp) {
    int r = uv_udp_open(&l->udp, *udp);
    if (r < 0) return r;
    *udp = -1;
    r = uv_tcp_open(&l->tcp, *tcp);
    if (r < 0) return r;
    *tcp = -1;
    r = uv_udp_recv_start(&l->udp, on_udp_alloc, on_udp);
    return r < 0 ? r : uv_listen((uv_stream_t *) &l->tcp, BACKLOG, on_connection);
}

static int listener_new(struct agent_dns *d, uint32_t network, uint32_t gateway) {
    auto_fd int udp = -1;
    auto_fd int tcp = -1;
    int r = bound_socket(SOCK_DGRAM, gateway, &udp);
    if (r == 0) r = bound_socket(SOCK_STREAM, gateway, &tcp);
    if (r < 0) return r;
    struct listener *l = mem_zalloc(sizeof *l);
    if (!l) return -ENOMEM;
    *l = (struct listener){.dns = d, .network = network, .gateway = gateway, .open_handles = 2};
    list_init(&l->jobs);
    list_init(&l->clients);
    r = uv_udp_init(d->loop, &l->udp);
    if (r < 0) {
        mem_free(l);
        return r;
    }
    r = uv_tcp_init(d->loop, &l->tcp);
    ensure(r == 0); /* without a family it makes no socket yet */
    l->udp.data = l->tcp.data = l;
    d->open_handles += 2;
    list_add_tail(&d->listeners, &l->node);
    r = listener_start(l, &udp, &tcp);
    if (r < 0) listener_close(l);
    return r;
}

static int listen_error(uint32_t gateway, int r, struct err *err) {
    char ip[STR_IPV4_MAX];
    str_from_ipv4(gateway, ip);
    if (r == -EADDRINUSE)
        return err_say(
            err, r,
            "tasks cannot resolve names: another DNS server holds port 53 of %s (perhaps of "
            "all addresses); bind it to its own addresses only",
            ip);
    return err_set(err, r, "listen on port 53 of %s", ip);
}

static bool still_wanted(const struct listener *l, Orlop__ViewNetwork *const *networks, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (networks[i]->id == l->network && networks[i]->gateway == l->gateway) return true;
    return false;
}

static bool listens(const struct agent_dns *d, const Orlop__ViewNetwork *n) {
    list_each (it, &d->listeners) {
        const struct listener *l = list_entry(it, struct listener, node);
        if (l->network == n->id && l->gateway == n->gateway) return true;
    }
    return false;
}

/* --- interface --- */

static bool is_own(void *arg, uint32_t address) {
    const struct agent_dns *d = arg;
    return d->table && dns_table_is_gateway(d->table, address);
}

int agent_dns_new(uv_loop_t *loop, const char *resolv_conf, struct agent_dns **ret,
                  struct err *err) {
    struct agent_dns *d = mem_zalloc(sizeof *d);
    if (!d) return err_set(err, -ENOMEM, "nameserver");
    d->loop = loop;
    list_init(&d->listeners);
    int r = dns_upstream_new(loop, resolv_conf, is_own, d, &d->upstream);
    if (r < 0) {
        mem_free(d);
        return err_set(err, r, "nameserver");
    }
    *ret = d;
    return 0;
}

int agent_dns_apply(struct agent_dns *d, Orlop__ViewNetwork *const *networks, size_t n_networks,
                    Orlop__ViewService *const *services, size_t n_services, struct err *err) {
    struct dns_table *table = NULL;
    int r = dns_table_new(networks, n_networks, services, n_services, &table);
    if (r < 0) return err_set(err, r, "make the table of names");
    dns_table_free(d->table);
    d->table = table;
    list_each_safe (it, &d->listeners) {
        struct listener *l = list_entry(it, struct listener, node);
        if (!still_wanted(l, networks, n_networks)) listener_close(l);
    }
    int first = 0;
    for (size_t i = 0; i < n_networks; i++) {
        if (listens(d, networks[i])) continue;
        r = listener_new(d, networks[i]->id, networks[i]->gateway);
        if (r < 0 && first == 0) first = listen_error(networks[i]->gateway, r, err);
    }
    return first;
}

int agent_dns_change(struct agent_dns *d, Orlop__ViewService *const *services, size_t n_services,
                     const uint64_t *gone, size_t n_gone) {
    return d->table ? dns_table_change(d->table, services, n_services, gone, n_gone) : -EAGAIN;
}

static void on_upstream_closed(void *arg) {
    struct agent_dns *d = arg;
    d->upstream = NULL;
    maybe_closed(d);
}

void agent_dns_close(struct agent_dns *d, void (*cb)(void *arg), void *arg) {
    if (!d) {
        if (cb) cb(arg);
        return;
    }
    d->closed = cb;
    d->closed_arg = arg;
    d->closing = true;
    list_each_safe (it, &d->listeners) listener_close(list_entry(it, struct listener, node));
    dns_upstream_close(d->upstream, on_upstream_closed, d);
}
