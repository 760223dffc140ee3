// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "runtime/base/fd.h"
#include "runtime/base/sys.h"

static struct rig rig;
static const char *cannot;
static struct rig_result res;

static void need_rig(void) {
    if (!cannot) return;
    print_message("skipped: %s\n", cannot);
    skip();
}

#define SH(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

static void run(struct rig_spec *s) {
    rig_run(&rig, s, &res);
    if (res.failed < 0) print_message("%s: %s\n", res.phase, res.text);
    rig_spec_fini(s);
}

static void run_sh(const char *script) {
    struct rig_spec s;
    rig_spec_init(&rig, &s, SH(script));
    run(&s);
}

static void assert_has(const char *text, const char *what) {
    if (strstr(text, what)) return;
    print_message("\"%s\" is not in:\n%s\n", what, text);
    fail();
}

static void assert_not(const char *text, const char *what) {
    if (!strstr(text, what)) return;
    print_message("\"%s\" is in:\n%s\n", what, text);
    fail();
}

static void test_spawn_shell_is_pid_one_with_own_name(void **state) {
    (void) state;
    need_rig();
    run_sh("echo pid $$; hostname; pwd; exit 7");
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "pid 1\nbox\n/\n");
    assert_string_equal(res.err, "");
    assert_true(WIFEXITED(res.status));
    assert_int_equal(WEXITSTATUS(res.status), 7);
}

int main(void) {
    cannot = rig_set_up(&rig);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spawn_shell_is_pid_one_with_own_name),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    rig_tear_down(&rig);
    return r;
}
