// SPDX-License-Identifier: Apache-2.0
#include "args.h"
#include "client.h"
#include "project.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {
    .line = "task ls [OPTIONS]",
    .summary =
        "List the tasks of all apps (of one with -p), each with the node that it is placed on."};
static const struct usage inspect_usage = {
    .line = "task inspect TASK",
    .summary = "Show everything about a task, as JSON. TASK is an id or a name like shop-api-1.",
    .min = 1,
    .max = 1};

static void print_table(const Orlop__TaskListAnswer *a) {
    static const char *const head[] = {"TASK", "NAME", "NODE", "REVISION", "STATUS", "IMAGE"};
    struct table_out t;
    table_begin(&t, head, array_len(head));
    for (size_t i = 0; i < a->n_tasks; i++) {
        const Orlop__TaskInfo *info = a->tasks[i];
        struct buf status;
        buf_init(&status, 64 << 10);
        render_status(info, &status);
        table_cell(&t, "%s", info->task);
        table_cell(&t, "%s", info->name);
        table_cell(&t, "%s", info->node);
        table_cell(&t, "%llu", (unsigned long long) info->revision);
        table_cell(&t, "%s", buf_str(&status));
        table_cell(&t, "%s", info->image);
        buf_fini(&status);
    }
    table_print(&t);
}

static int print_json(const Orlop__TaskListAnswer *a) {
    json_t *list = need(json_array());
    for (size_t i = 0; i < a->n_tasks; i++)
        ensure(json_array_append_new(list, render_task(a->tasks[i])) == 0);
    return render_json(list);
}

static int task_ls(struct cli *cli, int argc, char **argv) {
    const char *format = NULL;
    bool json, all = false;
    struct args args;
    const struct opt opts[] = {{'a', "all", NULL, OPT_FLAG, &all, "those that ended too"},
                               {0, "format", "table|json", OPT_TEXT, &format, "how to print"},
                               {0}};
    int r = args_parse(cli, &ls_usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    r = args_format(&ls_usage, format, &json);
    if (r) return r;
    auto_free char *app = NULL;
    bool one = cli->project.name || cli->project.files.n;
    r = one ? project_app(cli, false, &app) : 0;
    if (r) return r;
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__TaskListRequest q = ORLOP__TASK_LIST_REQUEST__INIT;
    if (app) q.app = app;
    q.all = all;
    void *answer;
    r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__TASK_LIST, &q.base, &orlop__task_list_answer__descriptor,
                        &a, &answer);
    if (!r && json)
        r = print_json(answer);
    else if (!r)
        print_table(answer);
    arena_fini(&a);
    client_close(c);
    return r;
}

static int task_inspect(struct cli *cli, int argc, char **argv) {
    struct args args;
    int r = args_parse(cli, &inspect_usage, NULL, false, argc, argv, &args);
    if (r) return args_exit(r);
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__TaskInspectRequest q = ORLOP__TASK_INSPECT_REQUEST__INIT;
    q.task = args.operands[0];
    void *answer;
    r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__TASK_INSPECT, &q.base,
                        &orlop__task_inspect_answer__descriptor, &a, &answer);
    if (!r) r = render_json(render_json_of(answer));
    arena_fini(&a);
    client_close(c);
    mem_free(args.operands);
    return r;
}

static const struct verb verbs[] = {{"ls", "list the tasks", task_ls},
                                    {"inspect", "show everything about a task", task_inspect},
                                    {0}};

int cmd_task(struct cli *cli, int argc, char **argv) {
    return cli_group(cli, argc, argv, verbs);
}
