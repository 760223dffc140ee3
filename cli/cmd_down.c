// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>

#include "args.h"
#include "client.h"
#include "deploy.h"
#include "project.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "down [OPTIONS]",
    .summary = "Stop the services of an app, those that depend on others first, and remove "
               "everything of it but\n"
               "its named volumes.",
};

static int remove_app(struct client *c, char *app, bool volumes, struct arena *a) {
    Orlop__AppRemoveRequest q = ORLOP__APP_REMOVE_REQUEST__INIT;
    Orlop__RequestId id;
    client_request_id(c, &id);
    q.request = &id;
    q.app = app;
    q.volumes = volumes;
    void *answer;
    struct err err = {0};
    int r = client_try(c, ORLOP__METHOD__APP_REMOVE, &q.base, &orlop__write_answer__descriptor, a,
                       &answer, &err);
    return r == -ENOENT || r == 0 ? r : cli_fail(cli_exit_of(r), "%s", err.text);
}

int cmd_down(struct cli *cli, int argc, char **argv) {
    bool volumes = false, orphans = false, detach = false;
    uint32_t timeout_s = 0;
    struct args args;
    const struct opt opts[] = {
        {'v', "volumes", NULL, OPT_FLAG, &volumes, "remove the named volumes too"},
        {'d', "detach", NULL, OPT_FLAG, &detach, "return once it is written"},
        {0, "wait-timeout", "SECONDS", OPT_NUMBER, &timeout_s, "wait at most so long"},
        {0, "remove-orphans", NULL, OPT_FLAG, &orphans, "always so"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    auto_free char *app = NULL;
    r = project_app(cli, false, &app);
    if (r) return r;
    struct client *c = NULL;
    r = client_open(cli, &c);
    if (r) return r;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    r = remove_app(c, app, volumes, &a);
    if (r == -ENOENT) {
        fprintf(stderr, "orlop: there is no app %s: nothing to remove\n", app);
        r = EXIT_OK;
    } else if (r == 0 && !detach) {
        r = deploy_follow_removal(c, app, timeout_s);
        if (r == EXIT_OK) fprintf(stderr, "%s: removed\n", app);
    }
    arena_fini(&a);
    client_close(c);
    return r;
}
