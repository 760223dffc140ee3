// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/reap.h"
#include "runtime/keeper/records.h"

static struct {
    char dir[64];
    struct records records;
    size_t n;
    struct record_exit last_exit;
    struct record_start last_start;
    uint32_t closed[8];
} env;

static int set_up(void **state) {
    (void) state;
    memset(&env, 0, sizeof env);
    snprintf(env.dir, sizeof env.dir, "/tmp/orlop-records-test-XXXXXX");
    if (!mkdtemp(env.dir)) return -1;
    return records_open(&env.records, env.dir, NULL);
}

static int tear_down(void **state) {
    (void) state;
    records_close(&env.records);
    return fd_remove_tree(AT_FDCWD, env.dir);
}

static void on_start(void *ctx, const struct record_start *r) {
    (void) ctx;
    env.last_start = *r;
    env.n++;
}
static void on_exit_record(void *ctx, const struct record_exit *r) {
    (void) ctx;
    env.last_exit = *r;
    env.n++;
}
static void on_closed(void *ctx, const struct record_closed *r) {
    (void) ctx;
    env.closed[env.n++ % 8] = r->what;
}

static struct record_start start_of(int32_t pid) {
    struct record_start r = {.pid = pid, .attempt = 1, .boot = 3, .start_ticks = 42};
    strcpy(r.task, "1.2.3"); /* NOLINT: fits */
    return r;
}

static void put_start(int32_t pid) {
    struct record_start r = start_of(pid);
    assert_int_equal(records_add_start(&env.records, &r), 0);
}

static size_t starts(void) {
    env.n = 0;
    assert_int_equal(records_read_starts(&env.records, on_start, NULL), 0);
    return env.n;
}

static off_t size_of(const char *name) {
    struct stat st;
    return fstatat(env.records.run, name, &st, 0) < 0 ? -1 : st.st_size;
}

static void test_task_text_accepts_three_numbers_only(void **state) {
    (void) state;
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {{"1.2.3", true},
                 {"18446744073709551615.0.4294967295", true},
                 {"", false},
                 {"1.2", false},
                 {"1.2.3.4", false},
                 {"..", false},
                 {"1..3", false},
                 {".1.2", false},
                 {"1.2.", false},
                 {"1.2.a", false},
                 {"1.2.3/..", false},
                 {"-1.2.3", false},
                 {"1.2.123456789012345678901", false}};
    for (size_t i = 0; i < array_len(cases); i++)
        assert_int_equal(record_task_ok(cases[i].text), cases[i].ok);
}

static void test_start_is_read_as_it_was_written(void **state) {
    (void) state;
    assert_int_equal(starts(), 0); /* a missing file is an empty one */
    put_start(100);
    put_start(101);
    assert_int_equal(starts(), 2);
    assert_int_equal(env.last_start.pid, 101);
    assert_int_equal(env.last_start.start_ticks, 42);
    assert_string_equal(env.last_start.task, "1.2.3");
    assert_int_equal(env.last_start.boot_hash, env.records.boot_hash);
}

static void test_damaged_records_are_skipped_and_a_torn_tail_is_cut(void **state) {
    (void) state;
    put_start(100);
    put_start(101);
    int fd = openat(env.records.run, "starts", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "damage", 6, 60), 6);
    assert_int_equal(pwrite(fd, "torn", 4, 2 * (off_t) sizeof(struct record_start)), 4);
    close(fd);
    assert_int_equal(starts(), 1);
    put_start(102);
    assert_int_equal(starts(), 2);
    assert_int_equal(env.last_start.pid, 102);
    assert_int_equal(size_of("starts"), 3 * sizeof(struct record_start));
}

static bool keep_101(void *ctx, const void *record) {
    (void) ctx;
    return ((const struct record_start *) record)->pid == 101;
}

static void test_compaction_keeps_what_is_wanted(void **state) {
    (void) state;
    for (int32_t pid = 100; pid < 300; pid++) put_start(pid);
    assert_int_equal(records_compact(&env.records, RECORDS_STARTS, keep_101, NULL), 0);
    assert_int_equal(starts(), 1);
    assert_int_equal(env.last_start.pid, 101);
    put_start(500); /* to the new file */
    assert_int_equal(starts(), 2);
}

static bool keep_all(void *ctx, const void *record) {
    (void) ctx;
    (void) record;
    return true;
}

