// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/state.h - the cluster's tables: what the log says.
 *
 * Role     apps, services, tasks, nodes, networks, addresses, clients. apply() (apply.h) is the
 *          only mutator; everybody else reads. No I/O, no clock: `now_ms` is the time in the last
 *          entry.
 * Thread   [loop].
 * Owns     everything below it. Pointers live until the next apply; keep names, not pointers.
 * Limits   STATE_* below; the manifest's own are in proto/check.h.
 * See      scheduler/README.md; tests/unit/scheduler
 */
#ifndef ORLOP_SCHEDULER_STATE_STATE_H
#define ORLOP_SCHEDULER_STATE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.pb-c.h"
#include "index.h"
#include "proto/arena.h"
#include "raft.pb-c.h"
#include "runtime/base/err.h"
#include "runtime/base/list.h"
#include "runtime/base/map.h"
#include "spec.h"

enum {
    STATE_HISTORY = 10,       /* older revisions kept for each app */
    STATE_ENDED_PER_SLOT = 2, /* ended tasks kept for logs and `why` */
    STATE_CLIENTS_MAX = 4096, /* last requests kept; the oldest go first */
    STATE_CLIENT_DAYS = 7,
    STATE_FACTS_MAX = 8,    /* per service */
    STATE_TOMBS_MAX = 4096, /* deletions remembered for deltas */
    STATE_VOLUMES_GONE_MAX = 256,
    STATE_REST_MS = 120000, /* before an address is used again */
    STATE_REST_FORGET_MS = 600000,
};

struct service;
struct node;
struct app;

struct app {
    char *name;
    struct spec *spec;     /* the newest revision */
    struct spec **history; /* older ones, newest first */
    size_t n_history;
    bool removing, remove_volumes;
    int64_t updated_ms;
    uint64_t mod;
    struct map services;  /* name -> struct service; removed ones until their last task is gone */
    struct list networks; /* struct network.app_link: those that it owns */
    size_t n_tasks;
};

struct vip {
    uint32_t network, address;
};

struct service {
    char *name;
    struct app *app;
    uint64_t id;
    uint64_t mod;           /* idx of the last entry that changed what is wanted of it */
    uint64_t mod_before;    /* the same before the entry that is being applied */
    uint64_t generation;    /* raised by restart and force_recreate */
    uint64_t restarted_idx; /* idx of the last raise, while it is being applied */
    bool removed;           /* not in app->spec any more */
    struct vip *vips;       /* one for each network */
    size_t n_vips;
    char facts[STATE_FACTS_MAX][SPEC_HASH_MAX]; /* specs that completed, newest first */
    size_t n_facts;
    struct list tasks;   /* struct task.service_link, oldest first */
    struct list changed; /* in state.services_changed, ordered by ver */
    uint64_t ver;        /* idx of the last change that nodes must see */
};

struct task {
    char *id;
    struct service *service;
    uint32_t slot;
    uint64_t generation;
    struct spec *spec; /* of its revision */
    const struct spec_service *def;
    struct node *node; /* NULL while PENDING */
    Orlop__Want want;
    bool forced, lost;
    Orlop__TaskStatus status; /* strings owned by the task, NULL instead of "" never */
    Orlop__TaskAddress *addresses;
    size_t n_addresses;
    bool holds;     /* addresses and resources are accounted to it */
    uint32_t tries; /* rejected or lost predecessors in a row */
    uint64_t assigned_idx, drain_idx;
    int64_t created_ms, drain_ms, ended_ms;
    struct list service_link, node_link; /* node_link: ordered by ver */
    uint64_t ver;
};

struct node {
    char *name;
    uint8_t store[16];
    uint64_t boot;
    struct arena arena;
    Orlop__Inventory *inventory;
    bool up;
    uint64_t mod, mod_before;
    uint64_t synced_inc;
    struct list tasks; /* struct task.node_link, oldest change first */
    size_t n_tasks;    /* that hold */
    uint64_t cpu_reserved_millis, memory_reserved_bytes;
};

struct network {
    struct app *app; /* owner */
    char *key, *name;
    uint32_t id, subnet, prefix_len, gateway;
    bool internal;
    bool retired;          /* not in its app's spec any more: goes with its last user */
    uint32_t next_host;    /* where the search for a free address starts */
    size_t n_users;        /* addresses and VIPs held in it */
    struct index reserved; /* ipv4_address: of specs -> struct service */
    struct list app_link, changed;
    uint64_t ver;
};

