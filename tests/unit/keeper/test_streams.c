// SPDX-License-Identifier: Apache-2.0
/* LOGS and EXEC of the agent over a real bus: log files made by sink.c, and a keeper link that
 * forks on the host in the place of the keeper's. Callbacks record, test bodies assert. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/exec.h"
#include "agent/logs.h"
#include "api.pb-c.h"
#include "bus.pb-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/keeper/sink.h"

enum { WAIT_MS = 30000, OUT_MAX = 8 << 20 };

struct klink { /* one process at a time */
    uv_poll_t poll;
    bool polling;
    pid_t pid;
    int pidfd;
    const struct klink_exec_ops *ops;
    void *ctx;
    uv_timer_t soon; /* callbacks never run inside a call */
    int master;
    unsigned abandoned;
    char env[256];
    int refusal; /* what comes of the program: 0 or a negative errno */
};

static struct {
    uv_loop_t loop;
    char dir[64], url[96];
    struct bus *server, *client;
    struct bus_listener *listener;
    struct bus_conn *conn;
    struct klink klink;
    struct logs *logs;
    struct execs *execs;
    bool up, timed_out, hold;
    enum logs_task_state state;
    unsigned buses_closed;
    /* what the client's stream got */
    struct bus_stream *stream;
    char out[OUT_MAX];
    size_t out_len, held, max_lines;
    bool started, exited, closed;
    int code;
    struct err err;
} t;

/* ---- the keeper link's place ---- */

static void on_end(uv_poll_t *h, int status, int events) {
    struct klink *k = container_of(h, struct klink, poll);
    (void) status;
    (void) events;
    int wait_status = 0;
    waitpid(k->pid, &wait_status, 0);
    uv_poll_stop(&k->poll);
    k->polling = false;
    k->pid = 0;
    fd_close(&k->pidfd);
    if (k->ops) k->ops->closed(k->ctx, 0, wait_status, NULL);
    k->ops = NULL;
}

static void on_soon(uv_timer_t *h) {
    struct klink *k = container_of(h, struct klink, soon);
    if (k->ops && k->refusal) {
        struct err err = {.code = k->refusal, .text = "nope: not found in $PATH"};
        k->ops->no_program(k->ctx, k->refusal, &err);
        return;
    }
    if (k->ops) k->ops->started(k->ctx, k->pid, steal_fd(&k->master));
    fd_close(&k->master);
    uv_poll_init(&t.loop, &k->poll, k->pidfd);
    uv_poll_start(&k->poll, UV_READABLE, on_end);
    k->polling = true;
}

int klink_exec(struct klink *k, Orlop__KeeperExec *e, const int *fds, size_t n_fds,
               const struct klink_exec_ops *ops, void *ctx, uint64_t *ret_exec) {
    char *argv[16] = {0};
    if (n_fds > 4 || e->n_argv > 15) return -EINVAL;
    memcpy(argv, e->argv, e->n_argv * sizeof *argv);
    snprintf(k->env, sizeof k->env, "%s %s", e->n_env > 0 ? e->env[0] : "",
             e->n_env > 1 ? e->env[1] : "");
    k->master = -1;
    k->ops = ops;
    k->ctx = ctx;
    *ret_exec = 1;
    uv_timer_start(&k->soon, on_soon, 0, 0);
    if (k->refusal) return 0;
    k->pid = e->tty ? forkpty(&k->master, NULL, NULL, NULL) : fork();
    if (k->pid == 0) {
        if (!e->tty) {
            dup2(fds[e->fd_stdin], 0);
            dup2(fds[e->fd_stdout], 1);
            dup2(fds[e->fd_stderr], 2);
        }
        sys_close_range(3, ~0U, 0);
        execvp(argv[0], argv);
        _exit(127);
    }
    k->pidfd = sys_pidfd_open(k->pid, 0);
    return 0;
}

int klink_exec_signal(struct klink *k, uint64_t exec, int signal) {
    (void) exec;
    return kill(k->pid, signal) < 0 ? -errno : 0;
}

