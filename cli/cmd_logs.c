// SPDX-License-Identifier: Apache-2.0
/* orlop logs: lines of all tasks, merged by the scheduler, each with its task's name in front. A
 * line that comes in parts is put together again first, so that no other line gets into it. Of one
 * that is too long for that the parts are written as they come, and no byte is added to it unless
 * another line comes between. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "client.h"
#include "duration.h"
#include "project.h"
#include "runtime/base/clock.h"
#include "runtime/base/map.h"
#include "runtime/base/mem.h"
#include "sink.h"

enum { LINE_MAX_BYTES = 1 << 20, KEY_MAX = 128, PREFIX_MAX = 256, TAIL_ALL = -1 };

static const struct usage usage = {
    .line = "logs [OPTIONS] [SERVICE...]",
    .summary = "Show what the containers of an app print.",
    .max = -1,
};

struct logs {
    struct sink sink; /* first: the message callback gets it */
    bool follow, stamps, no_prefix, no_color, color;
    const char *since, *until, *tail;
    size_t width;       /* of the longest name so far */
    struct map partial; /* "task/stream" -> struct partial */
    char open[KEY_MAX]; /* whose line the output stands in; "" = at the begin of a line */
    struct map colors;  /* service -> its escape sequence */
};

struct partial {
    struct buf text;
    char *name;
    int64_t time_unix_ns; /* of its first part */
};

static const char *color_of(struct logs *l, const char *name) {
    static const char *const palette[] = {"\033[36m", "\033[33m", "\033[32m", "\033[35m",
                                          "\033[34m", "\033[96m", "\033[93m", "\033[92m",
                                          "\033[95m", "\033[94m"};
    char service[PREFIX_MAX];
    snprintf(service, sizeof service, "%s", name);
    char *dash = strrchr(service, '-'); /* without the slot */
    if (dash) *dash = 0;
    void *have = map_get(&l->colors, service);
    if (have) return have;
    union {
        const char *in;
        void *out;
    } next = {palette[map_len(&l->colors) % array_len(palette)]};
    ensure(map_set(&l->colors, service, next.out) == 0);
    return next.in;
}

static void write_prefix(struct logs *l, const Orlop__LogLine *line) {
    char text[PREFIX_MAX];
    size_t n = strlen(line->name);
    if (n > l->width) l->width = n;
    int len = snprintf(text, sizeof text, "%s%-*.*s  | %s", l->color ? color_of(l, line->name) : "",
                       (int) l->width, PREFIX_MAX / 2, line->name, l->color ? "\033[0m" : "");
    sink_write(&l->sink, text, len < PREFIX_MAX ? (size_t) len : PREFIX_MAX - 1);
}

static void begin_line(struct logs *l, const Orlop__LogLine *line) {
    char stamp[DURATION_STAMP_MAX];
    if (*l->open) sink_write(&l->sink, "\n", 1);
    if (!l->no_prefix) write_prefix(l, line);
    if (!l->stamps) return;
    duration_stamp(line->time_unix_ns, stamp);
    sink_write(&l->sink, stamp, strlen(stamp));
    sink_write(&l->sink, " ", 1);
}

/* LINE's text, or a part of it when it is not WHOLE with this. */
static void write_text(struct logs *l, const char *key, const Orlop__LogLine *line, bool whole) {
    const ProtobufCBinaryData *text = &line->text;
    if (!str_eq(l->open, key)) begin_line(l, line);
    sink_write(&l->sink, text->data, text->len);
    l->open[0] = 0;
    if (!whole)
        snprintf(l->open, sizeof l->open, "%s", key);
    else if (text->len == 0 || text->data[text->len - 1] != '\n')
        sink_write(&l->sink, "\n", 1);
}

static struct partial *partial_of(struct logs *l, const char *key, const Orlop__LogLine *line) {
    struct partial *p = map_get(&l->partial, key);
    if (p || !line->partial) return p;
    p = need(mem_zalloc(sizeof *p));
    p->name = need(mem_strdup(line->name));
    buf_init(&p->text, LINE_MAX_BYTES + (256 << 10));
    ensure(map_set(&l->partial, key, p) == 0);
    return p;
}

static void write_partial(struct logs *l, const char *key, struct partial *p, bool whole) {
    Orlop__LogLine line = ORLOP__LOG_LINE__INIT;
    line.name = p->name;
    line.time_unix_ns = p->time_unix_ns;
    line.text.data = (uint8_t *) p->text.data;
    line.text.len = p->text.len;
    write_text(l, key, &line, whole);
    buf_reset(&p->text);
}

static void take_line(struct logs *l, const Orlop__LogLine *line) {
    char key[KEY_MAX];
    snprintf(key, sizeof key, "%s/%u", line->task, line->stream);
    struct partial *p = partial_of(l, key, line);
    if (!p || (p->text.len == 0 && !line->partial)) {
        write_text(l, key, line, true);
        return;
    }
    if (p->text.len == 0) p->time_unix_ns = line->time_unix_ns;
    buf_add(&p->text, line->text.data, line->text.len);
    if (line->partial && p->text.len < LINE_MAX_BYTES && !buf_error(&p->text)) return;
    write_partial(l, key, p, !line->partial);
}

