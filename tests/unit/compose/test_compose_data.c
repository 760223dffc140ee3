// SPDX-License-Identifier: Apache-2.0
/* Real Compose files, snippets, multi-file cases, files to refuse, and vectors, where they are
 * there: ORLOP_COMPOSE_DATA, or the directory given at build time. Says how many passed; skips
 * else. */
#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "canonical.h"
#include "cli/compose/schema.h"

#define COLUMNS 20
static char *root;
static char *const no_environment[] = {NULL};

/* ---- tables: tab-separated, a header line ---- */

struct table {
    char *text, *next;
    char *names[COLUMNS], *cells[COLUMNS];
    size_t n_names, n_cells;
};

static size_t cut(char *line, char **cells) {
    size_t n = 0;
    for (char *p = line; p && n < COLUMNS;) cells[n++] = strsep(&p, "\t");
    return n;
}

static char *read_text(const char *path) {
    FILE *f = fopen(path, "re");
    if (!f) return NULL;
    char *text = NULL;
    size_t cap = 0, n = 0;
    do {
        text = realloc(text, cap + 65536);
        n += fread(text + cap, 1, 65535, f);
        cap = n;
    } while (!feof(f));
    text[n] = '\0';
    fclose(f);
    return text;
}

static bool next_row(struct table *t) {
    char *line = strsep(&t->next, "\n");
    if (!line || !*line) return false;
    t->n_cells = cut(line, t->cells);
    return true;
}

static void open_table(struct table *t, const char *path) {
    memset(t, 0, sizeof *t);
    t->text = t->next = read_text(path);
    assert_non_null(t->text);
    assert_true(next_row(t));
    t->n_names = t->n_cells;
    memcpy(t->names, t->cells, sizeof t->names);
}

static const char *cell(const struct table *t, const char *name) {
    for (size_t i = 0; i < t->n_names && i < t->n_cells; i++)
        if (str_eq(t->names[i], name)) return t->cells[i];
    return "";
}

/* ---- a case ---- */

static void add_list(struct strv *l, const char *commas) {
    char *copy = strdup(commas), *next = copy;
    for (char *p; (p = strsep(&next, ",")) != NULL;)
        if (*p) assert_int_equal(strv_add(l, p), 0);
    free(copy);
}

static struct compose_project *load(const struct table *t, const char *files, bool resolve,
                                    int *ret) {
    struct compose_options o = {.environ = no_environment, .no_path_resolution = true};
    struct compose_project *p;
    o.no_env_resolution = !resolve;
    o.no_consistency = str_eq(cell(t, "mode"), "fragment");
    if (*cell(t, "project_name")) o.project_name = cell(t, "project_name");
    add_list(&o.files, files);
    add_list(&o.env_files, cell(t, "env_file"));
    add_list(&o.profiles, "*");
    *ret = compose_load(&o, &p);
    strv_fini(&o.files);
    strv_fini(&o.env_files);
    strv_fini(&o.profiles);
    return p;
}

static json_t *to_json(const struct compose_project *p) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_int_equal(compose_print_json(p, f), 0);
    fclose(f);
    json_t *j = json_loads(text, JSON_ALLOW_NUL, NULL);
    free(text);
    return j;
}

/* Whether one of the errors is of KIND and, when LINE is given, on that line. A file may have
 * several faults, and any of them may be the one expected. */
static bool has_error(const struct compose_project *p, const char *kind, long line, long column) {
    const struct compose_issue *list;
    size_t n = compose_issues(p, &list);
    for (size_t i = 0; i < n; i++)
        if (!list[i].warning && str_eq(list[i].kind, kind) &&
            (line <= 0 || list[i].line == (unsigned) line) &&
            (column <= 0 || list[i].column == (unsigned) column))
            return true;
    return false;
}

static const char *first_error(const struct compose_project *p) {
    static char text[500];
    const struct compose_issue *list;
    size_t n = compose_issues(p, &list), i = 0;
    while (i < n && list[i].warning) i++;
    if (i == n) return "accepted";
    snprintf(text, sizeof text, "%s at %s:%u:%u: %s: %s", list[i].kind, list[i].file, list[i].line,
             list[i].column, list[i].path, list[i].text);
    return text;
}

/* ---- differences that are ours by intent ---- */

