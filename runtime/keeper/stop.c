// SPDX-License-Identifier: Apache-2.0
/* CLOSE, SIGNAL, FORGET, SHUTDOWN, and the ends of attempts.
 *
 * Our own child      (also from before an upgrade) pidfd readable: look, record, reap (reap.h).
 * An adopted one     (a keeper before us cloned it) the anchor reaps and records: its record is
 *                    awaited. Where nobody of ours is its ancestor any more, kernels from 6.15
 *                    on tell the code by the pidfd after pid 1 has reaped; else it is reported
 *                    as unknown, never as 0.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"
#include "reap.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/container/cgroup.h"

enum { UNREAPED_MAX_MS = 10000, UNRECORDED_MAX_MS = 30000 };

static void answer_closers(struct task *t) {
    for (size_t i = 0; i < KEEPER_CLOSE_WAITERS_MAX; i++) {
        struct waiter w = t->closers[i];
        t->closers[i] = (struct waiter){0};
        if (!w.peer) continue;
        Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
        Orlop__KeeperTask task = ORLOP__KEEPER_TASK__INIT;
        task.task = t->id;
        m.id = w.id;
        m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_CLOSED;
        m.closed = &task;
        keeper__send(w.peer, &m, -1);
    }
}

static void announce(struct keeper *k, const struct attempt *a) {
    if (a->failure) return; /* `failed` has said it */
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__SandboxEntry e;
    keeper__entry(a, &e);
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_EXITED;
    m.exited = &e;
    keeper__send_all(k, &m);
}

void keeper__attempt_ended(struct keeper *k, struct attempt *a, const struct record_exit *how) {
    if (a->status.ready) keeper__start_resolve(k, a); /* exec'ed, and ended at once? */
    keeper__attempt_move(a, ATTEMPT_ENDED);
    a->exit_known = how->known;
    a->never_ran = how->never_ran;
    a->wait_status = how->known ? how->wait_status : 0;
    a->ended_unix_ns = how->time_unix_ns;
    loop_remove(&k->loop, &a->pidfd);
    loop_remove(&k->loop, &a->status);
    list_del(&a->in_awaiting);
    fd_close(&a->pidfd_awaiting);
    keeper__hold_drop_process(k, a);
    keeper__streams_finish(k, a); /* before the event: who follows the log ends with it */
    keeper__answer_starter(a);
    announce(k, a);
    if (!keeper__attempt_living(a->task)) answer_closers(a->task);
}

static void exit_record(void *ctx, const struct record_exit *r) {
    struct keeper *k = ctx;
    struct attempt *a = keeper__attempt_of_exit(k, r);
    if (!a) return; /* an exec'ed process, or what was forgotten */
    if (a->state != ATTEMPT_ENDED) {
        keeper__attempt_ended(k, a, r);
    } else if (!a->exit_known && r->known) {
        a->exit_known = true;
        a->wait_status = r->wait_status;
        a->ended_unix_ns = r->time_unix_ns;
    }
}

void keeper__read_exits(struct keeper *k) {
    int r = records_read_exits(&k->records, &k->exits_read, exit_record, k);
    if (r < 0) log_warn("records.read", "file=exits err=\"%s\"", err_text(r));
}

static void await(struct keeper *k, struct attempt *a) {
    int fd = loop_release(&k->loop, &a->pidfd);
    if (fd >= 0) a->pidfd_awaiting = fd;
    if (list_empty(&a->in_awaiting)) {
        a->awaiting_since_ms = k->now_ms;
        list_add_tail(&k->awaiting, &a->in_awaiting);
    }
}

static int pidfd_of(const struct attempt *a) {
    return a->pidfd.ready ? a->pidfd.fd : a->pidfd_awaiting;
}

/* An end that nobody has recorded: do it, so that every later keeper says the same. */
static void record_and_end(struct keeper *k, struct attempt *a, bool known, int wait_status) {
    struct record_exit rec = {.start_ticks = a->start.start_ticks,
                              .time_unix_ns = clock_unix_ns(),
                              .pid = a->start.pid,
                              .wait_status = wait_status,
                              .known = known};
    int r = records_add_exit(&k->records, &rec);
    if (r < 0) {
        await(k, a);
        return;
    }
    keeper__attempt_ended(k, a, &rec);
}

void keeper__end_unknown(struct keeper *k, struct attempt *a) {
    record_and_end(k, a, false, 0);
}

static void own_child_ended(struct keeper *k, struct attempt *a, const struct reaped *dead) {
    struct record_exit rec;
    int r = reap_record(&k->records, dead, &rec);
    if (r < 0) {
        log_warn("exit.record", "task=%s err=\"%s\" next=\"again soon\"", a->task->id, err_text(r));
        await(k, a);
        return;
    }
    keeper__attempt_ended(k, a, &rec);
}

static void adopted_ended(struct keeper *k, struct attempt *a) {
    int pidfd = pidfd_of(a);
    bool reaped = sys_pidfd_send_signal(pidfd, 0) == -ESRCH;
    int status = 0;
    bool told = reaped && reap_ask(pidfd, &status);
    keeper__read_exits(k); /* after the look: whoever reaped had written its record before */
    if (a->state == ATTEMPT_ENDED) return;
    if (told)
        record_and_end(k, a, true, status);
    else if (reaped ||
             (!list_empty(&a->in_awaiting) && k->now_ms - a->awaiting_since_ms > UNREAPED_MAX_MS))
        record_and_end(k, a, false, 0);
    else
        await(k, a);
}

