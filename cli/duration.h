// SPDX-License-Identifier: Apache-2.0
/* cli/duration.h - times as people write them. [any] */
#ifndef ORLOP_CLI_DURATION_H
#define ORLOP_CLI_DURATION_H

#include <stdint.h>

#include "runtime/base/err.h"

/* "90", "90s", "1h30m", "1.5h", "250ms", "2d" in nanoseconds. -EINVAL, -ERANGE (above 100 years).
 */
must_use int duration_parse(const char *s, int64_t *ret_ns);

/* A point in time, in nanoseconds since 1970: a duration before NOW_NS, RFC 3339
 * ("2026-01-02T15:04:05.5Z", "...+02:00"; time, seconds and zone may be left out: local), or unix
 * seconds ("1700000000" or with a fraction). -EINVAL. */
must_use int duration_parse_time(const char *s, int64_t now_ns, int64_t *ret_ns);

/* "5 seconds", "3 minutes", "2 hours", "4 days" */
enum { DURATION_TEXT_MAX = 32 };
const char *duration_text(int64_t ms, char buf[static DURATION_TEXT_MAX]);

/* RFC 3339 in UTC with nanoseconds. */
enum { DURATION_STAMP_MAX = 40 };
const char *duration_stamp(int64_t unix_ns, char buf[static DURATION_STAMP_MAX]);

#endif
