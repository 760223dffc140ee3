// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/keeper/loop.h"

static int64_t now_ms, seen_ms;

static void on_timer(struct loop_source *s, uint32_t events) {
    (void) s;
    (void) events;
    seen_ms = now_ms;
}

/* A deadline that a callback sets counts from then, not from before a long wait. */
static void test_a_callback_knows_the_time_after_the_wait(void **state) {
    (void) state;
    enum { WAIT_MS = 50 };
    struct loop l;
    struct loop_source timer = {0};
    struct itimerspec in = {.it_value = {.tv_nsec = WAIT_MS * 1000000L}};
    assert_int_equal(loop_init(&l), 0);
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int64_t before = clock_mono_ms();
    assert_int_equal(timerfd_settime(fd, 0, &in, NULL), 0);
    assert_int_equal(loop_add(&l, &timer, fd, EPOLLIN, on_timer), 0);
    while (!seen_ms) assert_true(loop_turn(&l, 30000, &now_ms) >= 0);
    assert_true(seen_ms >= before + WAIT_MS);
    loop_remove(&l, &timer);
    loop_fini(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_callback_knows_the_time_after_the_wait)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
