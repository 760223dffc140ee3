// SPDX-License-Identifier: Apache-2.0
#include "args.h"
#include "client.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {.line = "app ls [OPTIONS]", .summary = "List the apps."};

static void print_table(const Orlop__AppListAnswer *a) {
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
    const char *format = NULL;
    bool json;
    struct args args;
    const struct opt opts[] = {{0, "format", "table|json", OPT_TEXT, &format, "how to print"}, {0}};
    int r = args_parse(cli, &ls_usage, opts, false, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    r = args_format(&ls_usage, format, &json);
    if (r) return r;
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__AppListRequest q = ORLOP__APP_LIST_REQUEST__INIT;
    void *answer;
    r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__APP_LIST, &q.base, &orlop__app_list_answer__descriptor,
                        &a, &answer);
    if (!r) {
        const Orlop__AppListAnswer *list = answer;
        if (json)
            r = render_json(render_json_list(list->n_apps, (ProtobufCMessage *const *) list->apps));
        else
            print_table(list);
    }
    arena_fini(&a);
    client_close(c);
    return r;
}

static const struct verb verbs[] = {{"ls", "list the apps", app_ls}, {0}};

int cmd_app(struct cli *cli, int argc, char **argv) {
    return cli_group(cli, argc, argv, verbs);
}
