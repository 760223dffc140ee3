// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/store.h - the replicated log, and the one place that knows C-Raft.
 *
 * Role     proposals in, committed batches out, snapshots and compaction in between. A single
 *          machine is a Raft of one: same code, same durability (fsync before a proposal is
 *          acknowledged).
 * Thread   [loop].
 * Owns     STATE/raft. One raft_apply is in flight at a time; what is proposed meanwhile is one
 *          batch of the next (that also keeps libraft 0.15 safe on a full disk). Auto-recovery is
 *          off: a damaged segment refuses the start, with its name.
 * Limits   STORE_QUEUE_MAX proposals waiting (-EAGAIN above); STORE_RESERVE_BYTES free on the disk,
 *          else proposals are refused with -ENOSPC before Raft sees them.
 * See      tests/unit/store/test_store.c
 */
#ifndef ORLOP_SCHEDULER_STORE_H
#define ORLOP_SCHEDULER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "runtime/base/err.h"

enum { STORE_QUEUE_MAX = 4096, STORE_RESERVE_BYTES = 64 << 20, STORE_SNAPSHOT_ENTRIES = 2048 };

struct store;

struct store_ops {
    /* One committed proposal, in order; DATA is borrowed. Must not fail: what cannot be done is a
     * no-op with a reason in the state. Called for every entry after the snapshot at start, too. */
    void (*apply)(void *ctx, uint64_t idx, const uint8_t *data, size_t len);
    /* The whole state; *ret is the store's (mem_free). */
    int (*snapshot)(void *ctx, uint8_t **ret, size_t *ret_len);
    int (*restore)(void *ctx, uint64_t idx, const uint8_t *data, size_t len);
    /* This member leads from now on (TERM), or no longer (LEADING false). */
    void (*leading)(void *ctx, bool leading, uint64_t term);
};

/* STATUS 0: applied at IDX (apply ran just before). -ENOSPC, -EAGAIN: certainly not in the log.
 * -ECONNABORTED: unknown (leadership lost, closing): repeat with the same request id. */
typedef void (*store_cb)(void *ctx, int status, uint64_t idx);

must_use int store_open(uv_loop_t *loop, const char *dir, const struct store_ops *ops, void *ctx,
                        struct store **ret, struct err *err);
/* DATA is copied. On failure CB is never called; else exactly once, never inside this call. */
must_use int store_propose(struct store *s, const uint8_t *data, size_t len, store_cb cb,
                           void *cb_ctx);
bool store_is_leader(const struct store *s);
uint64_t store_last_applied(const struct store *s);
/* Waiting proposals get -ECONNABORTED; then DONE, and the store is freed. */
void store_close(struct store *s, void (*done)(void *ctx), void *ctx);

#endif
