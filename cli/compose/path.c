// SPDX-License-Identifier: Apache-2.0
/* Lexical work on paths: the file system is not asked. */
#include <ctype.h>
#include <string.h>

#include "cf.h"

/* "." and empty parts go, ".." takes the part before it, except at the start of a relative path. */
char *cf_path_clean(struct compose_project *c, const char *path) {
    size_t len = strlen(path);
    char *out = cf_alloc(c, len + 2);
    bool rooted = *path == '/';
    size_t n = 0, floor = 0; /* what ".." may not take away */
    if (rooted) out[n++] = '/', floor = 1;
    for (const char *p = path; *p;) {
        while (*p == '/') p++;
        size_t part = strcspn(p, "/");
        if (!part || (part == 1 && *p == '.')) {
            p += part;
            continue;
        }
        if (part == 2 && p[0] == '.' && p[1] == '.' && (n > floor || rooted)) {
            while (n > floor && out[n - 1] != '/') n--;
            if (n > floor) n--;
            p += part;
            continue;
        }
        if (n && out[n - 1] != '/') out[n++] = '/';
        memcpy(out + n, p, part);
        n += part;
        if (part == 2 && p[0] == '.' && p[1] == '.') floor = n;
        p += part;
    }
    if (!n) out[n++] = '.';
    out[n] = '\0';
    return out;
}

char *cf_path_join(struct compose_project *c, const char *dir, const char *path) {
    if (*path == '/') return cf_path_clean(c, path);
    return cf_path_clean(c, cf_printf(c, "%s/%s", dir, path));
}

char *cf_path_dir(struct compose_project *c, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return cf_strdup(c, ".");
    if (slash == path) return cf_strdup(c, "/");
    return cf_path_clean(c, cf_strndup(c, path, (size_t) (slash - path)));
}

bool cf_path_is_fixed(const char *path) {
    if (*path == '/' || *path == '~') return true;
    if (path[0] == '\\' && path[1] == '\\') return true;
    return isalpha((unsigned char) path[0]) && path[1] == ':';
}

char *cf_path_relative(struct compose_project *c, const char *dir, const char *path) {
    if (cf_path_is_fixed(path)) return cf_strdup(c, path);
    char *p = cf_path_join(c, dir, path);
    bool dotted = *p == '/' || str_eq(p, ".") || str_eq(p, "..") || str_starts(p, "../");
    return dotted ? p : cf_printf(c, "./%s", p);
}

const char *cf_path_expand(struct compose_project *c, const char *path) {
    if (*path == '/') return cf_path_clean(c, path);
    if (*path == '~') {
        const char *home = cf_env_get(&c->env, "HOME");
        bool mine = !path[1] || path[1] == '/'; /* not ~user */
        if (!mine || str_empty(home) || *home != '/') return NULL;
        return cf_path_clean(c, cf_printf(c, "%s/%s", home, path + 1));
    }
    return !*path || cf_path_is_fixed(path) ? NULL : cf_path_join(c, c->directory, path);
}
