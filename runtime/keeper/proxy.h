// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/proxy.h - the process that holds the published ports.
 *
 * Role     a listening socket (UDP: a bound one) for each published address, so that a conflict is
 *          an EADDRINUSE at once; what arrives there (from the host's own loopback: all else is
 *          sent on by nft before it gets here) goes to a random target. TCP by splice, UDP by
 *          sessions.
 * Thread   [proxy], one loop. Lives apart from the agent: an agent's restart breaks nothing.
 * Limits   proxy_int.h: connections, sessions, idle times.
 * See      client.h (ProxyWant: the whole list, each time it changes)
 */
#ifndef ORLOP_KEEPER_PROXY_H
#define ORLOP_KEEPER_PROXY_H

#include "runtime/base/err.h"

struct proxy_config {
    const char *state, *run;
};
must_use int proxy_main(const struct proxy_config *cfg);

#endif
