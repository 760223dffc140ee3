// SPDX-License-Identifier: Apache-2.0
/* What the agent's shell touches of the machine: images, cgroups, links, maps, names, volumes,
 * ports, health checks. Each call succeeds, or fails as it may, and says to the checks what it did.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/cleanup.h"
#include "agent/connections.h"
#include "agent/dns.h"
#include "agent/health.h"
#include "agent/logs.h"
#include "agent/ports.h"
#include "agent/session.h"
#include "agent/volumes.h"
#include "check.h"
#include "runtime/base/mem.h"
#include "runtime/container/cgroup.h"
#include "sim.h"

/* --- prepare --------------------------------------------------------------------------------- */

static struct prepared *make(const struct prepare_input *in) {
    struct prepared *p = mem_zalloc(sizeof *p);
    arena_init(&p->arena, 1 << 20);
    orlop__sandbox_spec__init(&p->spec);
    p->spec.task = arena_strdup(&p->arena, in->task->task);
    p->spec.boot = in->boot;
    p->spec.attempt = in->attempt;
    p->fds[0] = (1 << 28) + 1; /* none of ours */
    p->n_fds = 1;
    p->merged.stop_signal = 15;
    p->merged.health.enabled = in->task->spec->healthcheck != NULL;
    return p;
}

int prepare_task_run(const struct prepare_input *in, struct prepared **ret, bool *ret_retry,
                     struct err *err) {
    *ret_retry = sim_below(4) != 0;
    if (sim_chance(25)) return err_set(err, -EIO, "prepare");
    check_prepare(in->task);
    *ret = make(in);
    return 0;
}

int prepare_task_describe(const struct prepare_input *in, struct prepared **ret, struct err *err) {
    if (sim_chance(25)) return err_set(err, -EIO, "describe");
    *ret = make(in);
    (*ret)->n_fds = 0;
    return 0;
}

Orlop__SandboxLink **prepare_task_links(struct arena *a, const char *sandbox,
                                        const struct prepare_network *networks, size_t n) {
    (void) a;
    (void) sandbox;
    (void) networks;
    (void) n;
    return NULL; /* nobody deletes links here */
}

void prepared_close_fds(struct prepared *p) {
    p->n_fds = 0;
}

void prepared_free(struct prepared *p) {
    if (!p) return;
    arena_fini(&p->arena);
    mem_free(p);
}

/* --- cleanup --------------------------------------------------------------------------------- */

int cleanup_attempt(const struct paths *p, const char *sandbox, struct err *err) {
    (void) p;
    if (sim_chance(30)) return err_set(err, -EBUSY, "remove the cgroup of %s", sandbox);
    check_cleaned(sandbox);
    return 0;
}

int cleanup_task(const struct paths *p, const char *task, struct err *err) {
    (void) p;
    if (sim_chance(30)) return err_set(err, -EBUSY, "remove the files of %s", task);
    check_files_removed(task);
    return 0;
}

int cleanup_strays(const struct paths *p, const struct strv *known, struct err *err) {
    (void) p;
    (void) err;
    check_swept(known);
    return 0;
}

int volumes_remove(const char *volumes_dir, const char *name, struct err *err) {
    (void) volumes_dir;
    if (sim_chance(30)) return err_set(err, -EBUSY, "remove volume %s", name);
    check_volume_removed(name);
    return 0;
}

int cgroup_read_usage(const char *parent, const char *name, struct cgroup_usage *ret) {
    (void) parent;
    (void) name;
    memset(ret, 0, sizeof *ret);
    return 0;
}

/* --- network --------------------------------------------------------------------------------- */

int net_apply(struct net *n, const struct net_view *want, struct err *err) {
    (void) n;
    if (sim.view_fails || sim_chance(30)) return err_set(err, -EAGAIN, "load the rules");
    check_view(want, astore_info(sim_agent->store)->idx);
    return 0;
}

/* Always the whole view: what a change does to the rules is compared with it in test_agent_view. */
int net_apply_change(struct net *n, const struct net_change *c, struct err *err) {
    (void) n;
    (void) c;
    return err_set(err, -EAGAIN, "change the rules");
}

int net_fds(const struct net *n, int fds[static NET_FDS_MAX]) {
    (void) n;
    (void) fds;
    return 0;
}

void net_dispatch(struct net *n) {
    (void) n;
}

int net_timeout_ms(const struct net *n, int64_t now_mono_ms) {
    (void) n;
    (void) now_mono_ms;
    return -1;
}

void net_link_name(const char *sandbox, uint32_t network, char ret[static NET_IFNAME_MAX]) {
    (void) network;
    snprintf(ret, NET_IFNAME_MAX, "olv%.12s", sandbox);
}

bool net_link_exists(const char *name) {
    (void) name;
    return sim_chance(200); /* the kernel takes namespaces down at its leisure */
}

int agent_dns_new(uv_loop_t *loop, const char *resolv_conf, struct agent_dns **ret,
                  struct err *err) {
    (void) loop;
    (void) resolv_conf;
    (void) err;
    *ret = NULL;
    return 0;
}

