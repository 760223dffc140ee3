// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

#include "records.h"
#include "runtime/base/str.h"

enum {
    WORDS_MAX = 4096, /* = KEEPER_WORDS_MAX of client.h */
    PATH_LEN_MAX = 4095,
    USER_LEN_MAX = 256,
    GROUPS_MAX = 64,
    MOUNTS_MAX = 256,
    LINKS_MAX = 64,
    LIMITS_MAX = 32,
    DEVICES_MAX = 128,
    MAJOR_MAX = 4095,
    MINOR_MAX = 1048575,
    MASKED_MAX = 128,
    HOSTNAME_LEN_MAX = 64,
    IFNAME_LEN_MAX = 15,
    MTU_MIN = 68,
    LOG_FILES_MAX = 1000,
    PROXY_PORTS_MAX = 4096,
    PROXY_TARGETS_MAX = 16384,
    WINDOW_MAX = 65535,
};
#define LOG_BYTES_MAX (UINT64_C(1) << 44)
#define ID_MAP_LAST (UINT64_C(0xffffffff) - 65536)

struct check {
    size_t n_fds;
    struct err *err;
};

static int bad(const struct check *c, const char *what) {
    return err_say(c->err, -EINVAL, "request: %s is missing or out of range", what);
}

static bool fd_ok(const struct check *c, int32_t index) {
    return index >= 0 && (size_t) index < c->n_fds;
}
static bool fd_or_none_ok(const struct check *c, int32_t index) {
    return index == -1 || fd_ok(c, index);
}
static bool absolute(const char *path) {
    return path[0] == '/' && strlen(path) <= PATH_LEN_MAX;
}

static bool name_chars(const char *s, const char *extra) {
    for (; *s; s++) {
        bool plain =
            (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        if (!plain && !strchr(extra, *s)) return false;
    }
    return true;
}

/* One level below our parent in every hierarchy: never "..", never a path. */
static bool cgroup_ok(const char *s) {
    return *s && *s != '.' && strlen(s) < RECORD_CGROUP_MAX && name_chars(s, "._-");
}

static bool ifname_ok(const char *s) {
    size_t n = strlen(s);
    return n > 0 && n <= IFNAME_LEN_MAX && *s != '.' && name_chars(s, "._-");
}

static bool env_ok(char *const *env, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(env[i], '=');
        if (!eq || eq == env[i]) return false;
    }
    return true;
}

static int check_command(const struct check *c, char *const *argv, size_t n_argv, char *const *env,
                         size_t n_env) {
    if (n_argv == 0 || n_argv > WORDS_MAX || str_empty(argv[0])) return bad(c, "argv");
    if (n_env > WORDS_MAX || !env_ok(env, n_env)) return bad(c, "env");
    return 0;
}

static int check_mounts(const struct check *c, const Orlop__SandboxSpec *s) {
    if (s->n_mounts > MOUNTS_MAX) return bad(c, "mounts");
    for (size_t i = 0; i < s->n_mounts; i++) {
        const Orlop__SandboxMount *m = s->mounts[i];
        if (!absolute(m->target)) return bad(c, "mounts.target");
        if (m->mode > 07777) return bad(c, "mounts.mode");
        bool detached = m->kind == ORLOP__SANDBOX_MOUNT__KIND__DETACHED;
        if (!detached && m->kind != ORLOP__SANDBOX_MOUNT__KIND__TMPFS) return bad(c, "mounts.kind");
        if (detached && !fd_ok(c, m->fd)) return bad(c, "mounts.fd");
    }
    return 0;
}

static int check_devices(const struct check *c, const Orlop__SandboxSpec *s) {
    if (s->n_devices > DEVICES_MAX) return bad(c, "devices");
    for (size_t i = 0; i < s->n_devices; i++) {
        const Orlop__SandboxDevice *d = s->devices[i];
        if (!absolute(d->target)) return bad(c, "devices.target");
        if (d->major > MAJOR_MAX || d->minor > MINOR_MAX) return bad(c, "devices.number");
        if (d->mode > 0777 || d->uid == UINT32_MAX || d->gid == UINT32_MAX)
            return bad(c, "devices.mode");
    }
    return 0;
}

