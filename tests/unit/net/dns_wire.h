// SPDX-License-Identifier: Apache-2.0
/* tests/unit/net/dns_wire.h - questions as a resolver writes them, answers taken apart again: a
 * second opinion that shares no code with what it tests.
 *
 * Thread   [any]
 */
#ifndef ORLOP_TESTS_DNS_WIRE_H
#define ORLOP_TESTS_DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIRE_MAX = 65535, WIRE_ADDRESSES = 2048 };

/* NAME may end with a dot. EDNS_SIZE 0: no OPT. The length. */
size_t wire_query(uint8_t *buf, uint16_t id, const char *name, uint16_t type, uint16_t edns_size);

struct wire_answer {
    uint16_t id, flags;
    int rcode;
    bool truncated;
    unsigned n; /* addresses */
    uint32_t addresses[WIRE_ADDRESSES];
    char ptr[256];
    uint32_t ttl;
};
bool wire_parse(const uint8_t *buf, size_t n, struct wire_answer *ret); /* false: malformed */

/* An answer to the query in BUF with one A record, in its place. The new length. */
size_t wire_answer_a(uint8_t *buf, size_t n, uint32_t address);

#endif
