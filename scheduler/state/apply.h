// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/apply.h - the only mutator of the state.
 *
 * Role     one committed EntryBatch in, changed tables out. Every entry is applied or refused with
 *          a reason; a refused one has changed nothing. The same batches give the same state
 *          everywhere.
 * Thread   [loop].
 * Errors   -ENOMEM is fatal to the process: a half-applied entry must not be seen by anyone, and
 *          the log brings the state back at the next start. Nothing else is ever returned.
 */
#ifndef ORLOP_SCHEDULER_STATE_APPLY_H
#define ORLOP_SCHEDULER_STATE_APPLY_H

#include "state.h"

/* RESULTS (may be NULL): one for each entry, code 0 = done. */
must_use int apply_batch(struct state *s, uint64_t idx, const Orlop__EntryBatch *batch,
                         struct err *results);

/* Of one committed proposal's bytes; what does not decode is a no-op. */
enum { APPLY_BUDGET_BYTES = 160 << 20, APPLY_ENTRIES_MAX = 65536 };
must_use int apply_bytes(struct state *s, uint64_t idx, const uint8_t *data, size_t len);

#endif
