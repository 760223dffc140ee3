// SPDX-License-Identifier: Apache-2.0
/* Bytes of RUN/starts, exits and closed: a record that is accepted holds only strings that end. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/base/str.h"
#include "runtime/keeper/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With the checksum that belongs to it: else nearly everything would end there. */
static void seal(void *record, size_t size, uint32_t magic) {
    struct record_head *h = record;
    uint64_t v = str_hash((char *) record + sizeof *h, size - sizeof *h);
    *h = (struct record_head){.magic = magic, .check = (uint32_t) (v ^ (v >> 32))};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct record_start s = {0};
    struct record_exit x = {0};
    struct record_closed c = {0};
    memcpy(&s, data, size < sizeof s ? size : sizeof s);
    memcpy(&x, data, size < sizeof x ? size : sizeof x);
    memcpy(&c, data, size < sizeof c ? size : sizeof c);
    (void) record_start_ok(&s);
    seal(&s, sizeof s, RECORD_START);
    seal(&x, sizeof x, RECORD_EXIT);
    seal(&c, sizeof c, RECORD_CLOSED);
    if (record_start_ok(&s)) {
        ensure(strlen(s.task) < sizeof s.task && strlen(s.cgroup) < sizeof s.cgroup);
        ensure(!strchr(s.task, '/') && s.pid > 0);
    }
    ensure(!record_exit_ok(&x) || x.pid > 0);
    ensure(!record_closed_ok(&c) || strlen(c.task) < sizeof c.task);
    return 0;
}
