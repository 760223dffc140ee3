// SPDX-License-Identifier: Apache-2.0
/* runtime/container/seccomp_table.h - the default profile as data: which system calls a sandbox may
 * make, and which only with a capability. Arguments are prepare_seccomp.c's. [any] */
#ifndef ORLOP_CONTAINER_SECCOMP_TABLE_H
#define ORLOP_CONTAINER_SECCOMP_TABLE_H

#include <stdint.h>

struct seccomp_group {
    uint64_t any_of;          /* capabilities of which one is needed; 0 = none is */
    const char *const *names; /* NULL behind the last; a name that this machine lacks is no entry */
};

extern const struct seccomp_group seccomp_groups[];
extern const unsigned seccomp_n_groups;

#endif
