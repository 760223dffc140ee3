// SPDX-License-Identifier: Apache-2.0
/* libyaml's events -> a tree that knows where everything stands.
 *
 * While a document is read, an alias shares what it stands for; at its end everything is copied
 * once, so that later steps may change a node without thinking. Each node knows how many it would
 * be when copied (cf_node.size), so a billion laughs is refused before anything is copied. Syntax
 * errors end the file, everything else (repeated keys, keys that are no strings) is reported and
 * read on.
 */
#include <string.h>

#include "cf.h"

struct frame {
    struct cf_node *node; /* the collection */
    const char *key;      /* mapping: set when the next node is its value */
    uint32_t key_line, key_column;
    struct cf_node *merges; /* mapping: what stands under <<, a list */
    bool merging;           /* mapping: the key is << */
    bool skip;              /* mapping: the key was refused */
};

struct reader {
    struct compose_project *c;
    uint32_t file;
    struct frame *stack;
    size_t depth, room;
    struct cf_node *anchors; /* name -> node, of this document */
    struct cf_node *root;
    uint32_t nodes;
    bool shared; /* an alias was met */
    bool failed; /* no use to read on */
};

static void complain(struct reader *r, const yaml_mark_t *m, const char *kind, const char *text) {
    cf_issue_at(r->c, r->file, (uint32_t) m->line + 1, (uint32_t) m->column + 1, kind, text);
}

static void give_up(struct reader *r, const yaml_mark_t *m, const char *kind, const char *text) {
    complain(r, m, kind, text);
    r->failed = true;
}

static struct cf_node *make(struct reader *r, enum cf_kind kind, const yaml_mark_t *m) {
    struct cf_node *n = cf_new(r->c, kind, NULL);
    n->file = r->file;
    n->line = (uint32_t) m->line + 1;
    n->column = (uint32_t) m->column + 1;
    n->size = n->height = 1;
    if (++r->nodes > CF_NODES)
        give_up(r, m, "yaml-alias-limit",
                "the document has more than 1000000 nodes, aliases expanded");
    return n;
}

static void anchor(struct reader *r, const yaml_char_t *name, struct cf_node *n) {
    if (name) cf_put(r->c, r->anchors, cf_strdup(r->c, (const char *) name), n);
}

/* ---- tags ---- */

static void apply_tag(struct reader *r, struct cf_node *n, const yaml_char_t *tag,
                      const yaml_mark_t *m) {
    if (!tag) return;
    const char *t = (const char *) tag;
    if (str_eq(t, "!reset"))
        n->tag = CF_TAG_RESET;
    else if (str_eq(t, "!override"))
        n->tag = CF_TAG_OVERRIDE;
    else if (!str_starts(t, "tag:yaml.org,2002:") && !str_eq(t, "!"))
        complain(r, m, "yaml-tag", cf_printf(r->c, "unknown tag %.100s", t));
}

/* ---- putting a finished or opened node where it belongs ---- */

static void attach_value(struct reader *r, struct frame *f, struct cf_node *n) {
    bool merge = f->merging && !f->skip;
    if (!merge) {
        n->line = f->key_line;
        n->column = f->key_column;
    }
    if (f->skip) {
        f->skip = false;
    } else if (merge) {
        f->merges = n;
    } else {
        cf_put(r->c, f->node, f->key, n);
    }
    f->key = NULL;
}

static void attach(struct reader *r, struct cf_node *n) {
    if (!r->depth) {
        r->root = n;
        return;
    }
    struct frame *f = &r->stack[r->depth - 1];
    if (f->node->kind == CF_SEQ)
        cf_push(r->c, f->node, n);
    else
        attach_value(r, f, n);
}

static void grow(struct reader *r, const struct cf_node *n) {
    if (!r->depth) return;
    struct cf_node *parent = r->stack[r->depth - 1].node;
    parent->size += n->size;
    if (parent->height <= n->height) parent->height = n->height + 1;
}

/* ---- keys ---- */

static void take_key(struct reader *r, struct frame *f, const struct cf_node *k, bool plain,
                     const yaml_mark_t *m) {
    f->key_line = (uint32_t) m->line + 1;
    f->key_column = (uint32_t) m->column + 1;
    f->skip = f->merging = false;
    if (k->kind != CF_STR) {
        const char *text = cf_scalar_text(r->c, k);
        complain(r, m, "yaml-key",
                 cf_printf(r->c, "non-string key: %.100s (quote it)", text ? text : "null"));
        f->key = "";
        f->skip = true;
        return;
    }
    f->key = k->s;
    f->merging = plain && str_eq(k->s, "<<");
    const struct cf_node *before = f->merging ? f->merges : cf_get(f->node, k->s);
    if (!before) return;
    complain(
        r, m, "yaml-duplicate-key",
        cf_printf(r->c, "mapping key \"%.100s\" already defined at line %u", k->s, before->line));
    f->skip = true;
}

