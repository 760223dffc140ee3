// SPDX-License-Identifier: Apache-2.0
/* proto/bus/bus.h between simulated processes.
 *
 * A link is a connection: two sides, each with its streams; messages of a way arrive in order, late.
 * When it breaks, each side learns it at a time of its own: what would have arrived after that is
 * lost, what was under way before may still come. With sim.lossy messages of a session are lost,
 * doubled and overtaken as well, which no socket does, but the protocol promises to survive.
 */
#include "proto/bus/bus.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bus.pb-c.h"
#include "check.h"
#include "proto/arena.h"
#include "runtime/base/mem.h"
#include "scheduler/api/api.h"
#include "sim.h"

struct bus_conn { /* in the heap of its owner */
    enum sim_role who;
    const struct bus_conn_ops *ops;
    void *ctx, *data;
    struct link *link; /* NULL: down */
    int side;
    bool dialed;
};

struct side {
    enum sim_role who;
    struct bus_conn *conn; /* NULL: down, or its process died */
    struct list streams;
    int64_t last_us; /* when the last message to it arrives */
};

struct link {
    struct list all;
    struct side sides[2]; /* 0 dialed, 1 is the scheduler's */
    unsigned next_stream;
    bool broken;
};

struct bus_stream {
    struct list node;
    struct bus_conn *conn;
    struct link *link;
    unsigned id;
    uint32_t method;
    const struct bus_stream_ops *ops;
    void *ctx;
    bool mine, ended_here, ended_there, over;
    struct sim_event *writable; /* pending */
};

enum kind { OPEN, DATA, END, ERROR };

struct msg { /* of the world */
    struct link *link;
    int to;
    enum kind kind;
    unsigned stream;
    uint32_t method;
    int code;
    char *text;
    size_t len;
    uint8_t body[];
};

static struct {
    struct list links;
    bool cut;
    enum sim_hold hold;
    struct list held; /* struct waiting */
    unsigned drop;
} net;

struct waiting {
    struct list node;
    struct msg *msg;
};

void sim_bus_reset(void) {
    memset(&net, 0, sizeof net);
    list_init(&net.links);
    list_init(&net.held);
}

/* --- arrival --------------------------------------------------------------------------------- */

static struct bus_stream *find(struct side *s, unsigned id) {
    list_each (it, &s->streams) {
        struct bus_stream *x = list_entry(it, struct bus_stream, node);
        if (x->id == id) return x;
    }
    return NULL;
}

struct closing {
    struct bus_stream *stream;
    struct err err;
};

static void end_stream(struct bus_stream *s, const struct err *why) {
    list_del(&s->node);
    sim_cancel(s->writable);
    if (s->ops && s->ops->closed) s->ops->closed(s->ctx, s, why);
    mem_free(s);
}

static void closed_now(void *arg) {
    struct closing *c = arg;
    end_stream(c->stream, &c->err);
    mem_free(c);
}

static void over(struct bus_stream *s, int code, const char *text) {
    if (s->over) return;
    s->over = true;
    struct closing *c = mem_zalloc(sizeof *c);
    c->stream = s;
    c->err.code = code > 0 ? -code : code;
    snprintf(c->err.text, sizeof c->err.text, "%s", text ? text : "");
    sim_after_us(sim.who, 0, closed_now, c);
}

static void over_if_both(struct bus_stream *s) {
    if (s->ended_here && s->ended_there) over(s, 0, NULL);
}

static struct bus_stream *stream_new(struct bus_conn *c, unsigned id, uint32_t method) {
    struct bus_stream *s = mem_zalloc(sizeof *s);
    s->conn = c;
    s->link = c->link;
    s->id = id;
    s->method = method;
    list_add_tail(&c->link->sides[c->side].streams, &s->node);
    return s;
}

static void arrive_open(struct bus_conn *c, const struct msg *m) {
    struct bus_stream *s = stream_new(c, m->stream, m->method);
    if (c->ops->request)
        c->ops->request(c->ctx, c, s, m->method, m->body, m->len);
    else
        bus_fail(s, -ENOSYS, "no requests here");
}

static void arrive(void *arg) {
    struct msg *m = arg;
    struct side *side = &m->link->sides[m->to];
    struct bus_conn *c = side->conn;
    struct bus_stream *s = c ? find(side, m->stream) : NULL;
    if (c && m->kind == OPEN) arrive_open(c, m);
    if (!s || s->over) return;
    if (m->kind == DATA && s->ops && s->ops->data) s->ops->data(s->ctx, s, m->body, m->len);
    if (m->kind == ERROR) over(s, m->code, m->text);
    if (m->kind != END) return;
    s->ended_there = true;
    if (s->ops && s->ops->end)
        s->ops->end(s->ctx, s);
    else if (s->mine)
        bus_end(s);
    over_if_both(s);
}

/* --- sending --------------------------------------------------------------------------------- */

