// SPDX-License-Identifier: Apache-2.0
/* R3: a mask that is made from something that the image or a peer controls (CVE-2025-31133): the
 * image brings its own /dev/null, and a volume on /dev exchanges it while sandboxes start. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/mem.h"

enum { RACE_STARTS = 40 };

/* What is covered by the null device, and what the links of this row lead to. */
#define MASKED                                                                                     \
    "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",   \
        "/proc/timer_list", "/proc/timer_stats", "/proc/acpi", "/proc/scsi", "/sys/firmware"
static const char *const reads[] = {"/bin/attack", "read", MASKED, NULL};
static const char *const writes[] = {
    "/bin/attack", "write", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", MASKED, NULL};

static void add_link(int root, const char *target) {
    (void) mkdirat(root, "dev", 0755);
    assert_int_equal(symlinkat(target, root, "dev/null"), 0);
}

static void test_null_of_the_image(void **state) {
    (void) state;
    static const char *const targets[] = {"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
                                          "/etc/passwd", "/proc/self/environ", "null"};
    const char *const *commands[] = {reads, writes};
    for (size_t i = 0; i < array_len(targets) * 2; i++) {
        struct rig_spec s;
        rig_spec_init(&rig, &s, commands[i % 2]);
        hostile_add_attack(&s);
        add_link(s.fds[0], targets[i / 2]);
        hostile_run(&s);
        assert_int_equal(res.failed, 0);
        assert_string_equal(res.out, "");
    }
}

static void run_with_dev(const char *volume, const char *const *argv) {
    struct rig_spec s;
    Orlop__SandboxMount m, *list[1];
    char target[] = "/dev";
    rig_spec_init(&rig, &s, argv);
    hostile_add_attack(&s);
    hostile_mount(&s, &m, list, target, hostile_bind(volume));
    hostile_run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "");
}

static void test_null_of_a_volume_is_exchanged(void **state) {
    (void) state;
    char volume[192], path[192];
    hostile_path(volume, "dev");
    assert_int_equal(mkdir(volume, 0755), 0);
    assert_int_equal(mknod(hostile_path(path, "dev/null"), S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(symlink("/proc/sys/kernel/core_pattern", hostile_path(path, "dev/other")), 0);
    pid_t peer = hostile_exchange(volume, "null", "other");
    for (unsigned i = 0; i < hostile_tries(RACE_STARTS); i++)
        run_with_dev(volume, i % 2 ? reads : writes);
    hostile_stop(peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_of_the_image),
        cmocka_unit_test(test_null_of_a_volume_is_exchanged),
    };
    return hostile_main(tests, array_len(tests));
}