void klink_exec_abandon(struct klink *k, uint64_t exec) {
    (void) exec;
    k->ops = NULL;
    k->abandoned++;
    if (k->pid) kill(k->pid, SIGKILL);
}

/* ---- the server ---- */

static enum logs_task_state task_state(void *ctx, const char *task) {
    (void) ctx;
    return str_eq(task, "9.9.9") ? LOGS_TASK_UNKNOWN : t.state;
}
static const struct logs_ops logs_ops = {task_state};

static int resolve(void *ctx, const Orlop__ExecRequest *req, struct arena *arena,
                   Orlop__KeeperExec *exec, int *ret_seccomp, struct err *err) {
    (void) ctx;
    *ret_seccomp = -1;
    if (str_eq(req->task, "9.9.9")) return err_say(err, -ESRCH, "task 9.9.9 does not run");
    exec->task = req->task;
    exec->n_env = 2;
    exec->env = arena_alloc(arena, 2 * sizeof *exec->env);
    if (!exec->env) return -ENOMEM;
    exec->env[0] = arena_strdup(arena, "A=old");
    exec->env[1] = arena_strdup(arena, "B=task");
    return 0;
}
static const struct execs_ops execs_ops = {resolve};

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                       const uint8_t *body, size_t len) {
    (void) ctx;
    (void) c;
    if (method == ORLOP__METHOD__LOGS)
        logs_open(t.logs, s, body, len);
    else
        execs_open(t.execs, s, body, len);
}
static void on_up(void *ctx, struct bus_conn *c) {
    (void) ctx;
    if (c == t.conn) t.up = true;
}
static void on_down(void *ctx, struct bus_conn *c, const struct err *why) {
    (void) ctx;
    (void) c;
    (void) why;
}
static const struct bus_conn_ops conn_ops = {.up = on_up, .down = on_down, .request = on_request};

/* ---- the client ---- */

static void append(const void *p, size_t n) {
    if (n > sizeof t.out - 1 - t.out_len) n = sizeof t.out - 1 - t.out_len;
    memcpy(t.out + t.out_len, p, n);
    t.out_len += n;
    t.out[t.out_len] = 0;
}

static void on_logs(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) ctx;
    if (t.hold) {
        bus_stream_hold(s);
        t.held += len;
    }
    Orlop__LogBatch *b = orlop__log_batch__unpack(NULL, len, body);
    if (!b) return;
    if (b->n_lines > t.max_lines) t.max_lines = b->n_lines;
    for (size_t i = 0; i < b->n_lines; i++) {
        append(b->lines[i]->task, strlen(b->lines[i]->task));
        append(b->lines[i]->stream == 2 ? "! " : ": ", 2);
        append(b->lines[i]->text.data, b->lines[i]->text.len);
    }
    orlop__log_batch__free_unpacked(b, NULL);
}

static void on_exec(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    (void) ctx;
    if (t.hold) {
        bus_stream_hold(s);
        t.held += len;
    }
    Orlop__ExecOutput *m = orlop__exec_output__unpack(NULL, len, body);
    if (!m) return;
    if (m->what_case == ORLOP__EXEC_OUTPUT__WHAT_OUT) append(m->out.data, m->out.len);
    if (m->what_case == ORLOP__EXEC_OUTPUT__WHAT_ERR) append(m->err.data, m->err.len);
    if (m->what_case == ORLOP__EXEC_OUTPUT__WHAT_STARTED) t.started = true;
    if (m->what_case == ORLOP__EXEC_OUTPUT__WHAT_EXIT) {
        t.exited = true;
        t.code = m->exit->code;
    }
    orlop__exec_output__free_unpacked(m, NULL);
}

static void on_client_end(void *ctx, struct bus_stream *s) {
    (void) ctx;
    bus_end(s);
}
static void on_client_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    (void) ctx;
    (void) s;
    t.closed = true;
    t.err = *err;
    t.stream = NULL;
}
static const struct bus_stream_ops logs_client = {
    .data = on_logs, .end = on_client_end, .closed = on_client_closed};
