// SPDX-License-Identifier: Apache-2.0
#include "agent/prepare_task.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/confine.h"
#include "agent/devices.h"
#include "agent/mounts.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/base/words.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/prepare.h"
#include "runtime/keeper/client.h"
#include "runtime/net/net.h"

enum { ARENA_BYTES = 16 << 20, LOG_MAX_BYTES = 10 << 20, LOG_MAX_FILES = 3 };

struct prepare {
    const struct prepare_input *in;
    struct prepared *out;
    struct image_config image;
    struct strv layers;
    char sandbox[TASK_SANDBOX_MAX];
    char task_dir[PREPARE_PATH_MAX], private_dir[PREPARE_PATH_MAX];
    struct cgroup_device *devices; /* beyond the default ones */
    size_t n_devices;
};

const char *prepare_task_dir(const struct paths *p, const char *id,
                             char buf[static PREPARE_PATH_MAX]) {
    snprintf(buf, PREPARE_PATH_MAX, "%s/tasks/%s", p->state, id);
    return buf;
}

const char *prepare_private_dir(const struct paths *p, const char *sandbox,
                                char buf[static PREPARE_PATH_MAX]) {
    snprintf(buf, PREPARE_PATH_MAX, "%s/private/%s", p->run, sandbox);
    return buf;
}

int prepare_mount_private(const struct paths *p, struct err *err) {
    char dir[PATHS_FULL_MAX];
    struct statfs fs;
    struct stat here, above;
    paths_run(p, "private", dir);
    int r = fd_mkdirs(AT_FDCWD, dir, 0700);
    if (r < 0) return err_set(err, r, "make %s", dir);
    if (statfs(dir, &fs) < 0 || stat(dir, &here) < 0 || stat(p->run, &above) < 0)
        return err_set(err, -errno, "look at %s", dir);
    if (fs.f_type == TMPFS_MAGIC && here.st_dev != above.st_dev) return 0; /* an earlier agent's */
    r = sys_mount("orlop-private", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                  "mode=0700,size=256m");
    return r < 0 ? err_set(err, r, "mount a tmpfs on %s", dir) : 0;
}

void prepare_unmount_private(const struct paths *p) {
    char dir[PATHS_FULL_MAX];
    paths_run(p, "private", dir);
    if (sys_umount2(dir, MNT_DETACH) == 0) rmdir(dir);
}

void prepared_close_fds(struct prepared *p) {
    for (size_t i = 0; i < p->n_fds; i++) fd_close(&p->fds[i]);
    p->n_fds = 0;
}

void prepared_free(struct prepared *p) {
    if (!p) return;
    prepared_close_fds(p);
    arena_fini(&p->arena);
    mem_free(p);
}

static struct prepared *prepared_new(void) {
    struct prepared *p = mem_zalloc(sizeof *p);
    if (!p) return NULL;
    arena_init(&p->arena, ARENA_BYTES);
    orlop__sandbox_spec__init(&p->spec);
    p->spec.mounts = arena_alloc(&p->arena, PREPARE_MOUNTS_MAX * sizeof(void *));
    if (p->spec.mounts) return p;
    prepared_free(p);
    return NULL;
}

static int read_image(struct prepare *p, struct err *err) {
    const Orlop__Service *s = p->in->task->spec;
    const char *name = str_empty(s->image_digest) ? s->image : s->image_digest;
    int r = image_resolve(p->in->images, name, p->out->image_digest, err);
    if (r == -ENOENT)
        return err_say(err, r, "image %s is not on this node: `orlop image import` brings it",
                       s->image);
    if (r < 0) return err_wrap(err, r, "image %s", s->image);
    r = image_read_config(p->in->images, p->out->image_digest, &p->image, err);
    if (r < 0) return err_wrap(err, r, "image %s", s->image);
    return spec_merge(&p->out->arena, p->in->task, &p->image, &p->out->merged, err);
}

static int sub_dir(const struct prepare *p, const char *name, mode_t mode, char *ret, size_t size,
                   struct err *err) {
    snprintf(ret, size, "%s/%s", p->task_dir, name);
    int r = fd_mkdirs(AT_FDCWD, ret, mode);
    if (r == 0 && chmod(ret, mode) < 0) r = -errno;
    return r < 0 ? err_set(err, r, "make %s", ret) : 0;
}

