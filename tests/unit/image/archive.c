// SPDX-License-Identifier: Apache-2.0
#include "archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/image/manifest.h"

enum { BLOCK = 512 };

static void octal(char *at, size_t width, uint64_t v) {
    for (size_t i = width - 1; i-- > 0; v >>= 3) at[i] = (char) ('0' + (v & 7));
}

static void header(struct buf *tar, const struct tar_entry *e, uint64_t size) {
    char h[BLOCK] = {0};
    unsigned sum = 0;
    ensure(strlen(e->name) <= 100 && (!e->link || strlen(e->link) <= 100));
    memcpy(h, e->name, strlen(e->name));
    octal(h + 100, 8, e->mode ? e->mode : 0644);
    octal(h + 108, 8, e->uid);
    octal(h + 116, 8, e->gid);
    octal(h + 124, 12, size);
    octal(h + 136, 12, (uint64_t) e->mtime);
    memset(h + 148, ' ', 8);
    h[156] = e->type;
    if (e->link) memcpy(h + 157, e->link, strlen(e->link));
    memcpy(h + 257, "ustar\00000", 8);
    octal(h + 329, 8, e->major);
    octal(h + 337, 8, e->minor);
    for (size_t i = 0; i < BLOCK; i++) sum += (unsigned char) h[i];
    octal(h + 148, 7, sum);
    h[155] = ' ';
    ensure(buf_add(tar, h, BLOCK) == 0);
}

static void body(struct buf *tar, const void *data, size_t n) {
    static const char zeros[BLOCK];
    ensure(buf_add(tar, data, n) == 0);
    ensure(buf_add(tar, zeros, (BLOCK - n % BLOCK) % BLOCK) == 0);
}

void archive_add(struct buf *tar, const struct tar_entry *e) {
    size_t n = e->data ? strlen(e->data) : 0;
    header(tar, e, n);
    if (n) body(tar, e->data, n);
}

void archive_add_data(struct buf *tar, const char *name, const void *data, size_t n) {
    header(tar, &(struct tar_entry){.type = '0', .name = name}, n);
    if (n) body(tar, data, n);
}

void archive_add_pax(struct buf *tar, const char *key, const void *value, size_t n) {
    struct buf record;
    char digits[24];
    size_t len = strlen(key) + n + 3; /* ' ' '=' '\n' */
    size_t total = len + 1;
    while (total != len + (size_t) snprintf(digits, sizeof digits, "%zu", total)) total++;
    buf_init(&record, 1 << 22);
    buf_printf(&record, "%zu %s=", total, key);
    buf_add(&record, value, n);
    buf_putc(&record, '\n');
    header(tar, &(struct tar_entry){.type = 'x', .name = "PaxHeaders/x"}, record.len);
    body(tar, record.data, record.len);
    buf_fini(&record);
}

void archive_end(struct buf *tar) {
    static const char zeros[2 * BLOCK];
    ensure(buf_add(tar, zeros, sizeof zeros) == 0);
}

void archive_compress(struct buf *b, int filter) {
    size_t cap = b->len + (1 << 16), used = 0;
    char *out = mem_alloc(cap);
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();
    archive_write_add_filter(a, filter);
    archive_write_set_format_raw(a);
    archive_write_set_bytes_per_block(a, 0);
    ensure(out && archive_write_open_memory(a, out, cap, &used) == ARCHIVE_OK);
    archive_entry_set_filetype(e, AE_IFREG);
    ensure(archive_write_header(a, e) == ARCHIVE_OK);
    ensure(archive_write_data(a, b->data, b->len) == (la_ssize_t) b->len);
    ensure(archive_write_close(a) == ARCHIVE_OK);
    archive_write_free(a);
    archive_entry_free(e);
    buf_reset(b);
    ensure(buf_add(b, out, used) == 0);
    mem_free(out);
}

