// SPDX-License-Identifier: Apache-2.0
/* proto/arena.h - decode protobuf from outside within a byte budget.
 *
 * Role     the ProtobufCAllocator of every decode: memory comes from chunks that are freed
 *          together, never more than the budget, so that hostile bytes cannot amplify (protobuf-c
 *          has no limit of its own; 2 MB of input can ask for 178 MB).
 * Thread   one owner.
 */
#ifndef ORLOP_PROTO_ARENA_H
#define ORLOP_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

struct arena {
    ProtobufCAllocator allocator; /* pass &a->allocator to xxx__unpack */
    struct arena_chunk *chunks;
    size_t used;
    size_t budget;
    bool exhausted; /* an allocation failed: a NULL from arena_unpack is no verdict on the bytes */
};

void arena_init(struct arena *a, size_t budget_bytes);
void arena_fini(struct arena *a); /* frees everything that was unpacked */
must_use void *arena_alloc(struct arena *a,
                           size_t n); /* zeroed, 16-byte aligned; NULL over budget */
must_use char *arena_strdup(struct arena *a, const char *s);
must_use char *arena_strndup(struct arena *a, const char *s, size_t n); /* all N bytes and a NUL */

/* Unpack a message of type DESC from DATA; NULL when malformed or over budget. The message lives
 * until arena_fini. Strings are guaranteed to be UTF-8 without NUL (checked over the whole tree).
 */
must_use void *arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *desc,
                            const void *data, size_t len);

/* Deep copy into A by packing and unpacking. */
must_use void *arena_copy(struct arena *a, const ProtobufCMessage *m);

/* Pack M into memory of its own (mem_free). NULL = no memory. */
must_use uint8_t *pb_pack(const ProtobufCMessage *m, size_t *ret_len);

#endif
