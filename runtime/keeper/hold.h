// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/hold.h - what keeper and anchor say to each other over RUN/hold.sock: records of a
 * fixed size, a descriptor beside some of them. The keeper listens, the anchor connects.
 *
 *   keeper -> anchor   HOLD name +fd   keep this open too
 *                      DROP name       its container has ended and its bytes are in the log
 *                      SYNC            all that is to be held has been named since you connected
 *   anchor -> keeper   SYNCED          answers SYNC: what it knew of the ends of others is recorded
 *                      FAREWELL        it ends on purpose: start no other one
 *                      UPGRADE +fd     become this executable (after SYNC)
 *
 * Nothing is ever handed back: a FIFO has a name, which finds the same pipe as long as anybody has
 * it open; of a pidfd the anchor itself writes the exit record when no keeper is there to do it.
 */
#ifndef ORLOP_KEEPER_HOLD_H
#define ORLOP_KEEPER_HOLD_H

#include <stdint.h>

enum hold_op {
    HOLD_UNSET,
    HOLD_HOLD,
    HOLD_DROP,
    HOLD_SYNC,
    HOLD_FAREWELL,
    HOLD_UPGRADE,
    HOLD_SYNCED
};
enum { HOLD_NAME_MAX = 124, HOLD_MAGIC = 0x3248524f /* "ORH2" */ };

#define HOLD_PROCESS                                                                               \
    ".pid" /* how the name of a pidfd ends; FIFOs are ATTEMPT.out and ATTEMPT.err */

struct hold_record {
    uint32_t magic;
    uint32_t op;
    uint64_t start_ticks; /* of a pidfd: whose it is; it may be reaped when the anchor reads this */
    int32_t pid;
    char name[HOLD_NAME_MAX];
};

#endif
