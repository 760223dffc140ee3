// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/sink.h - the writing half of a task's log files (format: logfile.h).
 *
 * Role     moves bytes from a FIFO to the current data file by splice(2), the index record first;
 *          rotates; finds its place again after a crash: the file's size is the truth.
 * Thread   [keeper].
 * Owns     the two files of the current number.
 * Why      a byte is in the pipe or in the file, never in our memory: the kernel takes bytes out of
 *          the pipe only as far as they are in the page cache, and SIGKILL acts between system
 *          calls.
 */
#ifndef ORLOP_KEEPER_SINK_H
#define ORLOP_KEEPER_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "logfile.h"
#include "runtime/base/err.h"

enum {
    SINK_FILES_DEFAULT = 3,
    SINK_BYTES_DEFAULT = 10 << 20,
    SINK_BYTES_MIN = 4096,
    SINK_OVER_MAX =
        256 * 1024, /* a file ends in the middle of a line when it is this much too long */
};

struct sink {
    char *dir; /* NULL: driver none, bytes go to /dev/null */
    int data, index;
    uint32_t number; /* of the current files */
    uint64_t size, records;
    uint64_t index_size;    /* in bytes: longer than the records */
    struct log_record last; /* record number records - 1 */
    uint64_t max_bytes;
    uint32_t max_files;
};

/* Go on in DIR (made when missing), or NULL. 0 for the maxima means the defaults. */
must_use int sink_open(struct sink *s, const char *dir, uint64_t max_bytes, uint32_t max_files,
                       struct err *err);
void sink_close(struct sink *s);

/* A new attempt begins: what an earlier one left without a newline is a line of its own. */
must_use int sink_boundary(struct sink *s, int64_t now_unix_ns);

/* At most MAX bytes of STREAM (LOG_STDOUT, LOG_STDERR) from FIFO. The count, which may be 0, or a
 * negative errno (-ENOSPC: they stay in the pipe, try again later). */
must_use int64_t sink_move(struct sink *s, int fifo, unsigned stream, uint64_t max,
                           int64_t now_unix_ns);

#endif
