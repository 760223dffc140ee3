// SPDX-License-Identifier: Apache-2.0
/* A session's life:
 *
 *     STARTING --started--> RUNNING --exit--> DRAINING --all read and sent--> OVER (exit, END)
 *        |\--no such program--> DRAINING (the sentence as its stderr; exit 126, 127)
 *        \--failed--> OVER (ERROR)
 *     any --the client goes away--> OVER (the process is killed)
 *
 * Descriptors are ours and non-blocking: a uv_poll each, read(2) and write(2) here, so that pipes
 * and a terminal's master are one case. What the process has written before its exit is in the pipe
 * by then: DRAINING reads until nothing is there, and does not wait for children that it left
 * behind.
 */
#include "agent/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/keeper/client.h"

enum {
    REQUEST_BUDGET = 8 << 20, /* many short arguments take much more than their bytes */
    READ_BYTES = 32 * 1024,
    INPUT_MAX = BUS_WINDOW + BUS_FRAME_MAX,
    INPUTS_MAX = 32 << 20, /* of all sessions; above, the one that keeps most is ended */
    WINDOW_SIDE_MAX = 65535,
    SIGNAL_MAX = 64,
    EXIT_NOT_EXECUTABLE = 126, /* as shells have it, and a task whose program is missing */
    EXIT_NOT_FOUND = 127,
};

enum session_state { EXEC_STARTING, EXEC_RUNNING, EXEC_DRAINING, EXEC_OVER };

struct channel { /* one descriptor of ours */
    struct session *session;
    int fd; /* -1: closed, or never there */
    uv_poll_t poll;
    bool polling;
    bool open_handle;
};

enum { IN, OUT, ERR, CHANNELS };

struct session {
    struct list node;
    struct execs *execs;
    struct bus_stream *stream; /* NULL: closed */
    int state;
    bool tty;
    uint64_t id;                       /* at the klink; 0: it has none (any more) */
    struct channel channels[CHANNELS]; /* tty: OUT is the master, for both directions */
    int master;                        /* tty: a borrowed OUT fd */
    struct buf input;                  /* what the process has not taken yet */
    size_t owed;                       /* credit to give back when it has */
    bool eof;                          /* the client sends no more input */
    uint8_t *packed;                   /* output that found no credit */
    size_t packed_len;
    int32_t wait_status;
    size_t handles;
};

struct execs {
    uv_loop_t *loop;
    struct klink *klink;
    const struct execs_ops *ops;
    void *ctx;
    struct list sessions;
    size_t n;
    bool closing;
    uint8_t read[READ_BYTES];
};

static void maybe_free(struct session *x) {
    if (x->stream || x->handles || x->state != EXEC_OVER) return;
    struct execs *e = x->execs;
    list_del(&x->node);
    e->n--;
    buf_fini(&x->input);
    mem_free(x->packed);
    mem_free(x);
    if (e->closing && list_empty(&e->sessions)) mem_free(e);
}

/* ---- descriptors ---- */

static void on_handle_closed(uv_handle_t *h) {
    struct channel *c = container_of((uv_poll_t *) h, struct channel, poll);
    c->session->handles--;
    maybe_free(c->session);
}

static void channel_close(struct channel *c) {
    if (c->polling) uv_poll_stop(&c->poll);
    c->polling = false;
    if (c->open_handle) uv_close((uv_handle_t *) &c->poll, on_handle_closed);
    c->open_handle = false;
    fd_close(&c->fd);
}

static void on_ready(uv_poll_t *h, int status, int events);

/* What to wait for: output when there is credit for it, room when there is input. */
static void want(struct channel *c) {
    struct session *x = c->session;
    if (c->fd < 0 || !c->open_handle) return;
    bool reads = c != &x->channels[IN] && !x->packed;
    bool writes = (c == &x->channels[IN] || (x->tty && c == &x->channels[OUT])) && x->input.len > 0;
    int events = (reads ? UV_READABLE : 0) | (writes ? UV_WRITABLE : 0);
    c->polling = events != 0;
    if (events)
        uv_poll_start(&c->poll, events, on_ready);
    else
        uv_poll_stop(&c->poll);
}

static void want_all(struct session *x) {
    for (size_t i = 0; i < CHANNELS; i++) want(&x->channels[i]);
}

