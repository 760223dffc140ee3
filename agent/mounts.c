// SPDX-License-Identifier: Apache-2.0
#include "agent/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/etc.h"
#include "agent/volumes.h"
#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/container/prepare.h"

enum { FILE_TEXT_MAX = 64 * 1024, FILE_MODE = 0444, TMPFS_MODE = 01777 };

static bool has_target(const struct prepared *out, const char *target) {
    for (size_t i = 0; i < out->spec.n_mounts; i++)
        if (str_eq(out->spec.mounts[i]->target, target)) return true;
    return false;
}

static Orlop__SandboxMount *add(struct prepared *out, const char *target, struct err *err) {
    if (out->spec.n_mounts == PREPARE_MOUNTS_MAX) {
        err_say(err, -E2BIG, "more than %d mounts", PREPARE_MOUNTS_MAX);
        return NULL;
    }
    Orlop__SandboxMount *m = arena_alloc(&out->arena, sizeof *m);
    char *copy = arena_strdup(&out->arena, target);
    if (!m || !copy) {
        err_set(err, -ENOMEM, "mount %s", target);
        return NULL;
    }
    orlop__sandbox_mount__init(m);
    m->target = copy;
    out->spec.mounts[out->spec.n_mounts++] = m;
    return m;
}

/* A detached clone of SOURCE for TARGET. */
static int add_bind(struct mounts *m, const char *source, const char *target, bool recursive,
                    bool read_only, struct err *err) {
    bool file = false;
    auto_fd int fd = prepare_bind(source, recursive, read_only, &file, err);
    if (fd < 0) return fd;
    Orlop__SandboxMount *mount = add(m->out, target, err);
    if (!mount) return err && err->code ? err->code : -ENOMEM;
    mount->kind = ORLOP__SANDBOX_MOUNT__KIND__DETACHED;
    mount->fd = (int32_t) m->out->n_fds;
    mount->file = file;
    m->out->fds[m->out->n_fds++] = steal_fd(&fd);
    return 0;
}

/* ---- volumes ---- */

static const Orlop__Volume *volume_of(const Orlop__TaskSpec *task, const char *key) {
    for (size_t i = 0; i < task->n_volumes; i++)
        if (str_eq(task->volumes[i]->key, key)) return task->volumes[i];
    return NULL;
}

/* The folder of an anonymous volume: the n-th of its task, so that a restart finds it again. */
static int anonymous_dir(struct mounts *m, const char *target, char dir[static VOLUMES_PATH_MAX],
                         struct err *err) {
    char task[PREPARE_PATH_MAX], parent[PREPARE_PATH_MAX + 8];
    prepare_task_dir(m->in->paths, m->in->task->task, task);
    snprintf(parent, sizeof parent, "%s/anon", task);
    int r = fd_mkdirs(AT_FDCWD, parent, 0700);
    if (r < 0) return err_set(err, r, "make %s", parent);
    snprintf(dir, VOLUMES_PATH_MAX, "%s/%016llx", parent,
             (unsigned long long) str_hash(target, strlen(target)));
    return 0;
}

static int named_dir(struct mounts *m, const Orlop__Mount *mount, char dir[static VOLUMES_PATH_MAX],
                     struct err *err) {
    char full[PATHS_FULL_MAX];
    const Orlop__Volume *v = volume_of(m->in->task, mount->source);
    if (!v || !volumes_name_ok(v->name))
        return err_say(err, -EINVAL, "volume '%s' is not defined", mount->source);
    const char *volumes = paths_state(m->in->paths, "volumes", full);
    int r = fd_mkdirs(AT_FDCWD, volumes, 0711);
    if (r < 0) return err_set(err, r, "make %s", volumes);
    snprintf(dir, VOLUMES_PATH_MAX, "%s/%s", volumes, v->name);
    if (!v->external) return 0;
    char data[VOLUMES_PATH_MAX + 8];
    snprintf(data, sizeof data, "%s/_data", dir);
    return access(data, F_OK) == 0
               ? 0
               : err_say(err, -ENOENT, "external volume %s does not exist on this node", v->name);
}

