// SPDX-License-Identifier: Apache-2.0
#include "view.h"

#include <errno.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/state/rules.h"
#include "scheduler/state/tables.h"

enum { PART_BUDGET = 64 << 20, PART_ITEMS = 4096 };

/* One message under way. Objects are borrowed from the state until it is packed. */
struct build {
    const struct view_request *r;
    struct list *parts;
    struct arena arena;
    Orlop__Wanted w;
    Orlop__Version from, to;
    size_t bytes, items;
    bool any, first;
    struct index sent_services; /* view ids in this set: not gone, whatever the tombstones say */
    int error;
};

static void open_part(struct build *b) {
    arena_fini(&b->arena);
    arena_init(&b->arena, PART_BUDGET);
    orlop__wanted__init(&b->w);
    orlop__version__init(&b->from);
    orlop__version__init(&b->to);
    b->from.inc = b->to.inc = b->r->s->inc;
    b->to.idx = b->r->s->applied_idx;
    b->from.idx = b->first ? b->r->from : b->to.idx; /* later parts go on from the first */
    b->w.to = &b->to;
    b->w.full = b->first && b->r->full;
    if (b->w.full)
        b->w.store = (ProtobufCBinaryData){sizeof b->r->node->store,
                                           (uint8_t *) (uintptr_t) b->r->node->store};
    else
        b->w.from = &b->from;
    b->bytes = b->items = 0;
}

static void close_part(struct build *b, bool more) {
    if (b->error) return;
    Orlop__AgentDown down = ORLOP__AGENT_DOWN__INIT;
    b->w.more = more;
    down.inc = b->r->s->inc;
    down.session = b->r->session;
    down.what_case = ORLOP__AGENT_DOWN__WHAT_WANTED;
    down.wanted = &b->w;
    size_t len = orlop__agent_down__get_packed_size(&down);
    struct view_part *p = mem_alloc(sizeof *p + len);
    if (!p) {
        b->error = -ENOMEM;
        return;
    }
    p->len = len;
    orlop__agent_down__pack(&down, p->data);
    p->link = (struct list){0};
    list_add_tail(b->parts, &p->link);
    b->first = false;
}

static void *fresh(struct build *b, const ProtobufCMessageDescriptor *desc) {
    ProtobufCMessage *m = arena_alloc(&b->arena, desc->sizeof_message);
    if (m)
        protobuf_c_message_init(desc, m);
    else
        b->error = -ENOMEM;
    return m;
}

/* Room for one more in a list of the part, which a first use makes. */
#define PUSH(b, list, n, item)                                                                     \
    do {                                                                                           \
        if (!(b)->w.list)                                                                          \
            (b)->w.list = arena_alloc(&(b)->arena, PART_ITEMS * sizeof *(b)->w.list);              \
        if ((b)->w.list)                                                                           \
            (b)->w.list[(b)->w.n++] = (item);                                                      \
        else                                                                                       \
            (b)->error = -ENOMEM;                                                                  \
        (b)->any = true;                                                                           \
        (b)->items++;                                                                              \
    } while (0)