static void forward(struct msg *m, bool in_order) {
    struct side *to = &m->link->sides[m->to];
    int64_t at = sim.now_us + sim_delay_us(30, in_order ? 400000 : 3000000);
    if (in_order && at <= to->last_us) at = to->last_us + 1;
    if (in_order) to->last_us = at;
    sim_after_us(to->who, at - sim.now_us, arrive, m);
}

static bool of_session(const struct bus_stream *s) {
    return s->method == ORLOP__METHOD__SESSION;
}

static bool held(struct bus_stream *s, struct msg *m) {
    if (!of_session(s) || m->kind != DATA) return false;
    if (net.hold != (m->to ? SIM_HOLD_UP : SIM_HOLD_DOWN)) return false;
    struct waiting *w = mem_zalloc(sizeof *w);
    w->msg = m;
    list_add_tail(&net.held, &w->node);
    return true;
}

static bool dropped(const struct bus_stream *s, const struct msg *m) {
    if (!of_session(s) || m->kind != DATA) return false;
    if (net.drop && m->to == 0 && check_is_wanted(m->body, m->len)) {
        net.drop--;
        sim_say("a set is lost on its way");
        return true;
    }
    return sim.lossy && sim_chance(15);
}

static void post(struct bus_stream *s, enum kind kind, int code, const char *text, const void *body,
                 size_t len) {
    enum sim_role was = sim_as(SIM_WORLD);
    struct link *l = s->link;
    struct msg *m = mem_zalloc(sizeof *m + len);
    *m = (struct msg){.link = l,
                      .to = !s->conn->side,
                      .kind = kind,
                      .stream = s->id,
                      .method = s->method,
                      .code = code,
                      .text = text ? mem_strdup(text) : NULL,
                      .len = len};
    if (len) memcpy(m->body, body, len);
    if (of_session(s) && kind == DATA) check_message(m->to == 1, m->body, len);
    if (!dropped(s, m) && !held(s, m)) {
        bool doubled = sim.lossy && of_session(s) && kind == DATA && sim_chance(15);
        if (doubled) forward(m, false);
        forward(m, !(sim.lossy && of_session(s) && kind == DATA && sim_chance(15)));
    }
    sim_as(was);
}

static bool usable(const struct bus_stream *s) {
    return !s->over && !s->ended_here && s->conn->link == s->link;
}

static void writable(void *arg) {
    struct bus_stream *s = arg;
    s->writable = NULL;
    if (usable(s) && s->ops && s->ops->writable) s->ops->writable(s->ctx, s);
}

int bus_send(struct bus_stream *s, const void *body, size_t len) {
    if (!usable(s)) return -EPIPE;
    if (of_session(s) && sim_chance(5)) { /* no credit */
        if (!s->writable)
            s->writable = sim_after_us(sim.who, sim_delay_us(100, 500000), writable, s);
        return -EAGAIN;
    }
    post(s, DATA, 0, NULL, body, len);
    return 0;
}

int bus_send_pb(struct bus_stream *s, const ProtobufCMessage *m) {
    size_t len;
    auto_free uint8_t *data = pb_pack(m, &len);
    return bus_send(s, data, len);
}

void bus_end(struct bus_stream *s) {
    if (!usable(s)) return;
    post(s, END, 0, NULL, NULL, 0);
    s->ended_here = true;
    over_if_both(s);
}

void bus_fail(struct bus_stream *s, int code, const char *fmt, ...) {
    char text[ERR_TEXT_MAX];
    va_list ap;
    if (s->over) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_trace("stream of method %u fails: %s", s->method, text);
    if (usable(s)) post(s, ERROR, code, text, NULL, 0);
    over(s, code, text);
}

void bus_cancel(struct bus_stream *s) {
    bus_fail(s, -ECANCELED, "cancelled");
}

void bus_answer_pb(struct bus_stream *s, const ProtobufCMessage *m) {
    int r = bus_send_pb(s, m);
    if (r < 0)
        bus_fail(s, r, "the answer cannot be sent");
    else
        bus_end(s);
}

int bus_request(struct bus_conn *c, uint32_t method, const void *body, size_t len,
                const struct bus_stream_ops *ops, void *ctx, struct bus_stream **ret) {
    if (!c->link) return -ENOTCONN;
    struct bus_stream *s = stream_new(c, ++c->link->next_stream, method);
    s->mine = true;
    s->ops = ops;
    s->ctx = ctx;
    post(s, OPEN, 0, NULL, body, len);
    *ret = s;
    return 0;
}

int bus_request_pb(struct bus_conn *c, uint32_t method, const ProtobufCMessage *m,
                   const struct bus_stream_ops *ops, void *ctx, struct bus_stream **ret) {
    size_t len;
    auto_free uint8_t *data = pb_pack(m, &len);
    return bus_request(c, method, data, len, ops, ctx, ret);
}

