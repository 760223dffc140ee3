// SPDX-License-Identifier: Apache-2.0
/* R6: an image whose /dev (or /dev/NAME) leads out (CVE-2026-41579, CVE-2026-47766). Nothing may be
 * made where it leads to, whatever kind of thing it is. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

static char outside[192];

static void assert_outside_is_empty(void) {
    assert_int_equal(rmdir(outside), 0);
    assert_int_equal(mkdir(outside, 0755), 0);
}

static void test_dev_is_a_link(void **state) {
    (void) state;
    char climbing[256], absolute[256];
    hostile_path(outside, "outside");
    assert_int_equal(mkdir(outside, 0755), 0);
    snprintf(climbing, sizeof climbing, "/../../../..%s", outside);
    snprintf(absolute, sizeof absolute, "%s", outside);
    const char *const targets[] = {climbing,          absolute,         climbing + 1,
                                   "/proc/self/fd/3", "/proc/self/cwd", "tmp"};
    for (size_t i = 0; i < array_len(targets); i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, SH("echo ran"));
        assert_int_equal(symlinkat(targets[i], s.fds[0], "dev"), 0);
        s.spec.tty = i % 2;
        hostile_run(&s);
        assert_true(res.failed < 0);
        assert_string_equal(res.phase, "dev");
        assert_outside_is_empty();
    }
}

static void test_dev_is_no_folder(void **state) {
    (void) state;
    static const mode_t kinds[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
    for (size_t i = 0; i < array_len(kinds); i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, SH("echo ran"));
        assert_int_equal(mknodat(s.fds[0], "dev", kinds[i] | 0666, makedev(1, 3)), 0);
        hostile_run(&s);
        assert_true(res.failed < 0);
        assert_string_equal(res.out, "");
    }
}

/* Links for every name that we make in /dev: it is a new file system that lies over them. */
static void test_names_in_dev_are_links(void **state) {
    (void) state;
    static const char *const names[] = {"null",   "zero", "tty", "pts",    "shm",
                                        "mqueue", "ptmx", "fd",  "stdout", "console"};
    struct rig_spec s;
    rig_spec_init(&rig, &s, SH("echo x >/dev/shm/x; echo x >/dev/null; stat -c %t:%T /dev/zero"));
    assert_int_equal(mkdirat(s.fds[0], "dev", 0755), 0);
    auto_fd int dev = openat(s.fds[0], "dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < array_len(names); i++)
        assert_int_equal(symlinkat(outside, dev, names[i]), 0);
    hostile_run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "1:5\n");
    assert_outside_is_empty();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dev_is_a_link),
        cmocka_unit_test(test_dev_is_no_folder),
        cmocka_unit_test(test_names_in_dev_are_links),
    };
    return hostile_main(tests, array_len(tests));
}
