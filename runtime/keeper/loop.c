// SPDX-License-Identifier: Apache-2.0
#include "loop.h"

#include <errno.h>
#include <stddef.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

int loop_init(struct loop *l) {
    *l = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    return l->epoll < 0 ? -errno : 0;
}

static void sweep(struct loop *l) {
    while (l->garbage) {
        struct loop_garbage *g = l->garbage;
        l->garbage = g->next;
        mem_free(g->memory);
    }
}

void loop_fini(struct loop *l) {
    sweep(l);
    fd_close(&l->epoll);
}

int loop_add(struct loop *l, struct loop_source *s, int fd, uint32_t events,
             void (*ready)(struct loop_source *s, uint32_t events)) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0) return -errno;
    s->fd = fd;
    s->ready = ready;
    return 0;
}

void loop_events(struct loop *l, struct loop_source *s, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    ensure(s->ready);
    ensure(epoll_ctl(l->epoll, EPOLL_CTL_MOD, s->fd, &e) == 0);
}

int loop_release(struct loop *l, struct loop_source *s) {
    if (!s->ready) return -1;
    (void) epoll_ctl(l->epoll, EPOLL_CTL_DEL, s->fd, NULL); /* cannot fail for what was added */
    s->ready = NULL;
    return steal_fd(&s->fd);
}

void loop_remove(struct loop *l, struct loop_source *s) {
    int fd = loop_release(l, s);
    fd_close(&fd);
}

void loop_free_later(struct loop *l, struct loop_garbage *node, void *memory) {
    node->memory = memory;
    node->next = l->garbage;
    l->garbage = node;
}

int loop_turn(struct loop *l, int timeout_ms, int64_t *ret_now_ms) {
    struct epoll_event e[LOOP_BATCH];
    int n = epoll_wait(l->epoll, e, LOOP_BATCH, timeout_ms);
    if (n < 0 && errno != EINTR) return -errno;
    *ret_now_ms = clock_mono_ms();
    for (int i = 0; i < n; i++) {
        struct loop_source *s = e[i].data.ptr;
        if (s->ready) s->ready(s, e[i].events); /* an earlier callback may have removed it */
    }
    sweep(l);
    return n < 0 ? 0 : n;
}
