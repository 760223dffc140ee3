// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "outq.h"
#include "runtime/base/fd.h"

enum { PACKET_SNDBUF = 512 * 1024 };

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
};

int packet_send(int socket, const void *data, size_t len, const int *fds, size_t n_fds) {
    union {
        const void *in;
        void *out;
    } base = {.in = data}; /* iovec has no const */
    struct iovec iov = {base.out, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    if (n_fds > PACKET_FDS_MAX) return -EINVAL;
    if (n_fds) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        memset(&control, 0, m.msg_controllen);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    while (sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        if (errno != EINTR && errno != ECONNRESET) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return 0;
}

static size_t take_fds(struct msghdr *m, int *fds) {
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        size_t some = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds + n, CMSG_DATA(c), some * sizeof(int)); /* all fit: control holds no more */
        n += some;
    }
    return n;
}

int packet_receive(int socket, void *data, size_t cap, int *fds, size_t *ret_n_fds) {
    struct iovec iov = {data, cap};
    union control control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    *ret_n_fds = 0;
    ssize_t n;
    /* ECONNRESET is told once, before what the peer had sent: it closed without reading all of ours. */
    while ((n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR && errno != ECONNRESET) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    size_t got = take_fds(&m, fds);
    if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        for (size_t i = 0; i < got; i++) fd_close(&fds[i]);
        return -EMSGSIZE;
    }
    *ret_n_fds = got;
    return (int) n;
}

static int address(const char *path, struct sockaddr_un *ret) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path) return -ENAMETOOLONG;
    memcpy(ret->sun_path, path, strlen(path) + 1);
    return 0;
}

static int unix_socket(void) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int room = PACKET_SNDBUF; /* one whole packet must fit; the kernel clips to its maximum */
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    return fd;
}

/* Made under another name and renamed, so that the name always means somebody who listens. */
int packet_listen(const char *path, struct err *err) {
    char fresh[sizeof((struct sockaddr_un *) 0)->sun_path];
    int n = snprintf(fresh, sizeof fresh, "%s~", path);
    struct sockaddr_un a;
    if (n < 0 || (size_t) n >= sizeof fresh || address(fresh, &a) < 0)
        return err_set(err, -ENAMETOOLONG, "socket %s", path);
    auto_fd int fd = unix_socket();
    if (fd < 0) return err_set(err, fd, "socket %s", path);
    (void) unlink(fresh); /* of a predecessor that was killed right here */
    mode_t mask = umask(0177);
    int r = bind(fd, (struct sockaddr *) &a, sizeof a) < 0 ? -errno : 0;
    umask(mask);
    if (r == 0 && listen(fd, 64) < 0) r = -errno;
    if (r == 0 && rename(fresh, path) < 0) r = -errno;
    if (r < 0) return err_set(err, r, "listen on %s", path);
    return steal_fd(&fd);
}

int packet_connect(const char *path) {
    struct sockaddr_un a;
    int r = address(path, &a);
    if (r < 0) return r;
    auto_fd int fd = unix_socket();
    if (fd < 0) return fd;
    if (connect(fd, (struct sockaddr *) &a, sizeof a) < 0) return -errno;
    return steal_fd(&fd);
}

bool packet_peer_ok(int socket) {
    struct ucred c;
    socklen_t len = sizeof c;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0 && c.uid == geteuid();
}
