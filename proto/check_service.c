// SPDX-License-Identifier: Apache-2.0
#include "check_service.h"

#include <errno.h>

#include "check.h"
#include "constraint.h"
#include "runtime/base/image_name.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sysctl.h"
#include "value.h"

int check__refs_init(struct check_refs *r, struct err *err) {
    const Orlop__App *a = r->app;
    for (size_t i = 0; i < a->n_services; i++) {
        Orlop__Service *s = a->services[i];
        int e = value_service(s->name, err);
        if (e < 0) return e;
        if (map_get(&r->services, s->name))
            return err_say(err, -EINVAL, "service %s is there twice", s->name);
        if (map_set(&r->services, s->name, s) < 0) return -ENOMEM;
    }
    int e = 0;
    for (size_t i = 0; i < a->n_networks; i++)
        e |= map_set(&r->networks, a->networks[i]->key, a->networks[i]);
    for (size_t i = 0; i < a->n_volumes; i++)
        e |= map_set(&r->volumes, a->volumes[i]->key, a->volumes[i]);
    for (size_t i = 0; i < a->n_secrets; i++)
        e |= map_set(&r->secrets, a->secrets[i]->name, a->secrets[i]);
    for (size_t i = 0; i < a->n_configs; i++)
        e |= map_set(&r->configs, a->configs[i]->name, a->configs[i]);
    return e ? -ENOMEM : 0;
}

void check__refs_fini(struct check_refs *r) {
    map_fini(&r->services);
    map_fini(&r->networks);
    map_fini(&r->volumes);
    map_fini(&r->secrets);
    map_fini(&r->configs);
}

/* --- small things ---------------------------------------------------------------------------- */

/* An empty text says nothing; any other must please VALUE. */
static int unless_empty(const char *s, int (*value)(const char *s, struct err *err),
                        struct err *err) {
    return *s ? value(s, err) : 0;
}

static int at_most(size_t n, const char *what, struct err *err) {
    if (n <= CHECK_LIST_MAX) return 0;
    return err_say(err, -EINVAL, "%zu %s; at most %d", n, what, CHECK_LIST_MAX);
}

static int check_lists(const Orlop__Service *s, struct err *err) {
    const struct {
        size_t n;
        const char *what;
    } lists[] = {
        {s->n_command, "words of command"},
        {s->n_entrypoint, "words of entrypoint"},
        {s->n_environment, "environment variables"},
        {s->n_ports, "ports"},
        {s->n_expose, "exposed ports"},
        {s->n_mounts, "mounts"},
        {s->n_networks, "networks"},
        {s->n_depends_on, "dependencies"},
        {s->n_labels, "labels"},
        {s->n_cap_add, "capabilities"},
        {s->n_cap_drop, "capabilities"},
        {s->n_ulimits, "ulimits"},
        {s->n_secrets, "secrets"},
        {s->n_configs, "configs"},
        {s->n_extra_hosts, "extra hosts"},
        {s->n_group_add, "groups"},
        {s->n_sysctls, "sysctls"},
        {s->n_dns_search, "search domains"},
        {s->n_dns_options, "resolver options"},
        {s->n_devices, "devices"},
        {s->n_device_rules, "device rules"},
        {s->n_service_labels, "labels"},
    };
    for (size_t i = 0; i < array_len(lists); i++) {
        int r = at_most(lists[i].n, lists[i].what, err);
        if (r < 0) return r;
    }
    return 0;
}

/* --- what a task may have of the machine ------------------------------------------------------- */

static bool is_access(const char *s) {
    return *s && strlen(s) <= 3 && strspn(s, "rwm") == strlen(s);
}

/* Mounts are made after the devices. */
static const Orlop__Mount *mount_over(const Orlop__Service *s, const char *target) {
    for (size_t i = 0; i < s->n_mounts; i++) {
        size_t n = strlen(s->mounts[i]->target);
        if (strncmp(s->mounts[i]->target, target, n) == 0 && (!target[n] || target[n] == '/'))
            return s->mounts[i];
    }
    return NULL;
}

