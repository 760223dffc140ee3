// SPDX-License-Identifier: Apache-2.0
/* The store between imports: names, removal, garbage, what it repairs and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

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

/* An image of one file with this text; its digest. */
static void put(struct test_store *t, const char *name, const char *text,
                char ret[static IMAGE_DIGEST_MAX]) {
    struct archive_image im;
    struct buf tar;
    struct image_info info = {0};
    struct err err = {0};
    archive_image_init(&im, &(struct tar_entry){'0', "file", .data = text}, 1);
    archive_image_describe(&im, NULL);
    buf_init(&tar, 1 << 20);
    archive_image_tar(&im, &tar);
    auto_fd int fd = archive_fd(&tar);
    if (image_import(t->store, fd, name, &info, &err) < 0) fail_msg("%s", err.text);
    memcpy(ret, info.digest, IMAGE_DIGEST_MAX);
    image_info_fini(&info);
    buf_fini(&tar);
    archive_image_fini(&im);
}

static size_t images(struct test_store *t) {
    struct image_info *list = NULL;
    size_t n = 0;
    assert_int_equal(image_list(t->store, &list, &n, NULL), 0);
    for (size_t i = 0; i < n; i++) image_info_fini(&list[i]);
    mem_free(list);
    return n;
}

static int drop(struct test_store *t, const char *name, const char *used, bool force,
                size_t *untagged, size_t *deleted) {
    struct strv in_use = {0};
    struct image_removed out = {0};
    struct err err = {0};
    if (used) assert_int_equal(strv_add(&in_use, used), 0);
    int r = image_remove(t->store, name, &in_use, force, &out, &err);
    if (r == -EBUSY) assert_non_null(strstr(err.text, "is used by a task"));
    *untagged = out.untagged.n;
    *deleted = out.deleted.n;
    if (*deleted) assert_true(out.freed_bytes > 0);
    image_removed_fini(&out);
    strv_fini(&in_use);
    return r;
}

static void test_resolve_by_name_digest_and_prefix(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], b[IMAGE_DIGEST_MAX], found[IMAGE_DIGEST_MAX], text[160];
    put(t, "a", "1", a);
    put(t, "b:2", "2", b);
    const struct {
        const char *format;
        int code;
    } cases[] = {{"%.71s", 0}, {"%.19s", 0}, {"a@%.71s", 0}, {"zzz@%.71s", 0}, {"%.18s", -ENOENT}};
    for (size_t i = 0; i < array_len(cases); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void) snprintf(text, sizeof text, cases[i].format, a);
#pragma GCC diagnostic pop
        assert_int_equal(image_resolve(t->store, text, found, NULL), cases[i].code);
        if (cases[i].code == 0) assert_string_equal(found, a);
    }
    assert_int_equal(image_resolve(t->store, a + 7, found, NULL), 0);
    (void) snprintf(text, sizeof text, "%.12s", b + 7);
    assert_int_equal(image_resolve(t->store, text, found, NULL), 0);
    assert_string_equal(found, b);
    assert_int_equal(image_resolve(t->store, "b", found, NULL), -ENOENT); /* b:latest */
    struct err err = {0};
    assert_int_equal(image_resolve(t->store, "Not A Name", found, &err), -EINVAL);
    assert_int_equal(image_resolve(t->store, "nothing", found, &err), -ENOENT);
    assert_string_equal(err.text, "no image \"nothing\" on this node");
}

static void test_import_under_a_taken_name_moves_it(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], b[IMAGE_DIGEST_MAX], found[IMAGE_DIGEST_MAX];
    put(t, "app", "1", a);
    put(t, "app", "2", b);
    assert_int_equal(image_resolve(t->store, "app", found, NULL), 0);
    assert_string_equal(found, b);
    assert_int_equal(images(t), 2); /* the old one stays, by digest: a rollback may want it */
    assert_int_equal(image_resolve(t->store, a, found, NULL), 0);
    test_store_reopen(t);
    assert_int_equal(image_resolve(t->store, a, found, NULL), 0);
    assert_int_equal(images(t), 2);
}

static void test_remove_takes_what_nothing_names(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], b[IMAGE_DIGEST_MAX];
    size_t untagged, deleted;
    put(t, "a", "1", a);
    put(t, "a2", "1", a);
    put(t, "b", "2", b);
    assert_int_equal(drop(t, "a", NULL, false, &untagged, &deleted), 0);
    assert_int_equal(untagged, 1);
    assert_int_equal(deleted, 0); /* a2 is the same image */
    assert_int_equal(images(t), 2);
    assert_int_equal(drop(t, "a2", NULL, false, &untagged, &deleted), 0);
    assert_int_equal(deleted, 1);
    assert_int_equal(images(t), 1);
    assert_int_equal(test_store_count(t, "blobs/sha256"), 3);
    assert_int_equal(test_store_count(t, "layers"), 1);
    assert_int_equal(drop(t, b, NULL, false, &untagged, &deleted), 0);
    assert_int_equal(test_store_count(t, "blobs/sha256"), 0);
    assert_int_equal(test_store_count(t, "layers"), 0);
    assert_int_equal(test_store_count(t, "tmp"), 0);
    assert_int_equal(drop(t, "b", NULL, false, &untagged, &deleted), -ENOENT);
}

