// SPDX-License-Identifier: Apache-2.0
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "limits.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/base/sysctl.h"
#include "runtime/base/words.h"
#include "runtime/net/attach.h"

enum { EXIT_NOT_STARTED = 127, KEEP_MAX = 320 };

/* --- alone --- */

static void keep(int *fds, size_t *n, int fd) {
    if (fd < 3 || *n == KEEP_MAX) return;
    size_t i = (*n)++;
    for (; i > 0 && fds[i - 1] > fd; i--) fds[i] = fds[i - 1];
    fds[i] = fd;
}

static int close_others(const struct child *c) {
    int fds[KEEP_MAX + 1];
    size_t n = 0;
    for (size_t i = 0; i < c->n_fds; i++) keep(fds, &n, c->fds[i]);
    for (int i = 0; i < 3; i++) keep(fds, &n, c->process.stdio[i]);
    keep(fds, &n, c->process.status_fd);
    keep(fds, &n, c->process.go_fd);
    keep(fds, &n, c->devpts);
    keep(fds, &n, c->target_root);
    if (c->where) keep(fds, &n, c->where->target_pidfd);
    unsigned from = 3;
    for (size_t i = 0; i < n; i++) {
        unsigned fd = (unsigned) fds[i];
        int r = fd > from ? sys_close_range(from, fd - 1, 0) : 0;
        if (r < 0) return r;
        from = fd + 1;
    }
    return sys_close_range(from, ~0u, 0);
}

/* Handlers of the keeper must not run here, and none of its dispositions (SIGPIPE ignored) may
 * reach the workload. By number: libc keeps two signals to itself and would leave them as they are.
 * The mask is opened only before exec: a signal for the workload waits until then. */
static void reset_signals(void) {
    enum { LAST = 64, MASK_BYTES = 8 };
    static const unsigned char dfl[64]; /* the kernel's struct sigaction, whatever its layout */
    sigset_t all;
    sigfillset(&all);
    (void) sigprocmask(SIG_BLOCK, &all, NULL);
    for (int s = 1; s <= LAST; s++)
        (void) syscall(SYS_rt_sigaction, s, dfl, NULL, MASK_BYTES); /* EINVAL for KILL and STOP */
}

int child__alone(struct child *c, struct err *err) {
    reset_signals();
    (void) umask(0);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return err_set(err, -errno, "become undumpable");
    int r = close_others(c);
    return r < 0 ? err_set(err, r, "close what belongs to others") : 0;
}

/* --- phases of a start without a file of their own --- */

/* v1: "0" written by oneself; somebody else's pid would wait for an RCU grace period. */
int child__join_tasks(struct child *c, struct err *err) {
    if (!*c->cgroup) return 0;
    int fds[CGROUP_JOIN_MAX];
    int n = cgroup_open_tasks(c->cgroup_parent, c->cgroup, fds);
    if (n < 0) return err_set(err, n, "cgroup %s", c->cgroup);
    int r = 0;
    for (int i = 0; i < n; i++) {
        if (r == 0 && write(fds[i], "0", 1) != 1) r = -errno;
        fd_close(&fds[i]);
    }
    return r < 0 ? err_set(err, r, "join cgroup %s", c->cgroup) : 0;
}

static int join_cgroups(struct child *c, struct err *err) {
    int r = child__join_tasks(c, err);
    if (r < 0) return r;
    /* After joining: the namespace's root is where the process is at this moment. On pure v2 the
     * clone itself put us there, so this is the same. */
    return unshare(CLONE_NEWCGROUP) < 0 ? err_set(err, -errno, "cgroup namespace") : 0;
}

