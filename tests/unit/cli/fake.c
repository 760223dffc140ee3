// SPDX-License-Identifier: Apache-2.0
#include "fake.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "proto/arena.h"
#include "proto/bus/bus.h"
#include "runtime/base/mem.h"

struct fake {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    struct bus *bus;
    atomic_uint polls, stalls, rows, recreated;
    bool applied;
    size_t big_sent;
    atomic_ullong imported, sum;
    uv_sem_t ready;
    char url[160];
};

static char running[] = "running", node[] = "node1";

static void version(struct bus_stream *s) {
    Orlop__VersionAnswer a = ORLOP__VERSION_ANSWER__INIT;
    a.version = running;
    bus_answer_pb(s, &a.base);
}

static void nodes(struct bus_stream *s) {
    Orlop__NodeInfo n = ORLOP__NODE_INFO__INIT, *list[] = {&n};
    Orlop__NodeListAnswer a = ORLOP__NODE_LIST_ANSWER__INIT;
    n.name = node;
    a.nodes = list;
    a.n_nodes = 1;
    bus_answer_pb(s, &a.base);
}

/* Two DATA messages: the list is to be joined. There is one service. */
static void tasks(struct bus_stream *s, const uint8_t *body, size_t len) {
    static const struct bus_stream_ops ops = {0};
    static char web[] = "web", name1[] = "shop-web-1", name2[] = "shop-web-2";
    Orlop__TaskInfo t = ORLOP__TASK_INFO__INIT, *list[] = {&t};
    Orlop__TaskListAnswer a = ORLOP__TASK_LIST_ANSWER__INIT;
    Orlop__TaskListRequest *q = orlop__task_list_request__unpack(NULL, len, body);
    bool known = !q->n_services || strcmp(q->services[0], web) == 0;
    orlop__task_list_request__free_unpacked(q, NULL);
    if (!known) {
        bus_fail(s, -ENOENT, "there is no such service");
        return;
    }
    bus_stream_accept(s, &ops, NULL);
    t.service = web;
    t.name = name1;
    a.tasks = list;
    a.n_tasks = 1;
    (void) !bus_send_pb(s, &a.base);
    t.name = name2;
    bus_answer_pb(s, &a.base);
}

/* Ready at the third look; the app "bad" fails at the second, "gone" is gone at the second,
 * "again" is deployed by somebody else by then. */
static void status(struct fake *f, struct bus_stream *s, const uint8_t *body, size_t len) {
    static char web[] = "web", detail[] = "exec /nope: No such file or directory";
    Orlop__AppStatusRequest *q = orlop__app_status_request__unpack(NULL, len, body);
    Orlop__ServiceStatus w = ORLOP__SERVICE_STATUS__INIT, *list[] = {&w};
    Orlop__AppStatusAnswer a = ORLOP__APP_STATUS_ANSWER__INIT;
    bool bad = strcmp(q->app, "bad") == 0, gone = strcmp(q->app, "gone") == 0;
    bool again = strcmp(q->app, "again") == 0;
    a.app = q->app;
    if (!f->applied && !gone && !again) { /* the look before the first write */
        bus_answer_pb(s, &a.base);
        orlop__app_status_request__free_unpacked(q, NULL);
        return;
    }
    unsigned n = ++f->polls;
    a.exists = !(gone && n >= 2);
    a.removing = gone || (again && n < 2);
    w.service = web;
    w.replicas = 2;
    w.ready = n < 3 ? n - 1 : 2;
    w.settled = !bad && n >= 3;
    w.failed = bad && n >= 2;
    if (!w.settled) w.detail = detail;
    a.services = list;
    a.n_services = 1;
    bus_answer_pb(s, &a.base);
    orlop__app_status_request__free_unpacked(q, NULL);
}

static void why(struct bus_stream *s) {
    static char line[] = "web is not there because of a test";
    char *lines[] = {line};
    Orlop__WhyAnswer a = ORLOP__WHY_ANSWER__INIT;
    a.lines = lines;
    a.n_lines = 1;
    bus_answer_pb(s, &a.base);
}

