// SPDX-License-Identifier: Apache-2.0
/* agent/logs.h - LOGS: the log files of this node's tasks as streams of batches.
 *
 * Role     LogsRequest.tasks -> a reader each (runtime/keeper/logfile.h), merged by time, sent as
 *          LogBatch; follows by inotify (logwatch.h); ends when every task asked for has ended (without follow:
 *          when all was read).
 * Thread   [loop]: small bounded reads, one batch a turn; [pool] to find the tails.
 * Owns     its streams, readers and handles.
 * Limits   LOGS_TASKS_MAX readers a request, LOGS_READERS_MAX in LOGS_STREAMS_MAX requests; LOGS_BATCH_LINES and
 *          LOGS_BATCH_BYTES a message. A slow reader stops at its credit: it costs its own stream,
 *          and no container ever waits for it, because files are read, not pipes.
 */
#ifndef ORLOP_AGENT_LOGS_H
#define ORLOP_AGENT_LOGS_H

#include <uv.h>

#include "proto/bus/bus.h"
#include "runtime/base/err.h"

enum {
    LOGS_TASKS_MAX = 1024,
    LOGS_STREAMS_MAX = 1024, /* the scheduler lets fewer clients in; some read several */
    LOGS_READERS_MAX = 4096, /* in all of them together; 25 KiB each */
    LOGS_BATCH_LINES = 256,
    LOGS_BATCH_BYTES = 256 * 1024,
};

enum logs_task_state {
    LOGS_TASK_UNKNOWN, /* not of this node: the request is refused with ENOENT */
    LOGS_TASK_LIVE,    /* may still write, or start again */
    LOGS_TASK_ENDED,
};

struct logs_ops {
    enum logs_task_state (*task_state)(void *ctx, const char *task);
};

struct logs;

/* STATE_DIR is copied, OPS is kept. */
must_use int logs_new(uv_loop_t *loop, const char *state_dir, const struct logs_ops *ops, void *ctx,
                      struct logs **ret);

/* Serve an opened stream of the method LOGS. */
void logs_open(struct logs *l, struct bus_stream *s, const uint8_t *body, size_t len);

/* The state of TASK is another one now: who follows it may come to its end. */
void logs_task_changed(struct logs *l, const char *task);

/* End all streams (-ESHUTDOWN to the peers); L frees itself in the loop turns that follow. Call it
 * before bus_close. */
void logs_close(struct logs *l);

#endif
