// SPDX-License-Identifier: Apache-2.0
/* runtime/base/paths.h - where one Orlop lives: state and run directory, and the names derived from
 * them. Several can run beside each other, each in a network namespace of its own.
 *
 * Thread   [any]; filled once at start.
 *
 * STATE (default /var/lib/orlop; ORLOP_STATE_DIR), survives a reboot:
 *   raft/            the scheduler's log and snapshots          (scheduler)
 *   agent/           the agent's store                          (agent)
 *   images/          OCI store: blobs/, layers/, index.json     (agent, runtime/image)
 *   tasks/ID/        upper/, work/, log/N.log, log/N.idx        (agent; log/: keeper)
 *   volumes/NAME/    named volumes                              (agent)
 * RUN (default /run/orlop; ORLOP_RUN_DIR), may vanish at a reboot:
 *   api.sock         CLI, agent -> scheduler (bus)
 *   keeper.sock  proxy.sock      agent -> keeper, proxy
 *   hold.sock                    anchor -> keeper
 *   starts  exits  closed        start and exit records (keeper, anchor)
 *   fifo/            tmpfs with the containers' stdout and stderr
 *   private/         tmpfs with secrets, configs, /etc files of the tasks
 *   anchor.lock keeper.lock agent.lock proxy.lock scheduler.lock
 *   logs/ROLE.log    stderr of our own processes
 */
#ifndef ORLOP_BASE_PATHS_H
#define ORLOP_BASE_PATHS_H

#include "err.h"

enum { PATHS_MAX = 108, PATHS_CGROUP_MAX = 32 };

struct paths {
    char state[PATHS_MAX];
    char run[PATHS_MAX];           /* short enough for a socket's name behind it */
    char cgroup[PATHS_CGROUP_MAX]; /* our parent in every hierarchy: "orlop", or "orlop-<8 hex>"
                                      when RUN is not the default */
};

/* From the arguments (NULL = not given), else the environment, else the defaults. -ENAMETOOLONG
 * when a socket's name would not fit sun_path, -EINVAL when not absolute. */
must_use int paths_init(struct paths *p, const char *state, const char *run, struct err *err);

/* "RUN/NAME" or "STATE/NAME" in a static-size buffer. */
enum { PATHS_FULL_MAX = 256 };
const char *paths_run(const struct paths *p, const char *name, char buf[static PATHS_FULL_MAX]);
const char *paths_state(const struct paths *p, const char *name, char buf[static PATHS_FULL_MAX]);

#endif
