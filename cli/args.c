// SPDX-License-Identifier: Apache-2.0
#include "args.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/mem.h"

enum { OPTS_MAX = 48, HELP_COLUMN = 32 };

struct parser {
    const struct usage *usage;
    struct opt opts[OPTS_MAX];
    int n;
    bool help;
    char **argv; /* the rest */
};

int args_wrong(const struct usage *u, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("orlop: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: orlop %s\n", u->line);
    return EXIT_USAGE;
}

int args_format(const struct usage *u, const char *format, bool *ret_json) {
    *ret_json = format && str_eq(format, "json");
    if (*ret_json || !format || str_eq(format, "table")) return 0;
    return args_wrong(u, "--format: '%s' is neither 'table' nor 'json'", format);
}

static void add(struct parser *p, struct opt o) {
    for (int i = 0; i < p->n; i++) /* a verb's own letter wins: logs -f */
        if (o.letter && p->opts[i].letter == o.letter) o.letter = 0;
    ensure(p->n < OPTS_MAX);
    p->opts[p->n++] = o;
}

static void add_common(struct parser *p, struct cli *cli, bool project) {
    struct project_flags *f = &cli->project;
    if (project) {
        add(p, (struct opt){'f', "file", "FILE", OPT_LIST, &f->files,
                            "Compose file; may be given again"});
        add(p, (struct opt){'p', "project-name", "NAME", OPT_TEXT, &f->name, "name of the app"});
        add(p, (struct opt){0, "project-directory", "DIR", OPT_TEXT, &f->directory,
                            "where relative paths start"});
        add(p, (struct opt){0, "profile", "NAME", OPT_LIST, &f->profiles,
                            "enable a profile; may be given again"});
        add(p, (struct opt){0, "env-file", "FILE", OPT_LIST, &f->env_files, "instead of .env"});
    }
    add(p, (struct opt){0, "run-dir", "DIR", OPT_TEXT, &cli->run_dir,
                        "sockets (ORLOP_RUN_DIR; default /run/orlop)"});
    add(p, (struct opt){0, "state-dir", "DIR", OPT_TEXT, &cli->state_dir,
                        "state (ORLOP_STATE_DIR; default /var/lib/orlop)"});
    add(p, (struct opt){'h', "help", NULL, OPT_FLAG, &p->help, "this text"});
}

static void print_opt(const struct opt *o) {
    char left[96];
    char letter[5] = {'-', o->letter, o->name ? ',' : ' ', ' ', 0};
    int n = snprintf(left, sizeof left, "  %s%s%s%s%s", o->letter ? letter : "    ",
                     o->name ? "--" : "", o->name ? o->name : "", o->value ? " " : "",
                     o->value ? o->value : "");
    printf(n < HELP_COLUMN ? "%-*s%s\n" : "%-*s\n                                %s\n", HELP_COLUMN,
           left, o->help);
}

static void print_help(const struct parser *p) {
    printf("usage: orlop %s\n\n%s\n\noptions:\n", p->usage->line, p->usage->summary);
    for (int i = 0; i < p->n; i++)
        if (p->opts[i].help) print_opt(&p->opts[i]);
}

static const struct opt *by_name(const struct parser *p, const char *name, size_t len) {
    for (int i = 0; i < p->n; i++) {
        const char *have = p->opts[i].name;
        if (have && strlen(have) == len && memcmp(have, name, len) == 0) return &p->opts[i];
    }
    return NULL;
}

static const struct opt *by_letter(const struct parser *p, char letter) {
    for (int i = 0; i < p->n; i++)
        if (p->opts[i].letter == letter) return &p->opts[i];
    return NULL;
}

static int set(const struct parser *p, const struct opt *o, const char *shown, const char *value) {
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *) o->to = true;
        return 0;
    case OPT_CLEAR:
        *(bool *) o->to = false;
        return 0;
    case OPT_TEXT:
        *(const char **) o->to = value;
        return 0;
    case OPT_LIST:
        ensure(strv_add(o->to, value) == 0);
        return 0;
    case OPT_NUMBER:
        if (str_to_u32(value, UINT32_MAX, o->to) == 0) return 0;
        return args_wrong(p->usage, "%s: '%s' is not a number", shown, value);
    }
    return EXIT_USAGE;
}

