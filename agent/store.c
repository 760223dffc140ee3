// SPDX-License-Identifier: Apache-2.0
#include "agent/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/store_tables.h"
#include "agent/storelog.h"
#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { REWRITE_MIN_BYTES = 1 << 20, REWRITE_FACTOR = 4 };
static const char log_name[] = "log", attempts_name[] = "attempts",
                  attempts_aside[] = "attempts.damaged";

struct astore {
    struct store_tables t;
    struct storelog log, attempts;
    int dirfd;
    /* A StoreBatch is a repeated field: batches one behind the other are one batch. */
    struct buf staged, writing;
    struct buf rewrite; /* framed; not empty: this write replaces the file, WRITING is in it */
    uint64_t rewritten; /* size that the last rewrite left */
    bool busy;
};

static int stage(struct astore *s, Orlop__StoreItem *item, struct err *err) {
    Orlop__StoreItem *items[] = {item};
    Orlop__StoreBatch batch = ORLOP__STORE_BATCH__INIT;
    batch.n_items = 1;
    batch.items = items;
    size_t len;
    auto_free uint8_t *data = pb_pack(&batch.base, &len);
    if (!data) return err_set(err, -ENOMEM, "stage a change");
    size_t before = s->staged.len;
    int r = buf_add(&s->staged, data, len);
    if (r < 0) {
        s->staged.error = 0; /* what was there is whole: only this item is refused */
        ensure(s->staged.len == before);
        return err_set(err, r, "stage a change of %zu bytes", len);
    }
    return 0;
}

static int load_batch(void *ctx, const uint8_t *data, size_t len, struct err *err) {
    struct astore *s = ctx;
    int r = store_tables_apply(&s->t, data, len);
    return r < 0 ? err_set(err, r, "a record cannot be understood") : 0;
}

static int load_attempt(void *ctx, const uint8_t *data, size_t len, struct err *err) {
    struct astore *s = ctx;
    struct arena a;
    arena_init(&a, 4096);
    Orlop__StoreAttempt *m = arena_unpack(&a, &orlop__store_attempt__descriptor, data, len);
    struct astore_task *t = m ? map_get(&s->t.tasks, m->task) : NULL;
    if (t) {
        t->last = (struct astore_attempt){.boot = m->boot,
                                          .attempt = m->attempt,
                                          .restarts = m->restarts,
                                          .failures = m->failures,
                                          .health = m->health,
                                          .halted = m->halted};
    }
    int r = m             ? 0
            : a.exhausted ? err_set(err, -ENOMEM, "read an attempt")
                          : err_say(err, -EBADMSG, "an attempt cannot be understood");
    arena_fini(&a);
    return r;
}

/* The file is worth nothing beyond this boot's numbers, and the keeper has those too. */
static int open_attempts(struct astore *s, struct err *err) {
    struct astore_info *i = &s->t.info;
    struct err why = {0};
    uint64_t torn;
    int r = storelog_open(&s->attempts, s->dirfd, attempts_name, load_attempt, s, &torn, &why);
    if (r == 0 && torn)
        snprintf(i->damage, sizeof i->damage, "%s: the last note was cut short and is undone",
                 attempts_name);
    if (r != -EBADMSG) return r < 0 ? err_say(err, r, "%s", why.text) : 0;
    if (renameat(s->dirfd, attempts_name, s->dirfd, attempts_aside) < 0)
        return err_set(err, -errno, "put %s aside", attempts_name);
    snprintf(i->damage, sizeof i->damage, "%.160s: kept aside as %s; counts of restarts begin anew",
             why.text, attempts_aside);
    return storelog_open(&s->attempts, s->dirfd, attempts_name, load_attempt, s, &torn, err);
}

static int make_head(struct astore *s, const char *node, struct err *err) {
    uint8_t id[ASTORE_ID_BYTES];
    if (getrandom(id, sizeof id, 0) != (ssize_t) sizeof id)
        return err_set(err, -errno, "make a store id");
    Orlop__StoreHead head = ORLOP__STORE_HEAD__INIT;
    char *name = mem_strdup(node);
    if (!name) return err_set(err, -ENOMEM, "name the store");
    head.store = (ProtobufCBinaryData){.data = id, .len = sizeof id};
    head.node = name;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_HEAD;
    item.head = &head;
    s->t.info.is_new = true;
    int r = stage(s, &item, err);
    mem_free(name);
    return r;
}

