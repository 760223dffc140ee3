// SPDX-License-Identifier: Apache-2.0
/* agent/storelog.h - an append-only file of checksummed records that survives power loss.
 *
 * Role     file format only: knows no meaning of a record. A record is {magic, length, crc32c of
 *          the bytes, crc32c of these} and the bytes; behind the last one there are zeros, always,
 *          as the file grows in steps before it is written. Each append is fsynced, so only what was
 *          appended last can be torn, and then it lacks sectors (base/torn.h): it is undone and
 *          named. A file that is cut off, or bytes that are all there but wrong, do not come from a
 *          crash: such a file is refused.
 * Thread   one owner; append and rewrite block in fsync: the agent's pool.
 * Limits   STORELOG_RECORD_MAX a record, STORELOG_FILE_MAX the file.
 * See      tests/unit/agent/test_store.c
 */
#ifndef ORLOP_AGENT_STORELOG_H
#define ORLOP_AGENT_STORELOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"

enum { STORELOG_RECORD_MAX = 64 << 20, STORELOG_FILE_MAX = 256 << 20 };

struct storelog {
    int dirfd; /* borrowed */
    int fd;
    uint64_t end;  /* behind the last whole record */
    uint64_t size; /* of the file; zeros from END on */
    const char *name;
};

/* One record at load; a negative return ends the load with it. DATA is borrowed. */
typedef int (*storelog_cb)(void *ctx, const uint8_t *data, size_t len, struct err *err);

/* Open (make) NAME in DIRFD and hand every record to CB, in order. A torn end is undone: *ret_torn
 * says how many bytes. -EBADMSG: damaged or cut off, the sentence names file and offset. NAME is
 * kept. */
must_use int storelog_open(struct storelog *l, int dirfd, const char *name, storelog_cb cb,
                           void *ctx, uint64_t *ret_torn, struct err *err);
void storelog_close(struct storelog *l);

/* Append one record; SYNC: it survives power loss once 0 is returned. On failure the file is as
 * before. */
must_use int storelog_append(struct storelog *l, const void *data, size_t len, bool sync,
                             struct err *err);

/* Add a record to BUF, for storelog_rewrite. */
must_use int storelog_frame(struct buf *b, const void *data, size_t len);
/* Replace the whole file by framed RECORDS (an end is added to them), atomically. On failure the old
 * file is untouched. */
must_use int storelog_rewrite(struct storelog *l, struct buf *records, struct err *err);

uint32_t storelog_crc32c(const void *data, size_t len);

#endif
