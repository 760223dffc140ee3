// SPDX-License-Identifier: Apache-2.0
/* tests/sim/chaos.h - one run: faults and users at random, then peace, then everything must be as
 * it is wanted. */
#ifndef ORLOP_TESTS_SIM_CHAOS_H
#define ORLOP_TESTS_SIM_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

void chaos_run(uint64_t seed, unsigned steps);

/* The parts that golden traces use, too. */
void chaos_begin(uint64_t seed, bool chaos); /* a new machine, everything runs */
void chaos_run_for(int64_t us);              /* with the agent looked at after each event */
void chaos_power_loss(void);                 /* nothing is started again */
void chaos_wipe(void);

#endif
