// SPDX-License-Identifier: Apache-2.0
#include "place.h"

#include <errno.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/state/rules.h"

/* --- filter ---------------------------------------------------------------------------------- */

static bool mounts(const Orlop__Service *def, const char *volume) {
    for (size_t i = 0; i < def->n_mounts; i++)
        if (def->mounts[i]->kind == ORLOP__MOUNT__KIND__VOLUME &&
            str_eq(def->mounts[i]->source, volume))
            return true;
    return false;
}

/* Where the newest task that used VOLUME was put. */
static const struct node *home_of(const struct app *a, const char *volume) {
    void *value;
    for (size_t i = 0; map_next(&a->services, &i, NULL, &value);) {
        const struct service *svc = value;
        for (struct list *it = svc->tasks.prev; it != &svc->tasks; it = it->prev) {
            const struct task *t = list_entry(it, struct task, service_link);
            if (t->node && mounts(t->def->def, volume)) return t->node;
        }
    }
    return NULL;
}

/* Named volumes are local to a node: a task follows its volume. */
static const struct node *pinned_to(const struct service *svc, const struct spec_service *def,
                                    const char **ret_volume) {
    for (size_t i = 0; i < def->def->n_mounts; i++) {
        const Orlop__Mount *m = def->def->mounts[i];
        if (m->kind != ORLOP__MOUNT__KIND__VOLUME || !*m->source) continue;
        const struct node *home = home_of(svc->app, m->source);
        *ret_volume = m->source;
        if (home) return home;
    }
    return NULL;
}

static struct node with_load(const struct node *n, const struct map *loads) {
    struct node shadow = *n; /* only its numbers are looked at */
    const struct place_load *load = loads ? map_get(loads, n->name) : NULL;
    if (!load) return shadow;
    shadow.cpu_reserved_millis += load->cpu_millis;
    shadow.memory_reserved_bytes += load->memory_bytes;
    shadow.n_tasks += load->tasks;
    return shadow;
}

/* --- score: lower is better ------------------------------------------------------------------ */

static uint64_t permille(uint64_t part, uint64_t whole) {
    if (!whole) return 0;
    return part >= whole ? 1000 : (uint64_t) ((double) part / (double) whole * 1000);
}

static uint64_t score(const struct node *n, const struct service *svc) {
    uint64_t mates = 0;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (t->holds && str_eq(t->node->name, n->name)) mates++;
    }
    uint64_t cpu = permille(n->cpu_reserved_millis, n->inventory->cpu_millis);
    uint64_t memory = permille(n->memory_reserved_bytes, n->inventory->memory_bytes);
    /* Replicas of a service apart first, then even reservations, then even counts. */
    return mates * 1000000 + (cpu > memory ? cpu : memory) * 1000 + n->n_tasks;
}

static int refuse(const struct state *s, const struct node *pin, const char *volume,
                  const struct err *last, struct err *why) {
    if (map_len(&s->nodes) == 0)
        return err_say(why, -EHOSTDOWN, "no node has joined yet: is an agent running?");
    if (pin && !pin->up)
        return err_say(why, -EHOSTDOWN, "volume %s is on node %s, which is down", volume,
                       pin->name);
    if (last->code) return err_say(why, last->code, "%s", last->text);
    return err_say(why, -EHOSTDOWN, "no node is up");
}

int place_pick(const struct state *s, const struct service *svc, const struct spec_service *def,
               const struct map *loads, const struct node **ret, struct err *why) {
    const char *volume = "";
    const struct node *pin = pinned_to(svc, def, &volume), *best = NULL;
    struct err last = {0};
    uint64_t best_score = 0;
    void *value;
    for (size_t i = 0; map_next(&s->nodes, &i, NULL, &value);) {
        const struct node *n = value;
        if (!n->up || (pin && pin != n)) continue;
        struct node shadow = with_load(n, loads);
        if (rule_belongs(n, svc, def, &last) < 0 || rule_fits(&shadow, def, &last) < 0) continue;
        uint64_t sc = score(&shadow, svc);
        if (best && sc >= best_score) continue;
        best = n;
        best_score = sc;
    }
    if (!best) return refuse(s, pin, volume, &last, why);
    *ret = best;
    return 0;
}
