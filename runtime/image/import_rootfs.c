// SPDX-License-Identifier: Apache-2.0
/* A root file system: the archive itself becomes the only layer, and the config is made here. The
 * same archive always gives the same image. */
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/image/import.h"

/* "/bin/sh" when the root has one that can be run, else "". */
static const char *default_command(int root) {
    auto_fd int fd = sys_open_in_root(root, "/bin/sh", O_PATH | O_CLOEXEC, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111)) return "";
    return "/bin/sh";
}

static int64_t newest(const struct image_import *im, struct err *err) {
    auto_tar struct image_tar *t = NULL;
    struct archive_entry *e = NULL;
    int64_t max = 0;
    int r = image__tar_from_file(im->spool, 0, &t, err);
    while (r >= 0 && (r = image__tar_next(t, &e, err)) > 0) {
        if (archive_entry_filetype(e) == AE_IFREG && archive_entry_mtime(e) > max)
            max = archive_entry_mtime(e);
    }
    return r < 0 ? r : max;
}

static int make_image(struct image_import *im, const char *cmd, int64_t created, struct err *err) {
    auto_free char *config = NULL;
    auto_free char *manifest = NULL;
    struct image_descriptor c = {.type = IMAGE_TYPE_CONFIG}, l = {.type = IMAGE_TYPE_LAYER};
    const struct strv no_names = {0};
    int r = image__config_make(im->spool_hex, cmd, created, &config);
    if (r < 0) return err_set(err, r, "make the image's config");
    c.size = strlen(config);
    r = image__stage_document(&im->stage, config, strlen(config), c.hex, err);
    if (r < 0) return r;
    memcpy(l.hex, im->spool_hex, sizeof l.hex);
    l.size = im->spool_bytes;
    r = image__manifest_make(&c, &l, 1, &manifest);
    if (r < 0) return err_set(err, r, "make the image's manifest");
    return image__import_image(im, manifest, strlen(manifest), &no_names, err);
}

int image__import_rootfs(struct image_import *im, struct err *err) {
    if (!im->name)
        return err_set(err, -EINVAL, "a root file system has no name in it: a name is needed");
    int64_t created = newest(im, err);
    if (created < 0) return (int) created;
    int r = image__stage_adopt(&im->stage, IMAGE_SPOOL_NAME, im->spool_hex, err);
    if (r == 0) r = image__layer_unpack(&im->stage, &im->budget, im->spool_hex, im->spool_hex, err);
    if (r < 0) return r;
    auto_fd int root = image__stage_open_layer(&im->stage, im->spool_hex);
    if (root < 0) return err_set(err, root, "open the layer");
    return make_image(im, default_command(root), created, err);
}
