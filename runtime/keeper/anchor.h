// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/anchor.h - the service's main process: parent of the roles, holder of FIFOs.
 *
 * Role     starts (or adopts, by their locks) keeper, proxy, scheduler and agent, restarts what
 *          dies; keeps every container's stdout and stderr open, so that no byte in them is lost
 *          while no keeper lives; reaps what a dead keeper leaves, by the keeper's own function
 *          (reap.h).
 * Thread   [anchor], one. No parsing: fixed-size records from its own children only.
 * Signals  SIGTERM, SIGINT: end agent, scheduler, proxy and itself; keeper and sandboxes live on.
 *          SIGUSR1: passed to the agent, which stops all sandboxes and exits; then all ends.
 */
#ifndef ORLOP_KEEPER_ANCHOR_H
#define ORLOP_KEEPER_ANCHOR_H

#include <stdbool.h>

#include "runtime/base/err.h"

struct anchor_config {
    const char *state, *run; /* NULL: environment, defaults */
    const char *orlop;       /* executable of scheduler and agent; NULL: neither is started */
    bool no_scheduler, no_agent, no_proxy;
    char **keeper_argv; /* how to start the keeper */
};
must_use int anchor_main(const struct anchor_config *cfg);

#endif
