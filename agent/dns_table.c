// SPDX-License-Identifier: Apache-2.0
#include "dns_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum {
    TTL = 5,
    NETWORKS_OF_TASK_MAX = 16,
    ADDRESSES_MAX = 1024, /* of one name in one service */
};

/* Everything below says first which service it comes from: that is how it goes again. */

/* One (network, name, address): a name with several addresses is several of these side by side. */
struct record {
    uint64_t service;
    uint32_t network;
    uint32_t address; /* 0 = the name is known and has none */
    const char *name;
};

/* One (network, address): backwards, and who an asker is. */
struct owner {
    uint64_t service;
    uint32_t network, address;
    const char *name;
    const char *app;
    const char *task; /* NULL = a VIP */
};

struct app {
    uint64_t service;
    const char *name;
};

/* Owns the names that a service's items point to. */
struct text {
    uint64_t service;
    struct strv words;
};

/* An array of such items, sorted by what it is looked up by. */
struct items {
    void *v;
    size_t n, cap;
};

struct place {
    uint32_t id, subnet, mask, gateway;
    bool internal;
};

struct dns_table {
    struct place *places; /* by id */
    size_t n_places;
    struct items records; /* struct record, by network, name, address */
    struct items owners;  /* struct owner, by address, network */
    struct items tasks;   /* struct owner: those of tasks, by task */
    struct items apps;    /* struct app, by name */
    struct items texts;   /* struct text, by service */
};

static int order(uint32_t a, uint32_t b) {
    return a < b ? -1 : a > b;
}

static int by_id(const void *a, const void *b) {
    return order(((const struct place *) a)->id, ((const struct place *) b)->id);
}

static int by_name(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    int r = order(x->network, y->network);
    if (r == 0) r = strcmp(x->name, y->name);
    return r ? r : order(x->address, y->address);
}

static int by_address(const void *a, const void *b) {
    const struct owner *x = a, *y = b;
    int r = order(x->address, y->address);
    return r ? r : order(x->network, y->network);
}

static int by_task(const void *a, const void *b) {
    const struct owner *x = a, *y = b;
    int r = strcmp(x->task, y->task);
    return r ? r : by_address(x, y);
}

static int by_app(const void *a, const void *b) {
    return strcmp(((const struct app *) a)->name, ((const struct app *) b)->name);
}

static int by_service(const void *a, const void *b) {
    const uint64_t *x = a, *y = b; /* the first member of every item */
    return *x < *y ? -1 : *x > *y;
}

/* --- building --- */

static int add(struct items *a, const void *item, size_t size) {
    if (a->n == a->cap) {
        size_t want = a->cap ? a->cap * 2 : 8;
        void *more = mem_resize(a->v, want, size);
        if (!more) return -ENOMEM;
        a->v = more;
        a->cap = want;
    }
    memcpy((char *) a->v + a->n++ * size, item, size);
    return 0;
}

/* A service on its way into the table. */
struct builder {
    struct dns_table *table;
    const Orlop__ViewService *service;
    struct strv *words;
    const char *app;
};

/* TEXT (may be NULL: out of memory) now belongs to the service; lower case. */
static const char *keep(struct builder *b, char *text) {
    if (!text) return NULL;
    for (char *p = text; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char) (*p + ('a' - 'A'));
    if (strv_take(b->words, text) == 0) return text;
    mem_free(text);
    return NULL;
}

static int add_record(struct builder *b, const char *name, uint32_t address) {
    struct record r = {b->service->id, b->service->network, address, name};
    return add(&b->table->records, &r, sizeof r);
}

/* NAME (NULL: out of memory) has these addresses; without any it is known all the same. */
static int add_name(struct builder *b, const char *name, const uint32_t *addresses, size_t n) {
    if (!name) return -ENOMEM;
    int r = n == 0 ? add_record(b, name, 0) : 0;
    for (size_t i = 0; r == 0 && i < n; i++) r = add_record(b, name, addresses[i]);
    return r;
}

