// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/reap.h - how a child's end is taken: look, record, reap. The one place that
 * reaps sandboxes, shared by keeper and anchor.
 *
 * Thread   [keeper], [anchor].
 * Why      a reaper that dies between reaping and recording loses the exit code for ever; one that
 *          dies between recording and reaping leaves a zombie whose record its successor writes
 *          again, which readers drop by (pid, start ticks).
 */
#ifndef ORLOP_KEEPER_REAP_H
#define ORLOP_KEEPER_REAP_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "records.h"

struct reaped {
    pid_t pid;
    int wait_status;
};

/* Look at a dead child without reaping it: 1 and *ret, 0 = none is dead; -ECHILD = not our child.
 */
must_use int reap_look(idtype_t type, id_t id, struct reaped *ret);

/* Record what reap_look saw, then reap; *ret (may be NULL) is what was written. On failure (full
 * disk) the zombie stays: call again later. */
must_use int reap_record(const struct records *r, const struct reaped *dead,
                         struct record_exit *ret);

/* The wait status of a process that was reaped by whomever: kernels from 6.15 on tell it to who holds
 * a pidfd. False: it was not reaped yet, or the kernel is older. */
bool reap_ask(int pidfd, int *ret_wait_status);

/* Reap without a record: our own roles, exec'ed processes. */
void reap_plain(pid_t pid);

#endif
