// SPDX-License-Identifier: Apache-2.0
/* agent/store_changes.h - what of the view is different since it was applied last, so that applying a
 * change costs what changed.
 *
 * Role     noted by store_tables.c, read and emptied by view.c. When too much or too big a change
 *          came (networks, a full set, no memory) it is only known that WHOLE must be looked at.
 * Thread   [loop]
 */
#ifndef ORLOP_AGENT_STORE_CHANGES_H
#define ORLOP_AGENT_STORE_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.pb-c.h"
#include "runtime/base/str.h"

enum { STORE_CHANGES_MAX = 512 };

struct store_changes {
    bool whole;
    bool ports; /* a service that has, or had, published ports */
    uint64_t services[STORE_CHANGES_MAX];
    uint32_t addresses[STORE_CHANGES_MAX]; /* of local tasks that came, ended or went */
    size_t n_services, n_addresses;
    struct strv tasks; /* those that came or ended */
};

void store_changes_fini(struct store_changes *c);
void store_changes_reset(struct store_changes *c); /* all of it was applied */

void store_changes_whole(struct store_changes *c);
void store_changes_service(struct store_changes *c, const Orlop__ViewService *s);
void store_changes_task(struct store_changes *c, const Orlop__TaskSpec *t);

#endif
