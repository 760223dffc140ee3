// SPDX-License-Identifier: Apache-2.0
/* proto/check.h - is a decoded message within bounds? Once at every edge; inside, it is trusted.
 *
 * Role     names, numbers, sizes, references and cycles of a manifest (CLI before it sends,
 *          scheduler before it proposes and when it applies); ranges of what agents say.
 * Thread   [any]. Pure.
 * Errors   -EINVAL and a sentence that names the place: "service web: port 70000 is not 1 to
 *          65535".
 */
#ifndef ORLOP_PROTO_CHECK_H
#define ORLOP_PROTO_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "agent.pb-c.h"
#include "manifest.pb-c.h"
#include "runtime/base/err.h"

enum {
    CHECK_NAME_MAX = 63,           /* app, service */
    CHECK_HOSTNAME_MAX = 63,       /* one label of DNS */
    CHECK_RESOURCE_NAME_MAX = 255, /* volumes, networks */
    CHECK_SERVICES_MAX = 1000,
    CHECK_REPLICAS_MAX = 10000, /* of one service, and of all */
    CHECK_LIST_MAX = 1024,      /* items of any list inside a service */
    CHECK_CONTENT_BYTES = 500 << 10,
    CHECK_CONTENTS_BYTES = 5 << 20, /* of all secrets and configs together */
    CHECK_APP_BYTES = 7 << 20,      /* packed: fits one frame and one log entry */
    CHECK_TEXT_MAX = 4096,          /* paths, reasons */
    CHECK_REPORT_TASKS_MAX = 20000,
    CHECK_NETWORKS_MAX = 64,
    CHECK_SERVICE_NETWORKS_MAX = 32,
    CHECK_MOUNTS_MAX = 180,         /* of a service; the image may bring some more */
    CHECK_COMMAND_BYTES = 96 << 10, /* and environment: what one packet to the keeper carries */
    CHECK_TIME_MAX_MS = 86400000,   /* a day */
    CHECK_RETRIES_MAX = 1000,
    CHECK_PIDS_MAX = 1 << 22, /* the kernel's own */
    CHECK_LOG_FILES_MAX = 1000,
    CHECK_SECCOMP_NAME_MAX = 64,
    CHECK_SECCOMP_NAMES_MAX = 4096, /* of a profile, with those of conditions */
    CHECK_SECCOMP_ARGS_MAX = 6,
    CHECK_SECCOMP_ERRNO_MAX = 4095,
};

#define CHECK_BYTES_MAX (UINT64_C(1) << 50) /* of memory, of a tmpfs: beyond every machine */
#define CHECK_LOG_BYTES_MAX (UINT64_C(1) << 44)

must_use int check_app(const Orlop__App *app, struct err *err);
/* *ret_service: the number of the service whose fault it is, else SIZE_MAX. */
must_use int check_app_at(const Orlop__App *app, size_t *ret_service, struct err *err);

must_use int check_network(const Orlop__Network *n, struct err *err);

/* [a-z0-9][a-z0-9_-]*, at most CHECK_NAME_MAX. */
bool check_is_app_name(const char *s);
/* [A-Za-z0-9][A-Za-z0-9_.-]*, at most MAX: also safe as a file name. */
bool check_is_name(const char *s, size_t max);
bool check_is_task_id(const char *s); /* "1.23.4" */
/* Absolute, without empty, "." or ".." parts. */
bool check_is_abs_path(const char *s);

must_use int check_hello(const Orlop__Hello *h, struct err *err);
must_use int check_statuses(Orlop__TaskStatus *const *v, size_t n, struct err *err);

#endif
