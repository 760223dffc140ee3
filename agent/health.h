// SPDX-License-Identifier: Apache-2.0
/* agent/health.h - health checks: a probe process in the sandbox on schedule, by Docker's rules.
 *
 * Role     health_state.c: pure, when to probe next and what a result means; health.c: the exec,
 *          its output, its timeout. Holds no policy beyond that: the verdict is an event for the
 *          reconciler.
 * Rules    starting: probes each start_interval; a success makes it healthy; failures do not count
 *          before start_period is over. Then each interval; RETRIES failures in a row make it
 *          unhealthy.
 * Thread   [loop]
 * Owns     at most one probe a task, HEALTH_IN_FLIGHT_MAX on the node (the others wait their turn);
 *          the last HEALTH_OUTPUT_MAX bytes of a probe's output.
 */
#ifndef ORLOP_AGENT_HEALTH_H
#define ORLOP_AGENT_HEALTH_H

#include "agent/agent.h"

enum { HEALTH_IN_FLIGHT_MAX = 16, HEALTH_OUTPUT_MAX = 256 };

/* ---- pure ---- */
struct health_state {
    const struct spec_health *spec;
    Orlop__Health health;
    int64_t started_ms;
    int64_t next_ms; /* of the next probe; INT64_MAX while one runs */
    uint32_t failures;
};
/* HEALTH: what was known before (an adopted task), else HEALTH_STARTING. */
void health_state_init(struct health_state *s, const struct spec_health *spec, Orlop__Health health,
                       int64_t now_ms);
void health_state_begin(struct health_state *s);
/* True: the verdict has changed. */
bool health_state_result(struct health_state *s, bool ok, int64_t now_ms);

/* ---- shell ---- */
must_use int health_new(struct agent *a, struct health **ret);
/* T is RUNNING and its merged spec is known; harmless twice. */
void health_watch(struct health *h, const struct task *t, const struct prepared *p);
void health_unwatch(struct health *h, const char *task);
void health_close(struct health *h); /* probes under way are killed */

#endif
