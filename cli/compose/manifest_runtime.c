// SPDX-License-Identifier: Apache-2.0
/* What a task has of the machine: namespaces, devices, settings of the kernel, names, groups. */
#include <string.h>

#include "manifest.h"
#include "runtime/base/sysctl.h"

/* ---- network_mode, uts ---- */

/* "bridge" and "default" are words of other systems for what is so without them. */
static void network_mode(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *mode = cf_get_str(n, "network_mode");
    if (!mode || str_eq(mode, "bridge") || str_eq(mode, "default")) return;
    s->network_mode = cf_m_text(m, mode);
    const struct cf_node *ports = cf_get(n, "ports");
    if (ports && ports->n)
        cf_refuse(m->c, ports, "`ports` has no place beside `network_mode: %.60s`", mode);
}

static void host_uts(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    static const char *const own[] = {"hostname", "domainname"};
    if (!cf_get(n, "uts")) return;
    s->host_uts = true;
    for (size_t i = 0; i < array_len(own); i++)
        if (cf_get(n, own[i]))
            cf_refuse(m->c, cf_get(n, own[i]), "`%s` has no place beside `uts: host`", own[i]);
}

/* "private" and "shareable": one of its own, which nobody joins. */
static void host_namespaces(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *pid = cf_get_str(n, "pid"), *ipc = cf_get_str(n, "ipc");
    if (pid && str_eq(pid, "host")) s->pid_mode = cf_m_text(m, pid);
    if (!ipc || !str_eq(ipc, "host")) return;
    s->ipc_mode = cf_m_text(m, ipc);
    if (cf_get(n, "shm_size"))
        cf_refuse(m->c, cf_get(n, "shm_size"), "`shm_size` has no place beside `ipc: host`");
}

/* ---- devices ---- */

static void add_device(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *source = cf_get_str(n, "source"), *target = cf_get_str(n, "target"),
               *access = cf_get_str(n, "permissions");
    if (str_empty(source) || *source != '/' || str_empty(target) || *target != '/') {
        cf_refuse(m->c, n, "device \"%.100s\" is not supported: paths of the node are",
                  source ? source : "");
        return;
    }
    if (access && (!*access || strlen(access) > 3 || strspn(access, "rwm") != strlen(access)))
        cf_issue(m->c, n, "device", "\"%.20s\" are no permissions: of r, w and m", access);
    Orlop__Device *d = cf_m_alloc(m, sizeof *d);
    orlop__device__init(d);
    d->source = cf_m_text(m, source);
    d->target = cf_m_text(m, cf_path_clean(m->c, target));
    d->access = cf_m_text(m, access ? access : "rwm");
    CF_M_ADD(m, s->devices, s->n_devices, d);
}

/* A number or "*"; *at moves behind it. */
static bool device_number(const char **at, int64_t *ret) {
    if (**at == '*') {
        (*at)++;
        *ret = -1;
        return true;
    }
    const char *p = *at;
    for (*ret = 0; *p >= '0' && *p <= '9' && *ret < 1 << 24; p++) *ret = *ret * 10 + (*p - '0');
    bool any = p > *at;
    *at = p;
    return any;
}

/* "c 1:3 mr" */
static void add_rule(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *p = n->s;
    int64_t major = 0, minor = 0;
    bool good = *p && strchr("abc", *p) && p[1] == ' ';
    const char type[] = {*p, '\0'};
    if (good) p += 2;
    good = good && device_number(&p, &major) && *p++ == ':' && device_number(&p, &minor);
    good = good && *p++ == ' ' && *p && strlen(p) <= 3 && strspn(p, "rwm") == strlen(p);
    if (!good || major > 4095 || minor > 1048575) {
        cf_issue(m->c, n, "device",
                 "\"%.60s\" is no device rule: write for example \"c 10:229 rwm\"", n->s);
        return;
    }
    Orlop__DeviceRule *r = cf_m_alloc(m, sizeof *r);
    orlop__device_rule__init(r);
    r->type = cf_m_text(m, type);
    r->major = major;
    r->minor = minor;
    r->access = cf_m_text(m, p);
    CF_M_ADD(m, s->device_rules, s->n_device_rules, r);
}

