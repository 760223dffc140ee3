// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/logfile.h - the log files' format, and the reader (agent: `orlop logs`).
 *
 * Format   STATE/tasks/ID/log/: N.log holds the exact bytes, N.idx fixed records {time, stream,
 *          offset} in order; a record covers the bytes from its offset to the next record's (or
 *          the end). The highest N is the current file. Written by the keeper (sink.h): record
 *          before bytes, splice(2) at an explicit offset. A record whose offset equals the
 *          file's end covers nothing and may be written over, so a reader asks for the data
 *          file's size first and believes only the records below it. A line may span files; it
 *          is put together per stream. Behind the last record there is one of zeros, always: the
 *          index grows in steps beforehand. A record that is damaged counts as one more of the
 *          record before it, so that no byte is lost, and log_reader_damage() names it. The bytes
 *          themselves have no checksum: they never pass through our memory.
 * Thread   one owner at a time; reads the disk.
 */
#ifndef ORLOP_KEEPER_LOGFILE_H
#define ORLOP_KEEPER_LOGFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct log_record {
    int64_t time_unix_ns;
    uint64_t place; /* offset << 24 | check << 2 | enum log_stream */
};
enum { LOG_CHECK_BITS = 22, LOG_OFFSET_SHIFT = 24 };
#define LOG_OFFSET_MAX (UINT64_MAX >> LOG_OFFSET_SHIFT)

static inline struct log_record log_record_make(int64_t time_unix_ns, uint64_t offset,
                                                unsigned stream) {
    uint64_t place = offset << LOG_OFFSET_SHIFT | stream, sum = place ^ 0x9e3779b97f4a7c15;
    sum = (sum ^ sum >> 29) * 0xbf58476d1ce4e5b9 ^ (uint64_t) time_unix_ns;
    sum = (sum ^ sum >> 32) * 0x94d049bb133111eb;
    return (struct log_record){time_unix_ns, place | sum >> (64 - LOG_CHECK_BITS) << 2};
}
static inline uint64_t log_record_offset(const struct log_record *r) {
    return r->place >> LOG_OFFSET_SHIFT;
}
static inline unsigned log_record_stream(const struct log_record *r) {
    return (unsigned) (r->place & 3);
}
static inline bool log_record_ok(const struct log_record *r) {
    struct log_record want =
        log_record_make(r->time_unix_ns, log_record_offset(r), log_record_stream(r));
    return want.place == r->place && log_record_stream(r);
}
/* What lies behind the last record. */
static inline bool log_record_is_end(const struct log_record *r) {
    return r->time_unix_ns == 0 && r->place == 0;
}

enum log_stream {
    LOG_STDOUT = 1,
    LOG_STDERR = 2,
    LOG_BOUNDARY = 3, /* covers nothing: a new attempt of the task begins, open lines end here */
};

enum { LOGFILE_LINE_MAX = 64 * 1024 };

struct log_line {
    uint32_t stream;
    int64_t time_unix_ns; /* of its first byte */
    const char *text;     /* with its newline, if it has one; borrowed until the next call */
    size_t len;
    bool partial; /* cut at LOGFILE_LINE_MAX, or the stream goes on without a newline yet */
};

struct log_reader;

/* Read DIR from SINCE (unix ns, 0 = all), or its last TAIL lines (-1 = all). -ENOENT: DIR is not
 * there yet, the task has not started. */
must_use int log_reader_open(const char *dir, int64_t since_unix_ns, int64_t tail,
                             struct log_reader **ret, struct err *err);
/* What is written from now on is read only as far as it ends a line begun before: without it, a
 * reader of a log that grows as fast as it reads never comes to an end. After a tail: what was
 * written since that was counted, so that no more lines come than were asked for. */
void log_reader_stop_here(struct log_reader *r);
/* The next line. Per-stream order is exact; the two streams come in the order in which their
 * lines became whole. A line that a new attempt cut off is whole without a newline. 1 = a line;
 * 0 = nothing more for now (call again when something in the directory has changed); FLUSH: hand out an
 * unfinished line as partial, the task has ended. Survives rotation; lines rotated away are
 * skipped. */
must_use int log_reader_next(struct log_reader *r, bool flush, struct log_line *ret,
                             struct err *err);
/* A sentence about the first damage that was met so far; NULL = none. */
const char *log_reader_damage(const struct log_reader *r);
/* The directory, to be watched: IN_MODIFY, IN_CREATE, IN_MOVED_TO. Stays the reader's. */
int log_reader_dir(const struct log_reader *r);
void log_reader_free(struct log_reader *r);

#endif
