// SPDX-License-Identifier: Apache-2.0
/* runtime/net/attach_netlink.h - the little of rtnetlink that attach.c needs: a batch of requests
 * in one packet, their acknowledgements counted. No heap, no libmnl (Debian has no static one).
 *
 * Thread   [child]
 * Limits   ATTACH_BATCH_MAX bytes a batch; what does not fit is -EMSGSIZE at the end.
 */
#ifndef ORLOP_NET_ATTACH_NETLINK_H
#define ORLOP_NET_ATTACH_NETLINK_H

#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

enum { ATTACH_BATCH_MAX = 2048, ATTACH_REQUESTS_MAX = 8 };

struct attach_batch {
    size_t n;     /* bytes used */
    size_t at;    /* where the current request begins */
    uint32_t seq; /* of the last request: 1, 2, ... */
    bool too_long;
    const char *what[ATTACH_REQUESTS_MAX + 1]; /* by seq: for the error's sentence */
    _Alignas(struct nlmsghdr) char data[ATTACH_BATCH_MAX];
};

void attach_batch_init(struct attach_batch *b);
/* Begin a request: TYPE, further FLAGS (REQUEST and ACK are added), its fixed header of N bytes. */
void attach_batch_add(struct attach_batch *b, const char *what, uint16_t type, uint16_t flags,
                      const void *header, size_t n);
void attach_attr(struct attach_batch *b, uint16_t type, const void *data, size_t n);
void attach_attr_u32(struct attach_batch *b, uint16_t type, uint32_t v);
void attach_attr_str(struct attach_batch *b, uint16_t type, const char *s);
/* A nested attribute: attach_nest() ... attach_nest_end() with what the first returned. */
must_use size_t attach_nest(struct attach_batch *b, uint16_t type);
void attach_nest_end(struct attach_batch *b, size_t nest);
/* Raw bytes inside an attribute (the peer's header of a veth). */
void attach_raw(struct attach_batch *b, const void *data, size_t n);

/* Send all, wait for all acknowledgements. The first failure is the error. */
must_use int attach_batch_run(struct attach_batch *b, int netlink, struct err *err);

#endif