/* Before an object is built: begin a new part when the present one is full. */
static void make_room(struct build *b) {
    if (b->bytes < VIEW_PART_BYTES && b->items < PART_ITEMS) return;
    close_part(b, true);
    open_part(b);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static void add_contents(struct build *b, Orlop__TaskSpec *out, const struct task *t) {
    const Orlop__Service *def = t->def->def;
    out->contents = arena_alloc(&b->arena, (def->n_secrets + def->n_configs + 1) * sizeof(void *));
    out->volumes = arena_alloc(&b->arena, (def->n_mounts + 1) * sizeof(void *));
    if (!out->contents || !out->volumes) {
        b->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < def->n_secrets; i++) {
        const Orlop__Content *c = spec_secret(t->spec, def->secrets[i]->source);
        if (c) out->contents[out->n_contents++] = (Orlop__Content *) (uintptr_t) c;
    }
    for (size_t i = 0; i < def->n_configs; i++) {
        const Orlop__Content *c = spec_config(t->spec, def->configs[i]->source);
        if (c) out->contents[out->n_contents++] = (Orlop__Content *) (uintptr_t) c;
    }
    for (size_t i = 0; i < def->n_mounts; i++) {
        if (def->mounts[i]->kind != ORLOP__MOUNT__KIND__VOLUME) continue;
        const Orlop__Volume *v = spec_volume(t->spec, def->mounts[i]->source);
        if (v) out->volumes[out->n_volumes++] = (Orlop__Volume *) (uintptr_t) v;
    }
}

static void add_task(struct build *b, const struct task *t) {
    /* Lost or orphaned: must not run there any more, so it is absent. */
    if (t->lost || t->status.state == ORLOP__TASK_STATE__ORPHANED) return;
    make_room(b);
    Orlop__TaskSpec *out = fresh(b, &orlop__task_spec__descriptor);
    Orlop__TaskAddress **v = arena_alloc(&b->arena, (t->n_addresses + 1) * sizeof(void *));
    if (!out || !v) {
        b->error = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < t->n_addresses; i++) v[i] = &t->addresses[i];
    out->task = t->id;
    out->app = t->service->app->name;
    out->service = t->service->name;
    out->slot = t->slot;
    out->revision = t->spec->revision;
    /* What has ended is kept there for its logs; it never starts again. */
    out->want = rule_final(t) ? ORLOP__WANT__WANT_STOP : t->want;
    out->spec = (Orlop__Service *) (uintptr_t) t->def->def;
    out->addresses = v;
    out->n_addresses = t->n_addresses;
    out->assigned_idx = t->assigned_idx;
    add_contents(b, out, t);
    b->bytes += orlop__task_spec__get_packed_size(out);
    PUSH(b, tasks, n_tasks, out);
}

static void add_tasks(struct build *b) {
    const struct list *head = &b->r->node->tasks;
    struct list *it = head->next;
    if (!b->r->full) { /* the list is ordered by ver: find the first newer one from the end */
        it = head->prev;
        while (it != head && list_entry(it, struct task, node_link)->ver > b->r->from)
            it = it->prev;
        it = it->next;
    }
    for (; it != head && !b->error; it = it->next)
        add_task(b, list_entry(it, struct task, node_link));
}

/* --- networks, services, facts --------------------------------------------------------------- */

static void add_network(struct build *b, const struct network *n) {
    make_room(b);
    Orlop__ViewNetwork *out = fresh(b, &orlop__view_network__descriptor);
    if (!out) return;
    out->id = n->id;
    out->app = n->app->name;
    out->key = n->key;
    out->name = n->name;
    out->subnet = n->subnet;
    out->prefix_len = n->prefix_len;
    out->gateway = n->gateway;
    out->internal = n->internal;
    b->bytes += orlop__view_network__get_packed_size(out);
    PUSH(b, networks, n_networks, out);
}

/* The spec that speaks for a service: the newest, or of a removed one its newest task's. */
static const struct spec_service *speaker(const struct service *svc, const struct spec **ret) {
    *ret = svc->app->spec;
    const struct spec_service *def = svc->removed ? NULL : spec_find(svc->app->spec, svc->name);
    if (def || list_empty(&svc->tasks)) return def;
    const struct task *t = list_entry(svc->tasks.prev, struct task, service_link);
    *ret = t->spec;
    return t->def;
}

/* Published ports belong to the first network that leads outside. */
static bool is_outer(const struct state *s, const struct spec *spec, const struct spec_service *def,
                     uint32_t network) {
    for (size_t i = 0; i < def->def->n_networks; i++) {
        const struct network *n = state_network_of(s, spec, def->def->networks[i]->network);
        if (n && !n->internal) return n->id == network;
    }
    return false;
}

static void add_endpoints(struct build *b, Orlop__ViewService *out, const struct service *svc,
                          uint32_t network) {
    size_t n = 0;
    list_each (it, &svc->tasks) n++;
    out->endpoints = arena_alloc(&b->arena, (n + 1) * sizeof(void *));
    if (!out->endpoints) b->error = -ENOMEM;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        for (size_t i = 0; i < t->n_addresses && t->holds && !rule_final(t) && !b->error; i++) {
            if (t->addresses[i].network != network) continue;
            Orlop__Endpoint *e = fresh(b, &orlop__endpoint__descriptor);
            if (!e) return;
            e->task = t->id;
            e->address = t->addresses[i].address;
            e->serving = rule_serving_to(t, b->r->node);
            e->slot = t->slot;
            out->endpoints[out->n_endpoints++] = e;
        }
    }
}

static void add_on_network(struct build *b, const struct service *svc, const struct vip *v) {
    const struct state *s = b->r->s;
    const struct spec *spec;
    const struct spec_service *def = speaker(svc, &spec);
    make_room(b);
    Orlop__ViewService *out = fresh(b, &orlop__view_service__descriptor);
    if (!out) return;
    out->id = state_view_id(svc, v->network);
    out->app = svc->app->name;
    out->service = svc->name;
    out->network = v->network;
    out->vip = v->address;
    for (size_t i = 0; def && i < def->def->n_networks; i++) {
        const Orlop__ServiceNetwork *sn = def->def->networks[i];
        const struct network *n = state_network_of(s, spec, sn->network);
        if (!n || n->id != v->network) continue;
        out->aliases = sn->aliases;
        out->n_aliases = sn->n_aliases;
    }
    const struct spec_service *wanted = rule_wanted(svc);
    if (wanted && is_outer(s, spec, wanted, v->network)) {
        out->ports = wanted->def->ports;
        out->n_ports = wanted->def->n_ports;
    }
    out->depends_done = wanted && state__has_fact(svc, wanted->hash);
    add_endpoints(b, out, svc, v->network);
    if (!b->error && index_set(&b->sent_services, out->id, b) < 0) b->error = -ENOMEM;
    b->bytes += orlop__view_service__get_packed_size(out);
    PUSH(b, services, n_services, out);
}

