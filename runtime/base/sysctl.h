// SPDX-License-Identifier: Apache-2.0
/* runtime/base/sysctl.h - which kernel settings a task may have of its own.
 *
 * Role     one answer for the Compose file, the manifest's check and the child that writes them: all
 *          else would change the node.
 */
#ifndef ORLOP_BASE_SYSCTL_H
#define ORLOP_BASE_SYSCTL_H

#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

/* Of the network namespace, the IPC namespace, or its mqueue file system, unless that is the host's. */
static inline bool sysctl_is_namespaced(const char *name, bool host_network, bool host_ipc) {
    static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                      "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                      "kernel.shmmni", "kernel.shm_rmid_forced"};
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    if (strspn(name, letters) != strlen(name) || strlen(name) > 200) return false;
    if (str_starts(name, "net.")) return !host_network;
    if (str_starts(name, "fs.mqueue.")) return !host_ipc;
    for (size_t i = 0; i < array_len(ipc); i++)
        if (str_eq(name, ipc[i])) return !host_ipc;
    return false;
}

#endif
