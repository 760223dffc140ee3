// SPDX-License-Identifier: Apache-2.0
/* cli/compose/cf.h - what the files of this folder share: the tree, the issues, the project.
 *
 * Role     `cf_` = "Compose file": everything between the text and the manifest is one kind of tree
 *          (struct cf_node), in which each node knows the file, line and column it came from.
 * Thread   one caller.
 * Owns     the project's arena owns every node and string: nothing is freed one by one, and
 *          whatever a function here returns lives as long as the project. When the arena's budget
 *          is used up, cf_alloc() leaves by longjmp to the function of compose.h that was called
 *          (cf_guard), which reports it as an issue: so no function below has an out-of-memory path
 *          of its own, and none may hold anything that the arena or the project does not own across
 *          an allocation.
 * Limits   CF_ARENA_BYTES for the whole project; CF_FILE_BYTES a file; CF_NODES a document.
 */
#ifndef ORLOP_CLI_COMPOSE_CF_H
#define ORLOP_CLI_COMPOSE_CF_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

#include "compose.h"
#include "proto/arena.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum {
    CF_ARENA_BYTES = 256 << 20,
    CF_FILE_BYTES = 16 << 20,
    CF_NODES = 1000000, /* of one document, aliases expanded */
    CF_DEPTH = 256,     /* of collections within one another */
    CF_FILES = 1000,    /* read in one load */
    CF_PORTS = 65536,   /* of a service, before the next entry is read */
    CF_ISSUES = 200,    /* kept; the rest is counted */
    CF_PATH = 2048,
    CF_STEPS = 300, /* of a path */
};

enum cf_kind {
    CF_NULL = 1,
    CF_BOOL,
    CF_INT,
    CF_FLOAT,
    CF_STR,
    CF_MAP,
    CF_SEQ,
};

enum cf_tag { CF_TAG_NONE, CF_TAG_RESET, CF_TAG_OVERRIDE };

/* What a number or a string is about: how it is written in YAML, and whether it is made absolute.
 */
enum cf_unit {
    CF_UNIT_NONE,
    CF_UNIT_NS,
    CF_UNIT_BYTES,
    CF_UNIT_MODE,
    CF_UNIT_PATH, /* CF_STR: of the host */
};

struct cf_node {
    uint8_t kind, tag, unit;
    bool negative : 1;     /* CF_INT: the value is -u */
    bool fixed : 1;        /* CF_MAP: keys are the specification's; x-* are extensions */
    bool open : 1;         /* reading: its end has not been seen yet */
    bool bad : 1;          /* an issue has been reported: leave it alone */
    uint32_t file;         /* number in the project's files */
    uint32_t line, column; /* of the key for a mapping's value, of the item in a list; 1-based */
    uint32_t n, cap;       /* entries or items */
    uint32_t size, height; /* reading: nodes in this subtree, and levels */
    union {
        bool b;
        uint64_t u;
        double f;
        const char *s;
        struct cf_entry *entries;
        struct cf_node **items;
    };
    uint32_t *index; /* of a mapping with many entries; see node.c */
};

struct cf_entry {
    const char *key;
    struct cf_node *value;
};

struct cf_env { /* where ${NAME} looks: the first of the chain that has it */
    const struct cf_node *vars;
    const struct cf_env *next;
};

struct cf_file {
    const char *path; /* as given or joined; what messages show */
    const char
        *base; /* host paths in it are relative to this directory; relative to the project's */
    const struct cf_env *env; /* what its variables mean */
    char *text;               /* heap */
    size_t len;
};

struct
    cf_step { /* of the path to what is being worked on: a key, or NULL and the number of an item */
    const char *key;
    size_t item;
};

struct compose_project {
    struct arena arena;
    jmp_buf *jump;
    yaml_parser_t parser; /* libyaml's heap hangs on these two: cf_guard() gives it back */
    yaml_event_t event;
    bool parsing, event_live;

    const struct compose_options *options; /* only while loading */
    bool permissive;
    struct cf_file **files;
    uint32_t n_files, cap_files;

