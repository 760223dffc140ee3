// SPDX-License-Identifier: Apache-2.0
/* The keeper becomes a newer executable: execve in place, so that it stays the parent of its
 * sandboxes and learns their exit codes. All else is as after its death: the records, the FIFOs by
 * their names. The anchor asks for it (held.c) when it holds all FIFOs. Not while a sandbox starts
 * or an exec runs: of those only this program knows. */
#include <fcntl.h>
#include <unistd.h>

#include "keeper.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/sys.h"

static bool calm(const struct keeper *k) {
    const char *id;
    void *value;
    if (k->n_execs || k->hold.child_pidfd.ready) return false;
    for (size_t i = 0; map_next(&k->tasks, &i, &id, &value);) {
        const struct attempt *a = keeper__attempt_living(value);
        if (a && a->state == ATTEMPT_STARTING) return false;
    }
    return true;
}

void keeper__upgrade_turn(struct keeper *k) {
    if (k->upgrade < 0 || !calm(k)) return;
    log_info("keeper.upgrade", "next=\"the same process goes on as another executable\"");
    (void) fcntl(k->lock, F_SETFD, 0); /* held all the time: no other keeper may come */
    int r = sys_execveat(k->upgrade, "", k->argv, environ, AT_EMPTY_PATH);
    (void) fcntl(k->lock, F_SETFD, FD_CLOEXEC);
    log_error("keeper.upgrade", "err=\"%s\" next=\"goes on as it is\"", err_text(r));
    fd_close(&k->upgrade);
}
