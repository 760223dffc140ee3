// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include <errno.h>
#include <stdio.h>

#include "net.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "tables.h"

void state_init(struct state *s) {
    *s = (struct state){.inc = 0, .next_service = 1};
    list_init(&s->resting);
    list_init(&s->clients_by_age);
    list_init(&s->services_changed);
    list_init(&s->networks_changed);
    list_init(&s->tombs);
    list_init(&s->volumes_gone);
}

static void free_task(struct task *t);

static void free_service(struct service *svc) {
    list_each_safe (it, &svc->tasks) free_task(list_entry(it, struct task, service_link));
    list_del(&svc->changed);
    mem_free(svc->vips);
    mem_free(svc->name);
    mem_free(svc);
}

static void free_node(struct node *n) {
    arena_fini(&n->arena);
    mem_free(n->name);
    mem_free(n);
}

void state_fini(struct state *s) {
    void *value;
    for (size_t i = 0; (value = index_next(&s->networks, &i));) state__free_network(value);
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &value);) {
        struct app *a = value;
        void *svc;
        for (size_t k = 0; map_next(&a->services, &k, NULL, &svc);) free_service(svc);
        state__free_app(a);
    }
    for (size_t i = 0; map_next(&s->nodes, &i, NULL, &value);) free_node(value);
    for (size_t i = 0; (value = index_next(&s->addresses, &i));) mem_free(value);
    list_each_safe (it, &s->clients_by_age)
        state__delete_client(s, list_entry(it, struct client, age));
    list_each_safe (it, &s->tombs) state__free_tomb(list_entry(it, struct tomb, link));
    list_each_safe (it, &s->volumes_gone) state__free_tomb(list_entry(it, struct tomb, link));
    map_fini(&s->apps);
    map_fini(&s->nodes);
    map_fini(&s->tasks);
    map_fini(&s->clients);
    map_fini(&s->slots);
    map_fini(&s->network_names);
    index_fini(&s->networks);
    index_fini(&s->addresses);
    state_init(s);
}

void state_observe(struct state *s, state_observer fn, void *ctx) {
    s->observer = fn;
    s->observer_ctx = ctx;
}

struct app *state_app(const struct state *s, const char *name) {
    return map_get(&s->apps, name);
}

struct service *state_service(const struct state *s, const char *app, const char *service) {
    struct app *a = state_app(s, app);
    return a ? map_get(&a->services, service) : NULL;
}

struct task *state_task(const struct state *s, const char *id) {
    return map_get(&s->tasks, id);
}

/* Names of apps and services may have dashes themselves: every way to read NAME is tried. */
static struct task *by_container_name(const struct state *s, const char *name) {
    void *app, *value;
    if (!*name) return NULL; /* most services have none */
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &app);)
        for (size_t k = 0; map_next(&((const struct app *) app)->services, &k, NULL, &value);) {
            const struct service *svc = value;
            const struct spec_service *def = spec_find(svc->app->spec, svc->name);
            char key[STATE_SLOT_KEY_MAX];
            if (def && str_eq(def->def->container_name, name))
                return map_get(&s->slots, state__slot_key(svc, 1, key));
        }
    return NULL;
}

struct task *state_task_named(const struct state *s, const char *name) {
    char key[STATE_SLOT_KEY_MAX];
    size_t n = strlen(name);
    const char *last = strrchr(name, '-');
    if (!last || n >= sizeof key) return by_container_name(s, name);
    memcpy(key, name, n + 1);
    key[last - name] = '/';
    for (const char *dash = strchr(name, '-'); dash && dash < last; dash = strchr(dash + 1, '-')) {
        key[dash - name] = '/';
        struct task *t = map_get(&s->slots, key);
        if (t) return t;
        key[dash - name] = '-';
    }
    return by_container_name(s, name);
}

struct node *state_node(const struct state *s, const char *name) {
    return map_get(&s->nodes, name);
}

const struct client *state_client(const struct state *s, const uint8_t id[static 16]) {
    char key[33];
    for (size_t i = 0; i < 16; i++) snprintf(key + 2 * i, 3, "%02x", id[i]);
    return map_get(&s->clients, key);
}