static void test_remove_never_takes_what_a_task_uses(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], b[IMAGE_DIGEST_MAX];
    struct strv layers = {0};
    size_t untagged, deleted;
    put(t, "a", "1", a);
    put(t, "b", "2", b);
    assert_int_equal(drop(t, "a", a, false, &untagged, &deleted), -EBUSY);
    assert_int_equal(drop(t, a, a, false, &untagged, &deleted), -EBUSY);
    char found[IMAGE_DIGEST_MAX];
    assert_int_equal(image_resolve(t->store, "a", found, NULL), 0); /* untouched */
    assert_int_equal(drop(t, "a", a, true, &untagged, &deleted), 0);
    assert_int_equal(untagged, 1);
    assert_int_equal(deleted, 0);
    assert_int_equal(image_resolve(t->store, "a", found, NULL), -ENOENT);
    test_store_reopen(t); /* the agent starts again, the task still runs */
    assert_int_equal(image_layers(t->store, a, &layers, NULL), 0);
    assert_int_equal(access(layers.v[0], F_OK), 0);
    /* Another removal, now that the task is gone, takes it along. */
    assert_int_equal(drop(t, "b", NULL, false, &untagged, &deleted), 0);
    assert_int_equal(deleted, 2);
    assert_int_equal(access(layers.v[0], F_OK), -1);
    strv_fini(&layers);
}

/* Between a task's look at its layers and its place among those that use them. */
static void test_remove_never_takes_what_is_held(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX];
    size_t untagged, deleted;
    put(t, "a", "1", a);
    assert_int_equal(image_hold(t->store, a, NULL), 0);
    assert_int_equal(image_hold(t->store, a, NULL), 0);
    image_release(t->store, a);
    assert_int_equal(drop(t, "a", NULL, false, &untagged, &deleted), -EBUSY);
    image_release(t->store, a);
    assert_int_equal(drop(t, "a", NULL, false, &untagged, &deleted), 0);
    assert_int_equal(deleted, 1);
    struct err err = {0};
    assert_int_equal(image_hold(t->store, a, &err), -ENOENT);
    assert_true(str_starts(err.text, "no image sha256:"));
    assert_int_equal(image_hold(t->store, "a", &err), -EINVAL);
}

static void test_lost_layer_comes_back_from_its_blob(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX];
    struct strv layers = {0};
    put(t, "a", "1", a);
    assert_int_equal(image_layers(t->store, "a", &layers, NULL), 0);
    assert_int_equal(fd_remove_tree(AT_FDCWD, layers.v[0]), 0);
    strv_fini(&layers);
    assert_int_equal(image_layers(t->store, "a", &layers, NULL), 0);
    assert_int_equal(access(layers.v[0], F_OK), 0);
    assert_int_equal(test_store_count(t, "tmp"), 0);
    strv_fini(&layers);
}

static void test_damaged_blob_is_seen_and_keeps_garbage(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], b[IMAGE_DIGEST_MAX], path[200];
    struct image_config c;
    struct err err = {0};
    size_t untagged, deleted;
    put(t, "a", "1", a);
    put(t, "b", "2", b);
    (void) snprintf(path, sizeof path, "%s/blobs/sha256/%s", t->path, a + 7);
    assert_int_equal(fd_replace_file(AT_FDCWD, path, "{}", 2, 0600), 0);
    assert_int_equal(image_read_config(t->store, "a", &c, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "damaged on the disk"));
    assert_int_equal(images(t), 2); /* both are listed */
    test_store_reopen(t);
    assert_int_equal(image_read_config(t->store, "b", &c, NULL), 0);
    image_config_fini(&c);
    /* What else the damaged one needs is not known, so nothing is swept ... */
    assert_int_equal(drop(t, "b", NULL, false, &untagged, &deleted), -EBADMSG);
    assert_int_equal(test_store_count(t, "layers"), 2);
    /* ... until it is gone itself. */
    assert_int_equal(drop(t, "a", NULL, false, &untagged, &deleted), 0);
    assert_int_equal(test_store_count(t, "layers"), 0);
}

static void test_open_of_damaged_index_touches_nothing(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], path[200];
    struct err err = {0};
    put(t, "a", "1", a);
    image_store_free(t->store);
    t->store = NULL;
    (void) snprintf(path, sizeof path, "%s/index.json", t->path);
    assert_int_equal(fd_replace_file(AT_FDCWD, path, "{\"schemaVersion\":", 17, 0600), 0);
    assert_int_equal(image_store_open(t->path, &t->store, &err), -EBADMSG);
    assert_true(str_starts(err.text, "the image store's index.json is damaged"));
    assert_null(t->store);
    assert_int_equal(test_store_count(t, "blobs/sha256"), 3);
}