static const struct bus_stream_ops exec_client = {
    .data = on_exec, .end = on_client_end, .closed = on_client_closed};

/* ---- rig ---- */

static void on_deadline(uv_timer_t *h) {
    (void) h;
    t.timed_out = true;
}

typedef bool (*pred)(void);
static void run_until(pred p) {
    uv_timer_t deadline;
    uv_timer_init(&t.loop, &deadline);
    t.timed_out = false;
    uv_timer_start(&deadline, on_deadline, WAIT_MS, 0);
    while (!p() && !t.timed_out) uv_run(&t.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *) &deadline, NULL);
    uv_run(&t.loop, UV_RUN_NOWAIT);
    assert_false(t.timed_out);
}
static bool is_up(void) {
    return t.up;
}
static bool is_closed(void) {
    return t.closed;
}
static bool is_started(void) {
    return t.started;
}
static bool has_output(void) {
    return t.out_len > 0;
}
static bool buses_closed(void) {
    return t.buses_closed == 2;
}
static bool process_gone(void) {
    return t.klink.pid == 0;
}

static int set_up(void **state) {
    (void) state;
    memset(&t, 0, sizeof t);
    t.klink.pidfd = t.klink.master = -1;
    t.state = LOGS_TASK_ENDED;
    snprintf(t.dir, sizeof t.dir, "/tmp/orlop-streams-test-XXXXXX");
    if (!mkdtemp(t.dir)) return -1;
    snprintf(t.url, sizeof t.url, "ipc://%s/bus.sock", t.dir);
    uv_loop_init(&t.loop);
    uv_timer_init(&t.loop, &t.klink.soon);
    if (bus_new(&t.loop, &t.server) < 0 || bus_new(&t.loop, &t.client) < 0 ||
        bus_listen(t.server, t.url, &conn_ops, NULL, &t.listener, NULL) < 0 ||
        bus_dial(t.client, t.url, &conn_ops, NULL, &t.conn, NULL) < 0)
        return -1;
    if (logs_new(&t.loop, t.dir, &logs_ops, NULL, &t.logs) < 0 ||
        execs_new(&t.loop, &t.klink, &execs_ops, NULL, &t.execs) < 0)
        return -1;
    run_until(is_up);
    return 0;
}

static void on_bus_closed(void *ctx) {
    (void) ctx;
    t.buses_closed++;
}

static int tear_down(void **state) {
    (void) state;
    logs_close(t.logs);
    execs_close(t.execs);
    bus_close(t.client, on_bus_closed, NULL);
    bus_close(t.server, on_bus_closed, NULL);
    run_until(buses_closed);
    if (t.klink.pid) run_until(process_gone);
    if (t.klink.poll.loop) uv_close((uv_handle_t *) &t.klink.poll, NULL);
    uv_close((uv_handle_t *) &t.klink.soon, NULL);
    uv_run(&t.loop, UV_RUN_DEFAULT); /* ends only if no handle of anybody's is left */
    return uv_loop_close(&t.loop) < 0 || fd_remove_tree(AT_FDCWD, t.dir) < 0 ? -1 : 0;
}

static struct sink writer_of(const char *task) {
    char dir[160];
    struct sink s;
    snprintf(dir, sizeof dir, "%s/tasks/%s/log", t.dir, task);
    assert_int_equal(sink_open(&s, dir, 0, 0, NULL), 0);
    return s;
}

static void put(struct sink *s, unsigned stream, const char *text, int64_t time) {
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(write(p[1], text, strlen(text)), strlen(text));
    assert_int_equal(sink_move(s, p[0], stream, 65536, time), strlen(text));
    close(p[0]);
    close(p[1]);
}

