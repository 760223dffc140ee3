// SPDX-License-Identifier: Apache-2.0
/* A layer's tar into a directory: what comes out, and that nothing hostile gets out. */
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
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/image/unpack.h"

enum { FILE_PERM = 0644 };

struct box {
    char dir[64];
    int dirfd, root;
    struct image_limits limits;
    struct err err;
};

/* dir/root is where layers go; dir/canary and dir/outside/ are what must not change. */
static int setup(void **state) {
    if (geteuid() != 0) return 0;
    struct box *b = mem_zalloc(sizeof *b);
    memcpy(b->dir, "/tmp/orlop-unpack-XXXXXX", 25);
    assert_non_null(mkdtemp(b->dir));
    b->dirfd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(b->dirfd >= 0);
    assert_int_equal(mkdirat(b->dirfd, "outside", 0755), 0);
    assert_int_equal(fd_replace_file(b->dirfd, "canary", "alive", 5, FILE_PERM), 0);
    b->limits = image__limits_default;
    b->limits.reserve_bytes = b->limits.reserve_inodes = 0;
    b->root = -1;
    *state = b;
    return 0;
}

static int teardown(void **state) {
    struct box *b = *state;
    if (!b) return 0;
    fd_close(&b->root);
    fd_close(&b->dirfd);
    assert_int_equal(fd_remove_tree(AT_FDCWD, b->dir), 0);
    mem_free(b);
    return 0;
}

static struct box *box_of(void **state) {
    if (!*state) {
        print_message("needs root\n");
        skip();
    }
    return *state;
}

