// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "runtime/base/fd.h"

/* A pipe that its reader holds open for writing too: reading waits for ever, as on a terminal at
 * which nobody sits. */
static int open_endless(int *ret, struct err *err) {
    int ends[2];
    char path[32];
    if (pipe2(ends, O_CLOEXEC) < 0) return err_set(err, -errno, "make standard input");
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    *ret = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    int r = *ret < 0 ? -errno : 0;
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    return r < 0 ? err_set(err, r, "open standard input") : 0;
}

/* Host paths, so before the root changes. O_RDWR: a writer never sees EPIPE when the reader dies,
 * and what is written waits for the next one. */
int stdio__open_fifos(struct child *c, struct err *err) {
    if (c->process.tty) return 0;
    for (int i = 0; i < 2; i++) {
        int fd = open(c->fifo[i], O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
        struct stat st;
        if (fd < 0) return err_set(err, -errno, "open %s", c->fifo[i]);
        if (fstat(fd, &st) < 0) return err_set(err, -errno, "stat %s", c->fifo[i]);
        if (!S_ISFIFO(st.st_mode)) return err_say(err, -EINVAL, "%s is no FIFO", c->fifo[i]);
        c->process.stdio[i + 1] = fd;
    }
    return c->spec->stdin_open ? open_endless(&c->process.stdio[0], err) : 0;
}

/* The workload may open /dev/stdout again, which checks the owner. Never a device: /dev/null
 * belongs to everybody. A terminal's group stays. */
static int give(const struct process *p, int fd, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) < 0) return err_set(err, -errno, "stat a standard stream");
    if (!S_ISFIFO(st.st_mode) && !(p->tty && isatty(fd))) return 0;
    if (st.st_uid == p->who.uid) return 0;
    if (fchown(fd, p->who.uid, p->tty ? (gid_t) -1 : p->who.gid) < 0)
        return err_set(err, -errno, "give a standard stream to user %u", p->who.uid);
    return 0;
}

int stdio__install(struct process *p, struct err *err) {
    for (int i = 0; i < 3; i++) {
        int r = give(p, p->stdio[i], err);
        if (r < 0) return r;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(p->stdio[i], i) < 0) return err_set(err, -errno, "standard stream %d", i);
    if (setsid() < 0) return err_set(err, -errno, "start a session");
    if (p->tty && ioctl(0, TIOCSCTTY, 0) < 0) return err_set(err, -errno, "take the terminal");
    return 0;
}
