// SPDX-License-Identifier: Apache-2.0
/* The Compose front end on cases of our own: data/<case>/ holds the files and what must come of
 * them (model.json, issues.txt, manifest.txt). ORLOP_GOLDEN_UPDATE=1 writes what comes instead. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/compose/schema.h"
#include "proto/check.h"

/* ---- a message as text ---- */

static void dump(FILE *out, const ProtobufCMessage *m, int depth);

static void dump_value(FILE *out, const ProtobufCFieldDescriptor *f, const void *at, int depth) {
    fprintf(out, "%*s%s:", depth * 2, "", f->name);
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        fprintf(out, " \"%s\"\n", *(const char *const *) at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        fprintf(out, " true\n");
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumValue *v =
            protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *) at);
        fprintf(out, " %s\n", v ? v->name : "?");
        break;
    }
    case PROTOBUF_C_TYPE_UINT32:
        fprintf(out, " %u\n", *(const uint32_t *) at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
        fprintf(out, " %llu\n", (unsigned long long) *(const uint64_t *) at);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *b = at;
        fprintf(out, " %zu bytes\n", b->len);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        fputc('\n', out);
        dump(out, *(const ProtobufCMessage *const *) at, depth + 1);
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        fail_msg("field %s is of a type that the manifest does not use", f->name);
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *f) {
    return f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_STRING ||
                   f->type == PROTOBUF_C_TYPE_MESSAGE
               ? 8
               : 4;
}

static bool is_set(const ProtobufCFieldDescriptor *f, const void *at) {
    if (f->type == PROTOBUF_C_TYPE_STRING) return **(const char *const *) at;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) return *(const void *const *) at;
    if (f->type == PROTOBUF_C_TYPE_BYTES) return ((const ProtobufCBinaryData *) at)->len;
    return value_size(f) == 8 ? *(const uint64_t *) at : *(const uint32_t *) at;
}

static void dump(FILE *out, const ProtobufCMessage *m, int depth) {
    const char *base = (const char *) m;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const void *at = base + f->offset;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            if (is_set(f, at)) dump_value(out, f, at, depth);
            continue;
        }
        size_t n = *(const size_t *) (const void *) (base + f->quantifier_offset);
        const char *list = *(const char *const *) at;
        for (size_t k = 0; k < n; k++) dump_value(out, f, list + k * value_size(f), depth);
    }
}

/* ---- golden files ---- */

static char *read_golden(const char *path) {
    FILE *f = fopen(path, "re");
    if (!f) return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static void check_golden(const char *dir, const char *name, const char *actual) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s/%s", TEST_DATA, dir, name);
    if (getenv("ORLOP_GOLDEN_UPDATE")) {
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        fputs(actual, f);
        fclose(f);
        return;
    }
    char *expected = read_golden(path);
    if (!expected) fail_msg("%s is missing", path);
    if (strcmp(expected, actual) != 0) print_message("%s: got\n%s\n", path, actual);
    assert_string_equal(actual, expected);
    free(expected);
}

struct memory {
    char *text;
    size_t len;
    FILE *f;
};

static FILE *open_memory(struct memory *m) {
    return m->f = open_memstream(&m->text, &m->len);
}

static void check_memory(const char *dir, const char *name, struct memory *m) {
    fclose(m->f);
    check_golden(dir, name, m->text);
    free(m->text);
}

/* ---- the cases ---- */

static char *const environment[] = {(char *) (uintptr_t) "HOME=/home/ada",
                                    (char *) (uintptr_t) "FROM_OS=os",
                                    (char *) (uintptr_t) "EMPTY=", NULL};

struct test_case {
    const char *name;
    const char *files[3]; /* none: found by default */
    const char *profile;
    bool manifest, permissive;
};

static const struct test_case cases[] = {
    {"shop", .manifest = true},
    {.name = "errors"},
    {"refused", .manifest = true},
    {"refused", .manifest = true, .permissive = true},
    {.name = "override"},
    {"files", .files = {"a.yaml", "b.yaml"}},
    {.name = "include"},
    {.name = "extends"},
    {"profiles", .profile = "debug"},
    {.name = "everything"},
    {.name = "inconsistent"},
    {.name = "cycle"},
    {.name = "hard", .manifest = true},
    {.name = "values", .manifest = true},
    {.name = "together", .manifest = true},
    {.name = "seccomp", .manifest = true},
    {"app-voting", .profile = "seed", .manifest = true},
    {"app-wordpress", .manifest = true},
    {"app-monitoring", .manifest = true},
    {.name = "syntax"},
};

