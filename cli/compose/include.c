// SPDX-License-Identifier: Apache-2.0
/* include: another project's model, with its own directory and env files, put beside ours. */
#include <string.h>

#include "load.h"

enum { INCLUDES = 50 }; /* one within another */

/* A string or a list of strings, each below BASE. */
static struct cf_node *paths_below(struct compose_project *c, const struct cf_node *n,
                                   const char *base) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; n && i < (n->kind == CF_SEQ ? n->n : 1); i++) {
        const struct cf_node *item = n->kind == CF_SEQ ? n->items[i] : n;
        if (item->kind != CF_STR || item->bad) continue;
        const char *p = cf_path_is_fixed(item->s) ? item->s : cf_path_join(c, base, item->s);
        cf_push(c, list, cf_new_str(c, p, item));
    }
    return list;
}

static bool is_open(struct compose_project *c, const struct cf_source *s, const char *path) {
    for (; s; s = s->up)
        if (str_eq(cf_full_path(c, s->open), cf_full_path(c, path))) return true;
    return false;
}

static const struct cf_env *environment(struct compose_project *c, const struct cf_node *item,
                                        const struct cf_source *s, const char *directory) {
    const struct cf_node *files = cf_get(item, "env_file");
    struct cf_node *paths = paths_below(c, files, cf_file(c, item->file)->base);
    if (!files) cf_push(c, paths, cf_new_str(c, cf_path_join(c, directory, ".env"), item));
    return cf_env_append(c, s->env, cf_read_env_files(c, paths, s->env, !files, item));
}

static struct cf_node *load_item(struct compose_project *c, const struct cf_node *include,
                                 const struct cf_node *item, const struct cf_source *s) {
    const char *base = cf_file(c, item->file)->base;
    const struct cf_node *path = item->kind == CF_STR ? item : cf_get(item, "path");
    struct cf_node *paths = paths_below(c, path, base);
    if (!paths->n) return NULL;
    for (uint32_t i = 0; i < paths->n; i++)
        if (is_open(c, s, paths->items[i]->s) || s->depth == INCLUDES) {
            cf_issue(c, include, "include-cycle", "include cycle detected: %.300s",
                     paths->items[i]->s);
            return NULL;
        }
    const char *given = cf_get_str(item, "project_directory");
    const char *directory =
        given ? cf_path_join(c, base, given) : cf_path_dir(c, paths->items[0]->s);
    struct cf_source inner = {
        .paths = paths, .base = directory, .at = item, .up = s, .depth = s->depth + 1};
    inner.env = environment(c, item, s, directory);
    return cf_load_source(c, &inner);
}

/* Whether OURS, which is not checked yet, means the same as THEIRS. What is wrong with it is
 * reported when the whole document is checked. */
static bool same(struct compose_project *c, const struct cf_node *ours,
                 const struct cf_node *theirs, const struct cf_key *k) {
    struct cf_node *copy = cf_copy(c, ours);
    size_t issues = c->n_issues, errors = c->n_errors, dropped = c->n_dropped;
    cf_check(c, copy, k);
    bool good = c->n_errors == errors;
    bool equal = good && cf_equal(k->type->canon(c, copy, k), k->type->canon(c, theirs, k));
    c->n_issues = issues;
    c->n_errors = errors;
    c->n_dropped = dropped;
    return equal || !good;
}

static void import(struct compose_project *c, struct cf_node *to, struct cf_node *from,
                   const struct cf_key *k) {
    for (uint32_t i = 0; i < from->n; i++) {
        const char *name = from->entries[i].key;
        struct cf_node *ours = cf_get(to, name), *theirs = from->entries[i].value;
        if (!ours)
            cf_put(c, to, name, theirs);
        else if (ours->kind == CF_MAP && !same(c, ours, theirs, k))
            cf_issue(c, ours, "include-conflict", "%s.%.100s conflicts with imported resource",
                     cf_path(c), name);
    }
}

static void import_all(struct compose_project *c, struct cf_node *document, struct cf_node *model) {
    static const char *const sections[] = {"services", "networks", "volumes",
                                           "secrets",  "configs",  "models"};
    for (size_t i = 0; i < array_len(sections); i++) {
        struct cf_node *from = cf_get(model, sections[i]), *to = cf_get(document, sections[i]);
        if (!cf_is(from, CF_MAP)) continue;
        if (!to || to->kind == CF_NULL) {
            cf_put(c, document, sections[i], from);
            continue;
        }
        if (to->kind != CF_MAP) continue;
        size_t mark = cf_enter(c, sections[i]);
        import(c, to, from, cf_key_below(&cf_root, sections[i])->value);
        cf_leave(c, mark);
    }
}

void cf_apply_include(struct compose_project *c, struct cf_node *document,
                      const struct cf_source *s) {
    struct cf_node *include = cf_get(document, "include");
    if (!cf_is(include, CF_SEQ)) return;
    size_t mark = cf_enter(c, "include");
    for (uint32_t i = 0; i < include->n; i++) {
        if (include->items[i]->bad) continue;
        size_t inner = cf_enter_item(c, i);
        size_t errors = c->n_errors;
        struct cf_node *model = load_item(c, include, include->items[i], s);
        cf_leave(c, inner);
        if (!model || c->n_errors > errors) continue;
        cf_leave(c, mark);
        import_all(c, document, model);
        cf_enter(c, "include");
    }
    cf_leave(c, mark);
}
