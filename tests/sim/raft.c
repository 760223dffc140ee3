// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/store.h: a log of one member. What was acknowledged is there after a crash; what
 * was in flight may be. Snapshots come often, so that each run restores some. */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "runtime/base/mem.h"
#include "scheduler/raft/store.h"
#include "sim.h"

struct entry {
    struct list node;
    uint64_t idx;
    size_t len;
    uint8_t data[];
};

static struct {
    struct list entries;
    uint64_t last_idx, snapshot_idx, term, every;
    uint8_t *snapshot;
    size_t snapshot_len;
} disk;

struct proposal {
    struct list node;
    store_cb cb;
    void *ctx;
    uint64_t idx; /* once it is on disk */
    size_t len;
    uint8_t data[];
};

struct store {
    const struct store_ops *ops;
    void *ctx;
    struct list queue, flight;
    size_t queued;
    bool busy, leading;
};
static struct store *running;

void sim_raft_reset(void) {
    memset(&disk, 0, sizeof disk);
    list_init(&disk.entries);
    disk.term = 1;
    disk.every = sim.chaos ? 5 + sim_below(120) : STORE_SNAPSHOT_ENTRIES;
    running = NULL;
}

static void trim(void) {
    while (!list_empty(&disk.entries)) {
        struct entry *e = list_entry(disk.entries.next, struct entry, node);
        if (e->idx > disk.snapshot_idx) return;
        list_del(&e->node);
        mem_free(e);
    }
}

static void take_snapshot(struct store *s, uint64_t idx) {
    if (idx - disk.snapshot_idx < disk.every) return;
    uint8_t *data;
    size_t len;
    if (s->ops->snapshot(s->ctx, &data, &len) < 0) return;
    enum sim_role was = sim_as(SIM_WORLD);
    mem_free(disk.snapshot);
    disk.snapshot = mem_dup(data, len);
    disk.snapshot_len = len;
    disk.snapshot_idx = idx;
    trim();
    sim_as(was);
    mem_free(data);
}

/* On disk: from here on it is committed. */
static void commit(struct proposal *p) {
    enum sim_role was = sim_as(SIM_WORLD);
    struct entry *e = mem_alloc(sizeof *e + p->len);
    *e = (struct entry){.idx = ++disk.last_idx, .len = p->len};
    memcpy(e->data, p->data, p->len);
    list_add_tail(&disk.entries, &e->node);
    p->idx = e->idx;
    check_committed(e->idx, e->data, e->len);
    sim_as(was);
}

void sim_disk_sched_died(void) {
    struct store *s = running;
    running = NULL;
    if (!s || !s->busy || (sim.chaos && sim_below(2))) return;
    list_each (it, &s->flight) {
        struct proposal *p = list_entry(it, struct proposal, node);
        if (!p->idx) commit(p);
    }
}

static void begin(void *arg);

static void apply_all(void *arg) {
    struct store *s = arg;
    uint64_t idx = 0;
    while (!list_empty(&s->flight)) {
        struct proposal *p = list_entry(s->flight.next, struct proposal, node);
        list_del(&p->node);
        s->queued--;
        idx = p->idx;
        s->ops->apply(s->ctx, idx, p->data, p->len);
        check_applied(idx, p->data, p->len);
        if (p->cb) p->cb(p->ctx, 0, idx);
        mem_free(p);
    }
    if (idx) take_snapshot(s, idx);
    s->busy = false;
    if (!list_empty(&s->queue)) sim_after_us(SIM_SCHED, 0, begin, s);
}

static void written(void *arg) {
    struct store *s = arg;
    list_each (it, &s->flight) commit(list_entry(it, struct proposal, node));
    sim_after_us(SIM_SCHED, sim_delay_us(10, 3000), apply_all, s);
}

/* The disk is full. */
static void refuse_all(struct store *s) {
    while (!list_empty(&s->flight)) {
        struct proposal *p = list_entry(s->flight.next, struct proposal, node);
        list_del(&p->node);
        s->queued--;
        check_refused(p->data, p->len);
        if (p->cb) p->cb(p->ctx, -ENOSPC, 0);
        mem_free(p);
    }
    s->busy = false;
    if (!list_empty(&s->queue)) sim_after_us(SIM_SCHED, 0, begin, s);
}

static void begin(void *arg) {
    struct store *s = arg;
    if (s->busy || list_empty(&s->queue)) return;
    s->busy = true;
    while (!list_empty(&s->queue)) {
        struct list *p = s->queue.next;
        list_del(p);
        list_add_tail(&s->flight, p);
    }
    if (sim_chance(10))
        refuse_all(s);
    else
        sim_after_us(SIM_SCHED, sim_delay_us(200, 300000), written, s);
}

int store_propose(struct store *s, const uint8_t *data, size_t len, store_cb cb, void *ctx) {
    if (!s->leading) return -ECONNABORTED;
    struct proposal *p = mem_zalloc(sizeof *p + len);
    *p = (struct proposal){.cb = cb, .ctx = ctx, .len = len};
    memcpy(p->data, data, len);
    list_add_tail(&s->queue, &p->node);
    s->queued++;
    check_proposed(p->data, len);
    if (!s->busy) sim_after_us(SIM_SCHED, 0, begin, s);
    return 0;
}

static void elected(void *arg) {
    struct store *s = arg;
    s->leading = true;
    disk.last_idx++; /* raft's own entry */
    s->ops->leading(s->ctx, true, disk.term);
}

int store_open(uv_loop_t *loop, const char *dir, const struct store_ops *ops, void *ctx,
               struct store **ret, struct err *err) {
    (void) loop;
    (void) dir;
    struct store *s = mem_zalloc(sizeof *s);
    *s = (struct store){.ops = ops, .ctx = ctx};
    list_init(&s->queue);
    list_init(&s->flight);
    *ret = running = s;
    if (disk.snapshot) {
        int r = ops->restore(ctx, disk.snapshot_idx, disk.snapshot, disk.snapshot_len);
        if (r < 0) return err_set(err, r, "restore the snapshot");
    }
    list_each (it, &disk.entries) {
        struct entry *e = list_entry(it, struct entry, node);
        ops->apply(ctx, e->idx, e->data, e->len);
    }
    sim_after_us(SIM_SCHED, sim_delay_us(1000, 800000), elected, s);
    return 0;
}

bool store_is_leader(const struct store *s) {
    return s->leading;
}

uint64_t store_last_applied(const struct store *s) {
    (void) s;
    return disk.last_idx;
}

void store_close(struct store *s, void (*done)(void *ctx), void *ctx) {
    (void) s;
    done(ctx);
}
