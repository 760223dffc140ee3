// SPDX-License-Identifier: Apache-2.0
/* volumes and tmpfs -> Mount; secrets and configs of a service -> ContentUse. */
#include <string.h>

#include "manifest.h"
#include "proto/check.h"
#include "proto/value.h"

static Orlop__Mount *new_mount(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *at,
                               const char *target) {
    Orlop__Mount *mount = cf_m_alloc(m, sizeof *mount);
    orlop__mount__init(mount);
    cf_look_at_value(m->c, at, target ? target : "", value_target);
    mount->target = cf_m_text(m, target);
    CF_M_ADD(m, s->mounts, s->n_mounts, mount);
    return mount;
}

static void bind(struct cf_manifest *m, Orlop__Mount *mount, const struct cf_node *v) {
    const char *source = cf_get_str(v, "source"),
               *full = source ? cf_path_expand(m->c, source) : NULL;
    const struct cf_node *options = cf_get(v, "bind"),
                         *create = cf_get(options, "create_host_path");
    if (!full)
        cf_issue(m->c, v, "volume-spec",
                 "\"%.200s\" cannot be the source of a bind mount: a path is wanted",
                 source ? source : "");
    mount->kind = ORLOP__MOUNT__KIND__BIND;
    mount->source = cf_m_text(m, full);
    mount->create_host_path = !create || cf_get_bool(options, "create_host_path");
}

static void volume(struct cf_manifest *m, Orlop__Mount *mount, const struct cf_node *v) {
    const struct cf_node *options = cf_get(v, "volume");
    mount->kind = ORLOP__MOUNT__KIND__VOLUME;
    mount->source = cf_m_text(m, cf_get_str(v, "source"));
    mount->nocopy = cf_get_bool(options, "nocopy");
}

static void tmpfs(struct cf_manifest *m, Orlop__Mount *mount, const struct cf_node *v) {
    const struct cf_node *options = cf_get(v, "tmpfs");
    mount->kind = ORLOP__MOUNT__KIND__TMPFS;
    mount->tmpfs_size_bytes = cf_m_amount(m, cf_get(options, "size"), "size", CHECK_BYTES_MAX);
    mount->tmpfs_mode = cf_m_mode(m, options);
}

static void add_volume(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *v) {
    const char *type = cf_get_str(v, "type");
    bool is_bind = type && str_eq(type, "bind"), is_tmpfs = type && str_eq(type, "tmpfs");
    if (!is_bind && !is_tmpfs && !(type && str_eq(type, "volume"))) {
        const struct cf_node *at = cf_get(v, "type");
        cf_refuse(m->c, at ? at : v, "mounts of type %.40s are not supported",
                  type ? type : "(none)");
        return;
    }
    Orlop__Mount *mount = new_mount(m, s, v, cf_get_str(v, "target"));
    mount->read_only = cf_get_bool(v, "read_only");
    if (is_bind)
        bind(m, mount, v);
    else if (is_tmpfs)
        tmpfs(m, mount, v);
    else
        volume(m, mount, v);
}

/* One option of "/run:size=64m,mode=1777". */
static void tmpfs_option(struct cf_manifest *m, Orlop__Mount *mount, const struct cf_node *at,
                         const char *option) {
    /* What tmpfs mounts of tasks are anyway. */
    static const char *const usual[] = {"rw", "nosuid", "nodev", "exec"};
    int64_t size;
    for (size_t i = 0; i < array_len(usual); i++)
        if (str_eq(option, usual[i])) return;
    if (str_eq(option, "ro")) {
        mount->read_only = true;
    } else if (str_eq(option, "noexec")) {
        mount->tmpfs_noexec = true;
    } else if (str_starts(option, "size=") && !cf_parse_size(option + 5, &size) && size >= 0 &&
               (uint64_t) size <= CHECK_BYTES_MAX) {
        mount->tmpfs_size_bytes = (uint64_t) size;
    } else if (str_starts(option, "mode=") && option[5] && strlen(option + 5) <= 4 &&
               strspn(option + 5, "01234567") == strlen(option + 5)) {
        for (const char *p = option + 5; *p; p++)
            mount->tmpfs_mode = mount->tmpfs_mode * 8 + (uint32_t) (*p - '0');
    } else {
        cf_refuse(m->c, at,
                  "tmpfs option \"%.60s\" is not supported: size=, mode=, ro and noexec are",
                  option);
    }
}

static void add_tmpfs(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *options = strchr(n->s, ':');
    size_t len = options ? (size_t) (options - n->s) : strlen(n->s);
    Orlop__Mount *mount = new_mount(m, s, n, cf_path_clean(m->c, cf_strndup(m->c, n->s, len)));
    mount->kind = ORLOP__MOUNT__KIND__TMPFS;
    for (const char *p = options ? options + 1 : ""; *p;) {
        size_t part = strcspn(p, ",");
        if (part) tmpfs_option(m, mount, n, cf_strndup(m->c, p, part));
        p += part + (p[part] ? 1 : 0);
    }
}

