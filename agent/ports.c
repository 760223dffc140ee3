// SPDX-License-Identifier: Apache-2.0
#include "agent/ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/client.h"

enum { RECONNECT_MS = 200 };

struct port {
    uint32_t protocol, number;
    char host_ip[64];
    enum ports_answer answer;
    int error;
    char holder[PORTS_HOLDER_MAX];
};

struct conn {
    uv_poll_t poll;
    struct keeper_client *client;
    struct ports *ports; /* NULL: given up */
};

struct ports {
    struct agent *agent;
    char *socket;
    struct conn *conn;
    uv_timer_t timer; /* connect again, or ask again for refused ones */
    uint64_t next_id, sent_id;
    struct port list[PORTS_MAX];
    size_t n;
    struct arena arena; /* the message that is wanted */
    Orlop__ProxyWant *want;
    bool closing, searching;
    bool unsettled; /* the proxy may still work by an older list */
    uv_work_t search;
    struct port found[PORTS_MAX]; /* refused ones, on their way through the pool */
    size_t n_found;
};

static void send_list(struct ports *p);
static void on_timer(uv_timer_t *t);

static void again_in(struct ports *p, uint64_t ms) {
    if (!p->closing) uv_timer_start(&p->timer, on_timer, ms, 0);
}

static struct port *find(struct ports *p, uint32_t protocol, const char *host_ip, uint32_t number) {
    for (size_t i = 0; i < p->n; i++) {
        struct port *x = &p->list[i];
        if (x->protocol == protocol && x->number == number && str_eq(x->host_ip, host_ip)) return x;
    }
    return NULL;
}

