// SPDX-License-Identifier: Apache-2.0
#include "sink.h"

#include <errno.h>
#include <unistd.h>

enum { QUEUE_HIGH = 256 << 10 };

static void on_data(void *ctx, struct bus_stream *stream, const uint8_t *body, size_t len) {
    struct sink *s = ctx;
    s->message(s, body, len);
    if (s->out.error) {
        bus_cancel(stream);
    } else if (outlet_queued(&s->out) > QUEUE_HIGH) {
        bus_stream_hold(stream);
        s->held += len;
    }
}

static void on_closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct sink *s = ctx;
    (void) stream;
    s->stream = NULL;
    s->err = *err;
    if (s->last) s->last(s);
}

static const struct bus_stream_ops ops = {on_data, NULL, NULL, on_closed};

static void on_drained(void *ctx) {
    struct sink *s = ctx;
    if (s->stream && s->held) bus_consumed(s->stream, s->held);
    s->held = 0;
}

void sink_write(struct sink *s, const void *data, size_t n) {
    (void) outlet_write(&s->out, data, n); /* on_data looks at the error */
}

static int result(const struct sink *s) {
    if (s->out.error == -EPIPE) return EXIT_OK; /* | head */
    if (s->out.error)
        return cli_fail(EXIT_FAILED, "cannot write to the output: %s", err_text(s->out.error));
    if (s->err.code == 0) return EXIT_OK;
    return cli_fail(cli_exit_of(s->err.code), "%s",
                    s->err.text[0] ? s->err.text : err_text(s->err.code));
}

int sink_run(struct sink *s, struct client *c, uint32_t method, const ProtobufCMessage *request,
             void (*message)(struct sink *s, const uint8_t *body, size_t len),
             void (*last)(struct sink *s)) {
    *s = (struct sink){.message = message, .last = last};
    int r = outlet_open(&s->out, client_loop(c), STDOUT_FILENO, on_drained, s);
    if (r == 0) r = bus_request_pb(client_conn(c), method, request, &ops, s, &s->stream);
    if (r < 0) {
        outlet_close(&s->out);
        return cli_fail(cli_exit_of(r), "%s", err_text(r));
    }
    while (s->stream || (outlet_queued(&s->out) > 0 && !s->out.error)) client_turn(c);
    r = result(s);
    outlet_close(&s->out);
    return r;
}
