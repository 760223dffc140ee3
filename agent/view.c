// SPDX-License-Identifier: Apache-2.0
#include "agent/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "agent/dns.h"
#include "agent/ports.h"
#include "agent/session.h"
#include "agent/store_changes.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

struct aview {
    struct agent *agent;
    struct agent_dns *dns;
    uv_poll_t polls[NET_FDS_MAX];
    int n_polls;
    uv_timer_t retry, step; /* step: the network library's own second step */
    uint64_t applied_idx;
    bool failing, names_failing, closing;
    int open_handles;
};

static void apply(struct aview *v);

/* ---- the network library's own events ---- */

static void on_step(uv_timer_t *t);

static void arm_step(struct aview *v) {
    int ms = net_timeout_ms(v->agent->net, clock_mono_ms());
    if (ms < 0)
        uv_timer_stop(&v->step);
    else
        uv_timer_start(&v->step, on_step, (uint64_t) ms, 0);
}

static void on_step(uv_timer_t *t) {
    struct aview *v = container_of(t, struct aview, step);
    net_dispatch(v->agent->net);
    arm_step(v);
}

static void on_readable(uv_poll_t *h, int status, int events) {
    struct aview *v = h->data;
    (void) status;
    (void) events;
    net_dispatch(v->agent->net);
    arm_step(v);
}

/* ---- apply ---- */

struct lists {
    Orlop__ViewNetwork **networks;
    Orlop__ViewService **services;
    struct net_local *local;
    size_t n_networks, n_services, n_local;
};

static void lists_free(struct lists *l) {
    mem_free(l->networks);
    mem_free(l->services);
    mem_free(l->local);
}

static size_t messages(const struct map *m, void **v) {
    const char *key;
    void *value;
    size_t n = 0;
    for (size_t i = 0; map_next(m, &i, &key, &value);)
        v[n++] = ((struct astore_object *) value)->message;
    return n;
}

const Orlop__ViewNetwork *aview_network(const struct aview *v, uint32_t id) {
    char key[16];
    snprintf(key, sizeof key, "%" PRIu32, id);
    const struct astore_object *o = map_get(astore_networks(v->agent->store), key);
    return o ? o->message : NULL;
}

static size_t count_addresses(const struct map *tasks) {
    size_t n = 0;
    const char *key;
    void *value;
    for (size_t i = 0; map_next(tasks, &i, &key, &value);)
        n += ((const struct astore_task *) value)->spec->n_addresses;
    return n;
}

static void add_local(struct aview *v, struct lists *l, const struct astore_task *t) {
    if (t->end && t->end->gone) return;
    for (size_t i = 0; i < t->spec->n_addresses; i++) {
        const Orlop__ViewNetwork *n = aview_network(v, t->spec->addresses[i]->network);
        if (!n) continue; /* its network is gone from the view, and so is it soon */
        l->local[l->n_local++] =
            (struct net_local){t->spec->task, t->spec->addresses[i]->address, n->id, n->gateway};
    }
}

static int collect(struct aview *v, struct lists *l) {
    const struct astore *s = v->agent->store;
    size_t addresses = count_addresses(astore_tasks(s));
    l->networks = mem_array(map_len(astore_networks(s)) + 1, sizeof *l->networks);
    l->services = mem_array(map_len(astore_services(s)) + 1, sizeof *l->services);
    l->local = mem_array(addresses + 1, sizeof *l->local);
    if (!l->networks || !l->services || !l->local) return -ENOMEM;
    l->n_networks = messages(astore_networks(s), (void **) l->networks);
    l->n_services = messages(astore_services(s), (void **) l->services);
    const char *key;
    void *value;
    for (size_t i = 0; map_next(astore_tasks(s), &i, &key, &value);) add_local(v, l, value);
    return 0;
}

/* A port 53 that somebody else has makes names fail in one network, not the whole view. */
static void apply_names(struct aview *v, const struct lists *l) {
    struct err err = {0};
    int r = agent_dns_apply(v->dns, l->networks, l->n_networks, l->services, l->n_services, &err);
    if (r == -ENOMEM) agent_fatal(v->agent, "no memory for the names", r);
    if (r < 0 && !v->names_failing)
        log_error("dns.apply", "err=\"%s\" next=\"again with the next view\"", err.text);
    v->names_failing = r < 0;
}

static int apply_whole(struct aview *v, struct err *err) {
    struct lists l = {0};
    int r = collect(v, &l);
    if (r < 0) err_set(err, r, "collect the network view");
    struct net_view want = {.networks = l.networks,
                            .n_networks = l.n_networks,
                            .services = l.services,
                            .n_services = l.n_services,
                            .local = l.local,
                            .n_local = l.n_local};
    if (r == 0) r = net_apply(v->agent->net, &want, err);
    if (r == 0) apply_names(v, &l);
    lists_free(&l);
    return r;
}

/* The services of C that are there, and the ids of those that are not. */
static void collect_services(const struct astore *s, const struct store_changes *c,
                             struct net_change *ret, Orlop__ViewService **services,
                             uint64_t *gone) {
    for (size_t i = 0; i < c->n_services; i++) {
        char key[24];
        snprintf(key, sizeof key, "%" PRIu64, c->services[i]);
        const struct astore_object *o = map_get(astore_services(s), key);
        if (o) {
            services[ret->n_services++] = o->message;
        } else {
            gone[ret->n_services_gone++] = c->services[i];
        }
    }
}

