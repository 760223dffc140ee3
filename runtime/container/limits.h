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

/* "nofile" of RLIMIT_NOFILE, as Compose and OCI files write it (the latter with RLIMIT_ in front). */
static inline const char *limits_name(unsigned resource) {
    static const char *const names[RLIM_NLIMITS] = {
        [RLIMIT_AS] = "as",           [RLIMIT_CORE] = "core",
        [RLIMIT_CPU] = "cpu",         [RLIMIT_DATA] = "data",
        [RLIMIT_FSIZE] = "fsize",     [RLIMIT_LOCKS] = "locks",
        [RLIMIT_MEMLOCK] = "memlock", [RLIMIT_MSGQUEUE] = "msgqueue",
        [RLIMIT_NICE] = "nice",       [RLIMIT_NOFILE] = "nofile",
        [RLIMIT_NPROC] = "nproc",     [RLIMIT_RSS] = "rss",
        [RLIMIT_RTPRIO] = "rtprio",   [RLIMIT_RTTIME] = "rttime",
        [RLIMIT_STACK] = "stack",     [RLIMIT_SIGPENDING] = "sigpending",
    };
    return resource < RLIM_NLIMITS ? names[resource] : "unknown";
}

/* -ESRCH: there is no such process any more. */
must_use int limits_read(pid_t pid, struct rlimit ret[static RLIM_NLIMITS], struct err *err);
/* -EBADMSG unless TEXT is such a table, whole. RET is written on success only. */
must_use int limits_parse(const char *text, struct rlimit ret[static RLIM_NLIMITS]);

#endif
