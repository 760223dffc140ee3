// SPDX-License-Identifier: Apache-2.0
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <sys/mount.h> and <linux/mount.h> of bookworm clash; these two are all that is needed. */
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);

#define CALL(...)                                                                                  \
    ({                                                                                             \
        long call__r_ = syscall(__VA_ARGS__);                                                      \
        (int) (call__r_ < 0 ? -errno : call__r_);                                                  \
    })

pid_t sys_clone3(struct clone_args *args, size_t size) {
    return CALL(SYS_clone3, args, size);
}
int sys_pidfd_open(pid_t pid, unsigned flags) {
    return CALL(SYS_pidfd_open, pid, flags);
}
int sys_pidfd_send_signal(int pidfd, int sig) {
    return CALL(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}
int sys_pidfd_getfd(int pidfd, int fd) {
    return CALL(SYS_pidfd_getfd, pidfd, fd, 0);
}
int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    for (;;) { /* EAGAIN: a rename raced with "..": the kernel asks to try again */
        int r = CALL(SYS_openat2, dirfd, path, &how, sizeof how);
        if (r != -EAGAIN) return r;
    }
}
int sys_open_tree(int dirfd, const char *path, unsigned flags) {
    return CALL(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC);
}
int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
    return CALL(SYS_move_mount, from, from_path, to, to_path, flags);
}
int sys_fsopen(const char *fs, unsigned flags) {
    return CALL(SYS_fsopen, fs, flags | FSOPEN_CLOEXEC);
}
int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux) {
    return CALL(SYS_fsconfig, fd, cmd, key, value, aux);
}
int sys_fsmount(int fd, unsigned flags, unsigned attr) {
    return CALL(SYS_fsmount, fd, flags | FSMOUNT_CLOEXEC, attr);
}
int sys_mount_setattr(int dirfd, const char *path, unsigned flags, const struct mount_attr *attr) {
    return CALL(SYS_mount_setattr, dirfd, path, flags, attr, sizeof *attr);
}
int sys_mount(const char *source, const char *target, const char *fs, unsigned long flags,
              const void *data) {
    return mount(source, target, fs, flags, data) < 0 ? -errno : 0;
}
int sys_umount2(const char *target, int flags) {
    return umount2(target, flags) < 0 ? -errno : 0;
}
int sys_pivot_root(const char *new_root, const char *put_old) {
    return CALL(SYS_pivot_root, new_root, put_old);
}
int sys_close_range(unsigned first, unsigned last, unsigned flags) {
    return CALL(SYS_close_range, first, last, flags);
}
int sys_execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags) {
    return CALL(SYS_execveat, dirfd, path, argv, envp, flags);
}
int sys_memfd_create(const char *name, unsigned flags) {
    return CALL(SYS_memfd_create, name, flags);
}
int sys_open_in_root(int root, const char *path, uint64_t flags, uint64_t mode) {
    return sys_openat2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}
