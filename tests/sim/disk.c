// SPDX-License-Identifier: Apache-2.0
/* The agent's store files (agent/storelog.h): a process that dies loses nothing, a power loss all
 * that was not synced, from some record on. Fewer bytes than a record never come back: that the
 * file format sees to (tests/unit/agent/test_store.c). */
#include <errno.h>
#include <string.h>

#include "agent/storelog.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "sim.h"

struct record {
    struct list node;
    bool synced;
    size_t len;
    uint8_t data[];
};

static struct list files[2]; /* log, attempts */

static struct list *file(const char *name) {
    return &files[str_eq(name, "attempts")];
}

static void empty(struct list *f) {
    while (f->next && !list_empty(f)) {
        struct record *r = list_entry(f->next, struct record, node);
        list_del(&r->node);
        mem_free(r);
    }
    list_init(f);
}

void sim_disk_reset(void) {
    list_init(&files[0]);
    list_init(&files[1]);
    sim_raft_reset();
}

void sim_disk_new_store(void) {
    empty(&files[0]);
    empty(&files[1]);
}

static void lose_unsynced(struct list *f) {
    bool lost = false;
    list_each_safe (it, f) {
        struct record *r = list_entry(it, struct record, node);
        lost |= !r->synced && (!sim.chaos || sim_below(2));
        if (!lost) continue;
        list_del(&r->node);
        mem_free(r);
    }
}

void sim_disk_power_loss(void) {
    lose_unsynced(&files[0]);
    lose_unsynced(&files[1]);
}

static void add(struct list *f, const void *data, size_t len, bool synced) {
    enum sim_role was = sim_as(SIM_WORLD);
    struct record *r = mem_alloc(sizeof *r + len);
    sim_as(was);
    *r = (struct record){.synced = synced, .len = len};
    memcpy(r->data, data, len);
    list_add_tail(f, &r->node);
}

static uint64_t size_of(const struct list *f) {
    uint64_t n = 0;
    list_each (it, f) n += 12 + list_entry(it, struct record, node)->len;
    return n;
}

int storelog_open(struct storelog *l, int dirfd, const char *name, storelog_cb cb, void *ctx,
                  uint64_t *ret_torn, struct err *err) {
    *l = (struct storelog){.dirfd = dirfd, .fd = -1, .name = name, .end = size_of(file(name))};
    *ret_torn = 0;
    list_each (it, file(name)) {
        struct record *r = list_entry(it, struct record, node);
        int e = cb(ctx, r->data, r->len, err);
        if (e < 0) return e;
    }
    return 0;
}

void storelog_close(struct storelog *l) {
    (void) l;
}

int storelog_append(struct storelog *l, const void *data, size_t len, bool sync, struct err *err) {
    if (sim.disk_full || sim_chance(8)) return err_set(err, -ENOSPC, "write %s", l->name);
    add(file(l->name), data, len, false);
    l->end += 12 + len;
    if (!sync) return 0;
    list_each (it, file(l->name)) list_entry(it, struct record, node)->synced = true;
    return 0;
}

int storelog_frame(struct buf *b, const void *data, size_t len) {
    uint64_t head = len;
    int r = buf_add(b, &head, sizeof head);
    return r < 0 ? r : buf_add(b, data, len);
}

int storelog_rewrite(struct storelog *l, struct buf *records, struct err *err) {
    if (sim.disk_full || sim_chance(8)) return err_set(err, -ENOSPC, "write %s", l->name);
    empty(file(l->name));
    for (size_t at = 0; at < records->len;) {
        uint64_t len;
        memcpy(&len, (const char *) records->data + at, sizeof len);
        add(file(l->name), (const char *) records->data + at + sizeof len, len, true);
        at += sizeof len + len;
    }
    l->end = size_of(file(l->name));
    return 0;
}

uint32_t storelog_crc32c(const void *data, size_t len) {
    (void) data;
    return (uint32_t) len;
}