static int apply_change(struct aview *v, const struct store_changes *c, struct err *err) {
    const struct astore *s = v->agent->store;
    Orlop__ViewService *services[STORE_CHANGES_MAX];
    uint64_t gone[STORE_CHANGES_MAX];
    struct lists l = {.local = mem_array(c->n_addresses + 1, sizeof *l.local)};
    if (!l.local) return err_set(err, -ENOMEM, "collect the network view");
    for (size_t i = 0; i < c->tasks.n; i++) {
        const struct astore_task *t = astore_task(s, c->tasks.v[i]);
        if (t) add_local(v, &l, t);
    }
    struct net_change change = {.services = services,
                                .services_gone = gone,
                                .addresses = c->addresses,
                                .n_addresses = c->n_addresses,
                                .local = l.local,
                                .n_local = l.n_local};
    collect_services(s, c, &change, services, gone);
    int r = net_apply_change(v->agent->net, &change, err);
    lists_free(&l);
    if (r < 0) return r;
    r = agent_dns_change(v->dns, services, change.n_services, gone, change.n_services_gone);
    if (r == -ENOMEM) agent_fatal(v->agent, "no memory for the names", r);
    return r;
}

/* The whole view is looked at when it must be, and after any failure: then nobody knows how far it
 * came. */
static int apply_kernel(struct aview *v, struct err *err) {
    struct store_changes *c = astore_changes(v->agent->store);
    bool whole = c->whole || v->failing || v->names_failing, ports = c->ports;
    int r = whole ? -EAGAIN : apply_change(v, c, err);
    if (r == -EAGAIN) {
        whole = true;
        r = apply_whole(v, err);
    }
    if (r < 0) return r;
    store_changes_reset(c);
    if (whole || ports) ports_update(v->agent->ports);
    return 0;
}

static void on_retry(uv_timer_t *t) {
    apply(container_of(t, struct aview, retry));
}

static void apply(struct aview *v) {
    struct err err = {0};
    uint64_t idx = astore_info(v->agent->store)->idx;
    int r = apply_kernel(v, &err);
    arm_step(v);
    if (r < 0) {
        if (!v->failing)
            log_error("view.apply", "idx=%" PRIu64 " err=\"%s\" next=\"again\"", idx, err.text);
        v->failing = true;
        uv_timer_start(&v->retry, on_retry, VIEW_RETRY_MS, 0);
        return;
    }
    uv_timer_stop(&v->retry);
    v->failing = false;
    v->applied_idx = idx;
    agent_event(v->agent, &(struct rec_event){.kind = REC_EV_VIEW, .idx = idx});
    if (v->agent->session) asession_applied(v->agent->session, idx);
}

void aview_changed(struct aview *v) {
    if (!v->closing) apply(v);
}

uint64_t aview_applied_idx(const struct aview *v) {
    return v->applied_idx;
}

size_t aview_task_networks(const struct aview *v, const Orlop__TaskSpec *task,
                           struct prepare_network ret[static PREPARE_NETWORKS_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < task->n_addresses && i < PREPARE_NETWORKS_MAX; i++) {
        const Orlop__ViewNetwork *network = aview_network(v, task->addresses[i]->network);
        if (!network) continue;
        ret[n++] = (struct prepare_network){.id = network->id,
                                            .address = task->addresses[i]->address,
                                            .gateway = network->gateway,
                                            .prefix_len = network->prefix_len,
                                            .internal = network->internal};
    }
    return n;
}

/* ---- links ---- */

static size_t count_links(const Orlop__TaskSpec *task, const char *sandbox) {
    size_t n = 0;
    for (size_t i = 0; i < task->n_addresses; i++) {
        char name[NET_IFNAME_MAX];
        net_link_name(sandbox, task->addresses[i]->network, name);
        n += net_link_exists(name);
    }
    return n;
}

bool aview_links_exist(const Orlop__TaskSpec *task, const char *sandbox) {
    return count_links(task, sandbox) > 0;
}

bool aview_all_links_exist(const Orlop__TaskSpec *task, const char *sandbox) {
    return count_links(task, sandbox) == task->n_addresses;
}

/* ---- */

int aview_new(struct agent *a, struct aview **ret) {
    struct aview *v = mem_zalloc(sizeof *v);
    if (!v) return -ENOMEM;
    v->agent = a;
    int e = agent_dns_new(a->loop, "/etc/resolv.conf", &v->dns, NULL);
    if (e < 0) return e; /* the process ends */
    int fds[NET_FDS_MAX], n = net_fds(a->net, fds);
    for (int i = 0; i < n; i++) {
        int r = uv_poll_init(a->loop, &v->polls[i], fds[i]);
        if (r < 0) return r; /* the process ends */
        v->polls[i].data = v;
        uv_poll_start(&v->polls[i], UV_READABLE, on_readable);
        v->n_polls++;
    }
    uv_timer_init(a->loop, &v->retry);
    uv_timer_init(a->loop, &v->step);
    v->retry.data = v->step.data = v;
    *ret = v;
    return 0;
}

static void on_closed(uv_handle_t *h) {
    struct aview *v = h->data;
    if (--v->open_handles == 0) mem_free(v);
}

void aview_close(struct aview *v) {
    if (!v || v->closing) return;
    v->closing = true;
    agent_dns_close(v->dns, NULL, NULL);
    v->open_handles = v->n_polls + 2;
    for (int i = 0; i < v->n_polls; i++) {
        uv_poll_stop(&v->polls[i]);
        uv_close((uv_handle_t *) &v->polls[i], on_closed);
    }
    uv_close((uv_handle_t *) &v->retry, on_closed);
    uv_close((uv_handle_t *) &v->step, on_closed);
}
