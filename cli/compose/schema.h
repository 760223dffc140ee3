// SPDX-License-Identifier: Apache-2.0
/* cli/compose/schema.h - the one table of every key of the specification.
 *
 * Role     a row says what a key may hold, how two files' values are merged, how it becomes
 *          canonical, and what Orlop does with it. Everything else of this folder walks the tree
 *          along these rows; a key of the specification that Orlop learns later is a changed row.
 * See      README.md, whose table of keys is made from this one
 */
#ifndef ORLOP_CLI_COMPOSE_SCHEMA_H
#define ORLOP_CLI_COMPOSE_SCHEMA_H

#include "cf.h"

/* What Orlop does with a key that is there and not empty. */
enum cf_use {
    CF_DOES = 1, /* all of it */
    CF_PARTLY,   /* does some values, refuses the others by name: `done`, or manifest code looks */
    CF_WARNS,    /* takes it, says why nothing comes of it */
    CF_REFUSES,
};

enum cf_merge {
    CF_MERGE_DEEP, /* mappings key by key, lists one behind the other, scalars replaced */
    CF_MERGE_REPLACE,
    CF_MERGE_KEYVALUE, /* list or mapping of key=value: the later key wins */
    CF_MERGE_TEXTS,    /* string or list: appended */
    CF_MERGE_NAMES,    /* list of names = mapping of names */
    CF_MERGE_BUILD,    /* string = {context} */
    CF_MERGE_LOGGING,  /* deep when the drivers agree */
    CF_MERGE_HOSTS,    /* mapping or list: a list, appended; repeats go when it becomes canonical */
    CF_MERGE_SUBNETS,  /* list keyed by subnet */
};

struct cf_key;
/* The canonical value of N, or NULL = left out (an issue may have been added). */
typedef struct cf_node *(*cf_canon_fn)(struct compose_project *c, const struct cf_node *n,
                                       const struct cf_key *k);

struct cf_type {
    unsigned kinds; /* 1 << enum cf_kind each */
    enum cf_merge merge;
    cf_canon_fn canon;
    bool keep; /* stays when empty, false or zero */
};

enum {
    CF_NEED = 1,       /* the mapping must have it */
    CF_UNIQUE = 2,     /* list: no two items the same */
    CF_KEEP = 4,       /* like cf_type.keep */
    CF_HOSTPATH = 8,   /* relative to the file's base directory */
    CF_CONTEXT = 16,   /* the same, unless it is remote */
    CF_NOT_EMPTY = 32, /* list: empty strings are dropped */
    CF_NAMES = 64,     /* mapping: keys are names of services and resources */
};

struct cf_key {
    const char *name;
    const struct cf_type *type;
    const struct cf_table *table; /* a mapping with keys of the specification */
    const struct cf_key *value;   /* a mapping with free keys: what each value is */
    const struct cf_key *item;    /* a list: what each item is */
    /* A list in which each identity may stand once: the later item takes the earlier's place. NULL
     * in return = no identity. */
    const char *(*identity)(struct compose_project *c, const struct cf_node *item);
    unsigned flags;
    int64_t min, max;         /* of integers, unless both 0 */
    const char *const *words; /* the only strings allowed */
    const char *pattern;      /* extended regular expression, anywhere in the string */
    /* proto/value.h, when it becomes manifest: of the string, of each string of a list, of each key
     * of a mapping */
    int (*fine)(const char *s, struct err *err);
    const char *const *done; /* the only strings that Orlop does; the rest is refused */
    const char *fallback;    /* canonical: what stands before the name in a default (targets) */
    enum cf_use use;
    const char *why; /* for CF_WARNS, CF_REFUSES, CF_PARTLY: a clause */
};

struct cf_table {
    const struct cf_key *keys;
    size_t n;
    bool closed;                                                          /* no x-* here */
    void (*finish)(struct compose_project *c, struct cf_node *canonical); /* defaults */
};

/* The root, and the rows others need by name. */
extern const struct cf_key cf_root;
extern const struct cf_table cf_root_table;
extern const struct cf_key cf_service;
extern const struct cf_table cf_service_table;
const struct cf_key *cf_key_of(const struct cf_table *t, const char *name);
/* What the entry NAME of a mapping that K describes is; NULL: unknown or an extension. */
const struct cf_key *cf_key_below(const struct cf_key *k, const char *name);