static int add_owner(struct builder *b, uint32_t address, const char *name, const char *task) {
    struct owner o = {b->service->id, b->service->network, address, name, b->app, task};
    int r = add(&b->table->owners, &o, sizeof o);
    return r == 0 && task ? add(&b->table->tasks, &o, sizeof o) : r;
}

/* The tasks of V, each by its own name. While a slot's old and new task overlap, the serving one
 * has it. */
static int add_tasks(struct builder *b) {
    const Orlop__ViewService *v = b->service;
    for (size_t i = 0; i < v->n_endpoints; i++) {
        const Orlop__Endpoint *e = v->endpoints[i];
        const char *name = keep(b, mem_printf("%s-%s-%u", v->app, v->service, e->slot));
        const char *task = keep(b, mem_strdup(e->task));
        if (!name || !task) return -ENOMEM;
        bool shadowed = false;
        for (size_t k = 0; k < v->n_endpoints && !e->serving; k++)
            shadowed = shadowed || (v->endpoints[k]->slot == e->slot && v->endpoints[k]->serving);
        int r = shadowed ? 0 : add_record(b, name, e->address);
        if (r == 0) r = add_owner(b, e->address, name, task);
        if (r < 0) return r;
    }
    return 0;
}

static int add_names(struct builder *b) {
    const Orlop__ViewService *v = b->service;
    uint32_t serving[ADDRESSES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < v->n_endpoints && n < ADDRESSES_MAX; i++)
        if (v->endpoints[i]->serving) serving[n++] = v->endpoints[i]->address;
    const uint32_t *to = v->vip ? &v->vip : serving;
    size_t n_to = v->vip ? 1 : n;
    const char *full = keep(b, mem_printf("%s.%s", v->service, v->app));
    b->app = keep(b, mem_strdup(v->app));
    if (!b->app || !full) return -ENOMEM;
    struct app app = {v->id, b->app};
    int r = add(&b->table->apps, &app, sizeof app);
    if (r == 0) r = add_name(b, keep(b, mem_strdup(v->service)), to, n_to);
    if (r == 0) r = add_name(b, full, to, n_to);
    for (size_t i = 0; r == 0 && i < v->n_aliases; i++)
        r = add_name(b, keep(b, mem_strdup(v->aliases[i])), to, n_to);
    if (r == 0) r = add_name(b, keep(b, mem_printf("tasks.%s", v->service)), serving, n);
    if (r == 0) r = add_name(b, keep(b, mem_printf("tasks.%s.%s", v->service, v->app)), serving, n);
    if (r == 0 && v->vip) r = add_owner(b, v->vip, full, NULL);
    return r == 0 ? add_tasks(b) : r;
}

static int add_service(struct dns_table *t, const Orlop__ViewService *v) {
    struct text text = {.service = v->id};
    struct builder b = {.table = t, .service = v, .words = &text.words};
    int r = add_names(&b);
    if (r == 0) r = add(&t->texts, &text, sizeof text);
    if (r < 0) strv_fini(&text.words);
    return r;
}

static void add_place(struct dns_table *t, const Orlop__ViewNetwork *v) {
    uint32_t mask =
        v->prefix_len == 0 || v->prefix_len > 32 ? 0 : UINT32_MAX << (32 - v->prefix_len);
    t->places[t->n_places++] = (struct place){.id = v->id,
                                              .subnet = v->subnet & mask,
                                              .mask = mask,
                                              .gateway = v->gateway,
                                              .internal = v->internal};
}

static void sort(struct items *a, size_t size, int (*compare)(const void *, const void *)) {
    if (a->n > 1) qsort(a->v, a->n, size, compare);
}