static void on_message(struct sink *s, const uint8_t *body, size_t len) {
    struct logs *l = container_of(s, struct logs, sink);
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    const Orlop__LogBatch *batch = arena_unpack(&a, &orlop__log_batch__descriptor, body, len);
    for (size_t i = 0; batch && i < batch->n_lines; i++) take_line(l, batch->lines[i]);
    arena_fini(&a);
}

/* What is left of lines whose end never came. Without names: the last bytes as they are. */
static void on_last(struct sink *s) {
    struct logs *l = container_of(s, struct logs, sink);
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&l->partial, &i, &key, &value);) {
        struct partial *p = value;
        if (p->text.len > 0) write_partial(l, key, p, !l->no_prefix);
    }
    if (*l->open && !l->no_prefix) sink_write(s, "\n", 1);
}

static void fini(struct logs *l) {
    const char *key;
    void *value;
    for (size_t i = 0; map_next(&l->partial, &i, &key, &value);) {
        struct partial *p = value;
        buf_fini(&p->text);
        mem_free(p->name);
        mem_free(p);
    }
    map_fini(&l->partial);
    map_fini(&l->colors);
}

/* So that the names of those there already line up from the first line on. */
static void measure(struct logs *l, struct client *c, char *app) {
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    Orlop__TaskListRequest q = ORLOP__TASK_LIST_REQUEST__INIT;
    q.app = app;
    q.all = true;
    void *answer;
    if (client_try(c, ORLOP__METHOD__TASK_LIST, &q.base, &orlop__task_list_answer__descriptor, &a,
                   &answer, NULL) == 0) {
        const Orlop__TaskListAnswer *list = answer;
        for (size_t i = 0; i < list->n_tasks; i++)
            if (strlen(list->tasks[i]->name) > l->width) l->width = strlen(list->tasks[i]->name);
    }
    arena_fini(&a);
}

static int parse_time(const char *option, const char *text, int64_t *ret) {
    *ret = 0;
    if (!text || duration_parse_time(text, clock_unix_ns(), ret) == 0) return 0;
    return args_wrong(
        &usage, "%s: '%s' is neither a duration like 10m nor a time like 2026-01-31T12:00:00Z",
        option, text);
}

static int fill(const struct logs *l, Orlop__LogsRequest *q) {
    uint32_t tail;
    int r = parse_time("--since", l->since, &q->since_unix_ns);
    if (!r) r = parse_time("--until", l->until, &q->until_unix_ns);
    if (r) return r;
    q->follow = l->follow;
    q->tail = TAIL_ALL;
    if (!l->tail || str_eq(l->tail, "all")) return 0;
    if (str_to_u32(l->tail, INT32_MAX, &tail) < 0)
        return args_wrong(&usage, "--tail: '%s' is neither a number nor 'all'", l->tail);
    q->tail = (int32_t) tail;
    return 0;
}

static int run(struct cli *cli, struct logs *l, Orlop__LogsRequest *q) {
    struct client *c = NULL;
    int r = client_open(cli, &c);
    if (r) return r;
    l->color = !l->no_color && !l->no_prefix && isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    if (!l->no_prefix) measure(l, c, q->app);
    r = sink_run(&l->sink, c, ORLOP__METHOD__LOGS, &q->base, on_message, on_last);
    client_close(c);
    fini(l);
    return r;
}

int cmd_logs(struct cli *cli, int argc, char **argv) {
    struct logs l = {0};
    struct args args;
    const struct opt opts[] = {
        {'f', "follow", NULL, OPT_FLAG, &l.follow, "go on with what comes; ^C ends it"},
        {0, "since", "TIME", OPT_TEXT, &l.since,
         "from a time (2026-01-31T12:00:00Z) or so long ago (10m) on"},
        {0, "until", "TIME", OPT_TEXT, &l.until, "up to a time"},
        {'n', "tail", "LINES", OPT_TEXT, &l.tail,
         "the last lines of each container; 'all' (default)"},
        {'t', "timestamps", NULL, OPT_FLAG, &l.stamps, "with the time of each line"},
        {0, "no-log-prefix", NULL, OPT_FLAG, &l.no_prefix,
         "without names: the bytes as they were written"},
        {0, "no-color", NULL, OPT_FLAG, &l.no_color, "without colours"},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    auto_free char *app = NULL;
    Orlop__LogsRequest q = ORLOP__LOGS_REQUEST__INIT;
    r = fill(&l, &q);
    if (!r) r = project_app(cli, false, &app);
    if (!r) {
        q.app = app;
        q.services = args.operands;
        q.n_services = (size_t) args.n;
        r = run(cli, &l, &q);
    }
    mem_free(args.operands);
    return r;
}
