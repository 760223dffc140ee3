// SPDX-License-Identifier: Apache-2.0
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { NAME_COLUMNS = 26, VALUE_MAX = 24, FILE_MAX = 8192 };

/* One value of a line, up to its blank; *at is moved behind it. */
static int parse_value(const char **at, rlim_t *ret) {
    char word[VALUE_MAX];
    *at += strspn(*at, " ");
    size_t n = strcspn(*at, " \n");
    if (n == 0 || n >= sizeof word) return -EBADMSG;
    memcpy(word, *at, n);
    word[n] = 0;
    *at += n;
    uint64_t v = RLIM_INFINITY;
    if (!str_eq(word, "unlimited") && str_to_u64(word, UINT64_MAX, &v) < 0) return -EBADMSG;
    *ret = v;
    return 0;
}

int limits_parse(const char *text, struct rlimit ret[static RLIM_NLIMITS]) {
    struct rlimit out[RLIM_NLIMITS];
    const char *line = text;
    for (int i = -1; i < RLIM_NLIMITS; i++) { /* -1: the headings */
        const char *end = strchr(line, '\n');
        if (!end) return -EBADMSG;
        if (i >= 0) {
            if (end - line < NAME_COLUMNS) return -EBADMSG;
            const char *at = line + NAME_COLUMNS;
            if (parse_value(&at, &out[i].rlim_cur) < 0 || parse_value(&at, &out[i].rlim_max) < 0 ||
                at > end)
                return -EBADMSG;
        }
        line = end + 1;
    }
    memcpy(ret, out, sizeof out);
    return 0;
}

int limits_read(pid_t pid, struct rlimit ret[static RLIM_NLIMITS], struct err *err) {
    char path[48];
    auto_free char *text = NULL;
    snprintf(path, sizeof path, "/proc/%d/limits", pid);
    int r = fd_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL);
    if (r == -ENOENT) r = -ESRCH; /* it has ended */
    if (r < 0) return err_set(err, r, "read the limits of the container");
    r = limits_parse(text, ret);
    return r < 0 ? err_say(err, r, "%s is not what it should be", path) : 0;
}