/* ---- volumes_from ---- */

static bool has_target(const Orlop__Service *s, const char *target) {
    for (size_t i = 0; target && i < s->n_mounts; i++)
        if (str_eq(s->mounts[i]->target, target)) return true;
    return false;
}

/* "service", "service:ro": what that one mounts, but for targets of our own. That no service leads
 * back to itself has been checked with the dependencies. */
static void add_from(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n) {
    const char *colon = strchr(n->s, ':'), *access = colon ? colon + 1 : "rw";
    const char *name = colon ? cf_strndup(m->c, n->s, (size_t) (colon - n->s)) : n->s;
    const struct cf_node *other = cf_get(cf_get(m->model, "services"), name);
    const struct cf_node *volumes = cf_get(other, "volumes"), *from = cf_get(other, "volumes_from");
    if (!other || (!str_eq(access, "ro") && !str_eq(access, "rw"))) {
        cf_refuse(m->c, n,
                  "volumes from \"%.100s\" are not supported: from a service of this file, "
                  "with :ro or :rw, they are",
                  n->s);
        return;
    }
    if (cf_get(m->visited, name)) return; /* all of its targets are there: ways to it may be many */
    cf_put(m->c, m->visited, name, cf_new_bool(m->c, true, n));
    for (uint32_t i = 0; volumes && i < volumes->n; i++) {
        const struct cf_node *v = volumes->items[i];
        const char *type = cf_get_str(v, "type"), *source = cf_get_str(v, "source");
        if (has_target(s, cf_get_str(v, "target")) || (type && str_eq(type, "tmpfs"))) continue;
        size_t before = s->n_mounts;
        if (str_empty(source))
            cf_refuse(m->c, n, "an anonymous volume of %.100s is each task's own: give it a name",
                      name);
        else
            add_volume(m, s, v);
        if (s->n_mounts > before && str_eq(access, "ro")) s->mounts[before]->read_only = true;
    }
    for (uint32_t i = 0; from && i < from->n; i++) {
        size_t before = s->n_mounts;
        add_from(m, s, from->items[i]);
        for (size_t k = before; k < s->n_mounts && str_eq(access, "ro"); k++)
            s->mounts[k]->read_only = true;
    }
}

/* ---- secrets and configs ---- */

static uint32_t id_of(struct cf_manifest *m, const struct cf_node *use, const char *key) {
    const char *s = cf_get_str(use, key);
    uint32_t id = 0;
    if (s && str_to_u32(s, UINT32_MAX - 1, &id) < 0)
        cf_issue(m->c, cf_get(use, key), "cast", "%s must be a number, not \"%.60s\"", key, s);
    return id;
}

static Orlop__ContentUse *use(struct cf_manifest *m, const struct cf_node *n,
                              const char *directory) {
    Orlop__ContentUse *u = cf_m_alloc(m, sizeof *u);
    orlop__content_use__init(u);
    const char *target = cf_get_str(n, "target");
    u->source = cf_m_text(m, cf_get_str(n, "source"));
    u->target = cf_m_text(m, target ? cf_path_join(m->c, directory, target) : "");
    cf_look_at_value(m->c, n, u->target, value_target);
    u->uid = id_of(m, n, "uid");
    u->gid = id_of(m, n, "gid");
    u->mode = cf_m_mode(m, n);
    return u;
}

void cf_m_mounts(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *service) {
    const struct {
        const char *key;
        void (*add)(struct cf_manifest *m, Orlop__Service *s, const struct cf_node *n);
    } lists[] = {{"volumes", add_volume}, {"tmpfs", add_tmpfs}, {"volumes_from", add_from}};
    m->visited = cf_new(m->c, CF_MAP, NULL);
    for (size_t k = 0; k < array_len(lists); k++) {
        const struct cf_node *list = cf_get(service, lists[k].key);
        for (uint32_t i = 0; list && i < list->n; i++) {
            lists[k].add(m, s, list->items[i]);
        }
    }
    const struct cf_node *secrets = cf_get(service, "secrets"),
                         *configs = cf_get(service, "configs");
    for (uint32_t i = 0; secrets && i < secrets->n; i++)
        CF_M_ADD(m, s->secrets, s->n_secrets, use(m, secrets->items[i], "/run/secrets"));
    for (uint32_t i = 0; configs && i < configs->n; i++)
        CF_M_ADD(m, s->configs, s->n_configs, use(m, configs->items[i], "/"));
}
