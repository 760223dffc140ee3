// SPDX-License-Identifier: Apache-2.0
/* Decoding a snapshot: rows first, then what joins them. It comes from our own disk, but is checked
 * like anything from outside: a damaged one must refuse the start, not crash later. */
#include <errno.h>
#include <stdio.h>

#include "net.h"
#include "proto/check.h"
#include "rules.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "snapshot.h"
#include "tables.h"

#define BAD(err, ...) err_say((err), -EBADMSG, "snapshot: " __VA_ARGS__)

static int make_spec(const Orlop__App *app, uint64_t revision, struct spec **ret, struct err *err) {
    int r = app ? check_app(app, err) : -EINVAL;
    if (r == -EINVAL) return BAD(err, "an app's revision is damaged");
    struct spec *p = NULL;
    if (!r) r = spec_copy(app, revision, &p);
    if (!r) r = spec_seal(p);
    if (r < 0)
        spec_unref(p);
    else
        *ret = p;
    return r;
}

static int get_history(struct app *a, const Orlop__SnapshotApp *m, struct err *err) {
    for (size_t i = m->n_history; i > 0; i--) { /* oldest first: each is put before the others */
        struct spec *old;
        int r = make_spec(m->history[i - 1], m->history_revisions[i - 1], &old, err);
        if (!r) r = state__push_history(a, old);
        if (r < 0) return r;
    }
    return 0;
}

static int get_app(struct state *s, const Orlop__SnapshotApp *m, struct err *err) {
    struct spec *p;
    struct app *a;
    if (m->n_history != m->n_history_revisions) return BAD(err, "history without numbers");
    int r = make_spec(m->spec, m->revision, &p, err);
    if (r < 0) return r;
    if (state_app(s, p->app->name)) {
        spec_unref(p);
        return BAD(err, "an app is there twice");
    }
    r = state__add_app(s, p->app->name, &a);
    if (r < 0) {
        spec_unref(p);
        return r;
    }
    a->spec = p;
    a->removing = m->removing;
    a->remove_volumes = m->remove_volumes;
    a->updated_ms = m->updated_unix_ms;
    a->mod = m->mod;
    return get_history(a, m, err);
}

static int get_network(struct state *s, const Orlop__SnapshotNetwork *m, struct err *err) {
    struct app *a = state_app(s, m->app);
    if (!a || !m->id || state_network(s, m->id) || m->prefix_len < 8 || m->prefix_len > 29 ||
        (m->subnet & ~net_mask(m->prefix_len)))
        return BAD(err, "network %s is damaged", m->name);
    int r = net_restore(s, a, m);
    return r == -EINVAL ? BAD(err, "network %s is damaged", m->name) : r;
}

static int get_vips(struct state *s, struct service *svc, const Orlop__SnapshotService *m,
                    struct err *err) {
    svc->vips = mem_array(m->n_vips + 1, sizeof *svc->vips);
    if (!svc->vips) return -ENOMEM;
    for (size_t i = 0; i < m->n_vips; i++) {
        struct vip v = {m->vips[i]->network, m->vips[i]->address};
        struct network *n = state_network(s, v.network);
        const struct holding *h = state_holding(s, 0, v.address);
        if (!n || (h && h->held)) return BAD(err, "a virtual address is damaged");
        svc->vips[svc->n_vips++] = v;
        n->n_users++;
        int r = v.address ? net_hold_global(s, v.address) : 0;
        if (r < 0) return r;
    }
    return 0;
}

static int get_service(struct state *s, const Orlop__SnapshotService *m, struct err *err) {
    struct app *a = state_app(s, m->app);
    if (!a || map_get(&a->services, m->service) || !check_is_name(m->service, CHECK_NAME_MAX) ||
        (!m->removed && !spec_find(a->spec, m->service)))
        return BAD(err, "service %.80s is damaged", m->service);
    struct service *svc;
    int r = state__add_service(s, a, m->service, &svc);
    if (r < 0) return r;
    svc->id = m->id;
    svc->mod = svc->mod_before = m->mod;
    svc->generation = m->generation;
    svc->removed = m->removed;
    r = get_vips(s, svc, m, err);
    return r < 0 || svc->removed ? r : net_reserve(s, svc);
}

