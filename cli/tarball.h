// SPDX-License-Identifier: Apache-2.0
/* cli/tarball.h - a directory as a tar stream, made by a thread of the pool.
 *
 * Role     pax format: owners, modes, times, hard links, devices, extended attributes. Never leaves
 *          the file system of the directory, follows no symlink.
 * Thread   [loop]; the writing itself runs in the pool and blocks on the pipe when nobody reads.
 */
#ifndef ORLOP_CLI_TARBALL_H
#define ORLOP_CLI_TARBALL_H

#include <stdbool.h>
#include <uv.h>

#include "runtime/base/err.h"

struct tarball {
    uv_work_t work;
    const char *dir;
    int read_fd, write_fd;
    bool done;
    struct err err; /* after done */
};

/* The stream is read from t->read_fd, which the caller closes: that also ends the work. T must live
 * until t->done. */
must_use int tarball_start(struct tarball *t, uv_loop_t *loop, const char *dir);

#endif