const char *state_task_name(const struct task *t, char buf[static STATE_NAME_MAX]) {
    const char *own = t->def->def->container_name;
    if (*own && strlen(own) < STATE_NAME_MAX)
        snprintf(buf, STATE_NAME_MAX, "%s", own);
    else
        snprintf(buf, STATE_NAME_MAX, "%s-%s-%u", t->service->app->name, t->service->name, t->slot);
    return buf;
}

const char *state__slot_key(const struct service *svc, uint32_t slot,
                            char buf[static STATE_SLOT_KEY_MAX]) {
    snprintf(buf, STATE_SLOT_KEY_MAX, "%s/%s/%u", svc->app->name, svc->name, slot);
    return buf;
}

/* --- rows ----------------------------------------------------------------------------------------
 */

int state__add_app(struct state *s, const char *name, struct app **ret) {
    struct app *a = mem_zalloc(sizeof *a);
    if (!a) return -ENOMEM;
    list_init(&a->networks);
    a->name = mem_strdup(name);
    if (!a->name || map_set(&s->apps, name, a) < 0) {
        state__free_app(a);
        return -ENOMEM;
    }
    *ret = a;
    return 0;
}

void state__free_app(struct app *a) {
    spec_unref(a->spec);
    for (size_t i = 0; i < a->n_history; i++) spec_unref(a->history[i]);
    mem_free(a->history);
    map_fini(&a->services);
    mem_free(a->name);
    mem_free(a);
}

int state__push_history(struct app *a, struct spec *old) {
    struct spec **v = mem_resize(a->history, a->n_history + 1, sizeof *v);
    if (!v) return -ENOMEM;
    memmove(v + 1, v, a->n_history * sizeof *v);
    v[0] = old;
    a->history = v;
    a->n_history++;
    return 0;
}

/* One that a task still runs has a reference of the task's and is kept beyond STATE_HISTORY. */
void state__trim_history(struct app *a) {
    while (a->n_history > STATE_HISTORY && a->history[a->n_history - 1]->refs == 1)
        spec_unref(a->history[--a->n_history]);
}

int state__add_service(struct state *s, struct app *a, const char *name, struct service **ret) {
    struct service *svc = mem_zalloc(sizeof *svc);
    if (!svc) return -ENOMEM;
    list_init(&svc->tasks);
    svc->app = a;
    svc->name = mem_strdup(name);
    if (!svc->name || map_set(&a->services, name, svc) < 0) {
        mem_free(svc->name);
        mem_free(svc);
        return -ENOMEM;
    }
    list_add_tail(&s->services_changed, &svc->changed);
    svc->ver = s->applied_idx;
    *ret = svc;
    return 0;
}

int state__delete_service(struct state *s, struct service *svc) {
    ensure(list_empty(&svc->tasks));
    net_unreserve(s, svc);
    int r = net_drop_vips(s, svc, NULL);
    if (r < 0) return r;
    map_del(&svc->app->services, svc->name);
    free_service(svc);
    return 0;
}

bool state__has_fact(const struct service *svc, const char *hash) {
    for (size_t i = 0; i < svc->n_facts; i++)
        if (str_eq(svc->facts[i], hash)) return true;
    return false;
}

void state__add_fact(struct service *svc, const char *hash) {
    if (state__has_fact(svc, hash)) return;
    if (svc->n_facts == STATE_FACTS_MAX) svc->n_facts--;
    memmove(svc->facts + 1, svc->facts, svc->n_facts * sizeof svc->facts[0]);
    snprintf(svc->facts[0], SPEC_HASH_MAX, "%s", hash);
    svc->n_facts++;
}

int state__add_node(struct state *s, const char *name, struct node **ret) {
    struct node *n = mem_zalloc(sizeof *n);
    if (!n) return -ENOMEM;
    list_init(&n->tasks);
    arena_init(&n->arena, 0);
    n->name = mem_strdup(name);
    if (!n->name || map_set(&s->nodes, name, n) < 0) {
        free_node(n);
        return -ENOMEM;
    }
    *ret = n;
    return 0;
}

