// SPDX-License-Identifier: Apache-2.0
/* runtime/base/clock.h - the clocks, each under the name that says what it is for. [any] */
#ifndef ORLOP_BASE_CLOCK_H
#define ORLOP_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock__ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline int64_t clock_mono_ms(void) { /* deadlines within a process */
    return clock__ns(CLOCK_MONOTONIC) / 1000000;
}
static inline int64_t clock_boot_ms(void) { /* leases: counts suspend */
    return clock__ns(CLOCK_BOOTTIME) / 1000000;
}
static inline int64_t clock_unix_ns(void) { /* for people only, never compared for decisions */
    return clock__ns(CLOCK_REALTIME);
}
static inline int64_t clock_unix_ms(void) {
    return clock_unix_ns() / 1000000;
}

#endif