static void ask_logs(const char *const *tasks, size_t n, bool follow, int32_t tail) {
    Orlop__LogsRequest r = ORLOP__LOGS_REQUEST__INIT;
    char text[4][32], *list[4];
    for (size_t i = 0; i < n; i++) {
        snprintf(text[i], sizeof text[i], "%s", tasks[i]);
        list[i] = text[i];
    }
    r.tasks = list;
    r.n_tasks = n;
    r.follow = follow;
    r.tail = tail;
    assert_int_equal(
        bus_request_pb(t.conn, ORLOP__METHOD__LOGS, &r.base, &logs_client, NULL, &t.stream), 0);
}

static void test_logs_of_two_tasks_merge_by_time(void **state) {
    (void) state;
    struct sink a = writer_of("1.1.1"), b = writer_of("1.1.2");
    put(&a, LOG_STDOUT, "one\n", 1000000000);
    put(&b, LOG_STDERR, "two\n", 2000000000);
    put(&a, LOG_STDOUT, "three\nfour", 3000000000);
    ask_logs((const char *[]){"1.1.1", "1.1.2"}, 2, false, -1);
    run_until(is_closed);
    assert_int_equal(t.err.code, 0);
    assert_string_equal(t.out, "1.1.1: one\n1.1.2! two\n1.1.1: three\n1.1.1: four");
    sink_close(&a);
    sink_close(&b);
}

static void test_logs_tail_and_a_task_without_a_log(void **state) {
    (void) state;
    struct sink a = writer_of("1.1.1");
    for (int i = 0; i < 50; i++) put(&a, LOG_STDOUT, i == 49 ? "last\n" : "line\n", 1000000 * i);
    ask_logs((const char *[]){"1.1.3", "1.1.1"}, 2, false, 1);
    run_until(is_closed);
    assert_int_equal(t.err.code, 0);
    assert_string_equal(t.out, "1.1.1: last\n");
    sink_close(&a);
}

static void test_logs_follow_until_the_task_ends(void **state) {
    (void) state;
    t.state = LOGS_TASK_LIVE;
    ask_logs((const char *[]){"1.1.1"}, 1, true, -1); /* its log appears later */
    for (int i = 0; i < 3; i++) uv_run(&t.loop, UV_RUN_NOWAIT);
    struct sink a = writer_of("1.1.1");
    put(&a, LOG_STDOUT, "first\n", 1);
    run_until(has_output);
    t.out_len = 0;
    put(&a, LOG_STDOUT, "second\nend", 2000000);
    run_until(has_output);
    assert_string_equal(t.out, "1.1.1: second\n");
    assert_false(t.closed);
    t.state = LOGS_TASK_ENDED;
    logs_task_changed(t.logs, "1.1.1");
    run_until(is_closed);
    assert_string_equal(t.out, "1.1.1: second\n1.1.1: end");
    assert_int_equal(t.err.code, 0);
    sink_close(&a);
}

static void test_logs_of_an_unknown_task_are_refused(void **state) {
    (void) state;
    ask_logs((const char *[]){"9.9.9"}, 1, true, -1);
    run_until(is_closed);
    assert_int_equal(t.err.code, -ENOENT);
}

static bool held_a_window(void) {
    return t.held > BUS_WINDOW / 2;
}

static void test_logs_slow_reader_gets_all_in_the_end(void **state) {
    (void) state;
    struct sink a = writer_of("1.1.1");
    char line[1001];
    memset(line, 'x', sizeof line);
    line[999] = '\n';
    line[1000] = 0;
    for (int i = 0; i < 4000; i++) put(&a, LOG_STDOUT, line, i * 10);
    t.hold = true;
    ask_logs((const char *[]){"1.1.1"}, 1, false, -1);
    run_until(held_a_window);
    for (int i = 0; i < 20; i++) uv_run(&t.loop, UV_RUN_NOWAIT);
    assert_true(t.held <= BUS_WINDOW + LOGS_BATCH_BYTES * 2); /* credit stops it */
    assert_false(t.closed);
    t.hold = false;
    bus_consumed(t.stream, t.held);
    run_until(is_closed);
    assert_int_equal(t.out_len, 4000 * 1007);
    assert_true(t.max_lines <= LOGS_BATCH_LINES);
    sink_close(&a);
}

