// SPDX-License-Identifier: Apache-2.0
#include "cgroup_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

enum { MOUNTINFO_MAX = 1 << 20, NAME_LEN_MAX = 128 };

/* --- mountinfo: id parent maj:min root mountpoint options [tags...] - fstype source super --- */

static const char *const v1_controllers[] = {
    "cpu",     "cpuacct", "cpuset",   "memory",     "devices", "freezer", "blkio",
    "net_cls", "pids",    "net_prio", "perf_event", "hugetlb", "rdma",    "misc",
};

static bool is_controller(const char *word, size_t n) {
    if (n > 5 && memcmp(word, "name=", 5) == 0) return true;
    for (size_t i = 0; i < array_len(v1_controllers); i++)
        if (strlen(v1_controllers[i]) == n && memcmp(v1_controllers[i], word, n) == 0) return true;
    return false;
}

static void copy_controllers(const char *super, size_t len,
                             char ret[static CGROUP_CONTROLLERS_MAX]) {
    size_t at = 0;
    ret[0] = 0;
    for (size_t i = 0; i < len;) {
        size_t n = 0;
        while (i + n < len && super[i + n] != ',') n++;
        if (is_controller(super + i, n) && at + n + 2 < CGROUP_CONTROLLERS_MAX) {
            if (at) ret[at++] = ',';
            memcpy(ret + at, super + i, n);
            at += n;
            ret[at] = 0;
        }
        i += n + 1;
    }
}

struct words {
    const char *p[6];
    size_t n[6];
};

/* The first COUNT words of LINE (which ends at END); returns behind them, NULL = too few. */
static const char *take_words(const char *line, const char *end, struct words *w, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (line >= end) return NULL;
        const char *stop = memchr(line, ' ', (size_t) (end - line));
        if (!stop) stop = end;
        w->p[i] = line;
        w->n[i] = (size_t) (stop - line);
        line = stop < end ? stop + 1 : end;
    }
    return line;
}

static bool word_is(const struct words *w, size_t i, const char *s) {
    return w->n[i] == strlen(s) && memcmp(w->p[i], s, w->n[i]) == 0;
}

static void add_tree(struct cgroup_forest *f, const struct words *head, const struct words *tail) {
    bool v2 = word_is(tail, 0, "cgroup2");
    if (!v2 && !word_is(tail, 0, "cgroup")) return;
    /* A bind of some part of a tree, or a path with escapes in it, is not one of the usual places.
     */
    const char *path = head->p[4];
    size_t n = head->n[4];
    if (!word_is(head, 3, "/") || n >= CGROUP_PATH_MAX || memchr(path, '\\', n)) return;
    if (v2 ? f->has_v2 : f->n_v1 == CGROUP_JOIN_MAX) return;
    struct cgroup_tree t = {.path = ""};
    if (!v2) copy_controllers(tail->p[2], tail->n[2], t.controllers);
    if (!v2 && !t.controllers[0]) return;
    for (size_t i = 0; !v2 && i < f->n_v1; i++)
        if (str_eq(f->v1[i].controllers, t.controllers)) return; /* mounted twice */
    memcpy(t.path, path, n);
    *(v2 ? &f->v2 : &f->v1[f->n_v1++]) = t;
    f->has_v2 = f->has_v2 || v2;
}

static void parse_line(struct cgroup_forest *f, const char *line, const char *end) {
    struct words head, tail;
    const char *rest = take_words(line, end, &head, 6);
    if (!rest) return;
    while (rest && rest < end && !(rest[0] == '-' && rest + 1 < end && rest[1] == ' ')) {
        struct words tag;
        rest = take_words(rest, end, &tag, 1);
    }
    if (rest && rest + 2 < end && take_words(rest + 2, end, &tail, 3)) add_tree(f, &head, &tail);
}

static enum cgroup_mode mode_of(const struct cgroup_forest *f) {
    bool controllers = false;
    for (size_t i = 0; i < f->n_v1; i++)
        controllers = controllers || !str_starts(f->v1[i].controllers, "name=");
    if (controllers) return f->has_v2 ? CGROUP_MODE_HYBRID : CGROUP_MODE_V1;
    return f->has_v2 ? CGROUP_MODE_V2 : CGROUP_MODE_NONE;
}

void cgroup__parse_mountinfo(const char *text, struct cgroup_forest *ret) {
    struct cgroup_forest f = {.mode = CGROUP_MODE_NONE};
    while (*text) {
        const char *end = text + strcspn(text, "\n");
        parse_line(&f, text, end);
        text = *end ? end + 1 : end;
    }
    f.mode = mode_of(&f);
    if (f.mode == CGROUP_MODE_V2) f.n_v1 = 0; /* a lone name=systemd tree holds nothing of ours */
    *ret = f;
}

static struct cgroup_forest forest;

static void look_once(void) {
    auto_free char *text = NULL;
    if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL) == 0)
        cgroup__parse_mountinfo(text, &forest);
}

const struct cgroup_forest *cgroup__forest(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void) pthread_once(&once, look_once);
    return &forest;
}

bool cgroup__tree_has(const struct cgroup_tree *t, const char *controller) {
    size_t len = strlen(controller);
    for (const char *p = t->controllers; *p;) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, controller, n) == 0) return true;
        p += n + (p[n] == ',');
    }
    return false;
}

const struct cgroup_tree *cgroup__v1_with(const struct cgroup_forest *f, const char *controller) {
    for (size_t i = 0; i < f->n_v1; i++)
        if (cgroup__tree_has(&f->v1[i], controller)) return &f->v1[i];
    return NULL;
}

/* --- opening --- */

bool cgroup__name_ok(const char *name) {
    if (str_empty(name) || name[0] == '.' || strlen(name) > NAME_LEN_MAX) return false;
    return name[strspn(name,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == 0;
}

int cgroup__open(const struct cgroup_forest *f, const struct cgroup_tree *t, const char *parent,
                 const char *name) {
    if ((parent && !cgroup__name_ok(parent)) || (name && !cgroup__name_ok(name))) return -EINVAL;
    auto_fd int fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct statfs fs;
    if (fd < 0 || fstatfs(fd, &fs) < 0) return -errno;
    unsigned long magic = t == &f->v2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC;
    if ((unsigned long) fs.f_type != magic) return -ENODEV;
    for (int depth = 0; depth < 2; depth++) {
        const char *step = depth ? name : parent;
        if (!step) break;
        int next = openat(fd, step, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (next < 0) return -errno;
        fd_close(&fd);
        fd = next;
    }
    return steal_fd(&fd);
}
