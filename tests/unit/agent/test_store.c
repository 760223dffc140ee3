// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store.h"
#include "agent/store_changes.h"
#include "agent/storelog.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

static char dir[64];

static int setup(void **state) {
    (void) state;
    snprintf(dir, sizeof dir, "/tmp/orlop-store-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void) state;
    mem_fail_after(0);
    return fd_remove_tree(AT_FDCWD, dir);
}

static struct astore *open_store(const char *boot_id) {
    struct astore *s = NULL;
    struct err err = {0};
    if (astore_open(dir, boot_id, "n1", &s, &err) < 0) fail_msg("%s", err.text);
    return s;
}

static char *text(const char *s) {
    return (char *) (uintptr_t) s;
}

struct wanted {
    Orlop__Wanted w;
    Orlop__Version from, to;
    Orlop__TaskSpec spec[2];
    Orlop__Service service;
    Orlop__TaskSpec *tasks[2];
    Orlop__ViewNetwork net, *nets[1];
    char *gone[1];
};

/* A set of task "1.5.0" and network 1 from FROM to TO; full when FROM is 0. */
static void make_wanted(struct wanted *m, const struct astore *s, uint64_t from, uint64_t to) {
    memset(m, 0, sizeof *m);
    orlop__wanted__init(&m->w);
    orlop__version__init(&m->from);
    orlop__version__init(&m->to);
    m->from.inc = m->to.inc = astore_info(s)->inc;
    m->from.idx = from;
    m->to.idx = to;
    m->w.full = from == 0;
    m->w.from = from ? &m->from : NULL;
    m->w.to = &m->to;
    m->w.store.data = (uint8_t *) (uintptr_t) astore_info(s)->id;
    m->w.store.len = ASTORE_ID_BYTES;
    orlop__service__init(&m->service);
    for (int i = 0; i < 2; i++) {
        orlop__task_spec__init(&m->spec[i]);
        m->spec[i].task = i ? text("1.6.0") : text("1.5.0");
        m->spec[i].app = text("shop");
        m->spec[i].service = text("web");
        m->spec[i].want = ORLOP__WANT__WANT_RUN;
        m->spec[i].spec = &m->service;
        m->tasks[i] = &m->spec[i];
    }
    m->w.tasks = m->tasks;
    m->w.n_tasks = 1;
    orlop__view_network__init(&m->net);
    m->net.id = 1;
    m->nets[0] = &m->net;
    m->w.networks = m->nets;
    m->w.n_networks = 1;
}

static void take(struct astore *s, struct wanted *m) {
    struct err err = {0};
    assert_int_equal(astore_check_wanted(s, astore_info(s)->inc, &m->w), 0);
    assert_int_equal(astore_stage_wanted(s, &m->w, &err), 0);
    assert_int_equal(astore_flush(s, &err), 0);
}

static void set_inc(struct astore *s, uint64_t inc) {
    assert_int_equal(astore_stage_inc(s, inc, NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
}

static void test_store_new_boot_raises_the_counter_once(void **state) {
    (void) state;
    struct astore *s = open_store("boot-a");
    assert_true(astore_info(s)->is_new);
    assert_int_equal(astore_info(s)->boot, 1);
    uint8_t id[ASTORE_ID_BYTES];
    memcpy(id, astore_info(s)->id, sizeof id);
    astore_free(s);
    s = open_store("boot-a");
    assert_false(astore_info(s)->is_new);
    assert_int_equal(astore_info(s)->boot, 1);
    astore_free(s);
    s = open_store("boot-b");
    assert_int_equal(astore_info(s)->boot, 2);
    assert_true(astore_info(s)->new_boot);
    assert_memory_equal(astore_info(s)->id, id, sizeof id);
    assert_string_equal(astore_info(s)->node, "n1");
    astore_free(s);
}

/* The view looks at these only: what is not noted never reaches the kernel. */
static void test_store_notes_what_changed(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    struct store_changes *c = astore_changes(s);
    struct wanted m;
    make_wanted(&m, s, 0, 10);
    take(s, &m);
    assert_true(c->whole); /* networks, a full set */
    store_changes_reset(c);

    Orlop__TaskAddress address = ORLOP__TASK_ADDRESS__INIT, *addresses[] = {&address};
    Orlop__ViewService web = ORLOP__VIEW_SERVICE__INIT, *services[] = {&web};
    Orlop__Port port = ORLOP__PORT__INIT, *ports[] = {&port};
    make_wanted(&m, s, 10, 11);
    address.address = 42;
    m.spec[0].task = text("1.7.0");
    m.spec[0].addresses = addresses;
    m.spec[0].n_addresses = 1;
    web.id = 9;
    m.w.n_networks = 0;
    m.w.services = services;
    m.w.n_services = 1;
    take(s, &m);
    assert_false(c->whole || c->ports);
    assert_true(c->n_services == 1 && c->services[0] == 9);
    assert_true(c->n_addresses == 1 && c->addresses[0] == 42);
    assert_true(strv_has(&c->tasks, "1.7.0"));

    web.ports = ports;
    web.n_ports = 1;
    make_wanted(&m, s, 11, 12);
    m.w.n_networks = m.w.n_tasks = 0;
    m.w.services = services;
    m.w.n_services = 1;
    take(s, &m);
    assert_true(c->ports);
    store_changes_reset(c);

    uint64_t gone[] = {9};
    make_wanted(&m, s, 12, 13);
    m.w.n_networks = m.w.n_tasks = 0;
    m.w.services_gone = gone;
    m.w.n_services_gone = 1;
    take(s, &m);
    assert_true(c->n_services == 1 && c->services[0] == 9 && c->ports);
    assert_int_equal(astore_stage_deleted(s, "1.7.0", NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    assert_true(c->n_addresses == 1 && c->addresses[0] == 42);
    astore_free(s);
}

/* Once it is gone its address may be another task's, which the old one's deletion must not touch. */
static void test_store_notes_an_end_once(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    struct store_changes *c = astore_changes(s);
    struct wanted m;
    Orlop__TaskAddress address = ORLOP__TASK_ADDRESS__INIT, *addresses[] = {&address};
    Orlop__TaskStatus end = ORLOP__TASK_STATUS__INIT;
    make_wanted(&m, s, 0, 10);
    m.spec[0].addresses = addresses;
    m.spec[0].n_addresses = 1;
    take(s, &m);
    store_changes_reset(c);
    end.task = text("1.5.0");
    assert_int_equal(astore_stage_end(s, &end, NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    assert_int_equal(c->n_addresses, 0); /* ended, and its link is still there */
    end.gone = true;
    assert_int_equal(astore_stage_end(s, &end, NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    assert_int_equal(c->n_addresses, 1);
    store_changes_reset(c);
    assert_int_equal(astore_stage_end(s, &end, NULL), 0);
    assert_int_equal(astore_stage_deleted(s, "1.5.0", NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    assert_int_equal(c->n_addresses, 0);
    astore_free(s);
}

/* One too many: then everything is looked at. */
static void test_store_changes_are_bounded(void **state) {
    (void) state;
    struct store_changes c = {.whole = false};
    Orlop__ViewService s = ORLOP__VIEW_SERVICE__INIT;
    for (uint64_t i = 0; i < STORE_CHANGES_MAX; i++) {
        s.id = i;
        store_changes_service(&c, &s);
    }
    assert_true(!c.whole && c.n_services == STORE_CHANGES_MAX);
    s.id = 0;
    store_changes_service(&c, &s); /* known */
    assert_false(c.whole);
    s.id = STORE_CHANGES_MAX;
    store_changes_service(&c, &s);
    assert_true(c.whole && c.n_services == 0);
    store_changes_fini(&c);
}

static void test_store_wanted_survives_with_its_version(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    set_inc(s, 3);
    struct wanted m;
    make_wanted(&m, s, 0, 10);
    char *volumes[] = {text("shop_data")};
    m.w.volumes_gone = volumes;
    m.w.n_volumes_gone = 1;
    take(s, &m);
    make_wanted(&m, s, 10, 12);
    m.w.n_tasks = 2;
    m.spec[0].want = ORLOP__WANT__WANT_STOP;
    take(s, &m);
    make_wanted(&m, s, 12, 13);
    m.w.n_tasks = 0;
    m.gone[0] = text("1.5.0");
    m.w.tasks_gone = m.gone;
    m.w.n_tasks_gone = 1;
    take(s, &m);
    astore_free(s);
    s = open_store("a");
    assert_int_equal(astore_info(s)->inc, 3);
    assert_int_equal(astore_info(s)->idx, 13);
    struct astore_task *t = astore_task(s, "1.5.0");
    assert_non_null(t);
    assert_false(t->in_set);
    assert_int_equal(t->want, ORLOP__WANT__WANT_STOP);
    assert_true(astore_task(s, "1.6.0")->in_set);
    assert_int_equal(map_len(astore_networks(s)), 1);
    assert_string_equal(astore_volumes_gone(s)->v[0], "shop_data");
    assert_int_equal(astore_stage_volume_deleted(s, "shop_data", NULL), 0);
    assert_int_equal(astore_stage_deleted(s, "1.5.0", NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    assert_int_equal(astore_volumes_gone(s)->n, 0);
    assert_null(astore_task(s, "1.5.0"));
    astore_free(s);
    s = open_store("a");
    assert_null(astore_task(s, "1.5.0"));
    assert_int_equal(astore_volumes_gone(s)->n, 0);
    astore_free(s);
}

static void test_store_check_refuses_old_foreign_and_gapped_sets(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    set_inc(s, 2);
    struct wanted m;
    make_wanted(&m, s, 0, 10);
    take(s, &m);
    static const struct {
        const char *name;
        uint64_t inc, from, to;
        bool foreign;
        int want;
    } cases[] = {
        {"newer full set", 2, 0, 11, false, 0},
        {"the same full set again", 2, 0, 10, false, 0},
        {"stale full set", 2, 0, 9, false, -ESTALE},
        {"full set of another store", 2, 0, 11, true, -ESTALE},
        {"other incarnation", 1, 0, 11, false, -ESTALE},
        {"delta from here", 2, 10, 11, false, 0},
        {"delta behind a gap", 2, 11, 12, false, -EAGAIN},
        {"old delta", 2, 8, 9, false, -ESTALE},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        make_wanted(&m, s, cases[i].from, cases[i].to);
        m.to.inc = m.from.inc = cases[i].inc;
        uint8_t other[ASTORE_ID_BYTES] = {1};
        if (cases[i].foreign) m.w.store.data = other;
        int r = astore_check_wanted(s, cases[i].inc, &m.w);
        if (r != cases[i].want) fail_msg("%s: %d", cases[i].name, r);
    }
    set_inc(s, 3);
    assert_int_equal(astore_info(s)->idx, 0); /* a restored log starts lower and is believed */
    astore_free(s);
}

static void test_store_end_and_attempts_survive(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    set_inc(s, 1);
    struct wanted m;
    make_wanted(&m, s, 0, 5);
    take(s, &m);
    struct astore_attempt a = {.boot = 1,
                               .attempt = 4,
                               .restarts = 3,
                               .failures = 2,
                               .health = ORLOP__HEALTH__HEALTH_HEALTHY};
    assert_int_equal(astore_note_attempt(s, "1.5.0", &a, NULL), 0);
    assert_int_equal(astore_note_attempt(s, "9.9.9", &a, NULL), -ENOENT);
    Orlop__TaskStatus end = ORLOP__TASK_STATUS__INIT;
    end.task = text("1.5.0");
    end.state = ORLOP__TASK_STATE__FAILED;
    end.reason = text("exited with code 3");
    assert_int_equal(astore_stage_end(s, &end, NULL), 0);
    assert_null(astore_task(s, "1.5.0")->end); /* not before it is on disk */
    assert_int_equal(astore_flush(s, NULL), 0);
    astore_free(s);
    s = open_store("a");
    struct astore_task *t = astore_task(s, "1.5.0");
    assert_string_equal(t->end->reason, "exited with code 3");
    assert_int_equal(t->last.attempt, 4);
    assert_int_equal(t->last.health, ORLOP__HEALTH__HEALTH_HEALTHY);
    astore_free(s);
}

static size_t log_size(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/log", dir);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t) st.st_size;
}

static void test_store_log_is_rewritten_and_stays_small(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    set_inc(s, 1);
    struct wanted m;
    make_wanted(&m, s, 0, 1);
    take(s, &m);
    static char long_text[200 * 1024];
    memset(long_text, 'x', sizeof long_text - 1);
    Orlop__TaskStatus end = ORLOP__TASK_STATUS__INIT;
    end.task = text("1.5.0");
    end.state = ORLOP__TASK_STATE__FAILED;
    end.reason = long_text;
    for (int i = 0; i < 30; i++) {
        end.attempt = (uint32_t) i;
        assert_int_equal(astore_stage_end(s, &end, NULL), 0);
        assert_int_equal(astore_flush(s, NULL), 0);
    }
    assert_true(log_size() < 3 << 20);
    astore_free(s);
    s = open_store("b");
    assert_int_equal(astore_task(s, "1.5.0")->end->attempt, 29);
    assert_int_equal(astore_task(s, "1.5.0")->accept_boot, 1);
    assert_int_equal(astore_info(s)->idx, 1);
    assert_int_equal(astore_info(s)->boot, 2);
    astore_free(s);
}

static void test_store_failed_write_is_staged_again(void **state) {
    (void) state;
    struct astore *s = open_store("a");
    assert_int_equal(astore_stage_inc(s, 7, NULL), 0);
    struct astore_write w;
    astore_write_begin(s, &w);
    w.status = -ENOSPC; /* as astore_write_run reports a full disk */
    assert_int_equal(astore_stage_inc(s, 8, NULL), 0);
    assert_int_equal(astore_write_done(&w, NULL), 0);
    assert_int_equal(astore_info(s)->inc, 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    assert_int_equal(astore_info(s)->inc, 8);
    astore_free(s);
}

/* Every allocation fails once: an error, never a half-taken change, and the disk tells the truth.
 */
static void test_store_nth_allocation_fails_cleanly(void **state) {
    (void) state;
    for (unsigned long n = 1;; n++) {
        assert_int_equal(fd_remove_tree(AT_FDCWD, dir), 0);
        struct astore *s = open_store("a");
        set_inc(s, 1);
        astore_free(s);
        s = NULL;
        mem_fail_after(n);
        int r = astore_open(dir, "a", "n1", &s, NULL);
        if (r == 0) {
            struct wanted m;
            make_wanted(&m, s, 0, astore_info(s)->idx + 1);
            r = astore_stage_wanted(s, &m.w, NULL);
            if (r == 0) r = astore_flush(s, NULL);
        }
        mem_fail_after(0);
        astore_free(s);
        if (r == 0) break;
        assert_int_equal(r, -ENOMEM);
        assert_true(n < 500);
        s = open_store("a");
        assert_int_equal(astore_info(s)->inc, 1);
        astore_free(s);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_store_new_boot_raises_the_counter_once),
        T(test_store_notes_what_changed),
        T(test_store_notes_an_end_once),
        T(test_store_changes_are_bounded),
        T(test_store_wanted_survives_with_its_version),
        T(test_store_check_refuses_old_foreign_and_gapped_sets),
        T(test_store_end_and_attempts_survive),
        T(test_store_log_is_rewritten_and_stays_small),
        T(test_store_failed_write_is_staged_again),
        T(test_store_nth_allocation_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