static int channel_watch(struct channel *c) {
    if (c->fd < 0) return 0;
    int flags = fcntl(c->fd, F_GETFL);
    if (flags < 0 || fcntl(c->fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    int r = uv_poll_init(c->session->execs->loop, &c->poll, c->fd);
    if (r < 0) return r;
    c->open_handle = true;
    c->session->handles++;
    return 0;
}

/* The session has ended, one way or another. The stream's last word was said before. */
static void over(struct session *x) {
    if (x->id) klink_exec_abandon(x->execs->klink, x->id); /* it is killed */
    x->id = 0;
    x->state = EXEC_OVER;
    for (size_t i = 0; i < CHANNELS; i++) channel_close(&x->channels[i]);
    x->master = -1;
}

static void fail(struct session *x, int code, const char *text) {
    if (x->stream) bus_fail(x->stream, code, "%s", text);
    over(x);
}

/* ---- output ---- */

static int send_output(struct session *x, const Orlop__ExecOutput *m) {
    x->packed = pb_pack(&m->base, &x->packed_len);
    if (!x->packed) return -ENOMEM;
    int r = bus_send(x->stream, x->packed, x->packed_len);
    if (r == -EAGAIN) return 0; /* kept; writable() comes */
    mem_free(steal_ptr(&x->packed));
    return r;
}

static int exit_code(int wait_status) {
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static void send_exit(struct session *x) {
    Orlop__ExecOutput m = ORLOP__EXEC_OUTPUT__INIT;
    Orlop__ExecExit e = ORLOP__EXEC_EXIT__INIT;
    e.code = exit_code(x->wait_status);
    m.what_case = ORLOP__EXEC_OUTPUT__WHAT_EXIT;
    m.exit = &e;
    int r = send_output(x, &m);
    if (r == 0 && !x->packed) bus_end(x->stream);
    if (r < 0)
        fail(x, r, "send the exit code");
    else if (!x->packed)
        over(x);
}

/* One read of C: 1 = something was sent, 0 = nothing is there now, or no credit; the end closes C.
 */
static int read_some(struct channel *c) {
    struct session *x = c->session;
    if (c->fd < 0 || x->packed) return 0;
    ssize_t n = read(c->fd, x->execs->read, READ_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) { /* a terminal's end is EIO */
        channel_close(c);
        return 0;
    }
    Orlop__ExecOutput m = ORLOP__EXEC_OUTPUT__INIT;
    bool err = c == &x->channels[ERR];
    m.what_case = err ? ORLOP__EXEC_OUTPUT__WHAT_ERR : ORLOP__EXEC_OUTPUT__WHAT_OUT;
    ProtobufCBinaryData *data = err ? &m.err : &m.out;
    *data = (ProtobufCBinaryData){.len = (size_t) n, .data = x->execs->read};
    int r = send_output(x, &m);
    if (r < 0) fail(x, r, "send the output");
    return r < 0 ? 0 : 1;
}

static void drain(struct session *x) {
    while (x->state == EXEC_DRAINING && !x->packed && read_some(&x->channels[OUT]) == 1) continue;
    while (x->state == EXEC_DRAINING && !x->packed && read_some(&x->channels[ERR]) == 1) continue;
    if (x->state != EXEC_DRAINING || x->packed) return;
    for (size_t i = 0; i < CHANNELS; i++) channel_close(&x->channels[i]);
    send_exit(x);
}

/* ---- input ---- */

static void give_credit(struct session *x) {
    size_t n = x->owed;
    x->owed = 0;
    if (n && x->stream) bus_consumed(x->stream, n);
}

static struct channel *input_channel(struct session *x) {
    return &x->channels[x->tty ? OUT : IN];
}

static void write_some(struct session *x) {
    struct channel *c = input_channel(x);
    while (c->fd >= 0 && x->input.len > 0) {
        ssize_t n = write(c->fd, x->input.data, x->input.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) { /* it has closed its stdin: what comes is dropped, as a shell's pipe would */
            if (!x->tty) channel_close(c);
            break;
        }
        buf_consume(&x->input, (size_t) n);
    }
    if (c->fd < 0) buf_reset(&x->input);
    if (x->input.len == 0) give_credit(x);
    if (x->eof && x->input.len == 0 && !x->tty && x->state != EXEC_STARTING) channel_close(c);
}

static void on_ready(uv_poll_t *h, int status, int events) {
    struct channel *c = container_of(h, struct channel, poll);
    struct session *x = c->session;
    if (status < 0) events = UV_READABLE | UV_WRITABLE; /* read and write say what it is */
    if (events & UV_WRITABLE) write_some(x);
    if ((events & UV_READABLE) && c != &x->channels[IN]) (void) read_some(c);
    if (x->state == EXEC_DRAINING) drain(x);
    if (x->state != EXEC_OVER) want_all(x);
}

/* Each session's input is bounded by its credit; a few hundred windows would be too much. */
static void keep_bounded(struct execs *e) {
    struct session *most = NULL;
    size_t sum = 0;
    list_each (it, &e->sessions) {
        struct session *x = list_entry(it, struct session, node);
        if (x->state == EXEC_OVER) continue;
        sum += x->input.len;
        if (!most || x->input.len > most->input.len) most = x;
    }
    if (sum > INPUTS_MAX && most)
        fail(most, -EBUSY,
             "the process reads too slowly, as others do: there is no room for more of its input");
}

static void add_input(struct session *x, const void *data, size_t len) {
    if (buf_add(&x->input, data, len) < 0) {
        fail(x, -ENOBUFS, "too much input waits for the process");
        return;
    }
    if (x->state == EXEC_RUNNING) write_some(x);
    keep_bounded(x->execs);
}

static void set_eof(struct session *x) {
    static const char ctrl_d = 4;
    if (x->eof) return;
    x->eof = true;
    if (x->tty)
        add_input(x, &ctrl_d, 1);
    else if (x->state == EXEC_RUNNING)
        write_some(x);
}

static void set_window(struct session *x, const Orlop__ExecWindow *w) {
    if (x->master < 0 || w->rows > WINDOW_SIDE_MAX || w->cols > WINDOW_SIDE_MAX) return;
    struct winsize size = {.ws_row = (unsigned short) w->rows, .ws_col = (unsigned short) w->cols};
    (void) ioctl(x->master, TIOCSWINSZ, &size); /* ended meanwhile: nothing to resize */
}

static void send_signal(struct session *x, int32_t signal) {
    if (signal < 1 || signal > SIGNAL_MAX || !x->id || x->state != EXEC_RUNNING) return;
    int r = klink_exec_signal(x->execs->klink, x->id, signal);
    if (r < 0) fail(x, r, "the signal could not be sent");
}

static void on_input(struct session *x, const Orlop__ExecInput *m) {
    switch (m->what_case) {
    case ORLOP__EXEC_INPUT__WHAT_DATA:
        if (!x->eof) add_input(x, m->data.data, m->data.len);
        return;
    case ORLOP__EXEC_INPUT__WHAT_EOF:
        set_eof(x);
        return;
    case ORLOP__EXEC_INPUT__WHAT_WINDOW:
        set_window(x, m->window);
        return;
    case ORLOP__EXEC_INPUT__WHAT_SIGNAL:
        send_signal(x, m->signal);
        return;
    case ORLOP__EXEC_INPUT__WHAT__NOT_SET:
    case _ORLOP__EXEC_INPUT__WHAT__CASE_IS_INT_SIZE:
        return;
    }
}

/* ---- the bus stream ---- */

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct session *x = ctx;
    if (x->state == EXEC_OVER) return;
    struct arena arena;
    arena_init(&arena, REQUEST_BUDGET + len * 2);
    const Orlop__ExecInput *m = arena_unpack(&arena, &orlop__exec_input__descriptor, body, len);
    if (m) {
        on_input(x, m);
        if (x->input.len > 0 && x->state != EXEC_OVER) {
            bus_stream_hold(s);
            x->owed += len;
        }
        want_all(x);
    } else {
        fail(x, -EBADMSG, "malformed input");
    }
    arena_fini(&arena);
}

static void on_end(void *ctx, struct bus_stream *s) {
    struct session *x = ctx;
    (void) s;
    if (x->state == EXEC_OVER) return;
    set_eof(x);
    want_all(x);
}

static void on_writable(void *ctx, struct bus_stream *s) {
    struct session *x = ctx;
    if (x->state == EXEC_OVER || !x->packed) return;
    int r = bus_send(s, x->packed, x->packed_len);
    if (r == -EAGAIN) return;
    mem_free(steal_ptr(&x->packed));
    if (r < 0)
        fail(x, r, "send the output");
    else if (x->state == EXEC_DRAINING)
        drain(x);
    if (x->state != EXEC_OVER) want_all(x);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct session *x = ctx;
    (void) s;
    (void) err;
    x->stream = NULL;
    if (x->state != EXEC_OVER) over(x);
    maybe_free(x);
}

static const struct bus_stream_ops stream_ops = {
    .data = on_data, .end = on_end, .writable = on_writable, .closed = on_closed};

/* ---- the keeper ---- */

static void on_started(void *ctx, int32_t pid, int master) {
    struct session *x = ctx;
    (void) pid;
    if (x->tty) {
        x->channels[OUT].fd = master;
        x->master = master;
        if (channel_watch(&x->channels[OUT]) < 0) {
            fail(x, -ENOMEM, "watch the terminal");
            return;
        }
    }
    x->state = EXEC_RUNNING;
    Orlop__ExecOutput m = ORLOP__EXEC_OUTPUT__INIT;
    m.what_case = ORLOP__EXEC_OUTPUT__WHAT_STARTED;
    m.started = true;
    int r = send_output(x, &m);
    if (r < 0) {
        fail(x, r, "send the start");
        return;
    }
    write_some(x);
    want_all(x);
}

static void on_exec_closed(void *ctx, int status, int32_t wait_status, const struct err *err) {
    struct session *x = ctx;
    x->id = 0;
    if (x->state == EXEC_OVER) return;
    if (status < 0) {
        fail(x, status, err && err->text[0] ? err->text : err_text(status));
        return;
    }
    x->wait_status = wait_status;
    x->state = EXEC_DRAINING;
    drain(x);
    if (x->state != EXEC_OVER) want_all(x);
}

/* To a script this is a command that failed, as in a shell: its exit code, a line on its stderr. */
static void on_no_program(void *ctx, int status, const struct err *err) {
    struct session *x = ctx;
    x->id = 0;
    if (x->state == EXEC_OVER) return;
    char line[ERR_TEXT_MAX + 16];
    snprintf(line, sizeof line, "orlop: %s%s", err->text, x->tty ? "\r\n" : "\n");
    Orlop__ExecOutput m = ORLOP__EXEC_OUTPUT__INIT;
    m.what_case = ORLOP__EXEC_OUTPUT__WHAT_ERR;
    m.err = (ProtobufCBinaryData){.len = strlen(line), .data = (uint8_t *) line};
    int r = send_output(x, &m);
    if (r < 0) {
        fail(x, r, "send the output");
        return;
    }
    x->wait_status = W_EXITCODE(status == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, 0);
    x->state = EXEC_DRAINING;
    drain(x);
}

static const struct klink_exec_ops klink_ops = {
    .started = on_started, .closed = on_exec_closed, .no_program = on_no_program};

/* ---- opening ---- */

static bool same_key(const char *a, const char *b) {
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n) == 0 && (b[n] == '=' || b[n] == 0);
}

/* The task's environment with the request's added over it. */
static int merge_env(struct arena *a, Orlop__KeeperExec *e, const Orlop__ExecRequest *req) {
    char **all = arena_alloc(a, (e->n_env + req->n_env + 1) * sizeof *all);
    if (!all) return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < e->n_env; i++) all[n++] = e->env[i];
    for (size_t i = 0; i < req->n_env; i++) {
        size_t at = 0;
        while (at < n && !same_key(req->env[i], all[at])) at++;
        all[at] = req->env[i];
        if (at == n) n++;
    }
    e->env = all;
    e->n_env = n;
    return 0;
}