static int raise_boot(struct astore *s, const char *boot_id, struct err *err) {
    char id[ASTORE_BOOT_ID_MAX];
    snprintf(id, sizeof id, "%s", boot_id);
    Orlop__StoreBoot boot = ORLOP__STORE_BOOT__INIT;
    boot.boot = s->t.info.boot + 1;
    boot.boot_id = id;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_BOOT;
    item.boot = &boot;
    s->t.info.new_boot = true;
    return stage(s, &item, err);
}

static int load(struct astore *s, const char *dir, const char *boot_id, const char *node,
                struct err *err) {
    int r = fd_mkdirs(AT_FDCWD, dir, 0700);
    if (r < 0) return err_set(err, r, "make %s", dir);
    s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0) return err_set(err, -errno, "open %s", dir);
    r = storelog_open(&s->log, s->dirfd, log_name, load_batch, s, &s->t.info.torn_bytes, err);
    if (r < 0)
        return err_wrap(err, r, "the agent's store in %s (removing it makes this a new node)", dir);
    if (s->log.end == 0 && (r = make_head(s, node, err)) < 0) return r;
    if (strcmp(s->t.info.boot_id, boot_id) != 0 && (r = raise_boot(s, boot_id, err)) < 0) return r;
    if (astore_has_staged(s) && (r = astore_flush(s, err)) < 0) return r;
    return open_attempts(s, err);
}

