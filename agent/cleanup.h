// SPDX-License-Identifier: Apache-2.0
/* agent/cleanup.h - remove what is left of an attempt, of a task, of an agent that died in between.
 *
 * Role     the blocking halves, for the pool; what they remove may be gone already.
 * Thread   [pool]
 */
#ifndef ORLOP_AGENT_CLEANUP_H
#define ORLOP_AGENT_CLEANUP_H

#include "runtime/base/paths.h"
#include "runtime/base/str.h"

/* cgroup and private files of SANDBOX ("<task>-<boot>.<attempt>"). Its links go with its namespace:
 * ask net_link_exists. */
must_use int cleanup_attempt(const struct paths *p, const char *sandbox, struct err *err);

/* All files of TASK: upper layer, anonymous volumes, log. Named volumes stay. */
must_use int cleanup_task(const struct paths *p, const char *task, struct err *err);

/* What belongs to no task of KNOWN (ids): folders in STATE/tasks and RUN/private, cgroups below our
 * parent. Removes all that it can; the first failure is the answer. */
must_use int cleanup_strays(const struct paths *p, const struct strv *known, struct err *err);

/* Unmount what an agent left in the tasks' folders that was killed between the mount of a root and
 * its detaching. Before anything is prepared. [loop] */
void cleanup_places(const struct paths *p);

#endif
