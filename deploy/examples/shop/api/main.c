// SPDX-License-Identifier: Apache-2.0
/* shop-api: counts visits in Redis and says which replica answered.
 *
 *   GET /         {"replica":"<host name>","visits":<n>}   503 when Redis does not answer
 *   GET /healthz  {"ok":true}                              says nothing about Redis
 *   shop-api --check   ask our own /healthz; exit code 0 or 1 (the container's health check)
 *
 * One thread and one poll loop. Everything is bounded: CLIENTS connections, HEAD_MAX bytes a
 * request, a deadline for each, one connection to Redis on which answers come in the order of the
 * questions. SIGTERM: no new connections, those that are open are answered, then exit 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 8000, CLIENTS = 256, HEAD_MAX = 4096, ANSWER_MAX = 512, DEADLINE_MS = 5000 };
static const char redis_host[] = "redis", redis_port[] = "6379";
static const char question[] = "INCR visits\r\n";

enum state { UNUSED, READING, COUNTING, ANSWERING };

struct client {
    enum state state;
    int fd;
    int64_t deadline_ms;
    size_t got, sent, answer_len;
    char head[HEAD_MAX + 1];
    char answer[ANSWER_MAX];
};

static struct {
    struct client clients[CLIENTS];
    int listener;
    char name[65];
    int redis; /* -1: not connected */
    /* Whose answers are still to come, oldest first; NULL: that client is gone. */
    struct client *asked[CLIENTS * 2];
    size_t asked_from, asked_n;
    char line[64];
    size_t line_len;
} api = {.listener = -1, .redis = -1};

static volatile sig_atomic_t ending;

static void on_term(int sig) {
    (void) sig;
    ending = 1;
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void finish(struct client *c) {
    for (size_t i = 0; i < api.asked_n; i++) {
        struct client **a = &api.asked[(api.asked_from + i) % (CLIENTS * 2)];
        if (*a == c) *a = NULL;
    }
    close(c->fd);
    c->state = UNUSED;
}

static void answer(struct client *c, const char *status, const char *body) {
    int n = snprintf(c->answer, sizeof c->answer,
                     "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     status, strlen(body), body);
    c->answer_len = (size_t) n;
    c->sent = 0;
    c->state = ANSWERING;
    printf("%.3s %s", status, body);
}

static void redis_lost(const char *why) {
    fprintf(stderr, "redis: %s\n", why);
    if (api.redis >= 0) close(api.redis);
    api.redis = -1;
    api.line_len = 0;
    for (; api.asked_n; api.asked_n--) {
        struct client *c = api.asked[api.asked_from++ % (CLIENTS * 2)];
        if (c) answer(c, "503 Service Unavailable", "{\"error\":\"redis does not answer\"}\n");
    }
}

/* The name is looked up at every new connection: an address may change, the name does not. */
static int redis_connect(void) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int r = getaddrinfo(redis_host, redis_port, &hints, &found);
    if (r != 0) {
        redis_lost(gai_strerror(r));
        return -1;
    }
    api.redis = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 1};
    if (api.redis >= 0) setsockopt(api.redis, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    r = api.redis < 0 ? -1 : connect(api.redis, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (r < 0)
        redis_lost("cannot connect");
    else
        fcntl(api.redis, F_SETFL, O_NONBLOCK);
    return api.redis < 0 ? -1 : 0;
}

static void count(struct client *c) {
    c->state = COUNTING;
    if (api.asked_n == CLIENTS * 2) redis_lost("too many answers are missing");
    api.asked[(api.asked_from + api.asked_n++) % (CLIENTS * 2)] = c;
    if (api.redis < 0 && redis_connect() < 0) return;
    if (write(api.redis, question, sizeof question - 1) != sizeof question - 1)
        redis_lost("cannot send");
}

/* One line from Redis is the answer to the oldest question: ":<n>" or "-<error>". */
static void redis_line(void) {
    char body[160];
    if (api.asked_n == 0) return;
    struct client *c = api.asked[api.asked_from++ % (CLIENTS * 2)];
    api.asked_n--;
    if (!c) return;
    if (api.line[0] != ':') {
        answer(c, "503 Service Unavailable", "{\"error\":\"redis refuses to count\"}\n");
        return;
    }
    snprintf(body, sizeof body, "{\"replica\":\"%s\",\"visits\":%s}\n", api.name, api.line + 1);
    answer(c, "200 OK", body);
}

static void redis_readable(void) {
    char in[1024];
    ssize_t n = read(api.redis, in, sizeof in);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        redis_lost("the connection broke");
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (in[i] == '\r') continue;
        if (in[i] != '\n') {
            if (api.line_len < sizeof api.line - 1) api.line[api.line_len++] = in[i];
            continue;
        }
        api.line[api.line_len] = 0;
        api.line_len = 0;
        redis_line();
    }
}

static bool asks_for(const struct client *c, const char *path) {
    size_t n = strlen(path);
    const char *target = c->head + 4;
    return strncmp(c->head, "GET ", 4) == 0 && strncmp(target, path, n) == 0 &&
           (target[n] == ' ' || target[n] == '?');
}

static void client_readable(struct client *c) {
    ssize_t n = read(c->fd, c->head + c->got, HEAD_MAX - c->got);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        finish(c);
        return;
    }
    c->got += (size_t) n;
    c->head[c->got] = 0;
    if (!strstr(c->head, "\r\n\r\n")) {
        if (c->got == HEAD_MAX) answer(c, "431 Request Header Fields Too Large", "{}\n");
    } else if (asks_for(c, "/healthz")) {
        answer(c, "200 OK", "{\"ok\":true}\n");
    } else if (asks_for(c, "/")) {
        count(c);
    } else {
        answer(c, "404 Not Found", "{\"error\":\"not found\"}\n");
    }
}

