// SPDX-License-Identifier: Apache-2.0
/* agent/keeper_link.h - the standing connection to the keeper.
 *
 * Role     connects to keeper.sock for ever, asks for the list after each connect, turns messages
 *          into callbacks. What was not answered when the keeper went away is not repeated here:
 *          the next list tells reconcile, and every exec gets `closed`.
 * Thread   [loop]; callbacks never run inside a call of this header.
 * Owns     the socket, requests in flight, packets that did not fit into the socket (with
 *          duplicates of their descriptors).
 * Limits   KLINK_QUEUE_MAX packets waiting (-EAGAIN above).
 */
#ifndef ORLOP_AGENT_KEEPER_LINK_H
#define ORLOP_AGENT_KEEPER_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "keeper.pb-c.h"
#include "runtime/base/err.h"

enum {
    KLINK_QUEUE_MAX = 4096,
    KLINK_LIST_MAX = 100000,
    KLINK_RETRY_MIN_MS = 50,
    KLINK_RETRY_MAX_MS = 1000
};

struct klink;

struct klink_ops {
    /* The whole list; entries are borrowed. The connection is up from here on. */
    void (*listed)(void *ctx, Orlop__SandboxEntry *const *entries, size_t n);
    void (*lost)(void *ctx, const struct err *why); /* after `listed`, or instead of it */
    void (*started)(void *ctx, const Orlop__SandboxEntry *e);
    void (*start_failed)(void *ctx, const char *task, uint32_t attempt,
                         const Orlop__KeeperFailure *f);
    void (*exited)(void *ctx, const Orlop__SandboxEntry *e);
    void (*closed)(void *ctx, const char *task);
};

must_use int klink_new(uv_loop_t *loop, const char *socket, const struct klink_ops *ops, void *ctx,
                       struct klink **ret);
void klink_close(struct klink *k); /* no callback after it; freed in a later loop turn */
bool klink_up(const struct klink *k);

/* All of these: -ENOTCONN while it is down (nothing happens then), -EAGAIN, -ENOMEM. */
must_use int klink_list(struct klink *k);
/* FDS are borrowed. Answer: started or start_failed. */
must_use int klink_start(struct klink *k, Orlop__SandboxSpec *spec, const int *fds, size_t n_fds);
must_use int klink_signal(struct klink *k, const char *task, uint64_t boot, uint32_t attempt,
                          int signal);
must_use int klink_close_task(struct klink *k, const char *task);

/* STATUS 0, or a negative errno of the keeper's, or -ECONNRESET. Exactly once when 0 was returned.
 */
typedef void (*klink_done_cb)(void *ctx, int status);
must_use int klink_forget(struct klink *k, const char *task, klink_done_cb cb, void *ctx);

/* One more process in a sandbox. */
struct klink_exec_ops {
    /* MASTER: the pty with tty, the callee's; else -1. */
    void (*started)(void *ctx, int32_t pid, int master);
    /* The last callback. WAIT_STATUS is valid when STATUS is 0; else it did not start (negative
     * errno, sentence in ERR) or the keeper was lost (-ECONNRESET: it was killed). */
    void (*closed)(void *ctx, int status, int32_t wait_status, const struct err *err);
    /* May be NULL. The last callback in place of closed, when all was there but the program: it was
     * not found (-ENOENT) or cannot be executed. */
    void (*no_program)(void *ctx, int status, const struct err *err);
};
must_use int klink_exec(struct klink *k, Orlop__KeeperExec *e, const int *fds, size_t n_fds,
                        const struct klink_exec_ops *ops, void *ctx, uint64_t *ret_exec);
must_use int klink_exec_signal(struct klink *k, uint64_t exec, int signal);
must_use int klink_exec_resize(struct klink *k, uint64_t exec, uint32_t rows, uint32_t cols);
/* The caller is no longer interested: the process is killed, no callback comes. */
void klink_exec_abandon(struct klink *k, uint64_t exec);

#endif
