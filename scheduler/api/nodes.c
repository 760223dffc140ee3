// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "api.h"
#include "runtime/base/mem.h"
#include "scheduler/agents.h"

static void fill(const struct sched *s, const struct node *n, Orlop__NodeInfo *m) {
    struct agents_info soft = agents_info_of(s->agents, n->name);
    orlop__node_info__init(m);
    m->name = n->name;
    m->state = (char *) (uintptr_t) (n->up ? "up" : "down");
    m->inventory = n->inventory;
    m->cpu_reserved_millis = n->cpu_reserved_millis;
    m->memory_reserved_bytes = n->memory_reserved_bytes;
    m->tasks = (uint32_t) n->n_tasks;
    m->boot = n->boot;
    m->memory_used_bytes = soft.memory_used_bytes;
    m->cpu_permille = soft.cpu_permille;
    m->acked_idx = soft.acked_idx;
    m->connected = soft.connected;
}

void api__node_list(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    (void) req;
    size_t n = map_len(&s->state.nodes), at = 0;
    auto_free Orlop__NodeInfo *infos = mem_array(n + 1, sizeof *infos);
    auto_free Orlop__NodeInfo **list = mem_array(n + 1, sizeof *list);
    if (!infos || !list) {
        bus_fail(stream, -ENOMEM, "no memory for the answer");
        return;
    }
    void *value;
    for (size_t i = 0; map_next(&s->state.nodes, &i, NULL, &value); at++) {
        fill(s, value, &infos[at]);
        list[at] = &infos[at];
    }
    Orlop__NodeListAnswer m = ORLOP__NODE_LIST_ANSWER__INIT;
    m.nodes = list;
    m.n_nodes = at;
    bus_answer_pb(stream, &m.base);
}

void api__node_inspect(struct sched *s, struct bus_stream *stream, const ProtobufCMessage *req) {
    const Orlop__NodeInspectRequest *r = (const void *) req;
    const struct node *n = state_node(&s->state, r->node);
    if (!n) {
        bus_fail(stream, -ENOENT, "there is no node %s", r->node);
        return;
    }
    Orlop__NodeInfo info;
    fill(s, n, &info);
    bus_answer_pb(stream, &info.base);
}
