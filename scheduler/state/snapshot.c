// SPDX-License-Identifier: Apache-2.0
/* Encoding. Pointers into the state are borrowed until the message is packed; only lists and the
 * messages that the state does not keep as such are made, in an arena. */
#include "snapshot.h"

#include <errno.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

/* A list of N new messages of TYPE in OUT->FIELD. */
#define NEW_LIST(a, out, field, n, type)                                                           \
    ((out)->field = arena_alloc((a), ((n) + 1) * sizeof(type *)), (out)->field != NULL)

static void *fresh(struct arena *a, const ProtobufCMessageDescriptor *desc) {
    ProtobufCMessage *m = arena_alloc(a, desc->sizeof_message);
    if (m) protobuf_c_message_init(desc, m);
    return m;
}

static int put_app(struct arena *a, const struct app *app, Orlop__SnapshotApp *out) {
    out->spec = app->spec->app;
    out->revision = app->spec->revision;
    out->removing = app->removing;
    out->remove_volumes = app->remove_volumes;
    out->updated_unix_ms = app->updated_ms;
    out->mod = app->mod;
    out->history_revisions = arena_alloc(a, (app->n_history + 1) * sizeof(uint64_t));
    if (!NEW_LIST(a, out, history, app->n_history, Orlop__App) || !out->history_revisions)
        return -ENOMEM;
    for (size_t i = 0; i < app->n_history; i++) {
        out->history[i] = app->history[i]->app;
        out->history_revisions[i] = app->history[i]->revision;
    }
    out->n_history = out->n_history_revisions = app->n_history;
    return 0;
}

static Orlop__TaskAddress *address(struct arena *a, uint32_t network, uint32_t addr) {
    Orlop__TaskAddress *m = fresh(a, &orlop__task_address__descriptor);
    if (!m) return NULL;
    m->network = network;
    m->address = addr;
    return m;
}

static int put_service(struct arena *a, const struct service *svc, Orlop__SnapshotService *out) {
    out->app = svc->app->name;
    out->service = svc->name;
    out->id = svc->id;
    out->mod = svc->mod;
    out->generation = svc->generation;
    out->removed = svc->removed;
    if (!NEW_LIST(a, out, vips, svc->n_vips, Orlop__TaskAddress)) return -ENOMEM;
    for (size_t i = 0; i < svc->n_vips; i++) {
        out->vips[i] = address(a, svc->vips[i].network, svc->vips[i].address);
        if (!out->vips[i]) return -ENOMEM;
    }
    out->n_vips = svc->n_vips;
    return 0;
}

static int put_task(struct arena *a, struct task *t, Orlop__SnapshotTask *out) {
    out->task = t->id;
    out->app = t->service->app->name;
    out->service = t->service->name;
    out->slot = t->slot;
    out->revision = t->spec->revision;
    if (t->node) out->node = t->node->name;
    out->want = t->want;
    out->status = &t->status;
    out->created_unix_ms = t->created_ms;
    out->assigned_idx = t->assigned_idx;
    out->drain_idx = t->drain_idx;
    out->drain_unix_ms = t->drain_ms;
    out->ended_unix_ms = t->ended_ms;
    out->generation = t->generation;
    out->forced = t->forced;
    out->lost = t->lost;
    out->tries = t->tries;
    if (!NEW_LIST(a, out, addresses, t->n_addresses, Orlop__TaskAddress)) return -ENOMEM;
    for (size_t i = 0; i < t->n_addresses; i++) out->addresses[i] = &t->addresses[i];
    out->n_addresses = t->n_addresses;
    return 0;
}

static int put_apps(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    void *value;
    if (!NEW_LIST(a, out, apps, map_len(&s->apps), Orlop__SnapshotApp)) return -ENOMEM;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        Orlop__SnapshotApp *m = fresh(a, &orlop__snapshot_app__descriptor);
        if (!m || put_app(a, value, m) < 0) return -ENOMEM;
        out->apps[out->n_apps++] = m;
    }
    return 0;
}

static int put_facts(struct arena *a, const struct service *svc, Orlop__Snapshot *out) {
    for (size_t i = svc->n_facts; i > 0; i--) { /* oldest first: they are pushed again in order */
        Orlop__ViewFact *m = fresh(a, &orlop__view_fact__descriptor);
        if (!m) return -ENOMEM;
        m->app = svc->app->name;
        m->service = svc->name;
        m->spec_hash = arena_strdup(a, svc->facts[i - 1]);
        if (!m->spec_hash) return -ENOMEM;
        out->facts[out->n_facts++] = m;
    }
    return 0;
}

static int put_services_of(struct arena *a, const struct app *app, Orlop__Snapshot *out) {
    void *value;
    for (size_t i = 0; map_next(&app->services, &i, NULL, &value);) {
        Orlop__SnapshotService *m = fresh(a, &orlop__snapshot_service__descriptor);
        if (!m || put_service(a, value, m) < 0 || put_facts(a, value, out) < 0) return -ENOMEM;
        out->services[out->n_services++] = m;
    }
    return 0;
}

/* As apply goes through them, not in the order of `changed`: what applies entries to a restored
 * state must do it in the same order as what never restored one, or the two drift apart. */
static int put_services(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    size_t n = 0;
    list_each (it, &s->services_changed) n++;
    if (!NEW_LIST(a, out, services, n, Orlop__SnapshotService) ||
        !NEW_LIST(a, out, facts, n * STATE_FACTS_MAX, Orlop__ViewFact))
        return -ENOMEM;
    void *value;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);)
        if (put_services_of(a, value, out) < 0) return -ENOMEM;
    return 0;
}

