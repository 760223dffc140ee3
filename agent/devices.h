// SPDX-License-Identifier: Apache-2.0
/* agent/devices.h - the devices of a task: what its cgroup lets it open, and the nodes it sees.
 *
 * Role     within prepare_task.c. Of a device of the node only kind, numbers, owner and permissions
 *          are taken: the container gets a node of its own.
 * Thread   [pool]
 * Owns     nothing: *ret_rules and the nodes live in OUT's arena.
 * See      runtime/container/devices.c, cgroup_devices.c
 */
#ifndef ORLOP_AGENT_DEVICES_H
#define ORLOP_AGENT_DEVICES_H

#include "agent/prepare_task.h"
#include "runtime/container/cgroup.h"

must_use int devices_add(const Orlop__Service *s, struct prepared *out,
                         struct cgroup_device **ret_rules, size_t *ret_n, struct err *err);

#endif
