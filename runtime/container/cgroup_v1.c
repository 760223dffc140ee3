// SPDX-License-Identifier: Apache-2.0
/* One hierarchy per controller (or a few): a directory of the same name in each. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup_ops.h"
#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

enum { PERIOD_US = 100000, QUOTA_MIN_US = 1000, KILL_PATIENCE_MS = 10000 };

/* --- make --- */

static int check_controllers(const struct cgroup_forest *f, const struct cgroup_limits *l,
                             struct err *err) {
    const struct {
        const char *controller, *what;
        bool wanted;
    } needs[] = {
        {"memory", "the memory limit", l->memory_bytes || l->memory_reservation_bytes},
        {"cpu", "the CPU limit", l->cpu_millis || l->cpu_weight_millis},
        {"pids", "the process limit", l->pids > 0},
    };
    for (size_t i = 0; i < array_len(needs); i++)
        if (needs[i].wanted && !cgroup__v1_with(f, needs[i].controller))
            return err_say(err, -ENOTSUP, "%s cannot be kept: the %s controller is not mounted",
                           needs[i].what, needs[i].controller);
    return 0;
}

/* A new cpuset has no CPUs and no memory nodes, and nothing can join it: take the parent's. */
static int inherit_cpuset(int parent, int dir, struct err *err) {
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; i < array_len(files); i++) {
        auto_free char *own = NULL, *theirs = NULL;
        int r = fd_read_file(dir, files[i], 65536, &own, NULL);
        if (r == 0 && own[strspn(own, " \n")]) continue;
        if (r == 0) r = fd_read_file(parent, files[i], 65536, &theirs, NULL);
        if (r == 0) r = fd_write_file(dir, files[i], theirs);
        if (r < 0) return err_set(err, r, "inherit %s", files[i]);
    }
    return 0;
}

static int limit_memory(int dir, const struct cgroup_limits *l, struct err *err) {
    unsigned long long max = l->memory_bytes;
    int r = max ? cgroup__write(dir, "memory.limit_in_bytes", err, "%llu", max) : 0;
    /* As much swap again, the usual default; kernels without swap accounting lack the file. */
    if (r == 0 && max && faccessat(dir, "memory.memsw.limit_in_bytes", F_OK, 0) == 0)
        r = cgroup__write(dir, "memory.memsw.limit_in_bytes", err, "%llu", 2 * max);
    if (r == 0 && l->memory_reservation_bytes)
        r = cgroup__write(dir, "memory.soft_limit_in_bytes", err, "%llu",
                          (unsigned long long) l->memory_reservation_bytes);
    return r;
}

static int limit_cpu(int dir, const struct cgroup_limits *l, struct err *err) {
    unsigned long long quota = l->cpu_millis * PERIOD_US / 1000;
    if (l->cpu_millis && quota < QUOTA_MIN_US) quota = QUOTA_MIN_US;
    int r = quota ? cgroup__write(dir, "cpu.cfs_period_us", err, "%d", PERIOD_US) : 0;
    if (r == 0 && quota) r = cgroup__write(dir, "cpu.cfs_quota_us", err, "%llu", quota);
    if (r == 0 && l->cpu_weight_millis)
        r = cgroup__write(dir, "cpu.shares", err, "%llu",
                          (unsigned long long) cgroup__shares(l->cpu_weight_millis));
    return r;
}

static int set_up(const struct cgroup_tree *t, int dir, const struct cgroup_limits *l,
                  struct err *err) {
    int r = 0;
    if (cgroup__tree_has(t, "memory")) r = limit_memory(dir, l, err);
    if (r == 0 && cgroup__tree_has(t, "cpu")) r = limit_cpu(dir, l, err);
    if (r == 0 && cgroup__tree_has(t, "pids") && l->pids)
        r = cgroup__write(dir, "pids.max", err, "%llu", (unsigned long long) l->pids);
    if (r == 0 && cgroup__tree_has(t, "devices"))
        r = cgroup__v1_devices(dir, l->devices, l->n_devices, err);
    return r;
}

static int make_in(const struct cgroup_id *id, const struct cgroup_tree *t,
                   const struct cgroup_limits *l, struct err *err) {
    auto_fd int top = cgroup__open(id->forest, t, NULL, NULL);
    if (top < 0) return err_set(err, top, "open %s", t->path);
    if (mkdirat(top, id->parent, 0755) < 0 && errno != EEXIST)
        return err_set(err, -errno, "make %s/%s", t->path, id->parent);
    auto_fd int parent = cgroup__open(id->forest, t, id->parent, NULL);
    if (parent < 0) return err_set(err, parent, "open %s/%s", t->path, id->parent);
    bool cpuset = cgroup__tree_has(t, "cpuset");
    int r = cpuset ? inherit_cpuset(top, parent, err) : 0;
    if (r < 0) return r;
    auto_fd int dir = cgroup__make_dir(parent, id->name, err);
    if (dir < 0) return dir;
    r = cpuset ? inherit_cpuset(parent, dir, err) : 0;
    return r < 0 ? r : set_up(t, dir, l, err);
}

static int v1_make(const struct cgroup_id *id, const struct cgroup_limits *limits,
                   struct err *err) {
    int r = check_controllers(id->forest, limits, err);
    for (size_t i = 0; r == 0 && i < id->forest->n_v1; i++) {
        const struct cgroup_tree *t = &id->forest->v1[i];
        r = make_in(id, t, limits, err);
        if (r < 0) (void) err_wrap(err, r, "%s", t->controllers);
    }
    return r;
}

