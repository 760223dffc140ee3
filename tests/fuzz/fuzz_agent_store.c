// SPDX-License-Identifier: Apache-2.0
/* A record of the agent's store, and then the whole tables written out and taken in again: the disk
 * may hold anything, and what was understood once must be understood again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/store_tables.h"
#include "agent/storelog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct store_tables t = {0};
    struct buf b;
    if (size > 1 << 16) return 0;
    buf_init(&b, STORELOG_FILE_MAX);
    if (store_tables_apply(&t, data, size) == 0 && store_tables_dump(&t, &b) == 0) {
        struct store_tables again = {0};
        size_t at = 0;
        while (at + 12 <= b.len) { /* magic, length, crc */
            uint32_t len;
            __builtin_memcpy(&len, b.data + at + 4, sizeof len);
            if (store_tables_apply(&again, (const uint8_t *) b.data + at + 12, len) == -EBADMSG)
                abort();
            at += 12 + len;
        }
        if (map_len(&again.tasks) != map_len(&t.tasks)) abort();
        store_tables_fini(&again);
    }
    buf_fini(&b);
    store_tables_fini(&t);
    return 0;
}
