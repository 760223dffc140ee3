// SPDX-License-Identifier: Apache-2.0
/* numbered LINES PERIOD-US CODE - the workload of kill_matrix.sh: writes the numbered lines
 * "HOST o|e START NUMBER PADDING" to stdout and stderr, LINES of each times the replica's number (the
 * digits at the end of HOST; 0 = for ever), then ends with CODE plus that number.
 *
 * What it did it also writes to /out itself, so that Orlop's word can be held against it:
 *   HOST.starts   a byte a start
 *   HOST.lock     locked while it lives: who finds it taken writes "double HOST"
 *   events        start HOST START NS ADDRESS, end HOST START NS LINES CODE (CLOCK_MONOTONIC) */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 6000, LONG_EVERY = 199, LONG_BYTES = 5000 };

static char host[65];

static int open_out(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/out/%s", name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) _exit(90);
    return fd;
}

static void event(const char *text) {
    int fd = open_out("events");
    if (write(fd, text, strlen(text)) != (ssize_t) strlen(text)) _exit(91);
    close(fd);
}

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The number of this start, from 1. The lock stays with the process. */
static long count_start(void) {
    char name[80], text[128];
    snprintf(name, sizeof name, "%s.lock", host);
    if (flock(open_out(name), LOCK_EX | LOCK_NB) < 0) {
        snprintf(text, sizeof text, "double %s\n", host);
        event(text);
    }
    snprintf(name, sizeof name, "%s.starts", host);
    int fd = open_out(name);
    struct stat st;
    if (write(fd, "x", 1) != 1 || fstat(fd, &st) < 0) _exit(92);
    close(fd);
    return (long) st.st_size;
}

static void own_address(char ret[static INET_ADDRSTRLEN]) {
    struct ifaddrs *all = NULL;
    snprintf(ret, INET_ADDRSTRLEN, "none");
    if (getifaddrs(&all) < 0) return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !strcmp(i->ifa_name, "lo"))
            continue;
        struct sockaddr_in a;
        memcpy(&a, i->ifa_addr, sizeof a);
        inet_ntop(AF_INET, &a.sin_addr, ret, INET_ADDRSTRLEN);
        break;
    }
    freeifaddrs(all);
}

static void put(int fd, const char *text, size_t n) {
    while (n) {
        ssize_t w = write(fd, text, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) _exit(93);
        text += w;
        n -= (size_t) w;
    }
}

static void line(int fd, char stream, long start, long number) {
    char text[LINE_MAX_BYTES];
    int n = snprintf(text, sizeof text, "%s %c %ld %ld ", host, stream, start, number);
    size_t pad = number % LONG_EVERY == 7 ? LONG_BYTES : (size_t) (number * 2654435761U % 120);
    memset(text + n, 'x', pad);
    text[(size_t) n + pad] = '\n';
    put(fd, text, (size_t) n + pad + 1);
}

static void on_term(int sig) {
    (void) sig;
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 4 || gethostname(host, sizeof host - 1) < 0) return 99;
    (void) signal(SIGTERM, on_term);
    const char *dash = strrchr(host, '-');
    long replica = dash ? atol(dash + 1) : 1;
    long lines = atol(argv[1]) * replica, period = atol(argv[2]), code = atol(argv[3]);
    if (code) code += replica;
    char address[INET_ADDRSTRLEN], text[256];
    own_address(address);
    long start = count_start();
    snprintf(text, sizeof text, "start %s %ld %lld %s\n", host, start, now_ns(), address);
    event(text);
    for (long i = 0; !lines || i < lines; i++) {
        line(1, 'o', start, i);
        line(2, 'e', start, i);
        struct timespec t = {period / 1000000, period % 1000000 * 1000};
        while (nanosleep(&t, &t) < 0 && errno == EINTR) continue;
    }
    snprintf(text, sizeof text, "end %s %ld %lld %ld %ld\n", host, start, now_ns(), lines, code);
    event(text);
    return (int) code;
}
