// SPDX-License-Identifier: Apache-2.0
/* healthcheck, restart, resources, ulimits, logging. */
#include <math.h>
#include <string.h>

#include "manifest.h"
#include "proto/check.h"

/* ---- healthcheck ---- */

static void health_test(struct cf_manifest *m, Orlop__Healthcheck *h, const struct cf_node *test) {
    if (!test || !test->n) return;
    const char *kind = test->items[0]->s;
    if (str_eq(kind, "NONE")) {
        h->disable = true;
        return;
    }
    if (str_eq(kind, "CMD-SHELL") ? test->n != 2 : test->n < 2)
        cf_issue(m->c, test, "healthcheck", "%s wants %s behind it", kind,
                 str_eq(kind, "CMD") ? "a command" : "one string");
    cf_m_texts(m, test, &h->test, &h->n_test);
}

static void add_health(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    if (!n) return;
    Orlop__Healthcheck *h = cf_m_alloc(m, sizeof *h);
    orlop__healthcheck__init(h);
    s->healthcheck = h;
    h->disable = cf_get_bool(n, "disable");
    if (!h->disable) health_test(m, h, cf_get(n, "test"));
    h->interval_ms = cf_m_ms(m, n, "interval");
    h->timeout_ms = cf_m_ms(m, n, "timeout");
    h->start_period_ms = cf_m_ms(m, n, "start_period");
    h->start_interval_ms = cf_m_ms(m, n, "start_interval");
    const struct cf_node *retries = cf_get(n, "retries");
    h->retries = (uint32_t) cf_m_amount(m, retries, "retries", CHECK_RETRIES_MAX);
}

/* ---- restart ---- */

static Orlop__RestartPolicy *new_restart(struct cf_manifest *m, Orlop__Service *s) {
    Orlop__RestartPolicy *r = cf_m_alloc(m, sizeof *r);
    orlop__restart_policy__init(r);
    s->restart = r;
    return r;
}

static void add_restart(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    Orlop__RestartPolicy *r = new_restart(m, s);
    const char *v = n->s;
    if (str_eq(v, "no")) {
        r->condition = ORLOP__RESTART_POLICY__CONDITION__NO;
    } else if (str_eq(v, "always")) {
        r->condition = ORLOP__RESTART_POLICY__CONDITION__ALWAYS;
    } else if (str_eq(v, "unless-stopped")) {
        r->condition = ORLOP__RESTART_POLICY__CONDITION__UNLESS_STOPPED;
    } else if (str_starts(v, "on-failure") &&
               (!v[10] || (v[10] == ':' && str_to_u32(v + 11, INT32_MAX, &r->max_attempts) == 0))) {
        r->condition = ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE;
    } else {
        cf_issue(m->c, n, "schema-enum",
                 "invalid restart \"%.60s\": no, always, on-failure[:n] or unless-stopped", v);
    }
}

static void add_restart_policy(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    Orlop__RestartPolicy *r = new_restart(m, s);
    const char *v = cf_get_str(n, "condition");
    if (!v || str_eq(v, "any"))
        r->condition = ORLOP__RESTART_POLICY__CONDITION__ALWAYS;
    else if (str_eq(v, "on-failure"))
        r->condition = ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE;
    else
        r->condition = ORLOP__RESTART_POLICY__CONDITION__NO;
    const struct cf_node *attempts = cf_get(n, "max_attempts");
    if (attempts) r->max_attempts = (uint32_t) attempts->u;
    r->delay_ms = cf_m_ms(m, n, "delay");
    r->window_ms = cf_m_ms(m, n, "window");
}

/* ---- resources ---- */

/* A number of the deploy section, or of the key that says the same outside it. */
static const struct cf_node *either(const struct cf_node *service, const char *section,
                                    const char *key, const char *old) {
    const struct cf_node *r = cf_get(cf_get(cf_get(service, "deploy"), "resources"), section);
    const struct cf_node *n = cf_get(r, key);
    return n || !old ? n : cf_get(service, old);
}

static uint64_t cpu_millis(struct cf_manifest *m, const struct cf_node *n) {
    double v = n ? cf_number(n) : 0;
    if (v < 0 || v > 1e6) {
        cf_issue(m->c, n, "range", "cpus must be between 0 and 1000000");
        return 0;
    }
    return (uint64_t) ceil(v * 1000 - 1e-9);
}

/* cpu_quota of cpu_period, in microseconds: another way to write `cpus`. */
static uint64_t cpu_quota(struct cf_manifest *m, const struct cf_node *n, uint64_t cpus) {
    const struct cf_node *quota = cf_get(n, "cpu_quota"), *period = cf_get(n, "cpu_period");
    double q = cf_number(quota), p = period ? cf_number(period) : 100000;
    if (cpus)
        cf_issue(m->c, quota, "conflict", "cpu_quota and cpus say the same: write one");
    else if (p < 1000 || p > 1000000 || q > p * 1e6)
        cf_issue(m->c, period ? period : quota, "range", "cpu_period must be 1000 to 1000000");
    else if (q > 0)
        return (uint64_t) ceil(q * 1000 / p - 1e-9);
    return cpus;
}

