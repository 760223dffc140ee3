// SPDX-License-Identifier: Apache-2.0
/* agent/requests.h - streams that the scheduler opens to this node: LOGS, EXEC, IMAGE_*, VOLUME_*.
 *
 * Role     decides who handles a method; images, logs and exec are libraries of their own
 *          (images.h, logs.h, exec.h), volumes are here.
 * Thread   [loop]; blocking work in the pool.
 */
#ifndef ORLOP_AGENT_REQUESTS_H
#define ORLOP_AGENT_REQUESTS_H

#include "agent/agent.h"

must_use int requests_new(struct agent *a); /* a->logs, a->execs; after klink */
void requests_close(struct agent *a);       /* before klink and bus */

void requests_open(struct agent *a, struct bus_stream *s, uint32_t method, const uint8_t *body,
                   size_t len);

#endif
