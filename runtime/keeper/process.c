// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

enum { EXECUTABLE_MAX = 256 << 20 };

int process_take_lock(const struct paths *p, const char *name, int *ret_fd, struct err *err) {
    int r = fd_mkdirs(AT_FDCWD, p->run, 0755);
    if (r < 0) return err_set(err, r, "make %s", p->run);
    char path[PATHS_FULL_MAX];
    paths_run(p, name, path);
    auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return err_set(err, -errno, "open %s", path);
    pid_t holder = 0;
    r = fd_lock(fd, &holder);
    if (r == -EAGAIN) return err_say(err, r, "%s is held by process %d", path, (int) holder);
    if (r < 0) return err_set(err, r, "lock %s", path);
    *ret_fd = steal_fd(&fd);
    return 0;
}

int process_raise_nofile(uint64_t *ret_soft, uint64_t *ret_hard) {
    enum { WANTED = 1 << 20 };
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0) return -errno;
    *ret_soft = l.rlim_cur;
    *ret_hard = l.rlim_max;
    struct rlimit more = {WANTED, WANTED};
    if (l.rlim_max < WANTED && setrlimit(RLIMIT_NOFILE, &more) == 0) return 0;
    l.rlim_cur = l.rlim_max; /* without CAP_SYS_RESOURCE: up to the hard limit */
    return setrlimit(RLIMIT_NOFILE, &l) < 0 ? -errno : 0;
}

static int exec_fd(int fd, char *const argv[]) {
    return sys_execveat(fd, "", argv, environ, AT_EMPTY_PATH);
}

static int from_mount(char *const argv[]) {
    auto_fd int tree = sys_open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE);
    if (tree < 0) return tree;
    struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    int r = sys_mount_setattr(tree, "", AT_EMPTY_PATH, &ro);
    return r < 0 ? r : exec_fd(tree, argv);
}

static int copy_self(int to) {
    auto_fd int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (from < 0) return -errno;
    for (size_t sent = 0; sent < EXECUTABLE_MAX;) {
        ssize_t n = sendfile(to, from, NULL, 1 << 20);
        if (n < 0) return -errno;
        if (n == 0) return 0;
        sent += (size_t) n;
    }
    return -EFBIG;
}

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int from_memfd(char *const argv[]) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int made = sys_memfd_create("orlop-keeper", flags | MFD_EXEC);
    if (made == -EINVAL) made = sys_memfd_create("orlop-keeper", flags); /* before 6.3 */
    if (made < 0) return made;
    auto_fd int fd = made;
    int r = copy_self(fd);
    if (r < 0) return r;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return -errno;
    return exec_fd(fd, argv);
}

int process_exec_sealed(char *const argv[], struct err *err) {
    int mount = from_mount(argv);
    int memfd = from_memfd(argv);
    return err_say(err, memfd, "start from a read-only mount: %s; from a memfd: %s",
                   err_text(mount), err_text(memfd));
}

int process_same_file(int a, int b) {
    struct stat sa, sb;
    if (fstat(a, &sa) < 0 || fstat(b, &sb) < 0) return -errno;
    if (sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino) return 1;
    if (sa.st_size != sb.st_size) return 0;
    for (off_t at = 0; at < sa.st_size;) {
        char of_a[4096], of_b[4096];
        ssize_t n = pread(a, of_a, sizeof of_a, at), m = pread(b, of_b, sizeof of_b, at);
        if (n < 0 || m < 0) return -errno;
        if (n != m || n == 0 || memcmp(of_a, of_b, (size_t) n) != 0) return 0;
        at += n;
    }
    return 1;
}

void process_notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (str_empty(path) || strlen(path) >= sizeof a.sun_path) return;
    memcpy(a.sun_path, path, strlen(path));
    if (a.sun_path[0] == '@') a.sun_path[0] = 0;
    auto_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    socklen_t len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void) !sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &a, len);
}
