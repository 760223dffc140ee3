// SPDX-License-Identifier: Apache-2.0
/* cli/anchor.h - start and end the anchor, and with it all of Orlop on this machine. For `orlop
 * dev`.
 *
 * Thread   one. Processes are known by the locks that they hold (RUN/ROLE.lock) and waited for by
 *          pidfd.
 */
#ifndef ORLOP_CLI_ANCHOR_H
#define ORLOP_CLI_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli.h"

/* Pid of who holds RUN/<role>.lock, 0 = nobody. */
pid_t anchor_holder(const struct paths *p, const char *role);

/* The last keeper has not ended in order (it unmounts RUN/fifo last): sandboxes may live. */
bool anchor_was_killed(const struct paths *p);

/* Make RUN and STATE, private to root. 0 or an exit code. */
must_use int anchor_make_dirs(const struct paths *p);

/* Start `orlop-keeper anchor` in a session of its own; its output goes to RUN/logs/anchor.log. */
must_use int anchor_start(const struct paths *p, pid_t *ret_pid);

/* End everything (SIGUSR1), or with KEEP all but keeper and sandboxes (SIGTERM), and wait for it. 0
 * or an exit code. */
must_use int anchor_stop(const struct paths *p, bool keep, uint32_t timeout_s);

/* The last lines of those RUN/logs/ *.log that were written since (unix time, ms), on stderr. */
void anchor_print_logs(const struct paths *p, int64_t since_unix_ms);

/* The anchor with PID is a unit's main process by its cgroup (".../orlop.service"): systemd starts
 * it again when it ends, so only systemd may end it. */
bool anchor_is_unit(pid_t pid);
/* The same, of the text of a /proc/PID/cgroup. */
bool anchor_cgroup_is_unit(const char *text);

#endif