/* check.c: kinds, unknown keys, words, patterns. Any number of issues. */
void cf_check(struct compose_project *c, struct cf_node *n, const struct cf_key *k);
bool cf_name_ok(const char *s);                           /* of a service or resource */
bool cf_is_word(const char *s, const char *const *words); /* one of a NULL-ended list */

/* What the check has marked goes out of the tree: the steps after it need not look. */
void cf_drop_bad(struct cf_node *n);

/* merge.c */
struct cf_node *cf_merge(struct compose_project *c, struct cf_node *base, struct cf_node *over,
                         const struct cf_key *k);
/* Keep one item per identity in every list below N. */
void cf_unify(struct compose_project *c, struct cf_node *n, const struct cf_key *k);

/* canon*.c: the functions of the rows */
struct cf_node *cf_canon(struct compose_project *c, const struct cf_node *n,
                         const struct cf_key *k);
#define CF_CANON(name)                                                                             \
    struct cf_node *name(struct compose_project *c, const struct cf_node *n, const struct cf_key *k)
CF_CANON(cf_canon_none);
CF_CANON(cf_canon_text);
CF_CANON(cf_canon_bool);
CF_CANON(cf_canon_int);
CF_CANON(cf_canon_number);
CF_CANON(cf_canon_size);
CF_CANON(cf_canon_duration);
CF_CANON(cf_canon_mode);
CF_CANON(cf_canon_texts);
CF_CANON(cf_canon_map);
CF_CANON(cf_canon_env);
CF_CANON(cf_canon_args);
CF_CANON(cf_canon_object);
CF_CANON(cf_canon_objects);
CF_CANON(cf_canon_named);
CF_CANON(cf_canon_command);
CF_CANON(cf_canon_test);
CF_CANON(cf_canon_build);
CF_CANON(cf_canon_contexts);
CF_CANON(cf_canon_ports);
CF_CANON(cf_canon_volumes);
CF_CANON(cf_canon_uses);
CF_CANON(cf_canon_depends);
CF_CANON(cf_canon_networks);
CF_CANON(cf_canon_env_files);
CF_CANON(cf_canon_hosts);
CF_CANON(cf_canon_ulimits);
CF_CANON(cf_canon_devices);
CF_CANON(cf_canon_gpus);
CF_CANON(cf_canon_count);
CF_CANON(cf_canon_options);
CF_CANON(cf_canon_external);
void cf_finish_port(struct compose_project *c, struct cf_node *o);
void cf_finish_build(struct compose_project *c, struct cf_node *o);
void cf_finish_gpu(struct compose_project *c, struct cf_node *o);
void cf_finish_resource(struct compose_project *c, struct cf_node *o);

/* The identities of list items. */
const char *cf_id_text(struct compose_project *c, const struct cf_node *n);
const char *cf_id_port(struct compose_project *c, const struct cf_node *n);
const char *cf_id_volume(struct compose_project *c, const struct cf_node *n);
const char *cf_id_secret(struct compose_project *c, const struct cf_node *n);
const char *cf_id_config(struct compose_project *c, const struct cf_node *n);
const char *cf_id_device(struct compose_project *c, const struct cf_node *n);
const char *cf_id_path(struct compose_project *c, const struct cf_node *n);

/* values.c, ports.c, volumes.c, command.c: small parsers, also for the tests. NULL, or what is
 * wrong. */
const char *cf_parse_duration(const char *s, int64_t *ret_ns);
const char *cf_parse_size(const char *s, int64_t *ret_bytes);
bool cf_parse_bool(const char *s, bool *ret);
bool cf_parse_int(const char *s, int64_t *ret); /* decimal with a sign */
/* Mappings {mode, protocol, target, published, host_ip} into LIST. */
const char *cf_parse_port(struct compose_project *c, const char *s, const struct cf_node *at,
                          struct cf_node *list);
/* *ret: a mapping {type, source, target, ...} as written, paths not made relative. *ret_ignored: an
 * option that means nothing to anybody, or NULL. */
const char *cf_parse_volume(struct compose_project *c, const char *s, const struct cf_node *at,
                            struct cf_node **ret, const char **ret_ignored);
const char *cf_split_command(struct compose_project *c, const char *s, const struct cf_node *at,
                             struct cf_node *list);
/* A host path of the file that N stands in, as the canonical form has it. */
const char *cf_host_path(struct compose_project *c, const char *path, const struct cf_node *n);
struct cf_node *cf_new_path(struct compose_project *c, const char *path, const struct cf_node *n);

#endif
