// SPDX-License-Identifier: Apache-2.0
/* orlop exec: one EXEC stream; stdin, window size and signals go up, output comes down.
 *
 * Upwards, what cannot be sent yet (no credit) waits in `pending`, and stdin is not read meanwhile.
 * Downwards, what the terminal does not take yet waits in the outlets, and its credit is held back.
 * With a terminal ^C and all other keys are bytes for the process; without one SIGINT and SIGTERM
 * are passed on as signals, and the third of them ends this end only. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "client.h"
#include "fdio.h"
#include "project.h"
#include "runtime/base/mem.h"
#include "term.h"

enum { QUEUE_HIGH = 256 << 10, INPUT_MAX = 64 << 10, PATIENCE = 3 };

static const struct usage usage = {
    .line = "exec [OPTIONS] SERVICE COMMAND [ARG...]",
    .summary = "Run a command in a running container of a service. Exits with the command's code.",
    .min = 2,
    .max = -1,
    .stop_at_operand = true,
};

struct exec {
    bool no_tty, want_tty, interactive, tty;
    uint32_t index;
    const char *user, *cwd;
    struct strv env;
    struct client *client;
    struct bus_stream *stream; /* NULL: over */
    struct inlet in;
    struct outlet out, errout;
    uv_signal_t winch, signals[3];
    size_t held;
    char pending[INPUT_MAX];
    size_t n_pending;
    bool pending_eof, pending_window, up_failed;
    int pending_signal, signals_seen;
    bool exited;
    int code;
    struct err err;
};

/* --- upwards -------------------------------------------------------------------------------- */

/* True when it was taken, or can never be (the stream is over). */
static bool send_input(struct exec *x, const Orlop__ExecInput *m) {
    return bus_send_pb(x->stream, &m->base) != -EAGAIN;
}

static bool send_window(struct exec *x) {
    Orlop__ExecWindow w = ORLOP__EXEC_WINDOW__INIT;
    Orlop__ExecInput m = ORLOP__EXEC_INPUT__INIT;
    term_size(STDIN_FILENO, &w.rows, &w.cols);
    m.what_case = ORLOP__EXEC_INPUT__WHAT_WINDOW;
    m.window = &w;
    return send_input(x, &m);
}

static bool send_signal(struct exec *x) {
    Orlop__ExecInput m = ORLOP__EXEC_INPUT__INIT;
    m.what_case = ORLOP__EXEC_INPUT__WHAT_SIGNAL;
    m.signal = x->pending_signal;
    return send_input(x, &m);
}

static bool send_data(struct exec *x) {
    Orlop__ExecInput m = ORLOP__EXEC_INPUT__INIT;
    m.what_case = ORLOP__EXEC_INPUT__WHAT_DATA;
    m.data = (ProtobufCBinaryData){.len = x->n_pending, .data = (uint8_t *) x->pending};
    return send_input(x, &m);
}

static bool send_eof(struct exec *x) {
    Orlop__ExecInput m = ORLOP__EXEC_INPUT__INIT;
    m.what_case = ORLOP__EXEC_INPUT__WHAT_EOF;
    m.eof = true;
    return send_input(x, &m);
}

static void pump(struct exec *x) {
    if (!x->stream) return;
    if (x->pending_window && send_window(x)) x->pending_window = false;
    if (x->pending_signal && send_signal(x)) x->pending_signal = 0;
    if (x->n_pending && send_data(x)) x->n_pending = 0;
    if (x->n_pending) {
        inlet_off(&x->in);
        return;
    }
    if (x->pending_eof && send_eof(x)) x->pending_eof = false;
    inlet_on(&x->in);
}

static void on_stdin(void *ctx, const char *data, ssize_t n) {
    struct exec *x = ctx;
    if (n > 0) {
        memcpy(x->pending, data, (size_t) n); /* at most INPUT_MAX: an inlet's chunk */
        x->n_pending = (size_t) n;
    } else {
        x->pending_eof = true;
    }
    pump(x);
}

static void on_winch(uv_signal_t *s, int signum) {
    struct exec *x = s->data;
    (void) signum;
    x->pending_window = true;
    pump(x);
}

static void on_signal(uv_signal_t *s, int signum) {
    struct exec *x = s->data;
    x->pending_signal = signum;
    pump(x);
    if (++x->signals_seen >= PATIENCE && x->stream) bus_cancel(x->stream);
}

/* --- downwards ------------------------------------------------------------------------------ */

