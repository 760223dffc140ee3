// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "render.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "version [OPTIONS]",
    .summary = "Show the version of this program and of the scheduler, if it runs.",
};

int cmd_version(struct cli *cli, int argc, char **argv) {
    const char *format = NULL;
    bool json;
    struct args args;
    const struct opt opts[] = {{0, "format", "table|json", OPT_TEXT, &format, "how to print"}, {0}};
    int r = args_parse(cli, &usage, opts, false, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    r = args_format(&usage, format, &json);
    if (!r) r = cli_paths(cli);
    if (r) return r;
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    void *answer;
    const char *server = NULL;
    if (client_try_open(cli, 0, &c, NULL) == 0 &&
        client_try(c, ORLOP__METHOD__VERSION, &q.base, &orlop__version_answer__descriptor, &a,
                   &answer, NULL) == 0)
        server = ((const Orlop__VersionAnswer *) answer)->version;
    if (json) {
        r = render_json(
            need(json_pack("{s:s, s:s?}", "client", ORLOP_VERSION, "scheduler", server)));
    } else {
        printf("orlop      %s\n", ORLOP_VERSION);
        printf("scheduler  %s\n", server ? server : "not running");
    }
    arena_fini(&a);
    client_close(c);
    return r;
}
