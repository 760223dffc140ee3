// SPDX-License-Identifier: Apache-2.0
/* Imports: the three kinds of archive, and that a failed one leaves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <archive.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/image/limits.h"

static const struct tar_entry some_files[] = {
    {'5', "bin/", .mode = 0755},
    {'0', "bin/sh", .data = "#!", .mode = 0755, .mtime = 86400},
    {'0', "etc/motd", .data = "hello"},
};

static int setup(void **state) {
    if (geteuid() != 0) return 0;
    struct test_store *t = mem_zalloc(sizeof *t);
    test_store_open(t);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    if (!*state) return 0;
    test_store_close(*state);
    mem_free(*state);
    return 0;
}

static struct test_store *store_of(void **state) {
    if (!*state) {
        print_message("needs root\n");
        skip();
    }
    return *state;
}

static int import(struct test_store *t, const struct buf *tar, const char *name,
                  struct image_info *info, struct err *err) {
    auto_fd int fd = archive_fd(tar);
    return image_import(t->store, fd, name, info, err);
}

static void assert_nothing(struct test_store *t) {
    struct image_info *list = NULL;
    size_t n = 1;
    assert_int_equal(test_store_count(t, "blobs/sha256"), 0);
    assert_int_equal(test_store_count(t, "layers"), 0);
    assert_int_equal(test_store_count(t, "tmp"), 0);
    assert_int_equal(image_list(t->store, &list, &n, NULL), 0);
    assert_int_equal(n, 0);
    mem_free(list);
}

static void assert_layer_text(const char *dir, const char *path, const char *want) {
    auto_free char *text = NULL;
    auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fd_read_file(fd, path, 100, &text, NULL), 0);
    assert_string_equal(text, want);
}

static void some_image(struct archive_image *im, struct buf *tar, const char *name) {
    archive_image_init(im, some_files, array_len(some_files));
    archive_image_describe(im, name);
    buf_init(tar, 64 << 20);
    archive_image_tar(im, tar);
}

static void check_oci(struct test_store *t, const struct buf *tar, const char *digest) {
    struct image_info info = {0};
    struct image_config c = {0};
    struct strv layers = {0};
    struct err err = {0};
    char found[IMAGE_DIGEST_MAX];
    if (import(t, tar, "", &info, &err) < 0) fail_msg("%s", err.text);
    assert_string_equal(info.digest, digest);
    assert_int_equal(info.names.n, 1);
    assert_string_equal(info.names.v[0], "shop:1");
    assert_true(info.created_unix_ms == INT64_C(1706933106000));
    assert_int_equal(image_resolve(t->store, "docker.io/library/shop:1", found, NULL), 0);
    assert_string_equal(found, digest);
    assert_int_equal(image_layers(t->store, digest, &layers, NULL), 0);
    assert_int_equal(layers.n, 1);
    assert_layer_text(layers.v[0], "etc/motd", "hello");
    assert_int_equal(image_read_config(t->store, "shop:1", &c, NULL), 0);
    assert_string_equal(c.cmd.v[0], "/bin/run");
    assert_int_equal(test_store_count(t, "tmp"), 0);
    strv_fini(&layers);
    image_config_fini(&c);
    image_info_fini(&info);
}

static void test_import_oci_layout_plain_and_compressed(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    char digest[IMAGE_DIGEST_MAX];
    some_image(&im, &tar, "shop:1");
    (void) snprintf(digest, sizeof digest, "sha256:%s", im.manifest_hex);
    check_oci(t, &tar, digest);
    archive_compress(&tar, ARCHIVE_FILTER_GZIP);
    check_oci(t, &tar, digest); /* the same once more changes nothing */
    assert_int_equal(test_store_count(t, "blobs/sha256"), 3);
    test_store_reopen(t);
    check_oci(t, &tar, digest);
    buf_fini(&tar);
    archive_image_fini(&im);
}

