// SPDX-License-Identifier: Apache-2.0
/* Mounts of the spec, and the walk to their targets. All by descriptors inside the container's
 * root: a volume that another container writes to at this moment may change under the walk, and
 * every step still ends inside the root. */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "child.h"
#include "runtime/base/fd.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif

enum { SYMLINKS_MAX = 40 };

/* --- the walk --- */

struct walk {
    int root;
    int at;              /* where the walk is */
    int symlinks;        /* followed so far */
    char done[PATH_MAX]; /* the way to `at` from the root, no symlink in it */
    char rest[PATH_MAX]; /* still to go */
};

static int walk_to(struct walk *w, int fd) {
    fd_close(&w->at);
    w->at = fd;
    return fd < 0 ? fd : 0;
}

static int walk_reopen(struct walk *w) {
    return walk_to(w, sys_openat2(w->root, w->done[0] ? w->done : ".", O_PATH | O_DIRECTORY, 0,
                                  RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS));
}

static int walk_up(struct walk *w) {
    char *slash = strrchr(w->done, '/');
    *(slash ? slash : w->done) = 0;
    return walk_reopen(w);
}

static int walk_link(struct walk *w, int link) {
    char target[PATH_MAX];
    if (++w->symlinks > SYMLINKS_MAX) return -ELOOP;
    ssize_t got = readlinkat(link, "", target, sizeof target);
    if (got < 0) return -errno;
    size_t n = (size_t) got, rest = strlen(w->rest);
    if (n + rest + 2 > sizeof w->rest) return -ENAMETOOLONG;
    memmove(w->rest + n + 1, w->rest, rest + 1);
    memcpy(w->rest, target, n);
    w->rest[n] = '/';
    if (target[0] != '/') return 0;
    w->done[0] = 0;
    return walk_reopen(w);
}

/* What is missing: a folder, or at the end of the way a file. */
static int make(int at, const char *name, bool file) {
    if (!file) return mkdirat(at, name, 0755) < 0 && errno != EEXIST ? -errno : 0;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    auto_fd int fd = openat(at, name, flags, 0644);
    return fd < 0 && errno != EEXIST ? -errno : 0;
}

static int walk_into(struct walk *w, const char *name, bool file) {
    auto_fd int fd = -1;
    for (int tries = 0;; tries++) {
        fd = sys_openat2(w->at, name, O_PATH | O_NOFOLLOW, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd != -ENOENT || tries == 2) break;
        int r = make(w->at, name, file);
        if (r < 0) return r;
    }
    struct stat st;
    if (fd < 0) return fd;
    if (fstat(fd, &st) < 0) return -errno;
    if (S_ISLNK(st.st_mode)) return walk_link(w, fd);
    size_t have = strlen(w->done);
    if (have + strlen(name) + 2 > sizeof w->done) return -ENAMETOOLONG;
    snprintf(w->done + have, sizeof w->done - have, "%s%s", have ? "/" : "", name);
    return walk_to(w, steal_fd(&fd));
}

/* Cut the first word off w->rest. */
static void next_word(struct walk *w, char *word, size_t size, bool *ret_last) {
    char *from = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(from, "/");
    char *behind = from + n + strspn(from + n, "/");
    size_t keep = n < size ? n : size - 1;
    memcpy(word, from, keep);
    word[keep] = 0;
    *ret_last = *behind == 0;
    memmove(w->rest, behind, strlen(behind) + 1);
}

static int walk(struct walk *w, bool file) {
    char word[NAME_MAX + 2];
    bool last;
    int r = walk_reopen(w);
    while (r == 0 && w->rest[strspn(w->rest, "/")]) {
        next_word(w, word, sizeof word, &last);
        if (strlen(word) > NAME_MAX) return -ENAMETOOLONG;
        if (str_eq(word, ".")) continue;
        r = str_eq(word, "..") ? walk_up(w) : walk_into(w, word, file && last);
    }
    return r;
}

int mounts__open_or_make(int root, const char *path, bool file, struct err *err) {
    int fd = sys_open_in_root(root, path, O_PATH, 0);
    if (fd >= 0) return fd;
    struct walk w = {.root = root, .at = -1};
    if (fd == -ENOENT && strlen(path) < PATH_MAX) {
        memcpy(w.rest, path, strlen(path) + 1);
        fd = walk(&w, file);
    }
    if (fd == 0) return w.at;
    fd_close(&w.at);
    return err_set(err, fd, "%s in the container", path);
}

