// SPDX-License-Identifier: Apache-2.0
/* ask:   try 1 (UDP, or TCP when asked by TCP) --answer--> cb
 *          | silence (timer), refusal, broken connection
 *        try 2 with the next server ... the last one --> cb(NULL)
 * A try is freed by its handle's close callback, an ask by its timer's. */
#include "dns_upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum {
    ASKS_MAX = 512,
    ASKS_PER_ASKER_MAX = 64,
    RESOLV_MAX = 64 * 1024,
    RESOLV_AGE_MS = 5000,
    TRIES_MIN = 2, /* a single server is asked twice: one packet may be lost */
};

struct dns_upstream {
    uv_loop_t *loop;
    char *resolv_conf;
    dns_own_cb own;
    void *own_arg;
    struct sockaddr_storage servers[DNS_SERVERS_MAX];
    size_t n_servers;
    int64_t read_mono_ms; /* resolv.conf; 0 = never */
    struct list asks;
    unsigned n_asks;
    unsigned open_handles;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    uint8_t receive[DNS_MESSAGE_MAX]; /* of whichever UDP try is being read */
};

struct dns_ask {
    struct list node;
    struct dns_upstream *u;
    struct dns_query query;
    uint32_t asker;
    bool by_tcp;
    unsigned tries;
    struct try *try; /* NULL between tries */
    uv_timer_t timer;
    dns_answer_cb cb; /* NULL = cancelled or done */
    void *arg;
};

struct try {
    struct dns_upstream *u;
    struct dns_ask *ask; /* NULL = given up */
    union {
        uv_handle_t handle;
        uv_udp_t udp;
        uv_tcp_t tcp;
    };
    uv_connect_t connect;
    uv_write_t write;
    uint16_t id;
    uint8_t question[2 + DNS_QUERY_MAX]; /* length in front for TCP */
    size_t question_len;
    uint8_t *answer; /* TCP: length in front */
    size_t answer_len;
};

/* --- servers --- */

static bool parse_server(const char *text, struct sockaddr_storage *ret, dns_own_cb own,
                         void *arg) {
    memset(ret, 0, sizeof *ret);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (uv_ip4_addr(text, 53, &v4) == 0) {
        if (own && own(arg, ntohl(v4.sin_addr.s_addr))) return false;
        memcpy(ret, &v4, sizeof v4);
        return true;
    }
    if (uv_ip6_addr(text, 53, &v6) != 0) return false;
    memcpy(ret, &v6, sizeof v6);
    return true;
}

size_t dns_upstream_servers(const char *text, struct sockaddr_storage ret[static DNS_SERVERS_MAX],
                            dns_own_cb own, void *arg) {
    static const char word[] = "nameserver", blank[] = " \t\r";
    size_t n = 0;
    for (const char *line = text; *line && n < DNS_SERVERS_MAX;) {
        size_t len = strcspn(line, "\n");
        char address[64];
        if (len > sizeof word && str_starts(line, word) && strchr(blank, line[sizeof word - 1])) {
            const char *p = line + sizeof word - 1;
            p += strspn(p, blank);
            size_t size = strcspn(p, " \t\r\n#;");
            if (size > 0 && size < sizeof address) {
                memcpy(address, p, size);
                address[size] = 0;
                if (parse_server(address, &ret[n], own, arg)) n++;
            }
        }
        line += len;
        if (*line) line++;
    }
    return n;
}

/* An unreadable file keeps the servers that were known. */
static void refresh_servers(struct dns_upstream *u) {
    int64_t now = clock_mono_ms();
    if (u->read_mono_ms && now - u->read_mono_ms < RESOLV_AGE_MS) return;
    auto_free char *text = NULL;
    size_t n;
    u->read_mono_ms = now;
    if (fd_read_file(AT_FDCWD, u->resolv_conf, RESOLV_MAX, &text, &n) < 0) return;
    u->n_servers = dns_upstream_servers(text, u->servers, u->own, u->own_arg);
}

/* --- life --- */

static void maybe_closed(struct dns_upstream *u) {
    if (!u->closing || u->open_handles > 0) return;
    void (*closed)(void *) = u->closed;
    void *arg = u->closed_arg;
    mem_free(u->resolv_conf);
    mem_free(u);
    closed(arg);
}

static void on_try_closed(uv_handle_t *h) {
    struct try *t = h->data;
    struct dns_upstream *u = t->u;
    mem_free(t->answer);
    mem_free(t);
    u->open_handles--;
    maybe_closed(u);
}