int astore_open(const char *dir, const char *boot_id, const char *node, struct astore **ret,
                struct err *err) {
    if (strlen(boot_id) >= ASTORE_BOOT_ID_MAX || strlen(node) >= ASTORE_NODE_MAX)
        return err_say(err, -EINVAL, "boot id or node name is too long");
    struct astore *s = mem_zalloc(sizeof *s);
    if (!s) return err_set(err, -ENOMEM, "open the store");
    s->dirfd = s->log.fd = s->attempts.fd = -1;
    buf_init(&s->staged, ASTORE_BYTES_MAX);
    buf_init(&s->writing, ASTORE_BYTES_MAX);
    buf_init(&s->rewrite, STORELOG_FILE_MAX);
    int r = load(s, dir, boot_id, node, err);
    if (r < 0) {
        astore_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void astore_free(struct astore *s) {
    if (!s) return;
    storelog_close(&s->log);
    storelog_close(&s->attempts);
    fd_close(&s->dirfd);
    buf_fini(&s->staged);
    buf_fini(&s->writing);
    buf_fini(&s->rewrite);
    store_tables_fini(&s->t);
    mem_free(s);
}

const struct astore_info *astore_info(const struct astore *s) {
    return &s->t.info;
}
struct astore_task *astore_task(const struct astore *s, const char *id) {
    return map_get(&s->t.tasks, id);
}
const struct map *astore_tasks(const struct astore *s) {
    return &s->t.tasks;
}
const struct map *astore_networks(const struct astore *s) {
    return &s->t.networks;
}
const struct map *astore_services(const struct astore *s) {
    return &s->t.services;
}
const struct map *astore_facts(const struct astore *s) {
    return &s->t.facts;
}
struct store_changes *astore_changes(struct astore *s) {
    return &s->t.changes;
}

const struct strv *astore_volumes_gone(const struct astore *s) {
    return &s->t.volumes_gone;
}

int astore_check_wanted(const struct astore *s, uint64_t inc, const Orlop__Wanted *w) {
    const struct astore_info *i = &s->t.info;
    if (!w->to || w->to->inc != inc || inc != i->inc) return -ESTALE;
    if (w->full) {
        bool mine =
            w->store.len == ASTORE_ID_BYTES && memcmp(w->store.data, i->id, ASTORE_ID_BYTES) == 0;
        return mine && w->to->idx >= i->idx ? 0 : -ESTALE;
    }
    if (w->to->idx <= i->idx) return -ESTALE;
    return w->from && w->from->inc == i->inc && w->from->idx == i->idx ? 0 : -EAGAIN;
}

int astore_stage_wanted(struct astore *s, const Orlop__Wanted *w, struct err *err) {
    Orlop__StoreWanted sw = ORLOP__STORE_WANTED__INIT;
    union {
        const Orlop__Wanted *in;
        Orlop__Wanted *out;
    } unconst = {.in = w}; /* packing only reads */
    sw.set = unconst.out;
    sw.boot = s->t.info.boot;
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_WANTED;
    item.wanted = &sw;
    return stage(s, &item, err);
}

int astore_stage_inc(struct astore *s, uint64_t inc, struct err *err) {
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_INC;
    item.inc = inc;
    return stage(s, &item, err);
}

int astore_stage_end(struct astore *s, const Orlop__TaskStatus *end, struct err *err) {
    union {
        const Orlop__TaskStatus *in;
        Orlop__TaskStatus *out;
    } unconst = {.in = end};
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = ORLOP__STORE_ITEM__WHAT_END;
    item.end = unconst.out;
    return stage(s, &item, err);
}

static int stage_text(struct astore *s, Orlop__StoreItem__WhatCase what, const char *text,
                      struct err *err) {
    auto_free char *copy = mem_strdup(text);
    if (!copy) return err_set(err, -ENOMEM, "stage a change");
    Orlop__StoreItem item = ORLOP__STORE_ITEM__INIT;
    item.what_case = what;
    item.deleted = copy; /* every text member of the oneof lies in the same place */
    return stage(s, &item, err);
}

int astore_stage_deleted(struct astore *s, const char *task, struct err *err) {
    return stage_text(s, ORLOP__STORE_ITEM__WHAT_DELETED, task, err);
}

int astore_stage_volume_deleted(struct astore *s, const char *volume, struct err *err) {
    return stage_text(s, ORLOP__STORE_ITEM__WHAT_VOLUME_DELETED, volume, err);
}

bool astore_has_staged(const struct astore *s) {
    return s->staged.len > 0;
}

static void swap_bufs(struct buf *a, struct buf *b) {
    struct buf t = *a;
    *a = *b;
    *b = t;
}

/* The log is rewritten as it will be after this batch: the tables as they are, then the batch. */
static void plan_rewrite(struct astore *s) {
    buf_reset(&s->rewrite);
    if (s->log.end < REWRITE_MIN_BYTES || s->log.end < s->rewritten * REWRITE_FACTOR) return;
    int r = store_tables_dump(&s->t, &s->rewrite);
    if (r == 0) r = storelog_frame(&s->rewrite, s->writing.data, s->writing.len);
    if (r < 0)
        buf_reset(&s->rewrite); /* no memory for it now: append, try again at the next change */
}

void astore_write_begin(struct astore *s, struct astore_write *w) {
    ensure(!s->busy && s->staged.len > 0);
    s->busy = true;
    swap_bufs(&s->staged, &s->writing);
    buf_reset(&s->staged);
    plan_rewrite(s);
    *w = (struct astore_write){.store = s};
}

void astore_write_run(struct astore_write *w) {
    struct astore *s = w->store;
    w->status = s->rewrite.len
                    ? storelog_rewrite(&s->log, &s->rewrite, &w->err)
                    : storelog_append(&s->log, s->writing.data, s->writing.len, true, &w->err);
}

int astore_write_done(struct astore_write *w, struct err *err) {
    struct astore *s = w->store;
    ensure(s->busy);
    s->busy = false;
    int r;
    if (w->status < 0) {
        r = buf_add(&s->writing, s->staged.data, s->staged.len);
        swap_bufs(&s->staged, &s->writing);
    } else {
        if (s->rewrite.len) s->rewritten = s->rewrite.len;
        r = store_tables_apply(&s->t, (const uint8_t *) s->writing.data, s->writing.len);
    }
    buf_reset(&s->writing);
    buf_fini(&s->rewrite);
    buf_init(&s->rewrite, STORELOG_FILE_MAX);
    return r < 0 ? err_set(err, r, "keep the stored change in memory") : 0;
}

int astore_flush(struct astore *s, struct err *err) {
    if (!astore_has_staged(s)) return 0;
    struct astore_write w;
    astore_write_begin(s, &w);
    astore_write_run(&w);
    int r = astore_write_done(&w, err);
    if (w.status < 0) {
        if (err) *err = w.err;
        return w.status;
    }
    return r;
}

static int dump_attempts(struct astore *s, struct err *err) {
    struct buf b;
    buf_init(&b, STORELOG_FILE_MAX);
    int r = store_tables_dump_attempts(&s->t, &b);
    if (r == 0) r = storelog_rewrite(&s->attempts, &b, err);
    buf_fini(&b);
    return r;
}

int astore_note_attempt(struct astore *s, const char *task, const struct astore_attempt *a,
                        struct err *err) {
    struct astore_task *t = astore_task(s, task);
    if (!t) return err_say(err, -ENOENT, "task %s is not in the store", task);
    struct astore_attempt before = t->last;
    t->last = *a;
    size_t len;
    auto_free uint8_t *data = store_tables_pack_attempt(t, &len);
    int r = data ? storelog_append(&s->attempts, data, len, false, err)
                 : err_set(err, -ENOMEM, "note an attempt");
    if (r < 0) {
        t->last = before;
        return r;
    }
    return s->attempts.end > REWRITE_MIN_BYTES ? dump_attempts(s, err) : 0;
}
