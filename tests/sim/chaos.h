// SPDX-License-Identifier: Apache-2.0
/* tests/sim/chaos.h - one run: faults and users at random, then peace, then everything must be as
 * it is wanted. */
#ifndef ORLOP_TESTS_SIM_CHAOS_H
#define ORLOP_TESTS_SIM_CHAOS_H

#include <stdint.h>

void chaos_run(uint64_t seed, unsigned steps);

#endif
