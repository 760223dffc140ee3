// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/outq.h - packets that wait for a peer that does not read fast enough.
 *
 * Role     send at once when the socket takes it, else keep a copy (and a duplicate of its
 *          descriptor) until it is writable. The sender never blocks.
 * Thread   [keeper].
 * Limits   a maximum of bytes: above it -ENOBUFS, and the peer is to be cut off: it comes back and
 *          asks for everything (LIST), which is cheaper than to remember what it missed.
 */
#ifndef ORLOP_KEEPER_OUTQ_H
#define ORLOP_KEEPER_OUTQ_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/err.h"
#include "runtime/base/list.h"

struct outq {
    struct list packets;
    size_t bytes;
    size_t max;
};

void outq_init(struct outq *q, size_t max_bytes);
void outq_fini(struct outq *q);
static inline bool outq_empty(const struct outq *q) {
    return list_empty(&q->packets);
}

/* One packet on SOCKET, now or later. FD is borrowed, -1 = none. */
must_use int outq_send(struct outq *q, int socket, const void *data, size_t len, int fd);
/* The socket is writable. 0, or the error that ends the connection. */
must_use int outq_flush(struct outq *q, int socket);

/* sendmsg/recvmsg of one packet with descriptors, without waiting. */
enum { PACKET_FDS_MAX = 250 };
must_use int packet_send(int socket, const void *data, size_t len, const int *fds, size_t n_fds);
/* Bytes read; 0 = the peer closed; -EAGAIN; -EMSGSIZE: longer than CAP, or its descriptors did not
 * fit (none is kept). Room in FDS for PACKET_FDS_MAX. */
must_use int packet_receive(int socket, void *data, size_t cap, int *fds, size_t *ret_n_fds);

/* A listening SEQPACKET socket at PATH, 0600, an old socket file replaced. */
must_use int packet_listen(const char *path, struct err *err);
must_use int packet_connect(const char *path);
/* Is the other end of our own uid? */
bool packet_peer_ok(int socket);

#endif
