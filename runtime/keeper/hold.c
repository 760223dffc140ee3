// SPDX-License-Identifier: Apache-2.0
/* The keeper's side of hold.sock, and the new anchor when the old one was killed. */
#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper.h"
#include "reap.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/sys.h"

enum { HOLD_QUEUE_MAX = 8 << 20, ANCHOR_RETRY_MS = 1000, ANCHOR_FIRST_MS = 5000 };

_Static_assert((int) HOLD_NAME_MAX >= (int) FIFO_NAME_MAX, "a FIFO's name fits a record");

/* One record of the anchor's. False: there is none, or it is gone. */
static bool hear(struct keeper *k, bool *ret_gone) {
    struct hold_record r;
    int fds[PACKET_FDS_MAX];
    size_t n_fds;
    int n = packet_receive(k->hold.anchor.fd, &r, sizeof r, fds, &n_fds);
    *ret_gone = n != -EAGAIN;
    if (n < 0) return false;
    bool ours = n == sizeof r && r.magic == HOLD_MAGIC;
    if (ours && r.op == HOLD_UPGRADE && n_fds == 1) {
        fd_close(&k->upgrade);
        k->upgrade = steal_fd(&fds[0]);
        return true;
    }
    for (size_t i = 0; i < n_fds; i++) fd_close(&fds[i]);
    if (!ours || (r.op != HOLD_FAREWELL && r.op != HOLD_SYNCED)) return false;
    k->hold.farewell |= r.op == HOLD_FAREWELL;
    k->hold.synced |= r.op == HOLD_SYNCED;
    return true;
}

/* Its goodbye may wait in the socket when a record to it could not be sent any more. */
static void anchor_gone(struct keeper *k) {
    if (!k->hold.anchor.ready) return;
    for (bool gone; hear(k, &gone);) continue;
    loop_remove(&k->loop, &k->hold.anchor);
    outq_fini(&k->hold.out);
    k->hold.next_try_ms = k->now_ms;
    log_warn("anchor.gone", "farewell=%d", k->hold.farewell);
}

static void send_record(struct keeper *k, const struct hold_record *r, int fd) {
    struct hold *h = &k->hold;
    if (!h->anchor.ready) return; /* it is told everything when it connects */
    if (outq_send(&h->out, h->anchor.fd, r, sizeof *r, fd) < 0) {
        anchor_gone(k);
        return;
    }
    if (!outq_empty(&h->out)) loop_events(&k->loop, &h->anchor, EPOLLIN | EPOLLOUT);
}

static void tell(struct keeper *k, enum hold_op op, const char *name, int fd) {
    struct hold_record r = {.magic = HOLD_MAGIC, .op = op};
    strncpy(r.name, name, sizeof r.name - 1);
    send_record(k, &r, fd);
}

void keeper__hold_stream(struct keeper *k, struct stream *s) {
    char name[FIFO_NAME_MAX];
    if (s->source.ready) tell(k, HOLD_HOLD, keeper__fifo_name(s, name), s->source.fd);
}

void keeper__hold_drop(struct keeper *k, struct stream *s) {
    char name[FIFO_NAME_MAX];
    tell(k, HOLD_DROP, keeper__fifo_name(s, name), -1);
}

static const char *process_name(const struct attempt *a, char buf[static FIFO_NAME_MAX]) {
    char attempt[ATTEMPT_NAME_MAX];
    snprintf(buf, FIFO_NAME_MAX, "%s" HOLD_PROCESS, keeper__attempt_name(a, attempt));
    return buf;
}

void keeper__hold_process(struct keeper *k, struct attempt *a, int pidfd) {
    struct hold_record r = {.magic = HOLD_MAGIC,
                            .op = HOLD_HOLD,
                            .pid = a->start.pid,
                            .start_ticks = a->start.start_ticks};
    char name[FIFO_NAME_MAX];
    strncpy(r.name, process_name(a, name), sizeof r.name - 1);
    if (pidfd >= 0) send_record(k, &r, pidfd);
}

void keeper__hold_drop_process(struct keeper *k, struct attempt *a) {
    char name[FIFO_NAME_MAX];
    tell(k, HOLD_DROP, process_name(a, name), -1);
}

