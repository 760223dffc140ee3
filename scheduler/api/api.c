// SPDX-License-Identifier: Apache-2.0
#include "api.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "proto/check.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "scheduler/agents.h"

#ifndef ORLOP_VERSION
#define ORLOP_VERSION "unknown"
#endif

void api__version(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    (void) s;
    (void) req;
    Orlop__VersionAnswer a = ORLOP__VERSION_ANSWER__INIT;
    a.version = (char *) (uintptr_t) ORLOP_VERSION;
    a.role = (char *) (uintptr_t) "scheduler";
    bus_answer_pb(stream, &a.base);
}

static const struct method {
    uint32_t number;
    const ProtobufCMessageDescriptor *desc;
    api_handler handler;
} methods[] = {
    {ORLOP__METHOD__VERSION, &orlop__empty__descriptor, api__version},
    {ORLOP__METHOD__APP_APPLY, &orlop__app_apply_request__descriptor, api__app_apply},
    {ORLOP__METHOD__APP_REMOVE, &orlop__app_remove_request__descriptor, api__app_remove},
    {ORLOP__METHOD__APP_LIST, &orlop__app_list_request__descriptor, api__app_list},
    {ORLOP__METHOD__APP_STATUS, &orlop__app_status_request__descriptor, api__app_status},
    {ORLOP__METHOD__APP_SPEC, &orlop__app_spec_request__descriptor, api__app_spec},
    {ORLOP__METHOD__APP_SCALE, &orlop__app_scale_request__descriptor, api__app_scale},
    {ORLOP__METHOD__APP_RESTART, &orlop__app_restart_request__descriptor, api__app_restart},
    {ORLOP__METHOD__TASK_LIST, &orlop__task_list_request__descriptor, api__task_list},
    {ORLOP__METHOD__TASK_INSPECT, &orlop__task_inspect_request__descriptor, api__task_inspect},
    {ORLOP__METHOD__NODE_LIST, &orlop__empty__descriptor, api__node_list},
    {ORLOP__METHOD__NODE_INSPECT, &orlop__node_inspect_request__descriptor, api__node_inspect},
    {ORLOP__METHOD__WHY, &orlop__why_request__descriptor, api__why},
    {ORLOP__METHOD__EVENTS, &orlop__events_request__descriptor, api__events},
    {ORLOP__METHOD__LOGS, &orlop__logs_request__descriptor, api__logs},
    {ORLOP__METHOD__EXEC, &orlop__exec_request__descriptor, api__exec},
    {ORLOP__METHOD__IMAGE_IMPORT, &orlop__image_import_request__descriptor, api__image_import},
    {ORLOP__METHOD__IMAGE_LIST, &orlop__empty__descriptor, api__image_list},
    {ORLOP__METHOD__IMAGE_INSPECT, &orlop__image_ref__descriptor, api__image_inspect},
    {ORLOP__METHOD__IMAGE_REMOVE, &orlop__image_ref__descriptor, api__image_remove},
    {ORLOP__METHOD__IMAGE_RESOLVE, &orlop__image_ref__descriptor, api__image_resolve},
    {ORLOP__METHOD__VOLUME_LIST, &orlop__empty__descriptor, api__volume_list},
    {ORLOP__METHOD__VOLUME_REMOVE, &orlop__volume_ref__descriptor, api__volume_remove},
};

static const struct method *find(uint32_t number) {
    for (size_t i = 0; i < array_len(methods); i++)
        if (methods[i].number == number) return &methods[i];
    return NULL;
}

