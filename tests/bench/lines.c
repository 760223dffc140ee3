// SPDX-License-Identifier: Apache-2.0
/* bench_lines COUNT BURST PERIOD_US - the writer of the log benchmark: COUNT numbered lines of 100
 * bytes. The first says that it is ready; after SIGUSR1 come the others, BURST of them one by one
 * every PERIOD_US. Ends by SIGTERM. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 100 };

static void wait_for(int signal) {
    sigset_t s;
    int got;
    sigemptyset(&s);
    sigaddset(&s, signal);
    sigwait(&s, &got);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    long count = atol(argv[1]), burst = atol(argv[2]), period = atol(argv[3]);
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGTERM);
    sigprocmask(SIG_BLOCK, &both, NULL);
    char line[LINE + 1];
    struct timespec at;
    memset(line, '.', sizeof line);
    for (long i = 0; i < count; i++) {
        int n = snprintf(line, sizeof line, "%08ld", i);
        line[n] = ' ';
        line[LINE - 1] = '\n';
        if (write(1, line, LINE) != LINE) return 1;
        if (i == 0) wait_for(SIGUSR1);
        if (i == 0) clock_gettime(CLOCK_MONOTONIC, &at);
        if ((i + 1) % burst) continue;
        at.tv_nsec += period * 1000;
        for (; at.tv_nsec >= 1000000000; at.tv_nsec -= 1000000000) at.tv_sec++;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
        }
    }
    wait_for(SIGTERM);
    return 0;
}
