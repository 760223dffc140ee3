// SPDX-License-Identifier: Apache-2.0
/* runtime/container/user.h - who the workload runs as: "uid", "name", "uid:gid", "name:group",
 * looked up in the container's own /etc/passwd and /etc/group.
 *
 * Role     a strict parser of files that the image brings: nothing is taken on trust, a malformed
 *          line is no line. Digits are always a number, never a name, so that an image cannot say
 *          that the user "1000" is root.
 * Thread   [child]: no heap, no NSS.
 * Limits   lines of USER_LINE_MAX, files of USER_FILE_MAX bytes, USER_GROUPS_MAX groups; what is
 *          beyond is an error where it matters (groups), else not seen (lines).
 */
#ifndef ORLOP_CONTAINER_USER_H
#define ORLOP_CONTAINER_USER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/err.h"
#include "runtime/base/words.h"

enum {
    USER_HOME_MAX = 256,
    USER_GROUPS_MAX = 256,
    USER_NAME_MAX = WORDS_USER_MAX,
    USER_LINE_MAX = 4096,
    USER_FILE_MAX = 4 << 20,
};

struct user_identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[USER_GROUPS_MAX]; /* supplementary */
    size_t n_groups;
    char home[USER_HOME_MAX]; /* "/" when unknown */
};

/* ROOT is the container's root directory. -EINVAL: malformed or not found, the sentence says which.
 */
must_use int user_lookup(int root, const char *user, struct user_identity *ret, struct err *err);

#endif