static void try_drop(struct dns_ask *a) {
    if (!a->try) return;
    a->try->ask = NULL;
    uv_close(&a->try->handle, on_try_closed);
    a->try = NULL;
}

static void on_ask_closed(uv_handle_t *h) {
    struct dns_ask *a = h->data;
    struct dns_upstream *u = a->u;
    mem_free(a);
    u->open_handles--;
    maybe_closed(u);
}

static void ask_close(struct dns_ask *a) {
    a->cb = NULL;
    try_drop(a);
    list_del(&a->node);
    a->u->n_asks--;
    uv_close((uv_handle_t *) &a->timer, on_ask_closed);
}

static void ask_finish(struct dns_ask *a, uint8_t *message, size_t n) {
    dns_answer_cb cb = a->cb;
    void *arg = a->arg;
    if (message) dns_put16(message, a->query.id);
    a->cb = NULL;
    if (cb) cb(arg, message, n);
    ask_close(a);
}

void dns_upstream_cancel(struct dns_ask *a) {
    if (a && a->cb) ask_close(a);
}

/* --- tries --- */

static void next_try(struct dns_ask *a);

static void on_timeout(uv_timer_t *timer) {
    next_try(timer->data);
}

/* Go on in a turn of its own, never from within the caller. */
static void soon(struct dns_ask *a, uint64_t ms) {
    if (uv_timer_start(&a->timer, on_timeout, ms, 0) < 0) ask_finish(a, NULL, 0);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void) want;
    struct try *t = h->data;
    *buf = uv_buf_init((char *) t->u->receive, sizeof t->u->receive);
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags) {
    struct try *t = udp->data;
    if (!t->ask || (n == 0 && !from)) return;
    if (n < 0) { /* refused */
        soon(t->ask, 0);
        try_drop(t->ask);
        return;
    }
    uint8_t *message = (uint8_t *) buf->base;
    if ((flags & UV_UDP_PARTIAL) || !dns_answers(message, (size_t) n, &t->ask->query, t->id))
        return;
    ask_finish(t->ask, message, (size_t) n);
}

static int try_udp(struct try *t, const struct sockaddr *server) {
    int r = uv_udp_connect(&t->udp, server);
    if (r == 0) r = uv_udp_recv_start(&t->udp, on_alloc, on_datagram);
    if (r < 0) return r;
    uv_buf_t b = uv_buf_init((char *) t->question + 2, (unsigned) t->question_len);
    r = uv_udp_try_send(&t->udp, &b, 1, NULL);
    return r < 0 ? r : 0;
}

static void tcp_failed(struct try *t) {
    if (!t->ask) return;
    soon(t->ask, 0);
    try_drop(t->ask);
}

static void on_tcp_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf) {
    (void) want;
    struct try *t = h->data;
    size_t size = t->answer_len < 2 ? 2 : 2 + (size_t) dns_get16(t->answer);
    *buf = uv_buf_init((char *) t->answer + t->answer_len, (unsigned) (size - t->answer_len));
}

static void on_tcp_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf) {
    (void) buf;
    struct try *t = s->data;
    if (!t->ask || n == 0) return;
    if (n < 0) {
        tcp_failed(t);
        return;
    }
    t->answer_len += (size_t) n;
    if (t->answer_len < 2) return;
    size_t size = dns_get16(t->answer);
    if (size < DNS_HEADER) {
        tcp_failed(t);
    } else if (t->answer_len == 2 + size) {
        if (dns_answers(t->answer + 2, size, &t->ask->query, t->id)) {
            ask_finish(t->ask, t->answer + 2, size);
        } else {
            tcp_failed(t);
        }
    }
}

static void on_tcp_written(uv_write_t *w, int status) {
    struct try *t = w->data;
    if (t->ask && status < 0) tcp_failed(t);
}

static void on_tcp_connected(uv_connect_t *c, int status) {
    struct try *t = c->data;
    if (!t->ask) return;
    uv_buf_t b = uv_buf_init((char *) t->question, (unsigned) (2 + t->question_len));
    if (status == 0) status = uv_read_start(c->handle, on_tcp_alloc, on_tcp_read);
    if (status == 0) status = uv_write(&t->write, c->handle, &b, 1, on_tcp_written);
    if (status < 0) tcp_failed(t);
}

