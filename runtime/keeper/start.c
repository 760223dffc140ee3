// SPDX-License-Identifier: Apache-2.0
/* START: clone a sandbox.
 *
 * Happy path   FIFOs, clone; while the child builds its sandbox: our ends of the FIFOs, the log, the
 *              start record, held by the anchor, go byte; the child's status pipe ends without a
 *              report: `started`.
 * Refused      the task is closed; an attempt of it lives; a later attempt is known.
 * Repeated     the id is known: its entry (or its failure) is the answer, nothing is cloned.
 * Failure      before the clone: nothing is left. After it (no record could be written, a phase
 *              of the child failed): `failed` once the child has ended, and no `exited` event.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "keeper.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum { NOFILE_SOFT = 1024, NOFILE_HARD = 524288 };

static void answer_started(struct peer *p, uint64_t id, const struct attempt *a) {
    if (a->failure) {
        keeper__send_failed(p, id, a->failure->error, a->failure->phase, a->failure->text);
        return;
    }
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__SandboxEntry e;
    keeper__entry(a, &e);
    m.id = id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_STARTED;
    m.started = &e;
    keeper__send(p, &m, -1);
}

void keeper__answer_starter(struct attempt *a) {
    struct waiter w = a->starter;
    a->starter = (struct waiter){0};
    if (w.peer) answer_started(w.peer, w.id, a);
}

static void set_failure(struct attempt *a, int error, const char *phase, const char *text) {
    if (a->failure) return;
    a->failure = mem_zalloc(sizeof *a->failure);
    if (!a->failure) return; /* it is reported as an exit with 127 then */
    a->failure->error = error < 0 ? -error : error;
    strncpy(a->failure->phase, phase, sizeof a->failure->phase - 1);
    strncpy(a->failure->text, text, sizeof a->failure->text - 1);
}

int keeper__read_report(int status_fd, struct start_failure *ret) {
    struct container_report rep;
    ssize_t n = read(status_fd, &rep, sizeof rep);
    if (n == 0) return 0;
    if (n < 0) return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
    if (n != sizeof rep) return 0; /* killed while it wrote: its exit says more */
    rep.phase[sizeof rep.phase - 1] = 0;
    rep.text[sizeof rep.text - 1] = 0;
    *ret = (struct start_failure){.error = rep.error > 0 ? rep.error : EIO};
    memcpy(ret->phase, rep.phase, sizeof ret->phase);
    memcpy(ret->text, rep.text, sizeof ret->text);
    return 1;
}

void keeper__start_resolve(struct keeper *k, struct attempt *a) {
    if (!a->status.ready) return;
    struct start_failure f;
    int r = keeper__read_report(a->status.fd, &f);
    if (r == -EAGAIN) return;
    loop_remove(&k->loop, &a->status);
    if (r == 1) {
        set_failure(a, f.error, f.phase, f.text); /* answered when it has ended, in a moment */
        return;
    }
    if (a->failure) return;
    keeper__attempt_move(a, ATTEMPT_RUNNING);
    keeper__answer_starter(a);
}

static void on_status(struct loop_source *s, uint32_t events) {
    (void) events;
    struct attempt *a = container_of(s, struct attempt, status);
    keeper__start_resolve(a->task->keeper, a);
}

/* It was cloned and must not live. Its exit is awaited as any other's. */
static void abort_start(struct attempt *a, int pidfd, int code, const char *phase,
                        const char *text) {
    (void) sys_pidfd_send_signal(pidfd, SIGKILL); /* ESRCH: it has ended by itself */
    set_failure(a, code, phase, text);
}

/* Everything after the clone. The log's files are made here and not before: the child needs longer
 * than we do. TAKES all of P. */
static void adopt_child(struct keeper *k, struct attempt *a, struct container_process *p) {
    struct err err = {0};
    int log = keeper__streams_open(k, a, &err);
    keeper__attempt_set_pid(k, a, p->pid, p->start_ticks);
    keeper__attempt_move(a, ATTEMPT_STARTING);
    int r = log < 0 ? 0 : records_add_start(&k->records, &a->start);
    if (log < 0) {
        abort_start(a, p->pidfd, log, "log", err.text);
    } else if (r < 0) {
        (void) err_set(&err, r, "write the start record");
        abort_start(a, p->pidfd, r, "record", err.text);
    } else {
        keeper__hold_stream(k, &a->out[0]);
        keeper__hold_stream(k, &a->out[1]);
        keeper__hold_process(k, a, p->pidfd);
        (void) !write(p->go_fd, "g", 1); /* EPIPE: the child has failed, its report says why */
    }
    fd_close(&p->go_fd);
    if (loop_add(&k->loop, &a->status, p->status_fd, EPOLLIN, on_status) < 0) {
        fd_close(&p->status_fd);
        abort_start(a, p->pidfd, ENOMEM, "keeper", "no memory to watch the start");
    }
    keeper__watch(k, a, steal_fd(&p->pidfd));
}

