// SPDX-License-Identifier: Apache-2.0
/* scheduler/api/api.h - what CLI and agents may ask on api.sock.
 *
 * Role     one table: method -> request message -> handler. Reads are answered from the state,
 *          writes after they were applied, streams to nodes are relayed.
 * Thread   [loop].
 * Limits   API_BUDGET_BYTES a decoded request; API_LOGS_MAX requests for logs at a time, API_LOGS_BYTES
 *          that wait for their clients: then the slowest of them is ended. The peer must be root or our own user.
 */
#ifndef ORLOP_SCHEDULER_API_H
#define ORLOP_SCHEDULER_API_H

#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "scheduler/sched.h"

enum { API_BUDGET_BYTES = 128 << 20, API_LOGS_MAX = 256, API_LOGS_BYTES = 32 << 20 };

extern const struct bus_conn_ops api_conn_ops; /* ctx: struct sched */

/* REQ lives until the handler returns. The handler answers, fails or accepts STREAM. */
typedef void (*api_handler)(struct sched *s, struct bus_stream *stream,
                            const ProtobufCMessage *req);

/* A client's write: propose it and answer with what apply has stored for the client. */
void api__write(struct sched *s, struct bus_stream *stream, Orlop__Entry__WhatCase what,
                const ProtobufCMessage *req, const Orlop__RequestId *id);

/* Whether each of NAMES is a service of APP ("" = of any) or a task; if not, STREAM has failed. */
bool api__names_known(struct sched *s, struct bus_stream *stream, const char *app,
                      char *const *names, size_t n);

void api__app_apply(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__app_remove(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__app_scale(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__app_restart(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__app_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__app_status(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__app_spec(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__task_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__task_inspect(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__node_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__node_inspect(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__why(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__events(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__logs(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__exec(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__image_import(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__image_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__image_inspect(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__image_remove(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__image_resolve(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__volume_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__volume_remove(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);
void api__version(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req);

#endif
