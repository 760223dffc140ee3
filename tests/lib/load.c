// SPDX-License-Identifier: Apache-2.0
/* load OPTIONS ADDRESS:PORT... - asks loadservers for answers and counts what goes wrong.
 *
 *   --rate N        open loop: N new connections per second, however slow the answers (targets in turn)
 *   --clients N     closed loop: N connections at any time, each replaced when it is done
 *   --seconds N     opens connections for so long (default: until SIGTERM or SIGINT)
 *   --count N       opens N connections at most
 *   --requests N    requests of a connection (default 1; 0: until the end)
 *   --pause-ms N    pause between two requests of a connection (default 0)
 *   --delay-ms N    the server waits before it answers (default 0)
 *   --answer N      bytes of an answer (default and least 16)
 *   --timeout-ms N  an answer that takes longer has failed (default 10000)
 *   --half-close    the client says that it is done after its last request, and then reads
 *   --reset         a connection is ended by RST: no TIME_WAIT, for rates above 400 a second
 *
 * At the end what was begun is finished, and one line is printed: "connections=N requests=N ok=N
 * failed=N", failures by kind, retransmitted= (connections that needed one), servers= (how many
 * different ones answered), rate= (connections per second), latencies in microseconds. In the open
 * loop a latency counts from when the connection was due, so that a stalled generator hides nothing;
 * late= counts those opened more than 20 ms late. The first failures are told on stderr.
 * Exit code: 0 nothing failed, 1 something did, 2 usage. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { TARGETS_MAX = 64, SERVERS_MAX = 4096, TOLD_MAX = 20, EVENTS = 256, BUFFER = 256 << 10 };
enum { LATE_NS = 20 * 1000 * 1000, BUCKET_BITS = 5, BUCKETS = 64 << BUCKET_BITS };

enum kind {
    OK,
    REFUSED,
    RESET,
    CLOSED, /* before the whole answer had come */
    TIMEOUT,
    UNREACHABLE,
    WRONG, /* an answer to something else */
    LOCAL, /* no port, no descriptor: the generator's own */
    OTHER,
    KINDS
};
static const char *const kind_name[KINDS] = {"ok",          "refused", "reset", "closed", "timeout",
                                             "unreachable", "wrong",   "local", "other"};

enum state { CONNECTING, ASKING, ANSWERING, PAUSING };
static const char *const state_name[] = {"connecting", "asking", "answering", "pausing"};

struct conn {
    TAILQ_ENTRY(conn) link; /* in `waiting` by deadline, or in `pausing` by when it goes on */
    int fd, target;
    enum state state;
    uint32_t id, asked;
    uint64_t got;
    struct load_answer head;
    int64_t begin_ns; /* of the request under way */
    int64_t until_ns; /* deadline, or end of the pause */
};
TAILQ_HEAD(conns, conn);

static struct {
    double rate;
    uint64_t clients, seconds, count, requests, pause_ms, delay_ms, answer, timeout_ms;
    int half_close, reset;
} opt = {.requests = 1, .answer = sizeof(struct load_answer), .timeout_ms = 10000};

static struct sockaddr_in targets[TARGETS_MAX];
static int n_targets;
static struct conns waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct conns pausing = TAILQ_HEAD_INITIALIZER(pausing);
static int epoll = -1;
static int64_t start_ns, end_ns;
static uint64_t opened, live, requests, kinds[KINDS], retransmitted, late;
static uint64_t bytes;
static uint64_t histogram[BUCKETS], slowest_us;
static uint32_t servers[SERVERS_MAX];
static size_t n_servers;
static volatile sig_atomic_t stopped;
static char buffer[BUFFER];

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- figures ---- */

/* Buckets of 1/32 of their power of two: 3 % of precision at any size. */
static void count_latency(uint64_t us) {
    unsigned top = us >> BUCKET_BITS ? (unsigned) (63 - __builtin_clzll(us)) - BUCKET_BITS : 0;
    uint64_t bucket = top ? ((uint64_t) top << BUCKET_BITS) + (us >> top) : us;
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (us > slowest_us) slowest_us = us;
}