static int check_devices(const Orlop__Service *s, struct err *err) {
    for (size_t i = 0; i < s->n_devices; i++) {
        const Orlop__Device *d = s->devices[i];
        if (!check_is_abs_path(d->source) || !check_is_abs_path(d->target) || !is_access(d->access))
            return err_say(err, -EINVAL, "device \"%.80s:%.80s:%.10s\" is no device", d->source,
                           d->target, d->access);
        const Orlop__Mount *m = mount_over(s, d->target);
        if (m)
            return err_say(err, -EINVAL, "device %.200s would be hidden by the mount at %.200s",
                           d->target, m->target);
    }
    for (size_t i = 0; i < s->n_device_rules; i++) {
        const Orlop__DeviceRule *r = s->device_rules[i];
        bool type = strlen(r->type) == 1 && strchr("abc", *r->type);
        if (!type || !is_access(r->access) || r->major < -1 || r->major > 4095 || r->minor < -1 ||
            r->minor > 1048575)
            return err_say(err, -EINVAL, "device rule %zu is none", i + 1);
    }
    return 0;
}

/* A word of resolv.conf: nothing in it may start a line of its own. */
static bool is_resolver_word(const char *s) {
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~') return false;
    return n > 0 && n <= 253;
}

static int check_words(char *const *list, size_t n, const char *what, struct err *err) {
    for (size_t i = 0; i < n; i++)
        if (!is_resolver_word(list[i]))
            return err_say(err, -EINVAL, "%s \"%.80s\" is not valid", what, list[i]);
    return 0;
}

static int check_placement(const Orlop__Service *s, struct err *err) {
    const Orlop__Placement *p = s->placement;
    struct constraint c;
    bool global =
        s->mode == ORLOP__SERVICE__MODE__GLOBAL || s->mode == ORLOP__SERVICE__MODE__GLOBAL_JOB;
    if (global && s->replicas > 1)
        return err_say(err, -EINVAL, "it is global, one replica on each node: it has no number");
    if (*s->container_name && s->replicas > 1)
        return err_say(err, -EINVAL, "container_name %.80s is for one replica, not %u",
                       s->container_name, s->replicas);
    int r = unless_empty(s->container_name, value_container, err);
    if (r < 0) return r;
    r = p ? at_most(p->n_constraints, "placement constraints", err) : 0;
    for (size_t i = 0; p && r == 0 && i < p->n_constraints; i++)
        r = constraint_parse(p->constraints[i], &c, err);
    return r;
}

static int check_machine(const Orlop__Service *s, struct err *err) {
    bool host = str_eq(s->network_mode, "host");
    if (*s->network_mode && !host && !str_eq(s->network_mode, "none"))
        return err_say(err, -EINVAL, "network mode \"%.80s\" is not known", s->network_mode);
    if (*s->network_mode && (s->n_networks || s->n_ports))
        return err_say(err, -EINVAL, "networks and ports exclude the network mode %s",
                       s->network_mode);
    if ((*s->pid_mode && !str_eq(s->pid_mode, "host")) ||
        (*s->ipc_mode && !str_eq(s->ipc_mode, "host")))
        return err_say(err, -EINVAL, "pid mode \"%.80s\" or ipc mode \"%.80s\" is not known",
                       s->pid_mode, s->ipc_mode);
    if (*s->ipc_mode && s->shm_size_bytes)
        return err_say(err, -EINVAL, "shm_size has no place beside the host's /dev/shm");
    if (s->oom_score_adj < -1000 || s->oom_score_adj > 1000)
        return err_say(err, -EINVAL, "oom_score_adj %d is not -1000 to 1000", s->oom_score_adj);
    if (*s->domainname && !check_is_name(s->domainname, CHECK_NAME_MAX))
        return err_say(err, -EINVAL, "domain name \"%.80s\" is not valid", s->domainname);
    for (size_t i = 0; i < s->n_sysctls; i++)
        if (!sysctl_is_namespaced(s->sysctls[i]->key, host, str_eq(s->ipc_mode, "host")))
            return err_say(err, -EINVAL, "sysctl \"%.80s\" is not the task's own",
                           s->sysctls[i]->key);
    int r = check_placement(s, err);
    if (r == 0) r = check_words(s->dns_search, s->n_dns_search, "search domain", err);
    if (r == 0) r = check_words(s->dns_options, s->n_dns_options, "resolver option", err);
    if (r == 0) r = check__seccomp(s->seccomp_profile, err);
    return r == 0 ? check_devices(s, err) : r;
}

