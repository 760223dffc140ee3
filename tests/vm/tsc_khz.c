// SPDX-License-Identifier: Apache-2.0
/* Prints the rate of this machine's TSC in kHz, for the kernel option tsc_early_khz. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

enum { MEASURE_NS = 50000000 };

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

int main(void) {
    uint64_t from_ns = now_ns(), from = __rdtsc(), to_ns, to;
    do {
        to_ns = now_ns();
        to = __rdtsc();
    } while (to_ns - from_ns < MEASURE_NS);
    printf("%llu\n", (unsigned long long) ((to - from) * 1000000 / (to_ns - from_ns)));
    return 0;
}