static const struct {
    const char *id, *why;
} defended[] = {
    {"snippets/gotest__override__uncity_test__02.yaml", "the volume meant stands on line 7"},
    {"snippets/gotest__loader__reset_test__05.yaml",
     "the limit is passed on line 8, not at the anchor"},
    {"snippets/gotest__loader__reset_test__10.yaml",
     "the limit is passed on line 8, not at the anchor"},
    {"snippets/gotest__loader__reset_test__17.yaml",
     "the merge key that is wrong stands on line 5"},
    {"yaml:laradock_laradock__open-webui__compose.yml",
     "a dependency on \"\" is no name in the long form"},
    {"yaml:laradock_laradock__phpmyadmin__compose.yml",
     "a dependency on \"\" is no name in the long form"},
    {"snippets/gotest__loader__tests__environment_test__05.yaml",
     "the variable that is wrong stands on line 5"},
};

struct count {
    unsigned passed, defended, failed;
};

static void result(struct count *n, const char *id, bool good, const char *what) {
    if (good) {
        n->passed++;
        return;
    }
    for (size_t i = 0; i < array_len(defended); i++)
        if (str_eq(defended[i].id, id)) {
            n->defended++;
            return;
        }
    n->failed++;
    print_message("%s: %s\n", id, what);
}

static void finish(const char *what, const struct count *n) {
    print_message("%s: %u passed, %u differ by intent, %u failed\n", what, n->passed, n->defended,
                  n->failed);
    assert_int_equal(n->failed, 0);
    assert_true(n->passed > 0);
}

static void compare(struct count *n, const struct table *t, const char *id, const char *files,
                    const char *expected_path, bool resolve) {
    json_t *expected = json_load_file(expected_path, JSON_ALLOW_NUL, NULL);
    if (!expected) return; /* none was made for this one */
    int r;
    struct compose_project *p = load(t, files, resolve, &r);
    const json_t *error = json_object_get(expected, "error");
    if (error) {
        const char *kind = json_string_value(json_object_get(error, "kind"));
        long line = (long) json_integer_value(json_object_get(error, "line"));
        char what[600];
        snprintf(what, sizeof what, "expected %s on line %ld, got %s", kind, line, first_error(p));
        result(n, id, r < 0 && has_error(p, kind, line, 0), what);
    } else if (r < 0) {
        result(n, id, false, first_error(p));
    } else {
        json_t *actual = to_json(p);
        char *where = NULL;
        bool good = actual && canonical_equal(expected, actual, &where);
        result(n, id, good, where ? where : "not valid JSON");
        free(where);
        json_decref(actual);
    }
    compose_project_free(p);
    json_decref(expected);
}

static char *path_of(const char *dir, const char *name, const char *suffix) {
    char *s = NULL;
    size_t n = strlen(name);
    if (*suffix) /* replace the extension */
        while (n && name[n - 1] != '.') n--;
    if (*suffix && n) n--;
    if (asprintf(&s, "%s/%s/%.*s%s", root, dir, (int) n, name, suffix) < 0) return NULL;
    return s;
}

static void enter(const char *dir) {
    char *s = path_of(dir, "", "");
    assert_int_equal(chdir(s), 0);
    free(s);
}

static int find_data(void **state) {
    (void) state;
    const char *dir = getenv("ORLOP_COMPOSE_DATA");
    root = realpath(dir ? dir : DEFAULT_DATA, NULL);
    if (!root) print_message("SKIP: no Compose data (ORLOP_COMPOSE_DATA names it)\n");
    return 0;
}

#define NEED_DATA()                                                                                \
    do {                                                                                           \
        if (!root) skip();                                                                         \
    } while (0)

/* ---- canonical forms ---- */

static void run_index(const char *index, const char *expected, bool resolve, const char *what) {
    struct table t;
    struct count n = {0};
    enter("public");
    open_table(&t, index);
    while (next_row(&t)) {
        const char *file = cell(&t, "file"), *slash = strrchr(file, '/');
        char *e = path_of(expected, resolve && slash ? slash + 1 : file, ".json");
        compare(&n, &t, file, cell(&t, "run_path"), e, resolve);
        free(e);
    }
    free(t.text);
    finish(what, &n);
}

static void test_public_files_equal_expected(void **state) {
    (void) state;
    NEED_DATA();
    run_index("index.tsv", "expected", false, "public");
}

static void test_public_files_resolved_equal_expected(void **state) {
    (void) state;
    NEED_DATA();
    run_index("index.tsv", "expected_resolved", true, "resolved");
}

static void test_snippets_equal_expected(void **state) {
    (void) state;
    NEED_DATA();
    run_index("snippets.tsv", "expected", false, "snippets");
}

