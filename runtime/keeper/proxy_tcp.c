// SPDX-License-Identifier: Apache-2.0
/* TCP: two sockets, a pipe for each direction, splice(2) until one of them would block.
 *
 * Happy path   accept -> connect to a target -> bytes both ways -> an end on one side is passed on
 *              as a half-close -> both have ended.
 * No target    the client is closed at once.
 * Refused      the target refuses: the client gets a reset, as from it.
 * No room      (PROXY_CONNECTIONS_MAX, no descriptors) listeners wait; the backlog holds who comes.
 * Idle         TCP keep-alive finds dead peers; a half-closed connection without a byte is given
 *              up.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_int.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum {
    ACCEPT_BATCH = 64,
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_EVERY_S = 10,
    KEEPALIVE_TRIES = 6,
    SYN_TRIES = 3,
    DIAL_TRIES = 8
};

struct side { /* one socket, and the pipe of what was read from it */
    struct loop_source source;
    struct connection *of;
    int pipe[2];
    size_t held; /* bytes in the pipe */
    bool eof;    /* it sends no more */
    bool shut;   /* and the other side was told */
};

struct connection {
    struct list node, in_ready;
    struct proxy *proxy;
    struct side side[2];
    int64_t active_ms;
    struct loop_garbage garbage;
};

static struct side *other(struct side *s) {
    return &s->of->side[s == &s->of->side[0]];
}

static void bury(struct connection *c) {
    struct proxy *p = c->proxy;
    for (size_t i = 0; i < 2; i++) {
        loop_remove(&p->loop, &c->side[i].source);
        fd_close(&c->side[i].pipe[0]);
        fd_close(&c->side[i].pipe[1]);
    }
    list_del(&c->node);
    list_del(&c->in_ready);
    p->n_connections--;
    loop_free_later(&p->loop, &c->garbage, c);
    proxy__pause(p, false);
}

/* A failed side: the other one sees a reset, not a clean end with bytes missing. */
static void reset(struct connection *c) {
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    for (size_t i = 0; i < 2; i++)
        (void) setsockopt(c->side[i].source.fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    bury(c);
}

static bool again(ssize_t n) {
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* One step from S to the other side: 1 moved, 0 would block, negative: broken. */
static int step(struct side *s) {
    struct side *to = other(s);
    int moved = 0;
    if (!s->eof && s->held < PROXY_PIPE_BYTES) {
        ssize_t n = splice(s->source.fd, NULL, s->pipe[1], NULL, PROXY_PIPE_BYTES - s->held,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && !again(n) && errno != ENOTCONN) return -errno;
        if (n == 0) s->eof = true;
        if (n > 0) s->held += (size_t) n;
        moved |= n > 0;
    }
    if (s->held) {
        ssize_t n = splice(s->pipe[0], NULL, to->source.fd, NULL, s->held,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && !again(n) && errno != ENOTCONN) return -errno;
        if (n > 0) s->held -= (size_t) n;
        moved |= n > 0;
    }
    if (s->eof && !s->held && !s->shut && shutdown(to->source.fd, SHUT_WR) == 0) s->shut = true;
    return moved;
}

static void pump(struct connection *c) {
    list_del(&c->in_ready);
    int moved = 1;
    for (int i = 0; i < PROXY_STEPS && moved; i++) {
        moved = 0;
        for (size_t j = 0; j < 2; j++) {
            int r = step(&c->side[j]);
            if (r < 0) {
                reset(c);
                return;
            }
            moved |= r;
        }
    }
    if (c->side[0].shut && c->side[1].shut) {
        bury(c);
        return;
    }
    c->active_ms = c->proxy->now_ms;
    list_del(&c->node);
    list_add_tail(&c->proxy->connections, &c->node);
    if (moved)
        list_add_tail(&c->proxy->ready, &c->in_ready); /* edge-triggered: not seen empty yet */
}

static void on_side(struct loop_source *source, uint32_t events) {
    struct side *s = container_of(source, struct side, source);
    if (events & EPOLLERR)
        reset(s->of);
    else
        pump(s->of);
}

static void tune(int fd) {
    static const struct {
        int level, option, value;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_NODELAY, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
                   {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S},
                   {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES},
                   {IPPROTO_TCP, TCP_SYNCNT, SYN_TRIES}};
    for (size_t i = 0; i < array_len(options); i++) /* each of them only makes it better */
        (void) setsockopt(fd, options[i].level, options[i].option, &options[i].value,
                          sizeof options[i].value);
}

static int dial(const struct sockaddr_in *target) {
    auto_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    tune(fd);
    union address a = {.v4 = *target};
    if (connect(fd, &a.any, sizeof a.v4) < 0 && errno != EINPROGRESS) return -errno;
    return steal_fd(&fd);
}

/* A target that has no route (its link has just gone) is known at once: another one then. */
static int dial_one(struct proxy *p, const struct port *port) {
    int fd = -EHOSTUNREACH;
    for (size_t i = 0; fd < 0 && i < port->n_targets && i < DIAL_TRIES; i++)
        fd = dial(proxy__pick(p, port));
    return fd;
}

static int join(struct connection *c, size_t i, int *fd) {
    struct side *s = &c->side[i];
    s->of = c;
    if (pipe2(s->pipe, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    int r = loop_add(&c->proxy->loop, &s->source, *fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                     on_side);
    if (r == 0) *fd = -1; /* the loop's */
    return r;
}

static void connect_through(struct proxy *p, const struct port *port, int client_fd) {
    auto_fd int client = client_fd;
    auto_fd int server = dial_one(p, port);
    if (server < 0) return; /* the client sees the end at once */
    struct connection *c = mem_zalloc(sizeof *c);
    if (!c) return;
    *c = (struct connection){.proxy = p, .active_ms = p->now_ms};
    for (size_t i = 0; i < 2; i++) c->side[i].pipe[0] = c->side[i].pipe[1] = -1;
    list_init(&c->in_ready);
    list_add_tail(&p->connections, &c->node);
    p->n_connections++;
    tune(client);
    int r = join(c, 0, &client);
    if (r == 0) r = join(c, 1, &server);
    if (r < 0) bury(c);
}

void proxy__tcp_accept(struct loop_source *source, uint32_t events) {
    (void) events;
    struct port *port = container_of(source, struct port_socket, source)->port;
    struct proxy *p = port->proxy;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (p->n_connections >= p->connections_max) {
            proxy__pause(p, true);
            return;
        }
        int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            connect_through(p, port, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (p->n_connections) proxy__pause(p, true); /* until one ends */
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

void proxy__tcp_turn(struct proxy *p) {
    struct list turn;
    list_init(&turn);
    while (!list_empty(&p->ready)) {
        struct list *it = p->ready.next;
        list_del(it);
        list_add_tail(&turn, it);
    }
    while (!list_empty(&turn)) pump(list_entry(turn.next, struct connection, in_ready));
}

void proxy__tcp_sweep(struct proxy *p) {
    list_each_safe (it, &p->connections) {
        struct connection *c = list_entry(it, struct connection, node);
        if (p->now_ms - c->active_ms < PROXY_HALF_CLOSED_MS) return; /* the later ones too */
        if (c->side[0].shut || c->side[1].shut) reset(c);
    }
}
