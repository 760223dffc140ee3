// SPDX-License-Identifier: Apache-2.0
/* From PENDING to ASSIGNED: the slot is free, a node has room, each network has an address. */
#include <errno.h>

#include "gate.h"
#include "place.h"
#include "plan_internal.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/state/net.h"
#include "scheduler/state/rules.h"

/* What still holds the slot of T besides T; NULL = nothing. */
static const struct task *predecessor(const struct task *t) {
    for (struct list *it = t->service_link.prev; it != &t->service->tasks; it = it->prev) {
        const struct task *o = list_entry(it, struct task, service_link);
        if (o->slot == t->slot && !rule_slot_free(o)) return o;
    }
    return NULL;
}

static uint32_t cursor_of(const struct plan *p, const struct network *n) {
    uintptr_t at = (uintptr_t) index_get(&p->cursors, n->id);
    return at ? (uint32_t) at : n->next_host;
}

/* A free address of N that this plan has not given away yet. 0 = none. */
static uint32_t take_address(struct plan *p, const struct network *n, const struct service *svc) {
    uint32_t cursor = cursor_of(p, n), address;
    for (size_t tries = 0; tries <= PLAN_ENTRIES_MAX; tries++) {
        address = net_pick(p->s, n, cursor, svc, p->acked_idx);
        if (!address) return 0;
        cursor = (address & ~net_mask(n->prefix_len)) + 1;
        if (index_get(&p->picked, index_pair(n->id, address))) continue;
        if (index_set(&p->picked, index_pair(n->id, address), p) < 0 ||
            index_set(&p->cursors, n->id, (void *) (uintptr_t) cursor) < 0)
            p->error = -ENOMEM;
        return address;
    }
    return 0;
}

static int choose_address(struct plan *p, const struct task *t, size_t i, Orlop__TaskAddress *out,
                          struct err *why) {
    const Orlop__ServiceNetwork *sn = t->def->def->networks[i];
    const struct network *n = state_network_of(p->s, t->spec, sn->network);
    if (!n) return err_say(why, -ENOENT, "network %s does not exist any more", sn->network);
    orlop__task_address__init(out);
    out->network = n->id;
    if (str_to_ipv4(sn->ipv4_address, &out->address) == 0)
        return net_address_free(p->s, n, out->address, t->service, why);
    out->address = take_address(p, n, t->service);
    if (out->address) return 0;
    return err_say(why, -ENOSPC, "network %s has no free address (used ones rest for 2 minutes)",
                   n->name);
}

static int add_load(struct plan *p, const struct node *n, const struct spec_service *def) {
    struct place_load *l = map_get(&p->loads, n->name);
    if (!l) {
        l = mem_zalloc(sizeof *l);
        if (!l || map_set(&p->loads, n->name, l) < 0) {
            mem_free(l);
            return -ENOMEM;
        }
    }
    const Orlop__Resources *r = def->def->resources;
    l->cpu_millis += r ? r->cpu_reservation_millis : 0;
    l->memory_bytes += r ? r->memory_reservation_bytes : 0;
    l->tasks++;
    return 0;
}

/* Node and addresses for T; the entry itself is the caller's. */
static int choose(struct plan *p, const struct task *t, const struct node **ret_node,
                  Orlop__TaskAddress ***ret, struct err *why) {
    int r = place_pick(p->s, t->service, t->def, &p->loads, ret_node, why);
    if (r < 0) return r;
    size_t n = t->def->def->n_networks;
    Orlop__TaskAddress **v = arena_alloc(&p->arena, (n + 1) * sizeof(void *));
    for (size_t i = 0; i < n && v; i++) {
        v[i] = arena_alloc(&p->arena, sizeof **v);
        if (!v[i]) break;
        r = choose_address(p, t, i, v[i], why);
        if (r < 0) return r;
    }
    if (!v || (n && !v[n - 1])) return -ENOMEM;
    *ret = v;
    return 0;
}

bool plan__assign(struct plan *p, const struct task *t) {
    const struct node *n;
    Orlop__TaskAddress **addresses;
    int r = choose(p, t, &n, &addresses, NULL);
    if (!r) r = add_load(p, n, t->def);
    if (r == -ENOMEM) p->error = r;
    /* Nothing tells when an address has rested long enough. */
    if (r == -ENOSPC || r == -EADDRINUSE) plan__wake(p, p->now_ms + 1000);
    if (r < 0) return false;
    Orlop__EntryTaskAssign *e =
        plan__add(p, ORLOP__ENTRY__WHAT_TASK_ASSIGN, &orlop__entry_task_assign__descriptor);
    if (!e) return false;
    e->task = t->id;
    e->node = n->name;
    e->mod = n->mod;
    e->addresses = addresses;
    e->n_addresses = t->def->def->n_networks;
    return true;
}

int plan_waiting(const struct state *s, const struct task *t, uint64_t acked_idx, struct err *why) {
    const struct task *old = predecessor(t);
    if (gate_check(s, t->service, t->def, why) != GATE_OPEN) return -EAGAIN;
    if (old)
        return err_say(why, -EBUSY, "waits for task %s, which it replaces, to be gone (it is %s)",
                       old->id, gate_state_name(old->status.state));
    struct plan p;
    plan_init(&p, s, s->now_ms, acked_idx);
    const struct node *n;
    Orlop__TaskAddress **addresses;
    int r = choose(&p, t, &n, &addresses, why);
    plan_fini(&p);
    return r;
}
