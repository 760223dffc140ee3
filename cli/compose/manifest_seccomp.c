// SPDX-License-Identifier: Apache-2.0
/* A seccomp profile in Docker's JSON -> SeccompProfile. JSON is YAML, so that what is wrong in it has
 * a file, a line and a column like everything else. What its words mean for a machine is decided
 * where it runs. */
#include <string.h>

#include "load.h"
#include "manifest.h"
#include "proto/check.h"
#include "proto/value.h"

enum { PROFILE_BYTES = 256 << 10 };

/* ---- what stands there ---- */

static bool is_known(const char *key, const char *const *known) {
    for (; *known; known++)
        if (str_eq(key, *known)) return true;
    return false;
}

/* N is a mapping of these keys. */
static bool is_object(struct cf_manifest *m, const struct cf_node *n, const char *const *keys) {
    if (n->kind != CF_MAP) {
        cf_issue(m->c, n, "seccomp", "an object is wanted here, not %s", cf_kind_name(n));
        return false;
    }
    for (uint32_t i = 0; i < n->n; i++)
        if (!is_known(n->entries[i].key, keys))
            cf_issue(m->c, n->entries[i].value, "seccomp", "\"%.60s\" is not supported here",
                     n->entries[i].key);
    return true;
}

/* The items of the list under KEY; NULL stands for none. */
static const struct cf_node *list_of(struct cf_manifest *m, const struct cf_node *n,
                                     const char *key) {
    const struct cf_node *list = cf_get(n, key);
    if (!list || list->kind == CF_NULL) return NULL;
    if (list->kind == CF_SEQ && list->n <= CHECK_LIST_MAX) return list;
    cf_issue(m->c, list, "seccomp", "%s must be a list of at most %d", key, CHECK_LIST_MAX);
    return NULL;
}

static char *word(struct cf_manifest *m, const struct cf_node *n, const char *key,
                  int (*value)(const char *s, struct err *err)) {
    const struct cf_node *v = cf_get(n, key);
    const char *s = cf_is(v, CF_STR) ? v->s : "";
    cf_look_at_value(m->c, v ? v : n, s, value);
    return cf_m_text(m, s);
}

static uint64_t number(struct cf_manifest *m, const struct cf_node *n, const char *key,
                       uint64_t max) {
    const struct cf_node *v = cf_get(n, key);
    if (!v || v->kind == CF_NULL) return 0;
    if (v->kind == CF_INT && !v->negative && v->u <= max) return v->u;
    cf_issue(m->c, v, "seccomp", "%s must be a number from 0 to %llu", key,
             (unsigned long long) max);
    return 0;
}

static void names(struct cf_manifest *m, const struct cf_node *list, const char *prefix,
                  char ***ret, size_t *ret_n) {
    for (uint32_t i = 0; list && i < list->n; i++) {
        const struct cf_node *item = list->items[i];
        const char *s = cf_is(item, CF_STR) ? item->s : "";
        if (!*s || strlen(s) > CHECK_SECCOMP_NAME_MAX)
            cf_issue(m->c, item, "seccomp", "a name of at most %d letters is wanted here",
                     CHECK_SECCOMP_NAME_MAX);
        size_t skip = str_starts(s, prefix) ? strlen(prefix) : 0;
        CF_M_ADD(m, *ret, *ret_n, cf_m_text(m, s + skip));
    }
}

/* ---- its parts ---- */

/* "4.8" */
static uint32_t kernel(struct cf_manifest *m, const struct cf_node *n) {
    const char *s = cf_scalar_text(m->c, n), *dot = s ? strchr(s, '.') : NULL;
    uint32_t major, minor;
    if (dot && str_to_u32(cf_strndup(m->c, s, (size_t) (dot - s)), UINT16_MAX, &major) == 0 &&
        str_to_u32(dot + 1, UINT16_MAX, &minor) == 0)
        return major << 16 | minor;
    cf_issue(m->c, n, "seccomp", "minKernel must be a version like \"4.8\"");
    return 0;
}

static Orlop__SeccompCondition *condition(struct cf_manifest *m, const struct cf_node *n) {
    static const char *const keys[] = {"caps", "arches", "minKernel", NULL};
    if (!n || n->kind == CF_NULL || !is_object(m, n, keys)) return NULL;
    Orlop__SeccompCondition *o = cf_m_alloc(m, sizeof *o);
    orlop__seccomp_condition__init(o);
    names(m, list_of(m, n, "caps"), "CAP_", &o->caps, &o->n_caps);
    names(m, list_of(m, n, "arches"), "", &o->arches, &o->n_arches);
    if (cf_get(n, "minKernel")) o->min_kernel = kernel(m, cf_get(n, "minKernel"));
    return o;
}

