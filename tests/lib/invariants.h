// SPDX-License-Identifier: Apache-2.0
/* tests/unit/scheduler/invariants.h - what must hold after every entry. */
#ifndef ORLOP_TEST_INVARIANTS_H
#define ORLOP_TEST_INVARIANTS_H

#include "scheduler/state/state.h"

/* Aborts with the rule's name. Also: a snapshot comes back as the same state. */
void invariants_check(const struct state *s);

#endif