static void apply(struct fake *f, struct bus_stream *s, const uint8_t *body, size_t len) {
    Orlop__AppApplyRequest *q = orlop__app_apply_request__unpack(NULL, len, body);
    Orlop__AppApplyAnswer a = ORLOP__APP_APPLY_ANSWER__INIT;
    bool pinned =
        q->app->n_services == 1 && strcmp(q->app->services[0]->image_digest, "sha256:abc") == 0;
    a.revision = 1;
    a.changed = true;
    f->applied = true;
    f->recreated += (unsigned) q->n_force_recreate;
    if (!pinned || !q->request)
        bus_fail(s, EINVAL, "the image is not pinned");
    else
        bus_answer_pb(s, &a.base);
    orlop__app_apply_request__free_unpacked(q, NULL);
}

static void resolve(struct bus_stream *s, const uint8_t *body, size_t len) {
    static char digest[] = "sha256:abc";
    Orlop__ImageRef *q = orlop__image_ref__unpack(NULL, len, body);
    Orlop__ImageInfo a = ORLOP__IMAGE_INFO__INIT;
    a.digest = digest;
    if (strcmp(q->name, "missing") == 0)
        bus_fail(s, ENOENT, "no image 'missing'");
    else
        bus_answer_pb(s, &a.base);
    orlop__image_ref__free_unpacked(q, NULL);
}

/* --- logs: a line in three parts with another's line between, then the end ------------------- */

static void add_line(struct bus_stream *s, char *task, char *name, const char *text, bool partial) {
    Orlop__LogLine l = ORLOP__LOG_LINE__INIT, *list[] = {&l};
    Orlop__LogBatch b = ORLOP__LOG_BATCH__INIT;
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    l.task = task;
    l.name = name;
    l.stream = 1;
    l.time_unix_ns = 1700000000000000000;
    l.text = (ProtobufCBinaryData){strlen(copy), (uint8_t *) copy};
    l.partial = partial;
    b.lines = list;
    b.n_lines = 1;
    (void) !bus_send_pb(s, &b.base);
}

/* In one batch, for the window is small: a line in parts, FAKE_LONGEST bytes in all: more than is
 * put together. */
static void add_longest(struct bus_stream *s, char *task, char *name) {
    enum { PARTS = 40 };
    static char part[FAKE_LONGEST / PARTS];
    static char end[] = "end\n", prompt[] = "$ ";
    static Orlop__LogLine lines[PARTS + 2], *list[PARTS + 2];
    Orlop__LogBatch b = ORLOP__LOG_BATCH__INIT;
    memset(part, 'x', sizeof part);
    for (size_t i = 0; i < array_len(list); i++) {
        orlop__log_line__init(&lines[i]);
        lines[i].task = task;
        lines[i].name = name;
        lines[i].stream = 1;
        lines[i].text = (ProtobufCBinaryData){sizeof part, (uint8_t *) part};
        lines[i].partial = true;
        list[i] = &lines[i];
    }
    lines[PARTS].text = (ProtobufCBinaryData){strlen(end), (uint8_t *) end};
    lines[PARTS].partial = false;
    lines[PARTS + 1].text = (ProtobufCBinaryData){strlen(prompt), (uint8_t *) prompt};
    b.lines = list;
    b.n_lines = array_len(list);
    (void) !bus_send_pb(s, &b.base);
}

