// SPDX-License-Identifier: Apache-2.0
#include "rules.h"

#include <errno.h>
#include <stdio.h>

#include "net.h"
#include "proto/constraint.h"
#include "runtime/base/str.h"
#include "tables.h"

const struct spec_service *rule_wanted(const struct service *svc) {
    if (svc->removed || svc->app->removing) return NULL;
    return spec_find(svc->app->spec, svc->name);
}

uint32_t rule_replicas(const struct service *svc) {
    const struct spec_service *w = rule_wanted(svc);
    return w ? w->def->replicas : 0;
}

bool rule_current(const struct task *t) {
    const struct spec_service *w = rule_wanted(t->service);
    return w && t->generation == t->service->generation && str_eq(w->hash, t->def->hash);
}

static bool runs_well(const struct task *t) {
    return t->want == ORLOP__WANT__WANT_RUN && t->status.state == ORLOP__TASK_STATE__RUNNING &&
           (t->status.health == ORLOP__HEALTH__HEALTH_NONE ||
            t->status.health == ORLOP__HEALTH__HEALTH_HEALTHY);
}

bool rule_serving(const struct task *t) {
    return runs_well(t) && t->node && t->node->up;
}

bool rule_serving_to(const struct task *t, const struct node *n) {
    return runs_well(t) && t->node && (t->node->up || t->node == n);
}

bool rule_ready(const struct task *t) {
    return rule_serving(t) ||
           (t->want == ORLOP__WANT__WANT_RUN && t->status.state == ORLOP__TASK_STATE__COMPLETE);
}

bool rule_replaceable(const struct task *t) {
    if (!rule_final(t)) return false;
    return t->lost || t->status.state >= ORLOP__TASK_STATE__SHUTDOWN;
}

bool rule_slot_free(const struct task *t) {
    return !t->holds || (t->node && !t->node->up && t->want == ORLOP__WANT__WANT_STOP);
}

struct task *rule_newest(const struct state *s, const struct service *svc, uint32_t slot) {
    char key[STATE_SLOT_KEY_MAX];
    return map_get(&s->slots, state__slot_key(svc, slot, key));
}

int64_t rule_backoff_ms(const struct task *t) {
    if (t->want != ORLOP__WANT__WANT_RUN || !rule_current(t)) return 0;
    uint32_t doublings = t->tries < 6 ? t->tries : 6;
    int64_t ms = INT64_C(1000) << doublings;
    return ms < 60000 ? ms : 60000;
}

int rule_may_create(const struct state *s, const struct service *svc, uint32_t slot,
                    const char *replaces, struct err *why) {
    if (slot == 0 || slot > rule_replicas(svc))
        return err_say(why, -ECANCELED, "slot %u of %s is not wanted", slot, svc->name);
    const struct task *t = rule_newest(s, svc, slot);
    if (!str_eq(replaces, t ? t->id : ""))
        return err_say(why, -ESTALE, "slot %u of %s has another task now", slot, svc->name);
    if (!t) return 0;
    if (!rule_final(t) && !(t->want == ORLOP__WANT__WANT_STOP && t->node && !t->node->up))
        return err_say(why, -EBUSY, "slot %u of %s is taken by task %s", slot, svc->name, t->id);
    if (rule_final(t) && t->want == ORLOP__WANT__WANT_RUN && rule_current(t)) {
        if (!rule_replaceable(t))
            return err_say(why, -ECANCELED, "task %s has ended for good", t->id);
        if (s->now_ms - t->ended_ms < rule_backoff_ms(t))
            return err_say(why, -EAGAIN, "task %s is replaced later", t->id);
    }
    return 0;
}

uint64_t rule_parallelism(const struct service *svc) {
    const struct spec_service *w = rule_wanted(svc);
    if (!w || !w->def->update) return 1;
    return w->def->update->parallelism ? w->def->update->parallelism : UINT32_MAX;
}

int64_t rule_update_at_ms(const struct service *svc) {
    const struct spec_service *w = rule_wanted(svc);
    int64_t last = 0, delay = w && w->def->update ? (int64_t) w->def->update->delay_ms : 0;
    if (!delay) return 0;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (rule_current(t) && t->status.started_unix_ms > last) last = t->status.started_unix_ms;
    }
    return last ? last + delay : 0;
}

/* Stop first, as many slots at a time as the update says (one): never more of the service away at
 * once. What does not serve anyway costs nothing. */
static bool within_budget(const struct task *victim) {
    if (!rule_ready(victim)) return true;
    uint32_t replicas = rule_replicas(victim->service), ready = 0;
    list_each (it, &victim->service->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (t != victim && t->slot <= replicas && rule_ready(t)) ready++;
    }
    return ready + rule_parallelism(victim->service) >= replicas;
}