static void test_logs_cancelled_or_closed_leave_nothing(void **state) {
    (void) state;
    t.state = LOGS_TASK_LIVE;
    struct sink a = writer_of("1.1.1");
    put(&a, LOG_STDOUT, "x\n", 1);
    ask_logs((const char *[]){"1.1.1", "1.1.2"}, 2, true, -1);
    run_until(has_output);
    bus_cancel(t.stream);
    run_until(is_closed);
    t.closed = false;
    ask_logs((const char *[]){"1.1.1", "1.1.2"}, 2, true, -1); /* ended by logs_close */
    sink_close(&a);
}

static void ask_exec(const char *script, bool tty, bool stdin_open) {
    Orlop__ExecRequest r = ORLOP__EXEC_REQUEST__INIT;
    char sh[] = "sh", c[] = "-c", s[512], task[] = "1.1.1", env[] = "A=new";
    snprintf(s, sizeof s, "%s", script);
    char *argv[] = {sh, c, s}, *envs[] = {env};
    r.task = task;
    r.argv = argv;
    r.n_argv = 3;
    r.env = envs;
    r.n_env = 1;
    r.tty = tty;
    r.stdin_open = stdin_open;
    r.rows = 24;
    r.cols = 80;
    assert_int_equal(
        bus_request_pb(t.conn, ORLOP__METHOD__EXEC, &r.base, &exec_client, NULL, &t.stream), 0);
}

static void send_input(Orlop__ExecInput__WhatCase what, const char *data, uint32_t cols,
                       int signal) {
    Orlop__ExecInput m = ORLOP__EXEC_INPUT__INIT;
    Orlop__ExecWindow w = ORLOP__EXEC_WINDOW__INIT;
    m.what_case = what;
    if (what == ORLOP__EXEC_INPUT__WHAT_DATA)
        m.data = (ProtobufCBinaryData){.len = strlen(data), .data = mem_dup(data, strlen(data))};
    if (what == ORLOP__EXEC_INPUT__WHAT_EOF) m.eof = true;
    if (what == ORLOP__EXEC_INPUT__WHAT_SIGNAL) m.signal = signal;
    if (what == ORLOP__EXEC_INPUT__WHAT_WINDOW) {
        w.rows = 50;
        w.cols = cols;
        m.window = &w;
    }
    assert_int_equal(bus_send_pb(t.stream, &m.base), 0);
    if (what == ORLOP__EXEC_INPUT__WHAT_DATA) mem_free(m.data.data);
}

static void test_exec_output_and_exit_code(void **state) {
    (void) state;
    ask_exec("echo out; echo err >&2; exit 7", false, false);
    run_until(is_closed);
    assert_int_equal(t.err.code, 0);
    assert_true(t.started && t.exited);
    assert_int_equal(t.code, 7);
    assert_non_null(strstr(t.out, "out\n"));
    assert_non_null(strstr(t.out, "err\n"));
    assert_string_equal(t.klink.env, "A=new B=task");
}

static void test_exec_input_and_its_end_reach_the_process(void **state) {
    (void) state;
    ask_exec("cat; echo end", false, true);
    send_input(ORLOP__EXEC_INPUT__WHAT_DATA, "hello ", 0, 0); /* before it has started */
    run_until(is_started);
    send_input(ORLOP__EXEC_INPUT__WHAT_DATA, "world ", 0, 0);
    send_input(ORLOP__EXEC_INPUT__WHAT_EOF, NULL, 0, 0);
    run_until(is_closed);
    assert_string_equal(t.out, "hello world end\n");
    assert_int_equal(t.code, 0);
}

