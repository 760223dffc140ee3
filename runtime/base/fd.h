// SPDX-License-Identifier: Apache-2.0
/* runtime/base/fd.h - file descriptors: ownership, whole reads and writes, files as a whole.
 *
 * Thread   [any]. All descriptors made here are CLOEXEC. A closed or never opened one is -1.
 */
#ifndef ORLOP_BASE_FD_H
#define ORLOP_BASE_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

void fd_close(int *fd); /* closes and sets -1; keeps errno; -1 allowed */

static inline void fd__auto_close(int *fd) {
    fd_close(fd);
}
#define auto_fd __attribute__((cleanup(fd__auto_close)))

static inline int steal_fd(int *fd) {
    int v = *fd;
    *fd = -1;
    return v;
}

/* First in main(): of descriptors 0 to 2, those that are closed become /dev/null, so that nothing
 * that is opened later is taken for a standard stream. */
void fd_fill_standard(void);

/* All of BUF, through EINTR and short writes. 0 or negative errno. */
must_use int fd_write_all(int fd, const void *buf, size_t n);

/* N bytes or the end of the file. Returns the count read, or negative errno. */
must_use ssize_t fd_read_full(int fd, void *buf, size_t n);

/* The whole of PATH below DIRFD, at most MAX bytes (-EFBIG above), with a NUL behind it.
 * *ret_data is the caller's (mem_free). Works for /proc files too. */
must_use int fd_read_file(int dirfd, const char *path, size_t max, char **ret_data,
                          size_t *ret_len);

/* Write an existing control file (cgroup, proc) in one write(2). */
must_use int fd_write_file(int dirfd, const char *path, const char *text);

/* Replace PATH below DIRFD by a file with these bytes: temporary name, fsync, rename, fsync of the
 * directory. After 0 the new content survives power loss; after a failure the old one is untouched.
 */
must_use int fd_replace_file(int dirfd, const char *path, const void *data, size_t n, mode_t mode);

/* mkdir -p below DIRFD (AT_FDCWD allowed), every new level with MODE. */
must_use int fd_mkdirs(int dirfd, const char *path, mode_t mode);

/* Delete PATH below DIRFD and all below it, by descriptors, never leaving its file system and never
 * following a symlink. A missing PATH is success. */
must_use int fd_remove_tree(int dirfd, const char *path);

/* Exclusive fcntl lock on FD (a child does not inherit it). 0, or -EAGAIN with the holder's pid in
 * *ret_pid (may be NULL). */
must_use int fd_lock(int fd, pid_t *ret_pid);

/* Pid of the process that holds the fcntl lock on PATH; 0 = nobody (also when PATH is missing). */
pid_t fd_lock_holder(const char *path);

#endif
