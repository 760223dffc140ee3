// SPDX-License-Identifier: Apache-2.0
/* R5: what is written to or mounted on procfs goes elsewhere, or what is mounted elsewhere lands on
 * procfs (CVE-2025-52881, CVE-2019-16884, CVE-2019-19921, CVE-2023-27561). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/mem.h"

enum { RACE_STARTS = 60 };

/* Of the mounts on /proc and /sys only ours. */
#define FOREIGN_MOUNTS                                                                             \
    "while read a b c d at rest; do case $at in "                                                  \
    "/proc|/proc/bus|/proc/fs|/proc/irq|/proc/sys|/proc/sysrq-trigger|/sys|/sys/firmware|"         \
    "/sys/devices/*|/sys/fs/cgroup*|/proc/acpi|/proc/asound|/proc/interrupts|/proc/kcore|"         \
    "/proc/keys|/proc/latency_stats|/proc/sched_debug|/proc/scsi|/proc/timer_list|"                \
    "/proc/timer_stats) ;; /proc*|/sys*) echo foreign: $at;; esac; done </proc/self/mountinfo; "

static void test_nothing_is_mounted_on_the_kernels_places(void **state) {
    (void) state;
    static const char *const bad[] = {
        "/proc",          "/proc/self", "/proc/sys/kernel", "/proc/1/attr", "/sys",
        "/sys/fs/cgroup", "/link/sys",  "/link2/../proc",   "/up/proc",     "/dev/pts",
        "/etc/../proc",   "/loop/proc", "/self/attr",       "/thread/attr", "/"};
    for (size_t i = 0; i < array_len(bad); i++) {
        struct rig_spec s;
        Orlop__SandboxMount m, *list[1];
        char target[64];
        snprintf(target, sizeof target, "%s", bad[i]);
        rig_spec_init(&rig, &s, SH("echo ran"));
        assert_int_equal(symlinkat("/proc", s.fds[0], "link"), 0);
        assert_int_equal(symlinkat("tmp", s.fds[0], "link2"), 0);
        assert_int_equal(symlinkat("../../..", s.fds[0], "up"), 0);
        assert_int_equal(symlinkat("loop", s.fds[0], "loop"), 0);
        assert_int_equal(symlinkat("/proc/self", s.fds[0], "self"), 0);
        assert_int_equal(symlinkat("/proc/thread-self", s.fds[0], "thread"), 0);
        hostile_mount(&s, &m, list, target, -1);
        hostile_run(&s);
        if (res.failed >= 0) fail_msg("mounted on %s", bad[i]);
        assert_string_equal(res.out, "");
    }
}

static void test_roots_folders_must_be_folders(void **state) {
    (void) state;
    static const char *const names[] = {"proc", "sys", "dev"};
    static const char *const targets[] = {"/../../tmp", "/etc", ".", "/proc/1/root", "nowhere"};
    for (size_t i = 0; i < array_len(names) * array_len(targets); i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, SH("echo ran"));
        assert_int_equal(symlinkat(targets[i / 3], s.fds[0], names[i % 3]), 0);
        hostile_run(&s);
        assert_true(res.failed < 0);
        assert_has(res.text, "must be an ordinary directory");
        assert_string_equal(res.out, "");
    }
}

/* Two sandboxes share a volume: while the one starts, the other makes the way to its mount lead to
 * /proc and back. */
static void test_way_of_a_mount_leads_to_proc_now_and_then(void **state) {
    (void) state;
    char volume[192], path[192];
    hostile_path(volume, "shared");
    assert_int_equal(mkdir(volume, 0755), 0);
    assert_int_equal(mkdir(hostile_path(path, "shared/a"), 0755), 0);
    assert_int_equal(mkdir(hostile_path(path, "shared/a/kernel"), 0755), 0);
    assert_int_equal(symlink("/proc/sys", hostile_path(path, "shared/b")), 0);
    pid_t peer = hostile_exchange(volume, "a", "b");
    unsigned ran = 0, refused = 0;
    for (unsigned i = 0; i < hostile_tries(RACE_STARTS); i++) {
        struct rig_spec s;
        Orlop__SandboxMount m[3], *list[3];
        char data[] = "/data", inner[] = "/data/a/kernel", made[] = "/data/a/made/deep";
        rig_spec_init(&rig, &s,
                      SH(FOREIGN_MOUNTS "[ -e /proc/sys/kernel/core_pattern ] || echo covered"));
        hostile_mount(&s, &m[0], list, data, hostile_bind(volume));
        hostile_mount(&s, &m[1], list, inner, -1);
        if (i % 2) hostile_mount(&s, &m[2], list, made, -1);
        hostile_run(&s);
        assert_string_equal(res.out, "");
        ran += res.failed == 0;
        refused += res.failed == -EPERM;
    }
    hostile_stop(peer);
    print_message("%u ran, %u were refused\n", ran, refused);
    assert_true(ran > 0 && refused > 0); /* else this was no race */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_mounted_on_the_kernels_places),
        cmocka_unit_test(test_roots_folders_must_be_folders),
        cmocka_unit_test(test_way_of_a_mount_leads_to_proc_now_and_then),
    };
    return hostile_main(tests, array_len(tests));
}
