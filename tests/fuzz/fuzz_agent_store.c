// SPDX-License-Identifier: Apache-2.0
/* A record of the agent's store, and then the whole tables written out and taken in again: the disk
 * may hold anything, and what was understood once must be understood again. With an odd first byte
 * the rest is the file with the records. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/store_tables.h"
#include "agent/storelog.h"
#include "runtime/base/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/orlop-fuzz-store-XXXXXX";

static void clean_up(void) {
    if (fd_remove_tree(AT_FDCWD, dir) < 0) abort();
}

static int make_dir(void) {
    if (!mkdtemp(dir)) abort();
    atexit(clean_up);
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int on_record(void *ctx, const uint8_t *data, size_t len, struct err *err) {
    size_t *sum = ctx;
    (void) data, (void) err;
    *sum += len;
    return 0;
}

/* What can be opened can be opened again, has the same records and one that was added. */
static void file(const uint8_t *data, size_t size) {
    static int at = -1;
    if (at < 0) at = make_dir();
    struct storelog l;
    uint64_t torn;
    struct err err = {0};
    size_t sum = 0, again = 0;
    ensure(fd_replace_file(at, "log", data, size, 0600) == 0);
    if (storelog_open(&l, at, "log", on_record, &sum, &torn, &err) < 0) {
        ensure(err.text[0]);
        return;
    }
    ensure(sum <= size && storelog_append(&l, "more", 4, false, &err) == 0);
    storelog_close(&l);
    ensure(storelog_open(&l, at, "log", on_record, &again, &torn, &err) == 0);
    ensure(again == sum + 4 && torn == 0);
    storelog_close(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] & 1) file(data + 1, size - 1);
    if (size < 1 || data[0] & 1) return 0;
    data++;
    size--;
    struct store_tables t = {0};
    struct buf b;
    if (size > 1 << 16) return 0;
    buf_init(&b, STORELOG_FILE_MAX);
    if (store_tables_apply(&t, data, size) == 0 && store_tables_dump(&t, &b) == 0) {
        struct store_tables again = {0};
        size_t at = 0;
        while (at + 16 <= b.len) { /* magic, length, two sums */
            uint32_t len;
            __builtin_memcpy(&len, b.data + at + 4, sizeof len);
            if (store_tables_apply(&again, (const uint8_t *) b.data + at + 16, len) == -EBADMSG)
                abort();
            at += 16 + len;
        }
        if (map_len(&again.tasks) != map_len(&t.tasks)) abort();
        store_tables_fini(&again);
    }
    buf_fini(&b);
    store_tables_fini(&t);
    return 0;
}
