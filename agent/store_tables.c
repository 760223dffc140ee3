// SPDX-License-Identifier: Apache-2.0
#include "agent/store_tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/storelog.h"
#include "runtime/base/mem.h"

/* An 8 MiB message may need several times that as structs; hostile amplification ends here. */
enum { BATCH_BUDGET = 256 << 20, TASK_BUDGET = 64 << 20, OBJECT_BUDGET = 16 << 20, KEY_MAX = 160 };

static void task_free(struct astore_task *t) {
    if (!t) return;
    arena_fini(&t->arena);
    arena_fini(&t->end_arena);
    mem_free(t);
}

static void object_free(struct astore_object *o) {
    if (!o) return;
    arena_fini(&o->arena);
    mem_free(o);
}

static void clear_objects(struct map *m) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(m, &i, &key, &value);) object_free(value);
    map_fini(m);
    *m = (struct map){0};
}

void store_tables_fini(struct store_tables *t) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&t->tasks, &i, &key, &value);) task_free(value);
    map_fini(&t->tasks);
    clear_objects(&t->networks);
    clear_objects(&t->services);
    clear_objects(&t->facts);
    strv_fini(&t->volumes_gone);
    store_changes_fini(&t->changes);
}

static int put_object(struct map *m, const char *key, const ProtobufCMessage *msg) {
    struct astore_object *o = mem_zalloc(sizeof *o);
    if (!o) return -ENOMEM;
    arena_init(&o->arena, OBJECT_BUDGET);
    o->message = arena_copy(&o->arena, msg);
    struct astore_object *old = map_get(m, key);
    int r = o->message ? map_set(m, key, o) : -ENOMEM;
    object_free(r < 0 ? o : old);
    return r;
}

static void drop_object(struct map *m, const char *key) {
    object_free(map_del(m, key));
}

static int put_task(struct store_tables *t, const Orlop__TaskSpec *spec, uint64_t boot,
                    bool in_set) {
    struct astore_task *known = map_get(&t->tasks, spec->task);
    if (known) { /* a spec never changes, only what is wanted of it */
        known->want = spec->want;
        known->in_set = in_set;
        return 0;
    }
    struct astore_task *new = mem_zalloc(sizeof *new);
    if (!new) return -ENOMEM;
    arena_init(&new->arena, TASK_BUDGET);
    arena_init(&new->end_arena, OBJECT_BUDGET);
    new->spec = arena_copy(&new->arena, &spec->base);
    new->want = spec->want;
    new->accept_boot = boot;
    new->in_set = in_set;
    int r = new->spec ? map_set(&t->tasks, spec->task, new) : -ENOMEM;
    if (r < 0) {
        task_free(new);
        return r;
    }
    new->id = new->spec->task;
    store_changes_task(&t->changes, new->spec);
    return 0;
}

static void leave_set(struct store_tables *t, const char *id) {
    struct astore_task *k = map_get(&t->tasks, id);
    if (k) k->in_set = false;
}

static const char *service_key(uint64_t id, char key[static KEY_MAX]) {
    snprintf(key, KEY_MAX, "%llu", (unsigned long long) id);
    return key;
}

static void drop_service(struct store_tables *t, const char *key) {
    const struct astore_object *o = map_get(&t->services, key);
    if (o) store_changes_service(&t->changes, o->message);
    drop_object(&t->services, key);
}

/* Noted as it was and as it is: its ports may have gone, or come. */
static int put_service(struct store_tables *t, const char *key, const Orlop__ViewService *s) {
    const struct astore_object *o = map_get(&t->services, key);
    if (o) store_changes_service(&t->changes, o->message);
    int r = put_object(&t->services, key, &s->base);
    if (r == 0) store_changes_service(&t->changes, s);
    return r;
}

static int put_view(struct store_tables *t, const Orlop__Wanted *w) {
    char key[KEY_MAX];
    int r = 0;
    if (w->n_networks_gone || w->n_networks) store_changes_whole(&t->changes);
    for (size_t i = 0; i < w->n_networks_gone; i++)
        drop_object(&t->networks, service_key(w->networks_gone[i], key));
    for (size_t i = 0; i < w->n_services_gone; i++)
        drop_service(t, service_key(w->services_gone[i], key));
    for (size_t i = 0; r == 0 && i < w->n_networks; i++)
        r = put_object(&t->networks, service_key(w->networks[i]->id, key), &w->networks[i]->base);
    for (size_t i = 0; r == 0 && i < w->n_services; i++)
        r = put_service(t, service_key(w->services[i]->id, key), w->services[i]);
    for (size_t i = 0; r == 0 && i < w->n_facts; i++) {
        snprintf(key, sizeof key, "%s/%s", w->facts[i]->app, w->facts[i]->service);
        if (str_empty(w->facts[i]->spec_hash))
            drop_object(&t->facts, key);
        else
            r = put_object(&t->facts, key, &w->facts[i]->base);
    }
    for (size_t i = 0; r == 0 && i < w->n_volumes_gone; i++)
        if (!strv_has(&t->volumes_gone, w->volumes_gone[i]))
            r = strv_add(&t->volumes_gone, w->volumes_gone[i]);
    return r;
}

