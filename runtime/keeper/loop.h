// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/loop.h - a small epoll loop, for the keeper, the anchor and the proxy.
 *
 * Role     descriptors with a callback. Nothing else: timers are a deadline that the caller gives
 *          to loop_turn, signals a signalfd.
 * Thread   [keeper]: one loop a process.
 * Owns     the epoll descriptor; the descriptors of its sources from loop_add to loop_remove.
 * Limits   LOOP_BATCH events a turn. A source may be removed at any time, also by another one's
 *          callback; its memory must stay until the turn is over: give it to loop_free_later.
 */
#ifndef ORLOP_KEEPER_LOOP_H
#define ORLOP_KEEPER_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

#include "runtime/base/err.h"

enum { LOOP_BATCH = 64 };

struct loop_source {
    int fd;                                                /* valid while READY is set */
    void (*ready)(struct loop_source *s, uint32_t events); /* NULL: not in the loop */
};

struct loop_garbage {
    struct loop_garbage *next;
    void *memory;
};

struct loop {
    int epoll;
    struct loop_garbage *garbage;
};

must_use int loop_init(struct loop *l);
void loop_fini(struct loop *l);

/* TAKES FD on success. */
must_use int loop_add(struct loop *l, struct loop_source *s, int fd, uint32_t events,
                      void (*ready)(struct loop_source *s, uint32_t events));
void loop_events(struct loop *l, struct loop_source *s, uint32_t events);
void loop_remove(struct loop *l, struct loop_source *s); /* closes; harmless twice or when zeroed */
int loop_release(struct loop *l, struct loop_source *s); /* removes, and the fd is the caller's */

/* Free MEMORY, in which NODE lies, when the turn is over. */
void loop_free_later(struct loop *l, struct loop_garbage *node, void *memory);

/* Wait at most TIMEOUT_MS (-1 = for ever), set *RET_NOW_MS (CLOCK_MONOTONIC), and call back what is
 * ready: how many, LOOP_BATCH at most. So no callback reckons with the time before the wait. */
must_use int loop_turn(struct loop *l, int timeout_ms, int64_t *ret_now_ms);

#endif