    struct compose_issue *issues, last_issue[1];
    size_t n_issues, n_dropped, n_errors, n_printed;
    struct cf_step steps[CF_STEPS];
    size_t n_steps;
    char path[CF_PATH]; /* cf_path() writes it */
    const struct cf_node
        *whole; /* the canonical model once it stands: an issue's path is looked up in it */

    size_t pending_len;
    char *pending; /* heap: bytes of a secret on their way */
    char *no_memory, *no_memory_kind,
        *nothing; /* ready for when nothing can be allocated any more */

    const char *name, *directory, *cwd;
    struct cf_node *environ; /* the process's environment */
    struct cf_env env;       /* COMPOSE_PROJECT_NAME, the environment, the env files */
    struct cf_env env_os, env_dot;
    struct cf_node *inactive;  /* services whose profiles are not active */
    struct cf_node *variables; /* name -> struct compose_variable as a mapping; options.variables */
    const struct compose_variable *variable_list;
    struct cf_node *extended; /* files read by extends: path -> their services */
    struct cf_node *model;    /* canonical */
};

/* memory */
void *cf_alloc(struct compose_project *c, size_t n); /* zeroed */
char *cf_strndup(struct compose_project *c, const char *s, size_t n);
char *cf_strdup(struct compose_project *c, const char *s);
char *cf_printf(struct compose_project *c, const char *fmt, ...) printf_like(2, 3);
_Noreturn void cf_no_memory(struct compose_project *c);
/* Run FN; 0, or -ENOMEM with an issue when it ran out of memory. */
must_use int cf_guard(struct compose_project *c, void (*fn)(struct compose_project *c, void *arg),
                      void *arg);

void cf_no_memory_issue(struct compose_project *c);
struct compose_project *cf_project_new(void); /* NULL: no memory */

/* A string that grows, in the arena. */
struct cf_text {
    char *s;
    size_t len, cap;
};
void cf_text_add(struct compose_project *c, struct cf_text *t, const char *s, size_t n);
void cf_text_putc(struct compose_project *c, struct cf_text *t, char ch);
const char *cf_text_str(struct compose_project *c, struct cf_text *t); /* never NULL */

/* node.c: the tree. New nodes take their position from AT (NULL = none). */
struct cf_node *cf_new(struct compose_project *c, enum cf_kind kind, const struct cf_node *at);
struct cf_node *cf_new_str(struct compose_project *c, const char *s, const struct cf_node *at);
struct cf_node *cf_new_int(struct compose_project *c, int64_t v, const struct cf_node *at);
struct cf_node *cf_new_bool(struct compose_project *c, bool b, const struct cf_node *at);
struct cf_node *cf_copy(struct compose_project *c, const struct cf_node *n);
/* Mappings in any order; numbers by value: 8 and 8.0, which prints as 8, are one. */
bool cf_equal(const struct cf_node *a, const struct cf_node *b);
struct cf_node *cf_get(const struct cf_node *map,
                       const char *key); /* NULL: no such key, or no map */
void cf_put(struct compose_project *c, struct cf_node *map, const char *key, struct cf_node *v);
void cf_del(struct cf_node *map, const char *key);
void cf_push(struct compose_project *c, struct cf_node *seq, struct cf_node *v);
const char *cf_get_str(const struct cf_node *map,
                       const char *key);                      /* NULL: not there, not a string */
bool cf_get_bool(const struct cf_node *map, const char *key); /* false: not there */
bool cf_is_empty(const struct cf_node *n);                    /* null "" [] {} false 0 */
const char *cf_kind_name(const struct cf_node *n);            /* "a list" */
static inline bool cf_is(const struct cf_node *n, enum cf_kind k) {
    return n && n->kind == k;
}
static inline bool cf_is_number(const struct cf_node *n) {
    return cf_is(n, CF_INT) || cf_is(n, CF_FLOAT);
}
int64_t cf_int(const struct cf_node *n); /* of CF_INT, clamped to the range */
double cf_number(const struct cf_node *n);

