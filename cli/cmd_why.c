// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "project.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "why [OPTIONS] [SERVICE|TASK]",
    .summary =
        "Explain, cause before effect, why a service or task does not run (or that it does).\n"
        "TASK is an id or a name like shop-api-1. Without an argument: the whole app.",
    .max = 1,
};

static int ask(struct client *c, char *app, char *subject, struct arena *a, void **ret,
               struct err *err) {
    Orlop__WhyRequest q = ORLOP__WHY_REQUEST__INIT;
    if (app) q.app = app;
    if (subject) q.subject = subject;
    return client_try(c, ORLOP__METHOD__WHY, &q.base, &orlop__why_answer__descriptor, a, ret, err);
}

/* A service of the app at hand, else a task of whatever app. */
static int explain(struct client *c, char *app, char *subject, struct arena *a, void **ret) {
    struct err err = {0};
    int r = ask(c, app, subject, a, ret, &err);
    if (r == -ENOENT && app && subject && ask(c, NULL, subject, a, ret, NULL) == 0) r = 0;
    return r < 0 ? cli_fail(cli_exit_of(r), "%s", err.text) : 0;
}

int cmd_why(struct cli *cli, int argc, char **argv) {
    const char *format = NULL;
    bool json;
    struct args args;
    const struct opt opts[] = {{0, "format", "table|json", OPT_TEXT, &format, "how to print"}, {0}};
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    char *subject = args.operands[0];
    mem_free(args.operands);
    r = args_format(&usage, format, &json);
    if (r) return r;
    auto_free char *app = NULL;
    r = project_app(cli, subject != NULL, &app);
    if (r) return r;
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    void *answer;
    r = client_open(cli, &c);
    if (!r) r = explain(c, app, subject, &a, &answer);
    if (!r && json) {
        r = render_json(render_json_of(answer));
    } else if (!r) {
        const Orlop__WhyAnswer *why = answer;
        for (size_t i = 0; i < why->n_lines; i++) {
            str_make_printable(why->lines[i], "");
            puts(why->lines[i]);
        }
    }
    arena_fini(&a);
    client_close(c);
    return r;
}
