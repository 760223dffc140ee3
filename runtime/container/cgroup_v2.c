// SPDX-License-Identifier: Apache-2.0
/* The unified hierarchy. Our parent has the controllers enabled for its children at once, so that
 * nobody (systemd at a reload) takes them away from the root again, and never holds a process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_ops.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { PERIOD_US = 100000, QUOTA_MIN_US = 1000, KILL_PATIENCE_MS = 10000, RECLAIM_MIN = 256 << 10 };

/* --- make --- */

static bool has_word(const char *text, const char *word) {
    size_t len = strlen(word);
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, " \n");
        if (n == len && memcmp(p, word, n) == 0) return true;
        p += n + strspn(p + n, " \n");
    }
    return false;
}

static int enable(int dir, const char *available, struct err *err) {
    static const char *const controllers[] = {"cpu", "memory", "pids"};
    auto_free char *on = NULL;
    int r = fd_read_file(dir, "cgroup.subtree_control", 4096, &on, NULL);
    if (r < 0) return err_set(err, r, "read cgroup.subtree_control");
    for (size_t i = 0; i < array_len(controllers); i++) {
        if (!has_word(available, controllers[i]) || has_word(on, controllers[i])) continue;
        r = cgroup__write(dir, "cgroup.subtree_control", err, "+%s", controllers[i]);
        if (r == -EBUSY)
            return err_say(err, r,
                           "the %s controller cannot be enabled: processes sit in the root of "
                           "this cgroup tree",
                           controllers[i]);
        if (r < 0) return r;
    }
    return 0;
}

static int open_parent(const struct cgroup_id *id, bool controllers, struct err *err) {
    const struct cgroup_tree *t = &id->forest->v2;
    auto_fd int top = cgroup__open(id->forest, t, NULL, NULL);
    if (top < 0) return err_set(err, top, "open %s", t->path);
    auto_free char *available = NULL;
    int r = controllers ? fd_read_file(top, "cgroup.controllers", 4096, &available, NULL) : 0;
    if (r < 0) return err_set(err, r, "read cgroup.controllers");
    if (controllers && (r = enable(top, available, err)) < 0) return r;
    if (mkdirat(top, id->parent, 0755) < 0 && errno != EEXIST)
        return err_set(err, -errno, "make %s/%s", t->path, id->parent);
    auto_fd int parent = cgroup__open(id->forest, t, id->parent, NULL);
    if (parent < 0) return err_set(err, parent, "open %s/%s", t->path, id->parent);
    if (controllers && (r = enable(parent, available, err)) < 0) return r;
    return steal_fd(&parent);
}

static int check_controllers(int parent, const struct cgroup_limits *l, struct err *err) {
    const struct {
        const char *controller, *what;
        bool wanted;
    } needs[] = {
        {"memory", "the memory limit", l->memory_bytes || l->memory_reservation_bytes},
        {"cpu", "the CPU limit", l->cpu_millis || l->cpu_weight_millis},
        {"pids", "the process limit", l->pids > 0},
    };
    auto_free char *on = NULL;
    int r = fd_read_file(parent, "cgroup.subtree_control", 4096, &on, NULL);
    if (r < 0) return err_set(err, r, "read cgroup.subtree_control");
    for (size_t i = 0; i < array_len(needs); i++)
        if (needs[i].wanted && !has_word(on, needs[i].controller))
            return err_say(err, -ENOTSUP,
                           "%s cannot be kept: this cgroup tree has no %s controller",
                           needs[i].what, needs[i].controller);
    return 0;
}

static int limit_memory(int dir, const struct cgroup_limits *l, struct err *err) {
    unsigned long long max = l->memory_bytes;
    int r = max ? cgroup__write(dir, "memory.max", err, "%llu", max) : 0;
    /* As much swap again, the usual default; kernels without swap lack the file. */
    if (r == 0 && max && faccessat(dir, "memory.swap.max", F_OK, 0) == 0)
        r = cgroup__write(dir, "memory.swap.max", err, "%llu", max);
    if (r == 0 && l->memory_reservation_bytes)
        r = cgroup__write(dir, "memory.low", err, "%llu",
                          (unsigned long long) l->memory_reservation_bytes);
    return r;
}