static void tell_all(struct keeper *k) {
    const char *id;
    void *value;
    for (size_t i = 0; map_next(&k->tasks, &i, &id, &value);) {
        struct task *t = value;
        list_each (it, &t->attempts) {
            struct attempt *a = list_entry(it, struct attempt, in_task);
            keeper__hold_stream(k, &a->out[0]);
            keeper__hold_stream(k, &a->out[1]);
            keeper__hold_process(k, a, a->pidfd.ready ? a->pidfd.fd : a->pidfd_awaiting);
        }
    }
    tell(k, HOLD_SYNC, "", -1);
}

static void on_anchor(struct loop_source *s, uint32_t events) {
    struct keeper *k = container_of(s, struct keeper, hold.anchor);
    if (events & EPOLLOUT) {
        if (outq_flush(&k->hold.out, s->fd) < 0) {
            anchor_gone(k);
            return;
        }
        if (outq_empty(&k->hold.out)) loop_events(&k->loop, s, EPOLLIN);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    bool gone;
    if (!hear(k, &gone) && gone) anchor_gone(k);
}

/* One anchor at a time: the lock allows no other, so a new connection means that the old one is
 * dead. */
static void on_hold_connect(struct loop_source *s, uint32_t events) {
    (void) events;
    struct keeper *k = container_of(s, struct keeper, hold.listener);
    auto_fd int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || !packet_peer_ok(fd)) return;
    anchor_gone(k);
    outq_init(&k->hold.out, HOLD_QUEUE_MAX);
    if (loop_add(&k->loop, &k->hold.anchor, fd, EPOLLIN, on_anchor) < 0) return;
    fd = -1; /* the loop's */
    k->hold.farewell = false;
    struct ucred who = {0};
    socklen_t len = sizeof who;
    (void) getsockopt(k->hold.anchor.fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
    tell_all(k);
    log_info("anchor.connected", "anchor=%d keeper=%d tasks=%zu", (int) who.pid, (int) getpid(),
             map_len(&k->tasks));
}

int keeper__hold_listen(struct keeper *k, struct err *err) {
    char path[PATHS_FULL_MAX];
    int fd = packet_listen(paths_run(&k->paths, "hold.sock", path), err);
    if (fd < 0) return fd;
    int r = loop_add(&k->loop, &k->hold.listener, fd, EPOLLIN, on_hold_connect);
    if (r < 0) fd_close(&fd);
    k->hold.next_try_ms =
        k->now_ms + ANCHOR_FIRST_MS; /* the one that started us connects by then */
    return r;
}

static void on_child(struct loop_source *s, uint32_t events) {
    (void) events;
    struct keeper *k = container_of(s, struct keeper, hold.child_pidfd);
    reap_plain(k->hold.child);
    loop_remove(&k->loop, s);
}

_Noreturn static void exec_anchor(char **argv) {
    sigset_t none;
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    (void) signal(SIGPIPE, SIG_DFL);
    (void) setsid();
    execv("/proc/self/exe", argv); /* our own read-only mount: the file that we were started from */
    _exit(127);
}

static void start_anchor(struct keeper *k) {
    pid_t pid = fork();
    if (pid == 0) exec_anchor(k->anchor_argv);
    if (pid < 0) {
        log_warn("anchor.start", "err=\"%s\" next=\"again in %d ms\"", err_text(errno),
                 ANCHOR_RETRY_MS);
        return;
    }
    log_info("anchor.start", "pid=%d", (int) pid);
    int fd = sys_pidfd_open(pid, 0);
    k->hold.child = pid;
    if (fd >= 0 && loop_add(&k->loop, &k->hold.child_pidfd, fd, EPOLLIN, on_child) < 0)
        fd_close(&fd);
}

void keeper__hold_turn(struct keeper *k) {
    struct hold *h = &k->hold;
    if (h->anchor.ready || h->farewell || !k->anchor_argv || k->now_ms < h->next_try_ms) return;
    h->next_try_ms = k->now_ms + ANCHOR_RETRY_MS;
    char lock[PATHS_FULL_MAX];
    if (h->child_pidfd.ready || fd_lock_holder(paths_run(&k->paths, "anchor.lock", lock)) != 0)
        return;
    start_anchor(k);
}