/* Low ports and ping need no capability inside, as under Docker: they are the container's own. */
static int open_low_ports(struct err *err) {
    int r = fd_write_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    if (r == 0) r = fd_write_file(AT_FDCWD, "/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    return r < 0 ? err_set(err, r, "settings of the new network namespace") : 0;
}

static int make_network(struct child *c, struct err *err) {
    if (c->spec->host_network) return 0;
    struct attach_host host;
    int r = attach_host_open(&host, err);
    if (r < 0) return r;
    if (unshare(CLONE_NEWNET) < 0) r = err_set(err, -errno, "network namespace");
    if (r == 0) r = attach_links(&host, c->spec->links, c->spec->n_links, err);
    attach_host_close(&host);
    return r < 0 ? r : open_low_ports(err);
}

/* Only what belongs to the new namespaces: the host's /proc leads there, and a name that is not
 * theirs is the node's. */
static int set_sysctls(struct child *c, struct err *err) {
    static const char prefix[] = "/proc/sys/";
    for (size_t i = 0; i < c->spec->n_sysctls; i++) {
        const Orlop__SandboxSysctl *s = c->spec->sysctls[i];
        char path[256];
        if (!sysctl_is_namespaced(s->name, c->spec->host_network, c->spec->host_ipc))
            return err_say(err, -EPERM, "sysctl %.100s is not the task's own", s->name);
        int n = snprintf(path, sizeof path, "%s%s", prefix, s->name);
        if (n < 0 || (size_t) n >= sizeof path) return err_set(err, -ENAMETOOLONG, "sysctl");
        for (char *p = path + sizeof prefix - 1; *p; p++)
            if (*p == '.') *p = '/';
        int r = fd_write_file(AT_FDCWD, path, s->value);
        if (r < 0) return err_set(err, r, "sysctl %s", s->name);
    }
    return 0;
}

static int set_hostname(struct child *c, struct err *err) {
    const char *name = c->spec->hostname, *domain = c->spec->domainname;
    if (c->spec->host_uts) return 0;
    if (!str_empty(name) && sethostname(name, strlen(name)) < 0)
        return err_set(err, -errno, "host name %s", name);
    if (!str_empty(domain) && setdomainname(domain, strlen(domain)) < 0)
        return err_set(err, -errno, "domain name %s", domain);
    return 0;
}

static int set_limit(uint32_t resource, uint64_t soft, uint64_t hard, struct err *err) {
    struct rlimit rl = {.rlim_cur = soft, .rlim_max = hard};
    if (syscall(SYS_prlimit64, 0, resource, &rl, NULL) < 0)
        return err_set(err, -errno, "set %s to %llu:%llu", words_of_rlimit(resource),
                       (unsigned long long) soft, (unsigned long long) hard);
    return 0;
}

/* The keeper raised its own; what programs expect is this. */
static int default_nofile(struct err *err) {
    enum { NOFILE_SOFT = 1024, NOFILE_HARD = 524288 };
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) < 0) return err_set(err, -errno, "open files limit");
    uint64_t hard = rl.rlim_max < NOFILE_HARD ? rl.rlim_max : NOFILE_HARD;
    return set_limit(RLIMIT_NOFILE, hard < NOFILE_SOFT ? hard : NOFILE_SOFT, hard, err);
}

static int set_limits(struct child *c, struct err *err) {
    bool nofile = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->spec->n_limits; i++) {
        const Orlop__SandboxLimit *l = c->spec->limits[i];
        nofile = nofile || l->resource == RLIMIT_NOFILE;
        r = set_limit(l->resource, l->soft, l->hard, err);
    }
    return r < 0 || nofile ? r : default_nofile(err);
}

/* Always written: the keeper's own score, which a child inherits, is lower than a workload's. */
int child__set_oom_score(struct child *c, struct err *err) {
    char text[16];
    snprintf(text, sizeof text, "%d", c->oom_score_adj);
    int r = fd_write_file(AT_FDCWD, "/proc/self/oom_score_adj", text);
    return r < 0 ? err_set(err, r, "oom_score_adj %s", text) : 0;
}

