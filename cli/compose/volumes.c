// SPDX-License-Identifier: Apache-2.0
/* Mounts: "[SOURCE:]TARGET[:options]" and the long form. */
#include <ctype.h>
#include <string.h>

#include "schema.h"

static bool is_host_path(const char *s) {
    if (*s == '.' || *s == '/' || *s == '~') return true;
    if (s[0] == '\\' && s[1] == '\\') return true;
    return isalpha((unsigned char) s[0]) && s[1] == ':';
}

/* The next section of *s; a colon behind a single letter belongs to a drive. *ret_last: none
 * follows. */
static const char *section(struct compose_project *c, const char **s, bool *ret_last) {
    const char *start = *s, *p = start;
    while (*p && !(*p == ':' && !(p - start == 1 && isalpha((unsigned char) *start)))) p++;
    *ret_last = !*p;
    *s = *p ? p + 1 : p;
    return cf_strndup(c, start, (size_t) (p - start));
}

static struct cf_node *child(struct compose_project *c, struct cf_node *o, const char *name) {
    struct cf_node *m = cf_get(o, name);
    if (m) return m;
    m = cf_new(c, CF_MAP, o);
    m->fixed = true;
    cf_put(c, o, name, m);
    return m;
}

static void option(struct compose_project *c, struct cf_node *o, const char *word,
                   const char **ret_ignored) {
    static const char *const modes[] = {"rprivate", "private", "rshared",
                                        "shared",   "rslave",  "slave"};
    if (str_eq(word, "ro") || str_eq(word, "rw")) {
        cf_put(c, o, "read_only", cf_new_bool(c, str_eq(word, "ro"), o));
        return;
    }
    if (str_eq(word, "nocopy")) {
        cf_put(c, child(c, o, "volume"), "nocopy", cf_new_bool(c, true, o));
        return;
    }
    if (str_eq(word, "z") || str_eq(word, "Z")) {
        cf_put(c, child(c, o, "bind"), "selinux", cf_new_str(c, word, o));
        return;
    }
    for (size_t i = 0; i < array_len(modes); i++)
        if (str_eq(word, modes[i])) {
            cf_put(c, child(c, o, "bind"), "propagation", cf_new_str(c, word, o));
            return;
        }
    *ret_ignored = word;
}

static void options(struct compose_project *c, struct cf_node *o, const char *list,
                    const char **ret_ignored) {
    while (*list) {
        size_t n = strcspn(list, ",");
        option(c, o, cf_strndup(c, list, n), ret_ignored);
        list += n + (list[n] ? 1 : 0);
    }
}

static const char *sections(struct compose_project *c, const char *s, struct cf_node *o,
                            const char **ret_ignored) {
    const char *parts[3];
    size_t n = 0;
    for (bool last = false; !last;) {
        const char *part = section(c, &s, &last);
        if (!*part) return "empty section between colons";
        if (n == 2 && !last) return "too many colons";
        parts[n++] = part;
    }
    if (n > 1) cf_put(c, o, "source", cf_new_str(c, parts[0], o));
    cf_put(c, o, "target", cf_new_str(c, cf_path_clean(c, parts[n > 1 ? 1 : 0]), o));
    if (n > 2) options(c, o, parts[2], ret_ignored);
    return NULL;
}

const char *cf_parse_volume(struct compose_project *c, const char *s, const struct cf_node *at,
                            struct cf_node **ret, const char **ret_ignored) {
    struct cf_node *o = cf_new(c, CF_MAP, at);
    o->fixed = true;
    *ret_ignored = NULL;
    if (!*s) return "empty";
    const char *wrong = NULL;
    if (strlen(s) <= 2)
        cf_put(c, o, "target", cf_new_str(c, cf_path_clean(c, s), at));
    else
        wrong = sections(c, s, o, ret_ignored);
    if (wrong) return wrong;
    const char *source = cf_get_str(o, "source");
    bool bind = source && is_host_path(source);
    cf_put(c, o, "type", cf_new_str(c, bind ? "bind" : "volume", at));
    if (bind) cf_put(c, child(c, o, "bind"), "create_host_path", cf_new_bool(c, true, at));
    *ret = o;
    return NULL;
}

static struct cf_node *short_form(struct compose_project *c, const struct cf_node *n) {
    struct cf_node *o = NULL;
    const char *ignored = NULL, *wrong = cf_parse_volume(c, n->s, n, &o, &ignored);
    if (wrong) {
        cf_issue(c, n, "volume-spec", "invalid spec: %.200s: %s", n->s, wrong);
        return NULL;
    }
    if (ignored)
        cf_warn(c, n, "ignored", "mount option \"%.60s\" means nothing here and is left out",
                ignored);
    if (cf_get(o, "read_only") && !cf_get_bool(o, "read_only")) cf_del(o, "read_only");
    return o;
}

static void clean(struct compose_project *c, struct cf_node *o, const struct cf_node *at) {
    const char *type = cf_get_str(o, "type"), *source = cf_get_str(o, "source");
    const char *target = cf_get_str(o, "target");
    if (target)
        cf_put(c, o, "target", cf_new_str(c, cf_path_clean(c, target), cf_get(o, "target")));
    if (type && source && str_eq(type, "bind")) cf_put(c, o, "source", cf_new_path(c, source, at));
}

struct cf_node *cf_canon_volumes(struct compose_project *c, const struct cf_node *n,
                                 const struct cf_key *k) {
    struct cf_node *list = cf_new(c, CF_SEQ, n);
    for (uint32_t i = 0; i < n->n; i++) {
        const struct cf_node *item = n->items[i];
        size_t mark = cf_enter_item(c, i);
        struct cf_node *o =
            item->kind == CF_MAP ? cf_canon_object(c, item, k->item) : short_form(c, item);
        if (o && !cf_get(o, "target"))
            cf_issue(c, item, "volume-spec", "the mount is missing a target");
        if (o) {
            clean(c, o, item);
            cf_push(c, list, o);
        }
        cf_leave(c, mark);
    }
    return list;
}

const char *cf_id_volume(struct compose_project *c, const struct cf_node *n) {
    struct cf_node *o = NULL;
    const char *ignored;
    if (n->kind == CF_STR && !cf_parse_volume(c, n->s, n, &o, &ignored))
        return cf_get_str(o, "target");
    const char *target = n->kind == CF_MAP ? cf_get_str(n, "target") : NULL;
    return target ? cf_path_clean(c, target) : NULL;
}
