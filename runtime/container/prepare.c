// SPDX-License-Identifier: Apache-2.0
#include "prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

enum {
    UMOUNT_DETACH = 2,
    LAYERS_MAX = 500,   /* the kernel's own limit */
    OPTIONS_MAX = 4095, /* the kernel cuts what is longer, without an error */
};

/* --- overlay --- */

/* Names are bare descriptor numbers below /proc/self/fd: short enough for 500 layers, and no
 * character of a path needs escaping. Each directory is opened once, here. */
struct overlay {
    int *fds; /* layers */
    size_t n;
    int upper, work, place;
};

static void overlay_close(struct overlay *o) {
    for (size_t i = 0; i < o->n; i++) fd_close(&o->fds[i]);
    mem_free(o->fds);
    fd_close(&o->upper);
    fd_close(&o->work);
    fd_close(&o->place);
}

static int open_dir(const char *path, int *ret, struct err *err) {
    *ret = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return *ret < 0 ? err_set(err, -errno, "open %s", path) : 0;
}

static int overlay_open(struct overlay *o, const char *const *layers, size_t n, struct err *err) {
    o->fds = mem_array(n, sizeof *o->fds);
    if (!o->fds) return err_set(err, -ENOMEM, "layers");
    for (; o->n < n; o->n++) {
        int r = open_dir(layers[o->n], &o->fds[o->n], err);
        if (r < 0) return r;
    }
    return 0;
}

/* lowerdir comes first: if the kernel did cut the text, it would miss workdir and refuse. */
static int overlay_options(const struct overlay *o, struct buf *b, struct err *err) {
    buf_puts(b, "lowerdir=");
    for (size_t i = 0; i < o->n; i++) buf_printf(b, "%s%d", i ? ":" : "", o->fds[i]);
    buf_printf(b, ",upperdir=%d,workdir=%d", o->upper, o->work);
    int r = buf_error(b);
    return r < 0 ? err_set(err, r, "%zu layers do not fit one mount", o->n) : 0;
}

/* The working directory belongs to the whole process unless a thread has its own: a pool thread
 * gets one for good, which nobody else notices. */
static int own_cwd(struct err *err) {
    static _Thread_local bool own;
    if (!own && unshare(CLONE_FS) < 0)
        return err_set(err, -errno, "a working directory of our own");
    own = true;
    return 0;
}

static int overlay_mount(const struct overlay *o, const char *options, struct err *err) {
    char place[16];
    snprintf(place, sizeof place, "%d", o->place);
    int r = own_cwd(err);
    if (r < 0) return r;
    auto_fd int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (before < 0 || chdir("/proc/self/fd") < 0) return err_set(err, -errno, "/proc/self/fd");
    r = sys_mount("orlop", place, "overlay", 0, options);
    if (fchdir(before) < 0) return err_set(err, -errno, "go back to the working directory");
    return r < 0 ? err_set(err, r, "mount %zu layers (dmesg may say more)", o->n) : 0;
}

static int overlay_detach(const char *scratch, struct err *err) {
    auto_fd int m = sys_open_tree(AT_FDCWD, scratch, OPEN_TREE_CLONE);
    int r = sys_umount2(scratch, UMOUNT_DETACH);
    if (m < 0) return err_set(err, m, "clone the mount at %s", scratch);
    if (r < 0) return err_set(err, r, "unmount %s", scratch);
    struct mount_attr a = {.propagation = MS_PRIVATE};
    r = sys_mount_setattr(m, "", AT_EMPTY_PATH, &a);
    return r < 0 ? err_set(err, r, "make the root private") : steal_fd(&m);
}

int prepare_overlay(const char *const *layers, size_t n_layers, const char *upper, const char *work,
                    const char *scratch, struct err *err) {
    if (n_layers == 0 || n_layers > LAYERS_MAX)
        return err_say(err, -EINVAL, "an image has 1 to %d layers, not %zu", LAYERS_MAX, n_layers);
    struct overlay o = {.upper = -1, .work = -1, .place = -1};
    struct buf options;
    buf_init(&options, OPTIONS_MAX);
    int r = overlay_open(&o, layers, n_layers, err);
    if (r == 0) r = open_dir(upper, &o.upper, err);
    if (r == 0) r = open_dir(work, &o.work, err);
    if (r == 0) r = open_dir(scratch, &o.place, err);
    if (r == 0) r = overlay_options(&o, &options, err);
    if (r == 0) r = overlay_mount(&o, buf_str(&options), err);
    if (r == 0) r = overlay_detach(scratch, err);
    buf_fini(&options);
    overlay_close(&o);
    return r;
}

/* --- bind --- */

int prepare_bind(const char *source, bool recursive, bool read_only, bool *ret_file,
                 struct err *err) {
    unsigned deep = recursive ? AT_RECURSIVE : 0;
    /* No magic link: /proc/self/fd/3 would be a descriptor of ours. */
    auto_fd int at = sys_openat2(AT_FDCWD, source, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
    struct stat st;
    if (at < 0) return err_set(err, at, "bind source %s", source);
    if (fstat(at, &st) < 0) return err_set(err, -errno, "bind source %s", source);
    auto_fd int m = sys_open_tree(at, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | deep);
    if (m < 0) return err_set(err, m, "clone the mount of %s", source);
    struct mount_attr a = {.attr_set = read_only ? MOUNT_ATTR_RDONLY : 0,
                           .propagation = MS_PRIVATE};
    int r = sys_mount_setattr(m, "", AT_EMPTY_PATH | deep, &a);
    if (r < 0) return err_set(err, r, "attributes of the mount of %s", source);
    *ret_file = !S_ISDIR(st.st_mode);
    return steal_fd(&m);
}
