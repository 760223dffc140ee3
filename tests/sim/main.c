// SPDX-License-Identifier: Apache-2.0
/* sim --seed N | --seeds A-B | --script FILE [--steps N] [-v] [--naive WHAT]: see README.md. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "chaos.h"
#include "runtime/base/str.h"
#include "script.h"
#include "sim.h"

enum { STEPS = 30 };

/* A failed assertion of the product: say which run it was. */
static void on_abort(int signum) {
    char text[96];
    int n = snprintf(text, sizeof text, "aborted\nagain: sim --seed %llu -v\n",
                     (unsigned long long) sim.seed);
    (void) !write(STDERR_FILENO, text, (size_t) n);
    signal(signum, SIG_DFL);
}

static double seconds(void) {
    struct timespec t = {0};
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t); /* not the simulated one */
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int usage(void) {
    fprintf(stderr,
            "usage: sim --seed N | --seeds A-B | --script FILE [--steps N] [-v] [--naive WHAT]\n");
    return 2;
}

static int range(char *text, uint64_t *first, uint64_t *last) {
    char *to = strchr(text, '-');
    if (to) *to++ = '\0';
    int r = str_to_u64(text, UINT64_MAX, first);
    return r < 0 || !to ? (r < 0 ? r : -1) : str_to_u64(to, UINT64_MAX, last);
}

static int run(uint64_t first, uint64_t last, unsigned steps) {
    double start = seconds();
    uint64_t events = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        chaos_run(seed, steps);
        events += sim.events;
    }
    fprintf(stderr, "%llu seeds from %llu on, %llu events, %.1f s: every check held\n",
            (unsigned long long) (last - first + 1), (unsigned long long) first,
            (unsigned long long) events, seconds() - start);
    return 0;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"seeds", required_argument, NULL, 'r'},
        {"steps", required_argument, NULL, 'n'}, {"script", required_argument, NULL, 'g'},
        {"naive", required_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
    uint64_t first = 1, last = 0;
    uint32_t steps = STEPS;
    const char *script = NULL;
    for (int c; (c = getopt_long(argc, argv, "v", options, NULL)) != -1;) {
        int r = 0;
        if (c == 's')
            r = str_to_u64(optarg, UINT64_MAX, &first), last = first;
        else if (c == 'r')
            r = range(optarg, &first, &last);
        else if (c == 'n')
            r = str_to_u32(optarg, 1000000, &steps);
        else if (c == 'g')
            script = optarg;
        else if (c == 'w')
            sim.naive = optarg;
        else if (c == 'v')
            sim.verbose = true;
        else
            return usage();
        if (r < 0) return usage();
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    if (script) return script_run(script) < 0;
    if (last < first || optind < argc) return usage();
    return run(first, last, steps);
}
