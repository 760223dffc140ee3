// SPDX-License-Identifier: Apache-2.0
#include "term.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios saved;
static int raw_fd = -1;

void term_restore(void) {
    if (raw_fd < 0) return;
    (void) tcsetattr(raw_fd, TCSADRAIN, &saved); /* nothing better could be tried */
    raw_fd = -1;
}

int term_raw(int fd) {
    static bool registered;
    struct termios t;
    if (tcgetattr(fd, &t) < 0) return -errno;
    if (!registered && atexit(term_restore) != 0) return -ENOMEM;
    registered = true;
    saved = t;
    cfmakeraw(&t);
    if (tcsetattr(fd, TCSADRAIN, &t) < 0) return -errno;
    raw_fd = fd;
    return 0;
}

void term_size(int fd, uint32_t *ret_rows, uint32_t *ret_cols) {
    struct winsize w = {0};
    if (ioctl(fd, TIOCGWINSZ, &w) < 0) w = (struct winsize){0};
    *ret_rows = w.ws_row;
    *ret_cols = w.ws_col;
}
