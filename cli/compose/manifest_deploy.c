// SPDX-License-Identifier: Apache-2.0
/* deploy: mode, placement, labels; and how many replicas that makes. */
#include <string.h>

#include "manifest.h"
#include "proto/constraint.h"

static bool is_job(const Orlop__Service *s) {
    return s->mode == ORLOP__SERVICE__MODE__REPLICATED_JOB ||
           s->mode == ORLOP__SERVICE__MODE__GLOBAL_JOB;
}

static void mode(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *deploy) {
    static const struct {
        const char *word;
        Orlop__Service__Mode mode;
    } modes[] = {{"global", ORLOP__SERVICE__MODE__GLOBAL},
                 {"replicated-job", ORLOP__SERVICE__MODE__REPLICATED_JOB},
                 {"global-job", ORLOP__SERVICE__MODE__GLOBAL_JOB}};
    const char *word = cf_get_str(deploy, "mode");
    for (size_t i = 0; word && i < array_len(modes); i++)
        if (str_eq(word, modes[i].word)) s->mode = modes[i].mode;
    bool global =
        s->mode == ORLOP__SERVICE__MODE__GLOBAL || s->mode == ORLOP__SERVICE__MODE__GLOBAL_JOB;
    if (global && s->replicas > 1)
        cf_issue(m->c, cf_get(deploy, "mode"), "conflict",
                 "a global service runs once on each node: it takes no number of replicas");
}

/* A job is done when it has succeeded: one that starts again for ever is none. */
static void job_restart(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    if (!is_job(s)) return;
    if (!s->restart) {
        s->restart = cf_m_alloc(m, sizeof *s->restart);
        orlop__restart_policy__init(s->restart);
        s->restart->condition = ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE;
    }
    const struct cf_node *policy = cf_get(cf_get(n, "deploy"), "restart_policy");
    if (policy && !cf_get(policy, "condition"))
        s->restart->condition = ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE;
    if (s->restart->condition != ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE &&
        s->restart->condition != ORLOP__RESTART_POLICY__CONDITION__NO)
        cf_issue(m->c, policy ? policy : cf_get(n, "restart"), "conflict",
                 "a job is not started again when it has succeeded: on-failure and none are done");
}

static void constraints(struct cf_manifest *m, Orlop__Placement *p, const struct cf_node *list) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        struct constraint c;
        struct err err;
        if (constraint_parse(list->items[i]->s, &c, &err) < 0)
            cf_issue(m->c, list->items[i], "placement", "%s", err.text);
    }
    cf_m_texts(m, list, &p->constraints, &p->n_constraints);
}

static void placement(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    if (!n) return;
    Orlop__Placement *p = cf_m_alloc(m, sizeof *p);
    orlop__placement__init(p);
    const struct cf_node *list = cf_get(n, "preferences"),
                         *most = cf_get(n, "max_replicas_per_node");
    constraints(m, p, cf_get(n, "constraints"));
    for (uint32_t i = 0; list && i < list->n; i++) {
        const char *spread = cf_get_str(list->items[i], "spread");
        if (spread) CF_M_ADD(m, p->spread, p->n_spread, cf_m_text(m, spread));
    }
    if (most) p->max_replicas_per_node = (uint32_t) most->u;
    s->placement = p;
}

static void update(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const struct cf_node *parallelism = cf_get(n, "parallelism");
    if (!n) return;
    s->update = cf_m_alloc(m, sizeof *s->update);
    orlop__update_config__init(s->update);
    s->update->parallelism = parallelism ? (uint32_t) parallelism->u : 1;
    s->update->delay_ms = cf_m_ms(m, n, "delay");
}

void cf_m_deploy(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const struct cf_node *deploy = cf_get(n, "deploy"), *name = cf_get(n, "container_name");
    mode(m, s, deploy);
    job_restart(m, s, n);
    placement(m, s, cf_get(deploy, "placement"));
    update(m, s, cf_get(deploy, "update_config"));
    cf_m_pairs(m, cf_get(deploy, "labels"), &s->service_labels, &s->n_service_labels);
    if (name && s->replicas > 1)
        cf_issue(m->c, name, "conflict", "container_name is for one replica, not %u", s->replicas);
}
