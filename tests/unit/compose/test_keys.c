// SPDX-License-Identifier: Apache-2.0
/* None is ignored: the schema is walked, and for each key it is shown on files what the key does.
 *
 * done      taking it out of keys/samples.yaml changes the manifest, or makes the file an error
 * partly    so does another word than those that are done, or its document in keys/refused.yaml
 * refused   put beside the keys of a sample, it is an issue `unsupported` that names it
 * warned    likewise a warning
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/compose/schema.h"

enum { ROWS_MAX = 512, TEXT_MAX = 64 << 10 };

static char *const environment[] = {(char *) "VARIABLE=value", NULL};

/* ---- one project from a tree: what comes of it ---- */

struct outcome {
    int result;
    uint8_t *manifest;
    size_t len;
    struct compose_project *project;
};

static void free_outcome(struct outcome *o) {
    free(o->manifest);
    compose_project_free(o->project);
}

static void run(const char *path, struct outcome *ret) {
    struct compose_options o = {.environ = environment, .project_directory = KEYS_DIR};
    struct arena a;
    Orlop__App *app = NULL;
    arena_init(&a, 16 << 20);
    assert_int_equal(strv_add(&o.files, path), 0);
    *ret = (struct outcome){0};
    ret->result = compose_load(&o, &ret->project);
    if (ret->result == 0) ret->result = compose_to_manifest(ret->project, &a, &app);
    if (ret->result == 0) {
        ret->manifest = malloc(orlop__app__get_packed_size(app) + 1);
        ret->len = orlop__app__pack(app, ret->manifest);
    }
    strv_fini(&o.files);
    arena_fini(&a);
}

static void run_tree(struct compose_project *c, struct cf_node *tree, struct outcome *ret) {
    char path[] = "/tmp/orlop-keys-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    c->model = tree;
    assert_int_equal(compose_print_json(c, f), 0);
    fclose(f);
    run(path, ret);
    unlink(path);
}

static bool same(const struct outcome *a, const struct outcome *b) {
    return a->result == b->result && a->len == b->len &&
           (!a->len || memcmp(a->manifest, b->manifest, a->len) == 0);
}

/* An issue of KIND whose path is that of the key, or of something below it. */
static bool says(const struct outcome *o, const char *kind, const char *path) {
    const struct compose_issue *list;
    size_t n = compose_issues(o->project, &list);
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i].kind, kind) && str_starts(list[i].path, path)) return true;
    return false;
}

/* ---- which rows have been shown ---- */

struct rows {
    const struct cf_key *v[ROWS_MAX];
    size_t n;
};
static struct rows changed, refused, warned;

static bool has(const struct rows *r, const struct cf_key *k) {
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i] == k) return true;
    return false;
}

static void note(struct rows *r, const struct cf_key *k) {
    if (has(r, k)) return;
    assert_true(r->n < ROWS_MAX);
    r->v[r->n++] = k;
}

/* ---- experiments on a sample ---- */

struct sample {
    struct compose_project *c;
    struct cf_node *tree;
    struct outcome base;
};

static void take_away(struct sample *s, struct cf_node *map, uint32_t i, const struct cf_key *k) {
    struct cf_entry e = map->entries[i];
    struct outcome o;
    memmove(map->entries + i, map->entries + i + 1, (map->n - i - 1) * sizeof e);
    map->n--;
    map->index = NULL;
    run_tree(s->c, s->tree, &o);
    if (!same(&o, &s->base)) note(&changed, k);
    free_outcome(&o);
    memmove(map->entries + i + 1, map->entries + i, (map->n - i) * sizeof e);
    map->entries[i] = e;
    map->n++;
}

static void try_other_word(struct sample *s, struct cf_node *map, uint32_t i,
                           const struct cf_key *k, const char *path) {
    struct cf_node *value = map->entries[i].value;
    struct outcome o;
    /* Of the words that the key may have, one that is not done. */
    const char *word = k->pattern ? "always" : "another";
    for (const char *const *w = k->words; w && *w; w++)
        if (!cf_is_word(*w, k->done)) word = *w;
    map->entries[i].value = cf_new_str(s->c, word, value);
    run_tree(s->c, s->tree, &o);
    if (says(&o, "unsupported", path) || says(&o, "env-file", path)) note(&refused, k);
    free_outcome(&o);
    map->entries[i].value = value;
}