/* A fact is sent once a session; taken back (with an empty hash) when the spec or the generation is
 * another. */
static void add_fact(struct build *b, const struct service *svc) {
    char key[STATE_SLOT_KEY_MAX];
    state__slot_key(svc, 0, key);
    const struct spec_service *wanted = rule_wanted(svc);
    bool done = wanted && state__has_fact(svc, wanted->hash);
    bool sent = map_get(b->r->facts, key) != NULL;
    if (done == sent) return;
    make_room(b);
    Orlop__ViewFact *out = fresh(b, &orlop__view_fact__descriptor);
    if (!out) return;
    out->app = svc->app->name;
    out->service = svc->name;
    if (done) out->spec_hash = (char *) (uintptr_t) wanted->hash;
    if (!done) map_del(b->r->facts, key);
    if (done && map_set(b->r->facts, key, b->r->facts) < 0) b->error = -ENOMEM;
    PUSH(b, facts, n_facts, out);
}

static void add_services(struct build *b) {
    const struct list *head = &b->r->s->services_changed;
    struct list *it = head->next;
    if (!b->r->full) {
        it = head->prev;
        while (it != head && list_entry(it, struct service, changed)->ver > b->r->from)
            it = it->prev;
        it = it->next;
    }
    for (; it != head && !b->error; it = it->next) {
        const struct service *svc = list_entry(it, struct service, changed);
        for (size_t i = 0; i < svc->n_vips; i++) add_on_network(b, svc, &svc->vips[i]);
        add_fact(b, svc);
    }
}

static void add_networks(struct build *b) {
    list_each (it, &b->r->s->networks_changed) {
        const struct network *n = list_entry(it, struct network, changed);
        if (b->r->full || n->ver > b->r->from) add_network(b, n);
    }
}

/* --- what is gone ---------------------------------------------------------------------------- */

static void add_tomb(struct build *b, const struct tomb *t) {
    switch (t->kind) {
    case TOMB_TASK:
        if (!str_eq(t->node, b->r->node->name)) return;
        make_room(b);
        PUSH(b, tasks_gone, n_tasks_gone, t->name);
        break;
    case TOMB_SERVICE:
        if (index_get(&b->sent_services, t->id)) return; /* it is back */
        make_room(b);
        PUSH(b, services_gone, n_services_gone, t->id);
        break;
    case TOMB_NETWORK:
        if (state_network(b->r->s, (uint32_t) t->id)) return;
        make_room(b);
        PUSH(b, networks_gone, n_networks_gone, (uint32_t) t->id);
        break;
    case TOMB_VOLUME:
        make_room(b);
        PUSH(b, volumes_gone, n_volumes_gone, t->name);
        break;
    }
}

static void add_gone(struct build *b) {
    uint64_t since = b->r->full ? b->r->acked : b->r->from;
    list_each (it, &b->r->s->tombs) {
        const struct tomb *t = list_entry(it, struct tomb, link);
        if (!b->r->full && t->idx > since) add_tomb(b, t);
    }
    list_each (it, &b->r->s->volumes_gone) {
        const struct tomb *t = list_entry(it, struct tomb, link);
        if (t->idx > since) add_tomb(b, t);
    }
}

int view_build(const struct view_request *r, struct list *parts, bool *ret_any) {
    if (!r->full && r->from < r->s->tombs_since) return -ESTALE;
    struct build b = {.r = r, .parts = parts, .first = true};
    if (r->full) map_fini(r->facts);
    arena_init(&b.arena, PART_BUDGET);
    open_part(&b);
    add_networks(&b); /* before what refers to them, should the set come in parts */
    add_services(&b);
    add_tasks(&b);
    add_gone(&b);
    if (b.any || r->full) close_part(&b, false);
    arena_fini(&b.arena);
    index_fini(&b.sent_services);
    if (b.error) view_free_parts(parts);
    *ret_any = b.any || r->full;
    return b.error;
}

void view_free_parts(struct list *parts) {
    list_each_safe (it, parts) {
        list_del(it);
        mem_free(list_entry(it, struct view_part, link));
    }
}
