// SPDX-License-Identifier: Apache-2.0
/* tests/unit/bus/rig.h - a listening bus and a dialing bus on one loop, and streams that record
 * what happened to them. Callbacks record, test bodies assert. */
#ifndef TEST_BUS_RIG_H
#define TEST_BUS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/bus/bus.h"
#include "runtime/base/mem.h"

enum { DEADLINE_MS = 60000, RECS_MAX = 2048 };

/* What the server does with a request; the number of the method. */
enum method {
    M_ECHO = 1,  /* answers with the body */
    M_TAKE,      /* accepts; recs[n] records */
    M_TAKE_HOLD, /* the same, and holds the credit of what comes */
    M_REFUSE,    /* bus_fail(ENOENT) */
    M_IGNORE,    /* returns without accepting */
    M_PUSH,      /* accepts and sends `push_messages` of `push_size` bytes, then END */
    M_RELAY, /* relays to a new request M_ECHO/M_TAKE.. on `relay_to`; body[0] is the method there
              */
};

struct rec {
    struct bus_stream *s; /* NULL once closed */
    size_t messages, bytes;
    unsigned ends, closed;
    struct err err;
    bool hold;
    size_t held;          /* bytes not given back */
    size_t to_send, size; /* messages that the pump still sends, each of this size */
    bool end_after, cancel_on_data, fail_on_data, close_on_data;
    unsigned char next_in, next_out; /* every byte of a message is a counter */
    bool torn;                       /* a byte was not the expected one */
};

struct rig {
    uv_loop_t loop;
    char dir[64], url[96];
    struct bus *server, *client;
    struct bus_listener *listener;
    struct bus_conn *dialed, *accepted;
    unsigned ups, downs, accepted_ups, accepted_downs, dial_failures;
    bool nested, depth; /* a callback ran inside a call */
    struct err down_err;
    struct rec recs[RECS_MAX]; /* the server's */
    size_t n_recs;
    size_t push_messages, push_size;
    struct bus_conn *relay_to;
    unsigned closed_buses;
};

extern const struct bus_stream_ops rec_ops;

int rig_setup(void **state);
int rig_teardown(void **state);
void rig_listen(struct rig *r);
void rig_dial(struct rig *r);
/* Without asserting; the buses are there. */
bool rig_try_listen(struct rig *r, struct err *err);
bool rig_try_dial(struct rig *r, struct err *err);
void rig_close_server(struct rig *r);
/* Run the loop until PRED(r) or the deadline; true when it held. */
bool rig_until(struct rig *r, bool (*pred)(struct rig *r, void *arg), void *arg);
bool rig_until_closed(struct rig *r, const struct rec *rec);
/* Open a stream with BODY as text. */
struct bus_stream *rig_request(struct rig *r, struct rec *rec, uint32_t method, const char *body);
void rec_pump(struct rec *rec);

#endif