/* One address in use or at rest. Network 0: a VIP, or a subnet under its first address. */
struct holding {
    uint32_t network, address;
    bool held;
    int64_t released_ms;
    uint64_t barrier_idx; /* reuse needs every node that is not down to have applied this */
    struct list rest;     /* in state.resting, oldest first */
};

struct client {
    char *key;
    uint64_t number;
    int64_t time_ms;
    uint8_t *answer;
    size_t answer_len;
    struct err err;  /* code 0: answer holds */
    struct list age; /* in state.clients_by_age, oldest first */
};

enum tomb_kind { TOMB_TASK = 1, TOMB_SERVICE, TOMB_NETWORK, TOMB_VOLUME };

/* What a delta says is gone. */
struct tomb {
    uint64_t idx;
    enum tomb_kind kind;
    uint64_t id; /* service view, network */
    char *name;  /* task, volume */
    char *node;  /* task: where it was */
    struct list link;
};

enum change_kind {
    CHANGE_APP_APPLIED = 1,
    CHANGE_APP_SCALED,
    CHANGE_APP_RESTARTED,
    CHANGE_APP_REMOVING,
    CHANGE_APP_DELETED,
    CHANGE_TASK_CREATED,
    CHANGE_TASK_ASSIGNED,
    CHANGE_TASK_DRAINING,
    CHANGE_TASK_STOPPING,
    CHANGE_TASK_STATE,     /* state moved */
    CHANGE_TASK_HEALTH,    /* only its health did */
    CHANGE_TASK_RESTARTED, /* a new attempt on its node */
    CHANGE_TASK_GONE,
    CHANGE_TASK_DELETED,
    CHANGE_FACT,
    CHANGE_NODE_REGISTERED,
    CHANGE_NODE_SYNCED,
    CHANGE_NODE_UP,
    CHANGE_NODE_DOWN,
    CHANGE_LEADER,
    CHANGE_TASK_OOM, /* it goes on without a process that the kernel killed */
};

/* Told while an entry is applied; all pointers are borrowed for the call. */
struct change {
    enum change_kind kind;
    uint64_t idx;
    int64_t time_ms;
    const struct app *app;
    const struct service *service;
    const struct task *task;
    const struct node *node;
    const char *text; /* NULL or a sentence */
};

typedef void (*state_observer)(void *ctx, const struct change *change);

struct state {
    uint64_t inc, applied_idx;
    int64_t now_ms;
    uint64_t term; /* of the last LeaderStart: that one was applied in this life when not 0 */
    struct map apps, nodes, tasks, clients;
    struct map slots;         /* "<app>/<service>/<slot>" -> the newest struct task */
    struct map network_names; /* "<tenant>/<name>" -> struct network */
    struct index networks;    /* id -> struct network */
    struct index addresses;   /* (network, address) -> struct holding */
    struct list resting, clients_by_age, services_changed, networks_changed, tombs;
    size_t n_tombs;
    uint64_t
        tombs_since; /* deletions up to this idx are forgotten: older sessions need a full set */
    uint32_t next_network, next_vip;
    uint64_t next_service;
    uint32_t next_task;       /* within the entry that is being applied */
    struct list volumes_gone; /* struct tomb, TOMB_VOLUME */
    size_t n_volumes_gone;
    state_observer observer;
    void *observer_ctx;
};

void state_init(struct state *s);
void state_fini(struct state *s);
void state_observe(struct state *s, state_observer fn, void *ctx);

struct app *state_app(const struct state *s, const char *name);
struct service *state_service(const struct state *s, const char *app, const char *service);
struct task *state_task(const struct state *s, const char *id);
struct task *state_task_named(const struct state *s, const char *name); /* <app>-<service>-<slot> */
struct node *state_node(const struct state *s, const char *name);
struct network *state_network(const struct state *s, uint32_t id);
const struct client *state_client(const struct state *s, const uint8_t id[static 16]);
/* The network that KEY means in the app of SPEC: its own, or the external one of that name. */
struct network *state_network_of(const struct state *s, const struct spec *spec, const char *key);
const struct holding *state_holding(const struct state *s, uint32_t network, uint32_t address);

/* Id of a service on one of its networks in views. */
static inline uint64_t state_view_id(const struct service *svc, uint32_t network) {
    return svc->id << 32 | network;
}

/* "<app>-<service>-<slot>" */
enum { STATE_NAME_MAX = 160 };
const char *state_task_name(const struct task *t, char buf[static STATE_NAME_MAX]);

#endif
