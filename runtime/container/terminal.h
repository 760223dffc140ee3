// SPDX-License-Identifier: Apache-2.0
/* runtime/container/terminal.h - a pty of a container's own devpts instance, by descriptors only:
 * no name that the workload could have replaced is looked up. [keeper] */
#ifndef ORLOP_CONTAINER_TERMINAL_H
#define ORLOP_CONTAINER_TERMINAL_H

#include <stdint.h>

#include "runtime/base/err.h"

struct terminal {
    int devpts, master, slave;
};
#define TERMINAL_NONE ((struct terminal){-1, -1, -1})

/* A new devpts, mounted nowhere yet. */
must_use int terminal__make_instance(struct terminal *t, struct err *err);
/* Master and slave in the instance DEVPTS; a size of 0 by 0 is left alone. */
must_use int terminal__open_pair(struct terminal *t, int devpts, uint32_t rows, uint32_t cols,
                                 struct err *err);
void terminal__close(struct terminal *t);

#endif