static void try_end(struct keeper *k, struct attempt *a) {
    struct reaped dead;
    int r = reap_look(P_PIDFD, (id_t) pidfd_of(a), &dead);
    if (r == 1) {
        own_child_ended(k, a, &dead);
    } else if (r == -ECHILD) {
        adopted_ended(k, a);
    } else {
        await(k, a);
    }
}

static void on_pidfd(struct loop_source *s, uint32_t events) {
    (void) events;
    struct attempt *a = container_of(s, struct attempt, pidfd);
    try_end(a->task->keeper, a);
}

void keeper__watch(struct keeper *k, struct attempt *a, int pidfd) {
    if (loop_add(&k->loop, &a->pidfd, pidfd, EPOLLIN, on_pidfd) == 0) return;
    a->pidfd_awaiting = pidfd; /* no memory for the loop: look from time to time */
    await(k, a);
}

void keeper__await_record(struct keeper *k, struct attempt *a) {
    await(k, a);
}

/* Unknown is what no record tells once the anchor has written what it knew, or when none comes. */
static void await_record(struct keeper *k, struct attempt *a) {
    bool all = k->hold.synced || k->now_ms - a->awaiting_since_ms > UNRECORDED_MAX_MS;
    keeper__read_exits(k);
    if (a->state != ATTEMPT_ENDED && all) keeper__end_unknown(k, a);
}

void keeper__await_turn(struct keeper *k) {
    struct list todo; /* one end may bring others along: never hold a pointer to the next one */
    list_init(&todo);
    while (!list_empty(&k->awaiting)) {
        struct list *it = k->awaiting.next;
        list_del(it);
        list_add_tail(&todo, it);
    }
    while (!list_empty(&todo)) {
        struct attempt *a = list_entry(todo.next, struct attempt, in_awaiting);
        list_del(&a->in_awaiting);
        list_add_tail(&k->awaiting, &a->in_awaiting);
        struct pollfd p = {.fd = a->pidfd_awaiting, .events = POLLIN};
        if (a->pidfd_awaiting < 0)
            await_record(k, a);
        else if (poll(&p, 1, 0) == 1)
            try_end(k, a);
    }
}

static int send(const struct attempt *a, int signal) {
    int pidfd = pidfd_of(a); /* -1: it has ended, its record is awaited */
    int r = pidfd < 0 ? -ESRCH : sys_pidfd_send_signal(pidfd, signal);
    if (r == 0 && signal == SIGKILL && *a->start.cgroup)
        cgroup_thaw(a->task->keeper->paths.cgroup, a->start.cgroup);
    return r;
}

static void kill_attempt(const struct attempt *a) {
    int r = send(a, SIGKILL);
    if (r < 0 && r != -ESRCH)
        log_warn("attempt.kill", "task=%s err=\"%s\"", a->task->id, err_text(r));
}

static void add_closer(struct task *t, struct peer *p, uint64_t id) {
    for (size_t i = 0; i < KEEPER_CLOSE_WAITERS_MAX; i++) {
        if (t->closers[i].peer) continue;
        t->closers[i] = (struct waiter){p, id};
        return;
    }
    keeper__send_failed(p, id, EBUSY, "keeper", "too many wait for this task's end already");
}

void keeper__close(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req) {
    struct task *t = keeper__task_get(k, req->close->task);
    if (!t) {
        keeper__send_failed(p, req->id, ENOMEM, "keeper", "no memory");
        return;
    }
    if (!t->closed) {
        struct record_closed rec = {.what = RECORD_TASK_CLOSED};
        memcpy(rec.task, t->id, sizeof rec.task);
        int r = records_add_closed(&k->records, &rec);
        if (r < 0) {
            keeper__send_failed(p, req->id, r, "record", "the closed record could not be written");
            if (list_empty(&t->attempts)) keeper__task_drop(k, t);
            return;
        }
        t->closed = true;
    }
    add_closer(t, p, req->id);
    struct attempt *a = keeper__attempt_living(t);
    if (a)
        kill_attempt(a);
    else
        answer_closers(t);
}

void keeper__signal(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req) {
    const Orlop__KeeperSignal *s = req->signal;
    struct task *t = keeper__task_find(k, s->task);
    struct attempt *a = t ? keeper__attempt_find(t, s->boot, s->attempt) : NULL;
    int r = a && a->state != ATTEMPT_ENDED ? send(a, s->signal) : -ESRCH;
    if (r < 0)
        keeper__send_failed(p, req->id, r, "signal", r == -ESRCH ? "it has ended" : err_text(r));
    else
        keeper__send_done(p, req->id);
}

void keeper__forget(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req) {
    struct task *t = keeper__task_find(k, req->forget->task);
    if (t && (!t->closed || keeper__attempt_living(t))) {
        keeper__send_failed(p, req->id, EBUSY, "keeper", "only a closed task that has ended");
        return;
    }
    if (t) {
        struct record_closed rec = {.what = RECORD_TASK_FORGOTTEN};
        memcpy(rec.task, t->id, sizeof rec.task);
        int r = records_add_closed(&k->records, &rec);
        if (r < 0) {
            keeper__send_failed(p, req->id, r, "record",
                                "the forgotten record could not be written");
            return;
        }
        k->stale += 2;
        keeper__task_drop(k, t);
        keeper__compact(k);
    }
    keeper__send_done(p, req->id);
}

void keeper__shutdown(struct keeper *k, struct peer *p, uint64_t id) {
    if (!keeper__nothing_lives(k)) {
        keeper__send_failed(p, id, EBUSY, "keeper", "sandboxes live");
        return;
    }
    keeper__send_done(p, id);
    k->stop = true;
}
