// SPDX-License-Identifier: Apache-2.0
/* runtime/container/prepare.h - what the agent makes before a start: overlay root, bind sources,
 * seccomp program, capability sets. Links libseccomp; not part of the keeper.
 *
 * Thread   [pool] for mounts (they wait for RCU), [any] for the rest.
 */
#ifndef ORLOP_CONTAINER_PREPARE_H
#define ORLOP_CONTAINER_PREPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

/* A detached overlay mount of LAYERS (top first, absolute directories) with UPPER and WORK (made by
 * the caller, same file system). SCRATCH is an empty directory of ours to attach it to for a
 * moment. Works on 6.1 (mount(2) with cwd /proc/self/fd and fd numbers as names; the length is
 * checked). Returns an fd or a negative errno. */
must_use int prepare_overlay(const char *const *layers, size_t n_layers, const char *upper,
                             const char *work, const char *scratch, struct err *err);

/* A detached clone of SOURCE (fd-walked, symlinks in the last component are followed) for a bind
 * mount. RECURSIVE includes the mounts below. *ret_file: it is no directory. */
must_use int prepare_bind(const char *source, bool recursive, bool read_only, bool *ret_file,
                          struct err *err);

/* The default capability set plus ADD minus DROP (names as in the manifest; "ALL"). -EINVAL names
 * the unknown one. */
must_use int prepare_caps(char *const *add, size_t n_add, char *const *drop, size_t n_drop,
                          uint64_t *ret, struct err *err);

/* The default seccomp profile for a capability set, compiled (libseccomp) into a memfd of struct
 * sock_filter[]; compiled once per set and kept, the fd is a duplicate for the caller. */
must_use int prepare_seccomp(uint64_t capabilities, struct err *err);
/* The same of a profile of the service's own, compiled each time. What it says of other machines and
 * of system calls that this one does not know is left out; another architecture's calls are killed
 * whatever it says. */
struct Orlop__SeccompProfile;
must_use int prepare_seccomp_profile(const struct Orlop__SeccompProfile *p, uint64_t capabilities,
                                     struct err *err);

#endif
