// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/request.h - decode and check what comes over keeper.sock and proxy.sock.
 *
 * Role     the edge: a message that request_decode has accepted holds only values in range, strings
 *          of bounded number, and descriptor indices that exist. Nothing behind it checks again.
 * Thread   [keeper], [proxy].
 * Owns     one budget of a fixed size, made once: a message lives until the next budget_reset.
 *          Hostile bytes cannot make protobuf-c take more.
 */
#ifndef ORLOP_KEEPER_REQUEST_H
#define ORLOP_KEEPER_REQUEST_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "keeper.pb-c.h"
#include "runtime/base/err.h"

enum { BUDGET_BYTES = 1 << 20 };

struct budget {
    ProtobufCAllocator allocator;
    char *memory; /* BUDGET_BYTES, touched only as far as used */
    size_t used;
};

must_use int budget_init(struct budget *b);
void budget_fini(struct budget *b);
void budget_reset(struct budget *b);
must_use void *budget_alloc(struct budget *b, size_t n); /* 16-byte aligned; NULL = over */

/* *ret lives in B. -EBADMSG: not a message, or over budget (*ret is NULL); -EINVAL or -EOPNOTSUPP:
 * a value out of range, *ret is set, so that its id can be answered. */
must_use int request_decode(struct budget *b, const void *data, size_t len, size_t n_fds,
                            Orlop__KeeperRequest **ret, struct err *err);
must_use int proxy_want_decode(struct budget *b, const void *data, size_t len,
                               Orlop__ProxyWant **ret, struct err *err);

#endif
