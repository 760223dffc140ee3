// SPDX-License-Identifier: Apache-2.0
/* orlop up: Compose file -> manifest -> images pinned by digest -> written -> followed until ready.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "client.h"
#include "deploy.h"
#include "project.h"
#include "runtime/base/mem.h"

struct up {
    bool detach, wait, no_deps, force_recreate, remove_orphans;
    uint32_t timeout_s;
    struct strv scale;
};

static const struct usage usage = {
    .line = "up [OPTIONS] [SERVICE...]",
    .summary =
        "Deploy the app of a Compose file: what changed is replaced, what has failed is tried "
        "again,\n"
        "the rest is left alone. Waits until every service is ready, or says why one cannot be.\n"
        "^C ends the waiting, not the app. Of services named, profiles are active by that.",
    .max = -1,
};

static int say_missing_image(const struct compose_project *p, Orlop__Service *s) {
    char path[256];
    const char *file;
    unsigned line, column;
    snprintf(path, sizeof path, "services.%s.image", s->name);
    str_make_printable(s->image, "");
    if (compose_locate(p, path, &file, &line, &column))
        fprintf(stderr, "%s:%u:%u: ", file, line, column);
    fprintf(
        stderr,
        "%s: there is no image '%s' on this machine: import it with 'orlop image import FILE %s'\n",
        path, s->image, s->image);
    return EXIT_MANIFEST;
}

/* All missing ones are reported at once. */
static int pin_images(struct client *c, const struct compose_project *p, Orlop__App *app,
                      struct arena *a) {
    int result = 0;
    for (size_t i = 0; i < app->n_services; i++) {
        Orlop__Service *s = app->services[i];
        Orlop__ImageRef q = ORLOP__IMAGE_REF__INIT;
        q.name = s->image;
        void *answer;
        struct err err = {0};
        int r = client_try(c, ORLOP__METHOD__IMAGE_RESOLVE, &q.base, &orlop__image_info__descriptor,
                           a, &answer, &err);
        if (r == -ENOENT) {
            result = say_missing_image(p, s);
            continue;
        }
        if (r < 0) return cli_fail(cli_exit_of(r), "image '%s': %s", s->image, err.text);
        s->image_digest = ((const Orlop__ImageInfo *) answer)->digest;
    }
    return result;
}

static Orlop__Service *find_service(const Orlop__App *app, const char *name, size_t len) {
    for (size_t i = 0; i < app->n_services; i++)
        if (strlen(app->services[i]->name) == len && memcmp(app->services[i]->name, name, len) == 0)
            return app->services[i];
    return NULL;
}

static int apply_scale(const struct strv *scale, Orlop__App *app) {
    for (size_t i = 0; i < scale->n; i++) {
        const char *text = scale->v[i], *eq = strchr(text, '=');
        uint32_t n;
        if (!eq || str_to_u32(eq + 1, UINT32_MAX, &n) < 0)
            return args_wrong(&usage, "--scale: '%s' is not SERVICE=NUMBER", text);
        Orlop__Service *s = find_service(app, text, (size_t) (eq - text));
        if (!s)
            return cli_fail(EXIT_NOT_FOUND, "there is no service '%.*s'", (int) (eq - text), text);
        s->replicas = n;
    }
    return 0;
}

/* The services named, and what they depend on. */
static int select_services(const struct args *args, bool no_deps, const Orlop__App *app,
                           struct strv *ret) {
    for (int i = 0; i < args->n; i++) {
        if (!find_service(app, args->operands[i], strlen(args->operands[i])))
            return cli_fail(EXIT_NOT_FOUND, "there is no service '%s'", args->operands[i]);
        if (!strv_has(ret, args->operands[i])) ensure(strv_add(ret, args->operands[i]) == 0);
    }
    for (size_t i = 0; i < ret->n && !no_deps; i++) {
        const Orlop__Service *s = find_service(app, ret->v[i], strlen(ret->v[i]));
        for (size_t k = 0; s && k < s->n_depends_on; k++)
            if (!strv_has(ret, s->depends_on[k]->service))
                ensure(strv_add(ret, s->depends_on[k]->service) == 0);
    }
    return 0;
}

/* Whose tasks have failed for good: written again unchanged they would stay so. */
static void find_failed(struct client *c, const Orlop__App *app, const struct strv *only,
                        struct arena *a, struct strv *ret) {
    Orlop__AppStatusRequest q = ORLOP__APP_STATUS_REQUEST__INIT;
    q.app = app->name;
    void *answer;
    if (client_try(c, ORLOP__METHOD__APP_STATUS, &q.base, &orlop__app_status_answer__descriptor, a,
                   &answer, NULL) < 0)
        return; /* there is no such app yet */
    const Orlop__AppStatusAnswer *status = answer;
    for (size_t i = 0; i < status->n_services; i++) {
        const Orlop__ServiceStatus *s = status->services[i];
        if (!s->failed || !find_service(app, s->service, strlen(s->service))) continue;
        if (only->n == 0 || strv_has(only, s->service)) ensure(strv_add(ret, s->service) == 0);
    }
}

