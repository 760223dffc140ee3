// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "project.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "ps [OPTIONS] [SERVICE...]",
    .summary = "List the containers of an app; of all apps where there is no Compose file.",
    .max = -1,
};

struct ps {
    bool all, quiet, services, no_trunc, json;
    char *app; /* NULL: all */
    char **only;
    int n_only;
};

enum { COMMAND_SHOWN = 24 };

static void add_row(const struct ps *ps, struct table_out *table, const Orlop__TaskInfo *t) {
    struct buf status, ports;
    buf_init(&status, 64 << 10);
    buf_init(&ports, 64 << 10);
    render_status(t, &status);
    render_ports(t, &ports);
    bool cut = !ps->no_trunc && strlen(t->command) > COMMAND_SHOWN;
    const char *quote = str_empty(t->command) ? "" : "\""; /* none: the image's own */
    table_cell(table, "%s", t->name);
    table_cell(table, "%s", t->image);
    table_cell(table, "%s%.*s%s%s", quote, cut ? COMMAND_SHOWN : (int) strlen(t->command),
               t->command, cut ? "..." : "", quote);
    table_cell(table, "%s", t->service);
    table_cell(table, "%s", buf_str(&status));
    table_cell(table, "%s", buf_str(&ports));
    buf_fini(&status);
    buf_fini(&ports);
}

static void print_services(const Orlop__TaskListAnswer *a) {
    struct strv seen = {0};
    for (size_t i = 0; i < a->n_tasks; i++) {
        const Orlop__TaskInfo *t = a->tasks[i];
        if (strv_has(&seen, t->service)) continue;
        ensure(strv_add(&seen, t->service) == 0);
        puts(t->service);
    }
    strv_fini(&seen);
}

static int print_json(const Orlop__TaskListAnswer *a) {
    json_t *list = need(json_array());
    for (size_t i = 0; i < a->n_tasks; i++)
        ensure(json_array_append_new(list, render_task(a->tasks[i])) == 0);
    return render_json(list);
}

static void print_table(const struct ps *ps, const Orlop__TaskListAnswer *a) {
    static const char *const head[] = {"NAME", "IMAGE", "COMMAND", "SERVICE", "STATUS", "PORTS"};
    struct table_out table;
    table_begin(&table, head, array_len(head));
    for (size_t i = 0; i < a->n_tasks; i++) add_row(ps, &table, a->tasks[i]);
    table_print(&table);
}

static int print(const struct ps *ps, const Orlop__TaskListAnswer *a) {
    if (ps->json) return print_json(a);
    if (ps->services)
        print_services(a);
    else if (!ps->quiet)
        print_table(ps, a);
    else
        for (size_t i = 0; i < a->n_tasks; i++) puts(a->tasks[i]->task);
    return EXIT_OK;
}

static int list(struct cli *cli, struct ps *ps) {
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__TaskListRequest q = ORLOP__TASK_LIST_REQUEST__INIT;
    if (ps->app) q.app = ps->app;
    q.services = ps->only;
    q.n_services = (size_t) ps->n_only;
    q.all = ps->all;
    void *answer;
    int r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__TASK_LIST, &q.base, &orlop__task_list_answer__descriptor,
                        &a, &answer);
    if (!r) r = print(ps, answer);
    arena_fini(&a);
    client_close(c);
    return r;
}

int cmd_ps(struct cli *cli, int argc, char **argv) {
    struct ps ps = {0};
    const char *format = NULL;
    struct args args;
    const struct opt opts[] = {
        {'a', "all", NULL, OPT_FLAG, &ps.all, "those that ended too"},
        {'q', "quiet", NULL, OPT_FLAG, &ps.quiet, "only the ids"},
        {0, "services", NULL, OPT_FLAG, &ps.services, "only the names of services"},
        {0, "no-trunc", NULL, OPT_FLAG, &ps.no_trunc, "whole commands"},
        {0, "format", "table|json", OPT_TEXT, &format, "how to print"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    ps.only = args.operands;
    ps.n_only = args.n;
    r = args_format(&usage, format, &ps.json);
    if (!r) r = project_app(cli, true, &ps.app);
    if (!r) r = list(cli, &ps);
    mem_free(ps.app);
    mem_free(args.operands);
    return r;
}
