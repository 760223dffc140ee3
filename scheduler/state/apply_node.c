// SPDX-License-Identifier: Apache-2.0
/* Nodes: register, first full report, up, down. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apply_internal.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

static int by_id(const void *a, const void *b) {
    return strcmp((*(struct task *const *) a)->id, (*(struct task *const *) b)->id);
}

/* Those that hold something there. A copy: ending one may delete others that have ended before.
 * Sorted, because the list's own order is not in a snapshot. */
static int holders(const struct node *n, struct task ***ret, size_t *ret_n) {
    struct task **v = mem_array(n->n_tasks + 1, sizeof *v);
    if (!v) return -ENOMEM;
    *ret_n = 0;
    list_each (it, &n->tasks) {
        struct task *t = list_entry(it, struct task, node_link);
        if (t->holds) v[(*ret_n)++] = t;
    }
    qsort(v, *ret_n, sizeof(struct task *), by_id);
    *ret = v;
    return 0;
}

/* The disk was replaced: what ran there is lost, and its sandboxes are deleted (the agent does that
 * before it says Hello). */
static int lose_all(struct state *s, struct node *n) {
    auto_free struct task **v = NULL;
    size_t count = 0;
    int r = holders(n, &v, &count);
    for (size_t i = 0; i < count && !r; i++)
        r = apply__end_task(s, v[i], ORLOP__TASK_STATE__FAILED, true,
                            "the node came back with an empty store");
    return r;
}

int apply__node_register(struct state *s, const Orlop__EntryNodeRegister *e, struct err *why) {
    if (e->store.len != 16) return err_say(why, -EINVAL, "the store id must have 16 bytes");
    struct node *n = state_node(s, e->node);
    bool fresh = !n || memcmp(n->store, e->store.data, 16) != 0;
    if (n && fresh && n->up)
        return err_say(why, -EEXIST, "node %s is up with another store", e->node);
    int r = n ? 0 : state__add_node(s, e->node, &n);
    if (!r && fresh) r = lose_all(s, n);
    if (!r) r = state__take_inventory(n, e->inventory);
    if (r < 0) return r;
    memcpy(n->store, e->store.data, 16);
    n->boot = e->boot;
    if (fresh) n->up = false;
    state__bump(&n->mod, &n->mod_before, s->applied_idx);
    state__emit_node(s, CHANGE_NODE_REGISTERED, n, NULL);
    return 0;
}

/* Absence says something only if the node had heard of the task, or speaks for the first time in
 * this incarnation, or will not hear of it any more: what is orphaned is in no set (view.c), and a
 * set of an earlier session is stored before the report or not at all. */
static bool knew_of(const struct state *s, const Orlop__EntryNodeSync *e, const struct node *n,
                    const struct task *t) {
    if (n->synced_inc != s->inc || t->status.state == ORLOP__TASK_STATE__ORPHANED) return true;
    return e->acked && e->acked->inc == s->inc && e->acked->idx >= t->assigned_idx;
}

static int judge_absent(struct state *s, const Orlop__EntryNodeSync *e, struct node *n) {
    auto_free struct task **v = NULL;
    size_t count = 0;
    struct map reported = {0};
    int r = holders(n, &v, &count);
    for (size_t i = 0; i < e->n_tasks && !r; i++) r = map_set(&reported, e->tasks[i]->task, n);
    for (size_t i = 0; i < count && !r; i++) {
        if (!knew_of(s, e, n, v[i]) || map_get(&reported, v[i]->id)) continue;
        r = apply__end_task(s, v[i], ORLOP__TASK_STATE__FAILED, true,
                            "lost: its node does not know it any more");
    }
    map_fini(&reported);
    return r;
}

int apply__node_sync(struct state *s, const Orlop__EntryNodeSync *e, struct err *why) {
    struct node *n = state_node(s, e->node);
    if (!n) return err_say(why, -ENOENT, "there is no node %s", e->node);
    int r = judge_absent(s, e, n);
    for (size_t i = 0; i < e->n_tasks && !r; i++) r = apply__merge_status(s, n, e->tasks[i]);
    if (r < 0) return r;
    n->synced_inc = s->inc;
    state__emit_node(s, CHANGE_NODE_SYNCED, n, NULL);
    return 0;
}

static void touch_services(struct state *s, struct node *n) {
    list_each (it, &n->tasks) {
        struct task *t = list_entry(it, struct task, node_link);
        if (t->holds) state__touch_service(s, t->service);
    }
}

int apply__node_up(struct state *s, const Orlop__EntryNodeUp *e, struct err *why) {
    struct node *n = state_node(s, e->node);
    if (!n || n->up) return err_say(why, -ECANCELED, "node %s is unknown or up", e->node);
    n->up = true;
    state__bump(&n->mod, &n->mod_before, s->applied_idx);
    touch_services(s, n);
    state__emit_node(s, CHANGE_NODE_UP, n, NULL);
    return 0;
}

int apply__node_down(struct state *s, const Orlop__EntryNodeDown *e, struct err *why) {
    struct node *n = state_node(s, e->node);
    if (!n || !n->up) return err_say(why, -ECANCELED, "node %s is unknown or down", e->node);
    n->up = false;
    state__bump(&n->mod, &n->mod_before, s->applied_idx);
    touch_services(s, n);
    state__emit_node(s, CHANGE_NODE_DOWN, n, e->reason);
    return 0;
}
