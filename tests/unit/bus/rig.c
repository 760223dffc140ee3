// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <stdlib.h>
#include <unistd.h>

static void count_bytes(struct rec *r, const uint8_t *body, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (body[i] != r->next_in++) r->torn = true;
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct rec *r = ctx;
    r->messages++;
    r->bytes += len;
    count_bytes(r, body, len);
    if (r->hold) {
        bus_stream_hold(s);
        r->held += len;
    }
    if (r->cancel_on_data) bus_cancel(s);
    if (r->fail_on_data) bus_fail(s, EIO, "it broke");
    if (r->close_on_data) bus_conn_close(bus_stream_conn(s));
    if (len) r->torn |= body[len - 1] != (unsigned char) (r->next_in - 1); /* still readable */
}

static void on_end(void *ctx, struct bus_stream *s) {
    struct rec *r = ctx;
    r->ends++;
    if (r->to_send == 0) bus_end(s);
}

void rec_pump(struct rec *r) {
    static unsigned char body[BUS_FRAME_MAX]; /* off the heap: allocations are made to fail */
    while (r->to_send > 0) {
        unsigned char next = r->next_out;
        for (size_t i = 0; i < r->size; i++) body[i] = next++;
        int e = bus_send(r->s, body, r->size);
        if (e == -EAGAIN) return;
        if (e < 0) {
            bus_fail(r->s, e, "cannot send");
            return;
        }
        r->next_out = next;
        r->to_send--;
    }
    if (r->end_after) bus_end(r->s);
}

static void on_writable(void *ctx, struct bus_stream *s) {
    (void) s;
    rec_pump(ctx);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct rec *r = ctx;
    (void) s;
    r->closed++;
    r->s = NULL;
    r->err = *err;
}

const struct bus_stream_ops rec_ops = {on_data, on_end, on_writable, on_closed};

static struct rec *take(struct rig *r, struct bus_stream *s) {
    struct rec *rec = &r->recs[r->n_recs++];
    rec->s = s;
    bus_stream_accept(s, &rec_ops, rec);
    return rec;
}

static void echo(struct bus_stream *s, const uint8_t *body, size_t len) {
    static const struct bus_stream_ops none = {0};
    bus_stream_accept(s, &none, NULL);
    if (bus_send(s, body, len) < 0)
        bus_fail(s, EIO, "echo");
    else
        bus_end(s);
}

static void relay(struct rig *r, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct bus_stream *to;
    if (len == 0 || bus_request(r->relay_to, body[0], body + 1, len - 1, &rec_ops, NULL, &to) < 0)
        bus_fail(s, ENOTCONN, "nobody to relay to");
    else
        bus_relay(s, to);
}

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                       const uint8_t *body, size_t len) {
    struct rig *r = ctx;
    struct rec *rec;
    (void) c;
    switch (method) {
    case M_ECHO:
        echo(s, body, len);
        break;
    case M_TAKE:
        (void) take(r, s);
        break;
    case M_TAKE_HOLD:
        take(r, s)->hold = true;
        break;
    case M_REFUSE:
        bus_fail(s, ENOENT, "no such thing as '%.*s'", (int) len, (const char *) body);
        break;
    case M_PUSH:
        rec = take(r, s);
        rec->to_send = r->push_messages;
        rec->size = r->push_size;
        rec->end_after = true;
        rec_pump(rec);
        break;
    case M_RELAY:
        relay(r, s, body, len);
        break;
    default:
        break;
    }
}

static void on_accepted_up(void *ctx, struct bus_conn *c) {
    struct rig *r = ctx;
    r->accepted = c;
    r->accepted_ups++;
}

static void on_accepted_down(void *ctx, struct bus_conn *c, const struct err *why) {
    struct rig *r = ctx;
    (void) why;
    r->accepted_downs++;
    if (r->accepted == c) r->accepted = NULL;
}

static const struct bus_conn_ops server_ops = {on_accepted_up, on_accepted_down, on_request, NULL};

static void on_up(void *ctx, struct bus_conn *c) {
    struct rig *r = ctx;
    (void) c;
    r->ups++;
}

static void on_down(void *ctx, struct bus_conn *c, const struct err *why) {
    struct rig *r = ctx;
    (void) c;
    r->downs++;
    r->down_err = *why;
}

