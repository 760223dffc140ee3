// SPDX-License-Identifier: Apache-2.0
#include "client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "anchor.h"
#include "runtime/base/buf.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"

enum {
    CONNECT_MS = 5000,
    RESTART_MS = 10000, /* the anchor starts a scheduler that died again within this */
    RETRY_MS = 200,
    CLIENT_ID_BYTES = 16,
};

struct client {
    uv_loop_t loop;
    struct bus *bus;
    struct bus_conn *conn;
    uv_timer_t timer;
    uv_signal_t signals[2];
    bool has_signals;
    bool timer_fired, interrupted, gone;
    unsigned patience_ms;
    unsigned dial_failures;
    struct err dial_err;
    uint8_t id[CLIENT_ID_BYTES];
    uint64_t requests;
};

static void on_dial_failed(void *ctx, struct bus_conn *conn, const struct err *why) {
    struct client *c = ctx;
    (void) conn;
    c->dial_failures++;
    c->dial_err = *why;
}

static const struct bus_conn_ops conn_ops = {NULL, NULL, NULL, on_dial_failed};

static void on_timer(uv_timer_t *t) {
    struct client *c = t->data;
    c->timer_fired = true;
}

static void arm(struct client *c, unsigned ms) {
    c->timer_fired = false;
    (void) uv_timer_start(&c->timer, on_timer, ms, 0); /* fails without a callback only */
}

void client_turn(struct client *c) {
    uv_run(&c->loop, UV_RUN_ONCE);
}

static int setup(struct cli *cli, struct client *c, struct err *err) {
    char path[PATHS_FULL_MAX], url[PATHS_FULL_MAX + 8];
    snprintf(url, sizeof url, "ipc://%s", paths_run(&cli->paths, "api.sock", path));
    int r = uv_loop_init(&c->loop);
    if (r < 0) return err_set(err, r, "make an event loop");
    (void) uv_timer_init(&c->loop, &c->timer);
    c->timer.data = c;
    r = bus_new(&c->loop, &c->bus);
    if (r < 0) return err_set(err, r, "make a connection");
    (void) !getrandom(c->id, sizeof c->id, 0); /* 16 bytes never come short */
    return bus_dial(c->bus, url, &conn_ops, c, &c->conn, err);
}

int client_try_open(struct cli *cli, unsigned wait_ms, struct client **ret, struct err *err) {
    struct client *c = need(mem_zalloc(sizeof *c));
    c->patience_ms = RESTART_MS;
    int r = setup(cli, c, err);
    if (r < 0) {
        client_close(c);
        return r;
    }
    arm(c, wait_ms ? wait_ms : CONNECT_MS);
    bool patient = wait_ms > 0;
    while (!bus_conn_is_up(c->conn) && !c->timer_fired && (patient || c->dial_failures == 0))
        client_turn(c);
    if (bus_conn_is_up(c->conn)) {
        *ret = c;
        return 0;
    }
    r = c->dial_failures ? c->dial_err.code : -ETIMEDOUT;
    if (err) *err = (struct err){.code = r};
    client_close(c);
    return r;
}

int client_open(struct cli *cli, struct client **ret) {
    struct err err = {0};
    int r = cli_paths(cli);
    if (r) return r;
    r = client_try_open(cli, 0, ret, &err);
    if ((r == -ENOENT || r == -ECONNREFUSED) && anchor_holder(&cli->paths, "anchor") > 0)
        r = client_try_open(cli, RESTART_MS, ret, &err); /* the scheduler is being started again */
    if (r == 0) return 0;
    char path[PATHS_FULL_MAX];
    paths_run(&cli->paths, "api.sock", path);
    if (r == -EACCES || r == -EPERM)
        return cli_fail(EXIT_NOT_PERMITTED, "%s belongs to root: run orlop as root", path);
    if (r == -ENOENT || r == -ECONNREFUSED) {
        fprintf(stderr, "orlop is not running (nobody listens at %s): start it with 'orlop dev'\n",
                path);
        return EXIT_NOT_RUNNING;
    }
    return cli_fail(EXIT_NOT_RUNNING, "%s does not answer: %s", path, err_text(r));
}

static void on_bus_closed(void *ctx) {
    struct client *c = ctx;
    c->gone = true;
}

void client_close(struct client *c) {
    if (!c) return;
    for (unsigned i = 0; c->has_signals && i < array_len(c->signals); i++)
        uv_close((uv_handle_t *) &c->signals[i], NULL);
    if (c->timer.data) uv_close((uv_handle_t *) &c->timer, NULL);
    if (c->bus)
        bus_close(c->bus, on_bus_closed, c);
    else
        c->gone = true;
    while (!c->gone) client_turn(c);
    while (uv_loop_close(&c->loop) == UV_EBUSY) client_turn(c);
    mem_free(c);
}

uv_loop_t *client_loop(struct client *c) {
    return &c->loop;
}

struct bus_conn *client_conn(struct client *c) {
    return c->conn;
}