static int check_links(const struct check *c, const Orlop__SandboxSpec *s) {
    if (s->n_links > LINKS_MAX) return bad(c, "links");
    for (size_t i = 0; i < s->n_links; i++) {
        const Orlop__SandboxLink *l = s->links[i];
        if (!ifname_ok(l->host_name) || !ifname_ok(l->name)) return bad(c, "links.name");
        if (l->prefix_len > 32 || l->address == 0) return bad(c, "links.address");
        if (l->mtu != 0 && (l->mtu < MTU_MIN || l->mtu > 65535)) return bad(c, "links.mtu");
    }
    return 0;
}

static int check_limits(const struct check *c, const Orlop__SandboxSpec *s) {
    if (s->n_limits > LIMITS_MAX) return bad(c, "limits");
    for (size_t i = 0; i < s->n_limits; i++) {
        const Orlop__SandboxLimit *l = s->limits[i];
        if (l->resource >= RLIMIT_NLIMITS || l->soft > l->hard) return bad(c, "limits");
    }
    return 0;
}

static int check_identity(const struct check *c, const Orlop__SandboxSpec *s) {
    if (!record_task_ok(s->task)) return bad(c, "task");
    if (s->boot == 0 || s->attempt == 0) return bad(c, "attempt");
    if (!cgroup_ok(s->cgroup)) return bad(c, "cgroup");
    if (strlen(s->user) > USER_LEN_MAX) return bad(c, "user");
    if (s->n_extra_groups > GROUPS_MAX) return bad(c, "extra_groups");
    if (strlen(s->hostname) > HOSTNAME_LEN_MAX) return bad(c, "hostname");
    if (strlen(s->domainname) > HOSTNAME_LEN_MAX) return bad(c, "domainname");
    if (s->user_namespace && (s->id_map_first == 0 || s->id_map_first > ID_MAP_LAST))
        return bad(c, "id_map_first");
    return 0;
}

static int check_start(const struct check *c, const Orlop__SandboxSpec *s) {
    if (s->tty)
        return err_say(c->err, -EOPNOTSUPP,
                       "a terminal for the sandbox's own process is not "
                       "supported; exec with a terminal is");
    int r = check_identity(c, s);
    if (r == 0) r = check_command(c, s->argv, s->n_argv, s->env, s->n_env);
    if (r == 0) r = check_mounts(c, s);
    if (r == 0) r = check_devices(c, s);
    if (r == 0) r = check_links(c, s);
    if (r == 0) r = check_limits(c, s);
    if (r < 0) return r;
    if (*s->cwd && !absolute(s->cwd)) return bad(c, "cwd");
    if (!fd_ok(c, s->fd_root)) return bad(c, "fd_root");
    if (!fd_or_none_ok(c, s->fd_seccomp)) return bad(c, "fd_seccomp");
    if (s->oom_score_adj < -1000 || s->oom_score_adj > 1000) return bad(c, "oom_score_adj");
    if (s->n_masked_paths > MASKED_MAX) return bad(c, "masked_paths");
    for (size_t i = 0; i < s->n_masked_paths; i++)
        if (!absolute(s->masked_paths[i])) return bad(c, "masked_paths");
    if (s->log && (s->log->max_bytes > LOG_BYTES_MAX || s->log->max_files > LOG_FILES_MAX))
        return bad(c, "log");
    return 0;
}

static int check_exec(const struct check *c, const Orlop__KeeperExec *e) {
    if (!record_task_ok(e->task)) return bad(c, "task");
    int r = check_command(c, e->argv, e->n_argv, e->env, e->n_env);
    if (r < 0) return r;
    if (*e->cwd && !absolute(e->cwd)) return bad(c, "cwd");
    if (strlen(e->user) > USER_LEN_MAX) return bad(c, "user");
    if (!fd_or_none_ok(c, e->fd_seccomp)) return bad(c, "fd_seccomp");
    if (e->rows > WINDOW_MAX || e->cols > WINDOW_MAX) return bad(c, "window");
    if (!e->tty && !(fd_ok(c, e->fd_stdin) && fd_ok(c, e->fd_stdout) && fd_ok(c, e->fd_stderr)))
        return bad(c, "stdio");
    return 0;
}

