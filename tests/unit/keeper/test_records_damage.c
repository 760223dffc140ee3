// SPDX-License-Identifier: Apache-2.0
/* Every byte of starts, exits and closed cut off, every bit flipped: each record is read as it was
 * written, or left out and counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/records.h"
#include "tests/lib/damage.h"

enum { N = 3 };

static char dir[64];
static struct damage damage;
static struct records records;
static unsigned seen; /* a bit per record */

static const size_t sizes[] = {[RECORDS_STARTS] = sizeof(struct record_start),
                               [RECORDS_EXITS] = sizeof(struct record_exit),
                               [RECORDS_CLOSED] = sizeof(struct record_closed)};

static struct record_start start_of(int i) {
    struct record_start r = {.boot = 3, .start_ticks = 40 + (uint64_t) i, .pid = 100 + i};
    r.attempt = (uint32_t) i + 1;
    snprintf(r.task, sizeof r.task, "1.2.%d", i);
    snprintf(r.cgroup, sizeof r.cgroup, "1.2.%d-3.%d", i, i + 1);
    return r;
}
static struct record_exit exit_of(int i) {
    return (struct record_exit){
        .start_ticks = 40 + (uint64_t) i, .pid = 100 + i, .wait_status = i << 8, .known = 1};
}
static struct record_closed closed_of(int i) {
    struct record_closed r = {.what = i % 2 ? RECORD_TASK_FORGOTTEN : RECORD_TASK_CLOSED};
    snprintf(r.task, sizeof r.task, "1.2.%d", i);
    return r;
}

static int set_up(void **state) {
    (void) state;
    damage_temp_dir(dir);
    assert_int_equal(records_open(&records, dir, NULL), 0);
    for (int i = 0; i < N; i++) {
        struct record_start s = start_of(i);
        struct record_exit x = exit_of(i);
        struct record_closed c = closed_of(i);
        assert_int_equal(records_add_start(&records, &s), 0);
        assert_int_equal(records_add_exit(&records, &x), 0);
        assert_int_equal(records_add_closed(&records, &c), 0);
    }
    damage_take(&damage, dir);
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    damage_free(&damage);
    records_close(&records);
    return fd_remove_tree(AT_FDCWD, dir);
}

/* Which one it is; it must be that one to the last byte behind its head and boot. */
static void see(int i, const void *got, const void *want, size_t size) {
    size_t head = sizeof(struct record_head);
    assert_in_range(i, 0, N - 1);
    assert_memory_equal((const char *) got + head, (const char *) want + head, size - head);
    seen |= 1U << i;
}
static void on_start(void *ctx, const struct record_start *r) {
    (void) ctx;
    struct record_start want = start_of(r->pid - 100);
    want.boot_hash = records.boot_hash;
    see(r->pid - 100, r, &want, sizeof want);
}
static void on_exit_record(void *ctx, const struct record_exit *r) {
    (void) ctx;
    struct record_exit want = exit_of(r->pid - 100);
    want.boot_hash = records.boot_hash;
    see(r->pid - 100, r, &want, sizeof want);
}
static void on_closed(void *ctx, const struct record_closed *r) {
    (void) ctx;
    struct record_closed want = closed_of(r->task[4] - '0');
    see(r->task[4] - '0', r, &want, sizeof want);
}

static void read_all(enum records_file file) {
    uint64_t offset = 0;
    seen = 0;
    int r = file == RECORDS_STARTS  ? records_read_starts(&records, on_start, NULL)
            : file == RECORDS_EXITS ? records_read_exits(&records, &offset, on_exit_record, NULL)
                                    : records_read_closed(&records, on_closed, NULL);
    assert_int_equal(r, 0);
}

static void expect(enum records_file file, unsigned want, uint64_t bad, uint64_t torn, size_t at) {
    struct records_damage d;
    read_all(file);
    assert_int_equal(records_examine(&records, file, &d), 0);
    if (seen != want || d.bad != bad || d.torn != torn)
        fail_msg("%s at %zu: read %x instead of %x, %lu bad, %lu torn", records_name(file), at,
                 seen, want, (unsigned long) d.bad, (unsigned long) d.torn);
    damage_undo(&damage);
}

static void test_each_cut_leaves_the_whole_records(void **state) {
    (void) state;
    for (enum records_file f = RECORDS_STARTS; f <= RECORDS_CLOSED; f++)
        for (size_t size = 0; size <= N * sizes[f]; size++) {
            damage_cut(&damage, records_name(f), size);
            expect(f, (1U << size / sizes[f]) - 1, 0, size % sizes[f], size);
        }
}

static void test_each_flip_leaves_out_one_record(void **state) {
    (void) state;
    for (enum records_file f = RECORDS_STARTS; f <= RECORDS_CLOSED; f++)
        for (size_t bit = 0; bit < N * sizes[f] * 8; bit++) {
            unsigned lost = 1U << bit / 8 / sizes[f];
            damage_flip(&damage, records_name(f), bit);
            expect(f, ((1U << N) - 1) & ~lost, 1, 0, bit / 8);
        }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_each_cut_leaves_the_whole_records),
        T(test_each_flip_leaves_out_one_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
