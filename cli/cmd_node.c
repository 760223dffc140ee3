// SPDX-License-Identifier: Apache-2.0
#include "args.h"
#include "client.h"
#include "list.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {.line = "node ls [OPTIONS]", .summary = "List the nodes."};
static const struct usage inspect_usage = {.line = "node inspect NODE",
                                           .summary = "Show everything about a node, as JSON.",
                                           .min = 1,
                                           .max = 1};

static void print_table(const void *answer) {
    const Orlop__NodeListAnswer *a = answer;
    static const char *const head[] = {"NAME",   "STATE",  "TASKS",  "CPU",
                                       "MEMORY", "KERNEL", "VERSION"};
    struct table_out t;
    char used[RENDER_BYTES_MAX], all[RENDER_BYTES_MAX];
    table_begin(&t, head, array_len(head));
    for (size_t i = 0; i < a->n_nodes; i++) {
        const Orlop__NodeInfo *n = a->nodes[i];
        static const Orlop__Inventory none = ORLOP__INVENTORY__INIT;
        const Orlop__Inventory *inv = n->inventory ? n->inventory : &none;
        table_cell(&t, "%s", n->name);
        table_cell(&t, "%s", n->state);
        table_cell(&t, "%u", n->tasks);
        table_cell(&t, "%.1f/%.1f", (double) n->cpu_reserved_millis / 1000,
                   (double) inv->cpu_millis / 1000);
        table_cell(&t, "%s/%s", render_bytes(n->memory_reserved_bytes, used),
                   render_bytes(inv->memory_bytes, all));
        table_cell(&t, "%s", inv->kernel);
        table_cell(&t, "%s", inv->version);
    }
    table_print(&t);
}

static int node_ls(struct cli *cli, int argc, char **argv) {
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    const struct list_verb verb = {
        .usage = &ls_usage,
        .method = ORLOP__METHOD__NODE_LIST,
        .request = &q.base,
        .answer = &orlop__node_list_answer__descriptor,
        .table = print_table,
    };
    return list_run(cli, &verb, argc, argv);
}

static int node_inspect(struct cli *cli, int argc, char **argv) {
    struct args args;
    int r = args_parse(cli, &inspect_usage, NULL, false, argc, argv, &args);
    if (r) return args_exit(r);
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__NodeInspectRequest q = ORLOP__NODE_INSPECT_REQUEST__INIT;
    q.node = args.operands[0];
    void *answer;
    r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__NODE_INSPECT, &q.base, &orlop__node_info__descriptor, &a,
                        &answer);
    if (!r) r = render_json(render_json_of(answer));
    arena_fini(&a);
    client_close(c);
    mem_free(args.operands);
    return r;
}

static const struct verb verbs[] = {{"ls", "list the nodes", node_ls},
                                    {"inspect", "show everything about a node", node_inspect},
                                    {0}};

int cmd_node(struct cli *cli, int argc, char **argv) {
    return cli_group(cli, argc, argv, verbs);
}
