// SPDX-License-Identifier: Apache-2.0
/* A whole archive into a store: OCI layout, `docker save`, root file system. Refused, nothing is
 * left; accepted, it can be listed, its layers are there, and it can be removed again. Needs root;
 * makes a mount namespace. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/image/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct image_store *set_up(void) {
    struct image_store *s;
    struct err err;
    ensure(unshare(CLONE_NEWNS) == 0);
    ensure(sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    ensure(sys_mount("fuzz", "/mnt", "tmpfs", 0, "size=512m") == 0);
    ensure(image_store_open("/mnt/images", &s, &err) == 0);
    image__store_set_limits(
        s, &(struct image_limits){.bytes = 8 << 20, .entries = 1000, .ratio = 100});
    return s;
}

static void check_and_remove(struct image_store *s, const struct image_info *i) {
    struct strv layers = {0};
    struct image_removed gone = {0};
    struct image_config c = {0};
    struct err err = {0};
    if (image_read_config(s, i->digest, &c, &err) == 0) image_config_fini(&c);
    if (image_layers(s, i->digest, &layers, &err) == 0)
        for (size_t k = 0; k < layers.n; k++) ensure(access(layers.v[k], F_OK) == 0);
    strv_fini(&layers);
    ensure(image_remove(s, i->digest, &(struct strv){0}, true, &gone, &err) == 0);
    image_removed_fini(&gone);
}

static bool is_empty(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && st.st_nlink == 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct image_store *s;
    if (!s) s = set_up();
    if (n < 1 || n > 1 << 17) return 0;
    auto_fd int in = memfd_create("archive", MFD_CLOEXEC);
    ensure(in >= 0 && fd_write_all(in, data + 1, n - 1) == 0 && lseek(in, 0, SEEK_SET) == 0);
    struct image_info info = {0}, *list;
    struct err err = {0};
    int r = image_import(s, in, data[0] & 1 ? "fuzz" : "", &info, &err);
    ensure(r == 0 || err.text[0]);
    size_t count = 0;
    if (r == 0) image_info_fini(&info);
    ensure(image_list(s, &list, &count, &err) == 0);
    ensure(r == 0 ? count > 0 : count == 0);
    for (size_t i = 0; i < count; i++) {
        check_and_remove(s, &list[i]);
        image_info_fini(&list[i]);
    }
    mem_free(list);
    ensure(is_empty("/mnt/images/layers") && is_empty("/mnt/images/tmp"));
    return 0;
}
