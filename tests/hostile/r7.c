// SPDX-License-Identifier: Apache-2.0
/* R7: a mount's target is exchanged while it is mounted (CVE-2021-30465, CVE-2024-45310,
 * CVE-2017-1002101, CVE-2021-25741); and a kernel without openat2 gives no way around. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { RACE_STARTS = 80 };

static char canary[192], volume[192];

static void make_places(void) {
    char path[192];
    hostile_path(canary, "canary");
    hostile_path(volume, "volume");
    assert_int_equal(mkdir(canary, 0755) | mkdir(volume, 0755), 0);
    assert_int_equal(mkdir(hostile_path(path, "volume/a"), 0755), 0);
    assert_int_equal(symlink(canary, hostile_path(path, "volume/b")), 0);
}

/* A folder, a file and a working directory to be made behind the name that changes. */
static void start_one(void) {
    struct rig_spec s;
    Orlop__SandboxMount m[3], *list[3];
    char path[192], data[] = "/data", inner[] = "/data/a/made", file[] = "/data/a/file",
                    cwd[] = "/data/a/cwd";
    rig_spec_init(&rig, &s, SH("touch /data/a/made/x made; echo y >>/data/a/file"));
    hostile_mount(&s, &m[0], list, data, hostile_bind(volume));
    hostile_mount(&s, &m[1], list, inner, -1);
    hostile_mount(&s, &m[2], list, file, hostile_bind(hostile_path(path, "image/etc/group")));
    m[2].file = true;
    s.spec.cwd = cwd;
    hostile_run(&s); /* it may fail: a loser of the race says so */
}

static void test_target_is_exchanged(void **state) {
    (void) state;
    make_places();
    pid_t peer = hostile_exchange(volume, "a", "b");
    unsigned ran = 0;
    for (unsigned i = 0; i < hostile_tries(RACE_STARTS); i++) {
        start_one();
        ran += res.failed == 0;
    }
    hostile_stop(peer);
    print_message("%u ran\n", ran);
    assert_true(ran > 0);
    assert_int_equal(rmdir(canary), 0); /* nothing was made in it */
}

/* As a kernel before 5.6, or a filter around us, answers. */
static void block_openat2(void) {
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog p = {array_len(f), f};
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p), 0);
}

static void test_without_openat2_nothing_starts(void **state) {
    (void) state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rig_spec s;
        Orlop__SandboxMount m, *list[1];
        char inner[] = "/data/made";
        rig_spec_init(&rig, &s, SH("echo ran"));
        hostile_mount(&s, &m, list, inner, -1);
        block_openat2();
        hostile_run(&s);
        _exit(res.failed == -ENOSYS && !*res.out ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_is_exchanged),
        cmocka_unit_test(test_without_openat2_nothing_starts),
    };
    return hostile_main(tests, array_len(tests));
}