static void test_open_clears_leftovers(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX], path[200];
    put(t, "a", "1", a);
    (void) snprintf(path, sizeof path, "%s/tmp/9/l.x/deep", t->path);
    assert_int_equal(fd_mkdirs(AT_FDCWD, path, 0700), 0);
    (void) snprintf(path, sizeof path, "%s/layers/%064d/x", t->path, 0);
    assert_int_equal(fd_mkdirs(AT_FDCWD, path, 0700), 0);
    (void) snprintf(path, sizeof path, "%s/blobs/sha256/%064d", t->path, 0);
    assert_int_equal(fd_replace_file(AT_FDCWD, path, "x", 1, 0600), 0);
    test_store_reopen(t);
    assert_int_equal(test_store_count(t, "tmp"), 0);
    assert_int_equal(test_store_count(t, "layers"), 1);
    assert_int_equal(test_store_count(t, "blobs/sha256"), 3);
}

/* Another user sees nothing of the store, whatever modes its files have. */
static void test_store_is_closed_to_others(void **state) {
    struct test_store *t = store_of(state);
    char a[IMAGE_DIGEST_MAX];
    struct strv layers = {0};
    put(t, "a", "1", a);
    assert_int_equal(image_layers(t->store, "a", &layers, NULL), 0);
    assert_int_equal(chmod(t->dir, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgid(65534) < 0 || setuid(65534) < 0) _exit(2);
        bool closed = access(layers.v[0], F_OK) < 0 && errno == EACCES &&
                      open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 && errno == EACCES;
        _exit(closed ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    strv_fini(&layers);
}

static void test_second_process_cannot_open_the_store(void **state) {
    struct test_store *t = store_of(state);
    pid_t pid = fork();
    if (pid == 0) {
        struct image_store *s = NULL;
        struct err err = {0};
        int r = image_store_open(t->path, &s, &err);
        _exit(r == -EBUSY && strstr(err.text, "in use by process") ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_opaque_root_hides_the_layers_below(void **state) {
    struct test_store *t = store_of(state);
    struct archive_image im, top;
    struct buf tar;
    struct strv layers = {0};
    struct image_info info = {0};
    archive_image_init(&im, &(struct tar_entry){'0', "low", .data = "l"}, 1);
    archive_image_describe(&im, NULL);
    const struct tar_entry up[] = {{'0', ".wh..wh..opq", .data = NULL}, {'0', "high", .data = "h"}};
    archive_image_init(&top, up, 2);
    ensure(image__hash_bytes(top.layer.data, top.layer.len, top.layer_hex) == 0);
    buf_init(&tar, 1 << 20);
    struct buf config, doc;
    buf_init(&config, 4096);
    buf_init(&doc, 4096);
    buf_printf(&config,
               "{\"architecture\":\"%s\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
               "\"diff_ids\":[\"sha256:%s\",\"sha256:%s\"]}}",
               image__arch(), im.diff_hex, top.diff_hex);
    archive_add_data(&tar, "config.json", config.data, config.len);
    archive_add_data(&tar, "0.tar", im.layer.data, im.layer.len);
    archive_add_data(&tar, "1.tar", top.layer.data, top.layer.len);
    buf_puts(&doc, "[{\"Config\":\"config.json\",\"Layers\":[\"0.tar\",\"1.tar\"]}]");
    archive_add_data(&tar, "manifest.json", doc.data, doc.len);
    archive_end(&tar);
    auto_fd int fd = archive_fd(&tar);
    assert_int_equal(image_import(t->store, fd, "x", &info, NULL), 0);
    assert_int_equal(info.layers.n, 2);
    assert_int_equal(image_layers(t->store, "x", &layers, NULL), 0);
    assert_int_equal(layers.n, 1);
    assert_true(str_ends(layers.v[0], top.diff_hex));
    strv_fini(&layers);
    image_info_fini(&info);
    buf_fini(&tar);
    buf_fini(&config);
    buf_fini(&doc);
    archive_image_fini(&im);
    archive_image_fini(&top);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_resolve_by_name_digest_and_prefix),
        T(test_import_under_a_taken_name_moves_it),
        T(test_remove_takes_what_nothing_names),
        T(test_remove_never_takes_what_a_task_uses),
        T(test_remove_never_takes_what_is_held),
        T(test_lost_layer_comes_back_from_its_blob),
        T(test_damaged_blob_is_seen_and_keeps_garbage),
        T(test_open_of_damaged_index_touches_nothing),
        T(test_open_clears_leftovers),
        T(test_store_is_closed_to_others),
        T(test_second_process_cannot_open_the_store),
        T(test_opaque_root_hides_the_layers_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
