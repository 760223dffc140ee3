// SPDX-License-Identifier: Apache-2.0
/* runtime/container/limits.h - the resource limits of another process, from /proc/PID/limits: prlimit(2)
 * of another user's process needs CAP_SYS_RESOURCE, which root does not have everywhere.
 *
 * Thread   [any]; parsing is pure.
 * See      man 5 proc: lines in the order of RLIMIT_*, columns "%-25s %-20s %-20s %-10s"
 */
#ifndef ORLOP_CONTAINER_LIMITS_H
#define ORLOP_CONTAINER_LIMITS_H

#include <sys/resource.h>
#include <sys/types.h>

#include "runtime/base/err.h"

/* -ESRCH: there is no such process any more. */
must_use int limits_read(pid_t pid, struct rlimit ret[static RLIM_NLIMITS], struct err *err);
/* -EBADMSG unless TEXT is such a table, whole. RET is written on success only. */
must_use int limits_parse(const char *text, struct rlimit ret[static RLIM_NLIMITS]);

#endif
