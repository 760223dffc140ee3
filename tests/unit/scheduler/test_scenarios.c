// SPDX-License-Identifier: Apache-2.0
/* Every file of scenarios/ is run; its trace must be the file itself. SCENARIO_UPDATE=1 writes what
 * came out instead: read the difference like code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scenario.h"

enum { TRACE_MAX = 1 << 20, FILES_MAX = 64 };

static void test_scenario_gives_its_trace(void **state) {
    const char *name = *state;
    char path[512];
    snprintf(path, sizeof path, SCENARIO_DIR "/%s", name);
    char *input;
    size_t len;
    assert_int_equal(fd_read_file(AT_FDCWD, path, TRACE_MAX, &input, &len), 0);
    struct buf out;
    buf_init(&out, TRACE_MAX);
    scenario_run(input, &out);
    assert_int_equal(buf_error(&out), 0);
    if (getenv("SCENARIO_UPDATE"))
        assert_int_equal(fd_replace_file(AT_FDCWD, path, out.data, out.len, 0644), 0);
    else
        assert_string_equal(buf_str(&out), input);
    buf_fini(&out);
    mem_free(input);
}

int main(void) {
    static struct CMUnitTest tests[FILES_MAX];
    static char names[FILES_MAX][256];
    size_t n = 0;
    DIR *d = opendir(SCENARIO_DIR);
    if (!d) return 1;
    for (struct dirent *e; (e = readdir(d)) && n < FILES_MAX;) {
        if (!str_ends(e->d_name, ".txt")) continue;
        snprintf(names[n], sizeof names[n], "%s", e->d_name);
        tests[n] =
            (struct CMUnitTest) cmocka_unit_test_prestate(test_scenario_gives_its_trace, names[n]);
        tests[n].name = names[n];
        n++;
    }
    closedir(d);
    return n ? _cmocka_run_group_tests("scenarios", tests, n, NULL, NULL) : 1;
}