int child__look_up_user(struct child *c, struct err *err) {
    int r = identity__lookup(&c->process, c->root, err);
    if (r == 0) process__complete_env(&c->process);
    return r;
}

int child__stdio(struct child *c, struct err *err) {
    if (c->process.stdio[0] < 0) c->process.stdio[0] = c->null;
    return stdio__install(&c->process, err);
}

/* Some folders only root may enter, some only the user: what works before or after will do. */
int child__become(struct child *c, struct err *err) {
    struct process *p = &c->process;
    int r = confine__keyring(err);
    if (r < 0) return r;
    struct err ignored;
    bool entered = program__enter_cwd(p, &ignored) == 0;
    if ((r = identity__switch(p, err)) < 0) return r;
    r = program__enter_cwd(p, err);
    return r == -EACCES && entered ? 0 : r;
}

int child__find_program(struct child *c, struct err *err) {
    return program__find(&c->process, err);
}

/* clang-format off */
const struct child_phase child__start_phases[] = {
    {"prepare", child__alone},
    {"log", stdio__open_fifos},
    {"cgroup", join_cgroups},
    {"network", make_network},
    {"sysctls", set_sysctls},
    {"mounts", rootfs__private},
    {"root", rootfs__attach},
    {"proc", rootfs__proc},
    {"sys", rootfs__sys},
    {"cgroup", rootfs__cgroup},
    {"dev", rootfs__dev},
    {"dev", rootfs__console},
    {"devices", devices__apply},
    {"mounts", mounts__apply},
    {"workdir", mounts__workdir},
    {"masks", masks__apply},
    {"oom", child__set_oom_score},
    {"root", rootfs__pivot},
    {"hostname", set_hostname},
    {"user", child__look_up_user},
    {"stdio", child__stdio},
    {"limits", set_limits},
    {"user", child__become},
    {"exec", child__find_program},
};
/* clang-format on */
const size_t child__n_start_phases = array_len(child__start_phases);

/* --- running them --- */

static void report(const struct child *c, int code, const char *phase, const struct err *e) {
    struct container_report rep = {.error = -code};
    snprintf(rep.phase, sizeof rep.phase, "%s", phase);
    if (code < 0) memcpy(rep.text, e->text, sizeof rep.text);
    /* A keeper that is gone reads no report, and its pipe must not kill us with a signal: it is
     * blocked. */
    int r = fd_write_all(c->process.status_fd, &rep, sizeof rep);
    (void) r;
}

_Noreturn static void fail(const struct child *c, int code, const char *phase,
                           const struct err *e) {
    report(c, code, phase, e);
    _exit(EXIT_NOT_STARTED);
}

/* No byte: the keeper died before it had written down that we exist. Then we must not run. */
static void wait_for_go(struct child *c) {
    char byte;
    if (c->process.go_fd < 0) return;
    if (fd_read_full(c->process.go_fd, &byte, 1) != 1) _exit(EXIT_NOT_STARTED);
    fd_close(&c->process.go_fd);
}

/* What is left for after the go byte: the filter, closing, the exec. */
static int finish(struct child *c, struct err *err) {
    struct process *p = &c->process;
    (void) umask(022);
    int r = p->no_new_privs ? confine__filter(p, err) : 0;
    if (r == 0 && c->spec && c->spec->init) r = init__split(p, err);
    if (r == 0 && (r = sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC)) < 0)
        (void) err_set(err, r, "close descriptors");
    if (r < 0) return r;
    sigset_t none;
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    return program__exec(p, err);
}

_Noreturn void child__run(struct child *c, const struct child_phase *phases, size_t n) {
    struct err e = {.code = 0};
    for (size_t i = 0; i < n; i++) {
        int r = phases[i].run(c, &e);
        if (r < 0) fail(c, r, phases[i].name, &e);
    }
    if (c->report_ready) report(c, 0, "ready", &e);
    wait_for_go(c);
    fail(c, finish(c, &e), "exec", &e);
}