static int check_image(const Orlop__Service *s, struct err *err) {
    char hex[IMAGE_HEX_MAX];
    if (!*s->image) return err_say(err, -EINVAL, "there is no image");
    int r = value_image(s->image, err);
    if (r == 0 && *s->image_digest) r = image_digest_parse(s->image_digest, hex, err);
    if (r < 0) return r;
    if (s->replicas > CHECK_REPLICAS_MAX)
        return err_say(err, -EINVAL, "%u replicas; at most %d", s->replicas, CHECK_REPLICAS_MAX);
    return 0;
}

static int check_environment(const Orlop__Service *s, struct err *err) {
    int r = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < s->n_environment && !r; i++) {
        r = value_variable(s->environment[i]->key, err);
        bytes += strlen(s->environment[i]->key) + strlen(s->environment[i]->value);
    }
    for (size_t i = 0; i < s->n_command; i++) bytes += strlen(s->command[i]);
    for (size_t i = 0; i < s->n_entrypoint; i++) bytes += strlen(s->entrypoint[i]);
    if (bytes > CHECK_COMMAND_BYTES)
        return err_say(err, -EINVAL, "command and environment have more than %d KiB together",
                       CHECK_COMMAND_BYTES >> 10);
    for (size_t i = 0; i < s->n_extra_hosts && !r; i++) {
        r = value_alias(s->extra_hosts[i]->key, err);
        if (!r) r = value_host_address(s->extra_hosts[i]->value, err);
        if (r < 0) return err_wrap(err, r, "extra_hosts");
    }
    return r;
}

/* --- ports, networks ------------------------------------------------------------------------- */

static bool is_protocol(Orlop__Port__Protocol p) {
    return p == ORLOP__PORT__PROTOCOL__TCP || p == ORLOP__PORT__PROTOCOL__UDP;
}

static int check_ports(const Orlop__Service *s, struct err *err) {
    for (size_t i = 0; i < s->n_ports; i++) {
        const Orlop__Port *p = s->ports[i];
        if (!is_protocol(p->protocol))
            return err_say(err, -EINVAL, "port %u: unknown protocol %d", p->target,
                           (int) p->protocol);
        if (p->target < 1 || p->target > 65535)
            return err_say(err, -EINVAL, "port %u is not 1 to 65535", p->target);
        if (p->published > 65535)
            return err_say(err, -EINVAL, "published port %u is not 1 to 65535", p->published);
        int r = unless_empty(p->host_ip, value_address, err);
        if (r < 0) return err_wrap(err, r, "port %u", p->target);
    }
    for (size_t i = 0; i < s->n_expose; i++)
        if (!is_protocol(s->expose[i]->protocol) || s->expose[i]->port < 1 ||
            s->expose[i]->port > 65535)
            return err_say(err, -EINVAL, "exposed port %u is not 1 to 65535", s->expose[i]->port);
    return 0;
}

static int check_address(const Orlop__Service *s, const Orlop__ServiceNetwork *n,
                         const Orlop__Network *def, struct err *err) {
    uint32_t address, subnet, prefix_len;
    if (!*n->ipv4_address) return 0;
    int r = value_ipv4(n->ipv4_address, err);
    if (r < 0 || str_to_ipv4(n->ipv4_address, &address) < 0)
        return err_wrap(err, r, "ipv4_address");
    if (s->replicas > 1)
        return err_say(err, -EINVAL, "ipv4_address is for one replica, not %u", s->replicas);
    if (def->external) return 0; /* its subnet is another app's */
    if (!*def->subnet || str_to_cidr4(def->subnet, &subnet, &prefix_len) < 0)
        return err_say(err, -EINVAL, "ipv4_address needs a network with a subnet; %s has none",
                       def->key);
    uint32_t hosts = UINT32_MAX >> prefix_len, host = address & hosts, gateway;
    if (str_to_ipv4(def->gateway, &gateway) < 0) gateway = subnet + 1;
    if ((address & ~hosts) != subnet || host == 0 || host == hosts || address == gateway)
        return err_say(err, -EINVAL, "ipv4_address %s is no free address of %s", n->ipv4_address,
                       def->subnet);
    return 0;
}

