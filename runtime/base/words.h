// SPDX-License-Identifier: Apache-2.0
/* runtime/base/words.h - words that people write and the kernel knows by numbers.
 *
 * Role     one reading for the Compose file, the manifest's check and what prepares a task.
 * Thread   [any], also [child]: no heap. Pure.
 */
#ifndef ORLOP_BASE_WORDS_H
#define ORLOP_BASE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* "SIGTERM", "TERM", "15", "RTMIN+3" -> number; -EINVAL. */
must_use int words_signal(const char *text, struct err *err);

/* "NET_ADMIN", "cap_net_admin" -> its bit; "ALL" -> all bits. -EINVAL. */
must_use int words_capability(const char *text, uint64_t *ret_bits, struct err *err);
const char *words_of_capability(unsigned number); /* "NET_ADMIN"; at most CAP_LAST_CAP */

/* "nofile" -> RLIMIT_NOFILE; -EINVAL. */
must_use int words_rlimit(const char *text, struct err *err);
const char *words_of_rlimit(unsigned resource); /* "nofile" */

/* The two halves of "user[:group]", names or numbers, each "" when absent. -EINVAL for what cannot
 * be either. */
enum { WORDS_USER_MAX = 256 };
struct words_user {
    char user[WORDS_USER_MAX];
    char group[WORDS_USER_MAX];
};
must_use int words_user(const char *text, struct words_user *ret, struct err *err);
/* One decimal id that is no "nobody asked" value: at most 4294967294. */
must_use int words_uid(const char *text, uint32_t *ret);
bool words_is_number(const char *text);    /* digits only: never a name */
bool words_is_user_name(const char *text); /* what may stand in field one of passwd */

#endif
