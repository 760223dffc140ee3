// SPDX-License-Identifier: Apache-2.0
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_ops.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

enum { FILE_TEXT_MAX = 1 << 20, DEPTH_MAX = 32, REMOVE_PATIENCE_MS = 2000 };

/* --- what the machine has --- */

enum cgroup_mode cgroup_mode(void) {
    return cgroup__forest()->mode;
}

const char *cgroup_mode_name(enum cgroup_mode mode) {
    switch (mode) {
    case CGROUP_MODE_NONE:
        return "none";
    case CGROUP_MODE_V1:
        return "v1";
    case CGROUP_MODE_HYBRID:
        return "hybrid";
    case CGROUP_MODE_V2:
        return "v2";
    }
    return "?";
}

static bool has_v1(const struct cgroup_forest *f) {
    return f->mode == CGROUP_MODE_V1 || f->mode == CGROUP_MODE_HYBRID;
}

static int check(const struct cgroup_id *id, struct err *err) {
    if (id->forest->mode == CGROUP_MODE_NONE)
        return err_say(err, -ENODEV, "no cgroup file system is mounted on this machine");
    if (!cgroup__name_ok(id->parent) || !cgroup__name_ok(id->name))
        return err_say(err, -EINVAL, "\"%.64s\" in \"%.64s\" is no name for a cgroup", id->name,
                       id->parent);
    return 0;
}

/* --- the interface --- */

static int remove_all(const struct cgroup_id *id, struct err *err) {
    int r = has_v1(id->forest) ? cgroup__v1_ops.remove(id, err) : 0;
    int r2 = id->forest->has_v2 ? cgroup__v2_ops.remove(id, r < 0 ? NULL : err) : 0;
    return r < 0 ? r : r2;
}

int cgroup_make(const char *parent, const char *name, const struct cgroup_limits *limits,
                struct err *err) {
    const struct cgroup_id id = {cgroup__forest(), parent, name};
    int r = check(&id, err);
    if (r < 0) return r;
    if (has_v1(id.forest)) r = cgroup__v1_ops.make(&id, limits, err);
    if (r == 0 && id.forest->has_v2)
        r = cgroup__v2_ops.make(&id, has_v1(id.forest) ? NULL : limits, err);
    if (r < 0 && r != -EBUSY)
        (void) remove_all(&id, NULL); /* the first failure is the one to tell */
    return r < 0 ? err_wrap(err, r, "cgroup %s", name) : 0;
}

int cgroup_read_usage(const char *parent, const char *name, struct cgroup_usage *ret) {
    const struct cgroup_id id = {cgroup__forest(), parent, name};
    int r = check(&id, NULL);
    if (r < 0) return r;
    struct cgroup_usage u = {.memory_bytes = 0};
    r = has_v1(id.forest) ? cgroup__v1_ops.usage(&id, &u) : cgroup__v2_ops.usage(&id, &u);
    if (r == 0) *ret = u;
    return r;
}

void cgroup_thaw(const char *parent, const char *name) {
    const struct cgroup_id id = {cgroup__forest(), parent, name};
    if (check(&id, NULL) == 0 && has_v1(id.forest)) cgroup__v1_thaw(&id);
}

int cgroup_kill(const char *parent, const char *name, struct err *err) {
    const struct cgroup_id id = {cgroup__forest(), parent, name};
    int r = check(&id, err);
    if (r < 0) return r;
    if (has_v1(id.forest)) cgroup__v1_thaw(&id); /* or v2 would wait for them in vain */
    r = id.forest->has_v2 ? cgroup__v2_ops.kill(&id, err) : -EOPNOTSUPP;
    /* v1 after v2 as well: a process may have left one of the hierarchies. */
    if (has_v1(id.forest)) r = cgroup__v1_ops.kill(&id, err);
    return r < 0 ? err_wrap(err, r, "kill all in cgroup %s", name) : 0;
}

int cgroup_remove(const char *parent, const char *name, struct err *err) {
    const struct cgroup_id id = {cgroup__forest(), parent, name};
    int r = check(&id, err);
    if (r == -ENODEV) return 0;
    if (r == 0) r = remove_all(&id, err);
    return r < 0 ? err_wrap(err, r, "remove cgroup %s", name) : 0;
}

static const struct cgroup_tree *tree_at(const struct cgroup_forest *f, size_t i) {
    if (has_v1(f) && i < f->n_v1) return &f->v1[i];
    if (f->has_v2 && i == (has_v1(f) ? f->n_v1 : 0)) return &f->v2;
    return NULL;
}

