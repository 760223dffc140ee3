// SPDX-License-Identifier: Apache-2.0
/* Which files, which directory, which name: before anything is read of the files' content. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

/* ---- environment ---- */

static void take_environ(struct compose_project *c) {
    c->environ = cf_new(c, CF_MAP, NULL);
    for (char *const *e = c->options->environ; e && *e; e++) {
        const char *eq = strchr(*e, '=');
        if (!eq || !str_is_utf8(*e, strlen(*e))) continue; /* no way to name it in a Compose file */
        cf_put(c, c->environ, cf_strndup(c, *e, (size_t) (eq - *e)),
               cf_new_str(c, cf_strdup(c, eq + 1), NULL));
    }
    c->env_os = (struct cf_env){.vars = c->environ};
    c->env = c->env_os;
}

struct cf_node *cf_read_env_files(struct compose_project *c, const struct cf_node *paths,
                                  const struct cf_env *env, bool optional,
                                  const struct cf_node *at) {
    struct cf_node *vars = cf_new(c, CF_MAP, NULL);
    for (uint32_t i = 0; i < paths->n; i++) {
        const char *full = cf_full_path(c, paths->items[i]->s);
        if (optional && access(full, F_OK) != 0) continue;
        int64_t file = cf_file_read(c, full, paths->items[i]->s, ".", at);
        if (file >= 0)
            (void) cf_dotenv(c, (uint32_t) file, env, false, vars); /* issues are counted */
    }
    return vars;
}

static bool read_dotenv(struct compose_project *c) {
    const struct strv *given = &c->options->env_files;
    struct cf_node *paths = cf_new(c, CF_SEQ, NULL);
    size_t errors = c->n_errors;
    for (size_t i = 0; i < given->n; i++) {
        const char *full = cf_path_join(c, c->cwd, given->v[i]);
        cf_push(c, paths, cf_new_str(c, full, NULL));
    }
    if (!given->n) cf_push(c, paths, cf_new_str(c, ".env", NULL));
    c->env_dot.vars = cf_read_env_files(c, paths, &c->env_os, !given->n, NULL);
    c->env_dot.next = NULL;
    c->env_os.next = &c->env_dot;
    c->env = c->env_os;
    return c->n_errors == errors;
}

/* ---- files ---- */

static const char *const defaults[] = {"compose.yaml", "compose.yml", "docker-compose.yml",
                                       "docker-compose.yaml"};

static bool try_file(struct compose_project *c, const char *dir, const char *name,
                     struct cf_node *paths) {
    const char *full = cf_path_join(c, dir, name);
    if (access(full, F_OK) != 0) return false;
    cf_push(c, paths, cf_new_str(c, full, NULL));
    return true;
}

/* The default file in DIR and the override beside it. */
static bool try_directory(struct compose_project *c, const char *dir, struct cf_node *paths) {
    for (size_t i = 0; i < array_len(defaults); i++) {
        if (!try_file(c, dir, defaults[i], paths)) continue;
        const char *stem =
            cf_strndup(c, defaults[i], (size_t) (strrchr(defaults[i], '.') - defaults[i]));
        if (!try_file(c, dir, cf_printf(c, "%s.override.yml", stem), paths))
            (void) try_file(c, dir, cf_printf(c, "%s.override.yaml", stem), paths);
        return true;
    }
    return false;
}

static bool search(struct compose_project *c, const char *dir, struct cf_node *paths) {
    for (const char *d = dir;; d = cf_path_dir(c, d)) {
        if (try_directory(c, d, paths)) return true;
        if (str_eq(d, "/")) break;
    }
    cf_issue(c, NULL, "io", "no compose.yaml in %s or above it; name one with -f", dir);
    return false;
}

static void add_given(struct compose_project *c, const char *path, struct cf_node *paths) {
    const char *full = str_eq(path, "-") ? "/dev/stdin" : cf_path_join(c, c->cwd, path);
    cf_push(c, paths, cf_new_str(c, full, NULL));
}

static void add_from_environment(struct compose_project *c, const char *list,
                                 struct cf_node *paths) {
    const char *separator = cf_env_get(&c->env, "COMPOSE_PATH_SEPARATOR");
    if (str_empty(separator)) separator = ":";
    while (*list) {
        const char *end = strstr(list, separator);
        size_t n = end ? (size_t) (end - list) : strlen(list);
        if (n) add_given(c, cf_strndup(c, list, n), paths);
        list = end ? end + strlen(separator) : list + n;
    }
}

