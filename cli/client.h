// SPDX-License-Identifier: Apache-2.0
/* cli/client.h - the connection to the scheduler, with calls that look synchronous.
 *
 * Role     one bus on a private loop. A call runs the loop until its stream is over.
 * Thread   one.
 * Limits   an answer: CLIENT_ANSWER_MAX bytes.
 */
#ifndef ORLOP_CLI_CLIENT_H
#define ORLOP_CLI_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "cli.h"
#include "proto/arena.h"
#include "proto/bus/bus.h"

enum { CLIENT_ANSWER_MAX = 64 << 20, CLIENT_ARENA_MAX = 512 << 20 };

struct client;

/* Connect to RUN/api.sock. 0, or an exit code with the reason printed. */
must_use int client_open(struct cli *cli, struct client **ret);
/* The same without a word; tries again for WAIT_MS. 0 or a negative errno. */
must_use int client_try_open(struct cli *cli, unsigned wait_ms, struct client **ret,
                             struct err *err);
void client_close(struct client *c); /* NULL allowed */

uv_loop_t *client_loop(struct client *c);
struct bus_conn *client_conn(struct client *c);
/* Run the loop once: callbacks, or a wait for the next. */
void client_turn(struct client *c);
/* 0, or -EINTR when ^C came (after client_catch_interrupt). */
int client_wait(struct client *c, unsigned ms);
/* How long client_try goes on asking a scheduler that starts or is being restarted (10 s). */
void client_set_patience(struct client *c, unsigned ms);
/* From now on ^C and SIGTERM do not end the process but the present and every later wait and call.
 */
void client_catch_interrupt(struct client *c);
bool client_interrupted(const struct client *c);

/* One request, one answer of type DESC in A (all DATA messages of the stream together). Negative
 * errno with the scheduler's sentence in ERR. */
must_use int client_try(struct client *c, uint32_t method, const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *desc, struct arena *a, void **ret,
                        struct err *err);
/* The same, a failure is printed. 0 or an exit code. */
must_use int client_call(struct client *c, uint32_t method, const ProtobufCMessage *request,
                         const ProtobufCMessageDescriptor *desc, struct arena *a, void **ret);

/* A stream whose every DATA message goes to ON_DATA until it is over; returns 0 or negative errno.
 * ON_DATA < 0 cancels the stream; that code is returned. */
must_use int client_stream(struct client *c, uint32_t method, const ProtobufCMessage *request,
                           int (*on_data)(void *ctx, const uint8_t *body, size_t len), void *ctx,
                           struct err *err);

/* A fresh id for a write. */
void client_request_id(struct client *c, Orlop__RequestId *id);

#endif
