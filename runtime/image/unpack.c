// SPDX-License-Identifier: Apache-2.0
/* Where entries go. What they become is in unpack_node.c. */
#include "runtime/image/unpack.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/image/path.h"

static const char whiteout_prefix[] = ".wh.";
static const char opaque_name[] = ".wh..wh..opq";
enum { WHITEOUT_PREFIX_LEN = sizeof whiteout_prefix - 1, PATH_BUFFER = 4096 };

/* How many '/' the kernel's own path of FD has. */
static int depth_of(int fd, size_t *ret) {
    char link[32], path[PATH_BUFFER];
    (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path);
    if (n < 0) return -errno;
    if ((size_t) n == sizeof path) return -ENAMETOOLONG;
    size_t depth = 0;
    for (ssize_t i = 0; i < n; i++) depth += path[i] == '/';
    *ret = depth;
    return 0;
}

static int open_dir(const struct image_unpack *u, const char *path) {
    return sys_open_in_root(u->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static void leave_parent(struct image_unpack *u) {
    if (u->parent < 0) return;
    (void) futimens(u->parent, u->parent_times); /* a time that cannot be set back harms nothing */
    fd_close(&u->parent);
    u->parent_valid = false;
}

/* NAME in ABOVE, whose times stay. A name that is there but leads nowhere is a dangling symlink. */
static int make_dir(int above, const char *name) {
    struct stat st;
    if (fstat(above, &st) < 0) return -errno;
    if (mkdirat(above, name, 0755) < 0) return errno == EEXIST ? -ENOENT : -errno;
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    return futimens(above, times) < 0 ? -errno : 0;
}

/* Open PATH, making the levels that the archive left out. A symlink on the way is followed inside
 * the root; one that leads to nothing is an error. */
static int make_dirs(struct image_unpack *u, char *path, struct err *err) {
    auto_fd int above = open_dir(u, "");
    if (above < 0) return err_set(err, above, "open the layer's root");
    for (char *p = path;; p++) {
        if (*p && *p != '/') continue;
        char end = *p;
        *p = 0;
        int fd = open_dir(u, path);
        if (fd == -ENOENT) {
            int r = image__budget_entry(u->budget, err);
            if (r < 0) return r;
            r = make_dir(above, image__path_base(path));
            if (r < 0) return err_set(err, r, "directory \"%.100s\"", path);
            fd = open_dir(u, path);
        }
        if (fd < 0) return err_set(err, fd, "directory \"%.100s\"", path);
        fd_close(&above);
        above = fd;
        if (!end) return steal_fd(&above);
        *p = '/';
    }
}

static int enter_parent(struct image_unpack *u, const char *path, size_t n, struct err *err) {
    if (u->parent >= 0 && u->parent_valid && strlen(u->parent_path) == n &&
        memcmp(u->parent_path, path, n) == 0)
        return 0;
    leave_parent(u);
    memcpy(u->parent_path, path, n);
    u->parent_path[n] = 0;
    u->parent = open_dir(u, u->parent_path);
    if (u->parent == -ENOENT) {
        u->parent = make_dirs(u, u->parent_path, err);
        if (u->parent < 0) return u->parent;
    }
    if (u->parent < 0) return err_set(err, u->parent, "directory \"%.100s\"", u->parent_path);
    size_t depth = 0;
    struct stat st;
    int r = depth_of(u->parent, &depth);
    if (r == 0 && fstat(u->parent, &st) < 0) r = -errno;
    if (r < 0) return err_set(err, r, "directory \"%.100s\"", u->parent_path);
    if (depth < u->root_depth || depth - u->root_depth >= IMAGE_DEPTH_MAX)
        return err_say(err, -ELOOP, "directories are nested deeper than %d", IMAGE_DEPTH_MAX);
    u->parent_times[0] = st.st_atim;
    u->parent_times[1] = st.st_mtim;
    u->parent_valid = true;
    return 0;
}

static int set_opaque(int dirfd, const char *name, struct err *err) {
    auto_fd int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fsetxattr(fd, IMAGE_OPAQUE_XATTR, "y", 1, 0) < 0)
        return err_set(err, -errno, "mark the directory opaque");
    return 0;
}

static bool is_whiteout(const struct stat *st) {
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* NAME (without its prefix) of the layers below is hidden. What this layer itself has of that name
 * stays: a directory then hides what is below it, anything else does so already. */
static int make_whiteout(struct image_unpack *u, struct archive_entry *e, const char *name,
                         struct err *err) {
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
        return err_set(err, -EINVAL, "a whiteout must be a plain file");
    if (str_eq(name, opaque_name)) return set_opaque(u->parent, ".", err);
    const char *hidden = name + WHITEOUT_PREFIX_LEN;
    if (!*hidden || str_eq(hidden, ".") || str_eq(hidden, "..") ||
        str_starts(hidden, whiteout_prefix))
        return err_set(err, -EINVAL, "not a known kind of whiteout");
    struct stat st;
    if (fstatat(u->parent, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISDIR(st.st_mode) ? set_opaque(u->parent, hidden, err) : 0;
    if (errno != ENOENT || mknodat(u->parent, hidden, S_IFCHR, makedev(0, 0)) < 0)
        return err_set(err, -errno, "make a whiteout");
    return 0;
}

static int make_link(struct image_unpack *u, const char *target, const char *name,
                     struct err *err) {
    char clean[IMAGE_PATH_BYTES_MAX + 1];
    int r = image__path_clean(target, clean, err);
    if (r < 0) return r;
    const char *base = image__path_base(clean);
    if (!*base) return err_set(err, -EINVAL, "a hard link to the root");
    if (base > clean) clean[base - clean - 1] = 0; /* what is before it is the directory */
    auto_fd int from = open_dir(u, base > clean ? clean : "");
    if (from < 0) return err_set(err, from, "a hard link to \"%.100s\"", target);
    struct stat st;
    if (fstatat(from, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(err, -errno, "a hard link to \"%.100s\"", target);
    if (S_ISDIR(st.st_mode) || is_whiteout(&st))
        return err_set(err, -EINVAL, "a hard link to \"%.100s\", which is no file", target);
    if (linkat(from, base, u->parent, name, 0) < 0)
        return err_set(err, -errno, "a hard link to \"%.100s\"", target);
    return 0;
}

/* Make NAME free for a new inode. 1: a directory of that name stays, because the new one is one
 * too. *ret_hides: a whiteout stood there, so a directory has to go on hiding. */
static int clear_way(struct image_unpack *u, const char *name, bool want_dir, bool *ret_hides,
                     struct err *err) {
    struct stat st;
    if (fstatat(u->parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_set(err, -errno, "look it up");
    if (S_ISDIR(st.st_mode) && want_dir) return 1;
    *ret_hides = is_whiteout(&st);
    u->parent_valid = false; /* its path may lead through what goes away now */
    int r = fd_remove_tree(u->parent, name);
    return r < 0 ? err_set(err, r, "replace an earlier entry") : 0;
}

/* A hard link of a name to itself, or to what its own clearing would remove, must not lose the
 * file. */
static bool same_file(struct image_unpack *u, const char *target, const char *name) {
    struct stat a, b;
    auto_fd int fd = sys_open_in_root(u->root, target, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    return fd >= 0 && fstat(fd, &a) == 0 &&
           fstatat(u->parent, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int unpack_entry(struct image_unpack *u, struct image_tar *t, struct archive_entry *e,
                        const char *path, struct err *err) {
    bool is_dir = archive_entry_filetype(e) == AE_IFDIR, hides = false;
    const char *name = image__path_base(path), *target = archive_entry_hardlink(e);
    if (!*name) {
        if (!is_dir || target) return err_set(err, -EINVAL, "the root must be a directory");
        leave_parent(u);
        return image__unpack_dir_attributes(u->root, e, err);
    }
    size_t n = (size_t) (name - path);
    int r = enter_parent(u, path, n ? n - 1 : 0, err);
    if (r < 0) return r;
    if (str_starts(name, whiteout_prefix)) return make_whiteout(u, e, name, err);
    if (target && same_file(u, target, name)) return 0;
    r = clear_way(u, name, is_dir && !target, &hides, err);
    if (r < 0) return r;
    if (target) return make_link(u, target, name, err);
    bool fresh = r == 0;
    if (fresh && is_dir && mkdirat(u->parent, name, 0700) < 0)
        return err_set(err, -errno, "make the directory");
    if (is_dir && hides && (r = set_opaque(u->parent, name, err)) < 0) return r;
    return image__unpack_node(u, t, e, name, err);
}

static int unpack_all(struct image_unpack *u, struct image_tar *t, struct err *err) {
    char path[IMAGE_PATH_BYTES_MAX + 1];
    struct archive_entry *e = NULL;
    int r;
    while ((r = image__tar_next(t, &e, err)) > 0) {
        const char *raw = archive_entry_pathname(e);
        if (!raw) return err_set(err, -EBADMSG, "an entry of the archive has no name");
        r = image__path_clean(raw, path, err);
        if (r == 0) r = image__budget_entry(u->budget, err);
        if (r < 0) return r;
        r = unpack_entry(u, t, e, path, err);
        if (r < 0) return err_wrap(err, r, "\"%.100s\"", path);
        u->result->entries++;
    }
    return r;
}

int image__unpack(int root, struct image_tar *t, struct image_budget *budget,
                  struct image_unpacked *ret, struct err *err) {
    struct image_unpacked result = {0};
    struct image_unpack u = {.root = root, .budget = budget, .result = &result, .parent = -1};
    int r = depth_of(root, &u.root_depth);
    if (r < 0) return err_set(err, r, "the layer's directory");
    r = unpack_all(&u, t, err);
    leave_parent(&u);
    if (r < 0) return r;
    *ret = result;
    return 0;
}
