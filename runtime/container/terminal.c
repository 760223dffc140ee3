// SPDX-License-Identifier: Apache-2.0
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "mounts.h"
#include "runtime/base/fd.h"

int terminal__make_instance(struct terminal *t, struct err *err) {
    static const struct mount_option options[] = {
        {"mode", "620"}, {"ptmxmode", "0666"}, {"gid", "5"}, {NULL, NULL}};
    t->devpts = mounts__new_fs("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
    return t->devpts < 0 ? t->devpts : 0;
}

int terminal__open_pair(struct terminal *t, int devpts, uint32_t rows, uint32_t cols,
                        struct err *err) {
    int unlocked = 0;
    t->master = openat(devpts, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    if (t->master < 0) return err_set(err, -errno, "open ptmx");
    if (ioctl(t->master, TIOCSPTLCK, &unlocked) < 0)
        return err_set(err, -errno, "unlock the terminal");
    t->slave = ioctl(t->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (t->slave < 0) return err_set(err, -errno, "open the terminal");
    if (rows == 0 && cols == 0) return 0;
    struct winsize size = {.ws_row = (unsigned short) rows, .ws_col = (unsigned short) cols};
    if (ioctl(t->master, TIOCSWINSZ, &size) < 0) return err_set(err, -errno, "size the terminal");
    return 0;
}

void terminal__close(struct terminal *t) {
    fd_close(&t->devpts);
    fd_close(&t->master);
    fd_close(&t->slave);
}