static int check_networks(const struct check_refs *refs, const Orlop__Service *s, struct err *err) {
    bool outside = false;
    if (s->n_networks > CHECK_SERVICE_NETWORKS_MAX)
        return err_say(err, -EINVAL, "it is in %zu networks; at most %d", s->n_networks,
                       CHECK_SERVICE_NETWORKS_MAX);
    for (size_t i = 0; i < s->n_networks; i++) {
        const Orlop__ServiceNetwork *n = s->networks[i];
        const Orlop__Network *def = map_get(&refs->networks, n->network);
        if (!def) return err_say(err, -EINVAL, "network %s is not defined", n->network);
        for (size_t k = 0; k < i; k++)
            if (str_eq(s->networks[k]->network, n->network))
                return err_say(err, -EINVAL, "network %s is there twice", n->network);
        int r = at_most(n->n_aliases, "aliases", err);
        for (size_t k = 0; k < n->n_aliases && !r; k++) r = value_alias(n->aliases[k], err);
        if (!r) r = check_address(s, n, def, err);
        if (r < 0) return r;
        outside |= !def->internal;
    }
    if (s->n_ports && s->n_networks && !outside)
        return err_say(err, -EINVAL, "it publishes ports, but all of its networks are internal");
    return 0;
}

/* --- mounts, secrets, configs ---------------------------------------------------------------- */

static bool is_subpath(const char *s) {
    char path[CHECK_TEXT_MAX];
    size_t n = strlen(s);
    if (n + 2 > sizeof path) return false;
    path[0] = '/';
    memcpy(path + 1, s, n + 1);
    return check_is_abs_path(path);
}

static int check_mount(const struct check_refs *refs, const Orlop__Mount *m, struct err *err) {
    int r = value_target(m->target, err);
    if (r < 0) return err_wrap(err, r, "mount target");
    if (*m->subpath && !is_subpath(m->subpath))
        return err_say(err, -EINVAL, "mount %s: subpath \"%.200s\" is no relative path", m->target,
                       m->subpath);
    switch (m->kind) {
    case ORLOP__MOUNT__KIND__VOLUME:
        if (*m->source && !map_get(&refs->volumes, m->source))
            return err_say(err, -EINVAL, "volume %s is not defined", m->source);
        return 0;
    case ORLOP__MOUNT__KIND__BIND:
        if (!check_is_abs_path(m->source))
            return err_say(err, -EINVAL, "bind source \"%.200s\" is no absolute path", m->source);
        return 0;
    case ORLOP__MOUNT__KIND__TMPFS:
        if (m->tmpfs_mode > 07777)
            return err_say(err, -EINVAL, "tmpfs %s: mode %o", m->target, m->tmpfs_mode);
        return 0;
    case ORLOP__MOUNT__KIND__KIND_UNSET:
    case _ORLOP__MOUNT__KIND_IS_INT_SIZE:
        break;
    }
    return err_say(err, -EINVAL, "mount %s: unknown kind %d", m->target, (int) m->kind);
}

static int check_uses(Orlop__ContentUse *const *v, size_t n, const struct map *defs,
                      const char *what, struct err *err) {
    for (size_t i = 0; i < n; i++) {
        if (!map_get(defs, v[i]->source))
            return err_say(err, -EINVAL, "%s %s is not defined", what, v[i]->source);
        int r = value_target(v[i]->target, err);
        if (r < 0) return err_wrap(err, r, "%s %s", what, v[i]->source);
        if (v[i]->mode > 07777)
            return err_say(err, -EINVAL, "%s %s: mode %o", what, v[i]->source, v[i]->mode);
        if (v[i]->uid == UINT32_MAX || v[i]->gid == UINT32_MAX)
            return err_say(err, -EINVAL, "%s %s: uid or gid 4294967295 is none", what,
                           v[i]->source);
    }
    return 0;
}

/* All that is mounted: each target once, and not more than a task's start can carry. */
static int check_targets(const Orlop__Service *s, struct err *err) {
    struct map seen = {0};
    size_t n = s->n_mounts, uses = n + s->n_secrets, all = uses + s->n_configs;
    int r = all <= CHECK_MOUNTS_MAX
                ? 0
                : err_say(err, -EINVAL, "%zu mounts, secrets and configs; at most %d", all,
                          CHECK_MOUNTS_MAX);
    for (size_t i = 0; i < all && !r; i++) {
        const char *target = i < n      ? s->mounts[i]->target
                             : i < uses ? s->secrets[i - n]->target
                                        : s->configs[i - uses]->target;
        r = map_get(&seen, target) ? err_say(err, -EINVAL, "%s is mounted twice", target)
                                   : map_set(&seen, target, &seen);
    }
    map_fini(&seen);
    return r;
}