static void test_appends_beside_compactions_lose_nothing(void **state) {
    (void) state;
    enum { APPENDS = 300 };
    pid_t anchor = fork();
    if (anchor == 0) {
        for (int32_t i = 1; i <= APPENDS; i++) {
            struct record_exit r = {.pid = i, .known = 1};
            if (records_add_exit(&env.records, &r) < 0) _exit(1);
        }
        _exit(0);
    }
    int status = -1;
    while (waitpid(anchor, &status, WNOHANG) == 0)
        assert_int_equal(records_compact(&env.records, RECORDS_EXITS, keep_all, NULL), 0);
    assert_int_equal(status, 0);
    uint64_t offset = 0;
    assert_int_equal(records_read_exits(&env.records, &offset, on_exit_record, NULL), 0);
    assert_int_equal(env.n, APPENDS);
}

static void test_exits_are_read_from_an_offset(void **state) {
    (void) state;
    uint64_t offset = 0;
    for (int32_t i = 1; i < 4; i++) {
        struct record_exit r = {.pid = i, .wait_status = i << 8, .known = 1};
        assert_int_equal(records_add_exit(&env.records, &r), 0);
        env.n = 0;
        assert_int_equal(records_read_exits(&env.records, &offset, on_exit_record, NULL), 0);
        assert_int_equal(env.n, 1);
        assert_int_equal(env.last_exit.pid, i);
    }
}

static void test_closed_and_forgotten_keep_their_order(void **state) {
    (void) state;
    struct record_closed r = {.what = RECORD_TASK_CLOSED};
    strcpy(r.task, "1.2.3"); /* NOLINT: fits */
    assert_int_equal(records_add_closed(&env.records, &r), 0);
    r.what = RECORD_TASK_FORGOTTEN;
    assert_int_equal(records_add_closed(&env.records, &r), 0);
    assert_int_equal(records_read_closed(&env.records, on_closed, NULL), 0);
    assert_int_equal(env.n, 2);
    assert_int_equal(env.closed[0], RECORD_TASK_CLOSED);
    assert_int_equal(env.closed[1], RECORD_TASK_FORGOTTEN);
}

/* The record is there before the zombie is gone. */
static void test_reap_records_before_it_reaps(void **state) {
    (void) state;
    static const struct {
        const char *exec;
        int signal, status;
        bool never_ran;
    } cases[] = {{NULL, 0, 127 << 8, true},
                 {NULL, SIGKILL, SIGKILL, false},
                 {"exit 127", 0, 127 << 8, false}};
    for (size_t i = 0; i < array_len(cases); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (cases[i].signal) raise(cases[i].signal);
            if (cases[i].exec) execl("/bin/sh", "sh", "-c", cases[i].exec, NULL);
            _exit(127);
        }
        struct reaped dead = {0};
        while (reap_look(P_PID, (id_t) pid, &dead) == 0) (void) poll(NULL, 0, 1);
        assert_int_equal(dead.pid, pid);
        assert_int_equal(dead.wait_status, cases[i].status);
        uint64_t ticks = process_see(pid).start_ticks;
        assert_true(ticks > 0); /* it is still a zombie */
        assert_int_equal(reap_record(&env.records, &dead, NULL), 0);
        assert_int_equal(kill(pid, 0), -1);
        uint64_t offset = 0;
        assert_int_equal(records_read_exits(&env.records, &offset, on_exit_record, NULL), 0);
        assert_int_equal(env.last_exit.wait_status, cases[i].status);
        assert_int_equal(env.last_exit.start_ticks, ticks);
        assert_int_equal(env.last_exit.never_ran, cases[i].never_ran);
    }
}

static void test_reap_without_a_place_for_the_record_leaves_the_zombie(void **state) {
    (void) state;
    pid_t pid = fork();
    if (pid == 0) _exit(3);
    struct reaped dead = {0};
    while (reap_look(P_PID, (id_t) pid, &dead) == 0) (void) poll(NULL, 0, 1);
    assert_int_equal(mkdirat(env.records.run, "exits", 0700), 0); /* open for writing fails */
    assert_true(reap_record(&env.records, &dead, NULL) < 0);
    assert_int_equal(reap_look(P_PID, (id_t) pid, &dead), 1);
    reap_plain(pid);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_task_text_accepts_three_numbers_only),
        T(test_start_is_read_as_it_was_written),
        T(test_damaged_records_are_skipped_and_a_torn_tail_is_cut),
        T(test_compaction_keeps_what_is_wanted),
        T(test_appends_beside_compactions_lose_nothing),
        T(test_exits_are_read_from_an_offset),
        T(test_closed_and_forgotten_keep_their_order),
        T(test_reap_records_before_it_reaps),
        T(test_reap_without_a_place_for_the_record_leaves_the_zombie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
