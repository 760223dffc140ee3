// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/records.h - what must be known after any of our processes was killed.
 *
 * Role     three files in RUN with records of a fixed size, appended by one write(2) each:
 *            starts  an attempt, written before its go byte           (keeper)
 *            exits   how a process ended, written before it is reaped (keeper, anchor)
 *            closed  a task that never starts again, or is forgotten  (keeper)
 *          The page cache is enough: they must survive processes, not power. Each carries the
 *          hash of the kernel's boot id: a pid of another boot is never taken for ours.
 * Thread   [keeper], [anchor]. Appender and compactor (the keeper alone) exclude each other by a
 *          lock on the file; a file is opened anew for each append, so that nobody writes to a
 *          replaced one.
 * Limits   a record that is torn, foreign or out of range is skipped by the reader, and named by
 *          records_examine; a torn tail (full disk) is cut off by the next append. Whole records
 *          that are gone from the end leave no trace here: an end that is not known is reported as
 *          such, a container whose start is not known runs on unseen until its cgroup is removed.
 */
#ifndef ORLOP_KEEPER_RECORDS_H
#define ORLOP_KEEPER_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/err.h"

enum {
    RECORD_TASK_MAX = 64, /* "<u64>.<u64>.<u64>" with its NUL, with room */
    RECORD_CGROUP_MAX = 96,
};

enum record_magic {
    RECORD_START = 0x3153524f,  /* "ORS1" */
    RECORD_EXIT = 0x3158524f,   /* "ORX1" */
    RECORD_CLOSED = 0x3143524f, /* "ORC1" */
};

struct record_head {
    uint32_t magic;
    uint32_t check; /* of all that follows */
};

enum record_start_flag { RECORD_START_LOG_NONE = 1 };

struct record_start {
    struct record_head head;
    uint64_t boot_hash;
    char task[RECORD_TASK_MAX];
    char cgroup[RECORD_CGROUP_MAX];
    uint64_t boot;
    uint64_t start_ticks;
    int64_t time_unix_ns;
    uint64_t log_max_bytes;
    uint32_t log_max_files;
    uint32_t attempt;
    int32_t pid;
    uint32_t flags;
};

struct record_exit {
    struct record_head head;
    uint64_t boot_hash;
    uint64_t start_ticks;
    int64_t time_unix_ns;
    int32_t pid;
    int32_t wait_status;
    uint32_t known;     /* 0: it ended, nobody knows how */
    uint32_t never_ran; /* it ended by itself before its exec */
};

enum record_closed_what { RECORD_TASK_CLOSED = 1, RECORD_TASK_FORGOTTEN = 2 };

struct record_closed {
    struct record_head head;
    char task[RECORD_TASK_MAX];
    uint32_t what;
    uint32_t reserved;
};

/* "<digits>.<digits>.<digits>": a task id as text, safe as a file name. */
bool record_task_ok(const char *task);

/* Decoders of bytes from disk. */
bool record_start_ok(const struct record_start *r);
bool record_exit_ok(const struct record_exit *r);
bool record_closed_ok(const struct record_closed *r);

struct records {
    int run; /* directory */
    uint64_t boot_hash;
};

must_use int records_open(struct records *r, const char *run_dir, struct err *err);
void records_close(struct records *r);

/* Each fills in the head and boot_hash of REC (a scratch copy of the caller's). */
must_use int records_add_start(const struct records *r, struct record_start *rec);
must_use int records_add_exit(const struct records *r, struct record_exit *rec);
must_use int records_add_closed(const struct records *r, struct record_closed *rec);

/* Call EACH for every good record from *OFFSET on, which moves to the end. A missing file is empty.
 */
typedef void (*record_start_cb)(void *ctx, const struct record_start *r);
typedef void (*record_exit_cb)(void *ctx, const struct record_exit *r);
typedef void (*record_closed_cb)(void *ctx, const struct record_closed *r);
must_use int records_read_starts(const struct records *r, record_start_cb each, void *ctx);
must_use int records_read_exits(const struct records *r, uint64_t *offset, record_exit_cb each,
                                void *ctx);
must_use int records_read_closed(const struct records *r, record_closed_cb each, void *ctx);

/* Rewrite a file with only the records that KEEP wants. */
enum records_file { RECORDS_STARTS, RECORDS_EXITS, RECORDS_CLOSED };
typedef bool (*records_keep_cb)(void *ctx, const void *record);
must_use int records_compact(const struct records *r, enum records_file file, records_keep_cb keep,
                             void *ctx);
/* What of a file cannot be read. */
struct records_damage {
    uint64_t bad;        /* records */
    uint64_t first_byte; /* of the first of them */
    uint64_t torn;       /* bytes behind the last whole record */
};
const char *records_name(enum records_file file);
must_use int records_examine(const struct records *r, enum records_file file,
                             struct records_damage *ret);
/* Delete all three: nothing is left to be known. */
void records_remove(const struct records *r);

/* From /proc/PID/stat, which a zombie has too. */
struct process_seen {
    uint64_t start_ticks; /* field 22; 0 = no such process */
    bool never_ran;       /* forked by us and never exec'ed; not `init: true`'s pid 1 */
};
struct process_seen process_see(pid_t pid);

#endif
