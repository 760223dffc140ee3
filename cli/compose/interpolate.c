// SPDX-License-Identifier: Apache-2.0
/* $NAME, ${NAME}, ${NAME:-word} and their relatives. One pass: what a variable holds is not looked
 * at again. */
#include <ctype.h>
#include <string.h>

#include "cf.h"

enum { WORDS = 64 }; /* ${A:-${B:-...}} deep */

struct interp {
    struct compose_project *c;
    const struct cf_env *env;
    const struct cf_node *at;
    unsigned depth;
    bool note; /* only note which names are asked for: c->variables */
};

static bool expand(struct interp *x, const char *s, size_t n, struct cf_text *out);

const char *cf_env_get(const struct cf_env *env, const char *name) {
    for (; env; env = env->next) {
        const char *v = cf_get_str(env->vars, name);
        if (v) return v;
    }
    return NULL;
}

const struct cf_env *cf_env_append(struct compose_project *c, const struct cf_env *env,
                                   const struct cf_node *vars) {
    struct cf_env *e = cf_alloc(c, sizeof *e);
    e->vars = env ? env->vars : vars;
    e->next = env ? cf_env_append(c, env->next, vars) : NULL;
    return e;
}

static size_t name_length(const char *s, size_t n) {
    size_t i = 0;
    if (!n || !(isalpha((unsigned char) *s) || *s == '_')) return 0;
    while (i < n && (isalnum((unsigned char) s[i]) || s[i] == '_')) i++;
    return i;
}

static bool invalid(struct interp *x, const char *s, size_t n) {
    cf_issue(x->c, x->at, "interpolation-invalid",
             "invalid interpolation format: \"%.*s\"; write $$ for a $ of its own",
             (int) (n < 60 ? n : 60), s);
    return false;
}

/* S starts behind "${": where its brace closes, or N. */
static size_t closing(const char *s, size_t n) {
    size_t depth = 1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '{') depth++;
        if (s[i] == '}' && --depth == 0) return i;
    }
    return n;
}

static bool word(struct interp *x, const char *s, size_t n, const char **ret) {
    struct cf_text t = {0};
    if (x->depth == WORDS) return invalid(x, s, n);
    x->depth++;
    bool good = expand(x, s, n, &t);
    x->depth--;
    if (good) *ret = cf_text_str(x->c, &t);
    return good;
}

/* WORD, LEN bytes, stands behind the operator OP. */
static void note(struct interp *x, const char *name, char op, const char *word, size_t len) {
    struct compose_project *c = x->c;
    struct cf_node *v = cf_get(c->variables, name);
    if (!v) cf_put(c, c->variables, name, v = cf_new(c, CF_MAP, NULL));
    const char *key = op == '-' ? "fallback" : op == '+' ? "alternate" : NULL;
    if (op == '?') cf_put(c, v, "required", cf_new_bool(c, true, NULL));
    if (key && !cf_get(v, key)) cf_put(c, v, key, cf_new_str(c, cf_strndup(c, word, len), NULL));
}

static bool missing(struct interp *x, const char *name, const char *message) {
    cf_issue(x->c, x->at, "interpolation-required", "required variable %s is missing a value%s%s",
             name, *message ? ": " : "", message);
    return false;
}

/* What stands between the braces: S, N bytes. */
static bool braced(struct interp *x, const char *s, size_t n, struct cf_text *out) {
    size_t len = name_length(s, n);
    if (!len) return invalid(x, s - 2, n + 3);
    const char *name = cf_strndup(x->c, s, len);
    const char *value = cf_env_get(x->env, name);
    const char *w = "";
    if (len < n) {
        bool empty_is_unset = s[len] == ':';
        size_t at = len + (empty_is_unset ? 1 : 0);
        char op = at < n ? s[at] : '\0';
        if ((op != '-' && op != '+' && op != '?') || memchr(s + at, '\n', n - at))
            return invalid(x, s - 2, n + 3);
        bool set = value && !(empty_is_unset && !*value);
        if (x->note) note(x, name, op, s + at + 1, n - at - 1);
        if (!word(x, s + at + 1, n - at - 1, &w)) return false;
        if (op == '?' && !set && !x->note) return missing(x, name, w);
        if (op == '+' ? set : op == '-' && !set) value = w;
    } else if (x->note) {
        note(x, name, 0, "", 0);
    }
    if (value) cf_text_add(x->c, out, value, strlen(value));
    return true;
}

/* S starts with a $. *ret_used: how much of it was read. */
static bool dollar(struct interp *x, const char *s, size_t n, struct cf_text *out,
                   size_t *ret_used) {
    *ret_used = 1;
    if (n > 1 && s[1] == '$') {
        *ret_used = 2;
    } else if (n > 1 && s[1] == '{') {
        size_t end = closing(s + 2, n - 2);
        if (end == n - 2) return invalid(x, s, n);
        *ret_used = end + 3;
        return braced(x, s + 2, end, out);
    } else {
        size_t len = name_length(s + 1, n - 1);
        if (len) {
            const char *name = cf_strndup(x->c, s + 1, len), *v = cf_env_get(x->env, name);
            if (x->note) note(x, name, 0, "", 0);
            if (v) cf_text_add(x->c, out, v, strlen(v));
            *ret_used = 1 + len;
            return true;
        }
    }
    cf_text_putc(x->c, out, '$');
    return true;
}

static bool expand(struct interp *x, const char *s, size_t n, struct cf_text *out) {
    for (size_t i = 0; i < n;) {
        const char *next = memchr(s + i, '$', n - i);
        size_t plain = next ? (size_t) (next - s) - i : n - i;
        cf_text_add(x->c, out, s + i, plain);
        i += plain;
        size_t used = 0;
        if (next && !dollar(x, next, n - i, out, &used)) return false;
        i += used;
    }
    return true;
}

const char *cf_interpolate(struct compose_project *c, const char *s, const struct cf_env *env,
                           const struct cf_node *at) {
    if (!strchr(s, '$')) return s;
    struct interp x = {.c = c, .env = env, .at = at};
    struct cf_text out = {0};
    return expand(&x, s, strlen(s), &out) ? cf_text_str(c, &out) : NULL;
}

void cf_interpolate_tree(struct compose_project *c, struct cf_node *n, const struct cf_env *env) {
    if (n->kind == CF_STR) {
        const char *s = cf_interpolate(c, n->s, env, n);
        if (s)
            n->s = s;
        else
            n->bad = true;
        return;
    }
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        size_t mark = cf_enter(c, n->entries[i].key);
        cf_interpolate_tree(c, n->entries[i].value, env);
        cf_leave(c, mark);
    }
    for (uint32_t i = 0; n->kind == CF_SEQ && i < n->n; i++) {
        size_t mark = cf_enter_item(c, i);
        cf_interpolate_tree(c, n->items[i], env);
        cf_leave(c, mark);
    }
}

void cf_note_variables(struct compose_project *c, const struct cf_node *n) {
    struct interp x = {.c = c, .at = n, .note = true};
    struct cf_text out = {0};
    if (n->kind == CF_STR) (void) expand(&x, n->s, strlen(n->s), &out); /* issues are counted */
    for (uint32_t i = 0; n->kind == CF_MAP && i < n->n; i++) {
        size_t mark = cf_enter(c, n->entries[i].key);
        cf_note_variables(c, n->entries[i].value);
        cf_leave(c, mark);
    }
    for (uint32_t i = 0; n->kind == CF_SEQ && i < n->n; i++) {
        size_t mark = cf_enter_item(c, i);
        cf_note_variables(c, n->items[i]);
        cf_leave(c, mark);
    }
}
