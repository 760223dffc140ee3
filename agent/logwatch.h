// SPDX-License-Identifier: Apache-2.0
/* agent/logwatch.h - who waits for which log directory to change: one inotify instance for all.
 *
 * Role     a user has 128 instances by default, for everything that it runs: one for each reader
 *          would end at 128 readers. What happens in a directory is told to everybody who waits for
 *          it, and is off the queue then, whether they can do something about it now or not.
 * Thread   [loop]
 * Owns     the instance; borrows the waiters, which live in their owners.
 * Limits   fs.inotify.max_user_watches directories; a queue that ran over wakes everybody.
 */
#ifndef ORLOP_AGENT_LOGWATCH_H
#define ORLOP_AGENT_LOGWATCH_H

#include <uv.h>

#include "runtime/base/list.h"

struct logwatch;

struct logwatch_waiter { /* zeroed = waits for nothing */
    struct list node;
    struct logwatch_dir *dir;
    void (*changed)(struct logwatch_waiter *w); /* takes a note; calls nothing of this header */
};

must_use int logwatch_new(uv_loop_t *loop, struct logwatch **ret);
/* DIR: a descriptor of the directory, used during the call. Changes from now on are told. */
must_use int logwatch_wait(struct logwatch *l, struct logwatch_waiter *w, int dir,
                           void (*changed)(struct logwatch_waiter *w));
void logwatch_forget(struct logwatch *l, struct logwatch_waiter *w); /* harmless twice */
/* Nobody waits any more; freed in a loop turn that follows. NULL allowed. */
void logwatch_close(struct logwatch *l);

#endif