static int set_limits(int dir, const struct cgroup_limits *l, struct err *err) {
    int r = limit_memory(dir, l, err);
    unsigned long long quota = l->cpu_millis * PERIOD_US / 1000;
    if (l->cpu_millis && quota < QUOTA_MIN_US) quota = QUOTA_MIN_US;
    if (r == 0 && quota) r = cgroup__write(dir, "cpu.max", err, "%llu %d", quota, PERIOD_US);
    if (r == 0 && l->cpu_weight_millis) {
        unsigned long long shares = cgroup__shares(l->cpu_weight_millis);
        r = cgroup__write(dir, "cpu.weight", err, "%llu", 1 + (shares - 2) * 9999 / 262142);
    }
    if (r == 0 && l->pids)
        r = cgroup__write(dir, "pids.max", err, "%llu", (unsigned long long) l->pids);
    return r;
}

static int v2_make(const struct cgroup_id *id, const struct cgroup_limits *limits,
                   struct err *err) {
    auto_fd int parent = open_parent(id, limits != NULL, err);
    if (parent < 0) return parent;
    int r = limits ? check_controllers(parent, limits, err) : 0;
    if (r < 0) return r;
    auto_fd int dir = cgroup__make_dir(parent, id->name, err);
    if (dir < 0) return dir;
    if (limits) r = set_limits(dir, limits, err);
    if (r == 0 && !cgroup__v1_with(id->forest, "devices"))
        r = cgroup__bpf_devices(dir, limits ? limits->devices : NULL,
                                limits ? limits->n_devices : 0, err);
    return r;
}

/* --- usage --- */

static int missing_is_none(int r) {
    return r == -ENOENT ? 0 : r; /* the controller is not enabled here */
}

static int v2_usage(const struct cgroup_id *id, struct cgroup_usage *ret) {
    auto_fd int dir = cgroup__open(id->forest, &id->forest->v2, id->parent, id->name);
    if (dir < 0) return dir;
    uint64_t cache;
    int r = missing_is_none(cgroup__read_u64(dir, "memory.current", &ret->memory_bytes));
    if (r == 0 && cgroup__read_key(dir, "memory.stat", "inactive_file", &cache) == 0)
        ret->memory_bytes -= cache < ret->memory_bytes ? cache : ret->memory_bytes;
    if (r == 0)
        r = missing_is_none(cgroup__read_key(dir, "memory.events", "oom_kill", &ret->oom_kills));
    if (r == 0)
        r = missing_is_none(cgroup__read_key(dir, "cpu.stat", "usage_usec", &ret->cpu_usec));
    if (r == 0) r = missing_is_none(cgroup__read_u64(dir, "pids.current", &ret->pids));
    return r;
}

/* --- kill, remove --- */

static int wait_empty(int dir, struct err *err) {
    int64_t deadline = clock_mono_ms() + KILL_PATIENCE_MS;
    for (;;) {
        auto_fd int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
        uint64_t populated;
        int r = fd < 0 ? -errno : cgroup__read_key(dir, "cgroup.events", "populated", &populated);
        if (r < 0) return err_set(err, r, "read cgroup.events");
        if (populated == 0) return 0;
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0) return err_say(err, -ETIMEDOUT, "processes are left after SIGKILL");
        struct pollfd p = {.fd = fd, .events = POLLPRI};
        /* A change between open and read would not wake us: look again soon in any case. */
        (void) poll(&p, 1, left < 20 ? (int) left : 20);
    }
}

static int v2_kill(const struct cgroup_id *id, struct err *err) {
    auto_fd int dir = cgroup__open(id->forest, &id->forest->v2, id->parent, id->name);
    if (dir == -ENOENT) return 0;
    if (dir < 0) return err_set(err, dir, "open it");
    int r = cgroup__write(dir, "cgroup.kill", err, "1");
    return r < 0 ? r : wait_empty(dir, err);
}

/* Page cache charged to a removed group keeps it in the kernel, unseen. The write answers EAGAIN
 * also when it did what it could. */
static void reclaim(int dir) {
    uint64_t bytes;
    if (cgroup__read_u64(dir, "memory.current", &bytes) < 0 || bytes < RECLAIM_MIN) return;
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long) bytes);
    cgroup__try_write(dir, "memory.reclaim", text);
}

static int v2_remove(const struct cgroup_id *id, struct err *err) {
    auto_fd int parent = cgroup__open(id->forest, &id->forest->v2, id->parent, NULL);
    if (parent == -ENOENT) return 0;
    if (parent < 0) return err_set(err, parent, "open its parent");
    return cgroup__remove_tree(parent, id->name, reclaim, err);
}

const struct cgroup_ops cgroup__v2_ops = {
    .make = v2_make, .usage = v2_usage, .kill = v2_kill, .remove = v2_remove};