int agent_dns_apply(struct agent_dns *d, Orlop__ViewNetwork *const *networks, size_t n_networks,
                    Orlop__ViewService *const *services, size_t n_services, struct err *err) {
    (void) d;
    (void) networks;
    (void) n_networks;
    (void) services;
    (void) n_services;
    (void) err;
    return 0;
}

int agent_dns_change(struct agent_dns *d, Orlop__ViewService *const *services, size_t n_services,
                     const uint64_t *gone, size_t n_gone) {
    (void) d;
    (void) services;
    (void) n_services;
    (void) gone;
    (void) n_gone;
    return 0;
}

void agent_dns_close(struct agent_dns *d, void (*cb)(void *arg), void *arg) {
    (void) d;
    (void) cb;
    (void) arg;
}

/* --- connections: they end soon, or not before the drain's limit ------------------------------ */

struct drain {
    char task[TASK_ID_MAX];
};

static void drained(void *arg) {
    struct drain *d = arg;
    agent_task_event(sim_agent, REC_EV_DRAINED, d->task);
    mem_free(d);
}

void aconns_drain_check(struct aconns *c, const Orlop__TaskSpec *task) {
    (void) c;
    if (sim_chance(500)) return; /* still some open; asked again soon */
    struct drain *d = mem_zalloc(sizeof *d);
    snprintf(d->task, sizeof d->task, "%s", task->task);
    sim_after_us(SIM_AGENT, sim_delay_us(1000, 60000), drained, d);
}

void aconns_forget(struct aconns *c, const Orlop__TaskSpec *task, enum net_forget what) {
    (void) c;
    (void) task;
    (void) what;
}

/* --- published ports ------------------------------------------------------------------------- */

static void ports_answered(void *arg) {
    (void) arg;
    actions_prepare_due(sim_agent);
}

enum ports_answer ports_ask(const struct ports *p, const char *app, const char *service,
                            char text[static ERR_TEXT_MAX]) {
    (void) p;
    (void) app;
    (void) service;
    *text = 0;
    if (!sim_chance(50)) return PORTS_HELD;
    sim_after_us(SIM_AGENT, sim_delay_us(1000, 500000), ports_answered, NULL);
    return PORTS_UNKNOWN;
}

bool ports_settled(const struct ports *p) {
    (void) p;
    return !sim_chance(100);
}

void ports_update(struct ports *p) {
    (void) p;
}

/* --- health ---------------------------------------------------------------------------------- */

struct probe {
    char task[TASK_ID_MAX];
    uint32_t attempt;
    uv_timer_t timer;
    bool healthy;
};
static struct map *probes; /* of the agent's heap; agent.c makes it anew */

void sim_health_new(void) {
    probes = mem_zalloc(sizeof *probes);
}

static void probed(uv_timer_t *t) {
    struct probe *p = t->data;
    p->healthy = !p->healthy || !sim_chance(500);
    agent_event(sim_agent,
                &(struct rec_event){.kind = REC_EV_HEALTH,
                                    .task = p->task,
                                    .attempt = p->attempt,
                                    .text = "",
                                    .health = p->healthy ? ORLOP__HEALTH__HEALTH_HEALTHY
                                                         : ORLOP__HEALTH__HEALTH_UNHEALTHY});
    if (sim.chaos || !p->healthy)
        uv_timer_start(t, probed, (uint64_t) sim_delay_us(1000000, 30000000) / 1000, 0);
}

void health_watch(struct health *h, const struct task *t, const struct prepared *p) {
    (void) h;
    struct probe *x = map_get(probes, t->id);
    if (!p->merged.health.enabled) return;
    if (!x) {
        x = mem_zalloc(sizeof *x);
        ensure(map_set(probes, t->id, x) == 0);
        uv_timer_init(NULL, &x->timer);
        x->timer.data = x;
        snprintf(x->task, sizeof x->task, "%s", t->id);
    }
    x->attempt = t->attempt;
    x->healthy = false;
    uv_timer_start(&x->timer, probed, (uint64_t) sim_delay_us(100000, 5000000) / 1000, 0);
}

void health_unwatch(struct health *h, const char *task) {
    (void) h;
    struct probe *x = map_get(probes, task);
    if (x) uv_timer_stop(&x->timer);
}

/* --- the rest -------------------------------------------------------------------------------- */

int inventory_fill(struct arena *a, Orlop__Inventory *ret) {
    orlop__inventory__init(ret);
    ret->hostname = arena_strdup(a, "n1");
    ret->memory_bytes = UINT64_C(4) << 30;
    ret->cpu_millis = 4000;
    return 0;
}

uint64_t inventory_memory_used(void) {
    return 1 << 20;
}

uint32_t inventory_cpu_permille(void) {
    return 1;
}

void logs_task_changed(struct logs *l, const char *task) {
    (void) l;
    (void) task;
}
