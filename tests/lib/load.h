// SPDX-License-Identifier: Apache-2.0
/* tests/lib/load.h - what load and loadserver say to each other: fixed records, this host's byte order. */
#ifndef ORLOP_TESTS_LOAD_H
#define ORLOP_TESTS_LOAD_H

#include <stdint.h>

enum { LOAD_MAGIC = 0x4f524c50, LOAD_ANSWER_MAX = 1 << 30, LOAD_DELAY_MAX = 60000 };

struct load_request {
    uint32_t magic, id;
    uint32_t delay_ms;     /* the server answers so much later */
    uint32_t answer_bytes; /* with so many bytes, the record below included */
};

struct load_answer {
    uint32_t magic, id;
    uint32_t server; /* drawn by each server at its start */
    uint32_t answer_bytes;
};

#endif