static int unpack_tar(struct box *b, const struct buf *tar) {
    auto_fd int fd = archive_fd(tar);
    auto_stream struct image_stream *s = NULL;
    auto_tar struct image_tar *t = NULL;
    struct image_budget budget;
    struct image_unpacked got;
    fd_close(&b->root);
    assert_int_equal(fd_remove_tree(b->dirfd, "root"), 0);
    assert_int_equal(mkdirat(b->dirfd, "root", 0755), 0);
    b->root = openat(b->dirfd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    b->err = (struct err){0};
    image__budget_init(&budget, &b->limits, b->root);
    int r = image__stream_new(fd, &budget, &s, &b->err);
    if (r == 0) r = image__tar_from_stream(s, &t, &b->err);
    return r < 0 ? r : image__unpack(b->root, t, &budget, &got, &b->err);
}

static int unpack(struct box *b, const struct tar_entry *entries, size_t n) {
    struct buf tar;
    buf_init(&tar, 64 << 20);
    for (size_t i = 0; i < n; i++) archive_add(&tar, &entries[i]);
    archive_end(&tar);
    int r = unpack_tar(b, &tar);
    buf_fini(&tar);
    return r;
}
#define UNPACK(b, ...)                                                                             \
    unpack((b), (const struct tar_entry[]){__VA_ARGS__},                                           \
           sizeof((const struct tar_entry[]){__VA_ARGS__}) / sizeof(struct tar_entry))

static void assert_canary(struct box *b) {
    auto_free char *text = NULL;
    struct stat st;
    assert_int_equal(fd_read_file(b->dirfd, "canary", 100, &text, NULL), 0);
    assert_string_equal(text, "alive");
    assert_int_equal(fstatat(b->dirfd, "canary", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, FILE_PERM);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(fstatat(b->dirfd, "outside", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(unlinkat(b->dirfd, "outside", AT_REMOVEDIR), 0); /* empty */
    assert_int_equal(mkdirat(b->dirfd, "outside", 0755), 0);
}

static struct stat stat_of(struct box *b, const char *path) {
    struct stat st = {0};
    if (fstatat(b->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0) fail_msg("%s is missing", path);
    return st;
}

static void assert_text(struct box *b, const char *path, const char *want) {
    auto_free char *text = NULL;
    if (fd_read_file(b->root, path, 100, &text, NULL) < 0) fail_msg("%s is missing", path);
    assert_string_equal(text, want);
}

static void assert_missing(struct box *b, const char *path) {
    struct stat st;
    assert_int_equal(fstatat(b->root, path, &st, AT_SYMLINK_NOFOLLOW), -1);
}

static void test_unpack_plain_layer_is_exact(void **state) {
    struct box *b = box_of(state);
    assert_int_equal(
        UNPACK(b, {'5', "./", .mode = 0750, .uid = 3, .mtime = 1000},
               {'5', "./bin/", .mode = 0755, .mtime = 2000},
               {'0', "./bin/su", .data = "elf", .mode = 04755, .uid = 7, .gid = 8, .mtime = 3000},
               {'1', "bin/su2", .link = "bin/su"}, {'2', "sh", .link = "bin/su"},
               {'6', "fifo", .mode = 0600}, {'3', "null", .major = 1, .minor = 3},
               {'0', "deep/er/file", .data = "x"}),
        0);
    struct stat st = stat_of(b, "bin/su");
    assert_int_equal(st.st_mode, S_IFREG | 04755);
    assert_int_equal(st.st_uid, 7);
    assert_int_equal(st.st_gid, 8);
    assert_int_equal(st.st_mtime, 3000);
    assert_int_equal(st.st_nlink, 2);
    assert_text(b, "bin/su2", "elf");
    assert_int_equal(stat_of(b, "bin").st_mtime, 2000); /* though files went into it afterwards */
    assert_int_equal(stat_of(b, ".").st_mtime, 1000);
    assert_int_equal(stat_of(b, ".").st_mode & 07777, 0750);
    assert_true(S_ISFIFO(stat_of(b, "fifo").st_mode));
    assert_int_equal(stat_of(b, "null").st_rdev, makedev(1, 3));
    assert_true(S_ISLNK(stat_of(b, "sh").st_mode));
    assert_text(b, "deep/er/file", "x");
}

static void test_unpack_through_symlinked_directory_stays_merged(void **state) {
    struct box *b = box_of(state);
    assert_int_equal(UNPACK(b, {'5', "usr/bin/", .mode = 0755}, {'2', "bin", .link = "usr/bin"},
                            {'2', "sbin", .link = "/usr/bin"}, {'0', "bin/a", .data = "a"},
                            {'0', "sbin/b", .data = "b"}),
                     0);
    assert_true(S_ISLNK(stat_of(b, "bin").st_mode));
    assert_text(b, "usr/bin/a", "a");
    assert_text(b, "usr/bin/b", "b");
}

/* Every way out that a name, a link or an ancestor offers. */
static void test_unpack_hostile_names_stay_inside(void **state) {
    struct box *b = box_of(state);
    static const struct {
        const char *name;
        struct tar_entry first, second;
        int code;
    } cases[] = {
        {"dotdot file", {'0', "../canary", .data = "dead"}, {0}, -EINVAL},
        {"dotdot within", {'0', "a/../../canary", .data = "dead"}, {0}, -EINVAL},
        {"dotdot dir", {'5', "../outside", .mode = 0777}, {0}, -EINVAL},
        {"dotdot link", {'2', "../outside/x", .link = "y"}, {0}, -EINVAL},
        {"dotdot whiteout", {'0', "../.wh.canary", .data = NULL}, {0}, -EINVAL},
        {"dotdot opaque", {'0', "../outside/.wh..wh..opq", .data = NULL}, {0}, -EINVAL},
        {"whiteout of dotdot", {'0', ".wh...", .data = NULL}, {0}, -EINVAL},
        {"whiteout of dot", {'0', "a/.wh..", .data = NULL}, {0}, -EINVAL},
        {"whiteout of nothing", {'0', "a/.wh.", .data = NULL}, {0}, -EINVAL},
        {"aufs whiteout", {'0', ".wh..wh.plnk", .data = NULL}, {0}, -EINVAL},
        {"symlink to parent", {'2', "s", .link = ".."}, {'0', "s/canary", .data = "dead"}, 0},
        {"absolute symlink", {'2', "s", .link = "/tmp"}, {'0', "s/orlop-x", .data = "1"}, -ENOENT},
        {"symlink loop", {'2', "s", .link = "s"}, {'0', "s/x", .data = "1"}, -ELOOP},
        {"symlink as file", {'2', "s", .link = "../canary"}, {'0', "s", .data = "dead"}, 0},
        {"symlink as dir", {'2', "s", .link = "../outside"}, {'5', "s", .mode = 0777}, 0},
        {"hard link out", {'1', "h", .link = "../canary"}, {0}, -EINVAL},
        {"hard link absolute", {'1', "h", .link = "/etc/passwd"}, {0}, -ENOENT},
        {"hard link by symlink", {'2', "s", .link = ".."}, {'1', "h", .link = "s/canary"}, -ENOENT},
        {"hard link to a directory", {'5', "d", .mode = 0755}, {'1', "h", .link = "d"}, -EINVAL},
        {"hard link to whiteout", {'0', ".wh.w", .data = NULL}, {'1', "h", .link = "w"}, -EINVAL},
        {"hard link to root", {'1', "h", .link = "/"}, {0}, -EINVAL},
        {"whiteout by symlink", {'2', "s", .link = ".."}, {'0', "s/.wh.canary", .data = NULL}, 0},
        {"opaque by symlink",
         {'2', "s", .link = "../outside"},
         {'0', "s/.wh..wh..opq", .data = NULL},
         -ENOENT},
        {"whiteout device", {'3', "w", .data = NULL}, {0}, -EINVAL},
        {"whiteout directory", {'5', ".wh.d", .data = NULL}, {0}, -EINVAL},
        {"root as file", {'2', ".", .link = "x"}, {0}, -EINVAL},
        {"file as parent", {'0', "f", .data = "x"}, {'0', "f/g", .data = "y"}, -ENOTDIR},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        struct tar_entry e[2] = {cases[i].first, cases[i].second};
        int r = unpack(b, e, e[1].type ? 2 : 1);
        if (r != cases[i].code)
            fail_msg("%s: %d (%s), not %d", cases[i].name, r, b->err.text, cases[i].code);
        assert_true(r == 0 || strlen(b->err.text) > 10);
        assert_canary(b);
    }
}

static void test_unpack_absolute_name_means_the_layers_root(void **state) {
    struct box *b = box_of(state);
    assert_int_equal(UNPACK(b, {'0', "//etc/./orlop-test", .data = "in"}), 0);
    assert_text(b, "etc/orlop-test", "in");
    assert_canary(b);
}

static void test_unpack_later_entry_replaces_earlier(void **state) {
    struct box *b = box_of(state);
    assert_int_equal(UNPACK(b, {'0', "d/f", .data = "old"}, {'0', "d", .data = "file now"},
                            {'0', "e", .data = "1"}, {'5', "e", .mode = 0700},
                            {'0', "e/g", .data = "2"}, {'0', "e/g", .data = "3"},
                            {'1', "e/g", .link = "e/g"}),
                     0);
    assert_text(b, "d", "file now");
    assert_text(b, "e/g", "3");
    assert_int_equal(stat_of(b, "e").st_mode, S_IFDIR | 0700);
}

static bool opaque(struct box *b, const char *path) {
    char v[4] = "";
    auto_fd int fd = openat(b->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fgetxattr(fd, IMAGE_OPAQUE_XATTR, v, sizeof v) == 1 && v[0] == 'y';
}

static void test_unpack_whiteouts_become_overlay_ones(void **state) {
    struct box *b = box_of(state);
    assert_int_equal(UNPACK(b, {'0', "etc/.wh.gone", .data = NULL},
                            {'0', "opq/.wh..wh..opq", .data = NULL}, {'0', "opq/new", .data = "n"},
                            {'0', ".wh.dir", .data = NULL}, {'5', "dir", .mode = 0755},
                            {'5', "dir2", .mode = 0755}, {'0', ".wh.dir2", .data = NULL},
                            {'0', "file", .data = "f"}, {'0', ".wh.file", .data = NULL},
                            {'0', ".wh.again", .data = NULL}, {'0', "again", .data = "a"}),
                     0);
    struct stat st = stat_of(b, "etc/gone");
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
    assert_true(opaque(b, "opq"));
    assert_text(b, "opq/new", "n");
    assert_missing(b, "opq/.wh..wh..opq");
    assert_true(opaque(b, "dir"));
    assert_true(opaque(b, "dir2"));
    assert_text(b, "file", "f");
    assert_text(b, "again", "a");
}

static void test_unpack_xattrs_follow_the_policy(void **state) {
    struct box *b = box_of(state);
    static const unsigned char cap[20] = {1, 0, 0, 2, 0, 4};
    static const struct {
        const char *key;
        int code;
    } cases[] = {
        {"SCHILY.xattr.security.capability", 0},
        {"SCHILY.xattr.security.selinux", 0},
        {"SCHILY.xattr.trusted.overlay.redirect", -EINVAL},
        {"SCHILY.xattr.trusted.overlay.opaque", -EINVAL},
        {"SCHILY.xattr.user.overlay.opaque", -EINVAL},
        {"SCHILY.xattr.trusted.x", -EINVAL},
        {"SCHILY.xattr.security.other", -EINVAL},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        struct buf tar;
        buf_init(&tar, 1 << 20);
        archive_add_pax(&tar, cases[i].key, cap, sizeof cap);
        archive_add(&tar, &(struct tar_entry){'0', "f", .data = "x", .mode = 0755});
        archive_end(&tar);
        int r = unpack_tar(b, &tar);
        buf_fini(&tar);
        if (r != cases[i].code) fail_msg("%s: %d (%s)", cases[i].key, r, b->err.text);
        if (r < 0) assert_non_null(strstr(b->err.text, "is not allowed"));
    }
}

static void test_unpack_capability_survives_owner_and_mode(void **state) {
    struct box *b = box_of(state);
    static const unsigned char cap[20] = {1, 0, 0, 2, 0, 4};
    unsigned char got[32];
    struct buf tar;
    buf_init(&tar, 1 << 20);
    archive_add_pax(&tar, "SCHILY.xattr.security.capability", cap, sizeof cap);
    archive_add(&tar, &(struct tar_entry){'0', "f", .data = "x", .mode = 0755, .uid = 5});
    archive_end(&tar);
    assert_int_equal(unpack_tar(b, &tar), 0);
    buf_fini(&tar);
    auto_fd int fd = openat(b->root, "f", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(fd, "security.capability", got, sizeof got), sizeof cap);
    assert_memory_equal(got, cap, sizeof cap);
}

/* Two names that look alike are two files: libarchive would compose the accent in an UTF-8 locale.
 */
static void test_unpack_names_are_bytes(void **state) {
    struct box *b = box_of(state);
    static const char *const names[] = {"e\xcc\x81", "\xc3\xa9", "\xff\xfe"};
    struct buf tar;
    buf_init(&tar, 1 << 20);
    for (size_t i = 0; i < array_len(names); i++) {
        archive_add_pax(&tar, "path", names[i], strlen(names[i]));
        archive_add(&tar, &(struct tar_entry){'0', "x", .data = names[i]});
    }
    archive_end(&tar);
    assert_int_equal(unpack_tar(b, &tar), 0);
    buf_fini(&tar);
    for (size_t i = 0; i < array_len(names); i++) assert_text(b, names[i], names[i]);
}

static void test_unpack_long_and_deep_names_are_bounded(void **state) {
    struct box *b = box_of(state);
    char name[8192];
    static const struct {
        size_t part, parts;
        int code;
    } cases[] = {{255, 1, 0},
                 {256, 1, -ENAMETOOLONG},
                 {1, 127, 0},
                 {1, 129, -ELOOP},
                 {200, 30, -ENAMETOOLONG}};
    for (size_t i = 0; i < array_len(cases); i++) {
        size_t n = 0;
        for (size_t p = 0; p < cases[i].parts; p++) {
            memset(name + n, 'a', cases[i].part);
            n += cases[i].part;
            name[n++] = '/';
        }
        struct buf tar;
        buf_init(&tar, 1 << 20);
        archive_add_pax(&tar, "path", name, n - 1);
        archive_add(&tar, &(struct tar_entry){'0', "x", .data = "y"});
        archive_end(&tar);
        int r = unpack_tar(b, &tar);
        buf_fini(&tar);
        if (r != cases[i].code) fail_msg("case %zu: %d (%s)", i, r, b->err.text);
    }
}

/* A symlink back to the deepest directory would let each entry go on from there. */
static void test_unpack_depth_through_symlinks_is_bounded(void **state) {
    struct box *b = box_of(state);
    struct buf tar;
    char deep[90], link[100], name[100];
    buf_init(&tar, 1 << 20);
    for (size_t i = 0; i < sizeof deep; i += 2) memcpy(deep + i, "a/", 2);
    deep[sizeof deep - 1] = 0;
    archive_add(&tar, &(struct tar_entry){'5', deep, .mode = 0755});
    (void) snprintf(link, sizeof link, "%s", deep);
    archive_add(&tar, &(struct tar_entry){'2', "s0", .link = link});
    for (int i = 1; i < 5; i++) {
        (void) snprintf(name, sizeof name, "s%d/%.80s", i - 1, deep);
        archive_add(&tar, &(struct tar_entry){'5', name, .mode = 0755});
        (void) snprintf(link, sizeof link, "s%d/%.80s", i - 1, deep);
        (void) snprintf(name, sizeof name, "s%d", i);
        archive_add(&tar, &(struct tar_entry){'2', name, .link = link});
    }
    archive_end(&tar);
    assert_int_equal(unpack_tar(b, &tar), -ELOOP);
    buf_fini(&tar);
}

static void test_unpack_over_the_limits_stops(void **state) {
    struct box *b = box_of(state);
    b->limits.entries = 3;
    assert_int_equal(
        UNPACK(b, {'0', "1", .data = NULL}, {'0', "2", .data = NULL}, {'0', "3", .data = NULL}), 0);
    assert_int_equal(UNPACK(b, {'0', "1", .data = NULL}, {'0', "2", .data = NULL},
                            {'0', "3", .data = NULL}, {'0', "4", .data = NULL}),
                     -EFBIG);
    assert_int_equal(UNPACK(b, {'0', "a/b/c/d", .data = NULL}),
                     -EFBIG); /* made parents count too */
    b->limits = image__limits_default;
    b->limits.bytes = 10;
    assert_int_equal(UNPACK(b, {'0', "1", .data = "12345"}, {'0', "2", .data = "12345"}), 0);
    assert_int_equal(UNPACK(b, {'0', "1", .data = "12345"}, {'0', "2", .data = "123456"}), -EFBIG);
    b->limits = image__limits_default;
    b->limits.reserve_bytes = UINT64_MAX;
    struct buf tar;
    buf_init(&tar, 64 << 20);
    static char big[20 << 20];
    archive_add_data(&tar, "big", big, sizeof big);
    archive_end(&tar);
    assert_int_equal(unpack_tar(b, &tar), -ENOSPC);
    buf_fini(&tar);
}

static void test_unpack_damaged_archive_is_refused(void **state) {
    struct box *b = box_of(state);
    struct buf tar;
    buf_init(&tar, 1 << 20);
    archive_add(&tar, &(struct tar_entry){'0', "f", .data = "0123456789"});
    tar.len -= 512; /* the data is cut off */
    assert_int_equal(unpack_tar(b, &tar), -EBADMSG);
    buf_reset(&tar);
    buf_puts(&tar, "this is no archive at all, however long one looks at it");
    assert_int_equal(unpack_tar(b, &tar), -EBADMSG);
    assert_true(str_starts(b->err.text, "not a valid tar archive"));
    buf_fini(&tar);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_unpack_plain_layer_is_exact),
        T(test_unpack_through_symlinked_directory_stays_merged),
        T(test_unpack_hostile_names_stay_inside),
        T(test_unpack_absolute_name_means_the_layers_root),
        T(test_unpack_later_entry_replaces_earlier),
        T(test_unpack_whiteouts_become_overlay_ones),
        T(test_unpack_xattrs_follow_the_policy),
        T(test_unpack_capability_survives_owner_and_mode),
        T(test_unpack_names_are_bytes),
        T(test_unpack_long_and_deep_names_are_bounded),
        T(test_unpack_depth_through_symlinks_is_bounded),
        T(test_unpack_over_the_limits_stops),
        T(test_unpack_damaged_archive_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