void bus_stream_accept(struct bus_stream *s, const struct bus_stream_ops *ops, void *ctx) {
    s->ops = ops;
    s->ctx = ctx;
}

struct bus_conn *bus_stream_conn(struct bus_stream *s) {
    return s->conn;
}

struct bus_peer bus_conn_peer(const struct bus_conn *c) {
    (void) c;
    return (struct bus_peer){.uid = 0};
}

bool bus_conn_is_up(const struct bus_conn *c) {
    return c->link != NULL;
}

void bus_relay(struct bus_stream *a, struct bus_stream *b) {
    bus_fail(a, -ENOSYS, "nothing is relayed here");
    bus_fail(b, -ENOSYS, "nothing is relayed here");
}

void bus_stream_hold(struct bus_stream *s) {
    (void) s;
}

void bus_consumed(struct bus_stream *s, size_t n) {
    (void) s;
    (void) n;
}

/* --- connections ----------------------------------------------------------------------------- */

static void dial(void *arg);

static void redial(struct bus_conn *c) {
    sim_after_us(c->who, sim_delay_us(100000, 1200000), dial, c);
}

static void accepted(void *arg) {
    struct bus_conn *c = arg;
    if (c->ops->up) c->ops->up(c->ctx, c);
}

static struct bus_conn *conn_new(enum sim_role who, const struct bus_conn_ops *ops, void *ctx) {
    enum sim_role was = sim_as(who);
    struct bus_conn *c = mem_zalloc(sizeof *c);
    sim_as(was);
    *c = (struct bus_conn){.who = who, .ops = ops, .ctx = ctx};
    return c;
}

static void attach(struct link *l, int side, struct bus_conn *c) {
    l->sides[side] = (struct side){.who = c->who, .conn = c};
    list_init(&l->sides[side].streams);
    c->link = l;
    c->side = side;
    sim_after_us(c->who, sim_delay_us(10, 2000), accepted, c);
}

static void dial(void *arg) {
    struct bus_conn *c = arg;
    if (c->link) return;
    if (!sim.processes[SIM_SCHED].up || (net.cut && c->who == SIM_AGENT)) {
        redial(c);
        return;
    }
    enum sim_role was = sim_as(SIM_WORLD);
    struct link *l = mem_zalloc(sizeof *l);
    list_add_tail(&net.links, &l->all);
    attach(l, 0, c);
    attach(l, 1, conn_new(SIM_SCHED, &api_conn_ops, sim_sched));
    sim_as(was);
}

struct bus_conn *sim_dial(enum sim_role who, const struct bus_conn_ops *ops, void *ctx) {
    struct bus_conn *c = conn_new(who, ops, ctx);
    c->dialed = true;
    sim_after_us(who, 0, dial, c);
    return c;
}

static void went_down(void *arg) {
    struct bus_conn *c = arg;
    if (!c->link) return;
    struct side *side = &c->link->sides[c->side];
    struct err why = {.code = -ECONNRESET, .text = "the connection broke"};
    side->conn = NULL;
    c->link = NULL;
    while (!list_empty(&side->streams)) {
        struct bus_stream *s = list_entry(side->streams.next, struct bus_stream, node);
        list_del(&s->node);
        list_init(&s->node);
        if (s->over) continue; /* its own event is on the way */
        s->over = true;
        end_stream(s, &why);
    }
    if (c->ops->down) c->ops->down(c->ctx, c, &why);
    if (c->dialed)
        redial(c);
    else
        mem_free(c);
}

static void link_break(struct link *l) {
    if (l->broken) return;
    l->broken = true;
    for (int i = 0; i < 2; i++)
        if (l->sides[i].conn)
            sim_after_us(l->sides[i].who, sim_delay_us(100, 600000), went_down, l->sides[i].conn);
}

void sim_link_break(enum sim_role who) {
    list_each (it, &net.links) {
        struct link *l = list_entry(it, struct link, all);
        if (l->sides[0].who == who) link_break(l);
    }
}

void sim_link_cut(bool cut) {
    net.cut = cut;
    if (cut) sim_link_break(SIM_AGENT);
}

void sim_bus_role_died(enum sim_role who) {
    list_each (it, &net.links) {
        struct link *l = list_entry(it, struct link, all);
        for (int i = 0; i < 2; i++) {
            if (l->sides[i].who != who) continue;
            l->sides[i].conn = NULL;
            list_init(&l->sides[i].streams);
            link_break(l);
        }
    }
}

/* --- golden traces --------------------------------------------------------------------------- */

void sim_link_hold(enum sim_hold which) {
    net.hold = which;
    while (which == SIM_HOLD_NONE && !list_empty(&net.held)) {
        struct waiting *w = list_entry(net.held.next, struct waiting, node);
        list_del(&w->node);
        forward(w->msg, true);
        mem_free(w);
    }
}

void sim_link_drop_next(unsigned n) {
    net.drop = n;
}
