// SPDX-License-Identifier: Apache-2.0
/* cli/fdio.h - read and write descriptors that belong to others as well, without ever blocking.
 *
 * Role     stdin, stdout and stderr are shared with the shell: O_NONBLOCK must not be set on them.
 *          They are watched through an epoll of our own, and written through a description of our
 *          own where there can be one. A stopped terminal or pager therefore never stops the
 *          heartbeat.
 * Thread   one.
 */
#ifndef ORLOP_CLI_FDIO_H
#define ORLOP_CLI_FDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "runtime/base/buf.h"

struct watch {
    uv_poll_t poll;
    int epoll; /* -1: FD cannot be watched, it is always ready */
    bool open;
};

struct inlet {
    struct watch watch;
    uv_idle_t idle; /* for what is always ready */
    int fd;
    bool on, over;
    /* N > 0 bytes; 0: end; negative errno. After the last two nothing more comes. */
    void (*got)(void *ctx, const char *data, ssize_t n);
    void *ctx;
};

/* FD stays the caller's. 0 or negative errno. Nothing is read before inlet_on. */
must_use int inlet_open(struct inlet *in, uv_loop_t *loop, int fd,
                        void (*got)(void *ctx, const char *data, ssize_t n), void *ctx);
void inlet_on(struct inlet *in);
void inlet_off(struct inlet *in);
void inlet_close(struct inlet *in); /* the loop must turn once more */

struct outlet {
    struct watch watch;
    int fd;     /* to write to */
    int own_fd; /* ours to close, or -1 */
    bool socket, blocking, watching;
    int error;
    struct buf queue;
    void (*drained)(void *ctx); /* the queue is empty again; not within outlet_write */
    void *ctx;
};

must_use int outlet_open(struct outlet *out, uv_loop_t *loop, int fd, void (*drained)(void *ctx),
                         void *ctx);
/* Writes what it can and keeps the rest. 0, or the first error, for ever. */
int outlet_write(struct outlet *out, const void *data, size_t n);
static inline size_t outlet_queued(const struct outlet *out) {
    return out->queue.len;
}
void outlet_close(struct outlet *out); /* drops the queue; the loop must turn once more */

#endif