static int add_volume(struct mounts *m, const Orlop__Mount *mount, struct err *err) {
    char dir[VOLUMES_PATH_MAX], source[VOLUMES_PATH_MAX + 8];
    bool anonymous = str_empty(mount->source);
    int r = anonymous ? anonymous_dir(m, mount->target, dir, err) : named_dir(m, mount, dir, err);
    if (r < 0) return r;
    int root = mount->nocopy ? -1 : m->out->fds[m->out->spec.fd_root];
    r = volumes_make(dir, anonymous ? "" : m->in->task->app, root, mount->target, err);
    if (r < 0) return r;
    if (!str_empty(mount->subpath))
        return err_say(err, -EOPNOTSUPP, "volume.subpath '%s' is not supported", mount->subpath);
    snprintf(source, sizeof source, "%s/_data", dir);
    return add_bind(m, source, mount->target, false, mount->read_only, err);
}

/* ---- binds, tmpfs ---- */

static int add_host_path(struct mounts *m, const Orlop__Mount *mount, struct err *err) {
    struct stat st;
    if (*mount->source != '/')
        return err_say(err, -EINVAL, "bind mount: '%s' is not an absolute path", mount->source);
    if (stat(mount->source, &st) < 0) {
        int e = -errno;
        if (e != -ENOENT || !mount->create_host_path)
            return err_set(err, e, "bind mount of %s on this node", mount->source);
        int r = fd_mkdirs(AT_FDCWD, mount->source, 0755);
        if (r < 0) return err_set(err, r, "make %s for a bind mount", mount->source);
    }
    bool plain = str_empty(mount->propagation) || str_eq(mount->propagation, "rprivate") ||
                 str_eq(mount->propagation, "private");
    if (!plain)
        return err_say(err, -EOPNOTSUPP, "bind mount of %s: propagation '%s' is not supported",
                       mount->source, mount->propagation);
    return add_bind(m, mount->source, mount->target, true, mount->read_only, err);
}

static int add_tmpfs(struct mounts *m, const Orlop__Mount *mount, struct err *err) {
    Orlop__SandboxMount *t = add(m->out, mount->target, err);
    if (!t) return err && err->code ? err->code : -ENOMEM;
    t->kind = ORLOP__SANDBOX_MOUNT__KIND__TMPFS;
    t->size_bytes = mount->tmpfs_size_bytes;
    t->mode = mount->tmpfs_mode ? mount->tmpfs_mode : TMPFS_MODE;
    t->read_only = mount->read_only;
    t->noexec = mount->tmpfs_noexec;
    return 0;
}

static int add_mount(struct mounts *m, const Orlop__Mount *mount, struct err *err) {
    if (*mount->target != '/')
        return err_say(err, -EINVAL, "mount target '%s' is not an absolute path", mount->target);
    switch (mount->kind) {
    case ORLOP__MOUNT__KIND__VOLUME:
        return add_volume(m, mount, err);
    case ORLOP__MOUNT__KIND__BIND:
        return add_host_path(m, mount, err);
    case ORLOP__MOUNT__KIND__TMPFS:
        return add_tmpfs(m, mount, err);
    case ORLOP__MOUNT__KIND__KIND_UNSET:
    case _ORLOP__MOUNT__KIND_IS_INT_SIZE:
        break;
    }
    return err_say(err, -EINVAL, "mount at %s is of no known kind", mount->target);
}

/* VOLUME of the image: an anonymous volume where the service mounts nothing. */
static int add_image_volume(struct mounts *m, const char *target, struct err *err) {
    if (*target != '/' || has_target(m->out, target)) return 0;
    Orlop__Mount mount = ORLOP__MOUNT__INIT;
    auto_free char *copy = mem_strdup(target);
    if (!copy) return err_set(err, -ENOMEM, "volume %s of the image", target);
    mount.kind = ORLOP__MOUNT__KIND__VOLUME;
    mount.target = copy;
    return add_volume(m, &mount, err);
}

int mounts_add_service(struct mounts *m, struct err *err) {
    const Orlop__Service *s = m->in->task->spec;
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_mounts; i++) r = add_mount(m, s->mounts[i], err);
    for (size_t i = 0; r == 0 && i < m->image->volumes.n; i++)
        r = add_image_volume(m, m->image->volumes.v[i], err);
    return r;
}

