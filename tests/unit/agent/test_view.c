// SPDX-License-Identifier: Apache-2.0
/* From the store's tables to the kernel's rules: deltas, each followed by a look at everything, which
 * must find nothing to change. In a network namespace of its own; no task runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/ports.h"
#include "agent/store_changes.h"
#include "agent/view.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

#define NET 0x4f520001u
#define TASK(n) (0x0a500002u + (n)) /* 10.80.0.2 ... */
#define VIP 0x0a600002u             /* 10.96.0.2 */

static const struct net_config cfg = {
    .task_pool = 0x0a500000, .task_pool_prefix = 12, .vip_pool = 0x0a600000, .vip_pool_prefix = 16};
static char dir[64];
static struct agent a;
static struct nft_ctx *nft;
static uint64_t idx = 10;

/* A set of the network, the service `web` with N tasks that serve, and task "1.1.0" at TASK(0). */
struct set {
    Orlop__Wanted w;
    Orlop__Version from, to;
    Orlop__ViewNetwork net, *nets[1];
    Orlop__ViewService web, *services[1];
    Orlop__Endpoint endpoint[4], *endpoints[4];
    Orlop__Service service;
    Orlop__TaskAddress address, *addresses[1];
    Orlop__TaskSpec task, *tasks[1];
    uint64_t gone[1];
};

static char *text(const char *s) {
    return (char *) (uintptr_t) s;
}

static void make_web(struct set *s, size_t n) {
    orlop__view_service__init(&s->web);
    s->web.id = 9;
    s->web.app = text("shop");
    s->web.service = text("web");
    s->web.network = NET;
    s->web.vip = VIP;
    for (size_t i = 0; i < n; i++) {
        orlop__endpoint__init(&s->endpoint[i]);
        s->endpoint[i].task = text(i ? "1.1.1" : "1.1.0");
        s->endpoint[i].address = TASK((uint32_t) i);
        s->endpoint[i].serving = true;
        s->endpoints[i] = &s->endpoint[i];
    }
    s->web.endpoints = s->endpoints;
    s->web.n_endpoints = n;
    s->services[0] = &s->web;
    s->w.services = s->services;
    s->w.n_services = 1;
}

static void make_task(struct set *s) {
    orlop__service__init(&s->service);
    orlop__task_spec__init(&s->task);
    orlop__task_address__init(&s->address);
    s->address.network = NET;
    s->address.address = TASK(0);
    s->addresses[0] = &s->address;
    s->task.task = text("1.1.0");
    s->task.app = text("shop");
    s->task.service = text("web");
    s->task.want = ORLOP__WANT__WANT_RUN;
    s->task.spec = &s->service;
    s->task.addresses = s->addresses;
    s->task.n_addresses = 1;
    s->tasks[0] = &s->task;
    s->w.tasks = s->tasks;
    s->w.n_tasks = 1;
}

static void make_network(struct set *s) {
    orlop__view_network__init(&s->net);
    s->net.id = NET;
    s->net.app = text("shop");
    s->net.name = text("default");
    s->net.subnet = 0x0a500000;
    s->net.prefix_len = 16;
    s->net.gateway = 0x0a500001;
    s->nets[0] = &s->net;
    s->w.networks = s->nets;
    s->w.n_networks = 1;
}

static void begin(struct set *s, bool full) {
    memset(s, 0, sizeof *s);
    orlop__wanted__init(&s->w);
    orlop__version__init(&s->from);
    orlop__version__init(&s->to);
    s->from.inc = s->to.inc = astore_info(a.store)->inc;
    s->from.idx = idx;
    s->to.idx = ++idx;
    s->w.full = full;
    s->w.from = full ? NULL : &s->from;
    s->w.to = &s->to;
    s->w.store.data = (uint8_t *) (uintptr_t) astore_info(a.store)->id;
    s->w.store.len = ASTORE_ID_BYTES;
}