static int get_node(struct state *s, const Orlop__SnapshotNode *m, struct err *err) {
    if (!check_is_name(m->name, CHECK_NAME_MAX) || m->store.len != 16 || !m->inventory ||
        state_node(s, m->name))
        return BAD(err, "node %.80s is damaged", m->name);
    struct node *n;
    int r = state__add_node(s, m->name, &n);
    if (r < 0) return r;
    r = state__take_inventory(n, m->inventory);
    if (r < 0) return r;
    memcpy(n->store, m->store.data, 16);
    n->boot = m->boot;
    n->up = m->up;
    n->mod = n->mod_before = m->mod;
    n->synced_inc = m->synced_inc;
    return 0;
}

/* --- tasks ----------------------------------------------------------------------------------- */

static struct spec *revision_of(const struct app *a, uint64_t revision) {
    if (a->spec->revision == revision) return a->spec;
    for (size_t i = 0; i < a->n_history; i++)
        if (a->history[i]->revision == revision) return a->history[i];
    return NULL;
}

static int get_addresses(struct state *s, struct task *t, const Orlop__SnapshotTask *m,
                         struct err *err) {
    t->addresses = mem_array(m->n_addresses + 1, sizeof *t->addresses);
    if (!t->addresses) return -ENOMEM;
    for (size_t i = 0; i < m->n_addresses; i++) {
        Orlop__TaskAddress *to = &t->addresses[t->n_addresses++];
        orlop__task_address__init(to);
        to->network = m->addresses[i]->network;
        to->address = m->addresses[i]->address;
        if (!t->holds) continue;
        struct network *n = state_network(s, to->network);
        const struct holding *h = n ? state_holding(s, n->id, to->address) : NULL;
        if (!n || !net_contains(n, to->address) || (h && h->held))
            return BAD(err, "an address of task %s is damaged", t->id);
        uint32_t next_host = n->next_host;
        int r = net_hold(s, n, to->address);
        if (r < 0) return r;
        n->next_host = next_host;
    }
    return 0;
}

static int get_status(struct task *t, const Orlop__TaskStatus *m) {
    char *id = t->id;
    int r = state__set_text(&t->status.reason, m->reason);
    if (!r) r = state__set_text(&t->status.health_output, m->health_output);
    if (r < 0) return r;
    Orlop__TaskStatus own = t->status;
    t->status = *m;
    t->status.base = own.base;
    t->status.task = id;
    t->status.reason = own.reason;
    t->status.health_output = own.health_output;
    return 0;
}

static int check_task(const struct state *s, const Orlop__SnapshotTask *m, struct err *err) {
    Orlop__TaskStatus *st = m->status;
    if (!check_is_task_id(m->task) || state_task(s, m->task) || !st ||
        check_statuses(&st, 1, NULL) < 0 || m->slot == 0 || m->slot > CHECK_REPLICAS_MAX ||
        m->want < ORLOP__WANT__WANT_RUN || m->want > ORLOP__WANT__WANT_STOP ||
        (*m->node && !state_node(s, m->node)))
        return BAD(err, "task %.80s is damaged", m->task);
    bool final = rule_state_is_final(st->state), pending = st->state == ORLOP__TASK_STATE__PENDING;
    if (!final && pending != !*m->node) return BAD(err, "task %s is nowhere", m->task);
    if (st->gone && !final) return BAD(err, "task %s is gone but not ended", m->task);
    return 0;
}

