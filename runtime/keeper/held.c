// SPDX-License-Identifier: Apache-2.0
/* What the anchor keeps open: hold.sock, the anchor's side (records: hold.h).
 *
 * FIFOs        so that no byte in them gets lost while there is no keeper.
 * pidfds       of the sandboxes. One that an earlier anchor's keeper has started is no descendant of
 *              ours: when it ends while there is no keeper, pid 1 reaps it. From 6.15 on its pidfd
 *              tells us how (POLLHUP comes with the reaping), and we write the record. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "anchor_int.h"
#include "hold.h"
#include "outq.h"
#include "process.h"
#include "reap.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

struct held {
    struct anchor *anchor;
    int fd;
    bool named;                 /* since the keeper's present connection */
    struct loop_source process; /* a pidfd, until it is reaped */
    pid_t pid;                  /* of a pidfd: whose, and when it was started */
    uint64_t start_ticks;
    bool reaped; /* and no record written by us */
    struct loop_garbage garbage;
};

static void drop(struct anchor *a, const char *name) {
    struct held *h = map_del(&a->held, name);
    if (!h) return;
    (void) loop_release(&a->loop, &h->process);
    fd_close(&h->fd);
    loop_free_later(&a->loop, &h->garbage, h);
}

/* ---- sandboxes that are nobody's children ---- */

static void record(struct anchor *a, struct held *h) {
    struct record_exit rec = {
        .start_ticks = h->start_ticks, .time_unix_ns = clock_unix_ns(), .pid = h->pid, .known = 1};
    if (!reap_ask(h->fd, &rec.wait_status)) return;
    int r = records_add_exit(&a->records, &rec); /* twice is as good as once */
    if (r < 0) log_error("exit.record", "pid=%d err=\"%s\"", (int) h->pid, err_text(r));
    h->reaped = r < 0;
}

static void on_reaped(struct loop_source *s, uint32_t events) {
    (void) events;
    struct held *h = container_of(s, struct held, process);
    (void) loop_release(&h->anchor->loop, s); /* the descriptor stays h->fd */
    h->reaped = true;
    if (!h->anchor->keeper.ready || !h->named) record(h->anchor, h); /* else the keeper sees it */
}

static void watch(struct anchor *a, struct held *h, const struct hold_record *r) {
    h->pid = r->pid;
    h->start_ticks = r->start_ticks;
    if (loop_add(&a->loop, &h->process, h->fd, 0, on_reaped) < 0) /* POLLHUP comes always */
        log_warn("held.process", "pid=%d err=\"not watched\"", (int) h->pid);
}

/* ---- records ---- */

/* TAKES FD. */
static void hold(struct anchor *a, const struct hold_record *r, int fd) {
    const char *name = r->name;
    drop(a, name);
    struct held *h = mem_alloc(sizeof *h);
    if (h) *h = (struct held){.anchor = a, .fd = fd, .named = true};
    if (h && map_set(&a->held, name, h) == 0) {
        if (str_ends(name, HOLD_PROCESS)) watch(a, h, r);
        return;
    }
    log_error("held.lost", "name=\"%s\" err=\"no memory\"", name);
    mem_free(h);
    fd_close(&fd);
}

static void name_none(struct anchor *a) {
    const char *name;
    void *value;
    for (size_t i = 0; map_next(&a->held, &i, &name, &value);)
        ((struct held *) value)->named = false;
}

/* A process that the new keeper did not find alive: it may wait for our record. */
static void drop_unnamed(struct anchor *a) {
    const char *name;
    void *value;
    for (size_t i = 0; map_next(&a->held, &i, &name, &value);) {
        struct held *h = value;
        if (h->named) continue;
        if (h->pid > 0) record(a, h);
        drop(a, name);
    }
}

/* ---- a keeper of another version ---- */

/* We hold all that it has: it may become what we are. Once, or it would be for ever where the keeper
 * does not come out as we expect. */