/* The keeper's own limit on descriptors is raised: the container gets a sane one unless it asks. */
static int add_nofile(struct keeper *k, Orlop__SandboxSpec *s) {
    for (size_t i = 0; i < s->n_limits; i++)
        if (s->limits[i]->resource == RLIMIT_NOFILE) return 0;
    Orlop__SandboxLimit **all = budget_alloc(&k->budget, (s->n_limits + 1) * sizeof(void *));
    Orlop__SandboxLimit *l = budget_alloc(&k->budget, sizeof *l);
    if (!all || !l) return -ENOMEM;
    *l = (Orlop__SandboxLimit) ORLOP__SANDBOX_LIMIT__INIT;
    l->resource = RLIMIT_NOFILE;
    l->hard = k->nofile_hard < NOFILE_HARD ? k->nofile_hard : NOFILE_HARD;
    l->soft = l->hard < NOFILE_SOFT ? l->hard : NOFILE_SOFT;
    if (s->n_limits) memcpy(all, s->limits, s->n_limits * sizeof(void *));
    all[s->n_limits] = l;
    s->limits = all;
    s->n_limits++;
    return 0;
}

static void fill_record(const Orlop__SandboxSpec *s, struct record_start *ret) {
    *ret = (struct record_start){
        .boot = s->boot, .attempt = s->attempt, .time_unix_ns = clock_unix_ns()};
    strncpy(ret->task, s->task, sizeof ret->task - 1);
    strncpy(ret->cgroup, s->cgroup, sizeof ret->cgroup - 1);
    if (!s->log) return;
    ret->log_max_bytes = s->log->max_bytes;
    ret->log_max_files = s->log->max_files;
    if (s->log->none) ret->flags |= RECORD_START_LOG_NONE;
}

static int spawn(struct keeper *k, struct attempt *a, Orlop__SandboxSpec *spec, const int *fds,
                 size_t n_fds, struct err *err) {
    int r = add_nofile(k, spec);
    if (r < 0) return err_set(err, r, "limits");
    if ((r = keeper__streams_make(k, a, err)) < 0) return r;
    char out[PATHS_FULL_MAX], errout[PATHS_FULL_MAX];
    struct container_host host = {.cgroup_parent = k->paths.cgroup};
    struct container_process p;
    r = container_spawn(spec, fds, n_fds, &host, keeper__fifo_path(k, &a->out[0], out),
                        keeper__fifo_path(k, &a->out[1], errout), &p, err);
    if (r < 0) return r;
    adopt_child(k, a, &p);
    return 0;
}

static bool older(const struct attempt *known, const Orlop__SandboxSpec *s) {
    if (known->start.boot != s->boot) return s->boot < known->start.boot;
    return s->attempt < known->start.attempt;
}

/* Whether START was answered without a clone: repeated, or refused. */
static bool answered(struct peer *p, uint64_t id, struct task *t, const Orlop__SandboxSpec *s) {
    struct attempt *known = keeper__attempt_find(t, s->boot, s->attempt);
    if (known &&
        known->state == ATTEMPT_STARTING) { /* still starting: the later one to ask is answered */
        struct waiter earlier = known->starter;
        known->starter = (struct waiter){p, id};
        if (earlier.peer)
            keeper__send_failed(earlier.peer, earlier.id, EALREADY, "keeper",
                                "the same start was asked for again");
        return true;
    }
    if (known) {
        answer_started(p, id, known);
        return true;
    }
    const char *why = NULL;
    int code = 0;
    struct attempt *newest = keeper__attempt_newest(t);
    if (t->closed) {
        code = ESHUTDOWN;
        why = "the task is closed: it never starts again";
    } else if (keeper__attempt_living(t)) {
        code = EBUSY;
        why = "another attempt of the task lives";
    } else if (newest && older(newest, s)) {
        code = ESTALE;
        why = "a later attempt of the task is known";
    }
    if (why) keeper__send_failed(p, id, code, "keeper", why);
    return why != NULL;
}

void keeper__start(struct keeper *k, struct peer *p, Orlop__KeeperRequest *req, const int *fds,
                   size_t n_fds) {
    Orlop__SandboxSpec *spec = req->start;
    struct task *t = keeper__task_get(k, spec->task);
    if (!t) {
        keeper__send_failed(p, req->id, ENOMEM, "keeper", "no memory");
        return;
    }
    if (answered(p, req->id, t, spec)) return;
    struct record_start rec;
    fill_record(spec, &rec);
    struct err err = {0};
    struct attempt *a = keeper__attempt_new(t, &rec);
    int r = a ? 0 : err_set(&err, -ENOMEM, "attempt");
    if (a) {
        a->starter = (struct waiter){p, req->id};
        r = spawn(k, a, spec, fds, n_fds, &err);
    }
    if (r == 0) {
        keeper__attempt_prune(k, t);
        keeper__compact(k);
        return;
    }
    log_warn("start.failed", "task=%s err=\"%s\"", t->id, err.text);
    keeper__send_failed(p, req->id, r, "clone", err.text);
    if (a) keeper__attempt_drop(k, a);
    if (list_empty(&t->attempts) && !t->closed) keeper__task_drop(k, t);
}
