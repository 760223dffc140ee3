// SPDX-License-Identifier: Apache-2.0
/* proto/bus/frame.h - one frame: u32 big-endian length, then an Envelope (bus.proto).
 *
 * Role     encode and decode without the heap: a decoded body or text points into the input. The
 *          bytes are exactly those of protobuf; fuzz_bus_frame compares with the generated code.
 * Thread   [any].
 * Limits   FRAME_MAX bytes of Envelope: a body of BUS_FRAME_MAX with its head.
 */
#ifndef ORLOP_PROTO_BUS_FRAME_H
#define ORLOP_PROTO_BUS_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "bus.h"
#include "runtime/base/err.h"

enum {
    FRAME_PREFIX = 4,
    FRAME_HEAD_MAX = FRAME_PREFIX + 64 + ERR_TEXT_MAX, /* everything but the body's bytes */
    FRAME_MAX = BUS_FRAME_MAX + FRAME_HEAD_MAX,
};

struct frame {
    uint32_t kind; /* Orlop__Envelope__Kind; unknown kinds are for the caller to refuse */
    uint64_t stream;
    uint32_t method;
    const uint8_t *body;
    size_t len;
    uint64_t credit;
    int32_t error;
    const char *text; /* not NUL-terminated, any bytes */
    size_t text_len;
};

/* Length of the Envelope that the FRAME_PREFIX bytes at P announce. -EMSGSIZE above FRAME_MAX. */
must_use int frame_length(const uint8_t p[static FRAME_PREFIX], size_t *ret);

/* Decode the N bytes of one Envelope. -EBADMSG; *ret is then undefined. */
must_use int frame_decode(const uint8_t *p, size_t n, struct frame *ret);

/* Write prefix and Envelope up to the body's first byte; F->len bytes of body must follow. The text
 * is cut at ERR_TEXT_MAX. Returns the length of the head. */
size_t frame_head(const struct frame *f, uint8_t out[static FRAME_HEAD_MAX]);

#endif
