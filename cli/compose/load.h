// SPDX-License-Identifier: Apache-2.0
/* cli/compose/load.h - the steps of a load, in their order.
 *
 * Role     files -> documents -> (interpolate, extends, include, merge, check) -> one raw model ->
 *          canonical model -> normalised -> profiles -> consistent -> env files read.
 */
#ifndef ORLOP_CLI_COMPOSE_LOAD_H
#define ORLOP_CLI_COMPOSE_LOAD_H

#include "schema.h"

/* One set of files that makes a model: the project's own, or an included one's. */
struct cf_source {
    const struct cf_node *paths; /* strings; relative ones are so to the project directory */
    const struct cf_node *files; /* the documents of each when they have been read, or NULL */
    const char *base;            /* its own project directory, relative to the project's */
    const struct cf_env *env;
    const struct cf_node *at;   /* the include entry */
    const char *open;           /* which of the paths is being read */
    const struct cf_source *up; /* who includes it */
    unsigned depth;
};

/* load.c: the merged raw model, or NULL after issues. */
struct cf_node *cf_load_source(struct compose_project *c, struct cf_source *s);
/* DOCUMENT with variables replaced; its file's env is what they mean. */
void cf_interpolate_document(struct compose_project *c, struct cf_node *document);
void cf_list_variables(struct compose_project *c);
/* Read one file: its documents. NULL after an issue. */
struct cf_node *cf_load_documents(struct compose_project *c, const char *path, const char *base,
                                  const struct cf_env *env, const struct cf_node *at);
/* PATH below the project directory, absolute. */
const char *cf_full_path(struct compose_project *c, const char *path);

/* find.c: environment, files, directory, name. False after an issue. */
bool cf_find_files(struct compose_project *c, struct cf_node **ret_paths);
/* FILES: the documents of each. */
bool cf_find_name(struct compose_project *c, const struct cf_node *files);
/* The env files of the list PATHS into a new mapping, ENV before it; missing: an issue unless
 * OPTIONAL. */
struct cf_node *cf_read_env_files(struct compose_project *c, const struct cf_node *paths,
                                  const struct cf_env *env, bool optional,
                                  const struct cf_node *at);

/* extends.c, include.c: on one document */
void cf_apply_extends(struct compose_project *c, struct cf_node *document);
void cf_apply_include(struct compose_project *c, struct cf_node *document,
                      const struct cf_source *s);

/* normalize.c, profiles.c, validate.c, resolve.c: on the canonical model */
void cf_normalize(struct compose_project *c, struct cf_node *model);
void cf_apply_profiles(struct compose_project *c, struct cf_node *model);
void cf_validate_parts(struct compose_project *c, const struct cf_node *model); /* always */
void cf_validate(struct compose_project *c, const struct cf_node *model); /* of complete projects */
void cf_resolve_env(struct compose_project *c, struct cf_node *model);
void cf_resolve_paths(struct compose_project *c, struct cf_node *model);

/* select.c: does a service use KEY of SECTION (networks, volumes, secrets, configs)? */
bool cf_is_used(const struct cf_node *model, const char *section, const char *key);

#endif