static void run_case(const struct test_case *t) {
    struct compose_options o = {.environ = environment, .no_path_resolution = true};
    struct compose_project *p;
    struct arena a;
    Orlop__App *app = NULL;
    struct memory issues, model, manifest;
    char path[500];
    snprintf(path, sizeof path, "%s/%s", TEST_DATA, t->name);
    assert_int_equal(chdir(path), 0);
    for (size_t i = 0; t->files[i]; i++) assert_int_equal(strv_add(&o.files, t->files[i]), 0);
    if (t->profile) assert_int_equal(strv_add(&o.profiles, t->profile), 0);
    o.permissive = t->permissive;
    arena_init(&a, 4 << 20);
    int r = compose_load(&o, &p);
    if (r == 0) {
        assert_int_equal(compose_print_json(p, open_memory(&model)), 0);
        check_memory(t->name, "model.json", &model);
    }
    if (r == 0 && t->manifest) r = compose_to_manifest(p, &a, &app);
    if (app) {
        dump(open_memory(&manifest), &app->base, 0);
        /* Where the tree lies is nothing to compare. */
        fclose(manifest.f);
        for (char *at; (at = strstr(manifest.text, TEST_DATA)) != NULL;)
            memmove(at, at + strlen(TEST_DATA), strlen(at + strlen(TEST_DATA)) + 1);
        check_golden(t->name, t->permissive ? "manifest-permissive.txt" : "manifest.txt",
                     manifest.text);
        free(manifest.text);
        struct err err = {0};
        if (check_app(app, &err) < 0) fail_msg("%s: %s", t->name, err.text);
    }
    compose_print_issues(p, open_memory(&issues));
    check_memory(t->name, t->permissive ? "issues-permissive.txt" : "issues.txt", &issues);
    arena_fini(&a);
    compose_project_free(p);
    strv_fini(&o.files);
    strv_fini(&o.profiles);
}

static void test_cases_equal_golden(void **state) {
    (void) state;
    for (size_t i = 0; i < array_len(cases); i++) run_case(&cases[i]);
}

/* ---- single things ---- */

static struct compose_project *load_text(const char *text, size_t len, int *ret) {
    char name[] = "/tmp/compose-test-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t) len);
    close(fd);
    struct compose_options o = {.environ = environment, .project_name = "t"};
    struct compose_project *p;
    assert_int_equal(strv_add(&o.files, name), 0);
    *ret = compose_load(&o, &p);
    strv_fini(&o.files);
    unlink(name);
    return p;
}

static void assert_refused(const char *text, size_t len, const char *kind) {
    const struct compose_issue *list;
    int r;
    struct compose_project *p = load_text(text, len, &r);
    assert_int_equal(r, -EINVAL);
    assert_true(compose_issues(p, &list) > 0);
    assert_string_equal(list[0].kind, kind);
    compose_project_free(p);
}

static void test_load_text_with_nul_is_refused(void **state) {
    (void) state;
    static const char raw[] = "services:\n  a:\n    image: \"x\0y\"\n";
    static const char escaped[] = "services:\n  a:\n    image: \"x\\0y\"\n";
    assert_refused(raw, sizeof raw - 1, "yaml-encoding");
    assert_refused(escaped, sizeof escaped - 1, "yaml-encoding");
}

/* Values that grow without end meet the arena's budget. */
static void test_load_growing_interpolation_ends_in_an_issue(void **state) {
    (void) state;
    size_t value = 100000, uses = 10000;
    char *big = malloc(value + 10), *text = malloc(uses * 2 + 100);
    snprintf(big, 10, "A=");
    memset(big + 2, 'x', value);
    big[value + 2] = '\0';
    size_t n = (size_t) sprintf(text, "services:\n  a:\n    image: x\n    user: \"");
    for (size_t i = 0; i < uses; i++) memcpy(text + n + i * 2, "$A", 2);
    memcpy(text + n + uses * 2, "\"\n", 3);
    char name[] = "/tmp/compose-grow-XXXXXX";
    int fd = mkstemp(name);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    close(fd);
    char *const env[] = {big, NULL};
    struct compose_options o = {.environ = env, .project_name = "t"};
    struct compose_project *p;
    const struct compose_issue *list;
    assert_int_equal(strv_add(&o.files, name), 0);
    assert_int_equal(compose_load(&o, &p), -ENOMEM);
    size_t count = compose_issues(p, &list);
    assert_true(count > 0);
    assert_string_equal(list[count - 1].kind, "memory");
    compose_project_free(p);
    strv_fini(&o.files);
    unlink(name);
    free(big);
    free(text);
}

