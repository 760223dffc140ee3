// SPDX-License-Identifier: Apache-2.0
#include "agent/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum { NAMES_BYTES = 16384, VALUE_BYTES = 65536, APP_NAME_MAX = 256 };

bool volumes_name_ok(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > 200 || *name == '.' || *name == '-') return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && !strchr("_.-", c)) return false;
    }
    return true;
}

/* ---- copy ---- */

static int copy_xattrs(int from, int to) {
    auto_free char *names = mem_alloc(NAMES_BYTES);
    auto_free char *value = mem_alloc(VALUE_BYTES);
    if (!names || !value) return -ENOMEM;
    ssize_t n = flistxattr(from, names, NAMES_BYTES);
    if (n < 0) return errno == ENOTSUP ? 0 : -errno;
    for (const char *p = names; p < names + n; p += strlen(p) + 1) {
        if (strncmp(p, "trusted.", 8) == 0)
            continue; /* overlay's own, or none of a container's business */
        ssize_t len = fgetxattr(from, p, value, VALUE_BYTES);
        if (len < 0) return -errno;
        if (fsetxattr(to, p, value, (size_t) len, 0) < 0 && errno != ENOTSUP) return -errno;
    }
    return 0;
}

/* Owner before mode: chown clears the set-id bits. */
static int copy_attributes(int from, int to, const struct stat *st) {
    if (fchown(to, st->st_uid, st->st_gid) < 0) return -errno;
    if (fchmod(to, st->st_mode & 07777) < 0) return -errno;
    int r = copy_xattrs(from, to);
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (r == 0 && futimens(to, times) < 0) r = -errno;
    return r;
}

static int copy_bytes(int from, int to) {
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP))
            n = sendfile(to, from, NULL, 1 << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? -errno : 0;
    }
}

static int copy_file(int from_dir, int to_dir, const char *name) {
    auto_fd int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0) return -errno;
    struct stat st;
    if (fstat(from, &st) < 0) return -errno;
    if (!S_ISREG(st.st_mode)) return 0; /* swapped meanwhile */
    auto_fd int to =
        openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0) return -errno;
    int r = copy_bytes(from, to);
    return r < 0 ? r : copy_attributes(from, to, &st);
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *st) {
    char target[PATH_MAX];
    ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
    if (n < 0) return -errno;
    target[n] = 0;
    if (symlinkat(target, to_dir, name) < 0) return -errno;
    return fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_dir(int from, int to, int depth);

static int copy_entry(int from, int to, const char *name, int depth) {
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    if (S_ISREG(st.st_mode)) return copy_file(from, to, name);
    if (S_ISLNK(st.st_mode)) return copy_link(from, to, name, &st);
    if (!S_ISDIR(st.st_mode)) return 0; /* a device, a socket, a FIFO */
    auto_fd int sub_from = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub_from < 0) return -errno;
    if (mkdirat(to, name, 0700) < 0) return -errno;
    auto_fd int sub_to = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub_to < 0) return -errno;
    int r = copy_dir(sub_from, sub_to, depth + 1);
    return r < 0 ? r : copy_attributes(sub_from, sub_to, &st);
}

static int copy_dir(int from, int to, int depth) {
    if (depth > VOLUMES_COPY_DEPTH) return -ELOOP;
    int dup = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dup < 0) return -errno;
    DIR *d = fdopendir(dup);
    if (!d) {
        int e = -errno;
        fd_close(&dup);
        return e;
    }
    int r = 0;
    struct dirent *e;
    while (r == 0 && (errno = 0, e = readdir(d)) != NULL)
        if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, ".."))
            r = copy_entry(from, to, e->d_name, depth);
    if (r == 0 && errno) r = -errno;
    closedir(d);
    return r;
}

int volumes_copy_tree(int from, int to, struct err *err) {
    int r = copy_dir(from, to, 0);
    return r < 0 ? err_set(err, r, "copy the image's content into a volume") : 0;
}

/* ---- make ---- */

static int fill(int data, int root, const char *target, struct err *err) {
    if (root < 0) return 0;
    auto_fd int from = sys_open_in_root(root, target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (from == -ENOENT || from == -ENOTDIR || from == -ELOOP)
        return 0; /* the image has nothing there */
    if (from < 0) return err_set(err, from, "open %s of the image", target);
    struct stat st;
    if (fstat(from, &st) < 0) return err_set(err, -errno, "look at %s of the image", target);
    int r = volumes_copy_tree(from, data, err);
    if (r == 0 && (r = copy_attributes(from, data, &st)) < 0)
        err_set(err, r, "owner and mode of %s", target);
    return r;
}

static int make_new(const char *tmp, const char *app, int root, const char *target,
                    struct err *err) {
    char path[VOLUMES_PATH_MAX + 16];
    int r = fd_remove_tree(AT_FDCWD, tmp); /* of an agent that died in the middle */
    if (r == 0) r = fd_mkdirs(AT_FDCWD, tmp, 0711);
    snprintf(path, sizeof path, "%s/app", tmp);
    if (r == 0 && *app) r = fd_replace_file(AT_FDCWD, path, app, strlen(app), 0600);
    snprintf(path, sizeof path, "%s/_data", tmp);
    if (r == 0 && mkdir(path, 0755) < 0) r = -errno;
    if (r < 0) return err_set(err, r, "make volume folder %s", tmp);
    auto_fd int data = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (data < 0) return err_set(err, -errno, "open %s", path);
    if (fchmod(data, 0755) < 0) return err_set(err, -errno, "mode of %s", path);
    r = fill(data, root, target, err);
    if (r == 0 && syncfs(data) < 0) r = err_set(err, -errno, "sync %s", path);
    return r;
}

static bool is_empty(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        fd_close(&fd);
        return false;
    }
    int n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n == 2;
}