static void choose_directory(struct compose_project *c, const struct cf_node *paths) {
    const char *given = c->options->project_directory;
    if (given)
        c->directory = cf_path_join(c, c->cwd, given);
    else if (paths->n && !str_eq(paths->items[0]->s, "/dev/stdin"))
        c->directory = cf_path_dir(c, paths->items[0]->s);
    else
        c->directory = c->cwd;
}

bool cf_find_files(struct compose_project *c, struct cf_node **ret_paths) {
    struct cf_node *paths = cf_new(c, CF_SEQ, NULL);
    char cwd[4096];
    if (!getcwd(cwd, sizeof cwd)) {
        cf_issue(c, NULL, "io", "the working directory: %s", err_text(-errno));
        return false;
    }
    c->cwd = cf_strdup(c, cwd);
    take_environ(c);
    for (size_t i = 0; i < c->options->files.n; i++) add_given(c, c->options->files.v[i], paths);
    choose_directory(c, paths);
    if (!read_dotenv(c)) return false;
    if (!paths->n) {
        const char *list = cf_env_get(&c->env, "COMPOSE_FILE");
        const char *before = c->directory;
        if (!str_empty(list))
            add_from_environment(c, list, paths);
        else if (!search(c, c->directory, paths))
            return false;
        choose_directory(c, paths);
        if (!str_eq(before, c->directory) && !read_dotenv(c)) return false;
    }
    /* Messages show paths as short as they can be. */
    for (uint32_t i = 0; i < paths->n; i++) {
        size_t n = strlen(c->directory);
        const char *p = paths->items[i]->s;
        if (strncmp(p, c->directory, n) == 0 && p[n] == '/') paths->items[i]->s = p + n + 1;
    }
    *ret_paths = paths;
    return true;
}

/* ---- the name ---- */

static const char *normal_name(struct compose_project *c, const char *s) {
    char *name = cf_alloc(c, strlen(s) + 1), *to = name;
    for (; *s; s++) {
        char ch = (char) tolower((unsigned char) *s);
        bool inside = ch == '_' || ch == '-';
        if (isascii(ch) && (isalnum((unsigned char) ch) || (inside && to > name))) *to++ = ch;
    }
    return name;
}

static bool take_name(struct compose_project *c, const char *name) {
    if (str_empty(name) || !str_eq(normal_name(c, name), name) || strlen(name) > 63) {
        cf_issue(
            c, NULL, "name",
            "\"%.100s\" cannot be a project name: at most 63 of a-z, 0-9, _ and -, the first a "
            "letter or digit; give one with -p",
            name ? name : "");
        return false;
    }
    c->name = name;
    struct cf_node *vars = cf_new(c, CF_MAP, NULL);
    cf_put(c, vars, "COMPOSE_PROJECT_NAME", cf_new_str(c, name, NULL));
    c->env = (struct cf_env){.vars = vars, .next = &c->env_os};
    return true;
}

/* `name:` of the last document that has one. What is wrong with it is reported when the document is
 * interpolated as a whole: issues found here are forgotten. */
static const char *name_in_files(struct compose_project *c, const struct cf_node *files) {
    size_t issues = c->n_issues, errors = c->n_errors, dropped = c->n_dropped;
    const char *name = NULL;
    for (uint32_t i = 0; i < files->n; i++) {
        const struct cf_node *documents = files->items[i];
        for (uint32_t k = 0; k < documents->n; k++) {
            const char *s = cf_get_str(documents->items[k], "name");
            if (s && !c->options->no_interpolate) s = cf_interpolate(c, s, &c->env, NULL);
            if (!str_empty(s)) name = normal_name(c, s);
        }
    }
    c->n_issues = issues;
    c->n_errors = errors;
    c->n_dropped = dropped;
    return name;
}

bool cf_find_name(struct compose_project *c, const struct cf_node *files) {
    if (!str_empty(c->options->project_name))
        return take_name(c, cf_strdup(c, c->options->project_name));
    const char *name = cf_env_get(&c->env, "COMPOSE_PROJECT_NAME");
    if (!str_empty(name)) return take_name(c, name);
    name = name_in_files(c, files);
    if (str_empty(name)) name = normal_name(c, strrchr(c->directory, '/') + 1);
    if (strlen(name) > 63) name = cf_strndup(c, name, 63);
    return take_name(c, name);
}