static uint32_t ip_protocol(Orlop__Port__Protocol protocol) {
    return protocol == ORLOP__PORT__PROTOCOL__UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

/* ---- the answer ---- */

static void search(uv_work_t *w) {
    struct ports *p = container_of(w, struct ports, search);
    for (size_t i = 0; i < p->n_found; i++)
        portholder_find(p->found[i].protocol, p->found[i].host_ip, p->found[i].number,
                        p->found[i].holder);
}

static void search_done(uv_work_t *w, int status) {
    struct ports *p = container_of(w, struct ports, search);
    (void) status;
    p->searching = false;
    p->agent->jobs--;
    for (size_t i = 0; i < p->n_found; i++) {
        struct port *x = find(p, p->found[i].protocol, p->found[i].host_ip, p->found[i].number);
        if (!x) continue;
        bool told = x->answer == PORTS_REFUSED;
        *x = p->found[i];
        if (!told)
            log_warn("port.refused", "port=%u host_ip=\"%s\" err=\"%s\" holder=\"%s\"", x->number,
                     x->host_ip, err_text(x->error), x->holder);
    }
    if (!p->closing) actions_prepare_due(p->agent);
}

static void take_refusals(struct ports *p, const Orlop__ProxyReply *r) {
    p->n_found = 0;
    for (size_t i = 0; i < r->n_refused && p->n_found < PORTS_MAX; i++) {
        const Orlop__ProxyRefusal *f = r->refused[i];
        struct port *x = find(p, f->protocol, f->host_ip, f->port);
        if (!x) continue;
        p->found[p->n_found] = *x;
        p->found[p->n_found].answer = PORTS_REFUSED;
        p->found[p->n_found++].error = f->error;
    }
}

static bool was_refused(const struct ports *p, const struct port *x) {
    for (size_t i = 0; i < p->n_found; i++)
        if (p->found[i].protocol == x->protocol && p->found[i].number == x->number &&
            str_eq(p->found[i].host_ip, x->host_ip))
            return true;
    return false;
}

static void on_reply(struct ports *p, const Orlop__ProxyReply *r) {
    if (r->id == p->sent_id) p->unsettled = false;
    if (r->id != p->sent_id || p->searching) {
        if (p->searching) again_in(p, RECONNECT_MS);
        return;
    }
    take_refusals(p, r);
    for (size_t i = 0; i < p->n; i++)
        if (!was_refused(p, &p->list[i])) p->list[i].answer = PORTS_HELD;
    if (p->n_found) {
        p->searching = true;
        p->agent->jobs++;
        int e = uv_queue_work(p->agent->loop, &p->search, search, search_done);
        ensure(e == 0);
        again_in(p, PORTS_RETRY_MS);
    }
    actions_prepare_due(p->agent);
}

/* ---- connection ---- */

static void on_conn_closed(uv_handle_t *h) {
    struct conn *c = h->data;
    keeper_client_free(c->client);
    mem_free(c);
}

static void conn_drop(struct ports *p) {
    struct conn *c = p->conn;
    p->conn = NULL;
    if (!c) return;
    c->ports = NULL;
    uv_poll_stop(&c->poll);
    uv_close((uv_handle_t *) &c->poll, on_conn_closed);
}

static void on_poll(uv_poll_t *h, int status, int events) {
    struct conn *c = h->data;
    (void) events;
    while (c->ports) {
        Orlop__ProxyReply *r = NULL;
        int e = status < 0 ? status : proxy_client_read(c->client, &r, NULL);
        if (e == -EAGAIN) return;
        if (e == 0) {
            on_reply(c->ports, r);
            proxy_reply_free(r);
            continue;
        }
        struct ports *p = c->ports; /* its next life gets the whole list again */
        conn_drop(p);
        again_in(p, RECONNECT_MS);
    }
}

static int connect_now(struct ports *p) {
    struct conn *c = mem_zalloc(sizeof *c);
    int r = c ? keeper_client_open(p->socket, &c->client, NULL) : -ENOMEM;
    if (r < 0) {
        mem_free(c);
        return r;
    }
    c->ports = p;
    c->poll.data = c;
    r = uv_poll_init(p->agent->loop, &c->poll, keeper_client_fd(c->client));
    if (r < 0) {
        keeper_client_free(c->client);
        mem_free(c);
        return r;
    }
    p->conn = c;
    uv_poll_start(&c->poll, UV_READABLE, on_poll);
    return 0;
}

static void send_list(struct ports *p) {
    if (!p->want || p->closing) return;
    int r = p->conn ? 0 : connect_now(p);
    if (r == 0) {
        p->want->id = p->sent_id = ++p->next_id;
        r = proxy_client_send(p->conn->client, p->want, NULL);
        if (r < 0 && r != -EAGAIN) conn_drop(p);
    }
    if (r < 0) again_in(p, RECONNECT_MS);
}

static void on_timer(uv_timer_t *t) {
    send_list(container_of(t, struct ports, timer));
}

/* ---- the list ---- */

static int add_targets(struct arena *a, Orlop__ProxyPort *out, const Orlop__ViewService *s,
                       uint32_t port) {
    out->targets = arena_alloc(a, (s->n_endpoints + 1) * sizeof *out->targets);
    if (!out->targets) return -ENOMEM;
    for (size_t i = 0; i < s->n_endpoints; i++) {
        if (!s->endpoints[i]->serving) continue;
        Orlop__ProxyTarget *t = arena_alloc(a, sizeof *t);
        if (!t) return -ENOMEM;
        orlop__proxy_target__init(t);
        t->address = s->endpoints[i]->address;
        t->port = port;
        out->targets[out->n_targets++] = t;
    }
    return 0;
}

static int add_port(struct arena *a, Orlop__ProxyWant *w, const Orlop__ViewService *s,
                    const Orlop__Port *port) {
    if (port->published == 0 || w->n_ports == PORTS_MAX) return 0;
    Orlop__ProxyPort *out = arena_alloc(a, sizeof *out);
    if (!out) return -ENOMEM;
    orlop__proxy_port__init(out);
    out->protocol = ip_protocol(port->protocol);
    out->port = port->published;
    out->host_ip = arena_strdup(a, port->host_ip);
    if (!out->host_ip || strlen(out->host_ip) >= sizeof((struct port *) 0)->host_ip) return -EINVAL;
    w->ports[w->n_ports++] = out;
    return add_targets(a, out, s, port->target);
}

static Orlop__ProxyWant *build(struct ports *p, struct arena *a) {
    Orlop__ProxyWant *w = arena_alloc(a, sizeof *w);
    if (!w) return NULL;
    orlop__proxy_want__init(w);
    w->ports = arena_alloc(a, PORTS_MAX * sizeof *w->ports);
    if (!w->ports) return NULL;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(astore_services(p->agent->store), &i, &key, &value);) {
        const Orlop__ViewService *s = ((struct astore_object *) value)->message;
        for (size_t k = 0; k < s->n_ports; k++)
            if (add_port(a, w, s, s->ports[k]) == -ENOMEM) return NULL;
    }
    return w;
}

