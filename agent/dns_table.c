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

/* One (network, name, address): a name with several addresses is several of these side by side. */
struct record {
    uint32_t network;
    uint32_t address; /* 0 = the name is known and has none */
    const char *name;
};

/* One (network, address): backwards, and who an asker is. */
struct owner {
    uint32_t network, address;
    const char *name;
    const char *app;
    const char *task; /* NULL = a VIP */
};

struct place {
    uint32_t id, subnet, mask, gateway;
    bool internal;
};

struct dns_table {
    struct strv text;     /* owns every name above and below */
    struct place *places; /* by id */
    size_t n_places;
    struct record *records; /* by network, name, address */
    size_t n_records, cap_records;
    struct owner *owners; /* by address, network */
    size_t n_owners, cap_owners;
    const struct owner **by_task; /* those of tasks, by task */
    size_t n_by_task;
    const char **apps; /* sorted */
    size_t n_apps;
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
    const struct owner *const *x = a, *const *y = b;
    int r = strcmp((*x)->task, (*y)->task);
    return r ? r : by_address(*x, *y);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* --- building --- */

/* TEXT (may be NULL: out of memory) now belongs to the table; lower case. */
static const char *keep(struct dns_table *t, char *text) {
    if (!text) return NULL;
    for (char *p = text; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char) (*p + ('a' - 'A'));
    if (strv_take(&t->text, text) == 0) return text;
    mem_free(text);
    return NULL;
}

static int grow(void *array, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return 0;
    size_t want = *cap ? *cap * 2 : 64;
    void **p = array;
    void *more = mem_resize(*p, want, size);
    if (!more) return -ENOMEM;
    *p = more;
    *cap = want;
    return 0;
}

static int add_record(struct dns_table *t, uint32_t network, const char *name, uint32_t address) {
    int r = grow(&t->records, t->n_records, &t->cap_records, sizeof *t->records);
    if (r == 0) t->records[t->n_records++] = (struct record){network, address, name};
    return r;
}

/* NAME (NULL: out of memory) has these addresses; without any it is known all the same. */
static int add_name(struct dns_table *t, uint32_t network, const char *name,
                    const uint32_t *addresses, size_t n) {
    if (!name) return -ENOMEM;
    int r = n == 0 ? add_record(t, network, name, 0) : 0;
    for (size_t i = 0; r == 0 && i < n; i++) r = add_record(t, network, name, addresses[i]);
    return r;
}

static int add_owner(struct dns_table *t, const struct owner *o) {
    int r = grow(&t->owners, t->n_owners, &t->cap_owners, sizeof *t->owners);
    if (r == 0) t->owners[t->n_owners++] = *o;
    return r;
}

/* The tasks of V, each by its own name. While a slot's old and new task overlap, the serving one
 * has it. */
static int add_tasks(struct dns_table *t, const Orlop__ViewService *v, const char *app) {
    for (size_t i = 0; i < v->n_endpoints; i++) {
        const Orlop__Endpoint *e = v->endpoints[i];
        const char *name = keep(t, mem_printf("%s-%s-%u", v->app, v->service, e->slot));
        const char *task = keep(t, mem_strdup(e->task));
        if (!name || !task) return -ENOMEM;
        bool shadowed = false;
        for (size_t k = 0; k < v->n_endpoints && !e->serving; k++)
            shadowed = shadowed || (v->endpoints[k]->slot == e->slot && v->endpoints[k]->serving);
        int r = shadowed ? 0 : add_record(t, v->network, name, e->address);
        if (r == 0) r = add_owner(t, &(struct owner){v->network, e->address, name, app, task});
        if (r < 0) return r;
    }
    return 0;
}

static int add_service(struct dns_table *t, const Orlop__ViewService *v) {
    uint32_t serving[ADDRESSES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < v->n_endpoints && n < ADDRESSES_MAX; i++)
        if (v->endpoints[i]->serving) serving[n++] = v->endpoints[i]->address;
    const uint32_t *to = v->vip ? &v->vip : serving;
    size_t n_to = v->vip ? 1 : n;
    const char *app = keep(t, mem_strdup(v->app));
    const char *full = keep(t, mem_printf("%s.%s", v->service, v->app));
    if (!app || !full) return -ENOMEM;
    t->apps[t->n_apps++] = app;
    int r = add_name(t, v->network, keep(t, mem_strdup(v->service)), to, n_to);
    if (r == 0) r = add_name(t, v->network, full, to, n_to);
    for (size_t i = 0; r == 0 && i < v->n_aliases; i++)
        r = add_name(t, v->network, keep(t, mem_strdup(v->aliases[i])), to, n_to);
    if (r == 0)
        r = add_name(t, v->network, keep(t, mem_printf("tasks.%s", v->service)), serving, n);
    if (r == 0)
        r = add_name(t, v->network, keep(t, mem_printf("tasks.%s.%s", v->service, v->app)), serving,
                     n);
    if (r == 0 && v->vip) r = add_owner(t, &(struct owner){v->network, v->vip, full, app, NULL});
    return r == 0 ? add_tasks(t, v, app) : r;
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

static void sort_all(struct dns_table *t) {
    qsort(t->places, t->n_places, sizeof *t->places, by_id);
    if (t->n_records > 1) qsort(t->records, t->n_records, sizeof *t->records, by_name);
    if (t->n_owners > 1) qsort(t->owners, t->n_owners, sizeof *t->owners, by_address);
    qsort(t->apps, t->n_apps, sizeof *t->apps, by_text);
    for (size_t i = 0; i < t->n_owners; i++)
        if (t->owners[i].task) t->by_task[t->n_by_task++] = &t->owners[i];
    qsort(t->by_task, t->n_by_task, sizeof *t->by_task, by_task);
}

static int build(struct dns_table *t, Orlop__ViewNetwork *const *networks, size_t n_networks,
                 Orlop__ViewService *const *services, size_t n_services) {
    t->places = mem_array(n_networks + 1, sizeof *t->places);
    t->apps = mem_array(n_services + 1, sizeof *t->apps);
    if (!t->places || !t->apps) return -ENOMEM;
    for (size_t i = 0; i < n_networks; i++) add_place(t, networks[i]);
    for (size_t i = 0; i < n_services; i++) {
        int r = add_service(t, services[i]);
        if (r < 0) return r;
    }
    t->by_task = mem_array(t->n_owners + 1, sizeof *t->by_task);
    if (!t->by_task) return -ENOMEM;
    sort_all(t);
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
    strv_fini(&t->text);
    mem_free(t->places);
    mem_free(t->records);
    mem_free(t->owners);
    mem_free(t->by_task);
    mem_free(t->apps);
    mem_free(t);
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
    if (t->n_owners == 0) return NULL;
    return bsearch(&(struct owner){.network = network, .address = address}, t->owners, t->n_owners,
                   sizeof *t->owners, by_address);
}

/* Networks of the task TASK beside the first one in S. */
static void add_networks_of_task(const struct dns_table *t, const char *task, struct sight *s) {
    size_t low = 0, high = t->n_by_task;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strcmp(t->by_task[mid]->task, task) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; low < t->n_by_task && str_eq(t->by_task[low]->task, task); low++) {
        const struct place *p = find_place(t, t->by_task[low]->network);
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
    size_t low = 0, high = t->n_records, n = 0;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (by_name(&t->records[mid], &probe) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *ret = t->records + low;
    while (low + n < t->n_records && t->records[low + n].network == network &&
           str_eq(t->records[low + n].name, name))
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
    return t->n_apps && bsearch(&last, t->apps, t->n_apps, sizeof *t->apps, by_text);
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
