// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {.line = "volume ls [OPTIONS]",
                                      .summary = "List the named volumes."};
static const struct usage rm_usage = {
    .line = "volume rm VOLUME...",
    .summary = "Remove named volumes, with what is in them. One that is in use is refused.",
    .min = 1,
    .max = -1};

static void print_table(const Orlop__VolumeListAnswer *a) {
    static const char *const head[] = {"NAME", "APP", "IN USE", "CREATED"};
    struct table_out t;
    char age[RENDER_AGE_MAX];
    table_begin(&t, head, array_len(head));
    for (size_t i = 0; i < a->n_volumes; i++) {
        const Orlop__VolumeInfo *v = a->volumes[i];
        table_cell(&t, "%s", v->name);
        table_cell(&t, "%s", v->app);
        table_cell(&t, "%s", v->in_use ? "yes" : "no");
        table_cell(&t, "%s", render_age(v->created_unix_ms, age));
    }
    table_print(&t);
}

static int volume_ls(struct cli *cli, int argc, char **argv) {
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
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    void *answer;
    r = client_open(cli, &c);
    if (!r)
        r = client_call(c, ORLOP__METHOD__VOLUME_LIST, &q.base,
                        &orlop__volume_list_answer__descriptor, &a, &answer);
    if (!r) {
        const Orlop__VolumeListAnswer *list = answer;
        if (json)
            r = render_json(
                render_json_list(list->n_volumes, (ProtobufCMessage *const *) list->volumes));
        else
            print_table(list);
    }
    arena_fini(&a);
    client_close(c);
    return r;
}

static int volume_rm(struct cli *cli, int argc, char **argv) {
    struct args args;
    int r = args_parse(cli, &rm_usage, NULL, false, argc, argv, &args);
    if (r) return args_exit(r);
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    r = client_open(cli, &c);
    for (int i = 0; i < args.n && c; i++) {
        Orlop__VolumeRef q = ORLOP__VOLUME_REF__INIT;
        q.name = args.operands[i];
        void *answer;
        int one = client_call(c, ORLOP__METHOD__VOLUME_REMOVE, &q.base, &orlop__empty__descriptor,
                              &a, &answer);
        if (one)
            r = one;
        else
            puts(q.name);
    }
    arena_fini(&a);
    client_close(c);
    mem_free(args.operands);
    return r;
}

static const struct verb verbs[] = {
    {"ls", "list the named volumes", volume_ls}, {"rm", "remove named volumes", volume_rm}, {0}};

int cmd_volume(struct cli *cli, int argc, char **argv) {
    return cli_group(cli, argc, argv, verbs);
}
