// SPDX-License-Identifier: Apache-2.0
#include "fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

enum { TREE_DEPTH_MAX = 512 };

void fd_close(int *fd) {
    int e = errno;
    if (*fd >= 0) (void) close(*fd); /* nothing to be done about a failure: the fd is gone */
    *fd = -1;
    errno = e;
}

void fd_fill_standard(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) abort(); /* not CLOEXEC */
}

int fd_write_all(int fd, const void *buf, size_t n) {
    const char *p = buf;
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return -errno;
        p += w;
        n -= (size_t) w;
    }
    return 0;
}

ssize_t fd_read_full(int fd, void *buf, size_t n) {
    size_t have = 0;
    while (have < n) {
        ssize_t r = read(fd, (char *) buf + have, n - have);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -errno;
        if (r == 0) break;
        have += (size_t) r;
    }
    return (ssize_t) have;
}

int fd_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len) {
    auto_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return -errno;
    size_t cap = 4096, len = 0;
    auto_free char *buf = mem_alloc(cap);
    if (!buf) return -ENOMEM;
    for (;;) {
        ssize_t r = fd_read_full(fd, buf + len, cap - len - 1);
        if (r < 0) return (int) r;
        len += (size_t) r;
        if (len > max) return -EFBIG;
        if (len < cap - 1) break;
        char *bigger = mem_resize(buf, cap * 2, 1);
        if (!bigger) return -ENOMEM;
        buf = bigger;
        cap *= 2;
    }
    buf[len] = 0;
    *ret_data = steal_ptr(&buf);
    if (ret_len) *ret_len = len;
    return 0;
}

int fd_write_file(int dirfd, const char *path, const char *text) {
    auto_fd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    if (write(fd, text, strlen(text)) < 0) return -errno;
    return 0;
}

static int sync_parent(int dirfd, const char *path) {
    const char *slash = strrchr(path, '/');
    auto_free char *parent =
        slash ? mem_strndup(path, (size_t) (slash - path) + 1) : mem_strdup(".");
    if (!parent) return -ENOMEM;
    auto_fd int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

int fd_replace_file(int dirfd, const char *path, const void *data, size_t n, mode_t mode) {
    auto_free char *tmp = mem_printf("%s.new", path);
    if (!tmp) return -ENOMEM;
    auto_fd int fd =
        openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return -errno;
    int r = fd_write_all(fd, data, n);
    if (r == 0 && fsync(fd) < 0) r = -errno;
    if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0) r = -errno;
    if (r < 0) {
        (void) unlinkat(dirfd, tmp, 0); /* best effort: the next replace truncates it anyway */
        return r;
    }
    return sync_parent(dirfd, path);
}

int fd_mkdirs(int dirfd, const char *path, mode_t mode) {
    auto_free char *copy = mem_strdup(path);
    if (!copy) return -ENOMEM;
    for (char *p = copy + (*copy == '/');; p++) {
        if (*p && *p != '/') continue;
        char end = *p;
        *p = 0;
        if (*copy && mkdirat(dirfd, copy, mode) < 0 && errno != EEXIST) return -errno;
        if (!end) return 0;
        *p = '/';
    }
}

static int remove_children(int fd, dev_t dev, int depth);

static int remove_entry(int dirfd, const char *name, dev_t dev, int depth) {
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT) return 0;
    if (errno != EISDIR && errno != EPERM) return -errno;
    auto_fd int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : -errno;
    struct stat st;
    if (fstat(fd, &st) < 0) return -errno;
    if (dev && st.st_dev != dev) return -EXDEV;
    int r = depth >= TREE_DEPTH_MAX ? -ELOOP : remove_children(fd, st.st_dev, depth + 1);
    if (r < 0) return r;
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_children(int fd, dev_t dev, int depth) {
    int dup = fcntl(fd, F_DUPFD_CLOEXEC, 0);
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
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = remove_entry(fd, e->d_name, dev, depth);
    if (r == 0 && errno) r = -errno;
    closedir(d);
    return r;
}

int fd_remove_tree(int dirfd, const char *path) {
    return remove_entry(dirfd, path, 0, 0);
}

int fd_lock(int fd, pid_t *ret_pid) {
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &l) == 0) return 0;
    if (errno != EAGAIN && errno != EACCES) return -errno;
    if (ret_pid) *ret_pid = fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK ? l.l_pid : 0;
    return -EAGAIN;
}

pid_t fd_lock_holder(const char *path) {
    auto_fd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return 0;
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_GETLK, &l) < 0 || l.l_type == F_UNLCK) return 0;
    return l.l_pid;
}