static bool same(const Orlop__ProxyWant *a, const Orlop__ProxyWant *b) {
    size_t la, lb;
    auto_free uint8_t *pa = a ? pb_pack(&a->base, &la) : NULL;
    auto_free uint8_t *pb = b ? pb_pack(&b->base, &lb) : NULL;
    return pa && pb && la == lb && memcmp(pa, pb, la) == 0;
}

/* Keep what is known of the ports that stay. */
static void take_list(struct ports *p) {
    static struct port old[PORTS_MAX]; /* [loop] */
    size_t n_old = p->n;
    memcpy(old, p->list, n_old * sizeof *old);
    p->n = 0;
    for (size_t i = 0; i < p->want->n_ports; i++) {
        const Orlop__ProxyPort *w = p->want->ports[i];
        if (find(p, w->protocol, w->host_ip, w->port)) continue;
        struct port *x = &p->list[p->n++];
        *x = (struct port){.protocol = w->protocol, .number = w->port, .answer = PORTS_UNKNOWN};
        snprintf(x->host_ip, sizeof x->host_ip, "%s", w->host_ip);
        for (size_t k = 0; k < n_old; k++)
            if (old[k].protocol == x->protocol && old[k].number == x->number &&
                str_eq(old[k].host_ip, x->host_ip))
                *x = old[k];
    }
}

void ports_update(struct ports *p) {
    struct arena a;
    arena_init(&a, 32 << 20);
    Orlop__ProxyWant *w = build(p, &a);
    if (!w) agent_fatal(p->agent, "no memory for the published ports", -ENOMEM);
    w->id = p->want ? p->want->id : 0;
    if (same(w, p->want) || (w->n_ports == 0 && !p->want)) {
        arena_fini(&a);
        return;
    }
    arena_fini(&p->arena);
    p->arena = a; /* the message is not unpacked into it any more: the allocator's self-pointer is
                     unused */
    p->want = w;
    p->unsettled = true;
    take_list(p);
    send_list(p);
}

bool ports_settled(const struct ports *p) {
    return !p->unsettled;
}

enum ports_answer ports_ask(const struct ports *p, const char *app, const char *service,
                            char text[static ERR_TEXT_MAX]) {
    enum ports_answer worst = PORTS_HELD;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(astore_services(p->agent->store), &i, &key, &value);) {
        const Orlop__ViewService *s = ((struct astore_object *) value)->message;
        if (!str_eq(s->app, app) || !str_eq(s->service, service)) continue;
        for (size_t k = 0; k < s->n_ports; k++) {
            const Orlop__Port *w = s->ports[k];
            for (size_t x = 0; x < p->n; x++) {
                const struct port *have = &p->list[x];
                if (have->number != w->published || have->protocol != ip_protocol(w->protocol) ||
                    !str_eq(have->host_ip, w->host_ip) || have->answer <= worst)
                    continue;
                worst = have->answer;
                if (worst != PORTS_REFUSED) continue;
                bool taken = have->error == EADDRINUSE;
                snprintf(text, ERR_TEXT_MAX, "port %s%s%u/%s %s%s%s", have->host_ip,
                         *have->host_ip ? ":" : "", have->number,
                         have->protocol == IPPROTO_TCP ? "tcp" : "udp",
                         taken ? "is taken" : "cannot be published: ",
                         taken ? "" : err_text(have->error), "");
                size_t n = strlen(text);
                if (taken && *have->holder)
                    snprintf(text + n, ERR_TEXT_MAX - n, " by %s", have->holder);
            }
        }
    }
    return worst;
}

int ports_new(struct agent *a, const char *socket, struct ports **ret) {
    struct ports *p = mem_zalloc(sizeof *p);
    if (!p) return -ENOMEM;
    p->agent = a;
    p->socket = mem_strdup(socket);
    if (!p->socket) {
        mem_free(p);
        return -ENOMEM;
    }
    arena_init(&p->arena, 0);
    uv_timer_init(a->loop, &p->timer);
    *ret = p;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct ports *p = container_of((uv_timer_t *) h, struct ports, timer);
    arena_fini(&p->arena);
    mem_free(p->socket);
    mem_free(p);
}

void ports_close(struct ports *p) {
    if (!p) return;
    p->closing = true;
    conn_drop(p);
    uv_timer_stop(&p->timer);
    uv_close((uv_handle_t *) &p->timer, on_closed);
}
