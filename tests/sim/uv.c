// SPDX-License-Identifier: Apache-2.0
/* The part of libuv that scheduler and agent use, on simulated time. A handle's own fields keep
 * what is pending; work of the pool runs in one piece at a moment of its own. */
#include <uv.h>

#include "poll.h"
#include "runtime/base/mem.h"
#include "sim.h"

/* --- timers ---------------------------------------------------------------------------------- */

enum { EVENT = 0 }; /* heap_node[]: the pending event; NULL = not active */

int uv_timer_init(uv_loop_t *loop, uv_timer_t *t) {
    t->loop = loop;
    t->type = UV_TIMER;
    t->heap_node[EVENT] = NULL;
    return 0;
}

static void arm(uv_timer_t *t, uint64_t ms);

static void fire(void *arg) {
    uv_timer_t *t = arg;
    t->heap_node[EVENT] = NULL;
    if (t->repeat) arm(t, t->repeat);
    t->timer_cb(t);
}

static void arm(uv_timer_t *t, uint64_t ms) {
    int64_t late = sim.chaos ? sim_below(400) : 0; /* a timer is late, never early */
    t->heap_node[EVENT] = sim_after_us(sim.who, (int64_t) ms * 1000 + late, fire, t);
}

int uv_timer_stop(uv_timer_t *t) {
    sim_cancel(t->heap_node[EVENT]);
    t->heap_node[EVENT] = NULL;
    return 0;
}

int uv_timer_start(uv_timer_t *t, uv_timer_cb cb, uint64_t timeout, uint64_t repeat) {
    uv_timer_stop(t);
    t->timer_cb = cb;
    t->repeat = repeat;
    arm(t, timeout);
    return 0;
}

/* --- the keeper's socket --------------------------------------------------------------------- */

int uv_poll_init(uv_loop_t *loop, uv_poll_t *p, int fd) {
    p->loop = loop;
    p->type = UV_POLL;
    p->poll_cb = NULL;
    sim_poll_attach(fd, p);
    return 0;
}

int uv_poll_start(uv_poll_t *p, int events, uv_poll_cb cb) {
    (void) events; /* the simulated socket always takes more */
    p->poll_cb = cb;
    return 0;
}

int uv_poll_stop(uv_poll_t *p) {
    p->poll_cb = NULL;
    return 0;
}

/* --- handles and jobs ------------------------------------------------------------------------ */

int uv_is_active(const uv_handle_t *h) {
    return ((const uv_timer_t *) h)->heap_node[EVENT] != NULL;
}

static void closed(void *arg) {
    uv_handle_t *h = arg;
    if (h->close_cb) h->close_cb(h);
}

void uv_close(uv_handle_t *h, uv_close_cb cb) {
    h->close_cb = cb;
    if (h->type == UV_TIMER) uv_timer_stop((uv_timer_t *) h);
    if (h->type == UV_POLL) sim_poll_detach((uv_poll_t *) h);
    sim_after_us(sim.who, 0, closed, h);
}

void uv_update_time(uv_loop_t *loop) {
    (void) loop;
}

static void job_done(void *arg) {
    uv_work_t *w = arg;
    w->after_work_cb(w, 0);
}

static void job_run(void *arg) {
    uv_work_t *w = arg;
    w->work_cb(w);
    sim_after_us(sim.who, sim_delay_us(50, 20000), job_done, w);
}

int uv_queue_work(uv_loop_t *loop, uv_work_t *w, uv_work_cb run, uv_after_work_cb after) {
    w->loop = loop;
    w->work_cb = run;
    w->after_work_cb = after;
    sim_after_us(sim.who, sim_delay_us(100, 300000), job_run, w);
    return 0;
}