static void on_dial_failed(void *ctx, struct bus_conn *c, const struct err *why) {
    struct rig *r = ctx;
    (void) c;
    (void) why;
    r->dial_failures++;
}

static const struct bus_conn_ops client_ops = {on_up, on_down, on_request, on_dial_failed};

static void on_bus_closed(void *ctx) {
    struct rig *r = ctx;
    r->closed_buses++;
}

static void on_deadline(uv_timer_t *t) {
    *(bool *) t->data = true;
}

bool rig_until(struct rig *r, bool (*pred)(struct rig *r, void *arg), void *arg) {
    bool late = false;
    uv_timer_t timer;
    uv_timer_init(&r->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_deadline, DEADLINE_MS, 0);
    while (!pred(r, arg) && !late) uv_run(&r->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *) &timer, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    return !late;
}

static bool is_closed(struct rig *r, void *arg) {
    const struct rec *rec = arg;
    (void) r;
    return rec->closed > 0;
}

bool rig_until_closed(struct rig *r, const struct rec *rec) {
    union {
        const struct rec *in;
        void *out;
    } u = {rec};
    return rig_until(r, is_closed, u.out);
}

struct bus_stream *rig_request(struct rig *r, struct rec *rec, uint32_t method, const char *body) {
    int e = bus_request(r->dialed, method, body, strlen(body), &rec_ops, rec, &rec->s);
    assert_int_equal(e, 0);
    assert_int_equal(rec->closed, 0);
    return rec->s;
}

void rig_listen(struct rig *r) {
    struct err err = {0};
    assert_int_equal(bus_new(&r->loop, &r->server), 0);
    int e = bus_listen(r->server, r->url, &server_ops, r, &r->listener, &err);
    if (e < 0) fail_msg("%s", err.text);
}

bool rig_try_listen(struct rig *r, struct err *err) {
    return bus_listen(r->server, r->url, &server_ops, r, &r->listener, err) == 0;
}

bool rig_try_dial(struct rig *r, struct err *err) {
    return bus_dial(r->client, r->url, &client_ops, r, &r->dialed, err) == 0;
}

static bool both_up(struct rig *r, void *arg) {
    const unsigned *accepted = arg;
    return r->dialed && bus_conn_is_up(r->dialed) && r->ups > 0 && r->accepted_ups > *accepted;
}

void rig_dial(struct rig *r) {
    struct err err = {0};
    unsigned accepted = r->accepted_ups;
    if (!r->client) assert_int_equal(bus_new(&r->loop, &r->client), 0);
    assert_int_equal(bus_dial(r->client, r->url, &client_ops, r, &r->dialed, &err), 0);
    assert_int_equal(r->ups, 0);
    assert_true(rig_until(r, both_up, &accepted));
}

static bool buses_are_closed(struct rig *r, void *arg) {
    return r->closed_buses >= *(unsigned *) arg;
}

void rig_close_server(struct rig *r) {
    unsigned want = r->closed_buses + 1;
    bus_close(r->server, on_bus_closed, r);
    assert_int_equal(r->closed_buses, want - 1);
    assert_true(rig_until(r, buses_are_closed, &want));
    r->server = NULL;
}

int rig_setup(void **state) {
    struct rig *r = mem_zalloc(sizeof *r);
    snprintf(r->dir, sizeof r->dir, "%s/orlop-bus-XXXXXX", P_tmpdir);
    if (!mkdtemp(r->dir)) return -1;
    snprintf(r->url, sizeof r->url, "ipc://%s/api.sock", r->dir);
    uv_loop_init(&r->loop);
    *state = r;
    return 0;
}

int rig_teardown(void **state) {
    struct rig *r = *state;
    unsigned want = r->closed_buses;
    if (r->server) want++;
    if (r->client) want++;
    if (r->client) bus_close(r->client, on_bus_closed, r);
    if (r->server) bus_close(r->server, on_bus_closed, r);
    bool closed = rig_until(r, buses_are_closed, &want);
    int left = uv_loop_close(&r->loop);
    (void) unlink(r->url + strlen("ipc://"));
    int dir = rmdir(r->dir);
    mem_free(r);
    return closed && left == 0 && dir == 0 ? 0 : -1;
}
