// SPDX-License-Identifier: Apache-2.0
/* Every byte of the store's files cut off, every bit flipped, every sector of the last write
 * missing: the same state, or a sentence that names file and byte; never a part of it in silence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/store.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "tests/lib/damage.h"

enum { INC = 7, ATTEMPT = 4, BOOT = 1, LAST_WRITE = 5000 };

static char dir[64];
static struct damage damage;
static size_t before_last; /* offset of the last record of log */

static struct astore *open_store(struct err *err) {
    struct astore *s = NULL;
    return astore_open(dir, "boot-a", "n1", &s, err) < 0 ? NULL : s;
}

static void stage_task(struct astore *s, const char *id, uint64_t idx, size_t bytes) {
    char name[32], *text = mem_zalloc(bytes + 1);
    snprintf(name, sizeof name, "%s", id);
    memset(text, 'x', bytes);
    Orlop__Service service = ORLOP__SERVICE__INIT;
    Orlop__TaskSpec spec = ORLOP__TASK_SPEC__INIT, *tasks[] = {&spec};
    Orlop__Wanted w = ORLOP__WANTED__INIT;
    Orlop__Version to = ORLOP__VERSION__INIT;
    to.inc = INC;
    to.idx = idx;
    service.image = text;
    spec.task = spec.app = spec.service = name;
    spec.want = ORLOP__WANT__WANT_RUN;
    spec.spec = &service;
    w.to = &to;
    w.tasks = tasks;
    w.n_tasks = 1;
    assert_int_equal(astore_stage_wanted(s, &w, NULL), 0);
    assert_int_equal(astore_flush(s, NULL), 0);
    mem_free(text);
}

static size_t used_of(const char *name) {
    auto_free char *data = NULL;
    size_t n;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(fd_read_file(AT_FDCWD, path, 1 << 20, &data, &n), 0);
    while (n && !data[n - 1]) n--;
    return n;
}

/* A set of two tasks, the second one of some sectors, and an attempt of the first. */
static int set_up(void **state) {
    (void) state;
    damage_temp_dir(dir);
    struct astore *s = open_store(NULL);
    assert_non_null(s);
    assert_int_equal(astore_stage_inc(s, INC, NULL), 0);
    stage_task(s, "7.1.1", 1, 100);
    before_last = used_of("log");
    stage_task(s, "7.2.1", 2, LAST_WRITE);
    struct astore_attempt a = {.boot = BOOT, .attempt = ATTEMPT};
    assert_int_equal(astore_note_attempt(s, "7.1.1", &a, NULL), 0);
    a.attempt++;
    assert_int_equal(astore_note_attempt(s, "7.1.1", &a, NULL), 0);
    astore_free(s);
    damage_take(&damage, dir);
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    damage_free(&damage);
    return fd_remove_tree(AT_FDCWD, dir);
}

static bool is_whole(const struct astore *s) {
    const struct astore_task *t = astore_task(s, "7.1.1");
    return astore_info(s)->idx == 2 && t && astore_task(s, "7.2.1") &&
           t->last.attempt == ATTEMPT + 1;
}

static void expect_named(const char *file, const char *what, size_t where) {
    struct err err = {0};
    struct astore *s = open_store(&err);
    if (!s) {
        if (!strstr(err.text, file) || !strstr(err.text, "byte"))
            fail_msg("%s %s %zu: refused with '%s'", file, what, where, err.text);
    } else {
        const struct astore_info *i = astore_info(s);
        bool named = i->torn_bytes || strstr(i->damage, file);
        if (!named && (i->is_new || !is_whole(s)))
            fail_msg("%s %s %zu: nothing is said", file, what, where);
        /* whatever was said: a set is there with its number, or not at all */
        bool second = astore_task(s, "7.2.1") != NULL, first = astore_task(s, "7.1.1") != NULL;
        if (i->idx != (second ? 2U : first ? 1U : 0U))
            fail_msg("%s %s %zu: half", file, what, where);
    }
    astore_free(s);
    damage_undo(&damage);
}

static void test_each_cut_is_named(void **state) {
    (void) state;
    static const char *const names[] = {"log", "attempts"};
    for (size_t i = 0; i < array_len(names); i++) {
        size_t used = damage_file(&damage, names[i])->used;
        for (size_t size = 0; size < used + 40; size++) {
            damage_cut(&damage, names[i], size);
            expect_named(names[i], "cut at", size);
        }
    }
}

static void test_each_flip_is_named(void **state) {
    (void) state;
    static const char *const names[] = {"log", "attempts"};
    for (size_t i = 0; i < array_len(names); i++) {
        size_t used = damage_file(&damage, names[i])->used;
        for (size_t bit = 0; bit < (used + 40) * 8; bit += bit / 8 < before_last + 32 ? 1 : 37) {
            damage_flip(&damage, names[i], bit);
            expect_named(names[i], "flipped at bit", bit);
        }
    }
}

/* Any run of sectors of the last write has not arrived. All before it is there. */
static void test_a_torn_last_write_is_undone(void **state) {
    (void) state;
    const struct damaged_file *f = damage_file(&damage, "log");
    int torn = 0;
    for (size_t from = before_last; from < f->used; from = (from / 512 + 1) * 512) {
        for (size_t to = (from / 512 + 1) * 512; from < f->used; to += 512) {
            damage_zero(&damage, "log", from, to);
            struct err err = {0};
            struct astore *s = open_store(&err);
            if (!s) fail_msg("zero from %zu to %zu: %s", from, to, err.text);
            bool all = from == before_last && to >= f->used; /* as if it had never begun */
            assert_int_equal(astore_info(s)->torn_bytes > 0, !all);
            assert_int_equal(astore_info(s)->idx, 1);
            assert_null(astore_task(s, "7.2.1"));
            stage_task(s, "7.3.1", 2, 10); /* goes on where the torn one was */
            astore_free(s);
            s = open_store(&err);
            assert_non_null(s);
            assert_int_equal(astore_info(s)->torn_bytes, 0);
            assert_non_null(astore_task(s, "7.3.1"));
            astore_free(s);
            damage_undo(&damage);
            torn++;
            if (to >= f->used) break;
        }
    }
    assert_true(torn > 10);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_each_cut_is_named),
        T(test_each_flip_is_named),
        T(test_a_torn_last_write_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