int rule_may_drain(const struct state *s, const struct task *t, struct err *why) {
    if (rule_final(t) || t->want != ORLOP__WANT__WANT_RUN || !t->node)
        return err_say(why, -ECANCELED, "task %s is not running, or leaves already", t->id);
    if (t->slot > rule_replicas(t->service)) return 0;
    if (rule_current(t)) return err_say(why, -ECANCELED, "task %s is wanted", t->id);
    if (!within_budget(t))
        return err_say(why, -EBUSY, "another replica of %s is not ready", t->service->name);
    if (rule_ready(t) && s->now_ms < rule_update_at_ms(t->service))
        return err_say(why, -EAGAIN, "the update of %s pauses", t->service->name);
    return 0;
}

int rule_may_stop(const struct state *s, const struct task *t, struct err *why) {
    (void) s;
    if (t->want == ORLOP__WANT__WANT_STOP)
        return err_say(why, -ECANCELED, "task %s is stopping", t->id);
    if (rule_final(t) && !t->holds) return err_say(why, -ECANCELED, "task %s has ended", t->id);
    if (t->want == ORLOP__WANT__WANT_DRAIN) return 0;
    if (t->slot <= rule_replicas(t->service) && rule_current(t))
        return err_say(why, -ECANCELED, "task %s is wanted", t->id);
    if (rule_final(t) || !t->node || !t->node->up) return 0;
    return err_say(why, -EBUSY, "task %s is not drained", t->id);
}

static int fits(uint64_t want, uint64_t reserved, uint64_t capacity) {
    return want == 0 || (reserved <= capacity && want <= capacity - reserved);
}

int rule_fits(const struct node *n, const struct spec_service *def, struct err *why) {
    const Orlop__Resources *r = def->def->resources;
    if (!r) return 0;
    if (!fits(r->memory_reservation_bytes, n->memory_reserved_bytes, n->inventory->memory_bytes))
        return err_say(why, -ENOSPC,
                       "%s needs %lu MiB of memory; %lu of %lu MiB are reserved on node %s",
                       def->def->name, (unsigned long) (r->memory_reservation_bytes >> 20),
                       (unsigned long) (n->memory_reserved_bytes >> 20),
                       (unsigned long) (n->inventory->memory_bytes >> 20), n->name);
    if (!fits(r->cpu_reservation_millis, n->cpu_reserved_millis, n->inventory->cpu_millis))
        return err_say(why, -ENOSPC,
                       "%s needs %lu thousandths of a CPU; %lu of %lu are reserved on node %s",
                       def->def->name, (unsigned long) r->cpu_reservation_millis,
                       (unsigned long) n->cpu_reserved_millis,
                       (unsigned long) n->inventory->cpu_millis, n->name);
    return 0;
}

int rule_belongs(const struct node *n, const struct service *svc, const struct spec_service *def,
                 struct err *why) {
    const Orlop__Placement *p = def->def->placement;
    const struct constraint_node is = {n->name, n->inventory->hostname, n->inventory->arch};
    for (size_t i = 0; p && i < p->n_constraints; i++) {
        struct constraint c;
        if (constraint_parse(p->constraints[i], &c, why) < 0) return -EINVAL;
        if (!constraint_holds(&c, &is))
            return err_say(why, -ENOSPC, "%s wants a node with %s; node %s is none", svc->name,
                           p->constraints[i], n->name);
    }
    if (!p || !p->max_replicas_per_node) return 0;
    uint32_t here = 0;
    list_each (it, &svc->tasks) {
        const struct task *t = list_entry(it, struct task, service_link);
        if (t->node == n && t->holds && !rule_final(t)) here++;
    }
    return here < p->max_replicas_per_node
               ? 0
               : err_say(why, -ENOSPC, "%s wants at most %u replicas on a node; node %s has %u",
                         svc->name, p->max_replicas_per_node, n->name, here);
}

int rule_may_assign(const struct state *s, const struct task *t, const struct node *n,
                    Orlop__TaskAddress *const *addresses, size_t n_addresses, struct err *why) {
    if (t->status.state != ORLOP__TASK_STATE__PENDING || t->want != ORLOP__WANT__WANT_RUN)
        return err_say(why, -ECANCELED, "task %s is not pending", t->id);
    if (!n->up) return err_say(why, -EHOSTDOWN, "node %s is down", n->name);
    int r = rule_belongs(n, t->service, t->def, why);
    if (r == 0) r = rule_fits(n, t->def, why);
    if (r < 0) return r;
    const Orlop__Service *def = t->def->def;
    if (n_addresses != def->n_networks)
        return err_say(why, -EINVAL, "task %s needs one address for each network", t->id);
    for (size_t i = 0; i < n_addresses; i++) {
        const struct network *net = state_network_of(s, t->spec, def->networks[i]->network);
        if (!net || net->id != addresses[i]->network)
            return err_say(why, -ESTALE, "network %s is not what it was",
                           def->networks[i]->network);
        r = net_address_free(s, net, addresses[i]->address, t->service, why);
        if (r < 0) return r;
    }
    return 0;
}