/* Root, or who we run as: the socket's mode says the same, but it may be changed by hand. */
static bool allowed(struct bus_conn *c) {
    uid_t uid = bus_conn_peer(c).uid;
    return uid == 0 || uid == geteuid();
}

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *stream, uint32_t number,
                       const uint8_t *body, size_t len) {
    struct sched *s = ctx;
    if (!allowed(c)) {
        bus_fail(stream, -EPERM, "only root and the scheduler's own user may ask");
        return;
    }
    if (number == ORLOP__METHOD__SESSION) {
        agents_accept(s->agents, stream);
        return;
    }
    const struct method *m = find(number);
    if (!m) {
        bus_fail(stream, -ENOSYS, "the scheduler does not know method %u", number);
        return;
    }
    if (!s->ready && number != ORLOP__METHOD__VERSION) {
        bus_fail(stream, -EAGAIN, "the scheduler is starting");
        return;
    }
    struct arena arena;
    arena_init(&arena, API_BUDGET_BYTES);
    const ProtobufCMessage *req = arena_unpack(&arena, m->desc, body, len);
    if (req)
        m->handler(s, stream, req);
    else
        bus_fail(stream, -EBADMSG, "the request does not decode");
    arena_fini(&arena);
}

static void on_down(void *ctx, struct bus_conn *c, const struct err *why) {
    (void) ctx;
    (void) c;
    log_debug("api.closed", "why=\"%s\"", why->text);
}

const struct bus_conn_ops api_conn_ops = {.down = on_down, .request = on_request};

/* --- writes ---------------------------------------------------------------------------------- */

struct write_call {
    struct sched *sched;
    struct bus_stream *stream; /* NULL: the client is gone */
    uint8_t client[16];
    uint64_t number;
    bool proposed;
};

static void write_free(struct write_call *w) {
    if (!w->stream && !w->proposed) mem_free(w);
}

static void write_closed(void *ctx, struct bus_stream *stream, const struct err *err) {
    struct write_call *w = ctx;
    (void) stream;
    (void) err;
    w->stream = NULL;
    write_free(w);
}

/* What apply has stored for the client is the answer, also to a repeated request. */
static void answer(struct write_call *w) {
    const struct client *c = state_client(&w->sched->state, w->client);
    if (!c || c->number != w->number) {
        bus_fail(w->stream, -ESTALE, "the client has sent a newer request meanwhile");
    } else if (c->err.code) {
        bus_fail(w->stream, c->err.code, "%s", c->err.text);
    } else {
        int r = bus_send(w->stream, c->answer, c->answer_len);
        if (r < 0)
            bus_fail(w->stream, r, "the answer cannot be sent");
        else
            bus_end(w->stream);
    }
}

/* By this proposal, or by an earlier one of the same request whose answer was lost. */
static bool done(const struct write_call *w) {
    const struct client *c = state_client(&w->sched->state, w->client);
    return c && c->number == w->number;
}

static void write_applied(void *ctx, int status, uint64_t idx) {
    struct write_call *w = ctx;
    (void) idx;
    w->proposed = false;
    if (w->stream && (status == 0 || done(w)))
        answer(w);
    else if (w->stream && status == -ENOSPC)
        bus_fail(w->stream, status, "the disk with the scheduler's log is full: nothing was done");
    else if (w->stream)
        bus_fail(w->stream, status, "it is not known whether this was done: ask again");
    write_free(w);
}

void api__write(struct sched *s, struct bus_stream *stream, Orlop__Entry__WhatCase what,
                const ProtobufCMessage *req, const Orlop__RequestId *id) {
    static const struct bus_stream_ops ops = {.closed = write_closed};
    if (!id || id->client.len != 16 || id->number == 0) {
        bus_fail(stream, -EINVAL, "the request has no id of its client");
        return;
    }
    struct write_call *w = mem_zalloc(sizeof *w);
    if (!w) {
        bus_fail(stream, -ENOMEM, "no memory");
        return;
    }
    *w = (struct write_call){.sched = s, .stream = stream, .number = id->number};
    memcpy(w->client, id->client.data, 16);
    bus_stream_accept(stream, &ops, w);
    if (done(w)) { /* asked again: needs no entry, and no room for one */
        answer(w);
        return;
    }
    w->proposed = true;
    int r = sched_propose_one(s, what, (void *) (uintptr_t) req, write_applied, w);
    if (r == 0) return;
    w->proposed = false;
    bus_fail(stream, r, "the scheduler cannot take this now: nothing was done");
}
