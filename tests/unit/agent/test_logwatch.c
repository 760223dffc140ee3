// SPDX-License-Identifier: Apache-2.0
/* One inotify instance for any number of log directories and readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/logwatch.h"
#include "runtime/base/fd.h"

enum { DIRS = 300, PER_DIR = 3 }; /* more than the 128 instances of a user */

static struct waiting {
    struct logwatch_waiter waiter;
    unsigned told;
} waiting[DIRS][PER_DIR];
static char base[64];
static uv_loop_t loop;
static struct logwatch *watch;

static void on_changed(struct logwatch_waiter *w) {
    container_of(w, struct waiting, waiter)->told++;
}

static int open_dir(int i) {
    char path[96];
    snprintf(path, sizeof path, "%s/%d", base, i);
    (void) mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void write_in(int i) {
    auto_fd int dir = open_dir(i);
    assert_int_equal(fd_replace_file(dir, "1.log", "x", 1, 0600), 0);
}

static void expect_told(int dir, int n) {
    for (int i = 0; i < DIRS; i++)
        for (int k = 0; k < PER_DIR; k++) {
            assert_true(i == dir && k < n ? waiting[i][k].told > 0 : waiting[i][k].told == 0);
            waiting[i][k].told = 0;
        }
}

static int set_up(void **state) {
    (void) state;
    snprintf(base, sizeof base, "/tmp/orlop-logwatch-XXXXXX");
    assert_non_null(mkdtemp(base));
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(logwatch_new(&loop, &watch), 0);
    for (int i = 0; i < DIRS; i++) {
        auto_fd int dir = open_dir(i);
        assert_int_equal(fd_replace_file(dir, "1.log", "", 0, 0600), 0);
        for (int k = 0; k < PER_DIR; k++)
            assert_int_equal(logwatch_wait(watch, &waiting[i][k].waiter, dir, on_changed), 0);
    }
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    for (int i = 0; i < DIRS; i++)
        for (int k = 0; k < PER_DIR; k++) logwatch_forget(watch, &waiting[i][k].waiter);
    logwatch_close(watch);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return fd_remove_tree(AT_FDCWD, base);
}

static void test_each_is_told_of_its_own(void **state) {
    (void) state;
    static const int some[] = {0, 127, 128, DIRS - 1};
    for (size_t i = 0; i < array_len(some); i++) {
        write_in(some[i]);
        uv_run(&loop, UV_RUN_ONCE);
        expect_told(some[i], PER_DIR);
    }
    assert_int_equal(uv_run(&loop, UV_RUN_NOWAIT), 1); /* quiet, and alive */
    expect_told(-1, 0);
}

/* Those who take no notice do not keep the loop awake. */
static void test_who_stays_away_costs_nothing(void **state) {
    (void) state;
    write_in(5);
    uv_run(&loop, UV_RUN_ONCE);
    expect_told(5, PER_DIR);
    for (int i = 0; i < 100; i++) uv_run(&loop, UV_RUN_NOWAIT);
    expect_told(-1, 0);
}

static void test_the_others_are_told_when_one_forgets(void **state) {
    (void) state;
    logwatch_forget(watch, &waiting[7][PER_DIR - 1].waiter);
    logwatch_forget(watch, &waiting[7][PER_DIR - 1].waiter);
    write_in(7);
    uv_run(&loop, UV_RUN_ONCE);
    expect_told(7, PER_DIR - 1);
    for (int k = 0; k < PER_DIR; k++) logwatch_forget(watch, &waiting[7][k].waiter);
    write_in(7);
    write_in(8);
    uv_run(&loop, UV_RUN_ONCE);
    expect_told(8, PER_DIR);
}

static void test_a_directory_that_goes_is_no_trouble(void **state) {
    (void) state;
    char path[96];
    snprintf(path, sizeof path, "%s/9", base);
    assert_int_equal(fd_remove_tree(AT_FDCWD, path), 0);
    write_in(10);
    uv_run(&loop, UV_RUN_ONCE);
    for (int k = 0; k < PER_DIR; k++) waiting[9][k].told = 0;
    expect_told(10, PER_DIR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_told_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_stays_away_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_others_are_told_when_one_forgets, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_directory_that_goes_is_no_trouble, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