static bool takes_value(const struct opt *o) {
    return o->kind != OPT_FLAG && o->kind != OPT_CLEAR;
}

/* "--name", "--name=value", "--name value". */
static int parse_long(struct parser *p, const char *arg) {
    const char *name = arg + 2, *eq = strchr(name, '=');
    size_t len = eq ? (size_t) (eq - name) : strlen(name);
    const struct opt *o = by_name(p, name, len);
    if (!o) return args_wrong(p->usage, "unknown option '--%.*s'", (int) len, name);
    if (!takes_value(o)) {
        if (eq && !str_eq(eq, "=true"))
            return args_wrong(p->usage, "option '--%s' takes no value", o->name);
        return set(p, o, arg, NULL);
    }
    const char *value = eq ? eq + 1 : *p->argv ? *p->argv++ : NULL;
    if (!value) return args_wrong(p->usage, "option '--%s' needs a value", o->name);
    return set(p, o, arg, value);
}

/* "-it", "-pNAME", "-p NAME". */
static int parse_letters(struct parser *p, const char *arg) {
    for (const char *at = arg + 1; *at; at++) {
        const struct opt *o = by_letter(p, *at);
        if (!o) return args_wrong(p->usage, "unknown option '-%c'", *at);
        if (!takes_value(o)) {
            int r = set(p, o, arg, NULL);
            if (r) return r;
            continue;
        }
        const char *value = at[1] ? at + 1 : *p->argv ? *p->argv++ : NULL;
        if (!value) return args_wrong(p->usage, "option '-%c' needs a value", *at);
        return set(p, o, arg, value);
    }
    return 0;
}

static int parse(struct parser *p, int argc, char **argv, struct args *ret) {
    ret->operands = need(mem_array((size_t) argc + 1, sizeof *ret->operands));
    ret->n = 0;
    p->argv = argv + 1;
    while (*p->argv) {
        char *arg = *p->argv++;
        int r = 0;
        if (str_eq(arg, "--")) break;
        if (arg[0] != '-' || !arg[1]) {
            ret->operands[ret->n++] = arg;
            if (p->usage->stop_at_operand) break;
        } else if (arg[1] == '-') {
            r = parse_long(p, arg);
        } else {
            r = parse_letters(p, arg);
        }
        if (r) return r;
    }
    while (*p->argv) ret->operands[ret->n++] = *p->argv++;
    return 0;
}

static int check_operands(const struct parser *p, const struct args *a) {
    const struct usage *u = p->usage;
    if (a->n < u->min) return args_wrong(u, "an argument is missing");
    if (u->max >= 0 && a->n > u->max)
        return args_wrong(u, "unexpected argument '%s'", a->operands[u->max]);
    return 0;
}

int args_parse(struct cli *cli, const struct usage *u, const struct opt *opts, bool project,
               int argc, char **argv, struct args *ret) {
    struct parser p = {.usage = u};
    for (const struct opt *o = opts; o && o->kind; o++) add(&p, *o);
    add_common(&p, cli, project);
    int r = parse(&p, argc, argv, ret);
    if (!r && p.help) {
        print_help(&p);
        r = ARGS_HELP;
    }
    if (!r) r = check_operands(&p, ret);
    if (!r) return 0;
    mem_free(ret->operands);
    *ret = (struct args){0};
    return r;
}

int args_parse_global(struct cli *cli, int argc, char **argv, struct args *ret) {
    static const struct usage u = {
        .line = "[OPTIONS] VERB ...", .max = -1, .stop_at_operand = true};
    struct parser p = {.usage = &u};
    bool version = false;
    add(&p, (struct opt){'v', "version", NULL, OPT_FLAG, &version, NULL});
    add_common(&p, cli, true);
    int r = parse(&p, argc, argv, ret);
    static char verb[] = "version";
    if (!r && version) { /* there is room: argc + 1 */
        ret->operands[0] = verb;
        ret->operands[1] = NULL;
        ret->n = 1;
    }
    return !r && p.help ? ARGS_HELP : r;
}
