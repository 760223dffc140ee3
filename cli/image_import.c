// SPDX-License-Identifier: Apache-2.0
#include "image_import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"
#include "render.h"
#include "runtime/base/buf.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "tarball.h"

enum { CHUNK_MAX = 64 << 10, ANSWER_MAX = 4 << 20, SHOW_MS = 200 };

struct import {
    const char *source, *name; /* name NULL: what the archive says */
    struct client *client;
    struct bus_stream *stream; /* NULL: over */
    struct inlet in;
    struct tarball tar;
    bool is_dir, end, show;
    int fd, read_error;
    char pending[CHUNK_MAX];
    size_t n_pending;
    uint64_t sent, size; /* size 0: unknown */
    int64_t shown_at;
    struct buf answer;
    struct err err;
};

static void show(struct import *m, bool last) {
    char sent[RENDER_BYTES_MAX], size[RENDER_BYTES_MAX];
    int64_t now = clock_mono_ms();
    if (!m->show || (!last && now - m->shown_at < SHOW_MS)) return;
    m->shown_at = now;
    fprintf(stderr, "\r%s: %s%s%s\033[K%s", m->source, render_bytes(m->sent, sent),
            m->size ? " of " : "", m->size ? render_bytes(m->size, size) : "", last ? "\n" : "");
}

/* A directory's archive may have ended because the packing failed: known once its thread is done.
 */
static void send_end(struct import *m) {
    if (m->is_dir && !m->tar.done) return;
    if (m->is_dir && m->tar.err.code)
        bus_cancel(m->stream);
    else
        bus_end(m->stream);
    m->end = false;
}

static void pump(struct import *m) {
    if (!m->stream) return;
    if (m->n_pending) {
        int r = bus_send(m->stream, m->pending, m->n_pending);
        if (r == -EAGAIN) {
            inlet_off(&m->in);
            return;
        }
        m->sent += m->n_pending;
        m->n_pending = 0;
        show(m, false);
    }
    if (m->end)
        send_end(m);
    else
        inlet_on(&m->in);
}

static void on_input(void *ctx, const char *data, ssize_t n) {
    struct import *m = ctx;
    if (n < 0) {
        m->read_error = (int) n;
        if (m->stream) bus_cancel(m->stream);
        return;
    }
    if (n == 0)
        m->end = true;
    else
        memcpy(m->pending, data, (size_t) n);
    m->n_pending = (size_t) n;
    pump(m);
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct import *m = ctx;
    (void) s;
    buf_add(&m->answer, body, len);
}

static void on_end(void *ctx, struct bus_stream *s) {
    (void) ctx;
    bus_end(s);
}

static void on_writable(void *ctx, struct bus_stream *s) {
    (void) s;
    pump(ctx);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct import *m = ctx;
    (void) s;
    m->stream = NULL;
    m->err = *err;
    inlet_off(&m->in);
}

static const struct bus_stream_ops ops = {on_data, on_end, on_writable, on_closed};

static int open_source(struct import *m) {
    struct stat st;
    if (str_eq(m->source, "-")) {
        m->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        return m->fd < 0 ? cli_fail(EXIT_FAILED, "the standard input is closed") : 0;
    }
    if (stat(m->source, &st) < 0)
        return cli_fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, "%s: %s", m->source,
                        err_text(errno));
    m->is_dir = S_ISDIR(st.st_mode);
    if (m->is_dir) {
        int r = tarball_start(&m->tar, client_loop(m->client), m->source);
        if (r < 0) return cli_fail(EXIT_FAILED, "pack %s: %s", m->source, err_text(r));
        m->fd = m->tar.read_fd;
        return 0;
    }
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
        return cli_fail(EXIT_FAILED, "%s is neither a file nor a directory nor a pipe", m->source);
    m->size = S_ISREG(st.st_mode) ? (uint64_t) st.st_size : 0;
    m->fd = open(m->source, O_RDONLY | O_CLOEXEC);
    return m->fd < 0 ? cli_fail(EXIT_FAILED, "%s: %s", m->source, err_text(errno)) : 0;
}

/* The name that was asked for, of all that the image has by now. */
static const char *name_of(const struct import *m, const Orlop__ImageInfo *info) {
    size_t n = m->name ? strlen(m->name) : 0;
    for (size_t i = 0; n && i < info->n_names; i++) {
        const char *have = info->names[i];
        if (str_starts(have, m->name) && (have[n] == 0 || have[n] == ':')) return have;
    }
    return info->n_names ? info->names[0] : "<none>";
}

static int say_result(struct import *m, bool quiet) {
    if (m->read_error)
        return cli_fail(EXIT_FAILED, "read %s: %s", m->source, err_text(m->read_error));
    if (m->is_dir && m->tar.err.code && m->tar.err.code != -EPIPE)
        return cli_fail(EXIT_FAILED, "%s", m->tar.err.text);
    if (m->err.code)
        return cli_fail(cli_exit_of(m->err.code) == EXIT_NOT_RUNNING ? EXIT_NOT_RUNNING
                                                                     : EXIT_FAILED,
                        "%s: %s", m->source, m->err.text[0] ? m->err.text : err_text(m->err.code));
    struct arena a;
    arena_init(&a, CLIENT_ARENA_MAX);
    const Orlop__ImageInfo *info =
        arena_unpack(&a, &orlop__image_info__descriptor, buf_str(&m->answer), m->answer.len);
    char size[RENDER_BYTES_MAX];
    if (info && quiet)
        puts(info->digest);
    else if (info)
        printf("%s  %s  %s\n", name_of(m, info), info->digest,
               render_bytes(info->size_bytes, size));
    int r = info ? EXIT_OK : cli_fail(EXIT_FAILED, "the scheduler's answer is malformed");
    arena_fini(&a);
    return r;
}

static int transfer(struct import *m, char *name) {
    Orlop__ImageImportRequest q = ORLOP__IMAGE_IMPORT_REQUEST__INIT;
    if (name) q.name = name;
    int r = inlet_open(&m->in, client_loop(m->client), m->fd, on_input, m);
    if (r == 0)
        r = bus_request_pb(client_conn(m->client), ORLOP__METHOD__IMAGE_IMPORT, &q.base, &ops, m,
                           &m->stream);
    if (r < 0) return cli_fail(cli_exit_of(r), "%s", err_text(r));
    inlet_on(&m->in);
    while (m->stream) {
        client_turn(m->client);
        if (m->end && !m->n_pending) pump(m); /* the thread that packs may be done now */
    }
    show(m, true);
    return 0;
}

int image_import_run(struct client *c, const char *source, char *name, bool quiet) {
    static struct import m; /* not for the stack */
    m = (struct import){.source = source, .name = name, .client = c, .fd = -1};
    m.show = !quiet && isatty(STDERR_FILENO);
    buf_init(&m.answer, ANSWER_MAX);
    int r = open_source(&m);
    if (!r) r = transfer(&m, name);
    inlet_close(&m.in);
    client_turn(c);  /* the epoll goes before what it watches */
    fd_close(&m.fd); /* a thread that still packs gets EPIPE */
    while (m.is_dir && m.tar.work.loop && !m.tar.done) client_turn(c);
    if (!r) r = say_result(&m, quiet);
    buf_fini(&m.answer);
    return r;
}
