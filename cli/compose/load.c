// SPDX-License-Identifier: Apache-2.0
/* The order of a load. Findings do not stop it where going on makes sense: all that is wrong in a
 * file is said at once. What is wrong is marked (cf_node.bad), so that later steps leave it alone.
 */
#include "load.h"

#include <errno.h>
#include <string.h>

const char *cf_full_path(struct compose_project *c, const char *path) {
    return cf_path_join(c, c->directory, path);
}

struct cf_node *cf_load_documents(struct compose_project *c, const char *path, const char *base,
                                  const struct cf_env *env, const struct cf_node *at) {
    int64_t file = cf_file_read(c, cf_full_path(c, path), path, base, at);
    if (file < 0) return NULL;
    c->files[file]->env = env;
    struct cf_node *documents = cf_new(c, CF_SEQ, NULL);
    documents->file = (uint32_t) file;
    return cf_yaml_read(c, (uint32_t) file, documents) ? documents : NULL;
}

void cf_interpolate_document(struct compose_project *c, struct cf_node *d) {
    if (c->options->variables)
        cf_note_variables(c, d);
    else if (!c->options->no_interpolate)
        cf_interpolate_tree(c, d, cf_file(c, d->file)->env);
}

/* One document onto the model so far. */
static struct cf_node *take_document(struct compose_project *c, struct cf_node *model,
                                     struct cf_node *d, const struct cf_source *s) {
    if (d->kind != CF_MAP) {
        cf_issue(c, d, "type", "the top level must be a mapping, not %s", cf_kind_name(d));
        return model;
    }
    cf_interpolate_document(c, d);
    cf_apply_extends(c, d);
    cf_apply_include(c, d, s);
    struct cf_node *merged = cf_merge(c, model, d, &cf_root);
    if (!merged) return model;
    cf_unify(c, merged, &cf_root);
    cf_check(c, merged, &cf_root);
    return merged;
}

/* The Ith file of S onto the model so far. */
static struct cf_node *take_file(struct compose_project *c, struct cf_node *model,
                                 const struct cf_source *s, uint32_t i) {
    const char *path = s->paths->items[i]->s;
    struct cf_node *documents =
        s->files ? s->files->items[i] : cf_load_documents(c, path, s->base, s->env, s->at);
    if (!documents) return NULL;
    bool any = false;
    for (uint32_t k = 0; k < documents->n; k++) {
        if (documents->items[k]->kind == CF_NULL) continue;
        any = true;
        size_t errors = c->n_errors;
        model = take_document(c, model, documents->items[k], s);
        if (c->n_errors > errors)
            break; /* what lies above would be judged by what is wrong below */
    }
    if (any) return model;
    cf_issue_at(c, documents->file, 0, 0, "empty", "the Compose file is empty");
    return NULL;
}

struct cf_node *cf_load_source(struct compose_project *c, struct cf_source *s) {
    struct cf_node *model = NULL;
    for (uint32_t i = 0; i < s->paths->n; i++) {
        size_t errors = c->n_errors;
        s->open = s->paths->items[i]->s;
        model = take_file(c, model, s, i);
        if (!model || c->n_errors > errors) break;
    }
    return model;
}

static void warn_obsolete(struct compose_project *c, const struct cf_node *raw) {
    const struct cf_node *version = cf_get(raw, "version");
    size_t mark = cf_enter(c, "version");
    if (version) cf_warn(c, version, "obsolete", "`version` is obsolete and has no effect");
    cf_leave(c, mark);
}

/* The project's own files are read once, before its name is known, which one of them may give. */
static struct cf_node *read_files(struct compose_project *c, const struct cf_node *paths) {
    struct cf_node *files = cf_new(c, CF_SEQ, NULL);
    for (uint32_t i = 0; i < paths->n; i++) {
        struct cf_node *d = cf_load_documents(c, paths->items[i]->s, ".", &c->env, NULL);
        if (d) cf_push(c, files, d);
    }
    return files->n == paths->n ? files : NULL;
}

static struct cf_node *load_raw(struct compose_project *c) {
    struct cf_node *paths;
    if (!cf_find_files(c, &paths)) return NULL;
    struct cf_source s = {.paths = paths, .base = ".", .env = &c->env};
    s.files = read_files(c, paths);
    if (!s.files || !cf_find_name(c, s.files)) return NULL;
    return cf_load_source(c, &s);
}

static void load(struct compose_project *c, void *arg) {
    (void) arg;
    if (c->options->variables) c->variables = cf_new(c, CF_MAP, NULL);
    struct cf_node *raw = load_raw(c);
    if (c->variables) cf_list_variables(c);
    if (!raw || c->variables) return;
    if (c->n_errors) cf_drop_bad(raw);
    warn_obsolete(c, raw);
    if (!cf_get(raw, "services")) cf_put(c, raw, "services", cf_new(c, CF_MAP, raw));
    struct cf_node *model = cf_canon_object(c, raw, &cf_root);
    cf_put(c, model, "name", cf_new_str(c, c->name, cf_get(model, "name")));
    c->whole = model;
    cf_validate_parts(c, model);
    if (c->n_errors) return;
    cf_normalize(c, model);
    cf_apply_profiles(c, model);
    if (!c->options->no_consistency) cf_validate(c, model);
    if (!c->options->no_env_resolution) cf_resolve_env(c, model);
    if (!c->options->no_path_resolution) cf_resolve_paths(c, model);
    if (!c->n_errors) c->model = model;
}

/* ---- the object ---- */

static void set_up(struct compose_project *c, void *arg) {
    (void) arg;
    c->no_memory = cf_printf(c, "the project needs more than %d MiB", CF_ARENA_BYTES >> 20);
    c->no_memory_kind = cf_strdup(c, "memory");
    c->nothing = cf_strdup(c, "");
    cf_file_of_text(c, "compose", ".", "", 0);
}

void cf_no_memory_issue(struct compose_project *c) {
    c->n_errors++;
    if (!c->issues) c->issues = c->last_issue;
    c->issues[c->n_issues++] = (struct compose_issue){
        .file = c->nothing, .path = c->nothing, .kind = c->no_memory_kind, .text = c->no_memory};
}

struct compose_project *cf_project_new(void) {
    struct compose_project *c = mem_zalloc(sizeof *c);
    if (!c) return NULL;
    arena_init(&c->arena, CF_ARENA_BYTES);
    if (cf_guard(c, set_up, NULL) == 0) return c;
    compose_project_free(c);
    return NULL;
}

int compose_load(const struct compose_options *o, struct compose_project **ret) {
    struct compose_project *c = cf_project_new();
    ensure(c); /* the caller is a command, and nothing was to be had at all */
    *ret = c;
    c->options = o;
    c->permissive = o->permissive;
    int r = cf_guard(c, load, NULL);
    cf_sort_issues(c);
    if (r < 0) cf_no_memory_issue(c);
    cf_leave(c, 0);
    c->options = NULL;
    return r < 0 ? r : c->n_errors ? -EINVAL : 0;
}

void compose_project_free(struct compose_project *c) {
    if (!c) return;
    for (uint32_t i = 0; i < c->n_files; i++) mem_free(c->files[i]->text);
    if (c->pending) explicit_bzero(c->pending, c->pending_len);
    mem_free(c->pending);
    arena_fini(&c->arena);
    mem_free(c);
}

const char *compose_name(const struct compose_project *c) {
    return c->name ? c->name : "";
}

const char *compose_directory(const struct compose_project *c) {
    return c->directory ? c->directory : "";
}