static uint64_t quantile_us(double q) {
    uint64_t seen = 0, rank = (uint64_t) (q * (double) kinds[OK]);
    for (uint64_t b = 0; b < BUCKETS; b++) {
        seen += histogram[b];
        if (seen <= rank) continue;
        uint64_t top = b >> BUCKET_BITS ? (b >> BUCKET_BITS) - 1 : 0;
        return top ? (b - (top << BUCKET_BITS)) << top : b;
    }
    return slowest_us;
}

static void count_server(uint32_t server) {
    for (size_t i = 0; i < n_servers; i++)
        if (servers[i] == server) return;
    if (n_servers < SERVERS_MAX) servers[n_servers++] = server;
}

static enum kind kind_of(int error) {
    switch (error) {
    case ECONNREFUSED:
        return REFUSED;
    case ECONNRESET:
    case EPIPE:
        return RESET;
    case ETIMEDOUT:
        return TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
        return UNREACHABLE;
    case EADDRNOTAVAIL:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return LOCAL;
    default:
        return OTHER;
    }
}

static void print_result(void) {
    double seconds = (double) (now_ns() - start_ns) / 1e9;
    printf("connections=%lu requests=%lu ok=%lu failed=%lu", opened, requests, kinds[OK],
           requests - kinds[OK]);
    for (int k = OK + 1; k < KINDS; k++) printf(" %s=%lu", kind_name[k], kinds[k]);
    printf(" retransmitted=%lu late=%lu servers=%zu rate=%.1f", retransmitted, late, n_servers,
           (double) opened / seconds);
    printf(" bytes_per_s=%.0f p50_us=%lu p90_us=%lu p99_us=%lu max_us=%lu\n",
           (double) bytes / seconds, quantile_us(0.5), quantile_us(0.9), quantile_us(0.99),
           slowest_us);
}

/* ---- one connection ---- */

static bool stopping(void) {
    return stopped || now_ns() >= end_ns;
}

static void watch(struct conn *c, uint32_t events, int op) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, op, c->fd, &e) < 0) {
        perror("load: epoll_ctl");
        exit(2);
    }
}

static void end(struct conn *c) {
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_total_retrans)
        retransmitted++;
    struct linger hard = {.l_onoff = 1};
    if (opt.reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(c->fd);
    TAILQ_REMOVE(c->state == PAUSING ? &pausing : &waiting, c, link);
    free(c);
    live--;
}

static void tell(const struct sockaddr_in *to, enum kind k, const char *state, uint64_t got,
                 uint32_t asked) {
    static unsigned told;
    if (told++ >= TOLD_MAX) return;
    fprintf(stderr, "load: after %.3f s: %s:%u %s while %s, after %lu bytes of answer %u\n",
            (double) (now_ns() - start_ns) / 1e9, inet_ntoa(to->sin_addr), ntohs(to->sin_port),
            kind_name[k], state, got, asked);
}

static void fail(struct conn *c, enum kind k) {
    kinds[k]++;
    tell(&targets[c->target], k, state_name[c->state], c->got, c->asked);
    end(c);
}

static void wait_for(struct conn *c, enum state s) {
    TAILQ_REMOVE(c->state == PAUSING ? &pausing : &waiting, c, link);
    c->state = s;
    uint64_t ms = s == PAUSING ? opt.pause_ms : opt.timeout_ms;
    c->until_ns = now_ns() + (int64_t) ms * 1000000;
    TAILQ_INSERT_TAIL(s == PAUSING ? &pausing : &waiting, c, link);
}

static bool last_request(const struct conn *c) {
    return (opt.requests && c->asked >= opt.requests) || stopping();
}