struct pipes { /* the process's ends */
    int fds[3];
};

static void pipes_close(struct pipes *p) {
    for (size_t i = 0; i < 3; i++) fd_close(&p->fds[i]);
}

static int make_pipes(struct session *x, bool stdin_open, struct pipes *p) {
    for (size_t i = 0; i < 3; i++) {
        if (i == IN && !stdin_open) {
            p->fds[IN] = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (p->fds[IN] < 0) return -errno;
            continue;
        }
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
        p->fds[i] = ends[i == IN ? 0 : 1];
        x->channels[i].fd = ends[i == IN ? 1 : 0];
        int r = channel_watch(&x->channels[i]);
        if (r < 0) return r;
    }
    return 0;
}

static int ask_keeper(struct session *x, Orlop__KeeperExec *e, const struct pipes *p, int seccomp) {
    int fds[4];
    size_t n = 0;
    e->fd_seccomp = -1;
    if (!x->tty) {
        for (; n < 3; n++) fds[n] = p->fds[n];
        e->fd_stdin = 0;
        e->fd_stdout = 1;
        e->fd_stderr = 2;
    }
    if (seccomp >= 0) {
        e->fd_seccomp = (int32_t) n;
        fds[n++] = seccomp;
    }
    return klink_exec(x->execs->klink, e, fds, n, &klink_ops, x, &x->id);
}

