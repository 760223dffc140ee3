// SPDX-License-Identifier: Apache-2.0
/* A change as two small states, cut out of the big one and put back: what a service costs when it
 * changes does not depend on how many there are, but for one pass over sorted arrays. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "state.h"
#include "state_int.h"

static int by_id(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static int by_address(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* What is touched, sorted. */
struct touched {
    uint64_t *ids;
    uint32_t *addresses;
    size_t n_ids, n_addresses;
};

static int touched_init(struct touched *t, const struct net_change *c) {
    *t = (struct touched){.n_ids = c->n_services + c->n_services_gone,
                          .n_addresses = c->n_addresses};
    t->ids = mem_array(t->n_ids + 1, sizeof *t->ids);
    t->addresses = mem_array(t->n_addresses + 1, sizeof *t->addresses);
    if (!t->ids || !t->addresses) return -ENOMEM;
    for (size_t i = 0; i < c->n_services; i++) t->ids[i] = c->services[i]->id;
    for (size_t i = 0; i < c->n_services_gone; i++) t->ids[c->n_services + i] = c->services_gone[i];
    for (size_t i = 0; i < c->n_addresses; i++) t->addresses[i] = c->addresses[i];
    qsort(t->ids, t->n_ids, sizeof *t->ids, by_id);
    qsort(t->addresses, t->n_addresses, sizeof *t->addresses, by_address);
    return 0;
}

static void touched_fini(struct touched *t) {
    mem_free(t->ids);
    mem_free(t->addresses);
}

/* --- cutting out --- */

/* Forwards of the touched services, and what lies stale under a key that one of them wants now. A
 * live one there means that two services want the same: then everything has to be looked at. */
static int cut_forwards(const struct net__state *loaded, const struct touched *t,
                        const struct net__state *new, struct net__state *old) {
    size_t room = new->n_forwards;
    for (size_t i = 0; i < loaded->n_forwards; i++)
        room +=
            bsearch(&loaded->forwards[i].service, t->ids, t->n_ids, sizeof *t->ids, by_id) != NULL;
    old->forwards = mem_array(room + 1, sizeof *old->forwards);
    if (!old->forwards) return -ENOMEM;
    for (size_t i = 0; i < loaded->n_forwards; i++) {
        const struct net__forward *f = &loaded->forwards[i];
        if (!bsearch(&f->service, t->ids, t->n_ids, sizeof *t->ids, by_id)) {
            if (!net__state_find(new, &f->key)) continue;
            if (f->n_live > 0) return -EAGAIN;
        }
        struct net__forward copy = *f;
        copy.slots = mem_dup(f->slots, f->n_loaded * sizeof *f->slots);
        if (!copy.slots) return -ENOMEM;
        old->forwards[old->n_forwards++] = copy;
    }
    return 0;
}

static bool is_touched(const struct touched *t, uint32_t source) {
    return bsearch(&source, t->addresses, t->n_addresses, sizeof source, by_address) != NULL;
}

static int cut_local(const struct net__state *loaded, const struct touched *t,
                     struct net__state *old) {
    size_t selfs = 0, crosses = 0;
    for (size_t i = 0; i < loaded->n_selfs; i++) selfs += is_touched(t, loaded->selfs[i].source);
    for (size_t i = 0; i < loaded->n_crosses; i++)
        crosses += is_touched(t, loaded->crosses[i].source);
    old->selfs = mem_array(selfs + 1, sizeof *old->selfs);
    old->crosses = mem_array(crosses + 1, sizeof *old->crosses);
    if (!old->selfs || !old->crosses) return -ENOMEM;
    for (size_t i = 0; i < loaded->n_selfs; i++)
        if (is_touched(t, loaded->selfs[i].source)) old->selfs[old->n_selfs++] = loaded->selfs[i];
    for (size_t i = 0; i < loaded->n_crosses; i++)
        if (is_touched(t, loaded->crosses[i].source))
            old->crosses[old->n_crosses++] = loaded->crosses[i];
    return 0;
}

static int cut(const struct net__state *loaded, const struct net_change *c,
               const struct net__state *new, struct net__state *old) {
    struct touched t;
    int r = touched_init(&t, c);
    if (r == 0) r = cut_forwards(loaded, &t, new, old);
    if (r == 0) r = cut_local(loaded, &t, old);
    touched_fini(&t);
    return r;
}

