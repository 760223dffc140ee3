// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "list.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage ls_usage = {.line = "volume ls [OPTIONS]",
                                      .summary = "List the named volumes."};
static const struct usage rm_usage = {
    .line = "volume rm VOLUME...",
    .summary = "Remove named volumes, with what is in them. One that is in use is refused.",
    .min = 1,
    .max = -1};

static void print_table(const void *answer) {
    const Orlop__VolumeListAnswer *a = answer;
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
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    const struct list_verb verb = {
        .usage = &ls_usage,
        .method = ORLOP__METHOD__VOLUME_LIST,
        .request = &q.base,
        .answer = &orlop__volume_list_answer__descriptor,
        .table = print_table,
    };
    return list_run(cli, &verb, argc, argv);
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