static int try_tcp(struct try *t, const struct sockaddr *server) {
    t->answer = mem_alloc(2 + DNS_MESSAGE_MAX);
    if (!t->answer) return -ENOMEM;
    return uv_tcp_connect(&t->connect, &t->tcp, server, on_tcp_connected);
}

static int try_start(struct dns_ask *a, const struct sockaddr *server) {
    struct dns_upstream *u = a->u;
    struct try *t = mem_zalloc(sizeof *t);
    if (!t) return -ENOMEM;
    int r = a->by_tcp ? uv_tcp_init(u->loop, &t->tcp) : uv_udp_init(u->loop, &t->udp);
    if (r < 0) {
        mem_free(t);
        return r;
    }
    u->open_handles++;
    t->handle.data = t->connect.data = t->write.data = t;
    t->u = u;
    t->ask = a;
    a->try = t;
    if (getrandom(&t->id, sizeof t->id, 0) != sizeof t->id) return -EIO;
    t->question_len = dns_build_query(&a->query, t->id, t->question + 2);
    dns_put16(t->question, (uint16_t) t->question_len);
    return a->by_tcp ? try_tcp(t, server) : try_udp(t, server);
}

static void next_try(struct dns_ask *a) {
    struct dns_upstream *u = a->u;
    try_drop(a);
    size_t tries = u->n_servers < TRIES_MIN ? TRIES_MIN : u->n_servers;
    if (u->n_servers == 0 || a->tries >= tries) {
        ask_finish(a, NULL, 0);
        return;
    }
    const struct sockaddr_storage *server = &u->servers[a->tries++ % u->n_servers];
    int r = try_start(a, (const struct sockaddr *) server);
    if (r < 0) try_drop(a);
    soon(a, r < 0 ? 0 : DNS_TRY_MS);
}

/* --- interface --- */

int dns_upstream_new(uv_loop_t *loop, const char *resolv_conf, dns_own_cb own, void *arg,
                     struct dns_upstream **ret) {
    struct dns_upstream *u = mem_zalloc(sizeof *u);
    if (!u) return -ENOMEM;
    u->resolv_conf = mem_strdup(resolv_conf);
    if (!u->resolv_conf) {
        mem_free(u);
        return -ENOMEM;
    }
    u->loop = loop;
    u->own = own;
    u->own_arg = arg;
    list_init(&u->asks);
    *ret = u;
    return 0;
}

static unsigned asks_of(const struct dns_upstream *u, uint32_t asker) {
    unsigned n = 0;
    list_each (it, &u->asks) n += list_entry(it, struct dns_ask, node)->asker == asker;
    return n;
}

int dns_upstream_ask(struct dns_upstream *u, const struct dns_query *query, uint32_t asker,
                     bool by_tcp, dns_answer_cb cb, void *arg, struct dns_ask **ret) {
    refresh_servers(u);
    if (u->n_servers == 0) return -ENOENT;
    if (u->n_asks >= ASKS_MAX || asks_of(u, asker) >= ASKS_PER_ASKER_MAX) return -EBUSY;
    struct dns_ask *a = mem_zalloc(sizeof *a);
    if (!a) return -ENOMEM;
    *a = (struct dns_ask){
        .u = u, .query = *query, .asker = asker, .by_tcp = by_tcp, .cb = cb, .arg = arg};
    int r = uv_timer_init(u->loop, &a->timer);
    if (r < 0) {
        mem_free(a);
        return r;
    }
    a->timer.data = a;
    u->open_handles++;
    u->n_asks++;
    list_add_tail(&u->asks, &a->node);
    *ret = a;
    const struct sockaddr_storage *server = &u->servers[a->tries++ % u->n_servers];
    r = try_start(a, (const struct sockaddr *) server);
    if (r < 0) try_drop(a);
    r = uv_timer_start(&a->timer, on_timeout, r < 0 ? 0 : DNS_TRY_MS, 0);
    ensure(r == 0); /* fails only for a closing handle or without a callback */
    return 0;
}

void dns_upstream_close(struct dns_upstream *u, void (*cb)(void *arg), void *arg) {
    u->closed = cb;
    u->closed_arg = arg;
    u->closing = true;
    u->open_handles++; /* against an end within the loop */
    list_each_safe (it, &u->asks) ask_close(list_entry(it, struct dns_ask, node));
    u->open_handles--;
    maybe_closed(u);
}