static void test_exec_signal_gives_128_plus_n(void **state) {
    (void) state;
    ask_exec("exec sleep 1000", false, false);
    run_until(is_started);
    send_input(ORLOP__EXEC_INPUT__WHAT_SIGNAL, NULL, 0, SIGTERM);
    run_until(is_closed);
    assert_int_equal(t.code, 128 + SIGTERM);
}

static void test_exec_of_no_program_exits_as_in_a_shell(void **state) {
    (void) state;
    static const struct {
        int error, code;
        bool tty;
        const char *line;
    } cases[] = {
        {-ENOENT, 127, false, "orlop: nope: not found in $PATH\n"},
        {-EACCES, 126, false, "orlop: nope: not found in $PATH\n"},
        {-ENOEXEC, 126, false, "orlop: nope: not found in $PATH\n"},
        {-ENOENT, 127, true, "orlop: nope: not found in $PATH\r\n"},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        t.closed = t.exited = false;
        t.out_len = 0;
        memset(t.out, 0, 64);
        t.klink.refusal = cases[i].error;
        ask_exec("", cases[i].tty, true);
        run_until(is_closed);
        assert_int_equal(t.err.code, 0);
        assert_true(t.exited && !t.started);
        assert_int_equal(t.code, cases[i].code);
        assert_string_equal(t.out, cases[i].line);
    }
}

static void test_exec_client_gone_kills_the_process(void **state) {
    (void) state;
    ask_exec("exec sleep 1000", false, false);
    run_until(is_started);
    bus_cancel(t.stream);
    run_until(process_gone);
    assert_int_equal(t.klink.abandoned, 1);
}

static void test_exec_much_output_waits_for_a_slow_client(void **state) {
    (void) state;
    t.hold = true;
    ask_exec("head -c 4000000 /dev/zero", false, false);
    run_until(held_a_window);
    for (int i = 0; i < 20; i++) uv_run(&t.loop, UV_RUN_NOWAIT);
    assert_false(t.exited);
    t.hold = false;
    bus_consumed(t.stream, t.held);
    run_until(is_closed);
    assert_int_equal(t.out_len, 4000000);
    assert_true(t.exited);
}

static void test_exec_terminal_has_a_window_and_its_end(void **state) {
    (void) state;
    ask_exec("trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.01; done", true,
             true);
    run_until(has_output);
    send_input(ORLOP__EXEC_INPUT__WHAT_WINDOW, NULL, 132, 0);
    run_until(is_closed);
    assert_non_null(strstr(t.out, "50 132"));
    assert_int_equal(t.code, 3);
}

static void test_exec_in_a_task_that_does_not_run_is_refused(void **state) {
    (void) state;
    Orlop__ExecRequest r = ORLOP__EXEC_REQUEST__INIT;
    char task[] = "9.9.9", word[] = "true", *argv[] = {word};
    r.task = task;
    r.argv = argv;
    r.n_argv = 1;
    assert_int_equal(
        bus_request_pb(t.conn, ORLOP__METHOD__EXEC, &r.base, &exec_client, NULL, &t.stream), 0);
    run_until(is_closed);
    assert_int_equal(t.err.code, -ESRCH);
    assert_non_null(strstr(t.err.text, "does not run"));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        T(test_logs_of_two_tasks_merge_by_time),
        T(test_logs_tail_and_a_task_without_a_log),
        T(test_logs_follow_until_the_task_ends),
        T(test_logs_of_an_unknown_task_are_refused),
        T(test_logs_slow_reader_gets_all_in_the_end),
        T(test_logs_cancelled_or_closed_leave_nothing),
        T(test_exec_output_and_exit_code),
        T(test_exec_input_and_its_end_reach_the_process),
        T(test_exec_signal_gives_128_plus_n),
        T(test_exec_of_no_program_exits_as_in_a_shell),
        T(test_exec_client_gone_kills_the_process),
        T(test_exec_much_output_waits_for_a_slow_client),
        T(test_exec_terminal_has_a_window_and_its_end),
        T(test_exec_in_a_task_that_does_not_run_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
