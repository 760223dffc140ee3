// SPDX-License-Identifier: Apache-2.0
/* bench_apply SERVICES CHANGES - CPU of one service's change on a node with SERVICES services of two
 * replicas each, in microseconds: "NET NAMES", the median of CHANGES. A change: a replica stops or
 * begins to serve. With CHANGES 0 it loads the network, says "ready" and keeps it until stdin ends; then
 * only 10.80.0.2 serves the first service, 10.96.0.2. Run it in a network namespace of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent.pb-c.h"
#include "agent/dns_table.h"
#include "runtime/base/mem.h"
#include "runtime/net/net.h"

enum { TASK_POOL = 0x0a500000, VIP_POOL = 0x0a600000, GROUP = 0x4f520001, REPLICAS = 2 };

static struct err err;
static Orlop__ViewNetwork network = ORLOP__VIEW_NETWORK__INIT, *networks[] = {&network};
static Orlop__ViewService **services;
static struct net_local *local;
static size_t n;

static void ck(int r, const char *what) {
    if (r >= 0) return;
    fprintf(stderr, "bench_apply: %s: %s\n", what, err.text);
    exit(1);
}

static double cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static Orlop__ViewService *make_service(size_t i) {
    Orlop__ViewService *v = mem_zalloc(sizeof *v);
    orlop__view_service__init(v);
    v->id = i + 1;
    v->app = mem_printf("app%zu", i / 10);
    v->service = mem_printf("service%zu", i);
    v->network = GROUP;
    v->vip = VIP_POOL + 2 + (uint32_t) i;
    v->n_endpoints = REPLICAS;
    v->endpoints = mem_array(REPLICAS, sizeof *v->endpoints);
    for (size_t k = 0; k < REPLICAS; k++) {
        Orlop__Endpoint *e = mem_zalloc(sizeof *e);
        orlop__endpoint__init(e);
        e->task = mem_printf("1.%zu.%zu", i + 1, k);
        e->slot = (uint32_t) k + 1;
        e->address = TASK_POOL + 2 + (uint32_t) (i * REPLICAS + k);
        e->serving = true;
        v->endpoints[k] = e;
        local[i * REPLICAS + k] = (struct net_local){e->task, e->address, GROUP, network.gateway};
    }
    return v;
}

static void make_view(void) {
    char name[] = "default", app[] = "app0";
    network.id = GROUP;
    network.name = mem_strdup(name);
    network.app = mem_strdup(app);
    network.subnet = TASK_POOL;
    network.prefix_len = 16;
    network.gateway = TASK_POOL + 1;
    services = mem_array(n, sizeof *services);
    local = mem_array(n * REPLICAS, sizeof *local);
    for (size_t i = 0; i < n; i++) services[i] = make_service(i);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void keep(struct net *net, const struct net_view *view) {
    char byte;
    services[0]->endpoints[1]->serving = false;
    ck(net_apply(net, view, &err), "apply");
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {
    }
}

static void measure(struct net *net, size_t changes) {
    double *net_us = mem_array(changes, sizeof *net_us),
           *names_us = mem_array(changes, sizeof *names_us);
    struct dns_table *names;
    ck(dns_table_new(networks, 1, services, n, &names), "names");
    for (size_t i = 0; i < changes; i++) {
        struct net_change change = {.services = &services[i * 7919 % n], .n_services = 1};
        Orlop__Endpoint *e = change.services[0]->endpoints[0];
        e->serving = !e->serving;
        double t0 = cpu_us();
        ck(net_apply_change(net, &change, &err), "change");
        double t1 = cpu_us();
        ck(dns_table_change(names, change.services, 1, NULL, 0), "names");
        double t2 = cpu_us();
        net_us[i] = t1 - t0;
        names_us[i] = t2 - t1;
    }
    qsort(net_us, changes, sizeof *net_us, compare);
    qsort(names_us, changes, sizeof *names_us, compare);
    printf("%.0f %.0f\n", net_us[changes / 2], names_us[changes / 2]);
    dns_table_free(names);
    mem_free(net_us);
    mem_free(names_us);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    n = (size_t) atoi(argv[1]);
    size_t changes = (size_t) atoi(argv[2]);
    if (n < 1) return 2;
    make_view();
    struct net_config cfg = {.task_pool = TASK_POOL,
                             .task_pool_prefix = 12,
                             .vip_pool = VIP_POOL,
                             .vip_pool_prefix = 16};
    struct net *net;
    ck(net_open(&cfg, &net, &err), "open");
    struct net_view view = {.networks = networks,
                            .n_networks = 1,
                            .services = services,
                            .n_services = n,
                            .local = local,
                            .n_local = n * REPLICAS};
    ck(net_apply(net, &view, &err), "apply");
    if (changes)
        measure(net, changes);
    else
        keep(net, &view);
    ck(net_teardown(net, &err), "teardown");
    net_free(net);
    return 0;
}