/* Each service takes twice what the one before has: 2^40 ways to the first. */
static void test_volumes_from_go_each_way_once(void **state) {
    (void) state;
    struct memory text;
    FILE *f = open_memory(&text);
    fputs("volumes: {vol: {}}\nservices:\n  s0: {image: x, volumes: [\"vol:/a\"]}\n", f);
    for (int i = 1; i <= 40; i++)
        fprintf(f, "  s%d: {image: x, volumes_from: [s%d, \"s%d:ro\"]}\n", i, i - 1, i - 1);
    fclose(f);
    struct arena a;
    Orlop__App *app;
    int r;
    struct compose_project *p = load_text(text.text, text.len, &r);
    assert_int_equal(r, 0);
    arena_init(&a, 4 << 20);
    assert_int_equal(compose_to_manifest(p, &a, &app), 0);
    assert_int_equal(app->n_services, 41);
    for (size_t i = 0; i < 41; i++) assert_int_equal(app->services[i]->n_mounts, 1);
    arena_fini(&a);
    compose_project_free(p);
    free(text.text);
}

/* A few short entries that stand for millions of ports. */
static void test_ranges_of_ports_are_bounded(void **state) {
    (void) state;
    static const char text[] = "services:\n  a:\n    image: x\n    ports:\n"
                               "      - 10.0.0.1:1-65535:1-65535\n"
                               "      - 10.0.0.2:1-65535:1-65535\n"
                               "      - 10.0.0.3:1-65535:1-65535\n";
    assert_refused(text, sizeof text - 1, "size");
}

static const char small[] = "services:\n"
                            "  a:\n"
                            "    image: x:${TAG:-1}\n"
                            "    command: sh -c 'echo hi'\n"
                            "    ports: [\"80:80\"]\n"
                            "    volumes: [\"data:/data\", \"./a:/b:ro\"]\n"
                            "  b.c:\n"
                            "    image: y\n"
                            "    depends_on: [a]\n"
                            "volumes:\n"
                            "  data:\n";

static void test_load_when_any_allocation_fails_says_so(void **state) {
    (void) state;
    for (unsigned long n = 1;; n++) {
        mem_fail_after(n);
        struct compose_project *c = cf_project_new();
        mem_fail_after(0);
        if (c) {
            compose_project_free(c);
            break;
        }
    }
    for (unsigned long n = 0; n < 60; n++) {
        struct compose_project *p;
        struct compose_options o = {.environ = environment, .project_name = "t"};
        char name[] = "/tmp/compose-fail-XXXXXX";
        int fd = mkstemp(name);
        assert_int_equal(write(fd, small, sizeof small - 1), (ssize_t) sizeof small - 1);
        close(fd);
        assert_int_equal(strv_add(&o.files, name), 0);
        /* The first allocations make the object. */
        mem_fail_after(n + 10);
        int r = compose_load(&o, &p);
        mem_fail_after(0);
        const struct compose_issue *list;
        if (r < 0) assert_true(compose_issues(p, &list) > 0);
        compose_project_free(p);
        strv_fini(&o.files);
        unlink(name);
    }
}

static void test_locate_finds_line_and_column(void **state) {
    (void) state;
    int r;
    const char *file;
    unsigned line, column;
    struct compose_project *p = load_text(small, sizeof small - 1, &r);
    assert_int_equal(r, 0);
    assert_true(compose_locate(p, "services.a.image", &file, &line, &column));
    assert_int_equal(line, 3);
    assert_int_equal(column, 5);
    assert_true(compose_locate(p, "services.b.c.image", &file, &line, &column));
    assert_int_equal(line, 8);
    assert_true(compose_locate(p, "services.a.volumes[1]", &file, &line, &column));
    assert_int_equal(line, 6);
    assert_int_equal(column, 29);
    assert_false(compose_locate(p, "services.z", &file, &line, &column));
    assert_false(compose_locate(p, "services.a.volumes[9]", &file, &line, &column));
    compose_project_free(p);
}