/* The NTH value that fits the kinds of K, simple ones first; NULL when there are no more. */
static struct cf_node *some_value(struct compose_project *c, const struct cf_key *k, unsigned nth) {
    static const char *const texts[] = {"ab", "/ab", "7", "5s", "5m", "a:b", "true"};
    if (nth >= array_len(texts)) return NULL;
    unsigned kinds = k->type->kinds;
    if (kinds & 1U << CF_STR) return cf_new_str(c, k->words ? k->words[0] : texts[nth], NULL);
    if (kinds & 1U << CF_INT) return cf_new_int(c, 7, NULL);
    if (kinds & 1U << CF_BOOL) return cf_new_bool(c, true, NULL);
    struct cf_node *v = cf_new(c, kinds & 1U << CF_SEQ ? CF_SEQ : CF_MAP, NULL);
    if (v->kind == CF_SEQ) cf_push(c, v, some_value(c, k->item, nth));
    if (v->kind == CF_MAP && !k->table) cf_put(c, v, "a", some_value(c, k->value, nth));
    for (size_t i = 0; v->kind == CF_MAP && k->table && i < k->table->n; i++)
        if (i == 0 || k->table->keys[i].flags & CF_NEED)
            cf_put(c, v, k->table->keys[i].name, some_value(c, &k->table->keys[i], nth));
    return v;
}

static void add_refused(struct sample *s, struct cf_node *map, const struct cf_key *k,
                        const char *path) {
    bool is_version = str_eq(k->name, "version");
    const char *kind = is_version ? "obsolete" : k->use == CF_WARNS ? "ignored" : "unsupported";
    struct rows *rows = k->use == CF_WARNS ? &warned : &refused;
    for (unsigned nth = 0; !has(rows, k); nth++) {
        struct cf_node *v = some_value(s->c, k, nth);
        if (!v) return;
        struct outcome o;
        cf_put(s->c, map, k->name, v);
        run_tree(s->c, s->tree, &o);
        if (says(&o, kind, path)) note(rows, k);
        free_outcome(&o);
        cf_del(map, k->name);
    }
}

static void walk(struct sample *s, struct cf_node *n, const struct cf_key *k, const char *path);

static void walk_table(struct sample *s, struct cf_node *n, const struct cf_key *k,
                       const char *path) {
    char below[300];
    for (size_t i = 0; i < k->table->n; i++) {
        const struct cf_key *row = &k->table->keys[i];
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", row->name);
        if ((row->use == CF_REFUSES || row->use == CF_WARNS) && !cf_get(n, row->name))
            add_refused(s, n, row, below);
    }
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_key *row = cf_key_of(k->table, n->entries[i].key);
        if (!row) continue;
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", row->name);
        take_away(s, n, i, row);
        if (row->done && row->use == CF_PARTLY) try_other_word(s, n, i, row, below);
        if (row->use != CF_REFUSES) walk(s, n->entries[i].value, row, below);
    }
}

static void walk(struct sample *s, struct cf_node *n, const struct cf_key *k, const char *path) {
    char below[300];
    if (n->kind == CF_MAP && k->table) {
        walk_table(s, n, k, path);
        return;
    }
    for (uint32_t i = 0; n->kind == CF_MAP && k->value && i < n->n; i++) {
        snprintf(below, sizeof below, "%s.%s", path, n->entries[i].key);
        walk(s, n->entries[i].value, k->value, below);
    }
    for (uint32_t i = 0; n->kind == CF_SEQ && k->item && i < n->n; i++) {
        snprintf(below, sizeof below, "%s[%u]", path, i);
        walk(s, n->items[i], k->item, below);
    }
}

/* Rows on the way to what a refused document is refused for. */
static void note_way(const struct cf_key *k, const struct cf_node *n, const char *way,
                     const char *path) {
    char below[300];
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        const struct cf_key *row = cf_key_below(k, n->entries[i].key);
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", n->entries[i].key);
        if (!row || !str_starts(way, below)) continue;
        if (row->use == CF_PARTLY || row->use == CF_REFUSES) note(&refused, row);
        note_way(row, n->entries[i].value, way, below);
    }
    for (uint32_t i = 0; n->kind == CF_SEQ && k->item && i < n->n; i++) {
        snprintf(below, sizeof below, "%s[%u]", path, i);
        if (str_starts(way, below)) note_way(k->item, n->items[i], way, below);
    }
}

