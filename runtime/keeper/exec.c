// SPDX-License-Identifier: Apache-2.0
/* EXEC: one more process inside a sandbox, for the peer that asked.
 *
 * Its zombie is reaped at once and without a record: as long as it is there, the sandbox's pid 1
 * cannot finish dying. It belongs to its peer's connection: when that breaks, nobody is left to
 * read what it writes, and it is killed.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "keeper.h"
#include "reap.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

static void exec_drop(struct exec *e) {
    struct keeper *k = e->keeper;
    loop_remove(&k->loop, &e->pidfd);
    loop_remove(&k->loop, &e->status);
    fd_close(&e->master);
    list_del(&e->in_peer);
    k->n_execs--;
    loop_free_later(&k->loop, &e->garbage, e);
}

static void answer_started(struct exec *e) {
    Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
    Orlop__KeeperExecStarted s = ORLOP__KEEPER_EXEC_STARTED__INIT;
    s.pid = e->pid;
    s.fd_master = e->master >= 0 ? 0 : -1;
    m.id = e->id;
    m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_EXEC_STARTED;
    m.exec_started = &s;
    e->started = true;
    keeper__send(e->peer, &m, e->master); /* the last use of e->peer: it may be cut off */
}

/* The child's report, if it is there. Whether the exec still is. */
static void resolve(struct exec *e) {
    if (!e->status.ready) return;
    struct start_failure f;
    int r = keeper__read_report(e->status.fd, &f);
    if (r == -EAGAIN) return;
    loop_remove(&e->keeper->loop, &e->status);
    if (r == 0)
        answer_started(e);
    else
        keeper__send_failed(e->peer, e->id, f.error, f.phase, f.text);
}

static void on_exec_status(struct loop_source *s, uint32_t events) {
    (void) events;
    resolve(container_of(s, struct exec, status));
}

static void on_exec_end(struct loop_source *s, uint32_t events) {
    (void) events;
    struct exec *e = container_of(s, struct exec, pidfd);
    struct reaped dead = {0};
    if (reap_look(P_PIDFD, (id_t) s->fd, &dead) == 0) return;
    if (dead.pid) reap_plain(dead.pid);
    resolve(e); /* may cut the peer off: then e->peer is NULL */
    if (e->started && e->peer) {
        Orlop__KeeperMessage m = ORLOP__KEEPER_MESSAGE__INIT;
        Orlop__KeeperExecExited x = ORLOP__KEEPER_EXEC_EXITED__INIT;
        x.exec = e->id;
        x.wait_status = dead.wait_status;
        m.what_case = ORLOP__KEEPER_MESSAGE__WHAT_EXEC_EXITED;
        m.exec_exited = &x;
        keeper__send(e->peer, &m, -1);
    }
    exec_drop(e);
}

static struct exec *exec_find(const struct peer *p, uint64_t id) {
    list_each (it, &p->execs) {
        struct exec *e = list_entry(it, struct exec, in_peer);
        if (e->id == id) return e;
    }
    return NULL;
}

static int target_of(struct keeper *k, const struct attempt *a, const Orlop__KeeperExec *x,
                     const int *fds, struct container_exec *ret, struct err *err) {
    *ret = (struct container_exec){.target_pidfd = a->pidfd.fd,
                                   .target_pid = a->start.pid,
                                   .cgroup_parent = k->paths.cgroup,
                                   .cgroup = a->start.cgroup,
                                   .stdio = {-1, -1, -1},
                                   .tty = x->tty,
                                   .devpts_fd = -1};
    if (!x->tty) {
        ret->stdio[0] = fds[x->fd_stdin];
        ret->stdio[1] = fds[x->fd_stdout];
        ret->stdio[2] = fds[x->fd_stderr];
        return 0;
    }
    int fd = container_open_devpts(a->pidfd.fd, err);
    if (fd < 0) return fd;
    ret->devpts_fd = fd;
    return 0;
}

