// SPDX-License-Identifier: Apache-2.0
/* agent/confine.h - what a service's processes may do: the same for its start, an exec and a probe.
 *
 * Thread   [any]
 * See      runtime/container/prepare.h
 */
#ifndef ORLOP_AGENT_CONFINE_H
#define ORLOP_AGENT_CONFINE_H

#include <stdbool.h>

#include "agent.pb-c.h"
#include "runtime/base/err.h"

must_use int confine_caps(const Orlop__Service *s, uint64_t *ret, struct err *err);
/* *ret: the filter's descriptor, the caller's; -1: there is none. */
must_use int confine_filter(const Orlop__Service *s, uint64_t capabilities, int *ret,
                            struct err *err);
bool confine_no_new_privs(const Orlop__Service *s);

#endif