static int put_wanted(struct store_tables *t, const Orlop__StoreWanted *sw) {
    const Orlop__Wanted *w = sw->set;
    if (!w || !w->to) return -EBADMSG;
    if (w->full) {
        const char *key;
        void *value;
        for (size_t i = 0; map_next(&t->tasks, &i, &key, &value);)
            ((struct astore_task *) value)->in_set = false;
        clear_objects(&t->networks);
        clear_objects(&t->services);
        clear_objects(&t->facts);
        store_changes_whole(&t->changes);
    }
    int r = put_view(t, w);
    for (size_t i = 0; i < w->n_tasks_gone; i++) leave_set(t, w->tasks_gone[i]);
    for (size_t i = 0; r == 0 && i < w->n_tasks; i++) r = put_task(t, w->tasks[i], sw->boot, true);
    t->info.inc = w->to->inc;
    t->info.idx = w->to->idx;
    return r;
}

/* From then on its addresses may be another task's: whatever becomes of it touches them no more. */
static bool is_gone(const struct astore_task *k) {
    return k->end && k->end->gone;
}

static int put_end(struct store_tables *t, const char *id, const Orlop__TaskStatus *end) {
    struct astore_task *k = map_get(&t->tasks, id);
    if (!k) return 0;
    struct arena a;
    arena_init(&a, OBJECT_BUDGET);
    if (!arena_copy(&a, &end->base)) { /* look before the old one is given up */
        arena_fini(&a);
        return -ENOMEM;
    }
    arena_fini(&a);
    bool was_gone = is_gone(k);
    k->end = NULL;
    arena_fini(&k->end_arena);
    arena_init(&k->end_arena, OBJECT_BUDGET);
    k->end = arena_copy(&k->end_arena, &end->base);
    if (!k->end) return -ENOMEM;
    if (is_gone(k) && !was_gone) store_changes_task(&t->changes, k->spec);
    return 0;
}

static void drop_volume(struct strv *l, const char *name) {
    for (size_t i = 0; i < l->n; i++) {
        if (!str_eq(l->v[i], name)) continue;
        mem_free(l->v[i]);
        memmove(&l->v[i], &l->v[i + 1],
                (l->n - i) * sizeof *l->v); /* the NULL behind the last, too */
        l->n--;
        return;
    }
}

static int put_stored_task(struct store_tables *t, const Orlop__StoreTask *st) {
    if (!st->spec) return -EBADMSG;
    int r = put_task(t, st->spec, st->boot, st->in_set);
    if (r == 0 && st->end) r = put_end(t, st->spec->task, st->end);
    return r;
}

static int put_head(struct store_tables *t, const Orlop__StoreHead *h) {
    if (h->store.len != ASTORE_ID_BYTES || strlen(h->node) >= sizeof t->info.node) return -EBADMSG;
    memcpy(t->info.id, h->store.data, ASTORE_ID_BYTES);
    snprintf(t->info.node, sizeof t->info.node, "%s", h->node);
    return 0;
}

static int put_boot(struct store_tables *t, const Orlop__StoreBoot *b) {
    if (strlen(b->boot_id) >= sizeof t->info.boot_id) return -EBADMSG;
    t->info.boot = b->boot;
    snprintf(t->info.boot_id, sizeof t->info.boot_id, "%s", b->boot_id);
    return 0;
}

static void delete_task(struct store_tables *t, const char *id) {
    struct astore_task *k = map_del(&t->tasks, id);
    if (k && !is_gone(k)) store_changes_task(&t->changes, k->spec);
    task_free(k);
}

