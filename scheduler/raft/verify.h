// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/verify.h - is what raft will read from its directory what it wrote there?
 *
 * Role     reads everything once before raft does. A write that a power loss cut short is undone, a
 *          damaged file that others make up for is put aside, each with a sentence; anything else
 *          refuses the start with file and offset. Needed because raft 0.15 takes a damaged open
 *          segment for a torn one (acknowledged entries are gone without a word), frees twice when
 *          one is cut, and reads a cut snapshot for ever.
 * Thread   [loop], at start only.
 * Limits   a file that is gone is seen where its neighbours' names or the snapshot's index leave a
 *          gap; an open segment cut exactly behind a batch looks like one whose closing was
 *          interrupted: it is named, not refused.
 */
#ifndef ORLOP_SCHEDULER_VERIFY_H
#define ORLOP_SCHEDULER_VERIFY_H

#include "runtime/base/err.h"
#include "runtime/base/str.h"

/* SAID: what was repaired or put aside, one sentence each, also on failure. -EBADMSG: refused; then
 * the directory is as it was. */
must_use int verify_log(int dirfd, struct strv *said, struct err *err);

#endif