int cgroup_remove_parent(const char *parent, struct err *err) {
    const struct cgroup_forest *f = cgroup__forest();
    if (!cgroup__name_ok(parent)) return err_say(err, -EINVAL, "\"%.64s\" is no cgroup", parent);
    const struct cgroup_tree *t;
    for (size_t i = 0; (t = tree_at(f, i)); i++) {
        auto_fd int dir = cgroup__open(f, t, NULL, NULL);
        if (dir < 0) return err_set(err, dir, "open %s", t->path);
        if (unlinkat(dir, parent, AT_REMOVEDIR) < 0 && errno != ENOENT)
            return err_set(err, -errno, "remove %s/%s", t->path, parent);
    }
    return 0;
}

static int list_tree(int dir, struct strv *ret) {
    DIR *d = fdopendir(dir);
    if (!d) {
        (void) close(dir);
        return -ENOMEM;
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));)
        if (e->d_type == DT_DIR && cgroup__name_ok(e->d_name) && !strv_has(ret, e->d_name))
            r = strv_add(ret, e->d_name);
    (void) closedir(d);
    return r;
}

int cgroup_list(const char *parent, struct strv *ret) {
    const struct cgroup_forest *f = cgroup__forest();
    const struct cgroup_tree *t;
    for (size_t i = 0; (t = tree_at(f, i)); i++) {
        int dir = cgroup__open(f, t, parent, NULL);
        if (dir == -ENOENT) continue;
        int r = dir < 0 ? dir : list_tree(dir, ret);
        if (r < 0) return r;
    }
    return 0;
}

int cgroup_open_v2(const char *parent, const char *name) {
    const struct cgroup_forest *f = cgroup__forest();
    if (!f->has_v2) return -ENOENT;
    return cgroup__open(f, &f->v2, parent, name);
}

/* "0::/PARENT/NAME/some/where" in /proc/PID/cgroup -> "some/where", "" = NAME itself; NULL =
 * elsewhere. */
static const char *path_below(char *text, const char *parent, const char *name) {
    char want[160];
    char *at = str_starts(text, "0::") ? text : strstr(text, "\n0::");
    if (!at) return NULL;
    at += *at == '\n' ? 4 : 3;
    at[strcspn(at, "\n")] = 0;
    int n = snprintf(want, sizeof want, "/%s/%s", parent, name);
    if (n < 0 || (size_t) n >= sizeof want || !str_starts(at, want)) return NULL;
    at += n;
    if (*at == '/') return at + 1;
    return *at ? NULL : at;
}

int cgroup_open_v2_of(pid_t pid, const char *parent, const char *name) {
    auto_fd int own = cgroup_open_v2(parent, name);
    if (own < 0) return own;
    char path[48];
    auto_free char *text = NULL;
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    int r = fd_read_file(AT_FDCWD, path, 65536, &text, NULL);
    const char *sub = r < 0 ? NULL : path_below(text, parent, name);
    if (!sub || !*sub) return steal_fd(&own);
    int fd =
        sys_openat2(own, sub, O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    return fd >= 0 ? fd : steal_fd(&own); /* it moved on, or ended */
}

int cgroup_open_tasks(const char *parent, const char *name, int fds[static CGROUP_JOIN_MAX]) {
    const struct cgroup_forest *f = cgroup__forest();
    int n = 0;
    for (size_t i = 0; has_v1(f) && i < f->n_v1; i++) {
        auto_fd int dir = cgroup__open(f, &f->v1[i], parent, name);
        fds[n] = dir < 0 ? dir : openat(dir, "tasks", O_WRONLY | O_CLOEXEC);
        if (fds[n] >= 0) {
            n++;
            continue;
        }
        int r = dir < 0 ? dir : -errno;
        while (n > 0) fd_close(&fds[--n]);
        return r;
    }
    return n;
}

/* --- shared by both kinds --- */

int cgroup__write(int dir, const char *file, struct err *err, const char *fmt, ...) {
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t) n >= sizeof text) return err_say(err, -EINVAL, "%s: text too long", file);
    int r = fd_write_file(dir, file, text);
    return r < 0 ? err_set(err, r, "write \"%s\" to %s", text, file) : 0;
}

void cgroup__try_write(int dir, const char *file, const char *text) {
    int r = fd_write_file(dir, file, text);
    (void) r;
}

int cgroup__read_u64(int dir, const char *file, uint64_t *ret) {
    auto_free char *text = NULL;
    int r = fd_read_file(dir, file, 64, &text, NULL);
    if (r < 0) return r;
    text[strcspn(text, "\n")] = 0;
    return str_to_u64(text, UINT64_MAX, ret);
}

