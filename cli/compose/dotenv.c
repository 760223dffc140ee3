// SPDX-License-Identifier: Apache-2.0
/* Env files: KEY=VALUE lines with quotes, escapes and ${...}. */
#include <ctype.h>
#include <string.h>

#include "cf.h"

struct dotenv {
    struct compose_project *c;
    uint32_t file;
    uint32_t line;
    const struct cf_env *env; /* the environment, then the keys so far */
    struct cf_node *vars;
    const char *p, *end;
};

static bool bad(struct dotenv *d, const char *text) {
    cf_issue_at(d->c, d->file, d->line, 1, "env-file", text);
    return false;
}

/* What is white within a line; UTF-8 is taken byte by byte, so U+0085 and U+00A0 are not. */
static bool blank(char ch) {
    return ch == ' ' || ch == '\t' || ch == '\v' || ch == '\f' || ch == '\r';
}

static void skip_blank(struct dotenv *d) {
    while (d->p < d->end && blank(*d->p)) d->p++;
}

/* To the next statement; false at the end. */
static bool statement(struct dotenv *d) {
    for (; d->p < d->end; d->p++) {
        if (*d->p == '\n') {
            d->line++;
        } else if (*d->p == '#') {
            const char *nl = memchr(d->p, '\n', (size_t) (d->end - d->p));
            d->p = nl ? nl - 1 : d->end - 1;
        } else if (!blank(*d->p)) {
            return true;
        }
    }
    return false;
}

static bool key_char(char ch) {
    return isalnum((unsigned char) ch) || strchr("_.-[]", ch) || (unsigned char) ch >= 0x80;
}

/* *ret_bare: no value follows, the line ended. */
static const char *key(struct dotenv *d, bool *ret_bare) {
    if (d->end - d->p > 6 && memcmp(d->p, "export", 6) == 0 && blank(d->p[6])) {
        d->p += 6;
        skip_blank(d);
    }
    const char *start = d->p, *p = d->p;
    while (p < d->end && *p != '=' && *p != ':' && *p != '\n') {
        if (!blank(*p) && (!*p || !key_char(*p))) {
            bad(d, cf_printf(d->c, "unexpected character \"%c\" in a variable name",
                             isprint((unsigned char) *p) ? *p : '?'));
            return NULL;
        }
        p++;
    }
    *ret_bare = p == d->end || *p == '\n';
    d->p = p < d->end && *p != '\n' ? p + 1 : p;
    while (p > start && blank(p[-1])) p--;
    if (memchr(start, ' ', (size_t) (p - start))) {
        bad(d, "a variable name cannot contain a space");
        return NULL;
    }
    return cf_strndup(d->c, start, (size_t) (p - start));
}

static const char *expanded(struct dotenv *d, const char *s) {
    struct cf_node at = {.file = d->file, .line = d->line, .column = 1};
    return cf_interpolate(d->c, s, d->env, &at);
}

static const char *line_end(const struct dotenv *d) {
    const char *nl = memchr(d->p, '\n', (size_t) (d->end - d->p));
    return nl ? nl : d->end;
}

static const char *unquoted(struct dotenv *d) {
    const char *end = line_end(d), *stop = end;
    for (const char *p = d->p; p + 1 < end; p++)
        if (p[0] == ' ' && p[1] == '#') {
            stop = p;
            break;
        }
    while (stop > d->p && (blank(stop[-1]))) stop--;
    const char *s = cf_strndup(d->c, d->p, (size_t) (stop - d->p));
    d->p = end;
    return expanded(d, s);
}

static const char *raw(struct dotenv *d) {
    const char *end = line_end(d), *stop = end;
    if (stop > d->p && stop[-1] == '\r') stop--;
    const char *s = cf_strndup(d->c, d->p, (size_t) (stop - d->p));
    d->p = end;
    return s;
}

/* \0 and up to three octal digits. Returns how many bytes of S it took. */
static size_t octal(struct dotenv *d, const char *s, struct cf_text *out) {
    unsigned v = 0;
    size_t i = 1;
    while (i < 4 && s[i] >= '0' && s[i] <= '7') v = v * 8 + (unsigned) (s[i++] - '0');
    if (v >= 0x80) {
        cf_text_putc(d->c, out, (char) (0xC0 | v >> 6));
        cf_text_putc(d->c, out, (char) (0x80 | (v & 0x3F)));
    } else if (v) {
        cf_text_putc(d->c, out, (char) v);
    }
    return i;
}

/* The escapes of a double-quoted value; "\$" becomes "$$", which the expansion then makes a "$". */
static const char *unescape(struct dotenv *d, const char *s) {
    static const char from[] = "abfnrtv\"\\", to[] = "\a\b\f\n\r\t\v\"\\";
    struct cf_text out = {0};
    while (*s) {
        const char *known = *s == '\\' && s[1] ? strchr(from, s[1]) : NULL;
        if (known) {
            cf_text_putc(d->c, &out, to[known - from]);
            s += 2;
        } else if (*s == '\\' && s[1] == '$') {
            cf_text_add(d->c, &out, "$$", 2);
            s += 2;
        } else if (*s == '\\' && s[1] == '0') {
            s += 1 + octal(d, s + 1, &out);
        } else {
            cf_text_putc(d->c, &out, *s++);
        }
    }
    return cf_text_str(d->c, &out);
}

/* A backslash stays before all but the quote, for unescape() to see. */
static const char *quoted(struct dotenv *d, char quote) {
    struct cf_text t = {0};
    uint32_t line = d->line;
    for (const char *p = d->p + 1; p < d->end; p++) {
        if (*p == '\n') d->line++;
        if (*p == quote) {
            d->p = p + 1;
            const char *s = cf_text_str(d->c, &t);
            return quote == '"' ? expanded(d, unescape(d, s)) : s;
        }
        if (*p == '\\' && p + 1 < d->end) {
            p++;
            if (*p != quote) cf_text_putc(d->c, &t, '\\');
            if (*p == '\n') d->line++;
        }
        cf_text_putc(d->c, &t, *p);
    }
    d->line = line;
    bad(d, "unterminated quoted value");
    return NULL;
}

static const char *value(struct dotenv *d, bool is_raw) {
    if (is_raw) return raw(d);
    skip_blank(d);
    if (d->p < d->end && (*d->p == '"' || *d->p == '\'')) return quoted(d, *d->p);
    return unquoted(d);
}

static bool entry(struct dotenv *d, bool is_raw) {
    bool bare = false;
    struct cf_node at = {.file = d->file, .line = d->line, .column = 1};
    const char *k = key(d, &bare);
    if (!k) return false;
    const char *v = bare ? cf_env_get(d->env, k) : value(d, is_raw);
    if (!v) return bare;
    cf_put(d->c, d->vars, k, cf_new_str(d->c, v, &at));
    return true;
}

bool cf_dotenv(struct compose_project *c, uint32_t file, const struct cf_env *env, bool is_raw,
               struct cf_node *vars) {
    const struct cf_file *f = cf_file(c, file);
    struct dotenv d = {c, file, 1, cf_env_append(c, env, vars), vars, f->text, f->text + f->len};
    if (memchr(f->text, '\0', f->len)) return bad(&d, "a NUL byte");
    if (f->len >= 3 && memcmp(f->text, "\xEF\xBB\xBF", 3) == 0) d.p += 3;
    while (statement(&d))
        if (!entry(&d, is_raw)) return false;
    return true;
}
