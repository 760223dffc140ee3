// SPDX-License-Identifier: Apache-2.0
/* keeper.sock: who may connect, and what a packet is. Several agents may be connected (a new one
 * beside one that is about to end): all are served, and all hear of exits. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

static void forget_waiters(struct keeper *k, const struct peer *p) {
    const char *id;
    void *value;
    for (size_t i = 0; map_next(&k->tasks, &i, &id, &value);) {
        struct task *t = value;
        for (size_t j = 0; j < KEEPER_CLOSE_WAITERS_MAX; j++)
            if (t->closers[j].peer == p) t->closers[j] = (struct waiter){0};
        list_each (it, &t->attempts) {
            struct attempt *a = list_entry(it, struct attempt, in_task);
            if (a->starter.peer == p) a->starter = (struct waiter){0};
        }
    }
}

void keeper__peer_close(struct peer *p) {
    if (!p->source.ready) return;
    struct keeper *k = p->keeper;
    loop_remove(&k->loop, &p->source);
    outq_fini(&p->out);
    list_del(&p->node);
    forget_waiters(k, p);
    keeper__execs_abandon(p);
    loop_free_later(&k->loop, &p->garbage, p);
}

static void dispatch(struct keeper *k, struct peer *p, Orlop__KeeperRequest *r, const int *fds,
                     size_t n_fds) {
    switch (r->what_case) {
    case ORLOP__KEEPER_REQUEST__WHAT_START:
        keeper__start(k, p, r, fds, n_fds);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_CLOSE:
        keeper__close(k, p, r);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_SIGNAL:
        if (r->signal->exec)
            keeper__exec_signal(p, r);
        else
            keeper__signal(k, p, r);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_EXEC:
        keeper__exec(k, p, r, fds, n_fds);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_LIST:
        keeper__list(k, p, r->id);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_FORGET:
        keeper__forget(k, p, r);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_SHUTDOWN:
        keeper__shutdown(k, p, r->id);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT_RESIZE:
        keeper__resize(p, r);
        break;
    case ORLOP__KEEPER_REQUEST__WHAT__NOT_SET:
    case _ORLOP__KEEPER_REQUEST__WHAT__CASE_IS_INT_SIZE:
        ensure(false); /* checked by request_decode */
    }
}

static void one_request(struct keeper *k, struct peer *p, size_t len, const int *fds,
                        size_t n_fds) {
    Orlop__KeeperRequest *req;
    struct err err = {0};
    int r = request_decode(&k->budget, k->packet, len, n_fds, &req, &err);
    if (r == 0) {
        dispatch(k, p, req, fds, n_fds);
    } else {
        log_warn("peer.request", "err=\"%s\"", err.text);
        if (req && req->id)
            keeper__send_failed(p, req->id, r, "keeper", err.text);
        else
            keeper__peer_close(p);
    }
    budget_reset(&k->budget);
}

static void on_peer(struct loop_source *s, uint32_t events) {
    struct peer *p = container_of(s, struct peer, source);
    struct keeper *k = p->keeper;
    if (events & EPOLLOUT) {
        if (outq_flush(&p->out, s->fd) < 0) {
            keeper__peer_close(p);
            return;
        }
        if (outq_empty(&p->out)) loop_events(&k->loop, s, EPOLLIN);
    }
    if (events & (EPOLLHUP | EPOLLERR)) {
        /* What a dead agent has sent and nobody has read is void: done after the next agent's list
         * it would be a start of which that one knows nothing. It asks for it anew. */
        keeper__peer_close(p);
        return;
    }
    if (!(events & EPOLLIN)) return;
    int fds[PACKET_FDS_MAX];
    size_t n_fds;
    int n = packet_receive(s->fd, k->packet, sizeof k->packet, fds, &n_fds);
    if (n == -EAGAIN) return;
    if (n == -EMSGSIZE) log_warn("peer.request", "err=\"too large a packet\"");
    if (n <= 0) {
        keeper__peer_close(p);
        return;
    }
    one_request(k, p, (size_t) n, fds, n_fds);
    explicit_bzero(k->packet, (size_t) n); /* as budget_reset does, and why */
    for (size_t i = 0; i < n_fds; i++) fd_close(&fds[i]);
}

static void on_connect(struct loop_source *s, uint32_t events) {
    (void) events;
    struct keeper *k = container_of(s, struct keeper, listener);
    auto_fd int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return; /* it has gone again */
    if (!packet_peer_ok(fd)) {
        log_warn("peer.refused", "err=\"not our uid\"");
        return;
    }
    size_t n = 0;
    list_each (it, &k->peers) n++;
    if (n >= KEEPER_PEERS_MAX) /* the oldest is the likeliest to be of no use */
        keeper__peer_close(list_entry(k->peers.next, struct peer, node));
    struct peer *p = mem_zalloc(sizeof *p);
    if (!p) return;
    p->keeper = k;
    list_init(&p->execs);
    outq_init(&p->out, KEEPER_PEER_QUEUE_MAX);
    if (loop_add(&k->loop, &p->source, fd, EPOLLIN, on_peer) < 0) {
        mem_free(p);
        return;
    }
    fd = -1; /* the loop's */
    list_add_tail(&k->peers, &p->node);
}

int keeper__listen(struct keeper *k, struct err *err) {
    char path[PATHS_FULL_MAX];
    int fd = packet_listen(paths_run(&k->paths, "keeper.sock", path), err);
    if (fd < 0) return fd;
    int r = loop_add(&k->loop, &k->listener, fd, EPOLLIN, on_connect);
    if (r < 0) fd_close(&fd);
    return r;
}