static void upgrade_keeper(struct anchor *a) {
    if (a->compared) return;
    a->compared = true;
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/exe", (int) a->roles[ROLE_KEEPER].pid);
    auto_fd int its = open(path, O_RDONLY | O_CLOEXEC);
    auto_fd int ours = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int same = its < 0 || ours < 0 ? -ENOENT : process_same_file(its, ours);
    if (same == 1) return;
    struct hold_record r = {.magic = HOLD_MAGIC, .op = HOLD_UPGRADE};
    int sent = same == 0 ? packet_send(a->keeper.fd, &r, sizeof r, &ours, 1) : same;
    log_info("keeper.upgrade", "pid=%d asked=\"%s\"", (int) a->roles[ROLE_KEEPER].pid,
             sent == 0 ? "yes" : err_text(sent));
}

static void keeper_gone(struct anchor *a) {
    loop_remove(&a->loop, &a->keeper);
    a->next_connect_ms = a->now_ms;
}

static void say(struct anchor *a, enum hold_op op) {
    struct hold_record r = {.magic = HOLD_MAGIC, .op = op};
    int e = a->keeper.ready ? packet_send(a->keeper.fd, &r, sizeof r, NULL, 0) : 0;
    if (e < 0 && e != -EPIPE) log_warn("held.say", "op=%d err=\"%s\"", op, err_text(e));
}

static void on_record(struct anchor *a, struct hold_record *r, int *fd) {
    r->name[sizeof r->name - 1] = 0;
    switch (r->op) {
    case HOLD_HOLD:
        if (*fd >= 0) hold(a, r, steal_fd(fd));
        break;
    case HOLD_DROP:
        drop(a, r->name);
        break;
    case HOLD_SYNC:
        drop_unnamed(a);
        say(a, HOLD_SYNCED);
        upgrade_keeper(a);
        break;
    default:
        log_warn("held.record", "op=%u", r->op);
    }
}

/* One record. False: there is no more for now, or for ever. */
static bool take(struct anchor *a) {
    struct hold_record r;
    int fds[PACKET_FDS_MAX];
    size_t n_fds;
    int n = packet_receive(a->keeper.fd, &r, sizeof r, fds, &n_fds);
    if (n == -EAGAIN) return false;
    if (n == sizeof r && r.magic == HOLD_MAGIC && n_fds <= 1) {
        int fd = n_fds ? fds[0] : -1;
        on_record(a, &r, &fd);
        fd_close(&fd);
        return true;
    }
    if (n == -EMSGSIZE) /* out of descriptors, most likely: RLIMIT_NOFILE is too low */
        log_error("held.lost", "err=\"a FIFO could not be held\"");
    for (size_t i = 0; i < n_fds; i++) fd_close(&fds[i]);
    if (n == -EMSGSIZE) return true;
    keeper_gone(a);
    return false;
}

static void on_keeper(struct loop_source *s, uint32_t events) {
    (void) events;
    (void) take(container_of(s, struct anchor, keeper));
}

/* Its last words name the FIFOs of what it has just started; a child of it that is about to end may
 * still hold the socket open, so the end of the file is not waited for. */
void anchor__held_rest(struct anchor *a) {
    while (a->keeper.ready && take(a)) continue;
    keeper_gone(a);
    const char *name;
    void *value;
    for (size_t i = 0; map_next(&a->held, &i, &name, &value);)
        if (((struct held *) value)->reaped) record(a, value);
}

void anchor__held_turn(struct anchor *a) {
    if (a->keeper.ready || !a->roles[ROLE_KEEPER].pid || a->now_ms < a->next_connect_ms) return;
    a->next_connect_ms = a->now_ms + HELD_RETRY_MS;
    char path[PATHS_FULL_MAX];
    auto_fd int fd = packet_connect(paths_run(&a->paths, "hold.sock", path));
    if (fd < 0) return; /* it is not up yet */
    name_none(a);
    if (loop_add(&a->loop, &a->keeper, fd, EPOLLIN, on_keeper) == 0) fd = -1; /* the loop's */
}

void anchor__held_farewell(struct anchor *a) {
    say(a, HOLD_FAREWELL);
}