static void ask(struct conn *c) {
    struct load_request r = {LOAD_MAGIC, c->id, (uint32_t) opt.delay_ms, (uint32_t) opt.answer};
    c->asked++;
    c->got = 0;
    ssize_t n = send(c->fd, &r, sizeof r, MSG_NOSIGNAL);
    if (n != sizeof r) {
        fail(c, n < 0 ? kind_of(errno) : OTHER);
        return;
    }
    if (opt.half_close && opt.requests && c->asked >= opt.requests) shutdown(c->fd, SHUT_WR);
    wait_for(c, ANSWERING);
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void ask_again(struct conn *c) {
    c->begin_ns = now_ns();
    c->id++;
    requests++;
    ask(c);
}

static void answered(struct conn *c) {
    if (c->head.magic != LOAD_MAGIC || c->head.id != c->id || c->head.answer_bytes != opt.answer) {
        fail(c, WRONG);
        return;
    }
    kinds[OK]++;
    count_latency((uint64_t) (now_ns() - c->begin_ns) / 1000);
    count_server(c->head.server);
    if (last_request(c))
        end(c);
    else if (opt.pause_ms)
        wait_for(c, PAUSING);
    else
        ask_again(c);
}

static void read_answer(struct conn *c) {
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        fail(c, n == 0 ? CLOSED : kind_of(errno));
        return;
    }
    bytes += (uint64_t) n;
    if (c->got < sizeof c->head) {
        size_t room = sizeof c->head - c->got, take = (size_t) n < room ? (size_t) n : room;
        memcpy((char *) &c->head + c->got, buffer, take);
    }
    c->got += (uint64_t) n;
    if (c->got >= opt.answer) answered(c);
}

/* In a pause nothing may come: the server has gone, which is a failure of the next request. */
static void on_pause_event(struct conn *c) {
    requests++;
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    fail(c, n < 0 ? kind_of(errno) : n == 0 ? CLOSED : WRONG);
}

static void on_event(struct conn *c) {
    int error = 0;
    socklen_t n = sizeof error;
    switch (c->state) {
    case CONNECTING:
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error)
            fail(c, kind_of(error));
        else
            ask(c);
        return;
    case ASKING:
    case ANSWERING:
        read_answer(c);
        return;
    case PAUSING:
        on_pause_event(c);
        return;
    }
}

static void open_one(int64_t due_ns) {
    int target = (int) (opened++ % (unsigned) n_targets);
    const struct sockaddr_in *to = &targets[target];
    requests++;
    if (now_ns() - due_ns > LATE_NS) late++;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct conn *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    int error = c ? 0 : errno;
    if (c) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c && connect(fd, (const struct sockaddr *) to, sizeof *to) < 0 && errno != EINPROGRESS)
        error = errno;
    if (error) {
        kinds[kind_of(error)]++;
        tell(to, kind_of(error), "opening", 0, 0);
        if (fd >= 0) close(fd);
        free(c);
        return;
    }
    *c = (struct conn){.fd = fd, .target = target, .begin_ns = due_ns, .state = CONNECTING};
    c->id = (uint32_t) opened << 8;
    live++;
    TAILQ_INSERT_TAIL(&waiting, c, link);
    wait_for(c, CONNECTING);
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

/* ---- the loop ---- */

static bool may_open(void) {
    return (!opt.count || opened < opt.count) && !stopping();
}

/* Returns when the next one is due; INT64_MAX = an event will tell. */
static int64_t open_due(void) {
    if (opt.clients) {
        /* A refused one is not replaced before the next turn: no spinning. */
        for (uint64_t n = live; n < opt.clients && may_open(); n++) open_one(now_ns());
        return live < opt.clients && may_open() ? now_ns() + 1000000 : INT64_MAX;
    }
    for (;;) {
        int64_t due = start_ns + (int64_t) ((double) opened * 1e9 / opt.rate);
        if (!may_open()) return INT64_MAX;
        if (due > now_ns()) return due;
        open_one(due);
    }
}

static void time_out(void) {
    struct conn *c;
    while ((c = TAILQ_FIRST(&waiting)) && c->until_ns <= now_ns()) fail(c, TIMEOUT);
    while ((c = TAILQ_FIRST(&pausing)) && (c->until_ns <= now_ns() || stopping())) {
        if (stopping())
            end(c);
        else
            ask_again(c);
    }
}

