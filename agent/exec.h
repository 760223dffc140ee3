// SPDX-License-Identifier: Apache-2.0
/* agent/exec.h - EXEC: a process in a sandbox, its streams over the bus.
 *
 * Role     ExecRequest -> the agent resolves the task -> the keeper starts the process with pipes
 *          or a terminal of ours -> ExecInput to it, ExecOutput from it -> its exit code as the
 *          last message.
 * Thread   [loop].
 * Owns     pipes, the terminal's master, the process: when the client goes away it is killed, when
 *          the agent's connection to the keeper breaks the keeper kills it.
 * Limits   EXECS_MAX at once; what the client sends is bounded by its credit (given back as the
 *          process reads) and 32 MiB for all together (above, the session that keeps most is
 *          ended), what the process writes by ours (it waits in its pipe).
 */
#ifndef ORLOP_AGENT_EXEC_H
#define ORLOP_AGENT_EXEC_H

#include <uv.h>

#include "agent/keeper_link.h"
#include "api.pb-c.h"
#include "proto/arena.h"
#include "proto/bus/bus.h"
#include "runtime/base/err.h"

enum { EXECS_MAX = 256 };

struct execs_ops {
    /* Fill EXEC for REQ->task (or refuse: negative errno and a sentence): task; env as the task has
     * it (REQ->env is added afterwards); user and cwd when REQ names none; capabilities,
     * no_new_privs. Strings live in ARENA or until return to the loop. *RET_SECCOMP: a memfd, the
     * callee's, or -1. */
    int (*resolve)(void *ctx, const Orlop__ExecRequest *req, struct arena *arena,
                   Orlop__KeeperExec *exec, int *ret_seccomp, struct err *err);
};

struct execs;

must_use int execs_new(uv_loop_t *loop, struct klink *klink, const struct execs_ops *ops, void *ctx,
                       struct execs **ret);

/* Serve an opened stream of the method EXEC. */
void execs_open(struct execs *x, struct bus_stream *s, const uint8_t *body, size_t len);

/* Kill all (the clients get ESHUTDOWN); X frees itself in the loop turns that follow. Before
 * klink_close and bus_close. */
void execs_close(struct execs *x);

#endif
