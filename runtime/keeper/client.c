// SPDX-License-Identifier: Apache-2.0
#include "client.h"

#include <errno.h>
#include <string.h>

#include "outq.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

struct keeper_client {
    int fd;
    uint8_t packet[KEEPER_PACKET_MAX];
};

int keeper_client_open(const char *socket, struct keeper_client **ret, struct err *err) {
    auto_fd int fd = packet_connect(socket);
    if (fd < 0) return err_set(err, fd, "connect to %s", socket);
    struct keeper_client *c = mem_alloc(sizeof *c);
    if (!c) return err_set(err, -ENOMEM, "connect to %s", socket);
    c->fd = steal_fd(&fd);
    *ret = c;
    return 0;
}

void keeper_client_free(struct keeper_client *c) {
    if (!c) return;
    fd_close(&c->fd);
    mem_free(c);
}

int keeper_client_fd(const struct keeper_client *c) {
    return c->fd;
}

static size_t bytes_of(char *const *words, size_t n) {
    size_t sum = 0;
    for (size_t i = 0; i < n && sum <= KEEPER_COMMAND_MAX; i++) sum += strlen(words[i]) + 1;
    return sum;
}

int keeper_client_check(char *const *argv, size_t n_argv, char *const *env, size_t n_env,
                        struct err *err) {
    if (n_argv > KEEPER_WORDS_MAX)
        return err_say(err, -E2BIG, "a command of %zu words; at most %d", n_argv, KEEPER_WORDS_MAX);
    if (n_env > KEEPER_WORDS_MAX)
        return err_say(err, -E2BIG, "an environment of %zu variables; at most %d", n_env,
                       KEEPER_WORDS_MAX);
    if (bytes_of(argv, n_argv) + bytes_of(env, n_env) > KEEPER_COMMAND_MAX)
        return err_say(err, -E2BIG, "command and environment have more than %d KiB together",
                       KEEPER_COMMAND_MAX / 1024);
    return 0;
}

static int send_message(struct keeper_client *c, const ProtobufCMessage *m, const int *fds,
                        size_t n_fds, struct err *err) {
    size_t len = protobuf_c_message_get_packed_size(m);
    if (len > KEEPER_PACKET_MAX || n_fds > KEEPER_FDS_MAX)
        return err_say(err, -EMSGSIZE, "too large for one packet: %zu bytes, %zu descriptors", len,
                       n_fds);
    auto_free uint8_t *data = mem_alloc(len ? len : 1);
    if (!data) return err_set(err, -ENOMEM, "pack a request");
    protobuf_c_message_pack(m, data);
    int r = packet_send(c->fd, data, len, fds, n_fds);
    if (r == -EPIPE) r = -ECONNRESET;
    return r < 0 ? err_set(err, r, "send to the keeper") : 0;
}

/* The bytes of one packet in c->packet; *ret_fd -1 or the first descriptor. */
static int receive(struct keeper_client *c, int *ret_fd, struct err *err) {
    int fds[PACKET_FDS_MAX];
    size_t n_fds;
    int n = packet_receive(c->fd, c->packet, sizeof c->packet, fds, &n_fds);
    if (n == -EAGAIN) return n;
    if (n == -EMSGSIZE) return err_say(err, -EBADMSG, "the keeper's packet is too large");
    if (n <= 0) return err_say(err, -ECONNRESET, "the keeper is gone");
    for (size_t i = 1; i < n_fds; i++) fd_close(&fds[i]);
    *ret_fd = n_fds ? fds[0] : -1;
    return n;
}

int keeper_client_send(struct keeper_client *c, const Orlop__KeeperRequest *req, const int *fds,
                       size_t n_fds, struct err *err) {
    return send_message(c, &req->base, fds, n_fds, err);
}

/* Whether all that a handler may look at is there: protobuf-c sets the member that the case names.
 */
static bool message_ok(const Orlop__KeeperMessage *m) {
    return m->what_case != ORLOP__KEEPER_MESSAGE__WHAT__NOT_SET;
}

int keeper_client_read(struct keeper_client *c, Orlop__KeeperMessage **ret, int *ret_fd,
                       struct err *err) {
    auto_fd int fd = -1;
    int n = receive(c, &fd, err);
    if (n < 0) return n;
    Orlop__KeeperMessage *m = orlop__keeper_message__unpack(NULL, (size_t) n, c->packet);
    if (!m) return err_say(err, -EBADMSG, "the keeper's message is malformed");
    if (!message_ok(m)) {
        keeper_message_free(m);
        return err_say(err, -EBADMSG, "the keeper's message is of an unknown kind");
    }
    *ret = m;
    *ret_fd = steal_fd(&fd);
    return 0;
}

void keeper_message_free(Orlop__KeeperMessage *m) {
    if (m) orlop__keeper_message__free_unpacked(m, NULL);
}

int proxy_client_send(struct keeper_client *c, const Orlop__ProxyWant *want, struct err *err) {
    return send_message(c, &want->base, NULL, 0, err);
}

int proxy_client_read(struct keeper_client *c, Orlop__ProxyReply **ret, struct err *err) {
    auto_fd int fd = -1;
    int n = receive(c, &fd, err);
    if (n < 0) return n;
    Orlop__ProxyReply *r = orlop__proxy_reply__unpack(NULL, (size_t) n, c->packet);
    if (!r) return err_say(err, -EBADMSG, "the proxy's message is malformed");
    *ret = r;
    return 0;
}

void proxy_reply_free(Orlop__ProxyReply *r) {
    if (r) orlop__proxy_reply__free_unpacked(r, NULL);
}