/* TAKES P's descriptors and MASTER. */
static int exec_add(struct peer *p, uint64_t id, struct container_process *proc, int master) {
    struct keeper *k = p->keeper;
    struct exec *e = mem_zalloc(sizeof *e);
    int r = e ? loop_add(&k->loop, &e->pidfd, proc->pidfd, EPOLLIN, on_exec_end) : -ENOMEM;
    if (r < 0) {
        (void) sys_pidfd_send_signal(proc->pidfd, SIGKILL);
        (void) !waitpid(proc->pid, NULL, 0); /* a moment: a killed process of ours */
        fd_close(&proc->pidfd);
        fd_close(&proc->status_fd);
        fd_close(&master);
        mem_free(e);
        return r;
    }
    e->keeper = k;
    e->peer = p;
    e->id = id;
    e->pid = proc->pid;
    e->master = master;
    list_add_tail(&p->execs, &e->in_peer);
    k->n_execs++;
    r = loop_add(&k->loop, &e->status, proc->status_fd, EPOLLIN, on_exec_status);
    if (r == 0) return 0;
    fd_close(&proc->status_fd);
    (void) sys_pidfd_send_signal(e->pidfd.fd, SIGKILL); /* its end drops it */
    return r;
}

void keeper__exec(struct keeper *k, struct peer *p, const Orlop__KeeperRequest *req, const int *fds,
                  size_t n_fds) {
    const Orlop__KeeperExec *x = req->exec;
    struct task *t = keeper__task_find(k, x->task);
    struct attempt *a = t ? keeper__attempt_living(t) : NULL;
    if (!a || !a->pidfd.ready || a->state != ATTEMPT_RUNNING) {
        keeper__send_failed(p, req->id, ESRCH, "keeper", "the task does not run");
        return;
    }
    if (k->n_execs >= KEEPER_EXECS_MAX || exec_find(p, req->id)) {
        keeper__send_failed(p, req->id, EBUSY, "keeper", "too many processes run by exec");
        return;
    }
    struct container_exec where;
    struct container_process proc;
    struct err err = {0};
    int master = -1;
    int r = target_of(k, a, x, fds, &where, &err);
    if (r == 0) {
        r = container_exec(x, fds, n_fds, &where, &proc, &master, &err);
        fd_close(&where.devpts_fd);
    }
    if (r == 0) {
        r = exec_add(p, req->id, &proc, master);
        if (r < 0) err_set(&err, r, "watch the process");
    }
    if (r < 0) keeper__send_failed(p, req->id, r, "keeper", err.text);
}

void keeper__exec_signal(struct peer *p, const Orlop__KeeperRequest *req) {
    struct exec *e = exec_find(p, req->signal->exec);
    int r = e ? sys_pidfd_send_signal(e->pidfd.fd, req->signal->signal) : -ESRCH;
    if (r < 0)
        keeper__send_failed(p, req->id, r, "signal", r == -ESRCH ? "it has ended" : err_text(r));
    else
        keeper__send_done(p, req->id);
}

void keeper__resize(struct peer *p, const Orlop__KeeperRequest *req) {
    struct exec *e = exec_find(p, req->resize->exec);
    struct winsize w = {.ws_row = (unsigned short) req->resize->rows,
                        .ws_col = (unsigned short) req->resize->cols};
    int r = !e || e->master < 0 ? -ESRCH : ioctl(e->master, TIOCSWINSZ, &w) < 0 ? -errno : 0;
    if (r < 0)
        keeper__send_failed(p, req->id, r, "resize", "no such terminal");
    else
        keeper__send_done(p, req->id);
}

/* Its peer is gone: reaped, nobody is told. */
static void on_orphan_end(struct loop_source *s, uint32_t events) {
    (void) events;
    struct exec *e = container_of(s, struct exec, pidfd);
    struct reaped dead = {0};
    if (reap_look(P_PIDFD, (id_t) s->fd, &dead) == 0) return;
    if (dead.pid) reap_plain(dead.pid);
    exec_drop(e);
}

void keeper__execs_abandon(struct peer *p) {
    list_each_safe (it, &p->execs) {
        struct exec *e = list_entry(it, struct exec, in_peer);
        list_del(&e->in_peer);
        loop_remove(&p->keeper->loop, &e->status);
        fd_close(&e->master); /* SIGHUP for who listens to it */
        (void) sys_pidfd_send_signal(e->pidfd.fd, SIGKILL);
        e->peer = NULL;
        e->pidfd.ready = on_orphan_end;
    }
}
