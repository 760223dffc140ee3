// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "client.h"
#include "duration.h"
#include "project.h"
#include "render.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"
#include "sink.h"

enum { LINE_MAX_BYTES = 64 << 10 };

static const struct usage usage = {
    .line = "events [OPTIONS]",
    .summary = "Show what happens to the apps (to one with -p or -f), as it happens.",
};

struct events {
    struct sink sink;
    bool json;
};

static void write_json(struct events *ev, const Orlop__Event *e) {
    json_t *j = render_json_of(&e->base);
    char *text = need(json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII));
    sink_write(&ev->sink, text, strlen(text));
    sink_write(&ev->sink, "\n", 1);
    mem_free(text);
    json_decref(j);
}

static void write_text(struct events *ev, const Orlop__Event *e) {
    char stamp[DURATION_STAMP_MAX];
    struct buf b;
    buf_init(&b, LINE_MAX_BYTES);
    const char *subject = !str_empty(e->name)      ? e->name
                          : !str_empty(e->service) ? e->service
                                                   : e->app;
    if (e->text) str_make_printable(e->text, "");
    duration_stamp(e->time_unix_ms * 1000000, stamp);
    buf_printf(&b, "%.23sZ  %-20s  %s%s%s\n", stamp, e->kind, subject,
               str_empty(e->text) ? "" : "  ", e->text);
    sink_write(&ev->sink, buf_str(&b), b.len);
    buf_fini(&b);
}

static void on_message(struct sink *s, const uint8_t *body, size_t len) {
    struct events *ev = container_of(s, struct events, sink);
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    const Orlop__EventBatch *batch = arena_unpack(&a, &orlop__event_batch__descriptor, body, len);
    for (size_t i = 0; batch && i < batch->n_events; i++)
        if (ev->json)
            write_json(ev, batch->events[i]);
        else
            write_text(ev, batch->events[i]);
    arena_fini(&a);
}

int cmd_events(struct cli *cli, int argc, char **argv) {
    const char *since = NULL, *format = NULL;
    bool follow = true;
    struct events ev = {0};
    struct args args;
    const struct opt opts[] = {
        {0, "since", "TIME", OPT_TEXT, &since, "from a time or so long ago (10m) on"},
        {0, "no-follow", NULL, OPT_CLEAR, &follow, "only what has happened"},
        {0, "format", "table|json", OPT_TEXT, &format, "json: an object a line"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    mem_free(args.operands);
    int64_t since_ns = 0;
    r = args_format(&usage, format, &ev.json);
    if (!r && since && duration_parse_time(since, clock_unix_ns(), &since_ns) < 0)
        r = args_wrong(&usage, "--since: '%s' is neither a duration nor a time", since);
    auto_free char *app = NULL;
    if (!r && (cli->project.name || cli->project.files.n)) r = project_app(cli, false, &app);
    struct client *c = NULL;
    if (!r) r = client_open(cli, &c);
    if (r) return r;
    Orlop__EventsRequest q = ORLOP__EVENTS_REQUEST__INIT;
    if (app) q.app = app;
    q.follow = follow;
    q.since_unix_ms = since_ns / 1000000;
    r = sink_run(&ev.sink, c, ORLOP__METHOD__EVENTS, &q.base, on_message, NULL);
    client_close(c);
    return r;
}