int net__state_part(const struct net_config *cfg, const struct net__state *loaded,
                    const struct net_change *change, int64_t now_mono_ms, struct net__part *ret,
                    struct err *err) {
    if (loaded->doubled || loaded->n_selfs + change->n_local > NET__LOCAL_MAX ||
        loaded->n_forwards + change->n_services > NET__SERVICES_MAX)
        return -EAGAIN;
    struct net__part p = {.old = net__state_new()};
    int r = p.old ? net__state_from_change(cfg, loaded, change, &p.new, err)
                  : err_set(err, -ENOMEM, "network state");
    if (r == 0 && p.new->doubled) r = -EAGAIN;
    if (r == 0) {
        memcpy(p.old->chains, loaded->chains, sizeof p.old->chains);
        r = cut(loaded, change, p.new, p.old);
        if (r == 0) r = net__state_settle(p.new, p.old, now_mono_ms);
        if (r == -ENOMEM) (void) err_set(err, r, "compare the network with what is loaded");
    }
    if (r < 0) {
        net__part_fini(&p);
        return r;
    }
    *ret = p;
    return 0;
}

void net__part_fini(struct net__part *p) {
    net__state_free(p->old);
    net__state_free(p->new);
    *p = (struct net__part){0};
}

/* --- putting back --- */

struct array {
    void *v;
    size_t n;
};

/* ALL without OLD (all of them are in it) and with NEW; each sorted by COMPARE. */
static int merge(struct array all, struct array old, struct array new, size_t size,
                 int (*compare)(const void *, const void *), struct array *ret) {
    char *out = mem_array(all.n + new.n + 1, size), *to = out;
    if (!out) return -ENOMEM;
    const char *a = all.v, *o = old.v, *n = new.v;
    const char *a_end = a + all.n * size, *o_end = o + old.n * size, *n_end = n + new.n *size;
    while (a < a_end || n < n_end) {
        if (n < n_end && (a == a_end || compare(n, a) < 0)) {
            memcpy(to, n, size);
            n += size;
        } else if (o < o_end && compare(o, a) == 0) {
            o += size;
            a += size;
            continue;
        } else {
            memcpy(to, a, size);
            a += size;
        }
        to += size;
    }
    *ret = (struct array){out, (size_t) (to - out) / size};
    return 0;
}

/* The slots of what is cut out; those of PART's copies go with it. */
static void free_cut_slots(struct net__state *loaded, const struct net__state *old) {
    for (size_t i = 0; i < old->n_forwards; i++) {
        struct net__forward *f = bsearch(&old->forwards[i], loaded->forwards, loaded->n_forwards,
                                         sizeof *f, net__by_key);
        if (f) mem_free(f->slots);
    }
}

#define ARRAY(s, what) ((struct array){(s)->what, (s)->n_##what})

int net__state_merge(struct net__state *loaded, struct net__part *p) {
    struct array forwards = {0}, selfs = {0}, crosses = {0};
    int r = merge(ARRAY(loaded, forwards), ARRAY(p->old, forwards), ARRAY(p->new, forwards),
                  sizeof *loaded->forwards, net__by_key, &forwards);
    if (r == 0)
        r = merge(ARRAY(loaded, selfs), ARRAY(p->old, selfs), ARRAY(p->new, selfs),
                  sizeof *loaded->selfs, net__by_pair, &selfs);
    if (r == 0)
        r = merge(ARRAY(loaded, crosses), ARRAY(p->old, crosses), ARRAY(p->new, crosses),
                  sizeof *loaded->crosses, net__by_pair, &crosses);
    if (r < 0) {
        mem_free(forwards.v);
        mem_free(selfs.v);
        return r;
    }
    free_cut_slots(loaded, p->old);
    mem_free(loaded->forwards);
    mem_free(loaded->selfs);
    mem_free(loaded->crosses);
    loaded->forwards = forwards.v;
    loaded->n_forwards = forwards.n;
    loaded->selfs = selfs.v;
    loaded->n_selfs = selfs.n;
    loaded->crosses = crosses.v;
    loaded->n_crosses = crosses.n;
    memcpy(loaded->chains, p->new->chains, sizeof loaded->chains);
    p->new->n_forwards = 0; /* their slots are LOADED's now */
    return 0;
}