static int put_tasks(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    void *value;
    if (!NEW_LIST(a, out, tasks, map_len(&s->tasks), Orlop__SnapshotTask)) return -ENOMEM;
    for (size_t i = 0; map_next(&s->tasks, &i, NULL, &value);) {
        Orlop__SnapshotTask *m = fresh(a, &orlop__snapshot_task__descriptor);
        if (!m || put_task(a, value, m) < 0) return -ENOMEM;
        out->tasks[out->n_tasks++] = m;
    }
    return 0;
}

static int put_nodes(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    void *value;
    if (!NEW_LIST(a, out, nodes, map_len(&s->nodes), Orlop__SnapshotNode)) return -ENOMEM;
    for (size_t i = 0; map_next(&s->nodes, &i, NULL, &value);) {
        struct node *n = value;
        Orlop__SnapshotNode *m = fresh(a, &orlop__snapshot_node__descriptor);
        if (!m) return -ENOMEM;
        m->name = n->name;
        m->store = (ProtobufCBinaryData){sizeof n->store, n->store};
        m->boot = n->boot;
        m->inventory = n->inventory;
        m->up = n->up;
        m->mod = n->mod;
        m->synced_inc = n->synced_inc;
        out->nodes[out->n_nodes++] = m;
    }
    return 0;
}

static Orlop__SnapshotNetwork *network(struct arena *a, const struct network *n) {
    Orlop__SnapshotNetwork *m = fresh(a, &orlop__snapshot_network__descriptor);
    if (!m) return NULL;
    m->id = n->id;
    m->app = n->app->name;
    m->key = n->key;
    m->name = n->name;
    m->subnet = n->subnet;
    m->prefix_len = n->prefix_len;
    m->gateway = n->gateway;
    m->internal = n->internal;
    m->next_host = n->next_host;
    m->retired = n->retired;
    return m;
}

/* In the order of each app's list, for the same reason. */
static int put_networks(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    void *value;
    if (!NEW_LIST(a, out, networks, s->networks.n, Orlop__SnapshotNetwork)) return -ENOMEM;
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        list_each (it, &((struct app *) value)->networks) {
            Orlop__SnapshotNetwork *m = network(a, list_entry(it, struct network, app_link));
            if (!m) return -ENOMEM;
            out->networks[out->n_networks++] = m;
        }
    }
    return 0;
}

static int put_clients(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    if (!NEW_LIST(a, out, clients, map_len(&s->clients), Orlop__SnapshotClient)) return -ENOMEM;
    list_each (it, &s->clients_by_age) {
        struct client *c = list_entry(it, struct client, age);
        Orlop__SnapshotClient *m = fresh(a, &orlop__snapshot_client__descriptor);
        if (!m) return -ENOMEM;
        m->client = (ProtobufCBinaryData){strlen(c->key), (uint8_t *) c->key};
        m->number = c->number;
        m->time_unix_ms = c->time_ms;
        m->answer = (ProtobufCBinaryData){c->answer_len, c->answer};
        m->error = c->err.code;
        m->error_text = c->err.text;
        out->clients[out->n_clients++] = m;
    }
    return 0;
}

static int put_resting(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    if (!NEW_LIST(a, out, resting, s->addresses.n, Orlop__SnapshotRest)) return -ENOMEM;
    list_each (it, &s->resting) {
        const struct holding *h = list_entry(it, struct holding, rest);
        Orlop__SnapshotRest *m = fresh(a, &orlop__snapshot_rest__descriptor);
        if (!m) return -ENOMEM;
        m->network = h->network;
        m->address = h->address;
        m->released_unix_ms = h->released_ms;
        m->barrier_idx = h->barrier_idx;
        out->resting[out->n_resting++] = m;
    }
    return 0;
}

static int put_volumes(struct arena *a, const struct state *s, Orlop__Snapshot *out) {
    if (!NEW_LIST(a, out, volumes_gone, s->n_volumes_gone, Orlop__SnapshotVolume)) return -ENOMEM;
    list_each (it, &s->volumes_gone) {
        const struct tomb *t = list_entry(it, struct tomb, link);
        Orlop__SnapshotVolume *m = fresh(a, &orlop__snapshot_volume__descriptor);
        if (!m) return -ENOMEM;
        m->name = t->name;
        m->idx = t->idx;
        out->volumes_gone[out->n_volumes_gone++] = m;
    }
    return 0;
}

int snapshot_encode(const struct state *s, uint8_t **ret, size_t *ret_len) {
    struct arena a;
    arena_init(&a, SIZE_MAX / 2); /* lists only: as large as the state */
    Orlop__Snapshot m = ORLOP__SNAPSHOT__INIT;
    m.format = SNAPSHOT_FORMAT;
    m.inc = s->inc;
    m.applied_idx = s->applied_idx;
    m.next_network = s->next_network;
    m.next_service = s->next_service;
    m.next_vip = s->next_vip;
    m.time_unix_ms = s->now_ms;
    int r = put_apps(&a, s, &m);
    if (!r) r = put_services(&a, s, &m);
    if (!r) r = put_tasks(&a, s, &m);
    if (!r) r = put_nodes(&a, s, &m);
    if (!r) r = put_networks(&a, s, &m);
    if (!r) r = put_clients(&a, s, &m);
    if (!r) r = put_resting(&a, s, &m);
    if (!r) r = put_volumes(&a, s, &m);
    if (!r) *ret = pb_pack(&m.base, ret_len);
    if (!r && !*ret) r = -ENOMEM;
    arena_fini(&a);
    return r;
}
