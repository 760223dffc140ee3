// SPDX-License-Identifier: Apache-2.0
/* The idle workload of the benchmarks. */
#include <unistd.h>

int main(void) {
    for (;;) pause();
}