static void take_output(struct exec *x, const Orlop__ExecOutput *m) {
    switch (m->what_case) {
    case ORLOP__EXEC_OUTPUT__WHAT_OUT:
        (void) outlet_write(&x->out, m->out.data, m->out.len); /* errors: on_data */
        break;
    case ORLOP__EXEC_OUTPUT__WHAT_ERR:
        (void) outlet_write(&x->errout, m->err.data, m->err.len);
        break;
    case ORLOP__EXEC_OUTPUT__WHAT_EXIT:
        x->exited = true;
        x->code = m->exit->code;
        break;
    case ORLOP__EXEC_OUTPUT__WHAT_STARTED:
    case ORLOP__EXEC_OUTPUT__WHAT__NOT_SET:
    case _ORLOP__EXEC_OUTPUT__WHAT__CASE_IS_INT_SIZE:
        break;
    }
}

static size_t queued(const struct exec *x) {
    return outlet_queued(&x->out) + outlet_queued(&x->errout);
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct exec *x = ctx;
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    const Orlop__ExecOutput *m = arena_unpack(&a, &orlop__exec_output__descriptor, body, len);
    if (m) take_output(x, m);
    arena_fini(&a);
    if (x->exited)
        bus_end(s);
    else if (x->out.error || x->errout.error)
        bus_cancel(s);
    else if (queued(x) > QUEUE_HIGH) {
        bus_stream_hold(s);
        x->held += len;
    }
}

static void on_drained(void *ctx) {
    struct exec *x = ctx;
    if (x->stream && x->held && queued(x) == 0) {
        bus_consumed(x->stream, x->held);
        x->held = 0;
    }
}

static void on_writable(void *ctx, struct bus_stream *s) {
    (void) s;
    pump(ctx);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct exec *x = ctx;
    (void) s;
    x->stream = NULL;
    x->err = *err;
    inlet_off(&x->in);
}

static const struct bus_stream_ops ops = {on_data, NULL, on_writable, on_closed};

/* --- the whole ------------------------------------------------------------------------------ */

static void watch_signal(struct exec *x, uv_signal_t *s, uv_signal_cb cb, int signum) {
    ensure(uv_signal_init(client_loop(x->client), s) == 0);
    s->data = x;
    ensure(uv_signal_start(s, cb, signum) == 0);
}

static int open_streams(struct exec *x) {
    uv_loop_t *loop = client_loop(x->client);
    x->out.own_fd = x->errout.own_fd = -1; /* for close_streams, whatever fails */
    int r = inlet_open(&x->in, loop, STDIN_FILENO, on_stdin, x);
    if (r == 0) r = outlet_open(&x->out, loop, STDOUT_FILENO, on_drained, x);
    if (r == 0) r = outlet_open(&x->errout, loop, STDERR_FILENO, on_drained, x);
    if (r == 0 && x->tty) r = term_raw(STDIN_FILENO);
    return r < 0
               ? cli_fail(EXIT_FAILED, "cannot use the terminal or streams given: %s", err_text(r))
               : 0;
}

static void close_streams(struct exec *x) {
    term_restore();
    inlet_close(&x->in);
    outlet_close(&x->out);
    outlet_close(&x->errout);
    uv_close((uv_handle_t *) &x->winch, NULL);
    for (size_t i = 0; i < array_len(x->signals); i++)
        uv_close((uv_handle_t *) &x->signals[i], NULL);
    client_turn(x->client);
}

static bool output_waits(const struct exec *x) {
    return (outlet_queued(&x->out) > 0 && !x->out.error) ||
           (outlet_queued(&x->errout) > 0 && !x->errout.error);
}

static int result(const struct exec *x) {
    if (x->exited) return x->code;
    if (x->out.error == -EPIPE) return EXIT_FAILED; /* | head: nothing to say */
    if (x->out.error || x->errout.error)
        return cli_fail(EXIT_FAILED, "cannot write to the output: %s",
                        err_text(x->out.error ? x->out.error : x->errout.error));
    if (x->err.code == -ECANCELED) return EXIT_INTERRUPTED;
    if (x->err.code)
        return cli_fail(cli_exit_of(x->err.code), "%s",
                        x->err.text[0] ? x->err.text : err_text(x->err.code));
    return cli_fail(EXIT_FAILED, "the command's end was not reported");
}