/* -1 = without limit. */
static uint64_t limit(struct cf_manifest *m, const struct cf_node *n, const char *what,
                      uint64_t max) {
    return n && n->negative && n->u == 1 ? 0 : cf_m_amount(m, n, what, max);
}

static void add_resources(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    Orlop__Resources *r = cf_m_alloc(m, sizeof *r);
    orlop__resources__init(r);
    r->memory_limit_bytes =
        limit(m, either(n, "limits", "memory", "mem_limit"), "memory", CHECK_BYTES_MAX);
    r->memory_reservation_bytes =
        limit(m, either(n, "reservations", "memory", "mem_reservation"), "memory", CHECK_BYTES_MAX);
    r->cpu_limit_millis = cpu_millis(m, either(n, "limits", "cpus", "cpus"));
    if (cf_get(n, "cpu_quota")) r->cpu_limit_millis = cpu_quota(m, n, r->cpu_limit_millis);
    r->cpu_reservation_millis = cpu_millis(m, either(n, "reservations", "cpus", NULL));
    r->pids_limit = limit(m, either(n, "limits", "pids", "pids_limit"), "pids", CHECK_PIDS_MAX);
    if (r->memory_limit_bytes || r->memory_reservation_bytes || r->cpu_limit_millis ||
        r->cpu_reservation_millis || r->pids_limit)
        s->resources = r;
}

static void add_ulimits(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *map) {
    for (uint32_t i = 0; map && i < map->n; i++) {
        const struct cf_node *v = map->entries[i].value, *soft = cf_get(v, "soft"),
                             *hard = cf_get(v, "hard");
        const char *name = map->entries[i].key;
        if (!soft || !hard) continue;
        Orlop__Ulimit *u = cf_m_alloc(m, sizeof *u);
        orlop__ulimit__init(u);
        u->name = cf_m_text(m, name);
        u->soft = soft->negative ? UINT64_MAX : soft->u;
        u->hard = hard->negative ? UINT64_MAX : hard->u;
        if (u->soft > u->hard)
            cf_issue(m->c, v, "ulimit", "the soft limit of %.60s is above the hard one", name);
        CF_M_ADD(m, s->ulimits, s->n_ulimits, u);
    }
}

/* ---- logging ---- */

static void logging_option(struct cf_manifest *m, Orlop__Logging *l, const char *key,
                           const struct cf_node *v) {
    int64_t size;
    if (str_eq(key, "max-size")) {
        const char *wrong = cf_parse_size(v->s, &size);
        if (!wrong && (size < 0 || (uint64_t) size > CHECK_LOG_BYTES_MAX)) wrong = "out of range";
        if (wrong)
            cf_issue(m->c, v, "size", "invalid size \"%.60s\": %s", v->s, wrong);
        else
            l->max_size_bytes = (uint64_t) size;
    } else if (str_eq(key, "max-file")) {
        if (str_to_u32(v->s, CHECK_LOG_FILES_MAX, &l->max_files) < 0 || !l->max_files)
            cf_issue(m->c, v, "range", "max-file must be a number from 1 to 1000, not \"%.60s\"",
                     v->s);
    } else {
        cf_refuse(m->c, v, "logging option \"%.60s\" is not supported: max-size and max-file are",
                  key);
    }
}

static void add_logging(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    if (!n) return;
    Orlop__Logging *l = cf_m_alloc(m, sizeof *l);
    orlop__logging__init(l);
    const char *driver = cf_get_str(n, "driver");
    static const char *const done[] = {"json-file", "local", "none", NULL};
    if (driver && cf_is_word(driver, done)) l->driver = cf_m_text(m, driver);
    const struct cf_node *options = cf_get(n, "options");
    for (uint32_t i = 0; options && i < options->n; i++)
        logging_option(m, l, options->entries[i].key, options->entries[i].value);
    s->logging = l;
}

void cf_m_policies(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const struct cf_node *policy = cf_get(cf_get(n, "deploy"), "restart_policy"),
                         *restart = cf_get(n, "restart");
    add_health(m, s, cf_get(n, "healthcheck"));
    if (restart) add_restart(m, s, restart);
    if (policy) add_restart_policy(m, s, policy); /* goes before the other */
    add_resources(m, s, n);
    add_ulimits(m, s, cf_get(n, "ulimits"));
    add_logging(m, s, cf_get(n, "logging"));
}