static int64_t earliest(int64_t t) {
    const struct conn *w = TAILQ_FIRST(&waiting), *p = TAILQ_FIRST(&pausing);
    if (w && w->until_ns < t) t = w->until_ns;
    if (p && p->until_ns < t) t = p->until_ns;
    return end_ns < t && end_ns > now_ns() ? end_ns : t;
}

static void run(const sigset_t *unblocked) {
    struct epoll_event events[EVENTS];
    for (;;) {
        int64_t due = open_due();
        if (live == 0 && !may_open()) return;
        int64_t wait = earliest(due) - now_ns();
        if (wait < 0) wait = 0;
        struct timespec t = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
        int n = epoll_pwait2(epoll, events, EVENTS, wait > INT64_MAX / 2 ? NULL : &t, unblocked);
        for (int i = 0; i < n; i++) on_event(events[i].data.ptr);
        time_out();
    }
}

/* ---- arguments ---- */

static void usage(const char *what) {
    fprintf(stderr, "load: %s\nusage: load --rate N | --clients N [options] ADDRESS:PORT...\n",
            what);
    exit(2);
}

static uint64_t number(const char *text, uint64_t max) {
    char *rest;
    errno = 0;
    unsigned long long v = strtoull(text, &rest, 10);
    if (errno || rest == text || *rest || *text == '-' || v > max) usage(text);
    return v;
}

static void add_target(char *text) {
    char *colon = strrchr(text, ':');
    struct sockaddr_in *to = &targets[n_targets];
    if (n_targets == TARGETS_MAX || !colon) usage(text);
    *colon = 0;
    to->sin_family = AF_INET;
    to->sin_port = htons((uint16_t) number(colon + 1, 65535));
    if (inet_pton(AF_INET, text, &to->sin_addr) != 1) usage(text);
    n_targets++;
}

enum { RATE, CLIENTS, SECONDS, COUNT_, REQUESTS, PAUSE, DELAY, ANSWER, TIMEOUT_ };
static const struct option options[] = {
    {"rate", 1, NULL, RATE},           {"clients", 1, NULL, CLIENTS},
    {"seconds", 1, NULL, SECONDS},     {"count", 1, NULL, COUNT_},
    {"requests", 1, NULL, REQUESTS},   {"pause-ms", 1, NULL, PAUSE},
    {"delay-ms", 1, NULL, DELAY},      {"answer", 1, NULL, ANSWER},
    {"timeout-ms", 1, NULL, TIMEOUT_}, {"half-close", 0, &opt.half_close, 1},
    {"reset", 0, &opt.reset, 1},       {0}};

static void parse(int argc, char **argv) {
    uint64_t *const where[] = {NULL,          &opt.clients,  &opt.seconds,
                               &opt.count,    &opt.requests, &opt.pause_ms,
                               &opt.delay_ms, &opt.answer,   &opt.timeout_ms};
    int o;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o == '?') usage("unknown option");
        if (optarg && where[o]) *where[o] = number(optarg, INT32_MAX);
        if (optarg && !where[o]) opt.rate = (double) number(optarg, 1000000);
    }
    if ((opt.rate > 0) == (opt.clients > 0)) usage("one of --rate and --clients");
    if (opt.answer < sizeof(struct load_answer) || opt.answer > LOAD_ANSWER_MAX) usage("--answer");
    if (opt.delay_ms > LOAD_DELAY_MAX) usage("--delay-ms");
    for (; optind < argc; optind++) add_target(argv[optind]);
    if (n_targets == 0) usage("no target");
}

static void on_signal(int sig) {
    (void) sig;
    stopped = 1;
}

int main(int argc, char **argv) {
    parse(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    sigset_t blocked, unblocked; /* blocked outside the wait: none comes between test and wait */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    start_ns = now_ns();
    end_ns = opt.seconds ? start_ns + (int64_t) opt.seconds * 1000000000 : INT64_MAX;
    run(&unblocked);
    print_result();
    return requests == kinds[OK] ? 0 : 1;
}
