// SPDX-License-Identifier: Apache-2.0
/* The idle workload of the benchmarks: waits for SIGTERM and ends well. */
#include <signal.h>

int main(void) {
    sigset_t s;
    int got;
    sigemptyset(&s);
    sigaddset(&s, SIGTERM);
    sigprocmask(SIG_BLOCK, &s, NULL);
    return sigwait(&s, &got);
}
