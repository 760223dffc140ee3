// SPDX-License-Identifier: Apache-2.0
#include "runtime/image/path.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int image__path_clean(const char *name, char ret[static IMAGE_PATH_BYTES_MAX + 1],
                      struct err *err) {
    size_t out = 0;
    int depth = 0;
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return err_set(err, -EINVAL, "the archive's name \"%.100s\" holds \"..\"", name);
        if (n && !(n == 1 && p[0] == '.')) {
            if (n > IMAGE_NAME_BYTES_MAX || out + n + 1 > IMAGE_PATH_BYTES_MAX)
                return err_set(err, -ENAMETOOLONG, "the archive's name \"%.60s...\"", name);
            if (++depth > IMAGE_DEPTH_MAX)
                return err_say(err, -ELOOP, "the archive's name \"%.60s...\" is deeper than %d",
                               name, IMAGE_DEPTH_MAX);
            if (out) ret[out++] = '/';
            memcpy(ret + out, p, n);
            out += n;
        }
        p += n;
        p += *p == '/';
    }
    ret[out] = 0;
    return 0;
}

const char *image__path_base(const char *clean) {
    const char *slash = strrchr(clean, '/');
    return slash ? slash + 1 : clean;
}
