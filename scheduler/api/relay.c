// SPDX-License-Identifier: Apache-2.0
/* Streams that a node answers: find the node, open the same method there, join the two. */
#include <errno.h>

#include "api.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/agents.h"
#include "scheduler/state/rules.h"

static const struct bus_stream_ops no_ops = {0};

static void relay(struct bus_stream *client, struct bus_conn *node, uint32_t method,
                  const ProtobufCMessage *req) {
    struct bus_stream *out;
    int r = bus_request_pb(node, method, req, &no_ops, NULL, &out);
    if (r < 0) {
        bus_fail(client, r, "the node takes no more streams now");
        return;
    }
    bus_stream_accept(client, &no_ops, NULL);
    bus_relay(client, out);
}

/* --- exec ------------------------------------------------------------------------------------ */

static const struct task *running_task(const struct service *svc, uint32_t slot) {
    const struct task *best = NULL;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (t->status.state != ORLOP__TASK_STATE__RUNNING || (slot && t->slot != slot)) continue;
        if (!best || t->slot < best->slot) best = t;
    }
    return best;
}

static const struct task *resolve(const struct state *s, const Orlop__ExecRequest *r,
                                  struct err *err) {
    if (*r->task) {
        const struct task *t = state_task(s, r->task);
        if (!t) t = state_task_named(s, r->task);
        if (!t) err_say(err, -ENOENT, "there is no task %s", r->task);
        return t;
    }
    const struct service *svc = state_service(s, r->app, r->service);
    if (!svc) {
        err_say(err, -ENOENT, "there is no service %s in app %s", r->service, r->app);
        return NULL;
    }
    const struct task *t = running_task(svc, r->slot);
    if (t) return t;
    if (r->slot)
        err_say(err, -ENOENT, "%s-%s-%u is not running", r->app, r->service, r->slot);
    else
        err_say(err, -ENOENT, "no task of service %s is running", r->service);
    return NULL;
}

void api__exec(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    struct err err = {0};
    const struct task *t = resolve(&s->state, (const void *) req, &err);
    if (!t) {
        bus_fail(stream, err.code, "%s", err.text);
        return;
    }
    if (t->status.state != ORLOP__TASK_STATE__RUNNING) {
        bus_fail(stream, -ENOENT, "task %s is not running", t->id);
        return;
    }
    struct bus_conn *node = agents_conn(s->agents, t->node->name);
    if (!node) {
        bus_fail(stream, -ENOTCONN, "node %s is not connected: is its agent running?",
                 t->node->name);
        return;
    }
    Orlop__ExecRequest out = *(const Orlop__ExecRequest *) (const void *) req;
    out.task = t->id;
    relay(stream, node, ORLOP__METHOD__EXEC, &out.base);
}

/* --- images, volumes: of the node that is there ---------------------------------------------- */

static void to_a_node(struct sched *s, struct bus_stream *stream, uint32_t method,
                      const ProtobufCMessage *req) {
    void *value;
    for (size_t i = 0; map_next(&s->state.nodes, &i, NULL, &value);) {
        struct bus_conn *node = agents_conn(s->agents, ((const struct node *) value)->name);
        if (!node) continue;
        relay(stream, node, method, req);
        return;
    }
    bus_fail(stream, -ENOTCONN, "no node is connected: is an agent running?");
}

void api__image_import(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__IMAGE_IMPORT, req);
}
void api__image_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__IMAGE_LIST, req);
}
void api__image_inspect(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__IMAGE_INSPECT, req);
}
void api__image_resolve(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__IMAGE_RESOLVE, req);
}
void api__image_remove(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__IMAGE_REMOVE, req);
}
void api__volume_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__VOLUME_LIST, req);
}
void api__volume_remove(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    to_a_node(s, stream, ORLOP__METHOD__VOLUME_REMOVE, req);
}
