// SPDX-License-Identifier: Apache-2.0
#include "outq.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/fd.h"

struct packet {
    struct list node;
    int fd;
    size_t len;
    char data[];
};

void outq_init(struct outq *q, size_t max_bytes) {
    *q = (struct outq){.max = max_bytes};
    list_init(&q->packets);
}

static void drop(struct outq *q, struct packet *p) {
    list_del(&p->node);
    q->bytes -= p->len;
    fd_close(&p->fd);
    mem_free(p);
}

void outq_fini(struct outq *q) {
    if (!q->packets.next) return;
    list_each_safe (it, &q->packets) drop(q, list_entry(it, struct packet, node));
}

static int keep(struct outq *q, const void *data, size_t len, int fd) {
    if (q->bytes + len > q->max) return -ENOBUFS;
    auto_fd int dup = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0 && dup < 0) return -errno;
    struct packet *p = mem_alloc(sizeof *p + len);
    if (!p) return -ENOMEM;
    *p = (struct packet){.fd = steal_fd(&dup), .len = len};
    memcpy(p->data, data, len);
    list_add_tail(&q->packets, &p->node);
    q->bytes += len;
    return 0;
}

int outq_send(struct outq *q, int socket, const void *data, size_t len, int fd) {
    if (outq_empty(q)) {
        int r = packet_send(socket, data, len, &fd, fd >= 0);
        if (r != -EAGAIN) return r;
    }
    return keep(q, data, len, fd);
}

int outq_flush(struct outq *q, int socket) {
    list_each_safe (it, &q->packets) {
        struct packet *p = list_entry(it, struct packet, node);
        int r = packet_send(socket, p->data, p->len, &p->fd, p->fd >= 0);
        if (r == -EAGAIN) return 0;
        if (r < 0) return r;
        drop(q, p);
    }
    return 0;
}
