// SPDX-License-Identifier: Apache-2.0
#include "args.h"
#include "client.h"
#include "deploy.h"
#include "project.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "restart [OPTIONS] [SERVICE...]",
    .summary = "Restart services (all, when none is named). Waits until they are ready again.",
    .max = -1,
};

int cmd_restart(struct cli *cli, int argc, char **argv) {
    bool detach = false, wait = false;
    uint32_t timeout_s = 0;
    struct args args;
    const struct opt opts[] = {
        {'d', "detach", NULL, OPT_FLAG, &detach, "return once it is written"},
        {0, "wait", NULL, OPT_FLAG, &wait, "wait until ready (the default; undoes -d)"},
        {0, "wait-timeout", "SECONDS", OPT_NUMBER, &timeout_s, "wait at most so long"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    auto_free char *app = NULL;
    struct client *c = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    r = project_app(cli, false, &app);
    if (!r) r = client_open(cli, &c);
    if (!r) {
        Orlop__AppRestartRequest q = ORLOP__APP_RESTART_REQUEST__INIT;
        Orlop__RequestId id;
        client_request_id(c, &id);
        q.request = &id;
        q.app = app;
        q.services = args.operands;
        q.n_services = (size_t) args.n;
        void *answer;
        r = client_call(c, ORLOP__METHOD__APP_RESTART, &q.base, &orlop__write_answer__descriptor,
                        &a, &answer);
    }
    if (!r && (wait || !detach))
        r = deploy_follow(c, &(struct deploy){.app = app,
                                              .only = args.operands,
                                              .n_only = (size_t) args.n,
                                              .timeout_s = timeout_s});
    client_close(c);
    arena_fini(&a);
    mem_free(args.operands);
    return r;
}
