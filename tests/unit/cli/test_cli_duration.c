// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "cli/duration.h"
#include "runtime/base/mem.h"

#define SEC INT64_C(1000000000)

static void test_duration_parse(void **state) {
    (void) state;
    static const struct {
        const char *text;
        int64_t ns;
        int code;
    } cases[] = {
        {"90", 90 * SEC, 0},
        {"10m", 600 * SEC, 0},
        {"1h30m", 5400 * SEC, 0},
        {"1.5h", 5400 * SEC, 0},
        {"250ms", SEC / 4, 0},
        {"2d", 172800 * SEC, 0},
        {"0", 0, 0},
        {"1s500ms", SEC + SEC / 2, 0},
        {"", 0, -EINVAL},
        {"m", 0, -EINVAL},
        {"5x", 0, -EINVAL},
        {"-5m", 0, -EINVAL},
        {"5m3", 0, -EINVAL},
        {"1.", 0, -EINVAL},
        {" 5m", 0, -EINVAL},
        {"5 m", 0, -EINVAL},
        {"101d100000h1000000h", 0, -ERANGE},
        {"99999999999999999999", 0, -EINVAL},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        int64_t ns = 77;
        int r = duration_parse(cases[i].text, &ns);
        if (r != cases[i].code || ns != (r ? 77 : cases[i].ns))
            fail_msg("'%s': %d %lld", cases[i].text, r, (long long) ns);
    }
}

static void test_time_parse(void **state) {
    (void) state;
    setenv("TZ", "UTC", 1);
    tzset();
    int64_t now = 1700000000 * SEC;
    static const struct {
        const char *text;
        int64_t ns;
        int code;
    } cases[] = {
        {"10m", (1700000000 - 600) * SEC, 0},
        {"1699999999", 1699999999 * SEC, 0},
        {"1699999999.5", 1699999999 * SEC + SEC / 2, 0},
        {"2023-11-14T22:13:20Z", 1700000000 * SEC, 0},
        {"2023-11-14T22:13:20.25Z", 1700000000 * SEC + SEC / 4, 0},
        {"2023-11-15T00:13:20+02:00", 1700000000 * SEC, 0},
        {"2023-11-14T17:13:20-05:00", 1700000000 * SEC, 0},
        {"2023-11-14T22:13", 1699999980 * SEC, 0},
        {"2023-11-14", 1699920000 * SEC, 0},
        {"60000000m", 0, -ERANGE},
        {"2023-13-14", 0, -EINVAL},
        {"3026-01-02", 0, -EINVAL}, /* its nanoseconds are no int64 */
        {"2023-11-14T25:00", 0, -EINVAL},
        {"2023-11-14T22:13:20X", 0, -EINVAL},
        {"2023-11", 0, -EINVAL},
        {"yesterday", 0, -EINVAL},
        {"", 0, -EINVAL},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        int64_t ns = 77;
        int r = duration_parse_time(cases[i].text, now, &ns);
        if (r != cases[i].code || ns != (r ? 77 : cases[i].ns))
            fail_msg("'%s': %d %lld", cases[i].text, r, (long long) ns);
    }
}

static void test_texts(void **state) {
    (void) state;
    char buf[DURATION_TEXT_MAX], stamp[DURATION_STAMP_MAX];
    assert_string_equal(duration_text(1000, buf), "1 second");
    assert_string_equal(duration_text(-5, buf), "0 seconds");
    assert_string_equal(duration_text(119000, buf), "119 seconds");
    assert_string_equal(duration_text(180000, buf), "3 minutes");
    assert_string_equal(duration_text(3 * 3600000, buf), "3 hours");
    assert_string_equal(duration_text(INT64_C(4) * 86400000, buf), "4 days");
    assert_string_equal(duration_stamp(1700000000 * SEC + 5, stamp),
                        "2023-11-14T22:13:20.000000005Z");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration_parse),
        cmocka_unit_test(test_time_parse),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