static void test_several_files_equal_expected(void **state) {
    (void) state;
    NEED_DATA();
    struct table t;
    struct count n = {0};
    enter("public");
    open_table(&t, "multi.tsv");
    while (next_row(&t)) {
        char *e = path_of("expected", cell(&t, "expected"), "");
        compare(&n, &t, cell(&t, "id"), cell(&t, "files"), e, false);
        free(e);
    }
    free(t.text);
    finish("multi", &n);
}

/* What YAML printing gives loads to the same model. */
static void test_public_files_printed_as_yaml_load_the_same(void **state) {
    (void) state;
    NEED_DATA();
    struct table t;
    struct count n = {0};
    char name[] = "/tmp/compose-yaml-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    enter("public");
    open_table(&t, "index.tsv");
    while (next_row(&t)) {
        int r;
        struct compose_project *p = load(&t, cell(&t, "run_path"), false, &r), *q;
        if (r == 0) {
            json_t *a = to_json(p), *b;
            FILE *f = fopen(name, "we");
            assert_int_equal(compose_print_yaml(p, f), 0);
            fclose(f);
            struct compose_options o = {.environ = no_environment, .no_path_resolution = true};
            o.no_env_resolution = o.no_consistency = true;
            o.project_directory = ".";
            add_list(&o.files, name);
            add_list(&o.profiles, "*");
            r = compose_load(&o, &q);
            char *where = NULL;
            b = r == 0 ? to_json(q) : NULL;
            char id[300];
            snprintf(id, sizeof id, "yaml:%s", cell(&t, "file"));
            result(&n, id, b && canonical_equal(a, b, &where), where ? where : first_error(q));
            free(where);
            json_decref(a);
            json_decref(b);
            compose_project_free(q);
            strv_fini(&o.files);
            strv_fini(&o.profiles);
        }
        compose_project_free(p);
    }
    free(t.text);
    close(fd);
    unlink(name);
    finish("printed as YAML", &n);
}

/* ---- files to refuse ---- */

static bool message_matches(const struct compose_project *p, const char *pattern) {
    regex_t re;
    const struct compose_issue *list;
    size_t n = compose_issues(p, &list);
    bool found = false;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    for (size_t i = 0; i < n && !found; i++) {
        char *text = NULL;
        if (asprintf(&text, "%s: %s", list[i].path, list[i].text) < 0) break;
        found = !list[i].warning && regexec(&re, text, 0, NULL, 0) == 0;
        free(text);
    }
    regfree(&re);
    return found;
}

/* A note such as "line 4 or 5" allows the other line; the column then is another, too. */
static bool at_expected_place(const struct compose_project *p, const struct table *t) {
    const char *kind = cell(t, "kind"), *note = cell(t, "note");
    long line = strtol(cell(t, "line"), NULL, 10), column = strtol(cell(t, "column"), NULL, 10);
    if (has_error(p, kind, line, column)) return true;
    const char * or = strstr(note, " or ");
    if (!strstr(note, "line") || ! or) return false;
    return has_error(p, kind, strtol(or +4, NULL, 10), 0);
}

static void test_invalid_files_are_refused_at_their_line(void **state) {
    (void) state;
    NEED_DATA();
    struct table t;
    struct count n = {0};
    enter("invalid");
    open_table(&t, "index.tsv");
    while (next_row(&t)) {
        struct arena a;
        Orlop__App *app;
        int r;
        arena_init(&a, 1 << 20);
        struct compose_project *p = load(&t, cell(&t, "file"), false, &r);
        if (r == 0) r = compose_to_manifest(p, &a, &app);
        bool good =
            r < 0 && at_expected_place(p, &t) && message_matches(p, cell(&t, "message_regex"));
        result(&n, cell(&t, "file"), good, first_error(p));
        compose_project_free(p);
        arena_fini(&a);
    }
    free(t.text);
    finish("invalid", &n);
}

/* ---- vectors ---- */

struct vector {
    struct compose_project *c;
    const json_t *env;
    const char *in;
    json_t *out;       /* the result, or NULL */
    const char *error; /* else its kind */
};

static json_t *node_json(struct compose_project *c, const struct cf_node *n) {
    json_t *j = NULL;
    if (n->kind == CF_STR) return json_string(n->s);
    if (n->kind == CF_INT) return json_integer(cf_int(n));
    if (n->kind == CF_BOOL) return json_boolean(n->b);
    if (n->kind == CF_SEQ) {
        j = json_array();
        for (uint32_t i = 0; i < n->n; i++) json_array_append_new(j, node_json(c, n->items[i]));
    } else if (n->kind == CF_MAP) {
        j = json_object();
        for (uint32_t i = 0; i < n->n; i++)
            json_object_set_new(j, n->entries[i].key, node_json(c, n->entries[i].value));
    }
    return j;
}