static int start(struct session *x, const Orlop__ExecRequest *req, struct arena *arena,
                 struct err *err) {
    struct execs *s = x->execs;
    auto_fd int seccomp = -1;
    Orlop__KeeperExec e = ORLOP__KEEPER_EXEC__INIT;
    int r = s->ops->resolve(s->ctx, req, arena, &e, &seccomp, err);
    if (r < 0) return r;
    r = keeper_client_check(req->argv, req->n_argv, req->env, req->n_env, err);
    if (r < 0) return r;
    r = merge_env(arena, &e, req);
    if (r < 0) return err_set(err, r, "exec");
    r = keeper_client_check(req->argv, req->n_argv, e.env, e.n_env, err);
    if (r < 0) return r;
    e.argv = req->argv;
    e.n_argv = req->n_argv;
    if (*req->user) e.user = req->user;
    if (*req->cwd) e.cwd = req->cwd;
    e.tty = req->tty;
    e.rows = req->rows <= WINDOW_SIDE_MAX ? req->rows : 0;
    e.cols = req->cols <= WINDOW_SIDE_MAX ? req->cols : 0;
    struct pipes p = {{-1, -1, -1}};
    r = x->tty ? 0 : make_pipes(x, req->stdin_open, &p);
    if (r == 0) r = ask_keeper(x, &e, &p, seccomp);
    pipes_close(&p);
    return r < 0 ? err_set(err, r, "start the process") : 0;
}

