// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/process.h - what the three roles do alike when they start.
 *
 * Thread   the only one of its process.
 */
#ifndef ORLOP_KEEPER_PROCESS_H
#define ORLOP_KEEPER_PROCESS_H

#include <stdint.h>

#include "runtime/base/err.h"
#include "runtime/base/paths.h"

/* Make RUN if it is missing and take RUN/NAME for the life of the process. -EAGAIN: another one of
 * the role runs (its pid is in the sentence). */
must_use int process_take_lock(const struct paths *p, const char *name, int *ret_fd,
                               struct err *err);

/* As many descriptors as we may have; *ret_: what we had been given. */
must_use int process_raise_nofile(uint64_t *ret_soft, uint64_t *ret_hard);

/* Start this executable again from a detached read-only mount of itself (a sealed memfd where that
 * fails), so that nothing which finds it through /proc can ever write to the file (CVE-2019-5736).
 * Returns only on failure. */
must_use int process_exec_sealed(char *const argv[], struct err *err);

/* Whether two files hold the same bytes. A negative errno where that cannot be said. */
must_use int process_same_file(int a, int b);

/* A datagram to NOTIFY_SOCKET (systemd), "READY=1" and the like; nothing where it is not set. */
void process_notify(const char *state);

#endif