static int check_task(const struct check *c, const Orlop__KeeperTask *t) {
    return record_task_ok(t->task) ? 0 : bad(c, "task");
}

static int check_signal(const struct check *c, const Orlop__KeeperSignal *s) {
    if (s->signal < 1 || s->signal > 64) return bad(c, "signal");
    return s->exec || record_task_ok(s->task) ? 0 : bad(c, "task");
}

static int check_resize(const struct check *c, const Orlop__KeeperResize *r) {
    return r->exec && r->rows <= WINDOW_MAX && r->cols <= WINDOW_MAX ? 0 : bad(c, "window");
}

static int check_request(const struct check *c, const Orlop__KeeperRequest *r) {
    if (r->id == 0) return bad(c, "id");
    switch (r->what_case) {
    case ORLOP__KEEPER_REQUEST__WHAT_START:
        return check_start(c, r->start);
    case ORLOP__KEEPER_REQUEST__WHAT_CLOSE:
        return check_task(c, r->close);
    case ORLOP__KEEPER_REQUEST__WHAT_SIGNAL:
        return check_signal(c, r->signal);
    case ORLOP__KEEPER_REQUEST__WHAT_EXEC:
        return check_exec(c, r->exec);
    case ORLOP__KEEPER_REQUEST__WHAT_FORGET:
        return check_task(c, r->forget);
    case ORLOP__KEEPER_REQUEST__WHAT_RESIZE:
        return check_resize(c, r->resize);
    case ORLOP__KEEPER_REQUEST__WHAT_LIST:
    case ORLOP__KEEPER_REQUEST__WHAT_SHUTDOWN:
        return 0;
    case ORLOP__KEEPER_REQUEST__WHAT__NOT_SET:
    case _ORLOP__KEEPER_REQUEST__WHAT__CASE_IS_INT_SIZE:
        break;
    }
    return err_say(c->err, -EOPNOTSUPP, "request: of a kind that this keeper does not know");
}

int request_decode(struct budget *b, const void *data, size_t len, size_t n_fds,
                   Orlop__KeeperRequest **ret, struct err *err) {
    *ret = orlop__keeper_request__unpack(&b->allocator, len, data);
    if (!*ret)
        return err_say(err, -EBADMSG, "request: malformed, or larger than the keeper's budget");
    struct check c = {n_fds, err};
    return check_request(&c, *ret);
}

static int check_port(const struct check *c, const Orlop__ProxyPort *p) {
    if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) return bad(c, "ports.protocol");
    if (p->port == 0 || p->port > 65535) return bad(c, "ports.port");
    if (strlen(p->host_ip) >= INET6_ADDRSTRLEN) return bad(c, "ports.host_ip");
    if (p->n_targets > PROXY_TARGETS_MAX) return bad(c, "ports.targets");
    for (size_t i = 0; i < p->n_targets; i++)
        if (p->targets[i]->address == 0 || p->targets[i]->port == 0 || p->targets[i]->port > 65535)
            return bad(c, "ports.targets");
    return 0;
}

int proxy_want_decode(struct budget *b, const void *data, size_t len, Orlop__ProxyWant **ret,
                      struct err *err) {
    *ret = orlop__proxy_want__unpack(&b->allocator, len, data);
    if (!*ret)
        return err_say(err, -EBADMSG, "request: malformed, or larger than the proxy's budget");
    struct check c = {0, err};
    if ((*ret)->id == 0) return bad(&c, "id");
    if ((*ret)->n_ports > PROXY_PORTS_MAX) return bad(&c, "ports");
    for (size_t i = 0; i < (*ret)->n_ports; i++) {
        int r = check_port(&c, (*ret)->ports[i]);
        if (r < 0) return r;
    }
    return 0;
}
