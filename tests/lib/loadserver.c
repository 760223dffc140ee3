// SPDX-License-Identifier: Apache-2.0
/* loadserver [--polite] PORT - answers load (load.h) on every address.
 *
 * SIGTERM: dies at once, whatever is under way, like a server that knows nothing of being stopped.
 * --polite: stops listening, finishes what it has, ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { EVENTS = 256, BLOCK = 256 << 10, BACKLOG = 4096 };

struct conn {
    TAILQ_ENTRY(conn) link; /* in `delayed`, by when it is answered */
    int fd;
    bool is_delayed;
    size_t have; /* of the request */
    struct load_request request;
    uint64_t sent, size; /* of the answer; size 0 = none under way */
    int64_t due_ms;
};
TAILQ_HEAD(conns, conn);
static struct conns delayed = TAILQ_HEAD_INITIALIZER(delayed);
static int epoll = -1, listener = -1;
static uint32_t server_id;
static size_t live;
static bool polite;
static volatile sig_atomic_t stopped;
static char block[BLOCK];

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void watch(struct conn *c, uint32_t events, int op) {
    struct epoll_event e = {.events = events, .data.ptr = c}; /* NULL: the listener */
    if (epoll_ctl(epoll, op, c ? c->fd : listener, &e) < 0) _exit(2);
}

static void end(struct conn *c) {
    if (c->is_delayed) TAILQ_REMOVE(&delayed, c, link);
    close(c->fd);
    free(c);
    live--;
}

/* False: the connection is gone, or full (then EPOLLOUT tells). */
static bool write_answer(struct conn *c) {
    while (c->sent < c->size) {
        struct load_answer head = {LOAD_MAGIC, c->request.id, server_id, c->request.answer_bytes};
        uint64_t left = c->size - c->sent;
        const char *from = block;
        if (c->sent < sizeof head) {
            memcpy(block, &head, sizeof head);
            from += c->sent;
        }
        uint64_t room = (uint64_t) (block + BLOCK - from);
        ssize_t n = send(c->fd, from, left < room ? left : room, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(c, EPOLLOUT, EPOLL_CTL_MOD);
            return false;
        }
        if (n < 0) {
            end(c);
            return false;
        }
        c->sent += (uint64_t) n;
    }
    c->size = c->sent = c->have = 0;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    return true;
}

static void answer(struct conn *c) {
    const struct load_request *r = &c->request;
    if (r->magic != LOAD_MAGIC || r->answer_bytes < sizeof(struct load_answer) ||
        r->answer_bytes > LOAD_ANSWER_MAX || r->delay_ms > LOAD_DELAY_MAX) {
        end(c);
        return;
    }
    c->size = r->answer_bytes;
    if (r->delay_ms == 0) {
        (void) write_answer(c);
        return;
    }
    c->due_ms = now_ms() + r->delay_ms;
    c->is_delayed = true;
    struct conn *before = TAILQ_LAST(&delayed, conns);
    while (before && before->due_ms > c->due_ms) before = TAILQ_PREV(before, conns, link);
    if (before)
        TAILQ_INSERT_AFTER(&delayed, before, c, link);
    else
        TAILQ_INSERT_HEAD(&delayed, c, link);
    watch(c, 0, EPOLL_CTL_MOD);
}

static void read_request(struct conn *c) {
    ssize_t n = recv(c->fd, (char *) &c->request + c->have, sizeof c->request - c->have, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        end(c);
        return;
    }
    c->have += (size_t) n;
    if (c->have == sizeof c->request) answer(c);
}

static void accept_all(void) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (!c) _exit(2);
        c->fd = fd;
        live++;
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void on_event(struct conn *c, uint32_t events) {
    if (!c)
        accept_all();
    else if (c->is_delayed || (events & EPOLLERR))
        end(c); /* nothing is watched in a delay: it is gone */
    else if (c->size)
        (void) write_answer(c);
    else
        read_request(c);
}

static void answer_delayed(void) {
    struct conn *c;
    while ((c = TAILQ_FIRST(&delayed)) && c->due_ms <= now_ms()) {
        TAILQ_REMOVE(&delayed, c, link);
        c->is_delayed = false;
        (void) write_answer(c);
    }
}

static void serve(const sigset_t *unblocked) {
    struct epoll_event events[EVENTS];
    while (!stopped || live) {
        const struct conn *next = TAILQ_FIRST(&delayed);
        int64_t wait = next ? next->due_ms - now_ms() : -1;
        int n = epoll_pwait(epoll, events, EVENTS, next && wait < 0 ? 0 : (int) wait, unblocked);
        for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
        answer_delayed();
        if (stopped && listener >= 0) {
            close(listener);
            listener = -1;
        }
    }
}

static void on_term(int sig) {
    (void) sig;
    if (!polite) _exit(0);
    stopped = 1;
}

static int listen_on(const char *port) {
    char *rest;
    unsigned long number = strtoul(port, &rest, 10);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) number)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || *rest || number == 0 || number > 65535) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *) &a, sizeof a) < 0 || listen(fd, BACKLOG) < 0) return -1;
    return fd;
}

int main(int argc, char **argv) {
    polite = argc == 3 && strcmp(argv[1], "--polite") == 0;
    if (argc != 2 + polite) {
        fprintf(stderr, "usage: loadserver [--polite] PORT\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (getrandom(&server_id, sizeof server_id, 0) < 0) return 2;
    sigset_t term, unblocked; /* a polite one is told only while it waits */
    sigemptyset(&term);
    if (polite) sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &unblocked);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
    listener = listen_on(argv[argc - 1]);
    if (listener < 0) {
        perror("loadserver: listen");
        return 2;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(NULL, EPOLLIN, EPOLL_CTL_ADD);
    serve(&unblocked);
    return 0;
}
