// SPDX-License-Identifier: Apache-2.0
/* The workload of the start benchmark: its first act is to write CLOCK_MONOTONIC in ns. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    char text[40];
    int n = snprintf(text, sizeof text, "%lld%09ld\n", (long long) t.tv_sec, t.tv_nsec);
    return n > 0 && write(1, text, (size_t) n) == n ? 0 : 1;
}