static int make_root(struct prepare *p, struct err *err) {
    char upper[PREPARE_PATH_MAX + 16], work[sizeof upper], scratch[sizeof upper];
    int r = fd_mkdirs(AT_FDCWD, p->task_dir, 0700);
    if (r < 0) return err_set(err, r, "make %s", p->task_dir);
    r = sub_dir(p, "upper", 0755, upper, sizeof upper, err); /* its mode is that of "/" inside */
    if (r == 0) r = sub_dir(p, "work", 0700, work, sizeof work, err);
    if (r == 0) r = sub_dir(p, "scratch", 0700, scratch, sizeof scratch, err);
    if (r == 0) r = image_layers(p->in->images, p->out->image_digest, &p->layers, err);
    if (r < 0) return r;
    int fd =
        prepare_overlay((const char *const *) p->layers.v, p->layers.n, upper, work, scratch, err);
    if (fd < 0) return err_wrap(err, fd, "root file system");
    p->out->spec.fd_root = (int32_t) p->out->n_fds;
    p->out->fds[p->out->n_fds++] = fd;
    return 0;
}

static int add_mounts(struct prepare *p, struct err *err) {
    int r = fd_remove_tree(AT_FDCWD, p->private_dir); /* of an agent that died in the middle */
    if (r == 0) r = fd_mkdirs(AT_FDCWD, p->private_dir, 0700);
    if (r < 0) return err_set(err, r, "make %s", p->private_dir);
    struct mounts m = {
        .in = p->in, .out = p->out, .image = &p->image, .private_dir = p->private_dir};
    r = mounts_add_service(&m, err);
    if (r == 0) r = mounts_add_files(&m, err);
    if (r == 0) mounts_sort(p->out);
    return r;
}

static int make_cgroup(struct prepare *p, struct err *err) {
    const Orlop__Resources *res = p->in->task->spec->resources;
    struct cgroup_limits limits = {0};
    if (res)
        limits = (struct cgroup_limits){.memory_bytes = res->memory_limit_bytes,
                                        .memory_reservation_bytes = res->memory_reservation_bytes,
                                        .cpu_millis = res->cpu_limit_millis,
                                        .cpu_weight_millis = res->cpu_reservation_millis,
                                        .pids = res->pids_limit};
    limits.devices = p->devices;
    limits.n_devices = p->n_devices;
    p->out->spec.cgroup = arena_strdup(&p->out->arena, p->sandbox);
    if (!p->out->spec.cgroup) return err_set(err, -ENOMEM, "cgroup");
    return cgroup_make(p->in->paths->cgroup, p->sandbox, &limits, err);
}

static int confine(struct prepare *p, struct err *err) {
    const Orlop__Service *s = p->in->task->spec;
    Orlop__SandboxSpec *spec = &p->out->spec;
    if (!str_empty(s->userns_mode) && !str_eq(s->userns_mode, "host"))
        return err_say(err, -EOPNOTSUPP, "userns_mode '%s' is not supported by this node",
                       s->userns_mode);
    int fd = -1;
    int r = confine_caps(s, &spec->capabilities, err);
    if (r == 0) r = confine_filter(s, spec->capabilities, &fd, err);
    if (r < 0) return r;
    spec->fd_seccomp = -1;
    if (fd >= 0) {
        spec->fd_seccomp = (int32_t) p->out->n_fds;
        p->out->fds[p->out->n_fds++] = fd;
    }
    spec->no_new_privs = confine_no_new_privs(s);
    spec->privileged = s->privileged;
    spec->host_pid = str_eq(s->pid_mode, "host");
    spec->host_ipc = str_eq(s->ipc_mode, "host");
    spec->read_only = s->read_only;
    spec->init = s->init;
    spec->stdin_open = s->stdin_open;
    spec->shm_bytes = s->shm_size_bytes;
    spec->oom_score_adj = s->oom_score_adj;
    spec->extra_groups = s->group_add;
    spec->n_extra_groups = s->n_group_add;
    return 0;
}

