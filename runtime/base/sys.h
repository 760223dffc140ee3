// SPDX-License-Identifier: Apache-2.0
/* runtime/base/sys.h - the system calls that glibc 2.36 does not wrap, and the privileged ones that
 * only this table may call. Every function returns >= 0 or a negative errno, never touches errno's
 * meaning for the caller, allocates nothing: usable between clone and exec.
 *
 * Thread   [any], [child].
 * See      man 2 of each name.
 */
#ifndef ORLOP_BASE_SYS_H
#define ORLOP_BASE_SYS_H

#include <linux/openat2.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct clone_args;
struct mount_attr;

pid_t sys_clone3(struct clone_args *args, size_t size);
int sys_pidfd_open(pid_t pid, unsigned flags);
int sys_pidfd_send_signal(int pidfd, int sig);
int sys_pidfd_getfd(int pidfd, int fd);
int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int sys_open_tree(int dirfd, const char *path, unsigned flags);
int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags);
int sys_fsopen(const char *fs, unsigned flags);
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux);
int sys_fsmount(int fd, unsigned flags, unsigned attr);
int sys_mount_setattr(int dirfd, const char *path, unsigned flags, const struct mount_attr *attr);
int sys_mount(const char *source, const char *target, const char *fs, unsigned long flags,
              const void *data);
int sys_umount2(const char *target, int flags);
int sys_pivot_root(const char *new_root, const char *put_old);
int sys_close_range(unsigned first, unsigned last, unsigned flags);
int sys_execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags);
int sys_memfd_create(const char *name, unsigned flags);

/* Open PATH inside the directory ROOT as if ROOT were "/": symlinks, ".." and absolute targets stay
 * inside, magic links are refused (openat2(2), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). */
int sys_open_in_root(int root, const char *path, uint64_t flags, uint64_t mode);

#endif