static void client_writable(struct client *c) {
    ssize_t n = write(c->fd, c->answer + c->sent, c->answer_len - c->sent);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) c->sent += (size_t) n;
    if (n <= 0 || c->sent == c->answer_len) finish(c);
}

static struct client *unused(void) {
    for (size_t i = 0; i < CLIENTS; i++)
        if (api.clients[i].state == UNUSED) return &api.clients[i];
    return NULL;
}

static bool accept_one(struct client *c) {
    int fd = accept4(api.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return false;
    c->state = READING;
    c->fd = fd;
    c->got = 0;
    c->deadline_ms = now_ms() + DEADLINE_MS;
    return true;
}

/* The end begins: who has connected already is still served. */
static void stop_listening(void) {
    struct client *c = unused();
    while (c && accept_one(c)) c = unused();
    close(api.listener);
    api.listener = -1;
}

/* What to wait for: the listener while there is room, Redis, and every open client. */
static size_t gather(struct pollfd *p, struct client **who, bool room) {
    size_t n = 2;
    p[0] = (struct pollfd){.fd = !room ? -1 : api.listener, .events = POLLIN};
    p[1] = (struct pollfd){.fd = api.redis, .events = POLLIN};
    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *c = &api.clients[i];
        if (c->state == UNUSED) continue;
        short events = c->state == READING ? POLLIN : c->state == ANSWERING ? POLLOUT : 0;
        p[n] = (struct pollfd){.fd = c->fd, .events = events};
        who[n++] = c;
    }
    return n;
}

static void turn(const struct pollfd *p, struct client **who, size_t n) {
    int64_t now = now_ms();
    if (p[1].revents && p[1].fd == api.redis) redis_readable();
    for (size_t i = 2; i < n; i++) {
        struct client *c = who[i];
        if (c->state == READING && p[i].revents)
            client_readable(c);
        else if (c->state == ANSWERING && p[i].revents)
            client_writable(c);
        else if (p[i].revents & (POLLERR | POLLHUP) || now > c->deadline_ms)
            finish(c);
    }
    struct client *c = p[0].revents ? unused() : NULL;
    if (c) (void) accept_one(c);
    fflush(stdout);
}

static int serve(void) {
    static struct pollfd p[CLIENTS + 2];
    static struct client *who[CLIENTS + 2];
    sigset_t none, term;
    sigemptyset(&none);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    sigprocmask(SIG_BLOCK, &term, NULL); /* only ppoll lets it in: none is missed */
    for (;;) {
        if (ending && api.listener >= 0) stop_listening();
        size_t n = gather(p, who, unused() != NULL);
        if (ending && n == 2) return 0;
        struct timespec wait = {.tv_sec = 1};
        if (ppoll(p, n, &wait, &none) < 0) {
            if (errno != EINTR) return 1;
            continue;
        }
        turn(p, who, n);
    }
}

static int listen_on(uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *) &at, sizeof at) < 0 || listen(fd, 128) < 0) return -1;
    return fd;
}

static int check(void) {
    static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    char in[16] = "";
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval limit = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, (struct sockaddr *) &at, sizeof at) < 0 ||
        write(fd, ask, sizeof ask - 1) != sizeof ask - 1 ||
        recv(fd, in, sizeof in - 1, MSG_WAITALL) < (ssize_t) sizeof "HTTP/1.1 200" - 1 ||
        strncmp(in, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "no good answer on port %d\n", PORT);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--check") == 0) return check();
    struct sigaction term = {.sa_handler = on_term}, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGINT, &term, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    if (gethostname(api.name, sizeof api.name - 1) < 0) return 1;
    api.listener = listen_on(PORT);
    if (api.listener < 0) {
        fprintf(stderr, "cannot listen on port %d: %m\n", PORT);
        return 1;
    }
    printf("%s listens on port %d\n", api.name, PORT);
    fflush(stdout);
    return serve();
}
