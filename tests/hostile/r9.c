// SPDX-License-Identifier: Apache-2.0
/* R9: another identity than the one that was asked for (CVE-2026-30892, CVE-2022-27650,
 * CVE-2022-29162, GO-2025-3528): how users are read, groups, capabilities that are inherited. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/mem.h"

/* The image's own idea of who is who, made to be misread. */
static const char passwd[] = "root:x:0:0::/root:/bin/sh\n"
                             "app:x:1000:1000::/home/app:/bin/sh\n"
                             "1001:x:0:0::/root:/bin/sh\n" /* a number as a name: root? */
                             "0x0:x:0:0::/:/bin/sh\n"
                             "big:x:4294967296:0::/:/bin/sh\n"
                             "last:x:4294967295:0::/:/bin/sh\n"
                             "minus:x:-1:0::/:/bin/sh\n"
                             "few:x:0\n"
                             ":x:0:0::/:/bin/sh\n"
                             "blank :x:0:0::/:/bin/sh\n"
                             "home:x:1002:1002::relative:/bin/sh\n";
static const char group[] = "root:x:0:app\nwheel:x:10:root\napp:x:1000:\nextra:x:77:app,other\n"
                            "1003:x:0:\nbig:x:4294967296:app\nminus:x:-1:app\n";

#define IDS(u, g) "Uid:\t" #u "\t" #u "\t" #u "\t" #u "\nGid:\t" #g "\t" #g "\t" #g "\t" #g "\n"

static const struct {
    const char *user;
    const char *ids;    /* NULL: refused */
    const char *groups; /* "0 77", sorted by the kernel */
} table[] = {
    {"", IDS(0, 0), "10"},
    {"0", IDS(0, 0), "10"},
    {"root", IDS(0, 0), "10"},
    {"app", IDS(1000, 1000), "0 77"},
    {"app:0", IDS(1000, 0), ""},
    {"1000", IDS(1000, 1000), "0 77"},
    {"1000:1000", IDS(1000, 1000), ""},
    {"1001", IDS(1001, 0), ""},
    {"app:1003", IDS(1000, 1003), ""},
    {"4294967294", IDS(4294967294, 0), ""},
    {"4294967295", NULL, NULL},
    {"4294967296", NULL, NULL},
    {"18446744073709551616", NULL, NULL},
    {"-1", NULL, NULL},
    {"-0", NULL, NULL},
    {"+0", NULL, NULL},
    {" 0", NULL, NULL},
    {"0 ", NULL, NULL},
    {"0x0", IDS(0, 0), ""}, /* a name that the image has: it is root there in any case */
    {"0x1", NULL, NULL},
    {"1e3", NULL, NULL},
    {"1000:", NULL, NULL},
    {"app:", NULL, NULL},
    {":1000", IDS(0, 1000), ""},
    {":", NULL, NULL},
    {"app:app:app", NULL, NULL},
    {"app:4294967295", NULL, NULL},
    {"app:4294967296", NULL, NULL},
    {"app:-1", NULL, NULL},
    {"app:nobody", NULL, NULL},
    {"nobody", NULL, NULL},
    {"big", NULL, NULL},
    {"last", NULL, NULL},
    {"minus", NULL, NULL},
    {"few", NULL, NULL},
    {"blank ", NULL, NULL},
    {"app\nroot", NULL, NULL},
    {"../root", NULL, NULL},
    {"home", IDS(1002, 1002), ""},
};

static void put(int root, const char *path, const char *text) {
    int fd = openat(root, path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(write(fd, text, strlen(text)) == (ssize_t) strlen(text));
    assert_int_equal(close(fd), 0);
}

static void check_row(size_t i) {
    struct rig_spec s;
    char user[64], want[96];
    snprintf(user, sizeof user, "%s", table[i].user);
    rig_spec_init(&rig, &s, SH("grep -E '^(Uid|Gid|Groups|Cap)' /proc/self/status"));
    put(s.fds[0], "etc/passwd", passwd);
    put(s.fds[0], "etc/group", group);
    s.spec.user = user;
    hostile_run(&s);
    if ((res.failed == 0) != (table[i].ids != NULL))
        fail_msg("user \"%s\": %s%s", user, res.text, res.out);
    if (!table[i].ids) return;
    assert_has(res.out, table[i].ids);
    snprintf(want, sizeof want, "\nGroups:\t%s \n", table[i].groups);
    assert_has(res.out, want);
    assert_has(res.out, "CapInh:\t0000000000000000\n");
    assert_has(res.out, "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n");
}

static void test_table_of_users(void **state) {
    (void) state;
    for (size_t i = 0; i < array_len(table); i++) check_row(i);
}

/* The keeper's own groups, inheritable and ambient capabilities, umask, signals: none is passed on,
 * neither to a start nor to an exec. */
static void be_careless(void) {
    const gid_t groups[] = {0, 4, 6, 27};
    struct {
        uint32_t version;
        int pid;
    } head = {0x20080522, 0}; /* _LINUX_CAPABILITY_VERSION_3 */
    struct {
        uint32_t effective, permitted, inheritable;
    } data[2];
    assert_int_equal(setgroups(array_len(groups), groups), 0);
    assert_int_equal(syscall(SYS_capget, &head, data), 0);
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    assert_int_equal(syscall(SYS_capset, &head, data), 0);
    assert_int_equal(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0 /* CHOWN */, 0, 0), 0);
    /* By the kernel's own numbers: libc keeps 32 and 33 to itself, an exec keeps them ignored. */
    for (int sig = 1; sig <= 64; sig++) {
        const struct {
            void *handler;
            unsigned long flags;
            void *restorer;
            uint64_t mask;
        } ignore = {.handler = (void *) 1};
        if (sig != SIGCHLD) (void) syscall(SYS_rt_sigaction, sig, &ignore, NULL, 8);
    }
    const uint64_t all = ~UINT64_C(0);
    assert_int_equal(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8), 0);
    (void) umask(0777);
}

/* No shell: it has ideas of its own about SIGQUIT. */
static const char *const shows[] = {
    "/bin/grep", "-E", "^(Groups|CapInh|CapAmb|SigBlk|SigIgn|Umask)", "/proc/self/status", NULL};
static const char clean[] = "Umask:\t0022\nGroups:\t10 \nSigBlk:\t0000000000000000\n"
                            "SigIgn:\t0000000000000000\nCapInh:\t0000000000000000\n"
                            "CapAmb:\t0000000000000000\n";

static void test_nothing_of_ours_is_inherited(void **state) {
    (void) state;
    struct rig_spec s;
    struct container_process p;
    static struct rig_result got;
    char user[] = "root";
    be_careless();
    for (int init = 0; init < 2; init++) {
        rig_spec_init(&rig, &s, shows);
        put(s.fds[0], "etc/group", group);
        s.spec.user = user;
        s.spec.init = init;
        hostile_run(&s);
        assert_string_equal(res.out, clean);
    }
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    put(s.fds[0], "etc/group", group);
    hostile_start(&s, &p);
    hostile_exec(&p, &(struct hostile_exec){.argv = shows, .user = user, .extra = -1}, &got);
    assert_string_equal(got.out, clean);
    hostile_end(&s, &p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_of_users),
        cmocka_unit_test(test_nothing_of_ours_is_inherited),
    };
    return hostile_main(tests, array_len(tests));
}