/* ---- files of ours ---- */

struct file {
    const void *data;
    size_t len;
    uint32_t uid, gid, mode;
};

static int add_file(struct mounts *m, const char *target, const struct file *f, struct err *err) {
    if (has_target(m->out, target)) return 0;
    char path[PREPARE_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/%u", m->private_dir, m->next_file++);
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return err_set(err, -errno, "make a file for %s", target);
    int r = fd_write_all(fd, f->data, f->len);
    if (r < 0) return err_set(err, r, "write the file for %s", target);
    if (fchown(fd, f->uid, f->gid) < 0 || fchmod(fd, f->mode & 0777) < 0)
        return err_set(err, -errno, "owner of the file for %s", target);
    return add_bind(m, path, target, false, true, err);
}

static const Orlop__Content *content_of(const Orlop__TaskSpec *task, const char *name) {
    for (size_t i = 0; i < task->n_contents; i++)
        if (str_eq(task->contents[i]->name, name)) return task->contents[i];
    return NULL;
}

static int add_contents(struct mounts *m, Orlop__ContentUse *const *uses, size_t n,
                        struct err *err) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const Orlop__Content *c = content_of(m->in->task, uses[i]->source);
        if (!c || *uses[i]->target != '/')
            return err_say(err, -EINVAL, "secret or config '%s' is not defined", uses[i]->source);
        struct file f = {c->data.data, c->data.len, uses[i]->uid, uses[i]->gid,
                         uses[i]->mode ? uses[i]->mode : FILE_MODE};
        r = add_file(m, uses[i]->target, &f, err);
    }
    return r;
}

static int add_text(struct mounts *m, const char *target, const struct buf *b, struct err *err) {
    if (buf_error(b) < 0) return err_set(err, buf_error(b), "text of %s", target);
    struct file f = {b->data, b->len, 0, 0, 0644};
    return add_file(m, target, &f, err);
}

/* A task in the node's network asks whom the node asks. */
static int add_resolv_conf(struct mounts *m, struct buf *b, struct err *err) {
    auto_free char *of_node = NULL;
    size_t len;
    if (str_eq(m->in->task->spec->network_mode, "host")) {
        int r = fd_read_file(AT_FDCWD, "/etc/resolv.conf", FILE_TEXT_MAX / 2, &of_node, &len);
        if (r < 0 && r != -ENOENT) return err_set(err, r, "read the node's /etc/resolv.conf");
    }
    etc_resolv_conf(m->in, of_node, b);
    return add_text(m, "/etc/resolv.conf", b, err);
}

static int add_etc(struct mounts *m, struct err *err) {
    char host[SPEC_HOSTNAME_MAX];
    spec_hostname(m->in->task, host);
    struct buf b;
    buf_init(&b, FILE_TEXT_MAX);
    etc_hosts(m->in, host, &b);
    int r = add_text(m, "/etc/hosts", &b, err);
    buf_reset(&b);
    buf_printf(&b, "%s\n", host);
    if (r == 0) r = add_text(m, "/etc/hostname", &b, err);
    buf_reset(&b);
    if (r == 0) r = add_resolv_conf(m, &b, err);
    buf_fini(&b);
    return r;
}

int mounts_add_files(struct mounts *m, struct err *err) {
    const Orlop__Service *s = m->in->task->spec;
    int r = add_contents(m, s->secrets, s->n_secrets, err);
    if (r == 0) r = add_contents(m, s->configs, s->n_configs, err);
    return r < 0 ? r : add_etc(m, err);
}

static size_t depth_of(const char *path) {
    size_t n = 0;
    for (; *path; path++) n += *path == '/' && path[1] && path[1] != '/';
    return n;
}

/* Stable: of two at the same place the later one is on top. */
void mounts_sort(struct prepared *out) {
    Orlop__SandboxMount **v = out->spec.mounts;
    for (size_t i = 1; i < out->spec.n_mounts; i++)
        for (size_t k = i; k > 0 && depth_of(v[k]->target) < depth_of(v[k - 1]->target); k--) {
            Orlop__SandboxMount *t = v[k];
            v[k] = v[k - 1];
            v[k - 1] = t;
        }
}
