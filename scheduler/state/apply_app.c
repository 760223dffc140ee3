// SPDX-License-Identifier: Apache-2.0
/* Apps: apply, remove, scale, restart, delete. Everything is checked before anything is changed. */
#include <errno.h>
#include <stdio.h>

#include "apply_internal.h"
#include "net.h"
#include "proto/check.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

/* --- what the new manifest says together with what stays ------------------------------------- */

static bool listed(char *const *list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], name)) return true;
    return false;
}

static Orlop__Service *service_of(const Orlop__App *app, const char *name) {
    for (size_t i = 0; app && i < app->n_services; i++)
        if (str_eq(app->services[i]->name, name)) return app->services[i];
    return NULL;
}

/* Add to LIST (room is there) the OLD messages whose key none of the new ones has. */
#define MERGE_BY(merged, field, n_field, old, member)                                              \
    do {                                                                                           \
        for (size_t i_ = 0; i_ < (old)->n_field; i_++) {                                           \
            bool there_ = false;                                                                   \
            for (size_t k_ = 0; k_ < (merged)->n_field && !there_; k_++)                           \
                there_ = str_eq((merged)->field[k_]->member, (old)->field[i_]->member);            \
            if (!there_) (merged)->field[(merged)->n_field++] = (old)->field[i_];                  \
        }                                                                                          \
    } while (0)

static void *room(struct arena *a, const void *from, size_t n, size_t more, size_t size) {
    char *v = arena_alloc(a, (n + more + 1) * size);
    if (v && n) memcpy(v, from, n * size);
    return v;
}

/* Definitions that only services of the old revision use: they go on with those services. */
static int merge_definitions(struct arena *a, Orlop__App *m, const Orlop__App *old) {
    m->networks = room(a, m->networks, m->n_networks, old->n_networks, sizeof *m->networks);
    m->volumes = room(a, m->volumes, m->n_volumes, old->n_volumes, sizeof *m->volumes);
    m->secrets = room(a, m->secrets, m->n_secrets, old->n_secrets, sizeof *m->secrets);
    m->configs = room(a, m->configs, m->n_configs, old->n_configs, sizeof *m->configs);
    if (!m->networks || !m->volumes || !m->secrets || !m->configs) return -ENOMEM;
    MERGE_BY(m, networks, n_networks, old, key);
    MERGE_BY(m, volumes, n_volumes, old, key);
    MERGE_BY(m, secrets, n_secrets, old, name);
    MERGE_BY(m, configs, n_configs, old, name);
    return 0;
}

/* OUT: R's app, less what `only` leaves alone, plus what stays of OLD. Shallow, lists in A. */
static int merge(struct arena *a, const Orlop__AppApplyRequest *r, const Orlop__App *old,
                 Orlop__App *out) {
    const Orlop__App *app = r->app;
    *out = *app;
    size_t most = app->n_services + (old ? old->n_services : 0);
    out->services = arena_alloc(a, (most + 1) * sizeof *out->services);
    if (!out->services) return -ENOMEM;
    out->n_services = 0;
    bool kept = false;
    for (size_t i = 0; i < app->n_services; i++) {
        Orlop__Service *s = app->services[i];
        if (r->n_only && !listed(r->only, r->n_only, s->name)) {
            s = service_of(old, s->name);
            kept = true;
        }
        if (s) out->services[out->n_services++] = s;
    }
    for (size_t i = 0; old && !r->remove_orphans && i < old->n_services; i++) {
        if (service_of(app, old->services[i]->name)) continue;
        out->services[out->n_services++] = old->services[i];
        kept = true;
    }
    return kept && old ? merge_definitions(a, out, old) : 0;
}

static bool same_message(const ProtobufCMessage *a, const ProtobufCMessage *b) {
    size_t na, nb;
    auto_free uint8_t *pa = pb_pack(a, &na);
    auto_free uint8_t *pb = pb_pack(b, &nb);
    return pa && pb && na == nb && memcmp(pa, pb, na) == 0;
}

/* --- apply ----------------------------------------------------------------------------------- */

static int answer_apply(const struct state *s, const struct app *a, bool changed,
                        struct buf *answer) {
    Orlop__Version v = ORLOP__VERSION__INIT;
    v.inc = s->inc;
    v.idx = s->applied_idx;
    Orlop__AppApplyAnswer m = ORLOP__APP_APPLY_ANSWER__INIT;
    m.version = &v;
    m.revision = a->spec->revision;
    m.changed = changed;
    size_t len;
    auto_free uint8_t *data = pb_pack(&m.base, &len);
    return data ? buf_add(answer, data, len) : -ENOMEM;
}

