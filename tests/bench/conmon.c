// SPDX-License-Identifier: Apache-2.0
/* bench_conmon WRITERS DIR PROGRAM COUNT BURST PERIOD_US - how others move log lines: read a pipe,
 * put time and stream before every line, write. One process for all, which is cheaper than theirs.
 * Reads a byte from stdin a round, answers "LINES_PER_SECOND CPU_NS_PER_LINE LOST". */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 200, CHUNK = 8192, LINE = 100, FRAME = 48 };

struct writer {
    pid_t pid;
    int in, out;
    char rest[CHUNK];
    size_t n_rest;
};

static struct writer writers[MAX];
static int n_writers;
static long count;
static long lines, wrong;

static void die(const char *what) {
    fprintf(stderr, "bench_conmon: %s: %s\n", what, strerrordesc_np(errno));
    _exit(99);
}

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void launch(struct writer *w, const char *dir, int k, char **argv) {
    int p[2];
    char path[300];
    snprintf(path, sizeof path, "%s/%d.log", dir, k);
    w->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (w->out < 0 || pipe2(p, O_CLOEXEC) < 0) die(path);
    w->pid = fork();
    if (w->pid == 0) {
        dup2(p[1], 1);
        execv(argv[0], argv);
        _exit(127);
    }
    close(p[1]);
    w->in = p[0];
    w->n_rest = 0;
    fcntl(w->in, F_SETFL, O_NONBLOCK);
}

static size_t frame(char *to) {
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    size_t n = strftime(to, FRAME, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + (size_t) snprintf(to + n, FRAME - n, ".%09ldZ stdout F ", t.tv_nsec);
}

/* One read: all whole lines of it framed into one write, as conmon does. */
static void move(struct writer *w) {
    static char in[2 * CHUNK], out[4 * CHUNK];
    memcpy(in, w->rest, w->n_rest);
    ssize_t got = read(w->in, in + w->n_rest, CHUNK);
    if (got <= 0) return;
    size_t n = w->n_rest + (size_t) got, at = 0, to = 0;
    for (char *end; (end = memchr(in + at, '\n', n - at)); at = (size_t) (end - in) + 1) {
        size_t len = (size_t) (end - in) + 1 - at;
        to += frame(out + to);
        memcpy(out + to, in + at, len);
        to += len;
        lines++;
        if (len != LINE) wrong++;
    }
    w->n_rest = n - at;
    memcpy(w->rest, in + at, w->n_rest);
    if (write(w->out, out, to) != (ssize_t) to) die("write");
}

static void move_until(int epoll, long n_lines) {
    struct epoll_event e[64];
    while (lines < n_lines) {
        int n = epoll_wait(epoll, e, 64, -1);
        for (int i = 0; i < n; i++) move(e[i].data.ptr);
    }
}

static void round_of(char **argv, const char *dir) {
    struct epoll_event e[1];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    lines = wrong = 0;
    for (int k = 0; k < n_writers; k++) {
        launch(&writers[k], dir, k, argv);
        e[0] = (struct epoll_event){.events = EPOLLIN, .data.ptr = &writers[k]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, writers[k].in, &e[0]) < 0) die("epoll");
    }
    move_until(epoll, n_writers); /* all are ready */
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), t0 = seconds(CLOCK_MONOTONIC);
    for (int k = 0; k < n_writers; k++) kill(writers[k].pid, SIGUSR1);
    move_until(epoll, count * n_writers);
    double t1 = seconds(CLOCK_MONOTONIC);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    for (int k = 0; k < n_writers; k++) {
        kill(writers[k].pid, SIGTERM);
        waitpid(writers[k].pid, NULL, 0);
        close(writers[k].in);
        close(writers[k].out);
    }
    close(epoll);
    printf("%.0f %.0f %ld\n", (double) lines / (t1 - t0), cpu * 1e9 / (double) lines, wrong);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    n_writers = atoi(argv[1]);
    count = atol(argv[4]);
    if (n_writers < 1 || n_writers > MAX) return 2;
    for (char byte; read(0, &byte, 1) == 1;) round_of(argv + 3, argv[2]);
    return 0;
}
