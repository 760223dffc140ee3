// SPDX-License-Identifier: Apache-2.0
#include "deploy.h"

#include <errno.h>
#include <stdio.h>

#include "progress.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"

enum { POLL_MS = 200 };

static bool concerns(const struct deploy *d, const char *service) {
    for (size_t i = 0; i < d->n_only; i++)
        if (str_eq(d->only[i], service)) return true;
    return d->n_only == 0;
}

static const char *word_of(const Orlop__ServiceStatus *s) {
    if (s->failed) return "failed";
    if (s->settled) return s->oneshot_done ? "completed" : "ready";
    return s->outdated ? "replacing" : "waiting";
}

static void show_service(struct progress *p, const Orlop__ServiceStatus *s) {
    enum progress_mark mark = s->failed    ? PROGRESS_FAILED
                              : s->settled ? PROGRESS_DONE
                                           : PROGRESS_BUSY;
    bool detail = !str_empty(s->detail) && !s->settled;
    progress_line(p, mark, s->service, "%s, %u of %u ready%s%s", word_of(s), s->ready, s->replicas,
                  detail ? ": " : "", detail ? s->detail : "");
}

struct tally {
    unsigned all, settled, failed;
};

static struct tally show(struct progress *p, const struct deploy *d,
                         const Orlop__AppStatusAnswer *a) {
    struct tally t = {0};
    for (size_t i = 0; i < a->n_services; i++) {
        if (!concerns(d, a->services[i]->service)) continue;
        t.all++;
        t.settled += a->services[i]->settled ? 1 : 0;
        t.failed += a->services[i]->failed ? 1 : 0;
    }
    progress_title(p, "%s: %u of %u services ready", d->app, t.settled, t.all);
    for (size_t i = 0; i < a->n_services; i++)
        if (concerns(d, a->services[i]->service)) show_service(p, a->services[i]);
    progress_show(p);
    return t;
}

void deploy_print_why(struct client *c, const char *app, const char *service) {
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__WhyRequest q = ORLOP__WHY_REQUEST__INIT;
    q.app = need(arena_strdup(&a, app));
    q.subject = need(arena_strdup(&a, service));
    void *answer;
    if (client_try(c, ORLOP__METHOD__WHY, &q.base, &orlop__why_answer__descriptor, &a, &answer,
                   NULL) == 0) {
        const Orlop__WhyAnswer *why = answer;
        for (size_t i = 0; i < why->n_lines; i++) {
            str_make_printable(why->lines[i], "");
            fprintf(stderr, "  %s\n", why->lines[i]);
        }
    }
    arena_fini(&a);
}

static int say_failed(struct client *c, const struct deploy *d, const Orlop__AppStatusAnswer *a) {
    for (size_t i = 0; i < a->n_services; i++) {
        const Orlop__ServiceStatus *s = a->services[i];
        if (!s->failed || !concerns(d, s->service)) continue;
        (void) cli_fail(EXIT_DEPLOYMENT, "service %s of %s failed: %s", s->service, d->app,
                        str_empty(s->detail) ? "no reason known" : s->detail);
        deploy_print_why(c, d->app, s->service);
    }
    return EXIT_DEPLOYMENT;
}

static int say_late(const struct deploy *d, const Orlop__AppStatusAnswer *a) {
    for (size_t i = 0; i < a->n_services; i++) {
        const Orlop__ServiceStatus *s = a->services[i];
        if (s->settled || !concerns(d, s->service)) continue;
        (void) cli_fail(EXIT_DEPLOYMENT, "service %s of %s is not ready after %u s: %s", s->service,
                        d->app, d->timeout_s, str_empty(s->detail) ? "no reason known" : s->detail);
    }
    return EXIT_DEPLOYMENT;
}