static int check_files(const struct check_refs *refs, const Orlop__Service *s, struct err *err) {
    int r = unless_empty(s->working_dir, value_path, err);
    if (r < 0) return err_wrap(err, r, "working_dir");
    r = unless_empty(s->hostname, value_hostname, err);
    if (!r) r = unless_empty(s->user, value_user, err);
    if (!r) r = unless_empty(s->stop_signal, value_signal, err);
    for (size_t i = 0; i < s->n_mounts && !r; i++) r = check_mount(refs, s->mounts[i], err);
    if (!r) r = check_uses(s->secrets, s->n_secrets, &refs->secrets, "secret", err);
    if (!r) r = check_uses(s->configs, s->n_configs, &refs->configs, "config", err);
    return r < 0 ? r : check_targets(s, err);
}

/* --- behaviour ------------------------------------------------------------------------------- */

static int check_dependencies(const struct check_refs *refs, const Orlop__Service *s,
                              struct err *err) {
    for (size_t i = 0; i < s->n_depends_on; i++) {
        const Orlop__Dependency *d = s->depends_on[i];
        if (str_eq(d->service, s->name)) return err_say(err, -EINVAL, "it depends on itself");
        if (!map_get(&refs->services, d->service) && !d->optional)
            return err_say(err, -EINVAL, "it depends on service %s, which is not defined",
                           d->service);
        if (d->condition < ORLOP__DEPENDENCY__CONDITION__STARTED ||
            d->condition > ORLOP__DEPENDENCY__CONDITION__COMPLETED)
            return err_say(err, -EINVAL, "depends_on %s: unknown condition %d", d->service,
                           (int) d->condition);
        for (size_t k = 0; k < i; k++)
            if (str_eq(s->depends_on[k]->service, d->service))
                return err_say(err, -EINVAL, "depends_on %s is there twice", d->service);
    }
    return 0;
}

static int check_health(const Orlop__Healthcheck *h, struct err *err) {
    if (!h || h->disable) return 0;
    int r = at_most(h->n_test, "words of a health check", err);
    if (r < 0) return r;
    bool shell = h->n_test == 2 && str_eq(h->test[0], "CMD-SHELL");
    bool exec = h->n_test > 1 && str_eq(h->test[0], "CMD");
    if (h->n_test && !shell && !exec)
        return err_say(err, -EINVAL, "healthcheck: test is CMD and words, or CMD-SHELL and a text");
    const uint64_t times[] = {h->interval_ms, h->timeout_ms, h->start_period_ms,
                              h->start_interval_ms};
    for (size_t i = 0; i < array_len(times); i++)
        if (times[i] > CHECK_TIME_MAX_MS)
            return err_say(err, -EINVAL, "healthcheck: a time above a day");
    if (h->retries > CHECK_RETRIES_MAX)
        return err_say(err, -EINVAL, "healthcheck: %u retries; at most %d", h->retries,
                       CHECK_RETRIES_MAX);
    return 0;
}

static int check_policy(const Orlop__Service *s, struct err *err) {
    const Orlop__RestartPolicy *p = s->restart;
    if (p && (p->condition < ORLOP__RESTART_POLICY__CONDITION__CONDITION_UNSET ||
              p->condition > ORLOP__RESTART_POLICY__CONDITION__UNLESS_STOPPED ||
              p->delay_ms > CHECK_TIME_MAX_MS || p->window_ms > CHECK_TIME_MAX_MS))
        return err_say(err, -EINVAL, "restart policy out of range");
    if (s->stop_grace_ms > CHECK_TIME_MAX_MS || s->drain_ms > CHECK_TIME_MAX_MS)
        return err_say(err, -EINVAL, "stop_grace_period or drain above a day");
    if (*s->userns_mode && !str_eq(s->userns_mode, "private"))
        return err_say(err, -EINVAL, "userns_mode \"%.40s\" is not known", s->userns_mode);
    const Orlop__Logging *l = s->logging;
    if (l && !str_eq(l->driver, "") && !str_eq(l->driver, "json-file") &&
        !str_eq(l->driver, "local") && !str_eq(l->driver, "none"))
        return err_say(err, -EINVAL, "logging driver \"%.40s\" is not known", l->driver);
    if (l && l->max_files > CHECK_LOG_FILES_MAX)
        return err_say(err, -EINVAL, "logging: %u files; at most %d", l->max_files,
                       CHECK_LOG_FILES_MAX);
    return 0;
}