int cgroup__read_key(int dir, const char *file, const char *key, uint64_t *ret) {
    auto_free char *text = NULL;
    int r = fd_read_file(dir, file, FILE_TEXT_MAX, &text, NULL);
    if (r < 0) return r;
    size_t len = strlen(key);
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        bool last = *end == 0;
        *end = 0;
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return str_to_u64(line + len + 1, UINT64_MAX, ret);
        line = last ? end : end + 1;
    }
    return -ENOENT;
}

/* An old empty one is replaced, not used: its counters and rules are those of another start. */
static int clear_old(int dir, const char *name, struct err *err) {
    auto_fd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return err_set(err, -errno, "open %s", name);
    size_t n = 0;
    int r = cgroup__each_process(fd, NULL, NULL, &n);
    if (r < 0) return err_set(err, r, "look into %s", name);
    if (n) return err_say(err, -EBUSY, "%s exists and has processes in it", name);
    return cgroup__remove_tree(dir, name, NULL, err);
}

int cgroup__make_dir(int dir, const char *name, struct err *err) {
    int r = mkdirat(dir, name, 0755) < 0 ? -errno : 0;
    if (r == -EEXIST) {
        if ((r = clear_old(dir, name, err)) < 0) return r;
        r = mkdirat(dir, name, 0755) < 0 ? -errno : 0;
    }
    if (r < 0) return err_set(err, r, "make %s", name);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? err_set(err, -errno, "open %s", name) : fd;
}

bool cgroup__pause(int64_t deadline_mono_ms) {
    if (clock_mono_ms() >= deadline_mono_ms) return false;
    (void) poll(NULL, 0, 5);
    return true;
}

/* --- walking a subtree: what the container made below its own is removed with it --- */

static int each_child(int dir, int (*visit)(int dir, const char *name, int depth, void *arg),
                      int depth, void *arg) {
    if (depth > DEPTH_MAX) return -ELOOP;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        fd_close(&copy);
        return errno == ENOENT ? 0 : -errno;
    }
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));)
        if (e->d_type == DT_DIR && !str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
            r = visit(dir, e->d_name, depth + 1, arg);
    (void) closedir(d);
    return r;
}

static int rmdir_patiently(int dir, const char *name) {
    int64_t deadline = clock_mono_ms() + REMOVE_PATIENCE_MS;
    for (;;) {
        if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
        /* The last process has just ended: the kernel may need a moment. */
        if (errno != EBUSY || !cgroup__pause(deadline)) return -errno;
    }
}

static int remove_visit(int dir, const char *name, int depth, void *arg) {
    void (*const *empty)(int) = arg;
    auto_fd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return errno == ENOENT ? 0 : -errno;
    int r = each_child(fd, remove_visit, depth, arg);
    if (r < 0) return r;
    if (*empty) (*empty)(fd);
    fd_close(&fd);
    return rmdir_patiently(dir, name);
}

int cgroup__remove_tree(int dir, const char *name, void (*empty)(int dir), struct err *err) {
    int r = remove_visit(dir, name, 0, &empty);
    return r < 0 ? err_set(err, r, "remove it") : 0;
}

struct processes {
    void (*each)(pid_t pid, void *arg);
    void *arg;
    size_t n;
};

static int processes_here(int dir, struct processes *p) {
    auto_free char *text = NULL;
    int r = fd_read_file(dir, "cgroup.procs", FILE_TEXT_MAX, &text, NULL);
    if (r < 0) return r == -ENOENT || r == -ENODEV ? 0 : r;
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n");
        bool last = *end == 0;
        uint32_t pid;
        *end = 0;
        /* 0: a process that our pid namespace does not show; it counts all the same. */
        if (str_to_u32(line, INT32_MAX, &pid) == 0) {
            p->n++;
            if (pid > 0 && p->each) p->each((pid_t) pid, p->arg);
        }
        line = last ? end : end + 1;
    }
    return 0;
}

static int processes_visit(int dir, const char *name, int depth, void *arg) {
    auto_fd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return errno == ENOENT ? 0 : -errno;
    int r = processes_here(fd, arg);
    return r < 0 ? r : each_child(fd, processes_visit, depth, arg);
}

int cgroup__each_process(int dir, void (*each)(pid_t pid, void *arg), void *arg, size_t *ret_n) {
    struct processes p = {.each = each, .arg = arg};
    int r = processes_visit(dir, ".", 0, &p);
    if (r == 0) *ret_n = p.n;
    return r;
}

uint64_t cgroup__shares(uint64_t weight_millis) {
    if (weight_millis > 256000) return 262144;
    uint64_t shares = weight_millis * 1024 / 1000;
    return shares < 2 ? 2 : shares;
}
