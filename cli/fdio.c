// SPDX-License-Identifier: Apache-2.0
#include "fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { READ_CHUNK = 64 << 10, QUEUE_MAX = 64 << 20 };

/* --- watch ---------------------------------------------------------------------------------- */

static int watch_open(struct watch *w, uv_loop_t *loop, int fd, uint32_t events) {
    *w = (struct watch){.epoll = -1};
    auto_fd int ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0) return -errno;
    struct epoll_event e = {.events = events};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0) return errno == EPERM ? 0 : -errno;
    int r = uv_poll_init(loop, &w->poll, ep);
    if (r < 0) return r;
    w->epoll = steal_fd(&ep);
    w->open = true;
    return 0;
}

static void on_watch_closed(uv_handle_t *h) {
    struct watch *w = container_of((uv_poll_t *) h, struct watch, poll);
    fd_close(&w->epoll);
}

static void watch_close(struct watch *w) {
    if (!w->open) return;
    w->open = false;
    uv_close((uv_handle_t *) &w->poll, on_watch_closed);
}

/* --- inlet ---------------------------------------------------------------------------------- */

static void read_some(struct inlet *in) {
    static char chunk[READ_CHUNK];
    ssize_t n = read(in->fd, chunk, sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) n = -errno;
    if (n == -EIO) n = 0; /* a terminal that hung up */
    if (n <= 0) {
        inlet_off(in);
        in->over = true;
    }
    in->got(in->ctx, chunk, n);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    struct watch *w = container_of(poll, struct watch, poll);
    (void) status;
    (void) events;
    read_some(container_of(w, struct inlet, watch));
}

static void on_idle(uv_idle_t *idle) {
    read_some(container_of(idle, struct inlet, idle));
}

int inlet_open(struct inlet *in, uv_loop_t *loop, int fd,
               void (*got)(void *ctx, const char *data, ssize_t n), void *ctx) {
    *in = (struct inlet){.fd = fd, .got = got, .ctx = ctx};
    int r = watch_open(&in->watch, loop, fd, EPOLLIN);
    if (r == 0) (void) uv_idle_init(loop, &in->idle);
    return r;
}

void inlet_on(struct inlet *in) {
    if (in->on || in->over) return;
    in->on = true;
    if (in->watch.open)
        (void) uv_poll_start(&in->watch.poll, UV_READABLE, on_readable);
    else
        (void) uv_idle_start(&in->idle, on_idle);
}

void inlet_off(struct inlet *in) {
    if (!in->on) return;
    in->on = false;
    if (in->watch.open)
        (void) uv_poll_stop(&in->watch.poll);
    else
        (void) uv_idle_stop(&in->idle);
}

void inlet_close(struct inlet *in) {
    if (!in->got) return;
    inlet_off(in);
    in->got = NULL;
    watch_close(&in->watch);
    uv_close((uv_handle_t *) &in->idle, NULL);
}

/* --- outlet --------------------------------------------------------------------------------- */

/* A description of our own for a pipe or terminal, so that it can be made non-blocking. */
static int reopen(int fd) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int outlet_open(struct outlet *out, uv_loop_t *loop, int fd, void (*drained)(void *ctx),
                void *ctx) {
    struct stat st;
    *out = (struct outlet){.fd = fd, .own_fd = -1, .drained = drained, .ctx = ctx};
    out->watch.epoll = -1;
    buf_init(&out->queue, QUEUE_MAX);
    if (fstat(fd, &st) < 0) return -errno;
    out->socket = S_ISSOCK(st.st_mode);
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) out->own_fd = reopen(fd);
    if (out->own_fd >= 0) out->fd = out->own_fd;
    int r = watch_open(&out->watch, loop, out->fd, EPOLLOUT);
    out->blocking = r == 0 && !out->watch.open; /* a file */
    return r;
}

/* Without a description of our own at most what a ready pipe takes without blocking. */
static ssize_t write_once(const struct outlet *out, const char *p, size_t n) {
    if (out->socket) return send(out->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    bool careful = out->own_fd < 0 && !out->blocking && n > PIPE_BUF;
    return write(out->fd, p, careful ? PIPE_BUF : n);
}

static void on_writable(uv_poll_t *poll, int status, int events) {
    struct watch *w = container_of(poll, struct watch, poll);
    struct outlet *out = container_of(w, struct outlet, watch);
    (void) status;
    (void) events;
    ssize_t n = write_once(out, out->queue.data, out->queue.len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
        out->error = -errno;
        buf_reset(&out->queue);
    } else {
        buf_consume(&out->queue, (size_t) n);
    }
    if (out->queue.len > 0) return;
    out->watching = false;
    (void) uv_poll_stop(poll);
    if (out->drained) out->drained(out->ctx);
}

int outlet_write(struct outlet *out, const void *data, size_t n) {
    const char *p = data;
    bool direct = out->queue.len == 0 && (out->own_fd >= 0 || out->blocking || out->socket);
    while (!out->error && direct && n > 0) {
        ssize_t k = write_once(out, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && errno == EAGAIN) break;
        if (k < 0) {
            out->error = -errno;
            return out->error;
        }
        p += k;
        n -= (size_t) k;
    }
    if (out->error || n == 0) return out->error;
    out->error = buf_add(&out->queue, p, n);
    if (!out->watching && !out->error) {
        out->watching = true;
        (void) uv_poll_start(&out->watch.poll, UV_READABLE, on_writable); /* of the epoll */
    }
    return out->error;
}

void outlet_close(struct outlet *out) {
    watch_close(&out->watch);
    fd_close(&out->own_fd);
    buf_fini(&out->queue);
}
