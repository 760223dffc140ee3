// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/snapshot.h - the whole state as bytes, and back.
 *
 * Thread   [loop].
 * Limits   decoding may take 256 times the bytes (the worst a message of ours can ask for), as it
 *          must never refuse what was written here.
 */
#ifndef ORLOP_SCHEDULER_STATE_SNAPSHOT_H
#define ORLOP_SCHEDULER_STATE_SNAPSHOT_H

#include "state.h"

enum { SNAPSHOT_FORMAT = 1 };
#define SNAPSHOT_BUDGET(len) ((size_t) (len) *256 + (64 << 20))

/* *ret is the caller's (mem_free). -ENOMEM. */
must_use int snapshot_encode(const struct state *s, uint8_t **ret, size_t *ret_len);

/* Into an empty S (state_init), whose observer is kept and told nothing. On failure S is to be
 * thrown away (state_fini). -EBADMSG: what is wrong with it, in ERR. */
must_use int snapshot_decode(struct state *s, const uint8_t *data, size_t len, struct err *err);

#endif