static int get_task(struct state *s, const Orlop__SnapshotTask *m, struct err *err) {
    int r = check_task(s, m, err);
    if (r < 0) return r;
    struct service *svc = state_service(s, m->app, m->service);
    struct spec *p = svc ? revision_of(svc->app, m->revision) : NULL;
    if (!p || !spec_find(p, m->service)) return BAD(err, "task %s has no spec", m->task);
    struct task *t;
    r = state__add_task(s, svc, m->task, m->slot, p, &t);
    if (!r) r = get_status(t, m->status);
    if (r < 0) return r;
    t->want = m->want;
    t->generation = m->generation;
    t->forced = m->forced;
    t->lost = m->lost;
    t->tries = m->tries;
    t->created_ms = m->created_unix_ms;
    t->assigned_idx = m->assigned_idx;
    t->drain_idx = m->drain_idx;
    t->drain_ms = m->drain_unix_ms;
    t->ended_ms = m->ended_unix_ms;
    struct node *n = *m->node ? state_node(s, m->node) : NULL;
    if (n) state__place(t, n, !t->status.gone);
    return get_addresses(s, t, m, err);
}

/* --- the rest -------------------------------------------------------------------------------- */

static int get_client(struct state *s, const Orlop__SnapshotClient *m, struct err *err) {
    char key[33] = "";
    if (m->client.len != 32) return BAD(err, "a client's id is damaged");
    memcpy(key, m->client.data, 32);
    if (map_get(&s->clients, key) || strspn(key, "0123456789abcdef") != 32)
        return BAD(err, "a client's id is damaged");
    struct client *c;
    int r = state__add_client(s, key, &c);
    if (r < 0) return r;
    c->number = m->number;
    c->time_ms = m->time_unix_ms;
    c->err.code = m->error;
    snprintf(c->err.text, sizeof c->err.text, "%s", m->error_text);
    c->answer_len = m->answer.len;
    if (!m->answer.len) return 0;
    c->answer = mem_dup(m->answer.data, m->answer.len);
    return c->answer ? 0 : -ENOMEM;
}

static int get_fact(struct state *s, const Orlop__ViewFact *m, struct err *err) {
    struct service *svc = state_service(s, m->app, m->service);
    if (!svc || strlen(m->spec_hash) != SPEC_HASH_MAX - 1)
        return BAD(err, "a fact of %.80s is damaged", m->service);
    state__add_fact(svc, m->spec_hash);
    return 0;
}

#define EACH(list, n, get)                                                                         \
    for (size_t i_ = 0; i_ < (n) && !r; i_++) r = get(s, (list)[i_], err)

static int fill(struct state *s, const Orlop__Snapshot *m, struct err *err) {
    int r = 0;
    s->inc = m->inc;
    s->applied_idx = s->tombs_since = m->applied_idx;
    s->now_ms = m->time_unix_ms;
    EACH(m->apps, m->n_apps, get_app);
    EACH(m->networks, m->n_networks, get_network);
    EACH(m->services, m->n_services, get_service);
    EACH(m->nodes, m->n_nodes, get_node);
    EACH(m->tasks, m->n_tasks, get_task);
    EACH(m->clients, m->n_clients, get_client);
    EACH(m->facts, m->n_facts, get_fact);
    for (size_t i = 0; i < m->n_resting && !r; i++) r = net_restore_rest(s, m->resting[i]);
    for (size_t i = 0; i < m->n_volumes_gone && !r; i++)
        r = state__volume_gone(s, m->volumes_gone[i]->name, m->volumes_gone[i]->idx);
    s->next_network = m->next_network;
    s->next_service = m->next_service;
    s->next_vip = m->next_vip;
    return r;
}

int snapshot_decode(struct state *s, const uint8_t *data, size_t len, struct err *err) {
    struct arena a;
    arena_init(&a, SNAPSHOT_BUDGET(len));
    Orlop__Snapshot *m = arena_unpack(&a, &orlop__snapshot__descriptor, data, len);
    int r;
    if (!m)
        r = BAD(err, "it does not decode");
    else if (m->format != SNAPSHOT_FORMAT)
        r = BAD(err, "format %u is of another version of orlop", m->format);
    else
        r = fill(s, m, err);
    arena_fini(&a);
    return r;
}
