// SPDX-License-Identifier: Apache-2.0
/* tests/lib/invariants.h - what must hold after every entry. */
#ifndef ORLOP_TEST_INVARIANTS_H
#define ORLOP_TEST_INVARIANTS_H

#include "scheduler/state/state.h"

/* Aborts with the rule's name. */
void invariants_check(const struct state *s);
/* A snapshot comes back as the same state. */
void invariants_snapshot(const struct state *s);
/* Is all that is wanted there, as wanted? 0, or -EAGAIN and what is not. What waits for something
 * that has failed for good is excused. */
must_use int invariants_at_rest(const struct state *s, struct err *why);

#endif