static int add_sysctls(struct prepare *p, struct err *err) {
    const Orlop__Service *s = p->in->task->spec;
    Orlop__SandboxSpec *spec = &p->out->spec;
    spec->sysctls = arena_alloc(&p->out->arena, (s->n_sysctls + 1) * sizeof *spec->sysctls);
    for (size_t i = 0; spec->sysctls && i < s->n_sysctls; i++) {
        Orlop__SandboxSysctl *c = arena_alloc(&p->out->arena, sizeof *c);
        if (!c) return err_set(err, -ENOMEM, "sysctls");
        orlop__sandbox_sysctl__init(c);
        c->name = s->sysctls[i]->key;
        c->value = s->sysctls[i]->value;
        spec->sysctls[spec->n_sysctls++] = c;
    }
    return spec->sysctls ? 0 : err_set(err, -ENOMEM, "sysctls");
}

static int add_limits(struct prepare *p, struct err *err) {
    const Orlop__Service *s = p->in->task->spec;
    Orlop__SandboxSpec *spec = &p->out->spec;
    spec->limits = arena_alloc(&p->out->arena, (s->n_ulimits + 1) * sizeof *spec->limits);
    if (!spec->limits) return err_set(err, -ENOMEM, "ulimits");
    for (size_t i = 0; i < s->n_ulimits; i++) {
        Orlop__SandboxLimit *l = arena_alloc(&p->out->arena, sizeof *l);
        if (!l) return err_set(err, -ENOMEM, "ulimits");
        int resource = words_rlimit(s->ulimits[i]->name, err);
        if (resource < 0) return resource;
        orlop__sandbox_limit__init(l);
        l->resource = (uint32_t) resource;
        l->soft = s->ulimits[i]->soft;
        l->hard = s->ulimits[i]->hard;
        if (l->soft > l->hard)
            return err_say(err, -EINVAL, "ulimit %s: soft is above hard", s->ulimits[i]->name);
        spec->limits[spec->n_limits++] = l;
    }
    return 0;
}

static Orlop__SandboxLink *make_link(struct arena *a, const char *sandbox, size_t i,
                                     const struct prepare_network *n) {
    Orlop__SandboxLink *l = arena_alloc(a, sizeof *l);
    char host[NET_IFNAME_MAX], name[NET_IFNAME_MAX];
    if (!l) return NULL;
    net_link_name(sandbox, n->id, host);
    snprintf(name, sizeof name, "eth%u", (unsigned) i % 1000);
    orlop__sandbox_link__init(l);
    l->host_name = arena_strdup(a, host);
    l->name = arena_strdup(a, name);
    l->group = n->id;
    l->address = n->address;
    l->prefix_len = n->prefix_len;
    l->gateway = n->gateway;
    return l->host_name && l->name ? l : NULL;
}

Orlop__SandboxLink **prepare_task_links(struct arena *a, const char *sandbox,
                                        const struct prepare_network *networks, size_t n) {
    Orlop__SandboxLink **links = arena_alloc(a, (n + 1) * sizeof *links);
    bool routed = false;
    for (size_t i = 0; links && i < n; i++) {
        links[i] = make_link(a, sandbox, i, &networks[i]);
        if (!links[i]) return NULL;
        links[i]->default_route = !networks[i].internal && !routed;
        routed = routed || links[i]->default_route;
    }
    return links;
}

static int add_links(struct prepare *p, struct err *err) {
    Orlop__SandboxSpec *spec = &p->out->spec;
    spec->links =
        prepare_task_links(&p->out->arena, p->sandbox, p->in->networks, p->in->n_networks);
    spec->n_links = spec->links ? p->in->n_networks : 0;
    return spec->links ? 0 : err_set(err, -ENOMEM, "links");
}