/* 20 MB in batches of 500 lines, as fast as they are taken. */
static void big_pump(void *ctx, struct bus_stream *s) {
    static char task[] = "1.1.1", name[] = "big-web-1", text[FAKE_BIG_LINE + 1];
    static Orlop__LogLine lines[500], *list[500];
    struct fake *f = ctx;
    Orlop__LogBatch b = ORLOP__LOG_BATCH__INIT;
    memset(text, 'x', FAKE_BIG_LINE - 1);
    text[FAKE_BIG_LINE - 1] = '\n';
    for (size_t i = 0; i < array_len(list); i++) {
        orlop__log_line__init(&lines[i]);
        lines[i].task = task;
        lines[i].name = name;
        lines[i].text = (ProtobufCBinaryData){FAKE_BIG_LINE, (uint8_t *) text};
        list[i] = &lines[i];
    }
    b.lines = list;
    b.n_lines = array_len(list);
    while (f->big_sent < FAKE_BIG_LINES) {
        if (bus_send_pb(s, &b.base) < 0) {
            f->stalls++;
            return;
        }
        f->big_sent += array_len(list);
    }
    bus_end(s);
}

static const struct bus_stream_ops big_ops = {.writable = big_pump};

static void logs(struct fake *f, struct bus_stream *s, const uint8_t *body, size_t len) {
    Orlop__LogsRequest *q = orlop__logs_request__unpack(NULL, len, body);
    bool big = strcmp(q->app, "big") == 0, longest = strcmp(q->app, "long") == 0;
    orlop__logs_request__free_unpacked(q, NULL);
    if (big) {
        f->big_sent = 0;
        bus_stream_accept(s, &big_ops, f);
        big_pump(f, s);
        return;
    }
    static const struct bus_stream_ops ops = {0};
    static char a[] = "1.1.1", b[] = "1.1.2", web[] = "shop-web-1", db[] = "shop-db-1";
    bus_stream_accept(s, &ops, NULL);
    add_line(s, a, web, "one ", true);
    add_line(s, b, db, "other\n", false);
    add_line(s, a, web, "line\n", false);
    add_line(s, b, db, "no newline", false);
    if (longest)
        add_longest(s, a, web);
    else
        add_line(s, a, web, "$ ", true);
    bus_end(s);
}

/* --- exec: echoes stdin to stdout until its end, then exits with 7; a certain window ends it too
 */

static void exec_send(struct bus_stream *s, const Orlop__ExecOutput *m) {
    (void) !bus_send_pb(s, &m->base);
}

static void exec_exit(struct bus_stream *s, int code) {
    Orlop__ExecOutput out = ORLOP__EXEC_OUTPUT__INIT;
    Orlop__ExecExit e = ORLOP__EXEC_EXIT__INIT;
    out.what_case = ORLOP__EXEC_OUTPUT__WHAT_EXIT;
    e.code = code;
    out.exit = &e;
    exec_send(s, &out);
    bus_end(s);
}

static void exec_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct fake *f = ctx;
    Orlop__ExecInput *in = orlop__exec_input__unpack(NULL, len, body);
    Orlop__ExecOutput out = ORLOP__EXEC_OUTPUT__INIT;
    if (in->what_case == ORLOP__EXEC_INPUT__WHAT_DATA) {
        out.what_case = ORLOP__EXEC_OUTPUT__WHAT_OUT;
        out.out = in->data;
        exec_send(s, &out);
    } else if (in->what_case == ORLOP__EXEC_INPUT__WHAT_EOF) {
        exec_exit(s, 7);
    } else if (in->what_case == ORLOP__EXEC_INPUT__WHAT_WINDOW) {
        f->rows = in->window->rows;
        if (f->rows == FAKE_END_ROWS) exec_exit(s, FAKE_END_CODE);
    }
    orlop__exec_input__free_unpacked(in, NULL);
}

static const struct bus_stream_ops exec_ops = {.data = exec_data};

static void exec_open(struct fake *f, struct bus_stream *s, const uint8_t *body, size_t len) {
    Orlop__ExecRequest *q = orlop__exec_request__unpack(NULL, len, body);
    bus_stream_accept(s, &exec_ops, f);
    f->rows = q->tty ? q->rows : 0;
    orlop__exec_request__free_unpacked(q, NULL);
}

/* --- import ----------------------------------------------------------------------------------- */

