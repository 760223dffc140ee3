// SPDX-License-Identifier: Apache-2.0
/* Every byte of the store's files cut off or with a bit flipped: the image is what it was, or a
 * sentence names the file. (What a damaged layer's blob does: it is hashed whenever it is unpacked,
 * test_import.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "archive.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "tests/lib/damage.h"

static struct test_store store;
static struct damage damage;
static char digest[IMAGE_DIGEST_MAX];

static int set_up(void **state) {
    if (geteuid() != 0) return 0;
    *state = &store;
    test_store_open(&store);
    struct archive_image im;
    struct buf tar;
    struct image_info info = {0};
    struct err err = {0};
    archive_image_init(&im, &(struct tar_entry){'0', "file", .data = "x"}, 1);
    archive_image_describe(&im, NULL);
    buf_init(&tar, 1 << 20);
    archive_image_tar(&im, &tar);
    auto_fd int fd = archive_fd(&tar);
    if (image_import(store.store, fd, "name:tag", &info, &err) < 0) fail_msg("%s", err.text);
    memcpy(digest, info.digest, sizeof digest);
    image_info_fini(&info);
    buf_fini(&tar);
    archive_image_fini(&im);
    return 0;
}

static int tear_down(void **state) {
    if (!*state) return 0;
    damage_free(&damage);
    test_store_close(&store);
    return 0;
}

static void need_root(void **state) {
    if (*state) return;
    print_message("needs root\n");
    skip();
}

/* 0: the image as it was; else what the first of the calls said. */
static int use(struct err *err) {
    char found[IMAGE_DIGEST_MAX];
    struct strv layers = {0};
    struct image_config c = {0};
    int r = image_resolve(store.store, "name:tag", found, err);
    if (r < 0) return r;
    assert_string_equal(found, digest);
    r = image_read_config(store.store, digest, &c, err);
    image_config_fini(&c);
    if (r == 0) r = image_layers(store.store, digest, &layers, err);
    if (r == 0) assert_int_equal(layers.n, 1);
    strv_fini(&layers);
    return r;
}

static void reopen_and_expect(const char *what, size_t at) {
    struct err err = {0};
    int r = image_store_open(store.path, &store.store, &err);
    if (r == 0) r = use(&err);
    if (r < 0 && !strstr(err.text, "index.json")) fail_msg("%s %zu: '%s'", what, at, err.text);
    image_store_free(store.store);
    store.store = NULL;
    damage_undo(&damage);
}

static void test_each_byte_of_the_index_counts(void **state) {
    need_root(state);
    image_store_free(store.store);
    store.store = NULL;
    damage_take(&damage, store.path);
    size_t size = damage_file(&damage, "index.json")->size;
    for (size_t at = 0; at < size; at += 5) {
        damage_flip(&damage, "index.json", at * 8 + at % 7);
        reopen_and_expect("flipped at", at);
        damage_cut(&damage, "index.json", at);
        reopen_and_expect("cut at", at);
    }
    struct err err = {0};
    assert_int_equal(image_store_open(store.path, &store.store, &err), 0);
    assert_int_equal(use(&err), 0);
}

static void test_each_byte_of_a_document_counts(void **state) {
    need_root(state);
    char path[128];
    snprintf(path, sizeof path, "%s/blobs/sha256", store.path);
    damage_take(&damage, path);
    assert_int_equal(damage.n, 3);
    size_t named = 0;
    for (size_t i = 0; i < damage.n; i++) {
        const struct damaged_file *f = &damage.files[i];
        for (size_t at = 0; at < 2 * f->size; at += 3) {
            struct err err = {0};
            if (at < f->size)
                damage_flip(&damage, f->name, at * 8 + at % 8);
            else
                damage_cut(&damage, f->name, at - f->size);
            int r = use(&err);
            if (r < 0 && !strstr(err.text, f->name))
                fail_msg("%s, %zu: '%s'", f->name, at, err.text);
            if (r == 0 && f->data[0] == '{') fail_msg("%s, %zu: not seen", f->name, at);
            named += r < 0;
            damage_undo(&damage);
        }
    }
    assert_true(named > 0); /* manifest and config; the layer is unpacked already */
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_each_byte_of_the_index_counts),
        T(test_each_byte_of_a_document_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