static int put_item(struct store_tables *t, const Orlop__StoreItem *item) {
    switch (item->what_case) {
    case ORLOP__STORE_ITEM__WHAT_HEAD:
        return put_head(t, item->head);
    case ORLOP__STORE_ITEM__WHAT_BOOT:
        return put_boot(t, item->boot);
    case ORLOP__STORE_ITEM__WHAT_INC:
        if (item->inc > t->info.inc) t->info.idx = 0;
        t->info.inc = item->inc;
        return 0;
    case ORLOP__STORE_ITEM__WHAT_WANTED:
        return put_wanted(t, item->wanted);
    case ORLOP__STORE_ITEM__WHAT_END:
        return put_end(t, item->end->task, item->end);
    case ORLOP__STORE_ITEM__WHAT_DELETED:
        delete_task(t, item->deleted);
        return 0;
    case ORLOP__STORE_ITEM__WHAT_VOLUME_DELETED:
        drop_volume(&t->volumes_gone, item->volume_deleted);
        return 0;
    case ORLOP__STORE_ITEM__WHAT_TASK:
        return put_stored_task(t, item->task);
    case ORLOP__STORE_ITEM__WHAT__NOT_SET:
    case _ORLOP__STORE_ITEM__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return -EBADMSG; /* written by a later version: to go on without it would lose something */
}

int store_tables_apply(struct store_tables *t, const uint8_t *data, size_t len) {
    struct arena a;
    arena_init(&a, BATCH_BUDGET);
    Orlop__StoreBatch *b = arena_unpack(&a, &orlop__store_batch__descriptor, data, len);
    int r = b ? 0 : a.exhausted ? -ENOMEM : -EBADMSG;
    for (size_t i = 0; r == 0 && i < b->n_items; i++) r = put_item(t, b->items[i]);
    arena_fini(&a);
    return r;
}

static int dump_item(struct buf *b, Orlop__StoreItem *item) {
    Orlop__StoreItem *items[] = {item};
    Orlop__StoreBatch batch = ORLOP__STORE_BATCH__INIT;
    batch.n_items = 1;
    batch.items = items;
    size_t len;
    auto_free uint8_t *data = pb_pack(&batch.base, &len);
    return data ? storelog_frame(b, data, len) : -ENOMEM;
}

static int dump_head(const struct store_tables *t, struct buf *b) {
    struct astore_info i = t->info;
    Orlop__StoreHead head = ORLOP__STORE_HEAD__INIT;
    head.store = (ProtobufCBinaryData){.data = i.id, .len = sizeof i.id};
    head.node = i.node;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_HEAD;
    item.head = &head;
    int r = dump_item(b, &item);
    if (r < 0) return r;
    Orlop__StoreBoot boot = ORLOP__STORE_BOOT__INIT;
    boot.boot = i.boot;
    boot.boot_id = i.boot_id;
    item.what_case = ORLOP__STORE_ITEM__WHAT_BOOT;
    item.boot = &boot;
    return dump_item(b, &item);
}

/* The messages of MAP's objects as an array for a repeated field; the caller's (mem_free). */
static void **messages(const struct map *m, size_t *ret_n) {
    void **v = mem_array(map_len(m) + 1, sizeof *v);
    const char *key;
    void *value;
    size_t n = 0;
    for (size_t i = 0; v && map_next(m, &i, &key, &value);)
        v[n++] = ((struct astore_object *) value)->message;
    *ret_n = n;
    return v;
}

/* A full set without tasks: those follow one by one, each with the boot of its acceptance. */
static int dump_view(const struct store_tables *t, struct buf *b) {
    Orlop__Wanted w = ORLOP__WANTED__INIT;
    Orlop__Version to = ORLOP__VERSION__INIT;
    to.inc = t->info.inc;
    to.idx = t->info.idx;
    w.full = true;
    w.to = &to;
    auto_free void **networks = messages(&t->networks, &w.n_networks);
    auto_free void **services = messages(&t->services, &w.n_services);
    auto_free void **facts = messages(&t->facts, &w.n_facts);
    if (!networks || !services || !facts) return -ENOMEM;
    w.networks = (Orlop__ViewNetwork **) networks;
    w.services = (Orlop__ViewService **) services;
    w.facts = (Orlop__ViewFact **) facts;
    w.n_volumes_gone = t->volumes_gone.n;
    w.volumes_gone = t->volumes_gone.v;
    Orlop__StoreWanted sw = ORLOP__STORE_WANTED__INIT;
    sw.set = &w;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_WANTED;
    item.wanted = &sw;
    return dump_item(b, &item);
}

static int dump_task(const struct astore_task *k, struct buf *b) {
    Orlop__TaskSpec spec = *k->spec;
    spec.want = k->want;
    Orlop__StoreTask st = ORLOP__STORE_TASK__INIT;
    union {
        const Orlop__TaskStatus *in;
        Orlop__TaskStatus *out;
    } unconst = {.in = k->end};
    st.spec = &spec;
    st.boot = k->accept_boot;
    st.in_set = k->in_set;
    st.end = unconst.out;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_TASK;
    item.task = &st;
    return dump_item(b, &item);
}

int store_tables_dump(const struct store_tables *t, struct buf *b) {
    int r = dump_head(t, b);
    if (r == 0) r = dump_view(t, b);
    const char *key;
    void *value;
    for (size_t i = 0; r == 0 && map_next(&t->tasks, &i, &key, &value);) r = dump_task(value, b);
    return r;
}

uint8_t *store_tables_pack_attempt(const struct astore_task *t, size_t *ret_len) {
    Orlop__StoreAttempt a = ORLOP__STORE_ATTEMPT__INIT;
    a.task = t->spec->task;
    a.boot = t->last.boot;
    a.attempt = t->last.attempt;
    a.restarts = t->last.restarts;
    a.failures = t->last.failures;
    a.health = t->last.health;
    a.halted = t->last.halted;
    return pb_pack(&a.base, ret_len);
}

int store_tables_dump_attempts(const struct store_tables *t, struct buf *b) {
    const char *key;
    void *value;
    int r = 0;
    for (size_t i = 0; r == 0 && map_next(&t->tasks, &i, &key, &value);) {
        const struct astore_task *k = value;
        if (!k->last.boot) continue;
        size_t len;
        auto_free uint8_t *data = store_tables_pack_attempt(k, &len);
        r = data ? storelog_frame(b, data, len) : -ENOMEM;
    }
    return r;
}