static bool wants_key(const struct reader *r) {
    return r->depth && r->stack[r->depth - 1].node->kind == CF_MAP && !r->stack[r->depth - 1].key;
}

/* ---- events ---- */

static void on_scalar(struct reader *r, const yaml_event_t *e) {
    const char *s = (const char *) e->data.scalar.value;
    size_t len = e->data.scalar.length;
    struct cf_node *n = make(r, CF_STR, &e->start_mark);
    n->s = cf_strndup(r->c, s, len);
    if (memchr(s, '\0', len))
        complain(r, &e->start_mark, "yaml-encoding", "a NUL character is not allowed in a string");
    const char *tag = (const char *) e->data.scalar.tag;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && !(tag && (str_eq(tag, YAML_STR_TAG) || str_eq(tag, "!"))))
        cf_resolve_plain(r->c, n, n->s);
    apply_tag(r, n, e->data.scalar.tag, &e->start_mark);
    anchor(r, e->data.scalar.anchor, n);
    grow(r, n);
    if (wants_key(r))
        take_key(r, &r->stack[r->depth - 1], n, plain, &e->start_mark);
    else
        attach(r, n);
}

static void too_deep(struct reader *r, const yaml_mark_t *m) {
    give_up(r, m, "yaml-depth", cf_printf(r->c, "nested deeper than %d (depth limit)", CF_DEPTH));
}

static void on_alias(struct reader *r, const yaml_event_t *e) {
    const char *name = (const char *) e->data.alias.anchor;
    const struct cf_node *target = cf_get(r->anchors, name);
    if (!target) {
        give_up(r, &e->start_mark, "yaml-alias",
                cf_printf(r->c, "undefined alias \"%.100s\"", name));
        return;
    }
    if (target->open) {
        give_up(r, &e->start_mark, "yaml-alias",
                cf_printf(r->c, "anchor \"%.100s\" contains itself", name));
        return;
    }
    if (wants_key(r)) {
        take_key(r, &r->stack[r->depth - 1], target, false, &e->start_mark);
        return;
    }
    if (target->size > CF_NODES - r->nodes) {
        give_up(r, &e->start_mark, "yaml-alias-limit",
                "the document has more than 1000000 nodes with its aliases expanded");
        return;
    }
    if (target->height - 1 > CF_DEPTH - r->depth) {
        too_deep(r, &e->start_mark);
        return;
    }
    r->nodes += target->size;
    r->shared = true;
    struct cf_node *n = cf_alloc(r->c, sizeof *n);
    *n = *target;
    n->line = (uint32_t) e->start_mark.line + 1;
    n->column = (uint32_t) e->start_mark.column + 1;
    grow(r, n);
    attach(r, n);
}

/* Few documents are deep: the stack grows with them. */
static void more_room(struct reader *r) {
    size_t room = r->room ? r->room * 2 : 16;
    struct frame *stack = cf_alloc(r->c, room * sizeof *stack);
    if (r->depth) memcpy(stack, r->stack, r->depth * sizeof *stack);
    r->stack = stack;
    r->room = room;
}

static void on_start(struct reader *r, const yaml_event_t *e, enum cf_kind kind,
                     const yaml_char_t *name, const yaml_char_t *tag) {
    if (r->depth == CF_DEPTH) {
        too_deep(r, &e->start_mark);
        return;
    }
    if (wants_key(r)) {
        give_up(r, &e->start_mark, "yaml-key", "a key must be a string, not a list or a mapping");
        return;
    }
    struct cf_node *n = make(r, kind, &e->start_mark);
    n->open = true;
    apply_tag(r, n, tag, &e->start_mark);
    anchor(r, name, n);
    if (r->depth == r->room) more_room(r);
    r->stack[r->depth++] = (struct frame){.node = n};
}

/* Keys of the mapping itself win, then the earlier of the merged ones. */
static void merge_one(struct reader *r, struct cf_node *map, struct cf_node *from) {
    for (uint32_t i = 0; i < from->n; i++)
        if (!cf_get(map, from->entries[i].key))
            cf_put(r->c, map, from->entries[i].key, from->entries[i].value);
}