static void test_import_compressed_layers_are_unpacked(void **state) {
    struct test_store *t = store_of(state);
    static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
    for (size_t i = 0; i < array_len(filters); i++) {
        struct archive_image im;
        struct buf tar;
        char digest[IMAGE_DIGEST_MAX];
        archive_image_init(&im, some_files, array_len(some_files));
        archive_compress(&im.layer, filters[i]);
        archive_image_describe(&im, "shop:1");
        buf_init(&tar, 64 << 20);
        archive_image_tar(&im, &tar);
        archive_compress(&tar, ARCHIVE_FILTER_ZSTD);
        (void) snprintf(digest, sizeof digest, "sha256:%s", im.manifest_hex);
        check_oci(t, &tar, digest);
        buf_fini(&tar);
        archive_image_fini(&im);
    }
    assert_int_equal(test_store_count(t, "layers"), 1); /* one diff id */
}

static void test_import_docker_archive_with_shared_layer(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar, doc;
    char name[96];
    struct image_info info = {0};
    struct strv layers = {0};
    struct err err = {0};
    some_image(&im, &tar, NULL);
    buf_reset(&tar);
    buf_init(&doc, 4096);
    (void) snprintf(name, sizeof name, "%s.json", im.config_hex);
    archive_add_data(&tar, name, im.config.data, im.config.len);
    archive_add(&tar, &(struct tar_entry){'2', "two/layer.tar", .link = "../one/layer.tar"});
    archive_add_data(&tar, "one/layer.tar", im.layer.data, im.layer.len);
    buf_printf(&doc,
               "[{\"Config\":\"%s\",\"RepoTags\":[\"a:1\",\"r.io/b:2\"],"
               "\"Layers\":[\"two/layer.tar\"]}]",
               name);
    archive_add_data(&tar, "manifest.json", doc.data, doc.len);
    archive_end(&tar);
    if (import(t, &tar, "", &info, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(info.names.n, 2);
    assert_string_equal(info.names.v[0], "a:1");
    assert_string_equal(info.names.v[1], "r.io/b:2");
    assert_int_equal(image_layers(t->store, "a:1", &layers, NULL), 0);
    assert_layer_text(layers.v[0], "bin/sh", "#!");
    strv_fini(&layers);
    image_info_fini(&info);
    buf_fini(&doc);
    buf_fini(&tar);
    archive_image_fini(&im);
}

static void test_import_rootfs_makes_one_layer_image(void **state) {
    struct test_store *t = store_of(state);
    struct buf tar;
    struct image_info info = {0}, again = {0};
    struct image_config c = {0};
    buf_init(&tar, 1 << 20);
    for (size_t i = 0; i < array_len(some_files); i++) archive_add(&tar, &some_files[i]);
    archive_add(&tar, &(struct tar_entry){'0', "usr/manifest.json", .data = "{}"});
    archive_end(&tar);
    struct err err = {0};
    assert_int_equal(import(t, &tar, "", &info, &err), -EINVAL); /* nobody says its name */
    assert_nothing(t);
    assert_int_equal(import(t, &tar, "base", &info, NULL), 0);
    assert_string_equal(info.names.v[0], "base:latest");
    assert_int_equal(info.layers.n, 1);
    assert_true(info.created_unix_ms == 86400000);
    assert_int_equal(image_read_config(t->store, "base", &c, NULL), 0);
    assert_string_equal(c.cmd.v[0], "/bin/sh");
    assert_int_equal(import(t, &tar, "base2", &again, NULL), 0);
    assert_string_equal(again.digest, info.digest);
    assert_int_equal(again.names.n, 2);
    image_config_fini(&c);
    image_info_fini(&info);
    image_info_fini(&again);
    buf_fini(&tar);
}

/* A flipped bit anywhere in a blob, wherever its digest is written. */
static void test_import_damaged_blob_leaves_nothing(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    some_image(&im, &tar, "x:1");
    static const char *const needles[] = {"hello", "\"Cmd\"", "schemaVersion\":2,\"config"};
    for (size_t i = 0; i < array_len(needles); i++) {
        struct image_info info = {0};
        struct err err = {0};
        char *at = memmem(tar.data, tar.len, needles[i], strlen(needles[i]));
        assert_non_null(at);
        at[1] ^= 1;
        assert_int_equal(import(t, &tar, "", &info, &err), -EBADMSG);
        assert_non_null(strstr(err.text, "digest"));
        at[1] ^= 1;
        assert_nothing(t);
    }
    buf_fini(&tar);
    archive_image_fini(&im);
}

static void test_import_wrong_diff_id_leaves_nothing(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    struct image_info info = {0};
    struct err err = {0};
    archive_image_init(&im, some_files, array_len(some_files));
    im.diff_hex[0] = im.diff_hex[0] == 'a' ? 'b' : 'a';
    archive_image_describe(&im, "x:1");
    buf_init(&tar, 1 << 20);
    archive_image_tar(&im, &tar);
    assert_int_equal(import(t, &tar, "", &info, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "layer sha256:"));
    assert_nothing(t);
    buf_fini(&tar);
    archive_image_fini(&im);
}

/* Wherever the stream stops, the image is not there. */
static void test_import_cut_off_anywhere_leaves_nothing(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    some_image(&im, &tar, "x:1");
    for (size_t n = 0; n < tar.len - 512; n += 379) {
        struct image_info info = {0};
        struct buf part = tar;
        part.len = n;
        assert_true(import(t, &part, "x", &info, NULL) < 0);
    }
    assert_nothing(t);
    buf_fini(&tar);
    archive_image_fini(&im);
}

static void test_import_hostile_layer_leaves_nothing(void **state) {
    struct test_store *t = store_of(state);
    static const struct tar_entry hostile[] = {{'0', "ok", .data = "1"},
                                               {'0', "../../canary", .data = "dead"}};
    struct archive_image im;
    struct buf tar;
    struct image_info info = {0};
    struct err err = {0};
    archive_image_init(&im, hostile, array_len(hostile));
    archive_image_describe(&im, "x:1");
    buf_init(&tar, 1 << 20);
    archive_image_tar(&im, &tar);
    assert_int_equal(import(t, &tar, "", &info, &err), -EINVAL);
    assert_non_null(strstr(err.text, "\"..\""));
    assert_nothing(t);
    buf_fini(&tar);
    archive_image_fini(&im);
}

/* 64 MiB of zeros in some kilobytes. */
static void test_import_bomb_stops_within_its_budget(void **state) {
    struct test_store *t = store_of(state);
    static char zeros[32 << 20];
    static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD};
    struct image_limits small = image__limits_default;
    small.reserve_bytes = small.reserve_inodes = 0;
    small.ratio_free = 1 << 20;
    for (size_t i = 0; i < array_len(filters); i++) {
        struct buf tar;
        struct image_info info = {0};
        struct err err = {0};
        buf_init(&tar, 64 << 20);
        archive_add_data(&tar, "zeros", zeros, sizeof zeros);
        archive_end(&tar);
        archive_compress(&tar, filters[i]);
        image__store_set_limits(t->store, &small);
        assert_int_equal(import(t, &tar, "bomb", &info, &err), -EFBIG);
        assert_non_null(strstr(err.text, "expands more than"));
        assert_nothing(t);
        buf_fini(&tar);
    }
    small = image__limits_default;
    small.bytes = 1 << 20;
    small.reserve_bytes = 0;
    image__store_set_limits(t->store, &small);
    struct buf tar;
    struct image_info info = {0};
    buf_init(&tar, 64 << 20);
    archive_add_data(&tar, "zeros", zeros, sizeof zeros);
    archive_end(&tar);
    assert_int_equal(import(t, &tar, "big", &info, NULL), -EFBIG);
    assert_nothing(t);
    buf_fini(&tar);
}

static void test_import_what_is_no_archive_is_said_so(void **state) {
    struct test_store *t = store_of(state);
    static const char *const bad[] = {"", "hello", "{\"schemaVersion\":2}", "\x1f\x8b\x08"};
    for (size_t i = 0; i < array_len(bad); i++) {
        struct buf b;
        struct image_info info = {0};
        struct err err = {0};
        buf_init(&b, 4096);
        buf_puts(&b, bad[i]);
        int r = import(t, &b, "x", &info, &err);
        assert_true(r == -EINVAL || r == -EBADMSG);
        assert_true(str_starts(err.text, "import: "));
        assert_nothing(t);
        buf_fini(&b);
    }
}

static void test_import_of_another_machines_image_is_refused(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    struct image_info info = {0};
    struct err err = {0};
    archive_image_init(&im, some_files, array_len(some_files));
    archive_image_describe(&im, "x:1");
    char *at = memmem(im.config.data, im.config.len, "\"linux\"", 7);
    memcpy(at, "\"minix\"", 7);
    struct buf config = im.config;
    im.config = (struct buf){0};
    buf_reset(&im.manifest);
    buf_reset(&im.index);
    buf_init(&im.config, 8 << 20);
    buf_add(&im.config, config.data, 0);
    archive_image_describe(&im, "x:1"); /* digests of the sound config ... */
    buf_fini(&im.config);
    im.config = config; /* ... and the changed one: the digest is what refuses it */
    buf_init(&tar, 1 << 20);
    archive_image_tar(&im, &tar);
    assert_int_equal(import(t, &tar, "", &info, &err), -EBADMSG);
    assert_nothing(t);
    buf_fini(&tar);
    archive_image_fini(&im);
}

static bool no(void *ctx) {
    (*(int *) ctx)++;
    return false;
}

static void test_import_broken_off_by_the_sender_leaves_nothing(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    struct image_info info = {0};
    int asked = 0;
    some_image(&im, &tar, "x:1");
    auto_fd int fd = archive_fd(&tar);
    assert_int_equal(image_import_if(t->store, fd, "", no, &asked, &info, NULL), -ECANCELED);
    assert_int_equal(asked, 1);
    assert_nothing(t);
    buf_fini(&tar);
    archive_image_fini(&im);
}

/* The importing process is killed while the archive comes in; the next open finds nothing. */
static void test_import_killed_in_the_middle_leaves_nothing(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    int in[2];
    some_image(&im, &tar, "x:1");
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    image_store_free(t->store);
    t->store = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        struct image_store *s = NULL;
        struct image_info info = {0};
        fd_close(&in[1]);
        if (image_store_open(t->path, &s, NULL) < 0) _exit(2);
        _exit(image_import(s, in[0], "", &info, NULL) == 0 ? 0 : 1);
    }
    size_t half = tar.len / 2;
    assert_int_equal(fd_write_all(in[1], tar.data, half), 0);
    char begun[128];
    (void) snprintf(begun, sizeof begun, "%s/tmp/0/spool", t->path);
    while (access(begun, F_OK) < 0) {
        struct timespec ms = {.tv_nsec = 1000000};
        nanosleep(&ms, NULL);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    fd_close(&in[0]);
    fd_close(&in[1]);
    assert_int_equal(image_store_open(t->path, &t->store, NULL), 0);
    assert_nothing(t);
    buf_fini(&tar);
    archive_image_fini(&im);
}

static void test_import_survives_every_failed_allocation(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im;
    struct buf tar;
    some_image(&im, &tar, "x:1");
    for (unsigned long nth = 1;; nth++) {
        auto_fd int fd = archive_fd(&tar);
        struct image_info info = {0};
        mem_fail_after(nth);
        struct err err = {0};
        int r = image_import(t->store, fd, "", &info, &err);
        mem_fail_after(0);
        if (r == 0) {
            image_info_fini(&info);
            assert_true(nth > 20);
            break;
        }
        if (r != -ENOMEM) fail_msg("allocation %lu: %d (%s)", nth, r, err.text);
        assert_int_equal(test_store_count(t, "tmp"), 0);
    }
    buf_fini(&tar);
    archive_image_fini(&im);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_import_oci_layout_plain_and_compressed),
        T(test_import_compressed_layers_are_unpacked),
        T(test_import_docker_archive_with_shared_layer),
        T(test_import_rootfs_makes_one_layer_image),
        T(test_import_damaged_blob_leaves_nothing),
        T(test_import_wrong_diff_id_leaves_nothing),
        T(test_import_cut_off_anywhere_leaves_nothing),
        T(test_import_hostile_layer_leaves_nothing),
        T(test_import_bomb_stops_within_its_budget),
        T(test_import_what_is_no_archive_is_said_so),
        T(test_import_of_another_machines_image_is_refused),
        T(test_import_broken_off_by_the_sender_leaves_nothing),
        T(test_import_killed_in_the_middle_leaves_nothing),
        T(test_import_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
