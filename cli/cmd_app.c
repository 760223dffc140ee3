// SPDX-License-Identifier: Apache-2.0
#include "args.h"
#include "client.h"
#include "list.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {.line = "app ls [OPTIONS]", .summary = "List the apps."};

static void print_table(const void *answer) {
    const Orlop__AppListAnswer *a = answer;
    static const char *const head[] = {"NAME", "STATE", "SERVICES", "TASKS", "REVISION", "UPDATED"};
    struct table_out t;
    char age[RENDER_AGE_MAX];
    table_begin(&t, head, array_len(head));
    for (size_t i = 0; i < a->n_apps; i++) {
        const Orlop__AppSummary *s = a->apps[i];
        table_cell(&t, "%s", s->name);
        table_cell(&t, "%s", s->state);
        table_cell(&t, "%u", s->services);
        table_cell(&t, "%u/%u", s->tasks_running, s->tasks_wanted);
        table_cell(&t, "%llu", (unsigned long long) s->revision);
        table_cell(&t, "%s", render_age(s->updated_unix_ms, age));
    }
    table_print(&t);
}

static int app_ls(struct cli *cli, int argc, char **argv) {
    Orlop__AppListRequest q = ORLOP__APP_LIST_REQUEST__INIT;
    const struct list_verb verb = {
        .usage = &ls_usage,
        .method = ORLOP__METHOD__APP_LIST,
        .request = &q.base,
        .answer = &orlop__app_list_answer__descriptor,
        .table = print_table,
    };
    return list_run(cli, &verb, argc, argv);
}

static const struct verb verbs[] = {{"ls", "list the apps", app_ls}, {0}};

int cmd_app(struct cli *cli, int argc, char **argv) {
    return cli_group(cli, argc, argv, verbs);
}