static int build(struct dns_table *t, Orlop__ViewNetwork *const *networks, size_t n_networks,
                 Orlop__ViewService *const *services, size_t n_services) {
    t->places = mem_array(n_networks + 1, sizeof *t->places);
    if (!t->places) return -ENOMEM;
    for (size_t i = 0; i < n_networks; i++) add_place(t, networks[i]);
    for (size_t i = 0; i < n_services; i++) {
        int r = add_service(t, services[i]);
        if (r < 0) return r;
    }
    qsort(t->places, t->n_places, sizeof *t->places, by_id);
    sort(&t->records, sizeof(struct record), by_name);
    sort(&t->owners, sizeof(struct owner), by_address);
    sort(&t->tasks, sizeof(struct owner), by_task);
    sort(&t->apps, sizeof(struct app), by_app);
    sort(&t->texts, sizeof(struct text), by_service);
    return 0;
}

int dns_table_new(Orlop__ViewNetwork *const *networks, size_t n_networks,
                  Orlop__ViewService *const *services, size_t n_services, struct dns_table **ret) {
    struct dns_table *t = mem_zalloc(sizeof *t);
    if (!t) return -ENOMEM;
    int r = build(t, networks, n_networks, services, n_services);
    if (r < 0) {
        dns_table_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void dns_table_free(struct dns_table *t) {
    if (!t) return;
    struct text *texts = t->texts.v;
    for (size_t i = 0; i < t->texts.n; i++) strv_fini(&texts[i].words);
    mem_free(t->places);
    mem_free(t->records.v);
    mem_free(t->owners.v);
    mem_free(t->tasks.v);
    mem_free(t->apps.v);
    mem_free(t->texts.v);
    mem_free(t);
}

/* --- changing --- */

/* The services that are made anew or gone, sorted. */
struct touched {
    uint64_t *ids;
    size_t n;
};

static bool is_touched(const struct touched *t, const void *item) {
    uint64_t id;
    memcpy(&id, item, sizeof id);
    if (t->n == 1) return t->ids[0] == id;
    return bsearch(&id, t->ids, t->n, sizeof id, by_service) != NULL;
}

static int touch(struct touched *t, Orlop__ViewService *const *services, size_t n,
                 const uint64_t *gone, size_t n_gone) {
    t->ids = mem_array(n + n_gone + 1, sizeof *t->ids);
    if (!t->ids) return -ENOMEM;
    for (size_t i = 0; i < n; i++) t->ids[t->n++] = services[i]->id;
    for (size_t i = 0; i < n_gone; i++) t->ids[t->n++] = gone[i];
    qsort(t->ids, t->n, sizeof *t->ids, by_service);
    return 0;
}

/* Throw out what is touched; what lies between moves up in one piece. */
static void drop_touched(struct items *all, size_t size, const struct touched *t) {
    char *v = all->v;
    size_t kept = 0, run = 0;
    for (size_t i = 0; i <= all->n; i++) {
        if (i < all->n && !is_touched(t, v + i * size)) continue;
        if (kept != run && i > run) memmove(v + kept * size, v + run * size, (i - run) * size);
        kept += i - run;
        run = i + 1;
    }
    all->n = kept;
}

/* How many of ALL come before ITEM. */
static size_t place_of(const struct items *all, size_t n, const void *item, size_t size,
                       int (*compare)(const void *, const void *)) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (compare((const char *) all->v + mid * size, item) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* ALL has room for NEW. From the end: each piece moves once. */
static void replace(struct items *all, const struct items *new, size_t size,
                    const struct touched *t, int (*compare)(const void *, const void *)) {
    drop_touched(all, size, t);
    char *v = all->v;
    size_t end = all->n;
    all->n += new->n;
    for (size_t i = new->n; i-- > 0;) {
        const char *item = (const char *) new->v + i *size;
        size_t at = place_of(all, end, item, size, compare);
        if (end > at) memmove(v + (at + i + 1) * size, v + at * size, (end - at) * size);
        memcpy(v + (at + i) * size, item, size);
        end = at;
    }
}

static int reserve(struct items *a, size_t more, size_t size) {
    if (a->n + more <= a->cap) return 0;
    size_t want = a->n + more + a->n / 4;
    void *v = mem_resize(a->v, want, size);
    if (!v) return -ENOMEM;
    a->v = v;
    a->cap = want;
    return 0;
}

static int reserve_all(struct dns_table *t, const struct dns_table *new) {
    int r = reserve(&t->records, new->records.n, sizeof(struct record));
    if (r == 0) r = reserve(&t->owners, new->owners.n, sizeof(struct owner));
    if (r == 0) r = reserve(&t->tasks, new->tasks.n, sizeof(struct owner));
    if (r == 0) r = reserve(&t->apps, new->apps.n, sizeof(struct app));
    if (r == 0) r = reserve(&t->texts, new->texts.n, sizeof(struct text));
    return r;
}

static void replace_all(struct dns_table *t, struct dns_table *new, const struct touched *ids) {
    struct text *texts = t->texts.v;
    for (size_t i = 0; i < t->texts.n; i++)
        if (is_touched(ids, &texts[i])) strv_fini(&texts[i].words);
    replace(&t->records, &new->records, sizeof(struct record), ids, by_name);
    replace(&t->owners, &new->owners, sizeof(struct owner), ids, by_address);
    replace(&t->tasks, &new->tasks, sizeof(struct owner), ids, by_task);
    replace(&t->apps, &new->apps, sizeof(struct app), ids, by_app);
    replace(&t->texts, &new->texts, sizeof(struct text), ids, by_service);
    new->texts.n = 0; /* the words are T's now */
}

int dns_table_change(struct dns_table *t, Orlop__ViewService *const *services, size_t n_services,
                     const uint64_t *gone, size_t n_gone) {
    struct touched ids = {0};
    struct dns_table *new = NULL;
    int r = touch(&ids, services, n_services, gone, n_gone);
    if (r == 0) r = dns_table_new(NULL, 0, services, n_services, &new);
    if (r == 0) r = reserve_all(t, new);
    if (r == 0) replace_all(t, new, &ids);
    dns_table_free(new);
    mem_free(ids.ids);
    return r;
}

/* --- looking up --- */

/* The networks that an asker sees, the asked one first, and its app. */
struct sight {
    const struct place *places[NETWORKS_OF_TASK_MAX];
    size_t n;
    const char *app; /* NULL = not known */
};

static const struct place *find_place(const struct dns_table *t, uint32_t id) {
    return bsearch(&(struct place){.id = id}, t->places, t->n_places, sizeof *t->places, by_id);
}

static const struct owner *find_owner(const struct dns_table *t, uint32_t network,
                                      uint32_t address) {
    if (t->owners.n == 0) return NULL;
    return bsearch(&(struct owner){.network = network, .address = address}, t->owners.v,
                   t->owners.n, sizeof(struct owner), by_address);
}

/* Networks of the task TASK beside the first one in S. */
static void add_networks_of_task(const struct dns_table *t, const char *task, struct sight *s) {
    const struct owner *tasks = t->tasks.v;
    size_t low = 0, high = t->tasks.n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strcmp(tasks[mid].task, task) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; low < t->tasks.n && str_eq(tasks[low].task, task); low++) {
        const struct place *p = find_place(t, tasks[low].network);
        if (p && p != s->places[0] && s->n < NETWORKS_OF_TASK_MAX) s->places[s->n++] = p;
    }
}

static bool look(const struct dns_table *t, uint32_t network, uint32_t asker, struct sight *s) {
    const struct place *p = find_place(t, network);
    if (!p || (asker & p->mask) != p->subnet) return false;
    *s = (struct sight){.places = {p}, .n = 1};
    const struct owner *o = find_owner(t, network, asker);
    if (!o || !o->task) return true;
    s->app = o->app;
    add_networks_of_task(t, o->task, s);
    return true;
}

/* The records of NAME in NETWORK: how many, from *ret on. */
static size_t find_records(const struct dns_table *t, uint32_t network, const char *name,
                           const struct record **ret) {
    struct record probe = {.network = network, .name = name};
    const struct record *records = t->records.v;
    size_t low = 0, high = t->records.n, n = 0;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (by_name(&records[mid], &probe) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *ret = records + low;
    while (low + n < t->records.n && records[low + n].network == network &&
           str_eq(records[low + n].name, name))
        n++;
    return n;
}

static size_t find_visible(const struct dns_table *t, const struct sight *s, const char *name,
                           const struct record **ret) {
    char own[2 * DNS_NAME_MAX];
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0 && !s->app) continue;
        if (pass == 0) snprintf(own, sizeof own, "%s.%s", name, s->app);
        for (size_t i = 0; i < s->n; i++) {
            size_t n = find_records(t, s->places[i]->id, pass == 0 ? own : name, ret);
            if (n > 0) return n;
        }
    }
    return 0;
}

static void answer_addresses(const struct record *records, size_t n, const struct dns_query *q,
                             struct dns_reply *reply) {
    if (q->type != DNS_A && q->type != DNS_ANY) return;
    for (size_t i = 0; i < n; i++) {
        uint32_t address = records[(i + q->id) % n].address; /* another one first each time */
        if (address && !dns_reply_a(reply, TTL, address)) return;
    }
}

/* NULL and *ret_ours: an address of ours that the asker has no business with. */
static const struct owner *find_backwards(const struct dns_table *t, const struct sight *s,
                                          uint32_t address, bool *ret_ours) {
    *ret_ours = false;
    for (size_t i = 0; i < t->n_places; i++) {
        const struct place *p = &t->places[i];
        const struct owner *o = find_owner(t, p->id, address);
        *ret_ours = *ret_ours || o || (address & p->mask) == p->subnet;
        for (size_t k = 0; o && k < s->n; k++)
            if (s->places[k] == p) return o;
    }
    return NULL;
}

/* "x.app" or "tasks.x.app" of an app that is here: nobody outside has anything to say about it. */
static bool under_our_app(const struct dns_table *t, const struct dns_query *q) {
    const char *last = strrchr(q->name, '.');
    if (!last || !(q->labels == 2 || (q->labels == 3 && str_starts(q->name, "tasks."))))
        return false;
    last++;
    return t->apps.n &&
           bsearch(&(struct app){.name = last}, t->apps.v, t->apps.n, sizeof(struct app), by_app);
}

static bool may_forward(const struct sight *s) {
    for (size_t i = 0; i < s->n; i++)
        if (!s->places[i]->internal) return true;
    return false;
}

enum dns_verdict dns_table_answer(const struct dns_table *t, uint32_t network, uint32_t asker,
                                  const struct dns_query *q, struct dns_reply *reply, uint8_t *buf,
                                  size_t cap) {
    struct sight s;
    const struct record *records;
    uint32_t address;
    bool ours = false;
    if (!look(t, network, asker, &s)) return DNS_DROP;
    size_t n = q->plain ? find_visible(t, &s, q->name, &records) : 0;
    if (n > 0) {
        dns_reply_begin(reply, q, DNS_NOERROR, buf, cap);
        answer_addresses(records, n, q, reply);
        return DNS_ANSWER;
    }
    if (dns_reverse(q->name, &address)) {
        const struct owner *o = find_backwards(t, &s, address, &ours);
        if (o) {
            dns_reply_begin(reply, q, DNS_NOERROR, buf, cap);
            if (q->type == DNS_PTR || q->type == DNS_ANY) (void) dns_reply_ptr(reply, TTL, o->name);
            return DNS_ANSWER;
        }
    }
    if (!ours && q->labels != 1 && !under_our_app(t, q) && may_forward(&s)) return DNS_FORWARD;
    dns_reply_begin(reply, q, DNS_NXDOMAIN, buf, cap);
    return DNS_ANSWER;
}

bool dns_table_is_gateway(const struct dns_table *t, uint32_t address) {
    for (size_t i = 0; i < t->n_places; i++)
        if (t->places[i].gateway == address) return true;
    return false;
}
