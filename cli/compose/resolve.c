// SPDX-License-Identifier: Apache-2.0
/* env_file and label_file are read; what the service itself says wins. Paths become absolute. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

static void over(struct compose_project *c, struct cf_node *to, const struct cf_node *from) {
    for (uint32_t i = 0; from && i < from->n; i++)
        cf_put(c, to, from->entries[i].key, from->entries[i].value);
}

/* Read one of them into VARS. */
static void read_one(struct compose_project *c, const struct cf_node *entry, const char *path,
                     bool required, const char *kind, const struct cf_env *env,
                     struct cf_node *vars) {
    const char *full = cf_full_path(c, path);
    if (access(full, F_OK) != 0) {
        if (required) cf_issue(c, entry, kind, "%.300s not found: %s", path, err_text(-errno));
        return;
    }
    const char *format = cf_get_str(entry, "format");
    if (format && !str_eq(format, "raw")) {
        cf_issue(c, cf_get(entry, "format"), kind, "unknown format \"%.60s\": only raw is known",
                 format);
        return;
    }
    int64_t file = cf_file_read(c, full, path, ".", entry);
    if (file >= 0)
        (void) cf_dotenv(c, (uint32_t) file, env, format != NULL, vars); /* issues are counted */
}

static void resolve_environment(struct compose_project *c, struct cf_node *service) {
    const struct cf_node *files = cf_get(service, "env_file"),
                         *own = cf_get(service, "environment");
    if (!files) return;
    struct cf_node *vars = cf_new(c, CF_MAP, service);
    const struct cf_env *env = own ? cf_env_append(c, &c->env, own) : &c->env;
    for (uint32_t i = 0; i < files->n; i++) {
        const struct cf_node *f = files->items[i];
        const char *path = cf_get_str(f, "path");
        if (path) read_one(c, f, path, cf_get_bool(f, "required"), "env-file", env, vars);
    }
    over(c, vars, own);
    if (vars->n) cf_put(c, service, "environment", vars);
    cf_del(service, "env_file");
}

static void resolve_labels(struct compose_project *c, struct cf_node *service) {
    const struct cf_node *files = cf_get(service, "label_file");
    if (!files) return;
    struct cf_node *vars = cf_new(c, CF_MAP, service);
    for (uint32_t i = 0; i < files->n; i++)
        read_one(c, files->items[i], files->items[i]->s, true, "label-file", &c->env, vars);
    over(c, vars, cf_get(service, "labels"));
    if (vars->n) cf_put(c, service, "labels", vars);
    cf_del(service, "label_file");
}

void cf_resolve_env(struct compose_project *c, struct cf_node *model) {
    struct cf_node *services = cf_get(model, "services");
    for (uint32_t i = 0; i < services->n; i++) {
        resolve_environment(c, services->entries[i].value);
        resolve_labels(c, services->entries[i].value);
    }
}

/* Host paths become absolute; one that has no absolute form (~user, a drive) stays. */
void cf_resolve_paths(struct compose_project *c, struct cf_node *n) {
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++)
        cf_resolve_paths(c, n->entries[i].value);
    for (uint32_t i = 0; n->kind == CF_SEQ && i < n->n; i++) cf_resolve_paths(c, n->items[i]);
    if (n->kind != CF_STR || n->unit != CF_UNIT_PATH) return;
    const char *full = cf_path_expand(c, n->s);
    if (full) n->s = full;
}
