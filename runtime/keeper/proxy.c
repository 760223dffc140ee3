// SPDX-License-Identifier: Apache-2.0
/* The proxy's process: proxy.sock, the loop. */
#include "proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "proxy_int.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"

struct proxy_peer {
    struct list node;
    struct proxy *proxy;
    struct loop_source source;
    struct outq out;
    struct loop_garbage garbage;
};

static struct proxy the_proxy;

static void peer_close(struct proxy_peer *peer) {
    if (!peer->source.ready) return;
    loop_remove(&peer->proxy->loop, &peer->source);
    outq_fini(&peer->out);
    list_del(&peer->node);
    loop_free_later(&peer->proxy->loop, &peer->garbage, peer);
}

static int send_reply(struct proxy_peer *peer, const Orlop__ProxyReply *reply) {
    size_t len = orlop__proxy_reply__get_packed_size(reply);
    auto_free uint8_t *data = mem_alloc(len ? len : 1);
    if (!data) return -ENOMEM;
    orlop__proxy_reply__pack(reply, data);
    return outq_send(&peer->out, peer->source.fd, data, len, -1);
}

static int want(struct proxy_peer *peer, size_t len) {
    struct proxy *p = peer->proxy;
    Orlop__ProxyWant *w;
    struct err err = {0};
    int r = proxy_want_decode(&p->budget, p->packet, len, &w, &err);
    if (r < 0) {
        log_warn("peer.request", "err=\"%s\"", err.text);
        return r;
    }
    Orlop__ProxyReply reply = ORLOP__PROXY_REPLY__INIT;
    reply.id = w->id;
    auto_free Orlop__ProxyRefusal *refusals = mem_array(w->n_ports + 1, sizeof *refusals);
    auto_free Orlop__ProxyRefusal **pointers = mem_array(w->n_ports + 1, sizeof *pointers);
    if (!refusals || !pointers) return -ENOMEM;
    proxy__apply(p, w, &reply, refusals, pointers);
    return send_reply(peer, &reply);
}

static void on_peer(struct loop_source *s, uint32_t events) {
    struct proxy_peer *peer = container_of(s, struct proxy_peer, source);
    struct proxy *p = peer->proxy;
    int r = events & EPOLLOUT ? outq_flush(&peer->out, s->fd) : 0;
    if (r == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        int fds[PACKET_FDS_MAX];
        size_t n_fds;
        int n = packet_receive(s->fd, p->packet, sizeof p->packet, fds, &n_fds);
        for (size_t i = 0; i < n_fds; i++) fd_close(&fds[i]);
        r = n > 0 ? want(peer, (size_t) n) : n == -EAGAIN ? 0 : -ECONNRESET;
        budget_reset(&p->budget);
    }
    if (r < 0)
        peer_close(peer); /* what is held stays held: the agent comes back */
    else
        loop_events(&p->loop, s, outq_empty(&peer->out) ? EPOLLIN : EPOLLOUT);
}

static void on_connect(struct loop_source *s, uint32_t events) {
    (void) events;
    struct proxy *p = container_of(s, struct proxy, listener);
    auto_fd int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || !packet_peer_ok(fd)) return;
    size_t n = 0;
    list_each (it, &p->peers) n++;
    if (n >= PROXY_PEERS_MAX) peer_close(list_entry(p->peers.next, struct proxy_peer, node));
    struct proxy_peer *peer = mem_zalloc(sizeof *peer);
    if (!peer) return;
    peer->proxy = p;
    outq_init(&peer->out, PROXY_QUEUE_MAX);
    if (loop_add(&p->loop, &peer->source, fd, EPOLLIN, on_peer) < 0) {
        mem_free(peer);
        return;
    }
    fd = -1; /* the loop's */
    list_add_tail(&p->peers, &peer->node);
}

static void on_signal(struct loop_source *s, uint32_t events) {
    (void) events;
    container_of(s, struct proxy, signals)->stop = true;
}

static int watch_signals(struct proxy *p) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void) sigprocmask(SIG_SETMASK, &set, NULL);
    (void) signal(SIGPIPE, SIG_IGN); /* splice to a closed socket */
    auto_fd int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) return -errno;
    int r = loop_add(&p->loop, &p->signals, fd, EPOLLIN, on_signal);
    if (r == 0) fd = -1; /* the loop's */
    return r;
}

static void init_tables(struct proxy *p) {
    list_init(&p->peers);
    list_init(&p->connections);
    list_init(&p->ready);
    list_init(&p->sessions);
    for (size_t i = 0; i < PROXY_SESSION_BUCKETS; i++) list_init(&p->buckets[i]);
    p->now_ms = clock_mono_ms();
    if (getrandom(&p->random, sizeof p->random, GRND_NONBLOCK) != sizeof p->random)
        p->random = (uint64_t) clock_unix_ns();
    p->random |= 1;
}

static int set_up(struct proxy *p, struct err *err) {
    init_tables(p);
    uint64_t soft, hard;
    int r = process_raise_nofile(&soft, &hard);
    if (r < 0) return err_set(err, r, "raise the limit on descriptors");
    size_t room = (size_t) sysconf(_SC_OPEN_MAX);
    size_t most = room > PROXY_FDS_RESERVED + PROXY_SESSIONS_MAX
                      ? (room - PROXY_FDS_RESERVED - PROXY_SESSIONS_MAX) / PROXY_FDS_PER_CONNECTION
                      : 1;
    p->connections_max = most < PROXY_CONNECTIONS_MAX ? most : PROXY_CONNECTIONS_MAX;
    r = budget_init(&p->budget);
    if (r == 0) r = loop_init(&p->loop);
    if (r == 0) r = watch_signals(p);
    if (r < 0) return err_set(err, r, "set up");
    char path[PATHS_FULL_MAX];
    auto_fd int fd = packet_listen(paths_run(&p->paths, "proxy.sock", path), err);
    if (fd < 0) return fd;
    r = loop_add(&p->loop, &p->listener, fd, EPOLLIN, on_connect);
    if (r < 0) return err_set(err, r, "set up");
    fd = -1; /* the loop's */
    return 0;
}

static int timeout_ms(const struct proxy *p) {
    if (!list_empty(&p->ready)) return 0;
    if (list_empty(&p->connections) && list_empty(&p->sessions)) return -1;
    return PROXY_SWEEP_MS;
}

static int run(struct proxy *p) {
    while (!p->stop) {
        int r = loop_turn(&p->loop, timeout_ms(p), &p->now_ms);
        if (r < 0) return r;
        proxy__tcp_turn(p);
        if (p->now_ms < p->next_sweep_ms) continue;
        p->next_sweep_ms = p->now_ms + PROXY_SWEEP_MS;
        proxy__tcp_sweep(p);
        proxy__udp_sweep(p);
    }
    return 0;
}

int proxy_main(const struct proxy_config *cfg) {
    log_init("proxy");
    (void) prctl(PR_SET_NAME, "orlop-proxy");
    struct proxy *p = &the_proxy;
    struct err err = {0};
    int lock;
    int r = paths_init(&p->paths, cfg->state, cfg->run, &err);
    if (r == 0) r = process_take_lock(&p->paths, "proxy.lock", &lock, &err);
    if (r == 0) r = set_up(p, &err);
    if (r == 0) {
        r = run(p);
        char path[PATHS_FULL_MAX];
        (void) unlink(paths_run(&p->paths, "proxy.sock", path));
    }
    if (r < 0) log_error("proxy.end", "err=\"%s\"", err.code ? err.text : err_text(r));
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
