// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/container/user.h"

static int root = -1;
static char dir[] = "/tmp/orlop-user-XXXXXX";

static void put(const char *path, const char *text) {
    auto_fd int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static int set_up(void **state) {
    (void) state;
    if (!mkdtemp(dir)) return -1;
    root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return mkdirat(root, "etc", 0755);
}

static int tear_down(void **state) {
    (void) state;
    fd_close(&root);
    return fd_remove_tree(AT_FDCWD, dir);
}

static const char passwd[] = "# a comment\n"
                             "+::::::\n"
                             "root:x:0:0:root:/root:/bin/sh\n"
                             "1000:x:0:0:a name of digits is no name:/evil:/bin/sh\n"
                             "neg:x:-1:0::/:/bin/sh\n"
                             "hex:x:0x10:0::/:/bin/sh\n"
                             "big:x:4294967296:0::/:/bin/sh\n"
                             "last:x:4294967295:0::/:/bin/sh\n"
                             "short:x:5:5\n"
                             "-dash:x:6:6::/:/bin/sh\n"
                             "app:x:1000:1001:an app:/home/app:/bin/sh\n"
                             "rel:x:1002:1002::home/rel:/bin/sh\n"
                             "ctl:x:1003:1003::/ho\001me:/bin/sh\n"
                             "app:x:0:0:the second does not count:/root:/bin/sh\n"
                             "end:x:1004:1004::/end:/bin/sh"; /* no newline */

static const char group[] = "root:x:0:\n"
                            "app:x:1001:\n"
                            "wheel:x:10:root,app,end\n"
                            "video:x:44:apps,app\n"
                            "same:x:1001:app\n"
                            "broken:x:44x:app\n"
                            "77:x:0:\n"
                            "crew:x:50:";

static void test_split_user_strings_r9(void **state) {
    (void) state;
    static const struct {
        const char *text;
        int result;
        const char *user, *group;
    } t[] = {
        {"", 0, "", ""},
        {"0", 0, "0", ""},
        {"app", 0, "app", ""},
        {"1000:1000", 0, "1000", "1000"},
        {"app:crew", 0, "app", "crew"},
        {":crew", 0, "", "crew"},
        {"4294967294", 0, "4294967294", ""},
        {"4294967295", -EINVAL, "", ""},
        {"4294967296", -EINVAL, "", ""},
        {"18446744073709551616", -EINVAL, "", ""},
        {"0:4294967296", -EINVAL, "", ""},
        {"-1", -EINVAL, "", ""},
        {"+1", -EINVAL, "", ""},
        {"name:", -EINVAL, "", ""},
        {":", -EINVAL, "", ""},
        {"a:b:c", -EINVAL, "", ""},
        {"a b", -EINVAL, "", ""},
        {" 0", -EINVAL, "", ""},
        {"a\n", -EINVAL, "", ""},
        {"../x", -EINVAL, "", ""},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        struct words_user w = {.user = ""};
        struct err e = {.code = 0};
        int r = words_user(t[i].text, &w, &e);
        if (r != t[i].result) print_message("\"%s\"\n", t[i].text);
        assert_int_equal(r, t[i].result);
        assert_string_equal(w.user, t[i].user);
        assert_string_equal(w.group, t[i].group);
        if (r < 0) assert_non_null(strstr(e.text, "is not NAME, UID"));
    }
}

static void test_lookup_users_of_an_image(void **state) {
    (void) state;
    put("etc/passwd", passwd);
    put("etc/group", group);
    static const struct {
        const char *text;
        int result;
        uint32_t uid, gid;
        const char *home;
        size_t n_groups;
        uint32_t groups[2];
    } t[] = {
        {"", 0, 0, 0, "/root", 1, {10, 0}},
        {"root", 0, 0, 0, "/root", 1, {10, 0}},
        {"app", 0, 1000, 1001, "/home/app", 2, {10, 44}},
        {"1000", 0, 1000, 1001, "/home/app", 2, {10, 44}}, /* the number, not the name of digits */
        {"app:crew", 0, 1000, 50, "/home/app", 0, {0, 0}},
        {"app:77", 0, 1000, 77, "/home/app", 0, {0, 0}},
        {":crew", 0, 0, 50, "/root", 0, {0, 0}},
        {"2000", 0, 2000, 0, "/", 0, {0, 0}},
        {"2000:3000", 0, 2000, 3000, "/", 0, {0, 0}},
        {"rel", 0, 1002, 1002, "/", 0, {0, 0}},
        {"ctl", 0, 1003, 1003, "/", 0, {0, 0}},
        {"end", 0, 1004, 1004, "/end", 1, {10, 0}},
        {"4294967294", 0, 4294967294u, 0, "/", 0, {0, 0}},
        {"4294967296", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"0x0", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"-1", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"-dash", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"name:", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"neg", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"hex", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"big", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"last", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"short", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"nobody", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"app:nogroup", -EINVAL, 0, 0, "", 0, {0, 0}},
        {"app:broken", -EINVAL, 0, 0, "", 0, {0, 0}},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        struct user_identity id;
        struct err e = {.code = 0};
        int r = user_lookup(root, t[i].text, &id, &e);
        if (r != t[i].result) print_message("\"%s\": %s\n", t[i].text, e.text);
        assert_int_equal(r, t[i].result);
        if (r < 0) continue;
        assert_int_equal(id.uid, t[i].uid);
        assert_int_equal(id.gid, t[i].gid);
        assert_string_equal(id.home, t[i].home);
        assert_int_equal(id.n_groups, t[i].n_groups);
        for (size_t k = 0; k < id.n_groups; k++) assert_int_equal(id.groups[k], t[i].groups[k]);
    }
}

static void test_lookup_in_odd_files(void **state) {
    (void) state;
    struct user_identity id;
    struct err e;
    assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);
    assert_int_equal(unlinkat(root, "etc/group", 0), 0);
    assert_int_equal(user_lookup(root, "12:34", &id, &e), 0); /* an image from scratch */
    assert_int_equal(id.uid, 12);
    assert_int_equal(id.gid, 34);
    assert_int_equal(user_lookup(root, "app", &id, &e), -EINVAL);

    assert_int_equal(mkfifoat(root, "etc/passwd", 0644), 0); /* must not wait for a writer */
    assert_int_equal(user_lookup(root, "app", &id, &e), -EINVAL);
    assert_int_equal(unlinkat(root, "etc/passwd", 0), 0);

    /* Links stay inside: this one would lead to the host's file. */
    assert_int_equal(symlinkat("../../../../../../etc/passwd.real", root, "etc/passwd"), 0);
    put("etc/passwd.real", "in:x:7:7::/:/bin/sh\n");
    assert_int_equal(user_lookup(root, "in", &id, &e), 0);
    assert_int_equal(id.uid, 7);
}

static void test_lookup_long_lines_are_no_lines(void **state) {
    (void) state;
    static char text[20000];
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "long:x:0:0::/:", 14);
    memcpy(text + 10000, "\nafter:x:9:9::/:sh\n", 19);
    text[10019] = 0;
    struct user_identity id;
    struct err e;
    (void) unlinkat(root, "etc/passwd", 0);
    put("etc/passwd", text);
    assert_int_equal(user_lookup(root, "after", &id, &e), 0);
    assert_int_equal(id.uid, 9);
    assert_int_equal(user_lookup(root, "long", &id, &e), -EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_user_strings_r9),
        cmocka_unit_test(test_lookup_users_of_an_image),
        cmocka_unit_test(test_lookup_in_odd_files),
        cmocka_unit_test(test_lookup_long_lines_are_no_lines),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