int state__add_client(struct state *s, const char *key, struct client **ret) {
    struct client *c = mem_zalloc(sizeof *c);
    if (!c) return -ENOMEM;
    c->key = mem_strdup(key);
    if (!c->key || map_set(&s->clients, key, c) < 0) {
        mem_free(c->key);
        mem_free(c);
        return -ENOMEM;
    }
    list_add_tail(&s->clients_by_age, &c->age);
    *ret = c;
    return 0;
}

void state__delete_client(struct state *s, struct client *c) {
    map_del(&s->clients, c->key);
    list_del(&c->age);
    mem_free(c->answer);
    mem_free(c->key);
    mem_free(c);
}

/* --- tasks ---------------------------------------------------------------------------------------
 */

static char empty_text[] = "";

int state__set_text(char **at, const char *text) {
    char *copy = NULL;
    if (!str_empty(text)) {
        copy = mem_strdup(text);
        if (!copy) return -ENOMEM;
    }
    state__free_text(at);
    *at = copy ? copy : empty_text;
    return 0;
}

void state__free_text(char **at) {
    if (*at && **at) mem_free(*at);
    *at = empty_text;
}

int state__add_task(struct state *s, struct service *svc, const char *id, uint32_t slot,
                    struct spec *spec, struct task **ret) {
    struct task *t = mem_zalloc(sizeof *t);
    if (!t) return -ENOMEM;
    orlop__task_status__init(&t->status);
    t->status.reason = t->status.health_output = empty_text;
    t->service = svc;
    t->slot = slot;
    t->spec = spec_ref(spec);
    t->def = spec_find(spec, svc->name);
    t->id = mem_strdup(id);
    char key[STATE_SLOT_KEY_MAX];
    if (!t->id || !t->def || map_set(&s->tasks, id, t) < 0 ||
        map_set(&s->slots, state__slot_key(svc, slot, key), t) < 0)
        return -ENOMEM;
    t->status.task = t->id;
    list_add_tail(&svc->tasks, &t->service_link);
    svc->app->n_tasks++;
    *ret = t;
    return 0;
}

static void free_task(struct task *t) {
    list_del(&t->service_link);
    list_del(&t->node_link);
    state__free_text(&t->status.reason);
    state__free_text(&t->status.health_output);
    spec_unref(t->spec);
    mem_free(t->addresses);
    mem_free(t->id);
    mem_free(t);
}

/* The name means the newest task of the slot that is left. */
static int rename_slot(struct state *s, const struct task *t) {
    char name[STATE_SLOT_KEY_MAX];
    state__slot_key(t->service, t->slot, name);
    if (map_get(&s->slots, name) != t) return 0;
    struct task *older = NULL;
    list_each (it, &t->service->tasks) {
        struct task *o = list_entry(it, struct task, service_link);
        if (o != t && o->slot == t->slot) older = o;
    }
    if (older) return map_set(&s->slots, name, older);
    map_del(&s->slots, name);
    return 0;
}

int state__delete_task(struct state *s, struct task *t) {
    int r = state__release(s, t);
    if (!r && t->node) r = state__tomb(s, TOMB_TASK, 0, t->id, t->node->name);
    if (!r) r = rename_slot(s, t);
    if (r < 0) return r;
    state__emit(s, CHANGE_TASK_DELETED, t->service->app, t->service, t, NULL);
    map_del(&s->tasks, t->id);
    t->service->app->n_tasks--;
    struct app *a = t->service->app;
    free_task(t);
    state__trim_history(a);
    return 0;
}

static void account(struct node *n, const struct task *t, int sign) {
    const Orlop__Resources *r = t->def->def->resources;
    uint64_t cpu = r ? r->cpu_reservation_millis : 0;
    uint64_t memory = r ? r->memory_reservation_bytes : 0;
    if (sign > 0) {
        n->n_tasks++;
        n->cpu_reserved_millis += cpu;
        n->memory_reserved_bytes += memory;
    } else {
        n->n_tasks--;
        n->cpu_reserved_millis -= cpu;
        n->memory_reserved_bytes -= memory;
    }
}

void state__place(struct task *t, struct node *n, bool holds) {
    t->node = n;
    t->holds = holds;
    list_add_tail(&n->tasks, &t->node_link);
    if (holds) account(n, t, +1);
}