static char *rules(void) {
    assert_int_equal(nft_run_cmd_from_buffer(nft, "list table inet orlop"), 0);
    char *s = mem_strdup(nft_ctx_get_output_buffer(nft));
    assert_non_null(s);
    return s;
}

/* Take S as a delta, and then as if everything had to be looked at: the rules must be the same. */
static void take(struct set *s) {
    struct err err = {0};
    assert_int_equal(astore_check_wanted(a.store, s->to.inc, &s->w), 0);
    assert_int_equal(astore_stage_wanted(a.store, &s->w, &err), 0);
    assert_int_equal(astore_flush(a.store, &err), 0);
    aview_changed(a.view);
    assert_int_equal(aview_applied_idx(a.view), idx);
    const struct store_changes *c = astore_changes(a.store);
    assert_true(!c->whole && c->n_services == 0 && c->n_addresses == 0 && c->tasks.n == 0);
    auto_free char *by_part = rules();
    store_changes_whole(astore_changes(a.store));
    aview_changed(a.view);
    auto_free char *by_all = rules();
    assert_string_equal(by_part, by_all);
}

static bool shows(const char *what) {
    auto_free char *s = rules();
    return strstr(s, what) != NULL;
}

static void test_deltas_reach_the_rules(void **state) {
    (void) state;
    struct set s;
    begin(&s, true);
    make_network(&s);
    make_web(&s, 1);
    make_task(&s);
    take(&s);
    assert_true(shows("10.96.0.2 : goto n1"));
    assert_true(shows("10.80.0.2 . 10.80.0.2 : 10.80.0.1"));
    begin(&s, false); /* one more replica, somewhere else */
    make_web(&s, 2);
    take(&s);
    assert_true(shows("10.96.0.2 : goto n2") && shows(": 10.80.0.3"));
    begin(&s, false);
    s.gone[0] = 9;
    s.w.services_gone = s.gone;
    s.w.n_services_gone = 1;
    take(&s);
    assert_false(shows("10.96.0.2 : goto"));
    Orlop__TaskStatus end = ORLOP__TASK_STATUS__INIT;
    end.task = text("1.1.0");
    end.gone = true;
    assert_int_equal(astore_stage_end(a.store, &end, NULL), 0);
    begin(&s, false); /* the task has ended, the service is back */
    make_web(&s, 1);
    take(&s);
    assert_true(shows("10.96.0.2 : goto n1"));
    assert_false(shows("10.80.0.2 . 10.80.0.2 :"));
}

static int setup(void **state) {
    (void) state;
    struct err err = {0};
    snprintf(dir, sizeof dir, "/tmp/orlop-view-XXXXXX");
    if (!mkdtemp(dir) || unshare(CLONE_NEWNET) < 0) return -1;
    a = (struct agent){.loop = uv_default_loop(), .stepping = true}; /* events only wait */
    list_init(&a.events);
    if (astore_open(dir, "boot", "n1", &a.store, &err) < 0) return -1;
    if (astore_stage_inc(a.store, 1, &err) < 0 || astore_flush(a.store, &err) < 0) return -1;
    if (net_open(&cfg, &a.net, &err) < 0) return -1;
    nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!nft || nft_ctx_buffer_output(nft)) return -1;
    char socket[128];
    snprintf(socket, sizeof socket, "%s/proxy.sock", dir);
    return ports_new(&a, socket, &a.ports) == 0 && aview_new(&a, &a.view) == 0 ? 0 : -1;
}

static int teardown(void **state) {
    (void) state;
    struct err err = {0};
    aview_close(a.view);
    ports_close(a.ports);
    uv_run(a.loop, UV_RUN_DEFAULT);
    if (net_teardown(a.net, &err) < 0) return -1;
    net_free(a.net);
    astore_free(a.store);
    nft_ctx_free(nft);
    return fd_remove_tree(AT_FDCWD, dir);
}

int main(void) {
    if (getuid() != 0) {
        fputs("needs root\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deltas_reach_the_rules)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