int archive_fd(const struct buf *b) {
    int fd = memfd_create("archive", MFD_CLOEXEC);
    ensure(fd >= 0 && fd_write_all(fd, b->data, b->len) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

void archive_image_init(struct archive_image *im, const struct tar_entry *entries, size_t n) {
    buf_init(&im->layer, 64 << 20);
    buf_init(&im->config, 8 << 20);
    buf_init(&im->manifest, 8 << 20);
    buf_init(&im->index, 8 << 20);
    for (size_t i = 0; i < n; i++) archive_add(&im->layer, &entries[i]);
    archive_end(&im->layer);
    ensure(image__hash_bytes(im->layer.data, im->layer.len, im->diff_hex) == 0);
}

void archive_image_describe(struct archive_image *im, const char *name) {
    ensure(image__hash_bytes(im->layer.data, im->layer.len, im->layer_hex) == 0);
    buf_printf(&im->config,
               "{\"architecture\":\"%s\",\"os\":\"linux\",\"created\":\"2024-02-03T04:05:06Z\","
               "\"config\":{\"Cmd\":[\"/bin/run\"],\"Env\":[\"A=b\"]},"
               "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}",
               image__arch(), im->diff_hex);
    ensure(image__hash_bytes(im->config.data, im->config.len, im->config_hex) == 0);
    buf_printf(&im->manifest,
               "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
               "\"size\":%zu},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
               "\"size\":%zu}]}",
               IMAGE_TYPE_CONFIG, im->config_hex, im->config.len, IMAGE_TYPE_LAYER, im->layer_hex,
               im->layer.len);
    ensure(image__hash_bytes(im->manifest.data, im->manifest.len, im->manifest_hex) == 0);
    buf_printf(&im->index,
               "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
               "\"size\":%zu",
               IMAGE_TYPE_MANIFEST, im->manifest_hex, im->manifest.len);
    if (name)
        buf_printf(&im->index, ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}",
                   name);
    buf_puts(&im->index, "}]}");
}

static void add_blob(struct buf *tar, const char *hex, const struct buf *b) {
    char name[96];
    (void) snprintf(name, sizeof name, "blobs/sha256/%s", hex);
    archive_add_data(tar, name, b->data, b->len);
}

void archive_image_tar(const struct archive_image *im, struct buf *tar) {
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    add_blob(tar, im->layer_hex, &im->layer);
    add_blob(tar, im->config_hex, &im->config);
    add_blob(tar, im->manifest_hex, &im->manifest);
    archive_add_data(tar, "index.json", im->index.data, im->index.len);
    archive_add_data(tar, "oci-layout", layout, sizeof layout - 1);
    archive_end(tar);
}

void archive_image_fini(struct archive_image *im) {
    buf_fini(&im->layer);
    buf_fini(&im->config);
    buf_fini(&im->manifest);
    buf_fini(&im->index);
}

void test_store_open(struct test_store *t) {
    memcpy(t->dir, "/tmp/orlop-image-XXXXXX", 24);
    ensure(mkdtemp(t->dir));
    (void) snprintf(t->path, sizeof t->path, "%s/store", t->dir);
    struct err err = {0};
    if (image_store_open(t->path, &t->store, &err) < 0) {
        (void) fprintf(stderr, "%s\n", err.text);
        ensure(false);
    }
    struct image_limits small = image__limits_default;
    small.reserve_bytes = small.reserve_inodes = 0; /* tests run on full disks too */
    image__store_set_limits(t->store, &small);
}

void test_store_reopen(struct test_store *t) {
    image_store_free(t->store);
    ensure(image_store_open(t->path, &t->store, NULL) == 0);
}

void test_store_close(struct test_store *t) {
    image_store_free(t->store);
    ensure(fd_remove_tree(AT_FDCWD, t->dir) == 0);
}

size_t test_store_count(const struct test_store *t, const char *sub) {
    char path[128];
    size_t n = 0;
    (void) snprintf(path, sizeof path, "%s/%s", t->path, sub);
    DIR *d = opendir(path);
    ensure(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}
