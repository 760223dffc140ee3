// SPDX-License-Identifier: Apache-2.0
/* cli/compose/compose.h - Compose files in, manifest out.
 *
 * Role     load, interpolate, merge, extend, include, normalise, validate, convert. Every key is
 *          either used or refused with file:line:column: nothing is ignored in silence.
 * Thread   one caller. Reads files and the environment given; nothing else.
 * See      compose-spec (spec.md); cli/compose/README.md has the table of keys
 */
#ifndef ORLOP_COMPOSE_H
#define ORLOP_COMPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "manifest.pb-c.h"
#include "proto/arena.h"
#include "runtime/base/str.h"

struct compose_options {
    struct strv files; /* -f; empty: compose.yaml, compose.yml, docker-compose.y(a)ml here or above,
                          with their override */
    struct strv env_files;    /* --env-file; empty: .env in the project directory */
    struct strv profiles;     /* --profile, COMPOSE_PROFILES; "*" = all */
    struct strv services;     /* named by the user: their profiles are active */
    const char *project_name; /* -p, COMPOSE_PROJECT_NAME; NULL = from the file or the directory */
    const char *project_directory; /* NULL = of the first file */
    char *const *environ;          /* "K=V", NULL at the end */
    bool no_interpolate, no_path_resolution, no_env_resolution, no_consistency;
    bool permissive; /* list refused keys as warnings and go on */
    bool variables;  /* only read the files and note which variables they ask for */
};

/* One ${...} that the files ask for; of several about the same name the first that says more. */
struct compose_variable {
    const char *name;
    const char *fallback, *alternate; /* ${NAME:-fallback}, ${NAME:+alternate}; NULL: none */
    bool required;                    /* ${NAME:?} */
};

/* One finding. The text is a sentence; LINE 0 = the file as a whole. */
struct compose_issue {
    char *file;
    unsigned line, column;
    char *path; /* "services.web.ports[1]" */
    char *text;
    char *kind; /* as in CANONICAL.md section 11 of the test data */
    bool warning;
};

struct compose_project;

/* Load. Returns 0, or -EINVAL with at least one issue, or another errno with one issue (io). In
 * every case *ret is set and to be freed: it holds the issues; the model only after 0. */
must_use int compose_load(const struct compose_options *o, struct compose_project **ret);
void compose_project_free(struct compose_project *p);
size_t compose_issues(const struct compose_project *p, const struct compose_issue **ret);
/* "file:line:col: path: text", then the source line and a caret, like a compiler: each issue that
 * has not been printed before. */
void compose_print_issues(struct compose_project *p, FILE *out);

/* The canonical form: JSON (sorted keys, 2-space indent) or YAML. */
must_use int compose_print_json(const struct compose_project *p, FILE *out);
must_use int compose_print_yaml(const struct compose_project *p, FILE *out);
/* Every profile that a service of the files has, active or not, sorted. */
must_use int compose_profiles(const struct compose_project *p, struct strv *ret);
/* Leave in the model the N services of NAMES, what they depend on and what all these use. -ENOENT
 * with *ret_missing: there is no such service. */
must_use int compose_select(struct compose_project *p, char *const *names, size_t n,
                            const char **ret_missing);
/* With options.variables: sorted by name. */
size_t compose_variables(const struct compose_project *p, const struct compose_variable **ret);
/* What ${...} is looked up in, "NAME=VALUE", sorted. */
must_use int compose_environment(const struct compose_project *p, struct strv *ret);
/* What would become of it: issues of the manifest are warnings here. How many of them would be
 * errors to compose_to_manifest(). */
size_t compose_foresee(struct compose_project *p);
/* A Markdown table of every key of the specification and what this version does with it. */
void compose_print_keys(FILE *out);
/* A JSON schema of what this version accepts. */
must_use int compose_print_schema(FILE *out);
const char *compose_name(const struct compose_project *p);
const char *compose_directory(const struct compose_project *p);

/* The manifest, in A. Keys that the model knows and this version of Orlop cannot do yet are issues
 * (-EINVAL). Secrets' and configs' files are read here. Where service NAME's image stands in the
 * file is for messages about it. */
must_use int compose_to_manifest(struct compose_project *p, struct arena *a, Orlop__App **ret);
bool compose_locate(const struct compose_project *p, const char *path, const char **ret_file,
                    unsigned *ret_line, unsigned *ret_column);

#endif
