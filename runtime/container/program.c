// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"
#include "runtime/base/str.h"

/* A descriptor of the host that leaked, reached as /proc/self/fd/N, would make a working directory
 * outside the root; the kernel then answers "(unreachable)/..." or ENOENT. */
int program__enter_cwd(const struct process *p, struct err *err) {
    const char *cwd = str_empty(p->cwd) ? "/" : p->cwd;
    if (chdir(cwd) < 0) return err_set(err, -errno, "working directory %s", cwd);
    char at[PATH_MAX];
    if (syscall(SYS_getcwd, at, sizeof at) < 0)
        return err_set(err, -errno, "working directory %s", cwd);
    if (at[0] != '/')
        return err_say(err, -EPERM, "the working directory %s lies outside the container", cwd);
    return 0;
}

/* 0; -ENOENT; -EACCES for what is there but cannot be executed. */
static int check(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0) return errno == ENOTDIR ? -ENOENT : -errno;
    if (!S_ISREG(st.st_mode)) return -EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static int search(struct process *p, const char *name) {
    int worst = -ENOENT;
    for (const char *dir = process__env(p, "PATH"); dir;) {
        size_t n = strcspn(dir, ":");
        int len =
            snprintf(p->path, sizeof p->path, "%.*s/%s", n ? (int) n : 1, n ? dir : ".", name);
        if (len > 0 && (size_t) len < sizeof p->path) {
            int r = check(p->path);
            if (r == 0) return 0;
            if (r == -EACCES) worst = r;
        }
        dir = dir[n] ? dir + n + 1 : NULL;
    }
    return worst;
}

int program__find(struct process *p, struct err *err) {
    const char *name = p->argv[0];
    if (!strchr(name, '/')) {
        int r = search(p, name);
        if (r == -ENOENT)
            return err_say(err, r, "\"%.100s\": executable file not found in $PATH", name);
        return r < 0 ? err_set(err, r, "\"%.100s\"", name) : 0;
    }
    if (strlen(name) >= sizeof p->path) return err_set(err, -ENAMETOOLONG, "the program's name");
    memcpy(p->path, name, strlen(name) + 1);
    int r = check(p->path);
    return r < 0 ? err_set(err, r, "\"%.100s\"", name) : 0;
}

int program__exec(const struct process *p, struct err *err) {
    (void) execve(p->path, p->argv, p->env);
    int e = errno;
    if (e == ENOENT ||
        e == ENOTDIR) /* it was there a moment ago: its interpreter or loader is not */
        return err_set(err, -e, "\"%.100s\": its interpreter", p->path);
    if (e == ENOEXEC)
        return err_say(err, -e,
                       "\"%.100s\": exec format error (another machine's program, or a script "
                       "without #!)",
                       p->path);
    return err_set(err, -e, "\"%.100s\"", p->path);
}