static int set_log(struct prepare *p, struct err *err) {
    static const Orlop__Logging defaults = ORLOP__LOGGING__INIT;
    const Orlop__Logging *l = p->in->task->spec->logging ? p->in->task->spec->logging : &defaults;
    Orlop__LogOptions *log = arena_alloc(&p->out->arena, sizeof *log);
    if (!log) return err_set(err, -ENOMEM, "logging");
    orlop__log_options__init(log);
    log->none = str_eq(l->driver, "none");
    log->max_bytes = l->max_size_bytes ? l->max_size_bytes : LOG_MAX_BYTES;
    log->max_files = l->max_files ? l->max_files : LOG_MAX_FILES;
    p->out->spec.log = log;
    return 0;
}

static char *writable(struct arena *a, const char *s) {
    return arena_strdup(a, s ? s : "");
}

static int set_identity(struct prepare *p, struct err *err) {
    Orlop__SandboxSpec *spec = &p->out->spec;
    const struct spec_merged *m = &p->out->merged;
    struct arena *a = &p->out->arena;
    char host[SPEC_HOSTNAME_MAX];
    spec->task = writable(a, p->in->task->task);
    spec->boot = p->in->boot;
    spec->attempt = p->in->attempt;
    spec->argv = m->argv;
    spec->n_argv = m->n_argv;
    spec->env = m->env;
    spec->n_env = m->n_env;
    spec->user = writable(a, m->user);
    spec->cwd = writable(a, m->cwd);
    spec->hostname = writable(a, spec_hostname(p->in->task, host));
    spec->domainname = p->in->task->spec->domainname;
    spec->host_uts = p->in->task->spec->host_uts;
    spec->host_network = str_eq(p->in->task->spec->network_mode, "host");
    if (!spec->task || !spec->user || !spec->cwd || !spec->hostname)
        return err_set(err, -ENOMEM, "sandbox");
    if (p->in->task->spec->tty)
        return err_say(err, -EOPNOTSUPP, "tty: true is not supported yet: use exec for a terminal");
    return keeper_client_check(m->argv, m->n_argv, m->env, m->n_env, err);
}

static int run(struct prepare *p, struct err *err) {
    int r = read_image(p, err);
    if (r == 0) r = set_identity(p, err);
    if (r == 0) r = make_root(p, err);
    if (r == 0) r = add_mounts(p, err);
    if (r == 0) r = devices_add(p->in->task->spec, p->out, &p->devices, &p->n_devices, err);
    if (r == 0) r = make_cgroup(p, err);
    if (r == 0) r = confine(p, err);
    if (r == 0) r = add_sysctls(p, err);
    if (r == 0) r = add_limits(p, err);
    if (r == 0) r = add_links(p, err);
    if (r == 0) r = set_log(p, err);
    return r;
}

static bool may_pass(int code) {
    return code == -ENOMEM || code == -ENOSPC || code == -EDQUOT || code == -EMFILE ||
           code == -ENFILE || code == -EAGAIN || code == -EBUSY || code == -EINTR || code == -EIO;
}

static void begin(struct prepare *p, const struct prepare_input *in) {
    *p = (struct prepare){.in = in, .out = prepared_new()};
    task_sandbox_name(in->task->task, in->boot, in->attempt, p->sandbox);
    prepare_task_dir(in->paths, in->task->task, p->task_dir);
    prepare_private_dir(in->paths, p->sandbox, p->private_dir);
}

static int end(struct prepare *p, int r, struct prepared **ret) {
    image_config_fini(&p->image);
    strv_fini(&p->layers);
    if (r < 0)
        prepared_free(p->out);
    else
        *ret = p->out;
    return r;
}

int prepare_task_run(const struct prepare_input *in, struct prepared **ret, bool *ret_retry,
                     struct err *err) {
    struct prepare p;
    begin(&p, in);
    int r = p.out ? run(&p, err) : err_set(err, -ENOMEM, "prepare");
    *ret_retry = may_pass(r);
    return end(&p, r, ret);
}

int prepare_task_describe(const struct prepare_input *in, struct prepared **ret, struct err *err) {
    struct prepare p;
    begin(&p, in);
    int r = p.out ? read_image(&p, err) : err_set(err, -ENOMEM, "describe");
    if (r == 0) r = confine_caps(in->task->spec, &p.out->spec.capabilities, err);
    return end(&p, r, ret);
}