/* ---- the two files ---- */

static struct cf_node *documents(struct compose_project *c, const char *path) {
    static char text[TEXT_MAX];
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    int64_t file = cf_file_of_text(c, path, ".", text, n);
    struct cf_node *list = cf_new(c, CF_SEQ, NULL);
    assert_true(cf_yaml_read(c, (uint32_t) file, list));
    return list;
}

static void show_samples(void) {
    struct compose_project *c = cf_project_new();
    struct cf_node *list = documents(c, KEYS_DIR "/samples.yaml");
    for (uint32_t i = 0; i < list->n; i++) {
        struct sample s = {.c = c, .tree = list->items[i]};
        run_tree(c, s.tree, &s.base);
        compose_print_issues(s.base.project, stderr);
        assert_int_equal(s.base.result, 0);
        walk(&s, s.tree, &cf_root, "");
        free_outcome(&s.base);
    }
    compose_project_free(c);
}

static void show_refused(void) {
    struct compose_project *c = cf_project_new();
    struct cf_node *list = documents(c, KEYS_DIR "/refused.yaml");
    for (uint32_t i = 0; i < list->n; i++) {
        struct outcome o;
        const struct compose_issue *issues;
        run_tree(c, list->items[i], &o);
        assert_true(o.result < 0);
        size_t n = compose_issues(o.project, &issues);
        for (size_t k = 0; k < n; k++)
            if (!issues[k].warning) note_way(&cf_root, list->items[i], issues[k].path, "");
        free_outcome(&o);
    }
    compose_project_free(c);
}

/* ---- every row ---- */

/* Done, and yet the same runs without: it says what is so anyway, or is for people. */
static bool may_change_nothing(const struct cf_key *k) {
    static const char *const names[] = {"mode",        "security_opt", "enable_ipv4",
                                        "enable_ipv6", "build",        "expose"};
    for (size_t i = 0; i < array_len(names); i++)
        if (str_eq(k->name, names[i])) return true;
    return false;
}

static unsigned judge(const struct cf_key *k, const char *path);

static unsigned judge_row(const struct cf_key *k, const char *path) {
    const char *missing = NULL;
    bool does = k->use == CF_DOES || (k->use == CF_PARTLY && !k->done && !may_change_nothing(k));
    if (does && !has(&changed, k)) missing = "taking it out of a sample changes nothing";
    if (k->use == CF_PARTLY && !has(&refused, k)) missing = "no value of it was seen refused";
    if (k->use == CF_REFUSES && !has(&refused, k)) missing = "it was not refused";
    if (k->use == CF_WARNS && !has(&warned, k)) missing = "nothing was said of it";
    if (missing) print_error("%s: %s\n", path, missing);
    return (missing != NULL) +
           (k->use == CF_REFUSES || k->use == CF_WARNS || str_eq(k->name, "build")
                ? 0
                : judge(k, path));
}

static unsigned judge(const struct cf_key *k, const char *path) {
    char below[300];
    unsigned bad = 0;
    for (size_t i = 0; k->table && i < k->table->n; i++) {
        const struct cf_key *row = &k->table->keys[i];
        if (!row->use) continue;
        snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", row->name);
        bad += judge_row(row, below);
    }
    snprintf(below, sizeof below, "%s.*", path);
    if (!k->table && k->value) bad += judge(k->value, below);
    snprintf(below, sizeof below, "%s[]", path);
    if (!k->table && k->item) bad += judge(k->item, below);
    return bad;
}

static void test_every_key_changes_what_runs_or_is_refused(void **state) {
    (void) state;
    show_samples();
    show_refused();
    assert_int_equal(judge(&cf_root, ""), 0);
    print_message("%zu keys change the manifest, %zu are refused, %zu warned of\n", changed.n,
                  refused.n, warned.n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_changes_what_runs_or_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
