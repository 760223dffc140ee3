// SPDX-License-Identifier: Apache-2.0
/* Time, order, chance. Events at the same moment run in the order in which they were asked for. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "runtime/base/mem.h"
#include "sim.h"

struct sim sim;

struct sim_event {
    int64_t at_us;
    uint64_t order, life;
    sim_fn fn; /* NULL: cancelled */
    void *arg;
    enum sim_role who;
};

/* A binary heap; events come out of a pool, so that a run allocates few. */
static struct sim_event **heap, **pool;
static size_t n_heap, n_pool, cap;

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(size_t a, size_t b) {
    struct sim_event *t = heap[a];
    heap[a] = heap[b];
    heap[b] = t;
}

static void grow(void) {
    size_t was = cap;
    cap = cap ? cap * 2 : 1024;
    heap = realloc(heap, cap * sizeof(void *)); /* the simulator's own memory outlives the runs */
    pool = realloc(pool, cap * sizeof(void *));
    struct sim_event *more = calloc(cap - was, sizeof *more);
    ensure(heap && pool && more);
    for (size_t i = was; i < cap; i++) pool[n_pool++] = more++;
}

struct sim_event *sim_after_us(enum sim_role who, int64_t us, sim_fn fn, void *arg) {
    if (!n_pool) grow();
    struct sim_event *e = pool[--n_pool];
    *e = (struct sim_event){.at_us = sim.now_us + us,
                            .order = ++sim.order,
                            .life = sim.processes[who].life,
                            .fn = fn,
                            .arg = arg,
                            .who = who};
    size_t i = n_heap++;
    heap[i] = e;
    for (; i && before(heap[i], heap[(i - 1) / 2]); i = (i - 1) / 2) swap(i, (i - 1) / 2);
    return e;
}

void sim_cancel(struct sim_event *e) {
    if (e) e->fn = NULL;
}

static struct sim_event *pop(void) {
    struct sim_event *top = heap[0];
    heap[0] = heap[--n_heap];
    for (size_t i = 0, child; (child = 2 * i + 1) < n_heap; i = child) {
        if (child + 1 < n_heap && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], heap[i])) break;
        swap(i, child);
    }
    return top;
}

bool sim_step(void) {
    if (!n_heap) return false;
    struct sim_event *top = pop(), e = *top;
    pool[n_pool++] = top;
    sim.now_us = e.at_us;
    if (!e.fn || e.life != sim.processes[e.who].life) return true;
    sim.events++;
    sim.who = e.who;
    e.fn(e.arg);
    sim.who = SIM_WORLD;
    return true;
}

int64_t sim_next_us(void) {
    return n_heap ? heap[0]->at_us : INT64_MAX;
}

void sim_run_until_us(int64_t us) {
    while (n_heap && heap[0]->at_us <= us) (void) sim_step();
    if (sim.now_us < us) sim.now_us = us;
}

enum sim_role sim_as(enum sim_role who) {
    enum sim_role was = sim.who;
    sim.who = who;
    return was;
}

/* splitmix64 */
uint32_t sim_below(uint32_t n) {
    uint64_t z = sim.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t) ((z ^ (z >> 31)) >> 32) % n;
}

bool sim_chance(uint32_t permille) {
    return sim.chaos && sim_below(1000) < permille;
}

int64_t sim_delay_us(int64_t min_us, int64_t max_us) {
    if (!sim.chaos) return min_us > 1000 ? min_us : 1000;
    int64_t span = (max_us - min_us) >> (sim_below(4) * 3); /* all, or an eighth, ... of it */
    return min_us + (span > 0 ? sim_below((uint32_t) span + 1) : 0);
}

bool sim_is_naive(const char *what) {
    return sim.naive && strcmp(sim.naive, what) == 0;
}

void sim_reset(uint64_t seed) {
    while (n_heap) pool[n_pool++] = heap[--n_heap];
    for (int i = 0; i < SIM_ROLES; i++) {
        if (sim.processes[i].blocks.next) sim_heap_drop((enum sim_role) i);
        sim.processes[i] = (struct sim_process){.life = 1};
    }
    struct sim keep = sim;
    sim = (struct sim){.seed = seed,
                       .random = seed * UINT64_C(0x2545f4914f6cdd1d),
                       .now_us = 1000000,
                       .verbose = keep.verbose,
                       .naive = keep.naive,
                       .story = keep.story};
    for (int i = 0; i < SIM_ROLES; i++) sim.processes[i].life = 1;
    sim_heap_init();
}

/* --- the clocks and the kernel's random bytes ------------------------------------------------ */

int clock_gettime(clockid_t id, struct timespec *ts) {
    int64_t us = sim.now_us;
    if (id == CLOCK_REALTIME) us += INT64_C(1700000000) * 1000000;
    *ts = (struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    return 0;
}

ssize_t getrandom(void *buf, size_t n, unsigned flags) {
    (void) flags;
    for (size_t i = 0; i < n; i++) ((uint8_t *) buf)[i] = (uint8_t) sim_below(256);
    return (ssize_t) n;
}
