// SPDX-License-Identifier: Apache-2.0
/* bench_bare LOWER STATE CGROUP SECCOMP - starts by the floor. Reads one byte from stdin a start,
 * answers "FIRST EXIT\n": microseconds to the workload's first instruction and to its reaped exit. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "floor.h"

static void one(int k) {
    struct floor_box b = {.address = 0};
    char program[] = "/bin/now", text[64] = {0};
    int out[2];
    floor_box_make(&b, k);
    int64_t t0 = floor_now_ns();
    if (pipe2(out, O_CLOEXEC) < 0) _exit(96);
    floor_box_start(&b, program, NULL, out[1]);
    close(out[1]);
    floor_box_reap(&b, 0);
    int64_t t1 = floor_now_ns();
    if (read(out[0], text, sizeof text - 1) <= 0) _exit(96);
    close(out[0]);
    floor_box_remove(&b);
    printf("%lld %lld\n", (strtoll(text, NULL, 10) - (long long) t0) / 1000,
           (long long) (t1 - t0) / 1000);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    floor_init(argv[1], argv[2], argv[3], argv[4]);
    char byte;
    for (int k = 0; read(0, &byte, 1) == 1; k++) one(k);
    floor_fini();
    return 0;
}
