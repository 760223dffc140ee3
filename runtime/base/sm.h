// SPDX-License-Identifier: Apache-2.0
/* runtime/base/sm.h - a table-checked state machine: one mover, every move in the table.
 *
 * Thread   one owner.
 */
#ifndef ORLOP_BASE_SM_H
#define ORLOP_BASE_SM_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct sm_state {
    const char *name;
    uint64_t next; /* bit set of the states that may follow */
    bool final;
};

#define SM_BIT(s) (UINT64_C(1) << (s))

static inline bool sm_may(const struct sm_state *table, int from, int to) {
    return (table[from].next & SM_BIT(to)) != 0;
}

/* Move *STATE to TO, which the table must allow (a bug otherwise). */
static inline void sm_move(const struct sm_state *table, int *state, int to) {
    ensure(sm_may(table, *state, to));
    *state = to;
}

#endif
