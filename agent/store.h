// SPDX-License-Identifier: Apache-2.0
/* agent/store.h - what the agent knows that must survive its death and a power loss.
 *
 * Role     store id, boot counter, incarnation, the wanted set with its version, ends of tasks; in
 *          memory as tables, on disk as storelog records. One change = one fsynced batch: stage
 *          what belongs together, flush, and only then is it in the tables. Attempt numbers are in
 *          a second file that is not fsynced: they need to survive processes only.
 * Thread   [loop] but astore_write_run, which blocks in fsync [pool]. One write at a time.
 * Owns     STATE/agent (log, attempts), the tables and every message in them. A TaskSpec never
 *          changes once it is here; its pointer is valid until the task is deleted.
 * Limits   ASTORE_BYTES_MAX staged in one batch; the log is rewritten when it is 1 MiB and four
 *          times what a rewrite left.
 * See      tests/unit/agent/test_store.c
 */
#ifndef ORLOP_AGENT_STORE_H
#define ORLOP_AGENT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.pb-c.h"
#include "proto/arena.h"
#include "runtime/base/err.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"
#include "store.pb-c.h"

enum {
    ASTORE_ID_BYTES = 16,
    ASTORE_BOOT_ID_MAX = 64,
    ASTORE_BYTES_MAX = 64 << 20,
    ASTORE_NODE_MAX = 64,
    ASTORE_DAMAGE_MAX = 256
};

/* What the attempts file knows of a task: the last attempt, in whatever boot. */
struct astore_attempt {
    uint64_t boot; /* 0: none yet */
    uint32_t attempt, restarts, failures;
    Orlop__Health health;
    bool halted;
};

/* A task of the wanted set, or one that left it and is not deleted yet (a tombstone). */
struct astore_task {
    const char *id;
    const Orlop__TaskSpec *spec;
    Orlop__Want want;     /* spec->want is that of the acceptance */
    uint64_t accept_boot; /* older than the present boot: what ran was ended by a reboot */
    bool in_set;
    const Orlop__TaskStatus *end; /* final state, NULL = none yet */
    struct astore_attempt last;
    struct arena arena;
    struct arena end_arena;
};

/* A network or service of the view, or a fact. */
struct astore_object {
    struct arena arena;
    void *message; /* ViewNetwork, ViewService, ViewFact */
};

struct astore;

struct astore_info {
    uint8_t id[ASTORE_ID_BYTES];
    char node[ASTORE_NODE_MAX];
    bool is_new; /* made by this astore_open: nothing was known */
    uint64_t boot;
    bool new_boot; /* this astore_open raised it */
    char boot_id[ASTORE_BOOT_ID_MAX];
    uint64_t inc, idx;
    uint64_t torn_bytes;            /* undone at open: a write that a power loss cut short */
    char damage[ASTORE_DAMAGE_MAX]; /* what was put aside at open, a sentence; "" = nothing */
};

/* Open DIR (made if missing) in the boot BOOT_ID, under the name NODE; the raised boot number is on
 * disk before this returns. -EBADMSG: damaged, see storelog.h. Blocks. */
must_use int astore_open(const char *dir, const char *boot_id, const char *node,
                         struct astore **ret, struct err *err);
void astore_free(struct astore *s);

const struct astore_info *astore_info(const struct astore *s);
struct astore_task *astore_task(const struct astore *s, const char *id);
/* Tables: const char *key -> struct astore_task * or struct astore_object *, in order of arrival.
 */
const struct map *astore_tasks(const struct astore *s);
const struct map *astore_networks(const struct astore *s);
const struct map *astore_services(const struct astore *s);
const struct map *astore_facts(const struct astore *s); /* key "app/service" */
const struct strv *astore_volumes_gone(const struct astore *s);

/* What of the view changed since it was applied: store_changes.h. The view's owner empties it. */
struct store_changes *astore_changes(struct astore *s);

/* Is W acceptable now? 0; -ESTALE: not for this store, or older than what is stored (ignore it);
 * -EAGAIN: a delta that does not start here (ask for a full set). */
must_use int astore_check_wanted(const struct astore *s, uint64_t inc, const Orlop__Wanted *w);

/* Stage changes for the next flush. Nothing changes in the tables. A set in parts (Wanted.more) is
 * staged whole, without a flush in between: the later parts as deltas. */
must_use int astore_stage_wanted(struct astore *s, const Orlop__Wanted *w, struct err *err);
must_use int astore_stage_inc(struct astore *s, uint64_t inc, struct err *err);
must_use int astore_stage_end(struct astore *s, const Orlop__TaskStatus *end, struct err *err);
must_use int astore_stage_deleted(struct astore *s, const char *task, struct err *err);
must_use int astore_stage_volume_deleted(struct astore *s, const char *volume, struct err *err);
bool astore_has_staged(const struct astore *s);

/* One write: begin takes what is staged (later stages go to the next), run writes, done puts it
 * into the tables when STATUS is 0, else stages it again before what came later. done fails only
 * with -ENOMEM: then memory is behind the disk and the process must end. */
struct astore_write {
    struct astore *store;
    int status;
    struct err err;
};
void astore_write_begin(struct astore *s, struct astore_write *w);
void astore_write_run(struct astore_write *w); /* [pool] */
must_use int astore_write_done(struct astore_write *w, struct err *err);

must_use int astore_flush(struct astore *s, struct err *err); /* the three in one; blocks */

/* Note an attempt (before START, and when its health changes). Not fsynced, at once in the table.
 */
must_use int astore_note_attempt(struct astore *s, const char *task, const struct astore_attempt *a,
                                 struct err *err);

#endif