static void merge(struct reader *r, struct frame *f) {
    struct cf_node *m = f->merges;
    bool good = m->kind == CF_MAP || m->kind == CF_SEQ;
    if (m->kind == CF_MAP) merge_one(r, f->node, m);
    for (uint32_t i = 0; m->kind == CF_SEQ && i < m->n; i++) {
        if (m->items[i]->kind == CF_MAP)
            merge_one(r, f->node, m->items[i]);
        else
            good = false;
    }
    if (!good)
        cf_issue_at(r->c, r->file, m->line, m->column, "yaml-merge",
                    "the merge key << takes a mapping or a list of mappings");
}

static void on_end(struct reader *r) {
    struct frame f = r->stack[--r->depth];
    f.node->open = false;
    if (f.merges) merge(r, &f);
    grow(r, f.node);
    attach(r, f.node);
}

static void on_event(struct reader *r, const yaml_event_t *e) {
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        on_scalar(r, e);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(r, e);
        break;
    case YAML_SEQUENCE_START_EVENT:
        on_start(r, e, CF_SEQ, e->data.sequence_start.anchor, e->data.sequence_start.tag);
        break;
    case YAML_MAPPING_START_EVENT:
        on_start(r, e, CF_MAP, e->data.mapping_start.anchor, e->data.mapping_start.tag);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(r);
        break;
    case YAML_DOCUMENT_START_EVENT:
        r->root = NULL;
        r->nodes = 0;
        r->shared = false;
        r->anchors = cf_new(r->c, CF_MAP, NULL);
        break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
}

/* ---- the parser's own errors ---- */

static size_t bom_length(const struct cf_file *f) {
    return f->len >= 3 && memcmp(f->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

/* libyaml gives a byte offset here, not a mark. */
static void reader_error(struct reader *r, const struct cf_file *f, const yaml_parser_t *p) {
    uint32_t line = 1, column = 1;
    size_t stop = p->problem_offset + bom_length(f);
    if (stop > f->len) stop = f->len;
    /* A trailing byte is the fault of the character that began before it. */
    if (strstr(p->problem, "trailing"))
        for (int back = 0; back < 3 && stop && (unsigned char) f->text[stop] < 0xC0; back++) stop--;
    for (size_t i = 0; i < stop; i++) {
        column++;
        if (f->text[i] == '\n') line++, column = 1;
    }
    cf_issue_at(r->c, r->file, line, column, "yaml-encoding",
                cf_printf(r->c, "%s (the file must be UTF-8)", p->problem));
}

static void syntax_error(struct reader *r, const struct cf_file *f) {
    const yaml_parser_t *p = &r->c->parser;
    if (p->error == YAML_MEMORY_ERROR) cf_no_memory(r->c);
    if (p->error == YAML_READER_ERROR) {
        reader_error(r, f, p);
        return;
    }
    const char *problem = p->problem ? p->problem : "syntax error";
    char *text = p->context ? cf_printf(r->c, "%s (%s at line %zu)", problem, p->context,
                                        p->context_mark.line + 1)
                            : cf_strdup(r->c, problem);
    complain(r, &p->problem_mark, "yaml-syntax", text);
}

static void read_events(struct reader *r, const struct cf_file *f, struct cf_node *seq) {
    for (bool done = false; !done && !r->failed;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->c->parser, &e)) {
            syntax_error(r, f);
            r->failed = true;
            return;
        }
        r->c->event = e;
        r->c->event_live = true;
        on_event(r, &r->c->event);
        done = e.type == YAML_STREAM_END_EVENT;
        bool document = e.type == YAML_DOCUMENT_END_EVENT;
        yaml_event_delete(&r->c->event);
        r->c->event_live = false;
        if (document && r->root && !r->failed)
            cf_push(r->c, seq, r->shared ? cf_copy(r->c, r->root) : r->root);
    }
}

bool cf_yaml_read(struct compose_project *c, uint32_t file, struct cf_node *seq) {
    const struct cf_file *f = cf_file(c, file);
    struct reader *r = cf_alloc(c, sizeof *r);
    r->c = c;
    r->file = file;
    if (!yaml_parser_initialize(&c->parser)) cf_no_memory(c);
    c->parsing = true;
    yaml_parser_set_encoding(&c->parser, YAML_UTF8_ENCODING);
    size_t bom = bom_length(f);
    yaml_parser_set_input_string(&c->parser, (const unsigned char *) f->text + bom, f->len - bom);
    read_events(r, f, seq);
    yaml_parser_delete(&c->parser);
    c->parsing = false;
    return !r->failed;
}