/* ---- security_opt, sysctls, group_add ---- */

/* Of "name:value" and "name=value", the value, when NAME is the name. */
static const char *option(const char *text, const char *name) {
    size_t len = strlen(name);
    if (strncmp(text, name, len) != 0) return NULL;
    if (!text[len]) return "true";
    return text[len] == ':' || text[len] == '=' ? text + len + 1 : NULL;
}

static void security(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *privileges = option(n->s, "no-new-privileges"), *seccomp = option(n->s, "seccomp"),
               *apparmor = option(n->s, "apparmor"), *label = option(n->s, "label");
    if (privileges && str_eq(privileges, "false"))
        s->new_privileges = true;
    else if (seccomp && str_eq(seccomp, "unconfined"))
        s->seccomp_unconfined = true;
    else if (seccomp && !str_eq(seccomp, "default") && !str_eq(seccomp, "builtin"))
        s->seccomp_profile = cf_m_seccomp(m, n, seccomp);
    else if (!(privileges && str_eq(privileges, "true")) && /* these are so anyway */
             !seccomp && !(apparmor && str_eq(apparmor, "unconfined")) &&
             !(label && str_eq(label, "disable")))
        cf_refuse(m->c, n, "security option \"%.100s\" is not supported", n->s);
}

static void sysctls(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *map) {
    bool host = str_eq(s->network_mode, "host"), ipc = str_eq(s->ipc_mode, "host");
    for (uint32_t i = 0; map && i < map->n; i++)
        if (!sysctl_is_namespaced(map->entries[i].key, host, ipc))
            cf_refuse(m->c, map->entries[i].value,
                      "sysctl \"%.100s\" is not supported: it is the node's, not the task's own",
                      map->entries[i].key);
    cf_m_pairs(m, map, &s->sysctls, &s->n_sysctls);
}

static void groups(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *list) {
    size_t room = list ? list->n : 0;
    if (room) s->group_add = cf_m_alloc(m, room * sizeof *s->group_add);
    for (size_t i = 0; i < room; i++) {
        uint32_t id;
        if (str_to_u32(list->items[i]->s, UINT32_MAX - 1, &id) < 0)
            cf_refuse(m->c, list->items[i],
                      "group \"%.60s\" is not supported by name: write its number",
                      list->items[i]->s);
        else
            s->group_add[s->n_group_add++] = id;
    }
}

/* ---- all of it ---- */

static void each(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *list,
                 void (*add)(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n)) {
    for (uint32_t i = 0; list && i < list->n; i++) add(m, s, list->items[i]);
}

void cf_m_runtime(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const struct cf_node *score = cf_get(n, "oom_score_adj"), *shm = cf_get(n, "shm_size");
    network_mode(m, s, n);
    host_uts(m, s, n);
    host_namespaces(m, s, n);
    s->privileged = cf_get_bool(n, "privileged");
    each(m, s, cf_get(n, "devices"), add_device);
    each(m, s, cf_get(n, "device_cgroup_rules"), add_rule);
    each(m, s, cf_get(n, "security_opt"), security);
    sysctls(m, s, cf_get(n, "sysctls"));
    groups(m, s, cf_get(n, "group_add"));
    if (shm && !shm->negative) s->shm_size_bytes = shm->u;
    if (score) s->oom_score_adj = (int32_t) cf_int(score);
    s->domainname = cf_m_text(m, cf_get_str(n, "domainname"));
    cf_m_texts(m, cf_get(n, "dns_search"), &s->dns_search, &s->n_dns_search);
    cf_m_texts(m, cf_get(n, "dns_opt"), &s->dns_options, &s->n_dns_options);
}
