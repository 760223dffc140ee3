// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/datadir.h - the log's directory: may it be bootstrapped, or does it hold a log?
 *
 * Role     a marker file of our own stands guard, because raft's metadata has no checksum and a
 *          truncated one would let a bootstrap pass over existing data. The marker says "new" until
 *          the bootstrap is complete, then "ready" for ever.
 * Thread   [loop], at start only.
 */
#ifndef ORLOP_SCHEDULER_DATADIR_H
#define ORLOP_SCHEDULER_DATADIR_H

#include <stdbool.h>

#include "runtime/base/err.h"

/* Open DIR (made when missing, 0700). *ret_bootstrap: it is empty now and is to be bootstrapped,
 * then datadir_ready is to be called. A directory with files but no marker is refused (-EEXIST).
 * Returns the directory's fd, the caller's. */
must_use int datadir_open(const char *dir, bool *ret_bootstrap, struct err *err);
must_use int datadir_ready(int dirfd, struct err *err);

#endif