static int apply(struct client *c, const struct up *up, Orlop__App *app, const struct strv *only,
                 struct arena *a) {
    Orlop__AppApplyRequest q = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__RequestId id;
    client_request_id(c, &id);
    q.request = &id;
    q.app = app;
    q.remove_orphans = true;
    q.only = only->v;
    q.n_only = only->n;
    char **every = need(mem_array(app->n_services, sizeof *every));
    for (size_t i = 0; i < app->n_services; i++) every[i] = app->services[i]->name;
    struct strv failed = {0};
    if (up->force_recreate) {
        q.force_recreate = only->n ? only->v : every;
        q.n_force_recreate = only->n ? only->n : app->n_services;
    } else {
        find_failed(c, app, only, a, &failed);
        q.force_recreate = failed.v;
        q.n_force_recreate = failed.n;
    }
    void *answer;
    struct err err = {0};
    int r = client_try(c, ORLOP__METHOD__APP_APPLY, &q.base, &orlop__app_apply_answer__descriptor,
                       a, &answer, &err);
    mem_free(every);
    strv_fini(&failed);
    if (r == -EINVAL) return cli_fail(EXIT_MANIFEST, "%s", err.text);
    if (r < 0) return cli_fail(cli_exit_of(r), "%s", err.text);
    const Orlop__AppApplyAnswer *done = answer;
    for (size_t i = 0; i < done->n_warnings; i++) {
        str_make_printable(done->warnings[i], "");
        fprintf(stderr, "orlop: warning: %s\n", done->warnings[i]);
    }
    fprintf(stderr, "%s: revision %llu%s\n", app->name, (unsigned long long) done->revision,
            done->changed ? " written" : ", nothing changed");
    return 0;
}

static int deploy_app(struct cli *cli, const struct up *up, const struct args *args,
                      struct compose_project *p, struct arena *a) {
    Orlop__App *app;
    struct client *c = NULL;
    struct strv only = {0};
    int r = compose_to_manifest(p, a, &app);
    compose_print_issues(p, stderr); /* warnings, too; those of the load have been printed */
    if (r < 0) return EXIT_MANIFEST;
    r = apply_scale(&up->scale, app);
    if (!r) r = select_services(args, up->no_deps, app, &only);
    if (!r) r = client_open(cli, &c);
    if (!r) r = pin_images(c, p, app, a);
    if (!r) r = apply(c, up, app, &only, a);
    if (!r && !up->detach) {
        struct deploy d = {
            .app = app->name, .only = only.v, .n_only = only.n, .timeout_s = up->timeout_s};
        r = deploy_follow(c, &d);
    }
    client_close(c);
    strv_fini(&only);
    return r;
}

int cmd_up(struct cli *cli, int argc, char **argv) {
    struct up up = {0};
    struct compose_options extra = {0};
    struct args args;
    const struct opt opts[] = {
        {'d', "detach", NULL, OPT_FLAG, &up.detach, "return once it is written"},
        {0, "wait", NULL, OPT_FLAG, &up.wait, "wait until ready (the default; undoes -d)"},
        {0, "wait-timeout", "SECONDS", OPT_NUMBER, &up.timeout_s, "wait at most so long"},
        {0, "scale", "SERVICE=NUM", OPT_LIST, &up.scale,
         "replicas of a service; may be given again"},
        {0, "no-deps", NULL, OPT_FLAG, &up.no_deps, "leave out what the named services depend on"},
        {0, "force-recreate", NULL, OPT_FLAG, &up.force_recreate,
         "replace containers although nothing changed"},
        {0, "remove-orphans", NULL, OPT_FLAG, &up.remove_orphans,
         "always so: services not in the file end"},
        {0, "permissive", NULL, OPT_FLAG, &extra.permissive,
         "drop what is not supported, with a warning for each"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    if (up.wait) up.detach = false;
    for (int i = 0; i < args.n; i++) ensure(strv_add(&extra.services, args.operands[i]) == 0);
    struct compose_project *p = NULL;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    r = project_load(cli, &extra, &p);
    if (!r) r = deploy_app(cli, &up, &args, p, &a);
    arena_fini(&a);
    compose_project_free(p);
    strv_fini(&up.scale);
    strv_fini(&extra.services);
    mem_free(args.operands);
    return r;
}
