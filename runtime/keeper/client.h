// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/client.h - the agent's end of the keeper's and the proxy's socket.
 *
 * Role     packets with descriptors, encoded and decoded; no policy, no event loop: the agent polls
 *          keeper_client_fd() and calls keeper_client_read().
 * Thread   [loop]; never blocks (sends queue in the socket; -EAGAIN: try again when writable).
 */
#ifndef ORLOP_KEEPER_CLIENT_H
#define ORLOP_KEEPER_CLIENT_H

#include <stddef.h>

#include "keeper.pb-c.h"
#include "runtime/base/err.h"

enum {
    KEEPER_PACKET_MAX = 192 * 1024,
    KEEPER_FDS_MAX = 250,
    KEEPER_WORDS_MAX = 4096,        /* argv and env each */
    KEEPER_COMMAND_MAX = 96 * 1024, /* bytes of both; the packet has room for the rest of a spec */
};

struct keeper_client;

/* Connect to SOCKET ("RUN/keeper.sock", "RUN/proxy.sock"). */
must_use int keeper_client_open(const char *socket, struct keeper_client **ret, struct err *err);
void keeper_client_free(struct keeper_client *c);
int keeper_client_fd(const struct keeper_client *c);

/* Will the keeper take such a command? -E2BIG and a sentence before anything is sent: the keeper
 * answers a packet that is too much for it by hanging up, which ends other people's requests, too. */
must_use int keeper_client_check(char *const *argv, size_t n_argv, char *const *env, size_t n_env,
                                 struct err *err);

/* FDS are borrowed. */
must_use int keeper_client_send(struct keeper_client *c, const Orlop__KeeperRequest *req,
                                const int *fds, size_t n_fds, struct err *err);

/* One message: *ret is freed by keeper_message_free; *ret_fd is the descriptor that came along (the
 * caller's) or -1. -EAGAIN: none waits; -ECONNRESET: the keeper is gone; -EBADMSG: it talks
 * nonsense. */
must_use int keeper_client_read(struct keeper_client *c, Orlop__KeeperMessage **ret, int *ret_fd,
                                struct err *err);
void keeper_message_free(Orlop__KeeperMessage *m);

must_use int proxy_client_send(struct keeper_client *c, const Orlop__ProxyWant *want,
                               struct err *err);
must_use int proxy_client_read(struct keeper_client *c, Orlop__ProxyReply **ret, struct err *err);
void proxy_reply_free(Orlop__ProxyReply *r);

#endif
