// SPDX-License-Identifier: Apache-2.0
/* agent/store_tables.h - the store in memory: what its records mean, and how it is written out
 * again.
 *
 * Role     within the store only (see store.h). apply() is the one way by which anything changes,
 *          at load and at run time alike.
 * Thread   [loop]
 */
#ifndef ORLOP_AGENT_STORE_TABLES_H
#define ORLOP_AGENT_STORE_TABLES_H

#include "agent/store.h"
#include "agent/store_changes.h"
#include "runtime/base/buf.h"

struct store_tables {
    struct astore_info info;
    struct map tasks, networks, services, facts;
    struct strv volumes_gone;
    struct store_changes changes;
};

void store_tables_fini(struct store_tables *t);

/* DATA is one StoreBatch. -EBADMSG: no batch of ours; -ENOMEM: the tables are not to be used any
 * more. */
must_use int store_tables_apply(struct store_tables *t, const uint8_t *data, size_t len);

/* Everything as framed records. */
must_use int store_tables_dump(const struct store_tables *t, struct buf *ret);
must_use int store_tables_dump_attempts(const struct store_tables *t, struct buf *ret);
must_use uint8_t *store_tables_pack_attempt(const struct astore_task *t, size_t *ret_len);

#endif