/* What check_hello lets through (64 KiB packed) always fits, also when it is all unknown fields. */
enum { INVENTORY_BUDGET_BYTES = 16 << 20 };

int state__take_inventory(struct node *n, const Orlop__Inventory *inv) {
    static const Orlop__Inventory none = ORLOP__INVENTORY__INIT;
    arena_fini(&n->arena);
    arena_init(&n->arena, INVENTORY_BUDGET_BYTES);
    n->inventory = arena_copy(&n->arena, inv ? &inv->base : &none.base);
    return n->inventory ? 0 : -ENOMEM;
}

int state__release(struct state *s, struct task *t) {
    if (!t->holds) return 0;
    t->holds = false;
    account(t->node, t, -1);
    return net_release_task(s, t);
}

/* --- what nodes must hear -------------------------------------------------------------------- */

void state__touch_service(struct state *s, struct service *svc) {
    list_del(&svc->changed);
    list_add_tail(&s->services_changed, &svc->changed);
    svc->ver = s->applied_idx;
}

void state__touch_task(struct state *s, struct task *t) {
    t->ver = s->applied_idx;
    if (!t->node) return;
    list_del(&t->node_link);
    list_add_tail(&t->node->tasks, &t->node_link);
}

void state__free_tomb(struct tomb *t) {
    list_del(&t->link);
    mem_free(t->name);
    mem_free(t->node);
    mem_free(t);
}

static int new_tomb(enum tomb_kind kind, const char *name, const char *node, struct tomb **ret) {
    struct tomb *t = mem_zalloc(sizeof *t);
    if (!t) return -ENOMEM;
    t->kind = kind;
    t->name = name ? mem_strdup(name) : NULL;
    t->node = node ? mem_strdup(node) : NULL;
    if ((name && !t->name) || (node && !t->node)) {
        state__free_tomb(t);
        return -ENOMEM;
    }
    *ret = t;
    return 0;
}

int state__tomb(struct state *s, enum tomb_kind kind, uint64_t id, const char *name,
                const char *node) {
    struct tomb *t;
    if (new_tomb(kind, name, node, &t) < 0) return -ENOMEM;
    t->id = id;
    t->idx = s->applied_idx;
    list_add_tail(&s->tombs, &t->link);
    if (s->n_tombs < STATE_TOMBS_MAX) {
        s->n_tombs++;
        return 0;
    }
    struct tomb *oldest = list_entry(s->tombs.next, struct tomb, link);
    s->tombs_since = oldest->idx;
    state__free_tomb(oldest);
    return 0;
}

void state__volume_back(struct state *s, const char *name) {
    list_each_safe (it, &s->volumes_gone) {
        struct tomb *t = list_entry(it, struct tomb, link);
        if (!str_eq(t->name, name)) continue;
        state__free_tomb(t);
        s->n_volumes_gone--;
    }
}

int state__volume_gone(struct state *s, const char *name, uint64_t idx) {
    state__volume_back(s, name);
    struct tomb *t;
    if (new_tomb(TOMB_VOLUME, name, NULL, &t) < 0) return -ENOMEM;
    t->idx = idx;
    list_add_tail(&s->volumes_gone, &t->link);
    if (++s->n_volumes_gone > STATE_VOLUMES_GONE_MAX)
        state__volume_back(s, list_entry(s->volumes_gone.next, struct tomb, link)->name);
    return 0;
}

void state__emit(struct state *s, enum change_kind kind, const struct app *a,
                 const struct service *svc, const struct task *t, const char *text) {
    if (!s->observer) return;
    struct change c = {kind, s->applied_idx, s->now_ms, a, svc, t, t ? t->node : NULL, text};
    s->observer(s->observer_ctx, &c);
}

void state__emit_node(struct state *s, enum change_kind kind, const struct node *n,
                      const char *text) {
    if (!s->observer) return;
    struct change c = {.kind = kind, .idx = s->applied_idx, .time_ms = s->now_ms};
    c.node = n;
    c.text = text;
    s->observer(s->observer_ctx, &c);
}