/* Beyond every machine there is: sums and multiples of what is accepted do not overflow. */
static int check_amounts(const Orlop__Service *s, struct err *err) {
    static const Orlop__Resources none = ORLOP__RESOURCES__INIT;
    const Orlop__Resources *r = s->resources ? s->resources : &none;
    const struct {
        const char *what;
        uint64_t amount, max;
    } amounts[] = {
        {"memory limit", r->memory_limit_bytes, CHECK_BYTES_MAX},
        {"memory reservation", r->memory_reservation_bytes, CHECK_BYTES_MAX},
        {"CPU limit in thousandths", r->cpu_limit_millis, 1000000000},
        {"CPU reservation in thousandths", r->cpu_reservation_millis, 1000000000},
        {"process limit", r->pids_limit, CHECK_PIDS_MAX},
        {"size of a log file", s->logging ? s->logging->max_size_bytes : 0, CHECK_LOG_BYTES_MAX},
    };
    for (size_t i = 0; i < array_len(amounts); i++)
        if (amounts[i].amount > amounts[i].max)
            return err_say(err, -EINVAL, "%s %llu; at most %llu", amounts[i].what,
                           (unsigned long long) amounts[i].amount,
                           (unsigned long long) amounts[i].max);
    for (size_t i = 0; i < s->n_mounts; i++)
        if (s->mounts[i]->tmpfs_size_bytes > CHECK_BYTES_MAX)
            return err_say(err, -EINVAL, "tmpfs %s: size %llu", s->mounts[i]->target,
                           (unsigned long long) s->mounts[i]->tmpfs_size_bytes);
    return 0;
}

static int check_limits(const Orlop__Service *s, struct err *err) {
    const Orlop__Resources *r = s->resources;
    if (r && r->memory_limit_bytes && r->memory_reservation_bytes > r->memory_limit_bytes)
        return err_say(err, -EINVAL, "the memory reservation is above the limit");
    if (r && r->cpu_limit_millis && r->cpu_reservation_millis > r->cpu_limit_millis)
        return err_say(err, -EINVAL, "the CPU reservation is above the limit");
    int e = 0;
    for (size_t i = 0; i < s->n_ulimits && !e; i++) {
        e = value_ulimit(s->ulimits[i]->name, err);
        if (!e && s->ulimits[i]->soft > s->ulimits[i]->hard)
            e = err_say(err, -EINVAL, "ulimit %s: the soft limit is above the hard one",
                        s->ulimits[i]->name);
    }
    for (size_t i = 0; i < s->n_cap_add && !e; i++) e = value_capability(s->cap_add[i], err);
    for (size_t i = 0; i < s->n_cap_drop && !e; i++) e = value_capability(s->cap_drop[i], err);
    return e;
}

/* What would lead a tenant's task to what is not the tenant's. */
static const char *opens_node(const Orlop__Service *s) {
    for (size_t i = 0; i < s->n_mounts; i++)
        if (s->mounts[i]->kind == ORLOP__MOUNT__KIND__BIND) return "a bind mount";
    return s->privileged                                 ? "privileged"
           : *s->pid_mode                                ? "the host's PID namespace"
           : *s->ipc_mode                                ? "the host's IPC namespace"
           : str_eq(s->network_mode, "host")             ? "the host's network"
           : s->n_devices || s->n_device_rules           ? "devices"
           : s->n_cap_add                                ? "cap_add"
           : s->seccomp_unconfined || s->seccomp_profile ? "another seccomp profile"
                                                         : NULL;
}

static int check_tenant(const Orlop__App *a, const Orlop__Service *s, struct err *err) {
    const char *what = *a->tenant ? opens_node(s) : NULL;
    if (!what) return 0;
    return err_say(err, -EINVAL, "tenant %s must not have %s: it leads to the node", a->tenant,
                   what);
}

int check__service(const struct check_refs *refs, const Orlop__Service *s, struct err *err) {
    int r = check_lists(s, err);
    if (!r) r = check_image(s, err);
    if (!r) r = check_environment(s, err);
    if (!r) r = check_machine(s, err);
    if (!r) r = check_ports(s, err);
    if (!r) r = check_networks(refs, s, err);
    if (!r) r = check_files(refs, s, err);
    if (!r) r = check_dependencies(refs, s, err);
    if (!r) r = check_health(s->healthcheck, err);
    if (!r) r = check_policy(s, err);
    if (!r) r = check_amounts(s, err);
    if (!r) r = check_limits(s, err);
    if (!r) r = check_tenant(refs->app, s, err);
    return r;
}