static Orlop__SeccompArg *argument(struct cf_manifest *m, const struct cf_node *n) {
    static const char *const keys[] = {"index", "value", "valueTwo", "op", NULL};
    Orlop__SeccompArg *o = cf_m_alloc(m, sizeof *o);
    orlop__seccomp_arg__init(o);
    if (!is_object(m, n, keys)) return o;
    o->index = (uint32_t) number(m, n, "index", CHECK_SECCOMP_ARGS_MAX - 1);
    o->value = number(m, n, "value", UINT64_MAX);
    o->value_two = number(m, n, "valueTwo", UINT64_MAX);
    o->op = word(m, n, "op", value_seccomp_operator);
    return o;
}

static Orlop__SeccompRule *rule(struct cf_manifest *m, const struct cf_node *n) {
    static const char *const keys[] = {"names", "name",     "action",   "errnoRet", "errno",
                                       "args",  "includes", "excludes", "comment",  NULL};
    Orlop__SeccompRule *o = cf_m_alloc(m, sizeof *o);
    orlop__seccomp_rule__init(o);
    if (!is_object(m, n, keys)) return o;
    names(m, list_of(m, n, "names"), "", &o->names, &o->n_names);
    if (cf_get_str(n, "name"))
        CF_M_ADD(m, o->names, o->n_names, cf_m_text(m, cf_get_str(n, "name")));
    if (!o->n_names) cf_issue(m->c, n, "seccomp", "a rule without names of system calls");
    o->action = word(m, n, "action", value_seccomp_action);
    o->errno_ret = (uint32_t) number(m, n, "errnoRet", CHECK_SECCOMP_ERRNO_MAX);
    const struct cf_node *args = list_of(m, n, "args");
    if (args && args->n > CHECK_SECCOMP_ARGS_MAX)
        cf_issue(m->c, args, "seccomp", "more than %d arguments", CHECK_SECCOMP_ARGS_MAX);
    for (uint32_t i = 0; args && i < args->n; i++)
        CF_M_ADD(m, o->args, o->n_args, argument(m, args->items[i]));
    o->includes = condition(m, cf_get(n, "includes"));
    o->excludes = condition(m, cf_get(n, "excludes"));
    return o;
}

Orlop__SeccompProfile *cf_m_seccomp_of(struct cf_manifest *m, const struct cf_node *n) {
    /* Of architectures only the machine's own is done, so nothing comes of archMap. */
    static const char *const keys[] = {"defaultAction", "defaultErrnoRet", "archMap",
                                       "architectures", "syscalls",        NULL};
    Orlop__SeccompProfile *o = cf_m_alloc(m, sizeof *o);
    orlop__seccomp_profile__init(o);
    if (!is_object(m, n, keys)) return o;
    o->default_action = word(m, n, "defaultAction", value_seccomp_action);
    o->default_errno = (uint32_t) number(m, n, "defaultErrnoRet", CHECK_SECCOMP_ERRNO_MAX);
    const struct cf_node *list = list_of(m, n, "syscalls");
    for (uint32_t i = 0; list && i < list->n; i++)
        CF_M_ADD(m, o->rules, o->n_rules, rule(m, list->items[i]));
    return o;
}

Orlop__SeccompProfile *cf_m_seccomp(struct cf_manifest *m, const struct cf_node *at,
                                    const char *path) {
    struct compose_project *c = m->c;
    int64_t file = cf_file_read(c, cf_full_path(c, path), path, ".", at);
    if (file < 0) return NULL;
    if (c->files[file]->len > PROFILE_BYTES) {
        cf_issue(c, at, "size", "%.300s is larger than %d KiB", path, PROFILE_BYTES >> 10);
        return NULL;
    }
    struct cf_node *documents = cf_new(c, CF_SEQ, NULL);
    if (!cf_yaml_read(c, (uint32_t) file, documents)) return NULL;
    if (documents->n != 1) {
        cf_issue(c, at, "seccomp", "%.300s must hold one object", path);
        return NULL;
    }
    return cf_m_seccomp_of(m, documents->items[0]);
}
