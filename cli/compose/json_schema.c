// SPDX-License-Identifier: Apache-2.0
/* The schema as JSON Schema (draft 7), for editors: what this version of Orlop accepts. A key that
 * is refused is described with its reason, and only nothing (null, "", [], ...) may stand behind
 * it. Built as one of our own trees, so that the printer of models prints it. */
#include <string.h>

#include "schema.h"

#define NAME_PATTERN "^[a-zA-Z0-9._-]+$"

static struct cf_node *schema_of(struct compose_project *c, const struct cf_key *k);

/* ---- small parts ---- */

static struct cf_node *map(struct compose_project *c) {
    return cf_new(c, CF_MAP, NULL);
}

static void put_text(struct compose_project *c, struct cf_node *m, const char *key, const char *s) {
    cf_put(c, m, key, cf_new_str(c, s, NULL));
}

static struct cf_node *typed(struct compose_project *c, const char *type) {
    struct cf_node *m = map(c);
    put_text(c, m, "type", type);
    return m;
}

static void push_texts(struct compose_project *c, struct cf_node *list, const char *const *words) {
    for (; words && *words; words++) cf_push(c, list, cf_new_str(c, *words, NULL));
}

/* ---- one schema for each kind that a row takes ---- */

/* M: FITS, or a string with a variable, which may become any of it. */
static void or_variable(struct compose_project *c, struct cf_node *m, struct cf_node *fits) {
    struct cf_node *any = cf_new(c, CF_SEQ, NULL), *variable = typed(c, "string");
    put_text(c, variable, "pattern", "\\$");
    cf_push(c, any, fits);
    cf_push(c, any, variable);
    cf_put(c, m, "anyOf", any);
}

static struct cf_node *string_schema(struct compose_project *c, const struct cf_key *k) {
    struct cf_node *m = typed(c, "string"), *fits = map(c);
    const char *const *words = k->use == CF_PARTLY && k->done ? k->done : k->words;
    if (!words && !k->pattern) return m;
    if (words) {
        struct cf_node *list = cf_new(c, CF_SEQ, NULL);
        push_texts(c, list, words);
        if (k->use == CF_PARTLY && k->done) push_texts(c, list, (const char *const[]){"", NULL});
        cf_put(c, fits, "enum", list);
    } else {
        put_text(c, fits, "pattern", k->pattern);
    }
    or_variable(c, m, fits);
    return m;
}

static struct cf_node *number_schema(struct compose_project *c, const struct cf_key *k) {
    struct cf_node *m = typed(c, k->type->kinds & 1U << CF_FLOAT ? "number" : "integer");
    if (!k->min && !k->max) return m;
    cf_put(c, m, "minimum", cf_new_int(c, k->min, NULL));
    cf_put(c, m, "maximum", cf_new_int(c, k->max, NULL));
    return m;
}

static struct cf_node *list_schema(struct compose_project *c, const struct cf_key *k) {
    struct cf_node *m = typed(c, "array");
    if (k->item) cf_put(c, m, "items", schema_of(c, k->item));
    /* Where an identity is, a repeat takes the earlier's place. */
    if (k->flags & CF_UNIQUE && !k->identity)
        cf_put(c, m, "uniqueItems", cf_new_bool(c, true, NULL));
    return m;
}

static struct cf_node *table_schema(struct compose_project *c, const struct cf_table *t) {
    struct cf_node *m = typed(c, "object"), *properties = map(c), *required = NULL;
    for (size_t i = 0; i < t->n; i++) {
        cf_put(c, properties, t->keys[i].name, schema_of(c, &t->keys[i]));
        if (!(t->keys[i].flags & CF_NEED)) continue;
        if (!required) required = cf_new(c, CF_SEQ, NULL);
        cf_push(c, required, cf_new_str(c, t->keys[i].name, NULL));
    }
    cf_put(c, m, "properties", properties);
    cf_put(c, m, "additionalProperties", cf_new_bool(c, false, NULL));
    if (required) cf_put(c, m, "required", required);
    if (t->closed) return m;
    struct cf_node *patterns = map(c);
    cf_put(c, patterns, "^x-", map(c));
    cf_put(c, m, "patternProperties", patterns);
    return m;
}

