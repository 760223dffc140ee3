// SPDX-License-Identifier: Apache-2.0
/* A command written as one string -> words, by the shell's rules for quotes and nothing more. */
#include <string.h>

#include "schema.h"

struct splitter {
    struct compose_project *c;
    const struct cf_node *at;
    struct cf_node *list;
    struct cf_text word;
    bool has_word;     /* also an empty one: "" */
    char quote;        /* ' or ", 0 = none */
    bool back, dollar; /* within `...`, $(...) */
};

static void end_word(struct splitter *s) {
    if (!s->has_word) return;
    const char *w = cf_text_str(s->c, &s->word);
    cf_push(s->c, s->list, cf_new_str(s->c, w, s->at));
    s->word = (struct cf_text){0};
    s->has_word = false;
}

static void keep(struct splitter *s, char ch) {
    cf_text_putc(s->c, &s->word, ch);
    s->has_word = true;
}

static bool grouped(const struct splitter *s) {
    return s->quote || s->back || s->dollar;
}

/* Quotes stay in the text of $(...), vanish elsewhere. False: an ordinary character here. */
static bool take_quote(struct splitter *s, char ch) {
    if (s->dollar || (s->quote && s->quote != ch)) return false;
    if (s->quote) s->has_word = true;
    s->quote = s->quote ? '\0' : ch;
    return true;
}

/* False: the parenthesis may not stand here. */
static bool parenthesis(struct splitter *s, char ch) {
    if (s->quote || s->back) return true;
    if (ch == ')') {
        if (!s->dollar) return false;
        s->dollar = false;
        return true;
    }
    if (s->dollar || !s->word.len || s->word.s[s->word.len - 1] != '$') return false;
    s->dollar = true;
    return true;
}

const char *cf_split_command(struct compose_project *c, const char *text, const struct cf_node *at,
                             struct cf_node *list) {
    struct splitter s = {.c = c, .at = at, .list = list};
    for (const char *p = text; *p; p++) {
        if (*p == '\\' && s.quote != '\'') {
            if (!*++p) return "a backslash at the end";
            keep(&s, *p);
            continue;
        }
        if (strchr(" \t\r\n", *p)) {
            if (grouped(&s))
                cf_text_putc(c, &s.word, *p);
            else
                end_word(&s);
            continue;
        }
        if ((*p == '"' || *p == '\'') && take_quote(&s, *p)) continue;
        if ((*p == '(' || *p == ')') && !parenthesis(&s, *p)) return "an unmatched parenthesis";
        if (*p == '`' && !s.quote && !s.dollar) s.back = !s.back;
        if (strchr(";&|<>", *p) && !grouped(&s)) {
            if (*p == '>' && s.word.len && s.word.s[0] >= '0' && s.word.s[0] <= '9')
                s.has_word = false;
            break;
        }
        keep(&s, *p);
    }
    if (grouped(&s)) return "an unclosed quote";
    end_word(&s);
    return NULL;
}

struct cf_node *cf_canon_command(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    if (n->kind == CF_NULL) return NULL;
    if (n->kind == CF_SEQ) return cf_canon_texts(c, n, k);
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    const char *wrong = cf_split_command(c, n->s, n, list);
    if (wrong) cf_issue(c, n, "command", "invalid command line string: %s", wrong);
    return list;
}

struct cf_node *cf_canon_test(struct compose_project *c, const struct cf_node *n,
                              const struct cf_key *k) {
    if (n->kind == CF_SEQ) return cf_canon_texts(c, n, k);
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    cf_push(c, list, cf_new_str(c, "CMD-SHELL", n));
    cf_push(c, list, cf_new_str(c, n->s, n));
    return list;
}