static int make_spec(struct state *s, const struct app *a, const Orlop__AppApplyRequest *r,
                     struct spec **ret, struct err *why) {
    struct arena arena;
    arena_init(&arena, SPEC_BUDGET_BYTES);
    Orlop__App merged;
    struct spec *p = NULL;
    int e = merge(&arena, r, a && !a->removing ? a->spec->app : NULL, &merged);
    if (!e) e = check_app(&merged, why);
    if (!e) e = spec_copy(&merged, a ? a->spec->revision + 1 : 1, &p);
    arena_fini(&arena);
    if (!e) e = apply__choose_ports(s, p, a, why);
    if (!e) e = spec_seal(p);
    if (!e) e = apply__check_spec(s, a, p, why);
    if (e < 0) {
        spec_unref(p);
        return e;
    }
    *ret = p;
    return 0;
}

static int find_or_add(struct state *s, struct app *a, const char *name, struct spec *p,
                       struct app **ret) {
    if (a) {
        *ret = a;
        return 0;
    }
    int r = state__add_app(s, name, &a);
    if (r < 0) return r;
    a->spec = spec_ref(p);
    *ret = a;
    return 0;
}

int apply__app_apply(struct state *s, const Orlop__AppApplyRequest *r, struct buf *answer,
                     struct err *why) {
    if (!r->app) return err_say(why, -EINVAL, "the request has no app");
    struct app *a = state_app(s, r->app->name);
    struct spec *p;
    int e = make_spec(s, a, r, &p, why);
    if (e < 0) return e;
    bool same = a && !a->removing && same_message(&a->spec->app->base, &p->app->base);
    if (same && !r->n_force_recreate) {
        spec_unref(p);
        return answer_apply(s, a, false, answer);
    }
    e = find_or_add(s, a, r->app->name, p, &a);
    if (!e) e = apply__take_spec(s, a, p, r->force_recreate, r->n_force_recreate, why);
    spec_unref(p);
    if (e < 0) return -ENOMEM; /* it was checked before */
    state__emit(s, CHANGE_APP_APPLIED, a, NULL, NULL, NULL);
    return answer_apply(s, a, true, answer);
}

/* --- scale, restart -------------------------------------------------------------------------- */

static int find_app(struct state *s, const char *name, struct app **ret, struct err *why) {
    struct app *a = state_app(s, name);
    if (!a) return err_say(why, -ENOENT, "there is no app %s", name);
    if (a->removing) return err_say(why, -EBUSY, "app %s is being removed", name);
    *ret = a;
    return 0;
}

int apply__app_scale(struct state *s, const Orlop__AppScaleRequest *r, struct err *why) {
    struct app *a;
    struct spec *p;
    int e = find_app(s, r->app, &a, why);
    if (!e) e = spec_copy(a->spec->app, a->spec->revision + 1, &p);
    if (e < 0) return e;
    for (size_t i = 0; i < r->n_services && !e; i++) {
        Orlop__Service *svc = service_of(p->app, r->services[i]->service);
        if (svc)
            svc->replicas = r->services[i]->replicas;
        else
            e = err_say(why, -ENOENT, "app %s has no service %s", a->name, r->services[i]->service);
    }
    if (!e) e = check_app(p->app, why);
    if (!e) e = spec_seal(p);
    bool same = !e && same_message(&a->spec->app->base, &p->app->base);
    if (!e && !same && apply__take_spec(s, a, p, NULL, 0, why) < 0) e = -ENOMEM;
    spec_unref(p);
    if (!e && !same) state__emit(s, CHANGE_APP_SCALED, a, NULL, NULL, NULL);
    return e;
}

void apply__restart_service(struct state *s, struct app *a, struct service *svc) {
    svc->generation++;
    svc->restarted_idx = s->applied_idx;
    svc->n_facts = 0; /* a one-shot runs again */
    state__bump(&svc->mod, &svc->mod_before, s->applied_idx);
    state__touch_service(s, svc);
    for (size_t i = 0; i < a->spec->app->n_services; i++) {
        const Orlop__Service *def = a->spec->app->services[i];
        struct service *other = map_get(&a->services, def->name);
        if (!other || other->restarted_idx == s->applied_idx) continue; /* done already */
        for (size_t k = 0; k < def->n_depends_on; k++) {
            const Orlop__Dependency *d = def->depends_on[k];
            if (!d->restart || !str_eq(d->service, svc->name)) continue;
            apply__restart_service(s, a, other);
            break;
        }
    }
}