static int run(struct exec *x, const Orlop__ExecRequest *q) {
    static const int passed[] = {SIGINT, SIGTERM, SIGHUP};
    watch_signal(x, &x->winch, on_winch, SIGWINCH);
    for (size_t i = 0; i < array_len(passed); i++)
        watch_signal(x, &x->signals[i], on_signal, passed[i]);
    int r = open_streams(x);
    if (!r) {
        r = bus_request_pb(client_conn(x->client), ORLOP__METHOD__EXEC, &q->base, &ops, x,
                           &x->stream);
        if (r < 0) r = cli_fail(cli_exit_of(r), "%s", err_text(r));
    }
    if (!r) {
        inlet_on(&x->in);
        while (x->stream || output_waits(x)) client_turn(x->client);
        term_restore();
        r = result(x);
    }
    close_streams(x);
    return r;
}

static int choose_tty(struct exec *x) {
    bool in = isatty(STDIN_FILENO);
    if (x->want_tty && x->no_tty) return args_wrong(&usage, "-t and -T exclude each other");
    if (x->want_tty && !in)
        return cli_fail(
            EXIT_USAGE,
            "-t needs a terminal, and the standard input is none; leave it out or use -T");
    x->tty = x->want_tty || (!x->no_tty && in && isatty(STDOUT_FILENO));
    return 0;
}

/* A terminal's program wants to know what kind; Docker says xterm. */
static void add_term(struct exec *x) {
    if (!x->tty) return;
    for (size_t i = 0; i < x->env.n; i++)
        if (str_starts(x->env.v[i], "TERM=")) return;
    ensure(strv_add(&x->env, "TERM=xterm") == 0);
}

/* "-e NAME" takes the value from here. */
static int complete_env(struct exec *x) {
    for (size_t i = 0; i < x->env.n; i++) {
        char *entry = x->env.v[i];
        if (entry[0] == '=' || !entry[0])
            return args_wrong(&usage, "-e: '%s' is not NAME=VALUE", entry);
        if (strchr(entry, '=')) continue;
        const char *value = getenv(entry);
        x->env.v[i] = need(mem_printf("%s=%s", entry, value ? value : ""));
        mem_free(entry);
    }
    return 0;
}

static int connect_and_run(struct cli *cli, struct exec *x, const struct args *args) {
    auto_free char *app = NULL;
    int r = project_app(cli, false, &app);
    if (!r) r = client_open(cli, &x->client);
    if (r) return r;
    Orlop__ExecRequest q = ORLOP__EXEC_REQUEST__INIT;
    q.app = app;
    q.service = args->operands[0];
    q.slot = x->index;
    q.argv = args->operands + 1;
    q.n_argv = (size_t) args->n - 1;
    q.env = x->env.v;
    q.n_env = x->env.n;
    union {
        const char *in;
        char *out;
    } user = {x->user}, cwd = {x->cwd};
    if (x->user) q.user = user.out;
    if (x->cwd) q.cwd = cwd.out;
    q.tty = x->tty;
    q.stdin_open = true;
    if (x->tty) term_size(STDIN_FILENO, &q.rows, &q.cols);
    r = run(x, &q);
    client_close(x->client);
    return r;
}

int cmd_exec(struct cli *cli, int argc, char **argv) {
    static struct exec x; /* not for the stack */
    x = (struct exec){0};
    struct args args;
    const struct opt opts[] = {
        {'T', "no-tty", NULL, OPT_FLAG, &x.no_tty, "no terminal: plain streams"},
        {'t', "tty", NULL, OPT_FLAG, &x.want_tty, "a terminal (the default where there is one)"},
        {'i', "interactive", NULL, OPT_FLAG, &x.interactive,
         "pass the standard input on (always so)"},
        {'u', "user", "USER[:GROUP]", OPT_TEXT, &x.user, "as this user"},
        {'w', "workdir", "DIR", OPT_TEXT, &x.cwd, "in this directory"},
        {'e', "env", "NAME[=VALUE]", OPT_LIST, &x.env, "set a variable; may be given again"},
        {0, "index", "NUM", OPT_NUMBER, &x.index,
         "in this replica, from 1 (default: the first that runs)"},
        {0, "no-TTY", NULL, OPT_FLAG, &x.no_tty, NULL},
        {0},
    };
    int r = args_parse(cli, &usage, opts, true, argc, argv, &args);
    if (r) return args_exit(r);
    r = choose_tty(&x);
    if (!r) r = complete_env(&x);
    add_term(&x);
    if (!r) r = connect_and_run(cli, &x, &args);
    strv_fini(&x.env);
    mem_free(args.operands);
    return r;
}
