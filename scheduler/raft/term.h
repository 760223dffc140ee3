// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/term.h - term and vote with a checksum, because raft's metadata1 and metadata2 have
 * none: a garbled term is believed, and a truncated file is taken for one that was never written.
 *
 * Role     `orlop-term` is written before raft's own files, so what it says is never behind them:
 *          where they differ they are written anew.
 * Thread   [loop]; fsync.
 */
#ifndef ORLOP_SCHEDULER_TERM_H
#define ORLOP_SCHEDULER_TERM_H

#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/str.h"

struct term {
    uint64_t term, vote; /* vote 0: none yet */
};

must_use int term_save(int dirfd, const struct term *t);
/* Make the two agree before raft reads its own. What was repaired is a sentence more in SAID. When
 * neither can be believed: -EBADMSG. *ret is what raft is going to read. */
must_use int term_verify(int dirfd, struct strv *said, struct term *ret, struct err *err);

#endif
