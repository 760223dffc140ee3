// SPDX-License-Identifier: Apache-2.0
/* An import: bytes of the stream go through a socket to a thread that runs image_import_if.
 *
 * Happy    DATA -> socket -> store; END closes the socket as "whole"; the thread posts its result;
 *          the answer goes out; closed() and the handles' close callbacks free it.
 * Slow     the socket is full: what came stays in `pending`, at most the stream's window, and no
 *          credit goes back until the thread has taken it. Nobody else waits for this.
 * Gone     the stream closes before END: the socket is closed, not "whole"; the store throws away
 *          what it has.
 * Refused  the thread ends early and closes its end: what still comes is dropped, the answer is the
 *          error.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "agent/images_internal.h"
#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { PENDING_MAX = BUS_WINDOW + BUS_FRAME_MAX };

struct import {
    struct agent_images *owner;
    struct bus_stream *stream; /* NULL: closed */
    char *name;
    uv_thread_t thread;
    uv_async_t done; /* the thread's last act */
    uv_poll_t poll;  /* room in the socket */
    int write_fd, read_fd;
    unsigned handles; /* not yet closed */
    bool polling, finished, ended /* END came */;
    atomic_bool whole;
    struct buf pending;
    size_t taken; /* of pending, given to the socket */

    int result;
    struct err err;
    struct image_info info;
};

static void free_if_over(struct import *m) {
    if (m->handles || m->stream) return;
    m->owner->imports--;
    agent_images__unref(m->owner);
    fd_close(&m->write_fd);
    fd_close(&m->read_fd);
    image_info_fini(&m->info);
    buf_fini(&m->pending);
    mem_free(m->name);
    mem_free(m);
}

static void on_async_closed(uv_handle_t *h) {
    struct import *m = container_of((uv_async_t *) h, struct import, done);
    m->handles--;
    free_if_over(m);
}

static void on_poll_closed(uv_handle_t *h) {
    struct import *m = container_of((uv_poll_t *) h, struct import, poll);
    m->handles--;
    fd_close(&m->write_fd); /* only now is libuv done with it */
    free_if_over(m);
}

/* [import thread] The sender is gone, or all of it came. */
static bool is_whole(void *ctx) {
    struct import *m = ctx;
    return atomic_load(&m->whole);
}

static void run(void *ctx) {
    struct import *m = ctx;
    m->result =
        image_import_if(m->owner->store, m->read_fd, m->name, is_whole, m, &m->info, &m->err);
    fd_close(&m->read_fd); /* the loop's writes fail from here on */
    uv_async_send(&m->done);
}

/* No more bytes for the thread: it sees the end once it has read what is in the socket. */
static void end_input(struct import *m) {
    if (m->write_fd < 0 || uv_is_closing((uv_handle_t *) &m->poll)) return;
    (void) shutdown(m->write_fd, SHUT_WR); /* fails only when the thread has hung up: as good */
    uv_close((uv_handle_t *) &m->poll, on_poll_closed);
}

static void drop_pending(struct import *m) {
    size_t rest = m->pending.len - m->taken;
    buf_reset(&m->pending);
    m->taken = 0;
    if (m->stream && rest) bus_consumed(m->stream, rest);
}

static void on_room(uv_poll_t *h, int status, int events);

static void set_polling(struct import *m, bool on) {
    if (m->polling == on) return;
    m->polling = on;
    if (on)
        (void) uv_poll_start(&m->poll, UV_WRITABLE, on_room); /* fails only for a closing handle */
    else
        (void) uv_poll_stop(&m->poll);
}

static void flush(struct import *m) {
    if (uv_is_closing((uv_handle_t *) &m->poll)) {
        drop_pending(m);
        return;
    }
    while (m->taken < m->pending.len) {
        ssize_t n = send(m->write_fd, m->pending.data + m->taken, m->pending.len - m->taken,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            set_polling(m, true);
            return;
        }
        if (n < 0) { /* the import has failed already: its result is on the way */
            end_input(m);
            drop_pending(m);
            return;
        }
        m->taken += (size_t) n;
        if (m->stream) bus_consumed(m->stream, (size_t) n);
    }
    buf_reset(&m->pending);
    m->taken = 0;
    set_polling(m, false);
    if (!m->ended) return;
    atomic_store(&m->whole, true);
    end_input(m);
}

static void on_room(uv_poll_t *h, int status, int events) {
    (void) status;
    (void) events;
    flush(container_of(h, struct import, poll));
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct import *m = ctx;
    if (m->finished) return;
    if (m->taken > BUS_WINDOW / 2) {
        buf_consume(&m->pending, m->taken);
        m->taken = 0;
    }
    bus_stream_hold(s);
    if (buf_add(&m->pending, body, len) < 0) {
        bus_fail(s, -buf_error(&m->pending), "no memory for the archive");
        return;
    }
    flush(m);
}

static void on_end(void *ctx, struct bus_stream *s) {
    struct import *m = ctx;
    (void) s;
    m->ended = true;
    if (!m->finished) flush(m);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct import *m = ctx;
    (void) s;
    (void) err;
    m->stream = NULL;
    /* After END the import goes on without its sender; what is still pending is sent. */
    if (!m->ended) end_input(m);
    free_if_over(m);
}

static const struct bus_stream_ops import_ops = {
    .data = on_data, .end = on_end, .closed = on_closed};

static void on_done(uv_async_t *h) {
    struct import *m = container_of(h, struct import, done);
    struct strv in_use = {0};
    uv_thread_join(&m->thread); /* it has nothing left to do */
    m->finished = true;
    drop_pending(m);
    end_input(m);
    if (m->owner->in_use) m->owner->in_use(m->owner->ctx, &in_use);
    agent_images__answer_info(m->stream, m->result, &m->err, &m->info, &in_use);
    strv_fini(&in_use);
    uv_close((uv_handle_t *) h, on_async_closed);
}

static int start(struct import *m) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) return -errno;
    m->write_fd = fds[0];
    m->read_fd = fds[1];
    int r = uv_async_init(m->owner->loop, &m->done, on_done);
    if (r < 0) return r;
    m->handles++;
    r = uv_poll_init(m->owner->loop, &m->poll, m->write_fd); /* makes it non-blocking */
    if (r < 0) return r;
    m->handles++;
    return uv_thread_create(&m->thread, run, m);
}

/* Nothing runs yet: the handles that there are close, the last of them frees. */
static void give_up(struct import *m) {
    if (m->handles > 1) uv_close((uv_handle_t *) &m->poll, on_poll_closed);
    if (m->handles > 0) uv_close((uv_handle_t *) &m->done, on_async_closed);
    free_if_over(m);
}

void agent_images__import(struct agent_images *a, struct bus_stream *s, const char *name) {
    if (a->imports >= AGENT_IMAGES_IMPORTS_MAX) {
        bus_fail(s, EBUSY, "%u imports are under way on this node: try again later", a->imports);
        return;
    }
    struct import *m = mem_zalloc(sizeof *m);
    if (!m || !(m->name = mem_strdup(name))) {
        mem_free(m);
        bus_fail(s, ENOMEM, "no memory for the import");
        return;
    }
    m->owner = a;
    m->write_fd = m->read_fd = -1;
    buf_init(&m->pending, PENDING_MAX);
    a->refs++;
    a->imports++;
    int r = start(m);
    if (r < 0) {
        bus_fail(s, -r, "import: %s", err_text(r));
        give_up(m);
        return;
    }
    m->stream = s;
    bus_stream_accept(s, &import_ops, m);
}