static const char *issue_kind(struct vector *v) {
    const struct compose_issue *list;
    size_t n = compose_issues(v->c, &list);
    return n ? list[n - 1].kind : "none";
}

static void run_interpolation(struct vector *v) {
    struct cf_node *vars = cf_new(v->c, CF_MAP, NULL);
    json_t *value;
    const char *key;
    json_object_foreach((json_t *) (uintptr_t) v->env, key, value)
        cf_put(v->c, vars, key, cf_new_str(v->c, json_string_value(value), NULL));
    struct cf_env env = {.vars = vars};
    const char *s = cf_interpolate(v->c, v->in, &env, NULL);
    if (s)
        v->out = json_string(s);
    else
        v->error = issue_kind(v);
}

static void run_dotenv(struct vector *v) {
    struct cf_node *vars = cf_new(v->c, CF_MAP, NULL);
    int64_t file = cf_file_of_text(v->c, "x", ".", v->in, strlen(v->in));
    static const char *const names[] = {"A", "B", "C"};
    if (!cf_dotenv(v->c, (uint32_t) file, NULL, false, vars)) {
        v->error = issue_kind(v);
        return;
    }
    v->out = json_object();
    for (size_t i = 0; i < array_len(names); i++)
        if (cf_get_str(vars, names[i]))
            json_object_set_new(v->out, names[i], json_string(cf_get_str(vars, names[i])));
}

static void run_duration(struct vector *v) {
    int64_t ns;
    if (cf_parse_duration(v->in, &ns))
        v->error = "duration";
    else
        v->out = json_integer(ns);
}

static void run_size(struct vector *v) {
    int64_t bytes;
    if (cf_parse_size(v->in, &bytes))
        v->error = "size";
    else
        v->out = json_integer(bytes);
}

static void run_port(struct vector *v) {
    struct cf_node *list = cf_new(v->c, CF_SEQ, NULL);
    if (cf_parse_port(v->c, v->in, NULL, list))
        v->error = "port";
    else
        v->out = node_json(v->c, list);
}

static void run_command(struct vector *v) {
    struct cf_node *list = cf_new(v->c, CF_SEQ, NULL);
    if (cf_split_command(v->c, v->in, NULL, list))
        v->error = "command";
    else
        v->out = node_json(v->c, list);
}

static void run_volume(struct vector *v) {
    struct cf_node *list = cf_new(v->c, CF_SEQ, NULL);
    cf_push(v->c, list, cf_new_str(v->c, v->in, NULL));
    struct cf_node *out = cf_canon_volumes(v->c, list, cf_key_of(&cf_service_table, "volumes"));
    if (out->n)
        v->out = node_json(v->c, out->items[0]);
    else
        v->error = issue_kind(v);
}

static void run_scalar(struct vector *v) {
    char *text = NULL;
    if (asprintf(&text, "services:\n  a:\n    environment:\n      A: %s\n", v->in) < 0) return;
    int64_t file = cf_file_of_text(v->c, "x", ".", text, strlen(text));
    free(text);
    struct cf_node *documents = cf_new(v->c, CF_SEQ, NULL);
    if (!cf_yaml_read(v->c, (uint32_t) file, documents)) {
        v->error = issue_kind(v);
        return;
    }
    cf_check(v->c, documents->items[0], &cf_root);
    if (v->c->n_errors) {
        v->error = issue_kind(v);
        return;
    }
    struct cf_node *a = cf_get(cf_get(cf_get(documents->items[0], "services"), "a"), "environment");
    const char *s = cf_scalar_text(v->c, cf_get(a, "A"));
    v->out = json_string(s ? s : "");
}

static void run_all(struct compose_project *c, void *arg) {
    void **args = arg;
    struct vector *v = args[0];
    void (*fn)(struct vector *) = *(void (**)(struct vector *)) args[1];
    (void) c;
    fn(v);
}