/* A volume that was made without a task (or emptied by hand) is filled when it is first used, as by
 * Docker. */
static int fill_empty(const char *path, int root, const char *target, struct err *err) {
    auto_fd int data = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (data < 0) return err_set(err, -errno, "open volume %s", path);
    return is_empty(path) ? fill(data, root, target, err) : 0;
}

static int make(const char *dir, const char *app, int root, const char *target, struct err *err) {
    char path[VOLUMES_PATH_MAX + 16], tmp[VOLUMES_PATH_MAX];
    snprintf(path, sizeof path, "%s/_data", dir);
    if (access(path, F_OK) == 0) return fill_empty(path, root, target, err);
    const char *base = strrchr(dir, '/');
    base = base ? base + 1 : dir;
    int n = snprintf(tmp, sizeof tmp, "%.*s.%s.new", (int) (base - dir), dir, base);
    if (n >= (int) sizeof tmp - 8) return err_set(err, -ENAMETOOLONG, "volume %s", dir);
    int r = make_new(tmp, app, root, target, err);
    if (r == 0 && rename(tmp, dir) < 0) r = err_set(err, -errno, "name volume folder %s", dir);
    if (r < 0) {
        int ignored = fd_remove_tree(AT_FDCWD, tmp);
        (void) ignored; /* the next attempt removes it first */
    }
    return r;
}

/* Two replicas may be prepared at the same time: the first one makes and fills it. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

int volumes_make(const char *dir, const char *app, int root, const char *target, struct err *err) {
    pthread_mutex_lock(&making);
    int r = make(dir, app, root, target, err);
    pthread_mutex_unlock(&making);
    return r;
}

/* ---- list and remove ---- */

static int read_info(int dirfd, const char *name, struct volumes_info *v) {
    char path[VOLUMES_PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/_data", name);
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    snprintf(path, sizeof path, "%s/app", name);
    int r = fd_read_file(dirfd, path, APP_NAME_MAX, &v->app, NULL);
    if (r == -ENOENT) v->app = mem_strdup("");
    v->name = mem_strdup(name);
    struct statx sx;
    bool born =
        statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &sx) == 0 && sx.stx_mask & STATX_BTIME;
    v->created_unix_ms = born ? sx.stx_btime.tv_sec * 1000 : st.st_ctim.tv_sec * 1000;
    return v->app && v->name ? 0 : r < 0 && r != -ENOENT ? r : -ENOMEM;
}

void volumes_infos_free(struct volumes_info *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mem_free(v[i].name);
        mem_free(v[i].app);
    }
    mem_free(v);
}

static int list_dir(DIR *d, struct volumes_info **v, size_t *n) {
    struct dirent *e;
    int r = 0;
    while (r == 0 && (errno = 0, e = readdir(d)) != NULL) {
        if (!volumes_name_ok(e->d_name)) continue;
        struct volumes_info *more = mem_resize(*v, *n + 1, sizeof *more);
        if (!more) return -ENOMEM;
        *v = more;
        more[*n] = (struct volumes_info){0};
        r = read_info(dirfd(d), e->d_name, &more[(*n)++]);
        if (r == -ENOENT) { /* no volume of ours, or removed meanwhile */
            (*n)--;
            r = 0;
        }
    }
    return r < 0 ? r : -errno;
}

int volumes_list(const char *volumes_dir, struct volumes_info **ret, size_t *ret_n,
                 struct err *err) {
    DIR *d = opendir(volumes_dir);
    struct volumes_info *v = NULL;
    size_t n = 0;
    int r = d ? list_dir(d, &v, &n) : errno == ENOENT ? 0 : -errno;
    if (d) closedir(d);
    if (r < 0) {
        volumes_infos_free(v, n);
        return err_set(err, r, "list volumes in %s", volumes_dir);
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

int volumes_remove(const char *volumes_dir, const char *name, struct err *err) {
    if (!volumes_name_ok(name)) return err_say(err, -EINVAL, "'%s' is no name of a volume", name);
    auto_fd int dir = open(volumes_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 && errno == ENOENT) return err_say(err, -ENOENT, "there is no volume %s", name);
    if (dir < 0) return err_set(err, -errno, "open %s", volumes_dir);
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return err_say(err, -ENOENT, "there is no volume %s", name);
    pthread_mutex_lock(&making);
    int r = fd_remove_tree(dir, name);
    pthread_mutex_unlock(&making);
    return r < 0 ? err_set(err, r, "remove volume %s", name) : 0;
}
