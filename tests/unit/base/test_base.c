// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/err.h"
#include "runtime/base/fd.h"
#include "runtime/base/list.h"
#include "runtime/base/map.h"
#include "runtime/base/mem.h"
#include "runtime/base/paths.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"

static void test_err_wrap_keeps_outermost_text(void **state) {
    (void) state;
    struct err e = {0};
    assert_int_equal(err_set(&e, -ENOENT, "open %s", "x"), -ENOENT);
    assert_string_equal(e.text, "open x: No such file or directory");
    assert_int_equal(err_wrap(&e, -ENOENT, "prepare"), -ENOENT);
    assert_string_equal(e.text, "prepare: open x: No such file or directory");
    for (int i = 0; i < 50; i++) (void) err_wrap(&e, -ENOENT, "level %d", i);
    assert_true(str_starts(e.text, "level 49: level 48: "));
    assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
    assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

static void test_str_to_u64_refuses_what_is_no_number(void **state) {
    (void) state;
    uint64_t v = 7;
    static const char *const bad[] = {"",   "-1",  "+1",  " 1",
                                      "1 ", "0x1", "1e3", "18446744073709551616"};
    for (size_t i = 0; i < array_len(bad); i++) assert_true(str_to_u64(bad[i], UINT64_MAX, &v) < 0);
    assert_int_equal(v, 7);
    assert_int_equal(str_to_u64("18446744073709551615", UINT64_MAX, &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_to_u64("256", 255, &v), -ERANGE);
}

static void test_str_is_utf8_refuses_malformed(void **state) {
    (void) state;
    assert_true(str_is_utf8("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\xa2", 15));
    assert_false(str_is_utf8("\xc0\xaf", 2));         /* overlong */
    assert_false(str_is_utf8("\xed\xa0\x80", 3));     /* surrogate */
    assert_false(str_is_utf8("\xf4\x90\x80\x80", 4)); /* above 10ffff */
    assert_false(str_is_utf8("a\xe2\x82", 3));        /* cut off */
    assert_false(str_is_utf8("a\0b", 3));
}

static void test_str_make_printable_leaves_no_control(void **state) {
    (void) state;
    static const struct {
        const char *text, *keep, *want;
    } t[] = {
        {"", "", ""},
        {"plain \xc3\xbc \xe2\x82\xac", "", "plain \xc3\xbc \xe2\x82\xac"},
        {"\033]0;title\007\033[2J", "", "?]0;title??[2J"},
        {"a\nb\tc\rd", "\n\t", "a\nb\tc?d"},
        {"a\nb\tc\rd", "", "a?b?c?d"},
        {"\xc2\x9b"
         "31mred",
         "", "?31mred"}, /* U+009B: ESC [ in one */
        {"\xc2\xa0\x7f\xc2", "", "\xc2\xa0?\xc2"},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", t[i].text);
        str_make_printable(text, t[i].keep);
        assert_string_equal(text, t[i].want);
    }
}

static void test_str_ipv4_is_strict(void **state) {
    (void) state;
    uint32_t a = 1, p = 1;
    char text[STR_IPV4_MAX];
    assert_int_equal(str_to_ipv4("10.77.1.255", &a), 0);
    assert_int_equal(a, 0x0a4d01ff);
    assert_string_equal(str_from_ipv4(a, text), "10.77.1.255");
    static const char *const bad[] = {"", "1.2.3", "1.2.3.4.", "256.1.1.1", "01.2.3.4", "1.2.3.4 "};
    for (size_t i = 0; i < array_len(bad); i++) assert_int_equal(str_to_ipv4(bad[i], &a), -EINVAL);
    assert_int_equal(str_to_cidr4("10.77.0.0/16", &a, &p), 0);
    assert_int_equal(p, 16);
    assert_int_equal(str_to_cidr4("10.77.0.1/16", &a, &p), -EINVAL);
    assert_int_equal(str_to_cidr4("0.0.0.0/0", &a, &p), 0);
}

static void test_map_keeps_order_through_growth_and_deletes(void **state) {
    (void) state;
    struct map m = {0};
    char key[16];
    static int values[500];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(map_set(&m, key, &values[i]), 0);
        if (i % 3 == 0) assert_ptr_equal(map_del(&m, key), &values[i]);
    }
    const char *k;
    void *v;
    int last = -1, count = 0;
    for (size_t pos = 0; map_next(&m, &pos, &k, &v);) {
        int at = (int) ((int *) v - values);
        assert_true(at > last && at % 3 != 0);
        last = at;
        count++;
    }
    assert_int_equal(count, 333);
    assert_int_equal(map_len(&m), 333);
    assert_null(map_get(&m, "k0"));
    assert_ptr_equal(map_get(&m, "k499"), &values[499]);
    map_fini(&m);
}

static void test_map_survives_each_failed_allocation(void **state) {
    (void) state;
    static int value;
    for (unsigned long nth = 1; nth <= 6; nth++) {
        struct map m = {0};
        mem_fail_after(nth);
        int r = map_set(&m, "a", &value);
        mem_fail_after(0);
        assert_true(r == 0 || r == -ENOMEM);
        assert_ptr_equal(map_get(&m, "a"), r == 0 ? &value : NULL);
        map_fini(&m);
    }
}

static void test_buf_stops_at_its_maximum(void **state) {
    (void) state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_puts(&b, "12345678"), 0);
    assert_int_equal(buf_puts(&b, "abc"), -EFBIG);
    assert_int_equal(buf_puts(&b, "a"), -EFBIG); /* sticky */
    assert_string_equal(buf_str(&b), "12345678");
    buf_reset(&b);
    assert_int_equal(buf_printf(&b, "%d-%s", 42, "x"), 0);
    buf_consume(&b, 3);
    assert_string_equal(buf_str(&b), "x");
    buf_fini(&b);
}

