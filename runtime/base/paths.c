// SPDX-License-Identifier: Apache-2.0
#include "paths.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "str.h"

#define STATE_DEFAULT "/var/lib/orlop"
#define RUN_DEFAULT "/run/orlop"
enum { SOCKET_NAME_ROOM = 16 }; /* "/keeper.sock" and a temporary suffix */

static int choose(char *out, const char *given, const char *env, const char *fallback,
                  struct err *err) {
    const char *v = given ? given : getenv(env);
    if (str_empty(v)) v = fallback;
    size_t n = strlen(v);
    while (n > 1 && v[n - 1] == '/') n--;
    if (v[0] != '/') return err_say(err, -EINVAL, "%s: '%s' is not an absolute path", env, v);
    if (n + SOCKET_NAME_ROOM >= PATHS_MAX)
        return err_say(err, -ENAMETOOLONG, "%s: '%s' is too long, at most %d bytes", env, v,
                       PATHS_MAX - SOCKET_NAME_ROOM - 1);
    memcpy(out, v, n);
    out[n] = 0;
    return 0;
}

int paths_init(struct paths *p, const char *state, const char *run, struct err *err) {
    struct paths out = {0};
    int r = choose(out.state, state, "ORLOP_STATE_DIR", STATE_DEFAULT, err);
    if (r < 0) return r;
    r = choose(out.run, run, "ORLOP_RUN_DIR", RUN_DEFAULT, err);
    if (r < 0) return r;
    if (str_eq(out.run, RUN_DEFAULT))
        snprintf(out.cgroup, sizeof out.cgroup, "orlop");
    else
        snprintf(out.cgroup, sizeof out.cgroup, "orlop-%08x",
                 (unsigned) (str_hash(out.run, strlen(out.run)) & UINT32_MAX));
    *p = out;
    return 0;
}

const char *paths_run(const struct paths *p, const char *name, char buf[static PATHS_FULL_MAX]) {
    snprintf(buf, PATHS_FULL_MAX, "%s/%s", p->run, name);
    return buf;
}

const char *paths_state(const struct paths *p, const char *name, char buf[static PATHS_FULL_MAX]) {
    snprintf(buf, PATHS_FULL_MAX, "%s/%s", p->state, name);
    return buf;
}
