// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/manifest_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

void manifest_text_init(struct manifest_text *m) {
    *m = (struct manifest_text){.app = ORLOP__APP__INIT};
    arena_init(&m->arena, 4 << 20);
}

void manifest_text_fini(struct manifest_text *m) {
    arena_fini(&m->arena);
}

static char *keep(struct manifest_text *m, const char *s) {
    char *p = arena_strdup(&m->arena, s);
    ensure(p);
    return p;
}

static void *make(struct manifest_text *m, const ProtobufCMessageDescriptor *d) {
    void *p = arena_alloc(&m->arena, d->sizeof_message);
    ensure(p);
    protobuf_c_message_init(d, p);
    return p;
}

static uint32_t number(const char *s) {
    uint32_t v = 0;
    ensure(str_to_u32(s, UINT32_MAX, &v) == 0);
    return v;
}

/* LIST of N with one more at the end. */
static void *append(struct manifest_text *m, void *list, size_t n, void *item) {
    void **v = arena_alloc(&m->arena, (n + 1) * sizeof *v);
    ensure(v);
    for (size_t i = 0; i < n; i++) v[i] = ((void **) list)[i];
    v[n] = item;
    return v;
}

static void add_dependency(struct manifest_text *m, Orlop__Service *s, char *text) {
    Orlop__Dependency *d = make(m, &orlop__dependency__descriptor);
    char *condition = strchr(text, ':');
    ensure(condition);
    *condition++ = '\0';
    char *restart = strchr(condition, ':');
    d->restart = restart != NULL;
    if (restart) *restart = '\0';
    d->service = keep(m, text);
    d->condition = str_eq(condition, "healthy")   ? ORLOP__DEPENDENCY__CONDITION__HEALTHY
                   : str_eq(condition, "started") ? ORLOP__DEPENDENCY__CONDITION__STARTED
                                                  : ORLOP__DEPENDENCY__CONDITION__COMPLETED;
    s->depends_on = append(m, s->depends_on, s->n_depends_on++, d);
}

static void add_port(struct manifest_text *m, Orlop__Service *s, char *text) {
    Orlop__Port *p = make(m, &orlop__port__descriptor);
    char *udp = strstr(text, "/udp"), *target = strchr(text, ':');
    if (udp) *udp = '\0';
    ensure(target);
    *target++ = '\0';
    p->protocol = udp ? ORLOP__PORT__PROTOCOL__UDP : ORLOP__PORT__PROTOCOL__TCP;
    p->published = number(text);
    p->target = number(target);
    s->ports = append(m, s->ports, s->n_ports++, p);
}

static void add_mount(struct manifest_text *m, Orlop__Service *s, char *text) {
    Orlop__Mount *v = make(m, &orlop__mount__descriptor);
    char *target = strchr(text, ':');
    ensure(target);
    *target++ = '\0';
    v->kind = ORLOP__MOUNT__KIND__VOLUME;
    v->source = keep(m, text);
    v->target = keep(m, target);
    s->mounts = append(m, s->mounts, s->n_mounts++, v);
}

static Orlop__Resources *resources(struct manifest_text *m, Orlop__Service *s) {
    if (!s->resources) s->resources = make(m, &orlop__resources__descriptor);
    return s->resources;
}

static void add_restart(struct manifest_text *m, Orlop__Service *s, char *text) {
    Orlop__RestartPolicy *p = s->restart = make(m, &orlop__restart_policy__descriptor);
    char *max = strchr(text, ':');
    if (max) *max++ = '\0';
    p->condition = str_eq(text, "no")       ? ORLOP__RESTART_POLICY__CONDITION__NO
                   : str_eq(text, "always") ? ORLOP__RESTART_POLICY__CONDITION__ALWAYS
                                            : ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE;
    if (max) p->max_attempts = number(max);
}

static void add_healthcheck(struct manifest_text *m, Orlop__Service *s) {
    s->healthcheck = make(m, &orlop__healthcheck__descriptor);
    s->healthcheck->test = append(m, NULL, 0, keep(m, "CMD"));
    s->healthcheck->test = append(m, s->healthcheck->test, 1, keep(m, "true"));
    s->healthcheck->n_test = 2;
}

static Orlop__UpdateConfig *update(struct manifest_text *m, Orlop__Service *s) {
    if (!s->update) {
        s->update = make(m, &orlop__update_config__descriptor);
        s->update->parallelism = 1;
    }
    return s->update;
}