/* --- usage --- */

static int open_with(const struct cgroup_id *id, const char *controller) {
    const struct cgroup_tree *t = cgroup__v1_with(id->forest, controller);
    return t ? cgroup__open(id->forest, t, id->parent, id->name) : -ENODEV;
}

static int memory_usage(int dir, struct cgroup_usage *u) {
    uint64_t cache;
    int r = cgroup__read_u64(dir, "memory.usage_in_bytes", &u->memory_bytes);
    if (r < 0) return r;
    /* Cache that nobody uses goes at the first need: it is not what the workload takes. */
    if (cgroup__read_key(dir, "memory.stat", "total_inactive_file", &cache) == 0)
        u->memory_bytes -= cache < u->memory_bytes ? cache : u->memory_bytes;
    r = cgroup__read_key(dir, "memory.oom_control", "oom_kill", &u->oom_kills);
    return r == -ENOENT ? 0 : r;
}

static int v1_usage(const struct cgroup_id *id, struct cgroup_usage *ret) {
    auto_fd int memory = open_with(id, "memory");
    auto_fd int cpu = open_with(id, "cpuacct");
    auto_fd int pids = open_with(id, "pids");
    if (memory < 0 && cpu < 0 && pids < 0) return memory;
    uint64_t cpu_ns = 0;
    int r = memory >= 0 ? memory_usage(memory, ret) : 0;
    if (r == 0 && cpu >= 0) r = cgroup__read_u64(cpu, "cpuacct.usage", &cpu_ns);
    if (r == 0 && pids >= 0) r = cgroup__read_u64(pids, "pids.current", &ret->pids);
    ret->cpu_usec = cpu_ns / 1000;
    return r;
}

/* --- kill --- */

/* A pid that was read from a list may be another process's by the time that it is used: a process
 * is killed by a descriptor that was opened before its pid was found in the group once more. */
enum { KILL_BATCH = 256 };
struct kill_batch {
    size_t n;
    struct {
        pid_t pid;
        int fd;
        bool confirmed;
    } v[KILL_BATCH];
};

static void take(pid_t pid, void *arg) {
    struct kill_batch *b = arg;
    int fd = b->n < KILL_BATCH ? sys_pidfd_open(pid, 0) : -ESRCH;
    if (fd < 0) return; /* it has just ended, or its turn comes with the next batch */
    b->v[b->n].pid = pid;
    b->v[b->n].confirmed = false;
    b->v[b->n++].fd = fd;
}

static void confirm(pid_t pid, void *arg) {
    struct kill_batch *b = arg;
    for (size_t i = 0; i < b->n; i++) b->v[i].confirmed |= b->v[i].pid == pid;
}

static void kill_confirmed(struct kill_batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        if (b->v[i].confirmed) (void) sys_pidfd_send_signal(b->v[i].fd, SIGKILL);
        fd_close(&b->v[i].fd);
    }
}

static int kill_in(int dir, int64_t deadline) {
    for (;;) {
        struct kill_batch b = {.n = 0};
        size_t n, again;
        int r = cgroup__each_process(dir, take, &b, &n);
        if (r == 0) r = cgroup__each_process(dir, confirm, &b, &again);
        kill_confirmed(&b);
        if (r < 0 || n == 0) return r;
        if (!cgroup__pause(deadline)) return -ETIMEDOUT;
    }
}

void cgroup__v1_thaw(const struct cgroup_id *id) {
    auto_fd int freezer = open_with(id, "freezer");
    if (freezer >= 0) cgroup__try_write(freezer, "freezer.state", "THAWED");
}

/* No new ones are forked while the loop runs. */
static int v1_kill(const struct cgroup_id *id, struct err *err) {
    int64_t deadline = clock_mono_ms() + KILL_PATIENCE_MS;
    cgroup__v1_thaw(id);
    auto_fd int pids = open_with(id, "pids");
    if (pids >= 0) cgroup__try_write(pids, "pids.max", "0");
    for (size_t i = 0; i < id->forest->n_v1; i++) {
        auto_fd int dir = cgroup__open(id->forest, &id->forest->v1[i], id->parent, id->name);
        if (dir == -ENOENT) continue;
        int r = dir < 0 ? dir : kill_in(dir, deadline);
        if (r < 0) return err_set(err, r, "%s", id->forest->v1[i].controllers);
    }
    return 0;
}

/* --- remove --- */

/* Page cache charged to a removed group keeps it in the kernel, unseen, until the files are
 * deleted. */
static void empty_memory(int dir) {
    cgroup__try_write(dir, "memory.force_empty",
                      "0"); /* what cannot go now is not worth a failure */
}

static int v1_remove(const struct cgroup_id *id, struct err *err) {
    int first = 0;
    for (size_t i = 0; i < id->forest->n_v1; i++) {
        const struct cgroup_tree *t = &id->forest->v1[i];
        auto_fd int parent = cgroup__open(id->forest, t, id->parent, NULL);
        if (parent == -ENOENT) continue;
        void (*empty)(int) = cgroup__tree_has(t, "memory") ? empty_memory : NULL;
        struct err e = {.code = 0};
        int r = parent < 0 ? err_set(&e, parent, "open its parent")
                           : cgroup__remove_tree(parent, id->name, empty, &e);
        if (r < 0 && first == 0) first = err_say(err, r, "%s: %s", t->controllers, e.text);
    }
    return first;
}

const struct cgroup_ops cgroup__v1_ops = {
    .make = v1_make, .usage = v1_usage, .kill = v1_kill, .remove = v1_remove};
