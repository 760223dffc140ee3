// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "args.h"
#include "client.h"
#include "deploy.h"
#include "project.h"
#include "runtime/base/mem.h"

static const struct usage usage = {
    .line = "scale [OPTIONS] SERVICE=NUM...",
    .summary = "Change how many replicas services have, until the next 'orlop up'. Waits until "
               "they are ready.",
    .min = 1,
    .max = -1,
};

static int parse_target(const char *text, Orlop__ScaleTo *to, struct arena *a) {
    const char *eq = strchr(text, '=');
    orlop__scale_to__init(to);
    if (!eq || eq == text || str_to_u32(eq + 1, UINT32_MAX, &to->replicas) < 0)
        return args_wrong(&usage, "'%s' is not SERVICE=NUMBER", text);
    to->service = need(arena_strdup(a, text));
    to->service[eq - text] = 0;
    return 0;
}

static int scale(struct client *c, char *app, Orlop__ScaleTo **targets, size_t n, struct arena *a) {
    Orlop__AppScaleRequest q = ORLOP__APP_SCALE_REQUEST__INIT;
    Orlop__RequestId id;
    client_request_id(c, &id);
    q.request = &id;
    q.app = app;
    q.services = targets;
    q.n_services = n;
    void *answer;
    return client_call(c, ORLOP__METHOD__APP_SCALE, &q.base, &orlop__write_answer__descriptor, a,
                       &answer);
}

int cmd_scale(struct cli *cli, int argc, char **argv) {
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
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    size_t n = (size_t) args.n;
    Orlop__ScaleTo **targets = need(arena_alloc(&a, n * sizeof *targets));
    char **names = need(arena_alloc(&a, n * sizeof *names));
    for (size_t i = 0; i < n && !r; i++) {
        targets[i] = need(arena_alloc(&a, sizeof **targets));
        r = parse_target(args.operands[i], targets[i], &a);
        names[i] = targets[i]->service;
    }
    auto_free char *app = NULL;
    struct client *c = NULL;
    if (!r) r = project_app(cli, false, &app);
    if (!r) r = client_open(cli, &c);
    if (!r) r = scale(c, app, targets, n, &a);
    if (!r && (wait || !detach))
        r = deploy_follow(
            c, &(struct deploy){.app = app, .only = names, .n_only = n, .timeout_s = timeout_s});
    client_close(c);
    arena_fini(&a);
    mem_free(args.operands);
    return r;
}