static char dir[] = "/tmp/orlop-test-base-XXXXXX";

static int make_dir(void **state) {
    (void) state;
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
    (void) state;
    return fd_remove_tree(AT_FDCWD, dir);
}

static void test_fd_replace_file_is_whole_or_nothing(void **state) {
    (void) state;
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fd_replace_file(d, "f", "one", 3, 0600), 0);
    assert_int_equal(fd_replace_file(d, "f", "second", 6, 0600), 0);
    char *text;
    size_t n;
    assert_int_equal(fd_read_file(d, "f", 100, &text, &n), 0);
    assert_string_equal(text, "second");
    mem_free(text);
    assert_int_equal(fd_read_file(d, "f", 5, &text, &n), -EFBIG);
    assert_int_equal(fd_replace_file(d, "missing/f", "x", 1, 0600), -ENOENT);
}

static void test_fd_remove_tree_does_not_follow_symlinks(void **state) {
    (void) state;
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fd_mkdirs(d, "keep/inside", 0755), 0);
    assert_int_equal(fd_mkdirs(d, "tree/a/b/c", 0755), 0);
    assert_int_equal(symlinkat("../keep", d, "tree/a/link"), 0);
    assert_int_equal(fd_remove_tree(d, "tree"), 0);
    struct stat st;
    assert_int_equal(fstatat(d, "tree", &st, 0), -1);
    assert_int_equal(fstatat(d, "keep/inside", &st, 0), 0);
    assert_int_equal(fd_remove_tree(d, "never-there"), 0);
}

static void test_fd_lock_names_its_holder(void **state) {
    (void) state;
    char path[64];
    snprintf(path, sizeof path, "%s/lock", dir);
    auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(fd_lock_holder(path), 0);
    assert_int_equal(fd_lock(fd, NULL), 0);
    pid_t child = fork();
    if (child == 0) _exit(fd_lock_holder(path) == getppid() ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void test_sys_open_in_root_stays_inside(void **state) {
    (void) state;
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fd_mkdirs(d, "root/etc", 0755), 0);
    assert_int_equal(fd_replace_file(d, "root/etc/passwd", "inside", 6, 0644), 0);
    auto_fd int root = openat(d, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(symlinkat("/etc", root, "abs"), 0);
    assert_int_equal(symlinkat("../../../etc", root, "up"), 0);
    static const char *const paths[] = {"/etc/passwd", "abs/passwd", "up/passwd",
                                        "../../etc/passwd"};
    for (size_t i = 0; i < array_len(paths); i++) {
        auto_fd int fd = sys_open_in_root(root, paths[i], O_RDONLY, 0);
        assert_true(fd >= 0);
        char text[16] = {0};
        assert_int_equal(read(fd, text, sizeof text - 1), 6);
        assert_string_equal(text, "inside");
    }
}

static void test_paths_init_checks_and_derives(void **state) {
    (void) state;
    struct paths p;
    struct err e;
    char full[PATHS_FULL_MAX];
    assert_int_equal(paths_init(&p, "relative", NULL, &e), -EINVAL);
    assert_int_equal(paths_init(&p, "/s", "/r//", &e), 0);
    assert_string_equal(p.run, "/r");
    assert_true(str_starts(p.cgroup, "orlop-"));
    assert_string_equal(paths_state(&p, "raft", full), "/s/raft");
    assert_int_equal(paths_init(&p, NULL, "/run/orlop", &e), 0);
    assert_string_equal(p.cgroup, "orlop");
    char deep[200] = "/";
    memset(deep + 1, 'a', 150);
    assert_int_equal(paths_init(&p, NULL, deep, &e), -ENAMETOOLONG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_wrap_keeps_outermost_text),
        cmocka_unit_test(test_str_to_u64_refuses_what_is_no_number),
        cmocka_unit_test(test_str_is_utf8_refuses_malformed),
        cmocka_unit_test(test_str_make_printable_leaves_no_control),
        cmocka_unit_test(test_str_ipv4_is_strict),
        cmocka_unit_test(test_map_keeps_order_through_growth_and_deletes),
        cmocka_unit_test(test_map_survives_each_failed_allocation),
        cmocka_unit_test(test_buf_stops_at_its_maximum),
        cmocka_unit_test(test_fd_replace_file_is_whole_or_nothing),
        cmocka_unit_test(test_fd_remove_tree_does_not_follow_symlinks),
        cmocka_unit_test(test_fd_lock_names_its_holder),
        cmocka_unit_test(test_sys_open_in_root_stays_inside),
        cmocka_unit_test(test_paths_init_checks_and_derives),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