/* scalar.c */
void cf_resolve_plain(struct compose_project *c, struct cf_node *n, const char *s);
/* What a scalar reads as where a string is wanted; NULL for a null, a list, a mapping. */
const char *cf_scalar_text(struct compose_project *c, const struct cf_node *n);
bool cf_parse_number(const char *s, double *ret); /* a finite decimal number */

/* issues.c */
void cf_issue(struct compose_project *c, const struct cf_node *at, const char *kind,
              const char *fmt, ...) printf_like(4, 5);
void cf_warn(struct compose_project *c, const struct cf_node *at, const char *kind, const char *fmt,
             ...) printf_like(4, 5);
void cf_issue_at(struct compose_project *c, uint32_t file, uint32_t line, uint32_t column,
                 const char *kind, const char *text);
void cf_sort_issues(struct compose_project *c); /* as they stand in the files */
/* The path of messages: enter a key or an item, leave with what entering returned. Done for each
 * node of a tree, and read for each issue: so only steps are noted. */
static inline size_t cf_enter_step(struct compose_project *c, const char *key, size_t item) {
    size_t mark = c->n_steps++;
    if (mark < CF_STEPS) c->steps[mark] = (struct cf_step){key, item};
    return mark;
}
static inline size_t cf_enter(struct compose_project *c, const char *key) {
    return cf_enter_step(c, key, 0);
}
static inline size_t cf_enter_item(struct compose_project *c, size_t i) {
    return cf_enter_step(c, NULL, i);
}
static inline void cf_leave(struct compose_project *c, size_t mark) {
    c->n_steps = mark;
}
const char *cf_path(struct compose_project *c); /* as text; one that is too long is cut */
/* Of the NULL-ended NAMES the one most like KEY, or NULL if none is near. */
const char *cf_nearest(const char *key, const char *const *names, size_t n);

/* yaml.c: the documents of a file, one tree each, into SEQ. False after an issue. */
bool cf_yaml_read(struct compose_project *c, uint32_t file, struct cf_node *seq);

/* file.c: read PATH into a new file record, shown as SHOWN; its number, or -1 after an issue at AT
 * (NULL = none). */
int64_t cf_file_read(struct compose_project *c, const char *path, const char *shown,
                     const char *base, const struct cf_node *at);
int64_t cf_file_of_text(struct compose_project *c, const char *path, const char *base,
                        const char *text, size_t len);
const struct cf_file *cf_file(const struct compose_project *c, uint32_t file);

/* path.c: lexical work on paths */
char *cf_path_clean(struct compose_project *c, const char *path);
char *cf_path_join(struct compose_project *c, const char *dir, const char *path); /* cleaned */
char *cf_path_dir(struct compose_project *c, const char *path);
bool cf_path_is_fixed(const char *path); /* absolute, ~, drive letter, \\ */
/* As the canonical form prints it: "./x", "../x", ".". */
char *cf_path_relative(struct compose_project *c, const char *dir, const char *path);

/* A canonical host path as the kernel wants it, absolute, ~ replaced; NULL: there is none. */
const char *cf_path_expand(struct compose_project *c, const char *path);

/* interpolate.c */
const char *cf_env_get(const struct cf_env *env, const char *name);
/* ENV, and when it does not have a name, VARS. */
const struct cf_env *cf_env_append(struct compose_project *c, const struct cf_env *env,
                                   const struct cf_node *vars);
/* S with ${...} replaced, or NULL after an issue at AT. */
const char *cf_interpolate(struct compose_project *c, const char *s, const struct cf_env *env,
                           const struct cf_node *at);
void cf_interpolate_tree(struct compose_project *c, struct cf_node *n, const struct cf_env *env);
/* Note in c->variables what the strings of N ask for. */
void cf_note_variables(struct compose_project *c, const struct cf_node *n);

/* dotenv.c: add what FILE says to VARS. ENV is looked at first in ${...}, and for a bare KEY.
 * False after an issue. RAW: values verbatim. */
bool cf_dotenv(struct compose_project *c, uint32_t file, const struct cf_env *env, bool raw,
               struct cf_node *vars);

#endif