static void import_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct fake *f = ctx;
    unsigned long long sum = 0;
    (void) s;
    for (size_t i = 0; i < len; i++) sum += body[i];
    f->sum += sum;
    f->imported += len;
}

static void import_end(void *ctx, struct bus_stream *s) {
    static char digest[] = "sha256:abc";
    Orlop__ImageInfo a = ORLOP__IMAGE_INFO__INIT;
    (void) ctx;
    a.digest = digest;
    bus_answer_pb(s, &a.base);
}

static const struct bus_stream_ops import_ops = {.data = import_data, .end = import_end};

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                       const uint8_t *body, size_t len) {
    struct fake *f = ctx;
    Orlop__WriteAnswer written = ORLOP__WRITE_ANSWER__INIT;
    (void) c;
    switch (method) {
    case ORLOP__METHOD__VERSION:
        version(s);
        break;
    case ORLOP__METHOD__NODE_LIST:
        nodes(s);
        break;
    case ORLOP__METHOD__TASK_LIST:
        tasks(s, body, len);
        break;
    case ORLOP__METHOD__APP_STATUS:
        status(f, s, body, len);
        break;
    case ORLOP__METHOD__APP_APPLY:
        apply(f, s, body, len);
        break;
    case ORLOP__METHOD__APP_REMOVE:
    case ORLOP__METHOD__APP_SCALE:
    case ORLOP__METHOD__APP_RESTART:
        bus_answer_pb(s, &written.base);
        break;
    case ORLOP__METHOD__IMAGE_RESOLVE:
        resolve(s, body, len);
        break;
    case ORLOP__METHOD__WHY:
        why(s);
        break;
    case ORLOP__METHOD__LOGS:
        logs(f, s, body, len);
        break;
    case ORLOP__METHOD__EXEC:
        exec_open(f, s, body, len);
        break;
    case ORLOP__METHOD__IMAGE_IMPORT:
        f->imported = f->sum = 0;
        bus_stream_accept(s, &import_ops, f);
        break;
    case ORLOP__METHOD__TASK_INSPECT:
        bus_fail(s, ENOENT, "there is no task like that");
        break;
    default:
        bus_fail(s, EPERM, "not in this test");
    }
}

static const struct bus_conn_ops ops = {.request = on_request};

static void on_stop(uv_async_t *async) {
    struct fake *f = async->data;
    bus_close(f->bus, NULL, NULL);
    uv_close((uv_handle_t *) async, NULL);
}

static void run(void *arg) {
    struct fake *f = arg;
    struct err err = {0};
    uv_loop_init(&f->loop);
    uv_async_init(&f->loop, &f->stop, on_stop);
    f->stop.data = f;
    ensure(bus_new(&f->loop, &f->bus) == 0);
    ensure(bus_listen(f->bus, f->url, &ops, f, NULL, &err) == 0);
    uv_sem_post(&f->ready);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    ensure(uv_loop_close(&f->loop) == 0);
}

struct fake *fake_start(const char *run_dir) {
    struct fake *f = mem_zalloc(sizeof *f);
    snprintf(f->url, sizeof f->url, "ipc://%s/api.sock", run_dir);
    uv_sem_init(&f->ready, 0);
    uv_thread_create(&f->thread, run, f);
    uv_sem_wait(&f->ready);
    return f;
}

void fake_stop(struct fake *f) {
    uv_async_send(&f->stop);
    uv_thread_join(&f->thread);
    uv_sem_destroy(&f->ready);
    mem_free(f);
}

unsigned fake_polls(struct fake *f) {
    return f->polls;
}

uint64_t fake_imported(struct fake *f) {
    return f->imported;
}

uint64_t fake_imported_sum(struct fake *f) {
    return f->sum;
}

unsigned fake_recreated(struct fake *f) {
    return f->recreated;
}
unsigned fake_stalls(struct fake *f) {
    return f->stalls;
}

unsigned fake_rows(struct fake *f) {
    return f->rows;
}