/* One look. -1: look again. */
static int look(struct client *c, const struct deploy *d, struct progress *p, int64_t deadline,
                struct arena *arena) {
    Orlop__AppStatusRequest q = ORLOP__APP_STATUS_REQUEST__INIT;
    q.app = need(arena_strdup(arena, d->app));
    void *answer;
    struct err err = {0};
    int r = client_try(c, ORLOP__METHOD__APP_STATUS, &q.base, &orlop__app_status_answer__descriptor,
                       arena, &answer, &err);
    if (r == -EINTR) return -1;
    if (r < 0) return cli_fail(cli_exit_of(r), "%s", err.text);
    const Orlop__AppStatusAnswer *a = answer;
    if (!a->exists || a->removing)
        return cli_fail(EXIT_DEPLOYMENT, "app %s was removed meanwhile", d->app);
    struct tally t = show(p, d, a);
    if (t.failed) return say_failed(c, d, a);
    if (t.settled == t.all) return EXIT_OK;
    return clock_mono_ms() >= deadline ? say_late(d, a) : -1;
}

static int64_t deadline_of(uint32_t timeout_s) {
    return timeout_s ? clock_mono_ms() + (int64_t) timeout_s * 1000 : INT64_MAX;
}

static int wait_more(struct client *c) {
    return client_wait(c, POLL_MS) == -EINTR ? EXIT_INTERRUPTED : -1;
}

int deploy_follow(struct client *c, const struct deploy *d) {
    struct progress p;
    int64_t deadline = deadline_of(d->timeout_s);
    int r = -1;
    progress_begin(&p);
    client_catch_interrupt(c);
    while (r < 0) {
        struct arena arena;
        arena_init(&arena, CLIENT_ARENA_MAX);
        r = look(c, d, &p, deadline, &arena);
        arena_fini(&arena);
        if (r < 0) r = wait_more(c);
    }
    progress_end(&p);
    if (r == EXIT_INTERRUPTED)
        fprintf(stderr,
                "\norlop: no longer waiting; %s goes on as written. 'orlop -p %s ps' shows it, "
                "'orlop -p %s down' removes it\n",
                d->app, d->app, d->app);
    return r;
}

static int look_for_removal(struct client *c, const char *app, struct progress *p, int64_t deadline,
                            struct arena *arena) {
    Orlop__AppStatusRequest q = ORLOP__APP_STATUS_REQUEST__INIT;
    q.app = need(arena_strdup(arena, app));
    void *answer;
    struct err err = {0};
    int r = client_try(c, ORLOP__METHOD__APP_STATUS, &q.base, &orlop__app_status_answer__descriptor,
                       arena, &answer, &err);
    if (r == -ENOENT) return EXIT_OK;
    if (r == -EINTR) return -1;
    if (r < 0) return cli_fail(cli_exit_of(r), "%s", err.text);
    const Orlop__AppStatusAnswer *a = answer;
    if (!a->exists) return EXIT_OK;
    if (!a->removing)
        return cli_fail(EXIT_FAILED, "%s is wanted again: somebody has deployed it meanwhile", app);
    size_t tasks = 0;
    progress_title(p, "%s: removing", app);
    for (size_t i = 0; i < a->n_services; i++) {
        size_t n = a->services[i]->n_tasks;
        tasks += n;
        progress_line(p, n ? PROGRESS_BUSY : PROGRESS_DONE, a->services[i]->service,
                      n ? "stopping, %zu left" : "removed (%zu left)", n);
    }
    progress_show(p);
    if (clock_mono_ms() < deadline) return -1;
    return cli_fail(EXIT_FAILED,
                    "%s is not removed yet: %zu containers are left; 'orlop -p %s ps' lists them",
                    app, tasks, app);
}

int deploy_follow_removal(struct client *c, const char *app, uint32_t timeout_s) {
    struct progress p;
    int64_t deadline = deadline_of(timeout_s);
    int r = -1;
    progress_begin(&p);
    client_catch_interrupt(c);
    while (r < 0) {
        struct arena arena;
        arena_init(&arena, CLIENT_ARENA_MAX);
        r = look_for_removal(c, app, &p, deadline, &arena);
        arena_fini(&arena);
        if (r < 0) r = wait_more(c);
    }
    progress_end(&p);
    if (r == EXIT_INTERRUPTED)
        fprintf(stderr, "\norlop: no longer waiting; the removal of %s goes on\n", app);
    return r;
}
