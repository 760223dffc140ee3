// SPDX-License-Identifier: Apache-2.0
/* R8: a working directory or a volume's folder that is made, through links of the image, on the
 * host, or is given to somebody there (CVE-2026-55686, CVE-2024-1753). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/mem.h"

enum { RACE_STARTS = 40 };

static char outside[192];

static void assert_outside_is_untouched(void) {
    struct stat st;
    assert_int_equal(stat(outside, &st), 0);
    assert_true(st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 0711);
    assert_int_equal(rmdir(outside), 0);
    assert_int_equal(mkdir(outside, 0711), 0);
}

static void test_links_on_the_way_stay_inside(void **state) {
    (void) state;
    hostile_path(outside, "outside");
    char climbing[256];
    assert_int_equal(mkdir(outside, 0711), 0);
    snprintf(climbing, sizeof climbing, "../../../../../..%s", outside);
    const char *const targets[] = {climbing, outside, "/proc/self/root", "/proc/1/root",
                                   "/proc/self/cwd"};
    static const char *const cwds[] = {"/out", "/out/new", "/out/new/./er//deep", "/out/../out/n"};
    for (size_t i = 0; i < array_len(targets) * array_len(cwds); i++) {
        struct rig_spec s;
        char cwd[64], user[] = "1000:1000";
        snprintf(cwd, sizeof cwd, "%s", cwds[i % array_len(cwds)]);
        rig_spec_init(&rig, &s, SH("pwd"));
        assert_int_equal(symlinkat(targets[i / array_len(cwds)], s.fds[0], "out"), 0);
        s.spec.cwd = cwd;
        s.spec.user = user;
        hostile_run(&s);
        assert_outside_is_untouched();
    }
}

static void test_mount_targets_stay_inside(void **state) {
    (void) state;
    static const char *const wanted[] = {"/out/dir", "/out/a/b/c", "/out/file"};
    for (size_t i = 0; i < array_len(wanted); i++) {
        struct rig_spec s;
        Orlop__SandboxMount m, *list[1];
        char target[64], path[192];
        snprintf(target, sizeof target, "%s", wanted[i]);
        rig_spec_init(&rig, &s, SH("ls -d /out/*"));
        assert_int_equal(symlinkat(outside, s.fds[0], "out"), 0);
        bool file = i == 2;
        hostile_mount(&s, &m, list, target,
                      file ? hostile_bind(hostile_path(path, "image/etc/group")) : -1);
        m.file = file;
        hostile_run(&s);
        assert_int_equal(res.failed, 0); /* as in every image: made, inside */
        assert_outside_is_untouched();
    }
}

/* The streams are given to the user: a FIFO of ours, and nothing else. */
static void test_streams_are_all_that_is_given_away(void **state) {
    (void) state;
    struct stat before, after;
    char user[] = "1000:1000";
    struct rig_spec s;
    assert_int_equal(stat("/dev/null", &before), 0);
    rig_spec_init(&rig, &s, SH("stat -c '%u:%g' /dev/null; stat -L -c '%u' /dev/stdout"));
    s.spec.user = user;
    hostile_run(&s);
    assert_string_equal(res.out, "0:0\n1000\n");
    assert_int_equal(stat("/dev/null", &after), 0);
    assert_true(before.st_uid == after.st_uid && before.st_gid == after.st_gid &&
                before.st_mode == after.st_mode);
}

static void test_workdir_on_a_volume_that_changes(void **state) {
    (void) state;
    char volume[192], path[192];
    hostile_path(volume, "volume");
    assert_int_equal(mkdir(volume, 0755), 0);
    assert_int_equal(mkdir(hostile_path(path, "volume/a"), 0755), 0);
    assert_int_equal(symlink(outside, hostile_path(path, "volume/b")), 0);
    pid_t peer = hostile_exchange(volume, "a", "b");
    for (unsigned i = 0; i < hostile_tries(RACE_STARTS); i++) {
        struct rig_spec s;
        Orlop__SandboxMount m, *list[1];
        char data[] = "/data", cwd[64];
        snprintf(cwd, sizeof cwd, "/data/a/%u/deep", i);
        rig_spec_init(&rig, &s, SH("touch here"));
        hostile_mount(&s, &m, list, data, hostile_bind(volume));
        s.spec.cwd = cwd;
        hostile_run(&s);
    }
    hostile_stop(peer);
    assert_outside_is_untouched();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_on_the_way_stay_inside),
        cmocka_unit_test(test_mount_targets_stay_inside),
        cmocka_unit_test(test_streams_are_all_that_is_given_away),
        cmocka_unit_test(test_workdir_on_a_volume_that_changes),
    };
    return hostile_main(tests, array_len(tests));
}
