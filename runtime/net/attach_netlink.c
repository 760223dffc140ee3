// SPDX-License-Identifier: Apache-2.0
#include "attach_netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void attach_batch_init(struct attach_batch *b) {
    *b = (struct attach_batch){.n = 0};
}

static void *take(struct attach_batch *b, size_t n) {
    size_t aligned = NLMSG_ALIGN(n);
    if (b->too_long || aligned > sizeof b->data - b->n) {
        b->too_long = true;
        return NULL;
    }
    void *p = b->data + b->n;
    b->n += aligned; /* the padding is zero since init */
    return p;
}

static void grow_request(struct attach_batch *b) {
    uint32_t len = (uint32_t) (b->n - b->at);
    memcpy(b->data + b->at + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof len);
}

void attach_raw(struct attach_batch *b, const void *data, size_t n) {
    void *p = take(b, n);
    if (p && n) memcpy(p, data, n);
    if (p) grow_request(b);
}

void attach_batch_add(struct attach_batch *b, const char *what, uint16_t type, uint16_t flags,
                      const void *header, size_t n) {
    if (b->seq == ATTACH_REQUESTS_MAX) b->too_long = true;
    if (b->too_long) return;
    b->at = b->n;
    b->what[++b->seq] = what;
    struct nlmsghdr h = {
        .nlmsg_type = type,
        .nlmsg_flags = (uint16_t) (NLM_F_REQUEST | NLM_F_ACK | flags),
        .nlmsg_seq = b->seq,
    };
    attach_raw(b, &h, sizeof h);
    attach_raw(b, header, n);
}

void attach_attr(struct attach_batch *b, uint16_t type, const void *data, size_t n) {
    struct rtattr a = {.rta_len = (uint16_t) (sizeof a + n), .rta_type = type};
    attach_raw(b, &a, sizeof a);
    attach_raw(b, data, n);
}

void attach_attr_u32(struct attach_batch *b, uint16_t type, uint32_t v) {
    attach_attr(b, type, &v, sizeof v);
}

void attach_attr_str(struct attach_batch *b, uint16_t type, const char *s) {
    attach_attr(b, type, s, strlen(s) + 1);
}

size_t attach_nest(struct attach_batch *b, uint16_t type) {
    size_t at = b->n;
    attach_attr(b, type | NLA_F_NESTED, NULL, 0);
    return at;
}

void attach_nest_end(struct attach_batch *b, size_t nest) {
    uint16_t len = (uint16_t) (b->n - nest);
    if (!b->too_long) memcpy(b->data + nest + offsetof(struct rtattr, rta_len), &len, sizeof len);
}

/* One datagram of answers: how many acknowledgements, the first failure in *FAILED. */
static uint32_t read_acks(const struct attach_batch *b, const char *buf, size_t n,
                          struct nlmsgerr *failed) {
    uint32_t acks = 0;
    while (n >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr h;
        memcpy(&h, buf, sizeof h);
        if (h.nlmsg_len < sizeof h || h.nlmsg_len > n) break;
        if (h.nlmsg_type == NLMSG_ERROR && h.nlmsg_len >= sizeof h + sizeof(struct nlmsgerr)) {
            struct nlmsgerr e;
            memcpy(&e, buf + sizeof h, sizeof e);
            acks++;
            if (e.error && !failed->error && e.msg.nlmsg_seq <= b->seq) *failed = e;
        }
        size_t step = NLMSG_ALIGN(h.nlmsg_len);
        if (step >= n) break;
        buf += step;
        n -= step;
    }
    return acks;
}

int attach_batch_run(struct attach_batch *b, int netlink, struct err *err) {
    if (b->too_long) return err_say(err, -EMSGSIZE, "the request is too long");
    if (send(netlink, b->data, b->n, 0) < 0) return err_set(err, -errno, "send to rtnetlink");
    struct nlmsgerr failed = {.error = 0};
    for (uint32_t acks = 0; acks < b->seq;) {
        _Alignas(struct nlmsghdr) char buf[4096];
        ssize_t n = recv(netlink, buf, sizeof buf, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return err_set(err, n < 0 ? -errno : -EIO, "answer of rtnetlink");
        acks += read_acks(b, buf, (size_t) n, &failed);
    }
    if (failed.error == 0) return 0;
    return err_set(err, failed.error, "%s", b->what[failed.msg.nlmsg_seq]);
}