static struct cf_node *object_schema(struct compose_project *c, const struct cf_key *k) {
    if (k->table) return table_schema(c, k->table);
    struct cf_node *m = typed(c, "object");
    if (k->value) cf_put(c, m, "additionalProperties", schema_of(c, k->value));
    if (!(k->flags & CF_NAMES)) return m;
    struct cf_node *names = map(c);
    put_text(c, names, "pattern", NAME_PATTERN);
    cf_put(c, m, "propertyNames", names);
    return m;
}

/* ---- a row ---- */

static struct cf_node *accepted(struct compose_project *c, const struct cf_key *k) {
    struct cf_node *any = cf_new(c, CF_SEQ, NULL);
    unsigned kinds = k->type->kinds;
    if (kinds & 1U << CF_STR) cf_push(c, any, string_schema(c, k));
    if (kinds & 1U << CF_BOOL) cf_push(c, any, typed(c, "boolean"));
    if (kinds & (1U << CF_INT | 1U << CF_FLOAT)) cf_push(c, any, number_schema(c, k));
    if (kinds & 1U << CF_SEQ) cf_push(c, any, list_schema(c, k));
    if (kinds & 1U << CF_MAP) cf_push(c, any, object_schema(c, k));
    if (kinds & 1U << CF_NULL) cf_push(c, any, typed(c, "null"));
    if (any->n == 1) return any->items[0];
    struct cf_node *m = map(c);
    cf_put(c, m, "anyOf", any);
    return m;
}

/* What says nothing is taken behind a refused key too. */
static struct cf_node *nothing(struct compose_project *c, const struct cf_key *k) {
    struct cf_node *m = map(c), *fits = map(c), *list = cf_new(c, CF_SEQ, NULL);
    const enum cf_kind kinds[] = {CF_NULL, CF_BOOL, CF_INT, CF_STR, CF_MAP, CF_SEQ};
    for (size_t i = 0; i < array_len(kinds); i++) {
        bool keeps = kinds[i] == CF_INT && k->flags & CF_KEEP;
        if (!(k->type->kinds & 1U << kinds[i]) || keeps) continue;
        struct cf_node *v = cf_new(c, kinds[i], NULL);
        if (kinds[i] == CF_STR) v->s = "";
        cf_push(c, list, v);
    }
    cf_put(c, fits, "enum", list);
    or_variable(c, m, fits);
    cf_put(c, m, "doNotSuggest", cf_new_bool(c, true, NULL));
    return m;
}

static void describe(struct compose_project *c, struct cf_node *m, const struct cf_key *k) {
    const char *what = k->use == CF_REFUSES ? "Refused: "
                       : k->use == CF_WARNS ? "Has no effect: "
                                            : "";
    if (k->why) put_text(c, m, "description", cf_printf(c, "%s%s", what, k->why));
    if (k->use == CF_REFUSES && k->why)
        put_text(c, m, "errorMessage", cf_get_str(m, "description"));
    if (k->use == CF_WARNS) cf_put(c, m, "deprecated", cf_new_bool(c, true, NULL));
}

static struct cf_node *schema_of(struct compose_project *c, const struct cf_key *k) {
    struct cf_node *m = k->use == CF_REFUSES ? nothing(c, k) : accepted(c, k);
    describe(c, m, k);
    return m;
}

static void build(struct compose_project *c, void *arg) {
    (void) arg;
    struct cf_node *root = schema_of(c, &cf_root);
    put_text(c, root, "$schema", "http://json-schema.org/draft-07/schema#");
    put_text(c, root, "title", "Compose files as this version of Orlop takes them");
    c->model = root;
}

int compose_print_schema(FILE *out) {
    struct compose_project *c = cf_project_new();
    ensure(c);
    int r = cf_guard(c, build, NULL);
    if (r == 0) r = compose_print_json(c, out);
    compose_project_free(c);
    return r;
}
