// SPDX-License-Identifier: Apache-2.0
/* R13: what the kernel tells about the machine (GHSA-jq35, GHSA-6fw5, GHSA-7ww5): what is masked
 * gives nothing, what is read-only takes nothing, in a start, in an exec, and with all the
 * capabilities of a default sandbox. */
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "runtime/base/mem.h"

static const char *const masked[] = {"/bin/attack",
                                     "read",
                                     "/proc/acpi",
                                     "/proc/asound",
                                     "/proc/interrupts",
                                     "/proc/kcore",
                                     "/proc/keys",
                                     "/proc/latency_stats",
                                     "/proc/sched_debug",
                                     "/proc/scsi",
                                     "/proc/timer_list",
                                     "/proc/timer_stats",
                                     "/sys/firmware",
                                     "/sys/devices/virtual/powercap",
                                     "/sys/devices/system/cpu/cpu0/thermal_throttle",
                                     "/dev/core",
                                     "/dev/mem",
                                     "/dev/kmsg",
                                     "/sys/kernel/debug",
                                     "/sys/kernel/tracing",
                                     NULL};

/* Of what writes to the machine, one of each kind; the whole list is the kernel's. */
static const char *const locked[] = {"/bin/attack",
                                     "write",
                                     "/proc/sysrq-trigger",
                                     "/proc/sys/kernel/core_pattern",
                                     "/proc/sys/kernel/modprobe",
                                     "/proc/sys/kernel/hostname",
                                     "/proc/sys/vm/drop_caches",
                                     "/proc/sys/net/ipv4/ip_forward",
                                     "/proc/sys/fs/binfmt_misc/register",
                                     "/proc/irq/default_smp_affinity",
                                     "/proc/irq/0/smp_affinity",
                                     "/proc/fs/jbd2",
                                     "/proc/bus/pci/devices",
                                     "/proc/kcore",
                                     "/proc/keys",
                                     "/proc/timer_list",
                                     "/sys/kernel/uevent_helper",
                                     "/sys/kernel/mm/ksm/run",
                                     "/sys/power/state",
                                     "/sys/module/kernel/parameters/panic",
                                     "/sys/fs/cgroup/memory/release_agent",
                                     "/sys/class/net/lo/mtu",
                                     NULL};

static void check(const char *const *argv) {
    struct rig_spec s;
    struct container_process p;
    static struct rig_result got;
    rig_spec_init(&rig, &s, argv);
    hostile_add_attack(&s);
    hostile_run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "");
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    hostile_add_attack(&s);
    hostile_start(&s, &p);
    hostile_exec(&p, &(struct hostile_exec){.argv = argv, .extra = -1}, &got);
    assert_string_equal(got.out, "");
    hostile_end(&s, &p);
}

static void test_masked_paths_give_nothing(void **state) {
    (void) state;
    check(masked);
}

static void test_read_only_paths_take_nothing(void **state) {
    (void) state;
    check(locked);
}

/* Without CAP_SYS_ADMIN a mask cannot be taken off, nor a fresh procfs be had. */
static void test_masks_stay_on(void **state) {
    (void) state;
    struct rig_spec s;
    rig_spec_init(&rig, &s,
                  SH("umount /proc/kcore; umount -l /proc; mount -t proc proc /tmp; "
                     "mount -t sysfs sysfs /tmp; mount -o remount,rw /proc/sys; "
                     "mount -o bind /proc /tmp; mkdir /tmp/p; cat /proc/kcore | dd bs=1 count=1; "
                     "ls /tmp"));
    hostile_run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "p\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked_paths_give_nothing),
        cmocka_unit_test(test_read_only_paths_take_nothing),
        cmocka_unit_test(test_masks_stay_on),
    };
    return hostile_main(tests, array_len(tests));
}
