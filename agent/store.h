// SPDX-License-Identifier: Apache-2.0
/* agent/store.h - what the agent knows that must survive its death and a power loss.
 *
 * Role     store id, boot counter, incarnation, the wanted set with its version, ends of tasks; in
 * memory as tables, on disk as storelog records. One change = one fsynced batch: stage what belongs
 *          together, flush, and only then is it in the tables. Attempt numbers are in a second file
 * that is not fsynced: they need to survive processes only. Thread   [loop] but store_write_run,
 * which blocks in fsync [pool]. One write at a time. Owns     STATE/agent (log, attempts), the
 * tables and every message in them. A TaskSpec never changes once it is here; its pointer is valid
 * until the task is deleted. Limits   STORE_BYTES_MAX staged in one batch; the log is rewritten
 * when it is 1 MiB and four times what a rewrite left. See      tests/unit/agent/test_store.c
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
    STORE_ID_BYTES = 16,
    STORE_BOOT_ID_MAX = 64,
    STORE_BYTES_MAX = 64 << 20,
    STORE_NODE_MAX = 64
};

/* What the attempts file knows of a task: the last attempt, in whatever boot. */
struct store_attempt {
    uint64_t boot; /* 0: none yet */
    uint32_t attempt, restarts, failures;
    Orlop__Health health;
    bool halted;
};

/* A task of the wanted set, or one that left it and is not deleted yet (a tombstone). */
struct store_task {
    const char *id;
    const Orlop__TaskSpec *spec;
    Orlop__Want want;     /* spec->want is that of the acceptance */
    uint64_t accept_boot; /* older than the present boot: what ran was ended by a reboot */
    bool in_set;
    const Orlop__TaskStatus *end; /* final state, NULL = none yet */
    struct store_attempt last;
    struct arena arena;
    struct arena end_arena;
};

/* A network or service of the view, or a fact. */
struct store_object {
    struct arena arena;
    void *message; /* ViewNetwork, ViewService, ViewFact */
};

struct store;

struct store_info {
    uint8_t id[STORE_ID_BYTES];
    char node[STORE_NODE_MAX];
    bool is_new; /* made by this store_open: nothing was known */
    uint64_t boot;
    bool new_boot; /* this store_open raised it */
    char boot_id[STORE_BOOT_ID_MAX];
    uint64_t inc, idx;
    uint64_t torn_bytes; /* cut off at open: a write that a power loss cut short */
};

/* Open DIR (made if missing) in the boot BOOT_ID, under the name NODE; the raised boot number is on
 * disk before this returns. -EBADMSG: damaged, see storelog.h. Blocks. */
must_use int store_open(const char *dir, const char *boot_id, const char *node, struct store **ret,
                        struct err *err);
void store_free(struct store *s);

const struct store_info *store_info(const struct store *s);
struct store_task *store_task(const struct store *s, const char *id);
/* Tables: const char *key -> struct store_task * or struct store_object *, in order of arrival. */
const struct map *store_tasks(const struct store *s);
const struct map *store_networks(const struct store *s);
const struct map *store_services(const struct store *s);
const struct map *store_facts(const struct store *s); /* key "app/service" */
const struct strv *store_volumes_gone(const struct store *s);

/* Is W acceptable now? 0; -ESTALE: not for this store, or older than what is stored (ignore it);
 * -EAGAIN: a delta that does not start here (ask for a full set). */
must_use int store_check_wanted(const struct store *s, uint64_t inc, const Orlop__Wanted *w);

/* Stage changes for the next flush. Nothing changes in the tables. A set in parts (Wanted.more) is
 * staged whole, without a flush in between: the later parts as deltas. */
must_use int store_stage_wanted(struct store *s, const Orlop__Wanted *w, struct err *err);
must_use int store_stage_inc(struct store *s, uint64_t inc, struct err *err);
must_use int store_stage_end(struct store *s, const Orlop__TaskStatus *end, struct err *err);
must_use int store_stage_deleted(struct store *s, const char *task, struct err *err);
must_use int store_stage_volume_deleted(struct store *s, const char *volume, struct err *err);
bool store_has_staged(const struct store *s);

/* One write: begin takes what is staged (later stages go to the next), run writes, done puts it
 * into the tables when STATUS is 0, else stages it again before what came later. done fails only
 * with -ENOMEM: then memory is behind the disk and the process must end. */
struct store_write {
    struct store *store;
    int status;
    struct err err;
};
void store_write_begin(struct store *s, struct store_write *w);
void store_write_run(struct store_write *w); /* [pool] */
must_use int store_write_done(struct store_write *w, struct err *err);

must_use int store_flush(struct store *s, struct err *err); /* the three in one; blocks */

/* Note an attempt (before START, and when its health changes). Not fsynced, at once in the table.
 */
must_use int store_note_attempt(struct store *s, const char *task, const struct store_attempt *a,
                                struct err *err);

#endif