static Orlop__Placement *placement(struct manifest_text *m, Orlop__Service *s) {
    if (!s->placement) s->placement = make(m, &orlop__placement__descriptor);
    return s->placement;
}

static void option(struct manifest_text *m, Orlop__Service *s, const char *key, char *value) {
    if (str_eq(key, "replicas")) {
        s->replicas = number(value);
    } else if (str_eq(key, "image")) {
        s->image = keep(m, value);
    } else if (str_eq(key, "needs")) {
        add_dependency(m, s, value);
    } else if (str_eq(key, "port")) {
        add_port(m, s, value);
    } else if (str_eq(key, "mount")) {
        add_mount(m, s, value);
    } else if (str_eq(key, "memory")) {
        resources(m, s)->memory_reservation_bytes = (uint64_t) number(value) << 20;
    } else if (str_eq(key, "cpu")) {
        resources(m, s)->cpu_reservation_millis = number(value);
    } else if (str_eq(key, "restart")) {
        add_restart(m, s, value);
    } else if (str_eq(key, "grace")) {
        s->has_stop_grace = true;
        s->stop_grace_ms = number(value);
    } else if (str_eq(key, "parallel")) {
        update(m, s)->parallelism = number(value);
    } else if (str_eq(key, "delay")) {
        update(m, s)->delay_ms = number(value);
    } else if (str_eq(key, "where")) {
        Orlop__Placement *p = placement(m, s);
        p->constraints = append(m, p->constraints, p->n_constraints++, keep(m, value));
    } else if (str_eq(key, "per_node")) {
        placement(m, s)->max_replicas_per_node = number(value);
    } else if (str_eq(key, "net")) {
        Orlop__ServiceNetwork *n = make(m, &orlop__service_network__descriptor);
        n->network = keep(m, value);
        s->networks = append(m, s->networks, s->n_networks++, n);
    } else if (str_eq(key, "ip")) {
        ensure(s->n_networks);
        s->networks[s->n_networks - 1]->ipv4_address = keep(m, value);
    } else {
        fprintf(stderr, "manifest text: %s?\n", key);
        abort();
    }
}

static void add_service(struct manifest_text *m, char **words, size_t n) {
    Orlop__Service *s = make(m, &orlop__service__descriptor);
    s->name = keep(m, words[1]);
    s->image = keep(m, "image:1");
    s->replicas = 1;
    for (size_t i = 2; i < n; i++) {
        char *value = strchr(words[i], '=');
        if (!value && str_eq(words[i], "health")) {
            add_healthcheck(m, s);
            continue;
        }
        ensure(value);
        *value++ = '\0';
        option(m, s, words[i], value);
    }
    m->services[m->app.n_services++] = s;
}

static void add_network(struct manifest_text *m, char **words, size_t n) {
    Orlop__Network *net = make(m, &orlop__network__descriptor);
    net->key = keep(m, words[1]);
    for (size_t i = 2; i < n; i++) {
        if (str_eq(words[i], "external"))
            net->external = true;
        else if (str_eq(words[i], "internal"))
            net->internal = true;
        else if (str_starts(words[i], "name="))
            net->name = keep(m, words[i] + 5);
        else if (str_starts(words[i], "subnet="))
            net->subnet = keep(m, words[i] + 7);
        else
            abort();
    }
    m->networks[m->app.n_networks++] = net;
}

void manifest_text_add(struct manifest_text *m, char **words, size_t n) {
    ensure(n >= 2);
    if (str_eq(words[0], "service")) {
        add_service(m, words, n);
    } else if (str_eq(words[0], "network")) {
        add_network(m, words, n);
    } else {
        Orlop__Volume *v = make(m, &orlop__volume__descriptor);
        v->key = keep(m, words[1]);
        m->volumes[m->app.n_volumes++] = v;
    }
}

static char *full_name(struct manifest_text *m, const char *app, const char *key) {
    char name[256];
    snprintf(name, sizeof name, "%s_%s", app, key);
    return keep(m, name);
}

Orlop__App *manifest_text_app(struct manifest_text *m, const char *name) {
    m->app.name = keep(m, name);
    m->app.services = m->services;
    m->app.networks = m->networks;
    m->app.volumes = m->volumes;
    for (size_t i = 0; i < m->app.n_networks; i++)
        if (!*m->networks[i]->name) m->networks[i]->name = full_name(m, name, m->networks[i]->key);
    for (size_t i = 0; i < m->app.n_volumes; i++)
        m->volumes[i]->name = full_name(m, name, m->volumes[i]->key);
    return &m->app;
}