static void on_signal(uv_signal_t *s, int signum) {
    struct client *c = s->data;
    (void) signum;
    c->interrupted = true;
}

void client_catch_interrupt(struct client *c) {
    static const int signals[] = {SIGINT, SIGTERM};
    for (unsigned i = 0; i < array_len(c->signals); i++) {
        ensure(uv_signal_init(&c->loop, &c->signals[i]) == 0);
        c->signals[i].data = c;
        ensure(uv_signal_start(&c->signals[i], on_signal, signals[i]) == 0);
        uv_unref((uv_handle_t *) &c->signals[i]);
    }
    c->has_signals = true;
}

bool client_interrupted(const struct client *c) {
    return c->interrupted;
}

int client_wait(struct client *c, unsigned ms) {
    arm(c, ms);
    while (!c->timer_fired && !c->interrupted) client_turn(c);
    return c->interrupted ? -EINTR : 0;
}

void client_set_patience(struct client *c, unsigned ms) {
    c->patience_ms = ms;
}

/* --- calls ---------------------------------------------------------------------------------- */

struct call {
    int (*on_data)(void *ctx, const uint8_t *body, size_t len);
    void *ctx;
    bool over;
    int stopped; /* what on_data returned */
    struct err err;
};

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct call *k = ctx;
    int r = k->on_data(k->ctx, body, len);
    if (r >= 0) return;
    k->stopped = r;
    bus_cancel(s);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct call *k = ctx;
    (void) s;
    k->over = true;
    k->err = *err;
}

static const struct bus_stream_ops call_ops = {on_data, NULL, NULL, on_closed};

int client_stream(struct client *c, uint32_t method, const ProtobufCMessage *request,
                  int (*take)(void *ctx, const uint8_t *body, size_t len), void *ctx,
                  struct err *err) {
    struct call k = {.on_data = take, .ctx = ctx};
    struct bus_stream *s;
    int r = bus_request_pb(c->conn, method, request, &call_ops, &k, &s);
    if (r < 0) return err_set(err, r, "send the request");
    while (!k.over) {
        client_turn(c);
        if (c->interrupted && !k.over && !k.stopped) {
            k.stopped = -EINTR;
            bus_cancel(s);
        }
    }
    if (k.stopped) return err_say(err, k.stopped, "interrupted");
    if (k.err.code == 0) return 0;
    if (k.err.code == -ECONNRESET && !bus_conn_is_up(c->conn))
        return err_say(err, -ECONNRESET, "lost the connection to the scheduler: %s", k.err.text);
    return err_say(err, k.err.code, "%s", k.err.text[0] ? k.err.text : err_text(k.err.code));
}

static int collect(void *ctx, const uint8_t *body, size_t len) {
    return buf_add(ctx, body, len);
}

/* Messages of one type put behind each other are one message, repeated fields joined. */
static int ask_once(struct client *c, uint32_t method, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *desc, struct arena *a, void **ret,
                    struct err *err) {
    struct buf all;
    buf_init(&all, CLIENT_ANSWER_MAX);
    int r = client_stream(c, method, request, collect, &all, err);
    if (r == 0) {
        *ret = arena_unpack(a, desc, buf_str(&all), all.len);
        if (!*ret) r = err_say(err, -EBADMSG, "the scheduler's answer is malformed");
    }
    buf_fini(&all);
    return r;
}

/* Reading may be repeated, and a write that carries its RequestId: it is done once. */
static bool is_repeatable(uint32_t method) {
    return method != ORLOP__METHOD__IMAGE_REMOVE && method != ORLOP__METHOD__VOLUME_REMOVE;
}

/* It is starting, or was restarted: not a refusal. */
static bool is_passing(const struct client *c, uint32_t method, int code) {
    if (code == -EAGAIN) return true;
    bool lost = (code == -ECONNRESET || code == -ENOTCONN) && !bus_conn_is_up(c->conn);
    return lost && is_repeatable(method);
}

int client_try(struct client *c, uint32_t method, const ProtobufCMessage *request,
               const ProtobufCMessageDescriptor *desc, struct arena *a, void **ret,
               struct err *err) {
    int64_t deadline = clock_mono_ms() + c->patience_ms;
    for (;;) {
        int r = ask_once(c, method, request, desc, a, ret, err);
        if (!is_passing(c, method, r) || clock_mono_ms() >= deadline) return r;
        r = client_wait(c, RETRY_MS);
        if (r < 0) return err_say(err, r, "interrupted");
    }
}

int client_call(struct client *c, uint32_t method, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *desc, struct arena *a, void **ret) {
    struct err err = {0};
    int r = client_try(c, method, request, desc, a, ret, &err);
    return r < 0 ? cli_fail(cli_exit_of(r), "%s", err.text) : 0;
}

void client_request_id(struct client *c, Orlop__RequestId *id) {
    orlop__request_id__init(id);
    id->client = (ProtobufCBinaryData){.len = sizeof c->id, .data = c->id};
    id->number = ++c->requests;
}