static void test_nearest_name_is_found_or_none(void **state) {
    (void) state;
    static const char *const names[] = {"image", "ports", "volumes", "environment", "tty"};
    static const struct {
        const char *key, *near;
    } t[] = {{"imagee", "image"}, {"volume", "volumes"}, {"enviroment", "environment"},
             {"prots", "ports"},  {"x", NULL},           {"something", NULL}};
    for (size_t i = 0; i < array_len(t); i++) {
        const char *near = cf_nearest(t[i].key, names, array_len(names));
        if (t[i].near)
            assert_string_equal(near, t[i].near);
        else
            assert_null(near);
    }
}

static void test_paths_are_cleaned_lexically(void **state) {
    (void) state;
    static const struct {
        const char *in, *out;
    } t[] = {{"", "."},
             {".", "."},
             {"a//b/./c", "a/b/c"},
             {"a/../b", "b"},
             {"../../a", "../../a"},
             {"a/../../b", "../b"},
             {"/../a", "/a"},
             {"/a/..", "/"},
             {"/", "/"},
             {"a/..", "."},
             {"../a/..", ".."}};
    struct compose_project *c = cf_project_new();
    for (size_t i = 0; i < array_len(t); i++)
        assert_string_equal(cf_path_clean(c, t[i].in), t[i].out);
    compose_project_free(c);
}

static void test_project_name_by_option_must_be_good(void **state) {
    (void) state;
    static const char *const bad[] = {"Shop", "-a", "a b", "\xC3\xA9"};
    for (size_t i = 0; i < array_len(bad); i++) {
        struct compose_options o = {.environ = environment, .project_name = bad[i]};
        struct compose_project *p;
        const struct compose_issue *list;
        assert_int_equal(strv_add(&o.files, TEST_DATA "/shop/compose.yaml"), 0);
        assert_int_equal(compose_load(&o, &p), -EINVAL);
        assert_int_equal(compose_issues(p, &list), 1);
        assert_string_equal(list[0].kind, "name");
        compose_project_free(p);
        strv_fini(&o.files);
    }
}

/* Every row that Orlop looks into says what becomes of it; so does every row of a service. */
static unsigned count_rows(const struct cf_key *k, bool build) {
    unsigned n = 0;
    const struct cf_key *ways[] = {k->value, k->item};
    for (size_t i = 0; i < array_len(ways); i++)
        if (ways[i] && !k->table) n += count_rows(ways[i], false);
    for (size_t i = 0; k->table && !build && i < k->table->n; i++) {
        const struct cf_key *below = &k->table->keys[i];
        if (!below->use) fail_msg("nothing is said of %s", below->name);
        if (below->use != CF_DOES && !below->why)
            fail_msg("no reason is given for %s", below->name);
        bool looks = below->use == CF_DOES || below->use == CF_PARTLY;
        n += 1 + (looks ? count_rows(below, str_eq(below->name, "build")) : 0);
    }
    return n;
}

static void test_schema_every_key_is_used_or_refused(void **state) {
    (void) state;
    assert_true(count_rows(&cf_root, false) > 150);
    assert_true(cf_service_table.n >= 92);
}

static void test_readme_has_the_table_of_keys(void **state) {
    (void) state;
    struct memory m;
    compose_print_keys(open_memory(&m));
    fclose(m.f);
    char *readme = read_golden(README);
    assert_non_null(readme);
    if (!strstr(readme, m.text)) fail_msg("README.md: put in what `compose_config --keys` prints");
    free(readme);
    free(m.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases_equal_golden),
        cmocka_unit_test(test_load_text_with_nul_is_refused),
        cmocka_unit_test(test_load_growing_interpolation_ends_in_an_issue),
        cmocka_unit_test(test_volumes_from_go_each_way_once),
        cmocka_unit_test(test_ranges_of_ports_are_bounded),
        cmocka_unit_test(test_load_when_any_allocation_fails_says_so),
        cmocka_unit_test(test_locate_finds_line_and_column),
        cmocka_unit_test(test_nearest_name_is_found_or_none),
        cmocka_unit_test(test_paths_are_cleaned_lexically),
        cmocka_unit_test(test_project_name_by_option_must_be_good),
        cmocka_unit_test(test_schema_every_key_is_used_or_refused),
        cmocka_unit_test(test_readme_has_the_table_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