static void run_vectors(const char *name, void (*fn)(struct vector *)) {
    char file[100];
    snprintf(file, sizeof file, "vectors/%s.json", name);
    char *path = path_of("", file, "");
    json_t *all = json_load_file(path, 0, NULL);
    struct count n = {0};
    free(path);
    assert_non_null(all);
    const json_t *cases = json_object_get(all, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const json_t *out = json_object_get(one, "out");
        const char *error = json_string_value(json_object_get(one, "error"));
        struct vector v = {.c = cf_project_new(), .env = json_object_get(all, "env")};
        v.in = json_string_value(json_object_get(one, "in"));
        assert_int_equal(cf_guard(v.c, run_all, (void *[]){&v, &fn}), 0);
        bool good = error ? v.error && str_eq(error, v.error) : v.out && json_equal(out, v.out);
        char *got = v.out ? json_dumps(v.out, JSON_ENCODE_ANY) : NULL,
             *want = json_dumps(one, JSON_ENCODE_ANY);
        char what[600];
        snprintf(what, sizeof what, "%s, got %s", want, got ? got : v.error);
        result(&n, name, good, what);
        free(got);
        free(want);
        json_decref(v.out);
        compose_project_free(v.c);
    }
    json_decref(all);
    finish(name, &n);
}

#define VECTOR_TEST(name, fn)                                                                      \
    static void test_vectors_##name##_give_expected(void **state) {                                \
        (void) state;                                                                              \
        NEED_DATA();                                                                               \
        run_vectors(#name, fn);                                                                    \
    }
VECTOR_TEST(interpolation, run_interpolation)
VECTOR_TEST(dotenv, run_dotenv)
VECTOR_TEST(duration_ns, run_duration)
VECTOR_TEST(size_bytes, run_size)
VECTOR_TEST(port_short, run_port)
VECTOR_TEST(volume_short, run_volume)
VECTOR_TEST(command_split, run_command)
VECTOR_TEST(scalar_text, run_scalar)

/* ---- the schema ---- */

static const json_t *target_of(const json_t *schema, const json_t *s) {
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    if (!ref) return s;
    const json_t *all = json_object_get(schema, "definitions");
    if (!all) all = json_object_get(schema, "$defs");
    return json_object_get(all, strrchr(ref, '/') + 1);
}

/* Every property of the object S must be a row of the table T; returns how many were seen. */
static unsigned walk(const json_t *schema, const json_t *s, const struct cf_key *k,
                     unsigned depth) {
    unsigned n = 0;
    json_t *value;
    const char *key;
    s = target_of(schema, s);
    if (depth > 12 || !s || !k) return 0;
    const json_t *choices = json_object_get(s, "oneOf");
    for (size_t i = 0; i < json_array_size(choices); i++)
        n += walk(schema, json_array_get(choices, i), k, depth + 1);
    if (json_object_get(s, "items") && k->item)
        n += walk(schema, json_object_get(s, "items"), k->item, depth + 1);
    json_object_foreach(json_object_get(s, "patternProperties"), key,
                        value) if (strcmp(key, "^x-") != 0 && k->value) n +=
        walk(schema, value, k->value, depth + 1);
    json_object_foreach(json_object_get(s, "properties"), key, value) {
        const struct cf_key *below = k->table ? cf_key_of(k->table, key) : NULL;
        if (!below) print_message("%s is in the schema and not in the table\n", key);
        assert_non_null(below);
        n += 1 + walk(schema, value, below, depth + 1);
    }
    return n;
}

static void test_schema_every_key_is_in_the_table(void **state) {
    (void) state;
    NEED_DATA();
    static const char *const files[] = {"compose-go.schema.json", "compose-spec.schema.json"};
    for (size_t i = 0; i < array_len(files); i++) {
        char *path = path_of("", files[i], "");
        json_t *schema = json_load_file(path, 0, NULL);
        assert_non_null(schema);
        print_message("%s: %u keys, each in the table\n", files[i],
                      walk(schema, schema, &cf_root, 0));
        json_decref(schema);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_files_equal_expected),
        cmocka_unit_test(test_public_files_resolved_equal_expected),
        cmocka_unit_test(test_snippets_equal_expected),
        cmocka_unit_test(test_several_files_equal_expected),
        cmocka_unit_test(test_public_files_printed_as_yaml_load_the_same),
        cmocka_unit_test(test_invalid_files_are_refused_at_their_line),
        cmocka_unit_test(test_vectors_interpolation_give_expected),
        cmocka_unit_test(test_vectors_dotenv_give_expected),
        cmocka_unit_test(test_vectors_duration_ns_give_expected),
        cmocka_unit_test(test_vectors_size_bytes_give_expected),
        cmocka_unit_test(test_vectors_port_short_give_expected),
        cmocka_unit_test(test_vectors_volume_short_give_expected),
        cmocka_unit_test(test_vectors_command_split_give_expected),
        cmocka_unit_test(test_vectors_scalar_text_give_expected),
        cmocka_unit_test(test_schema_every_key_is_in_the_table),
    };
    return cmocka_run_group_tests(tests, find_data, NULL);
}