int mounts__plain_folder(int root, const char *name, struct err *err) {
    for (int tries = 0;; tries++) {
        int fd = sys_openat2(root, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0,
                             RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
        if (fd >= 0) return fd;
        if (fd == -ENOTDIR || fd == -ELOOP)
            return err_say(err, fd, "the image's /%s must be an ordinary directory", name);
        if (fd != -ENOENT || tries) return err_set(err, fd, "open /%s of the image", name);
        if (mkdirat(root, name, 0755) < 0) return err_set(err, -errno, "make /%s", name);
    }
}

/* --- mounting --- */

int mounts__new_fs(const char *fs, const struct mount_option *options, unsigned attributes,
                   struct err *err) {
    auto_fd int f = sys_fsopen(fs, 0);
    if (f < 0) return err_set(err, f, "make a %s", fs);
    for (; options && options->key; options++) {
        unsigned cmd = options->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
        int r = sys_fsconfig(f, cmd, options->key, options->value, 0);
        if (r < 0) return err_set(err, r, "%s with option %s", fs, options->key);
    }
    int r = sys_fsconfig(f, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (r < 0) return err_set(err, r, "make a %s", fs);
    r = sys_fsmount(f, 0, attributes);
    return r < 0 ? err_set(err, r, "mount a %s", fs) : r;
}

int mounts__move(int mount, int target, struct err *err) {
    int r =
        sys_move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    return r < 0 ? err_set(err, r, "move a mount to its place") : 0;
}

int mounts__put(int root, const char *folder, const char *fs, const struct mount_option *options,
                unsigned attributes, struct err *err) {
    auto_fd int target = mounts__plain_folder(root, folder, err);
    if (target < 0) return target;
    auto_fd int m = mounts__new_fs(fs, options, attributes, err);
    if (m < 0) return m;
    int r = mounts__move(m, target, err);
    return r < 0 ? r : steal_fd(&m);
}

uint64_t mounts__id(int fd) {
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0) return 0;
    return sx.stx_mnt_id;
}

/* --- the spec's list --- */

/* Whatever way the target was written or linked: what counts is where it ended. */
int mounts__check_target(const struct child *c, int target, const char *name, struct err *err) {
    struct statfs fs;
    struct stat here, root;
    if (fstatfs(target, &fs) < 0 || fstat(target, &here) < 0 || fstat(c->root, &root) < 0)
        return err_set(err, -errno, "look at %s", name);
    switch ((unsigned long) fs.f_type) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
        return err_say(err, -EPERM, "nothing may be mounted on %s: it is the kernel's", name);
    default:
        break;
    }
    if (c->cgroup_mount_id && mounts__id(target) == c->cgroup_mount_id)
        return err_say(err, -EPERM, "nothing may be mounted on %s: it is the kernel's", name);
    if (here.st_dev == root.st_dev && here.st_ino == root.st_ino)
        return err_say(err, -EPERM, "nothing may be mounted on the container's root");
    return 0;
}

static int make_tmpfs(const Orlop__SandboxMount *m, struct err *err) {
    char size[24], mode[12];
    snprintf(size, sizeof size, "%llu", (unsigned long long) m->size_bytes);
    snprintf(mode, sizeof mode, "%o", m->mode ? m->mode & 07777 : 01777);
    struct mount_option o[3] = {{"mode", mode}};
    if (m->size_bytes) o[1] = (struct mount_option){"size", size};
    unsigned attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    attr |= (m->read_only ? MOUNT_ATTR_RDONLY : 0) | (m->noexec ? MOUNT_ATTR_NOEXEC : 0);
    return mounts__new_fs("tmpfs", o, attr, err);
}

/* move_mount(2) would only say EINVAL. */
static int check_kind(const Orlop__SandboxMount *m, int source, int target, struct err *err) {
    struct stat from, to;
    if (fstat(source, &from) < 0 || fstat(target, &to) < 0)
        return err_set(err, -errno, "look at %s", m->target);
    if (S_ISDIR(from.st_mode) == S_ISDIR(to.st_mode)) return 0;
    return err_say(err, -ENOTDIR, "%s is %s in the container, and what comes there is %s",
                   m->target, S_ISDIR(to.st_mode) ? "a directory" : "no directory",
                   S_ISDIR(from.st_mode) ? "one" : "none");
}

static int apply_one(struct child *c, const Orlop__SandboxMount *m, struct err *err) {
    if (m->target[0] != '/') return err_say(err, -EINVAL, "target %s is not absolute", m->target);
    auto_fd int target = mounts__open_or_make(c->root, m->target, m->file, err);
    if (target < 0) return target;
    int r = mounts__check_target(c, target, m->target, err);
    if (r < 0) return r;
    auto_fd int tmpfs = -1;
    int source = m->kind == ORLOP__SANDBOX_MOUNT__KIND__DETACHED ? c->fds[m->fd]
                                                                 : (tmpfs = make_tmpfs(m, err));
    if (source < 0) return err_wrap(err, source, "mount %s", m->target);
    r = check_kind(m, source, target, err);
    if (r < 0) return r;
    r = mounts__move(source, target, err);
    return r < 0 ? err_wrap(err, r, "mount %s", m->target) : 0;
}

int mounts__apply(struct child *c, struct err *err) {
    for (size_t i = 0; i < c->spec->n_mounts; i++) {
        int r = apply_one(c, c->spec->mounts[i], err);
        if (r < 0) return r;
    }
    return 0;
}

/* Made while the root can still be written. What is there already is chdir's business. */
int mounts__workdir(struct child *c, struct err *err) {
    const char *cwd = c->process.cwd;
    if (str_empty(cwd)) return 0;
    if (cwd[0] != '/') return err_say(err, -EINVAL, "working directory %s is not absolute", cwd);
    auto_fd int fd = sys_open_in_root(c->root, cwd, O_PATH, 0);
    if (fd != -ENOENT) return 0;
    fd = mounts__open_or_make(c->root, cwd, false, err);
    return fd < 0 ? fd : 0;
}
