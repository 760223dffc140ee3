// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "runtime/container/limits.h"

static void test_limits_read_equals_getrlimit(void **state) {
    (void) state;
    struct rlimit got[RLIM_NLIMITS], want;
    struct err err;
    assert_int_equal(limits_read(getpid(), got, &err), 0);
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        assert_int_equal(getrlimit((__rlimit_resource_t) i, &want), 0);
        assert_true(got[i].rlim_cur == want.rlim_cur);
        assert_true(got[i].rlim_max == want.rlim_max);
    }
}

static void test_limits_parse_refuses_what_is_cut_or_changed(void **state) {
    (void) state;
    char text[4096] = "Limit                     Soft Limit           Hard Limit           Units\n";
    for (int i = 0; i < RLIM_NLIMITS; i++)
        strcat(text,
               "Max something              1                    unlimited            things\n");
    struct rlimit got[RLIM_NLIMITS];
    assert_int_equal(limits_parse(text, got), 0);
    assert_true(got[0].rlim_cur == 1 && got[RLIM_NLIMITS - 1].rlim_max == RLIM_INFINITY);
    size_t whole = strlen(text);
    memset(got, 0x55, sizeof got);
    for (size_t n = 0; n < whole; n++) {
        char cut[4096];
        memcpy(cut, text, n);
        cut[n] = 0;
        assert_int_equal(limits_parse(cut, got), -EBADMSG);
    }
    *strchr(text, '1') = '-';
    assert_int_equal(limits_parse(text, got), -EBADMSG);
    assert_true(got[0].rlim_cur == 0x5555555555555555); /* untouched */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_read_equals_getrlimit),
        cmocka_unit_test(test_limits_parse_refuses_what_is_cut_or_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