int apply__app_restart(struct state *s, const Orlop__AppRestartRequest *r, struct err *why) {
    struct app *a;
    int e = find_app(s, r->app, &a, why);
    if (e < 0) return e;
    for (size_t i = 0; i < r->n_services; i++)
        if (!spec_find(a->spec, r->services[i]))
            return err_say(why, -ENOENT, "app %s has no service %s", a->name, r->services[i]);
    for (size_t i = 0; i < a->spec->app->n_services; i++) {
        const struct spec_service *def = &a->spec->services[i];
        struct service *svc = map_get(&a->services, def->def->name);
        if (svc->restarted_idx == s->applied_idx) continue;
        bool named = listed(r->services, r->n_services, svc->name);
        /* A completed one-shot runs again only when it is asked for by name. */
        if (r->n_services ? !named : state__has_fact(svc, def->hash)) continue;
        apply__restart_service(s, a, svc);
    }
    a->mod = s->applied_idx;
    state__emit(s, CHANGE_APP_RESTARTED, a, NULL, NULL, NULL);
    return 0;
}

/* --- remove, delete -------------------------------------------------------------------------- */

/* Another app that is joined to a network of A. */
static const struct app *joined_app(const struct state *s, const struct app *a) {
    void *value;
    list_each (it, &s->services_changed) {
        const struct service *svc = list_entry(it, struct service, changed);
        if (svc->app == a) continue;
        for (size_t i = 0; i < svc->n_vips; i++) {
            value = state_network(s, svc->vips[i].network);
            if (value && ((struct network *) value)->app == a) return svc->app;
        }
    }
    return NULL;
}

int apply__app_remove(struct state *s, const Orlop__AppRemoveRequest *r, struct err *why) {
    struct app *a = state_app(s, r->app);
    if (!a) return err_say(why, -ENOENT, "there is no app %s", r->app);
    const struct app *other = joined_app(s, a);
    if (other)
        return err_say(why, -EBUSY, "app %s is joined to a network of %s: remove it first",
                       other->name, a->name);
    bool first = !a->removing;
    a->removing = true;
    a->remove_volumes |= r->volumes;
    a->mod = s->applied_idx;
    a->updated_ms = s->now_ms;
    void *svc;
    for (size_t i = 0; first && map_next(&a->services, &i, NULL, &svc);) {
        struct service *one = svc;
        state__bump(&one->mod, &one->mod_before, s->applied_idx);
        state__touch_service(s, one);
        int e = net_settle_vips(s, one);
        if (!e) e = apply__prune_unwanted(s, one);
        if (e < 0) return e;
    }
    if (first) state__emit(s, CHANGE_APP_REMOVING, a, NULL, NULL, NULL);
    return 0;
}

static int delete_parts(struct state *s, struct app *a) {
    void *value;
    for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
        int r = state__delete_service(s, value);
        if (r < 0) return r;
    }
    list_each_safe (it, &a->networks) {
        int r = net_retire(s, list_entry(it, struct network, app_link));
        if (r < 0) return r;
    }
    for (size_t i = 0; a->remove_volumes && i < a->spec->app->n_volumes; i++) {
        const Orlop__Volume *v = a->spec->app->volumes[i];
        if (v->external) continue;
        int r = state__volume_gone(s, v->name, s->applied_idx);
        if (r < 0) return r;
    }
    return 0;
}

int apply__app_delete(struct state *s, const Orlop__EntryAppDelete *e, struct err *why) {
    struct app *a = state_app(s, e->app);
    if (!a || !a->removing) return err_say(why, -ECANCELED, "app %s is not being removed", e->app);
    if (a->n_tasks) return err_say(why, -EBUSY, "app %s still has tasks", e->app);
    int r = delete_parts(s, a);
    if (r < 0) return r;
    state__emit(s, CHANGE_APP_DELETED, a, NULL, NULL, NULL);
    map_del(&s->apps, a->name);
    state__free_app(a);
    return 0;
}