static struct session *session_new(struct execs *e, struct bus_stream *s, bool tty) {
    struct session *x = mem_zalloc(sizeof *x);
    if (!x) return NULL;
    x->execs = e;
    x->stream = s;
    x->tty = tty;
    x->master = -1;
    buf_init(&x->input, INPUT_MAX);
    for (size_t i = 0; i < CHANNELS; i++) {
        x->channels[i].session = x;
        x->channels[i].fd = -1;
    }
    list_add_tail(&e->sessions, &x->node);
    e->n++;
    bus_stream_accept(s, &stream_ops, x);
    return x;
}

void execs_open(struct execs *e, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct arena arena;
    arena_init(&arena, REQUEST_BUDGET);
    const Orlop__ExecRequest *req =
        arena_unpack(&arena, &orlop__exec_request__descriptor, body, len);
    struct session *x = NULL;
    if (!req)
        bus_fail(s, -EINVAL, "the request to run a process is malformed");
    else if (req->n_argv == 0 || !*req->argv[0])
        bus_fail(s, -EINVAL, "there is no command to run");
    else if (*req->cwd && req->cwd[0] != '/')
        bus_fail(s, -EINVAL, "working directory \"%.200s\" is not absolute", req->cwd);
    else if (e->closing || e->n >= EXECS_MAX)
        bus_fail(s, -EBUSY, "%d processes run by exec already", EXECS_MAX);
    else if (!(x = session_new(e, s, req->tty)))
        bus_fail(s, -ENOMEM, "no memory");
    struct err err = {0};
    int r = x ? start(x, req, &arena, &err) : 0;
    if (r < 0) fail(x, r, err.text);
    arena_fini(&arena);
}

int execs_new(uv_loop_t *loop, struct klink *klink, const struct execs_ops *ops, void *ctx,
              struct execs **ret) {
    struct execs *e = mem_zalloc(sizeof *e);
    if (!e) return -ENOMEM;
    e->loop = loop;
    e->klink = klink;
    e->ops = ops;
    e->ctx = ctx;
    list_init(&e->sessions);
    *ret = e;
    return 0;
}

void execs_close(struct execs *e) {
    if (!e || e->closing) return;
    e->closing = true;
    list_each (it, &e->sessions) {
        struct session *x = list_entry(it, struct session, node);
        if (x->state != EXEC_OVER) fail(x, -ESHUTDOWN, "the agent ends");
    }
    if (list_empty(&e->sessions)) mem_free(e);
}
