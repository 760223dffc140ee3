// SPDX-License-Identifier: Apache-2.0
/* scheduler/view.h - what a node is sent: its tasks, and networks, services and facts of the
 * cluster.
 *
 * Role     full sets, and deltas made by comparing the idx of each object's last change with what
 *          the session was sent. One view per node, a prefix of the log.
 * Thread   [loop].
 * Limits   VIEW_PART_BYTES a message unless one object alone is larger; more: several, see
 *          Wanted.more.
 */
#ifndef ORLOP_SCHEDULER_VIEW_H
#define ORLOP_SCHEDULER_VIEW_H

#include "scheduler/state/state.h"

enum { VIEW_PART_BYTES = 512 << 10 };

struct view_part {
    struct list link;
    size_t len;
    uint8_t data[]; /* an AgentDown */
};

struct view_request {
    const struct state *s;
    const struct node *node;
    uint64_t session;
    bool full;
    uint64_t from;     /* delta: what the node has */
    uint64_t acked;    /* full: what it had applied, for volumes_gone */
    struct map *facts; /* in, out: "app/service" that the session was sent as done */
};

/* Appends struct view_part to PARTS (initialised list). *ret_any: a delta without content makes no
 * part. -ENOMEM; -ESTALE: deletions since FROM are forgotten, send a full set. */
must_use int view_build(const struct view_request *r, struct list *parts, bool *ret_any);
void view_free_parts(struct list *parts);

#endif
