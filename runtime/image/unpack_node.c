// SPDX-License-Identifier: Apache-2.0
/* What an entry becomes: the inode, its bytes, owner, mode, attributes and times, in the order that
 * keeps them: chown clears set-user-id bits and capabilities, so it comes first, and times come
 * last. */
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/image/unpack.h"

static const uint64_t file_bytes_max = UINT64_C(1) << 40; /* with its holes */
enum { MODE_BITS = 07777 };

static void times_of(struct archive_entry *e, struct timespec ret[static 2]) {
    long ns = archive_entry_mtime_nsec(e);
    ret[1].tv_sec = archive_entry_mtime_is_set(e) ? archive_entry_mtime(e) : 0;
    ret[1].tv_nsec = ns >= 0 && ns < 1000000000 ? ns : 0;
    ret[0] = ret[1];
}

/* -1 means "leave it" to chown: no archive may say that. */
static int owner_of(struct archive_entry *e, uid_t *uid, gid_t *gid, struct err *err) {
    int64_t u = archive_entry_uid(e), g = archive_entry_gid(e);
    if (u < 0 || u >= UINT32_MAX || g < 0 || g >= UINT32_MAX)
        return err_set(err, -EINVAL, "the owner %lld:%lld is out of range", (long long) u,
                       (long long) g);
    *uid = (uid_t) u;
    *gid = (gid_t) g;
    return 0;
}

enum xattr_policy { XATTR_KEEP, XATTR_LEAVE_OUT, XATTR_REFUSE };

static enum xattr_policy xattr_policy(const char *name) {
    static const struct {
        const char *prefix;
        bool whole;
        enum xattr_policy policy;
    } rules[] = {
        {"security.capability", true, XATTR_KEEP},
        {"user.overlay.", false, XATTR_REFUSE},
        {"user.", false, XATTR_KEEP},
        {"system.posix_acl_access", true, XATTR_KEEP},
        {"system.posix_acl_default", true, XATTR_KEEP},
        {"security.selinux", true, XATTR_LEAVE_OUT},
        {"security.ima", true, XATTR_LEAVE_OUT},
        {"security.evm", true, XATTR_LEAVE_OUT},
    };
    for (size_t i = 0; i < array_len(rules); i++)
        if (rules[i].whole ? str_eq(name, rules[i].prefix) : str_starts(name, rules[i].prefix))
            return rules[i].policy;
    return XATTR_REFUSE;
}

/* FD -1: only look whether there are any that an inode without descriptor cannot have. */
static int set_xattrs(int fd, struct archive_entry *e, struct err *err) {
    const char *name = NULL;
    const void *value = NULL;
    size_t n = 0;
    if (archive_entry_acl_types(e))
        return err_set(err, -EINVAL, "its access control list is not supported in this form");
    if (archive_entry_xattr_reset(e) > IMAGE_XATTRS_MAX)
        return err_set(err, -EINVAL, "more than %d extended attributes", IMAGE_XATTRS_MAX);
    while (archive_entry_xattr_next(e, &name, &value, &n) == 0) {
        enum xattr_policy policy = name ? xattr_policy(name) : XATTR_REFUSE;
        if (policy == XATTR_LEAVE_OUT) continue;
        if (policy == XATTR_REFUSE || fd < 0)
            return err_set(err, -EINVAL, "the extended attribute \"%.60s\" is not allowed",
                           name ? name : "");
        if (n > IMAGE_XATTR_BYTES_MAX)
            return err_set(err, -EINVAL, "the extended attribute \"%.60s\" is too large", name);
        if (fsetxattr(fd, name, value, n, 0) < 0)
            return err_set(err, -errno, "set the extended attribute \"%.60s\"", name);
    }
    return 0;
}

static int set_attributes(int fd, struct archive_entry *e, struct err *err) {
    uid_t uid = 0;
    gid_t gid = 0;
    struct timespec times[2];
    int r = owner_of(e, &uid, &gid, err);
    if (r < 0) return r;
    if (fchown(fd, uid, gid) < 0) return err_set(err, -errno, "set the owner");
    r = set_xattrs(fd, e, err);
    if (r < 0) return r;
    if (fchmod(fd, archive_entry_perm(e) & MODE_BITS) < 0)
        return err_set(err, -errno, "set the mode");
    times_of(e, times);
    if (futimens(fd, times) < 0) return err_set(err, -errno, "set the time");
    return 0;
}

int image__unpack_dir_attributes(int fd, struct archive_entry *e, struct err *err) {
    return set_attributes(fd, e, err);
}

/* The same for what has no descriptor: symlinks, devices, FIFOs. */
static int set_attributes_at(int dirfd, const char *name, struct archive_entry *e,
                             struct err *err) {
    uid_t uid = 0;
    gid_t gid = 0;
    struct timespec times[2];
    int r = owner_of(e, &uid, &gid, err);
    if (r == 0) r = set_xattrs(-1, e, err);
    if (r < 0) return r;
    if (fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(err, -errno, "set the owner");
    if (archive_entry_filetype(e) != AE_IFLNK &&
        fchmodat(dirfd, name, archive_entry_perm(e) & MODE_BITS, 0) < 0)
        return err_set(err, -errno, "set the mode");
    times_of(e, times);
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_set(err, -errno, "set the time");
    return 0;
}

static int write_at(int fd, const char *p, size_t n, uint64_t offset) {
    while (n) {
        ssize_t k = pwrite(fd, p, n, (off_t) offset);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return -errno;
        p += k;
        n -= (size_t) k;
        offset += (uint64_t) k;
    }
    return 0;
}

static int write_data(struct image_unpack *u, struct image_tar *t, int fd, uint64_t size,
                      struct err *err) {
    const void *p = NULL;
    size_t n = 0;
    uint64_t offset = 0;
    int r;
    while ((r = image__tar_data(t, &p, &n, &offset, err)) > 0) {
        if (offset > size || n > size - offset)
            return err_set(err, -EBADMSG, "holds more than its size");
        r = image__budget_bytes(u->budget, n, err);
        if (r < 0) return r;
        r = write_at(fd, p, n, offset);
        if (r < 0) return err_set(err, r, "write");
    }
    if (r < 0) return r;
    return ftruncate(fd, (off_t) size) < 0 ? err_set(err, -errno, "set the size") : 0;
}

static int make_file(struct image_unpack *u, struct image_tar *t, struct archive_entry *e,
                     const char *name, struct err *err) {
    int64_t size = archive_entry_size(e);
    if (size < 0 || (uint64_t) size > file_bytes_max)
        return err_say(err, -EFBIG, "a file of %lld bytes", (long long) size);
    auto_fd int fd =
        openat(u->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return err_set(err, -errno, "make the file");
    int r = write_data(u, t, fd, (uint64_t) size, err);
    return r < 0 ? r : set_attributes(fd, e, err);
}

static int make_symlink(struct image_unpack *u, struct archive_entry *e, const char *name,
                        struct err *err) {
    const char *target = archive_entry_symlink(e);
    if (!target || !*target || strlen(target) > IMAGE_PATH_BYTES_MAX)
        return err_set(err, -EINVAL, "a symlink to nothing");
    if (symlinkat(target, u->parent, name) < 0) return err_set(err, -errno, "make the symlink");
    return set_attributes_at(u->parent, name, e, err);
}

static int make_special(struct image_unpack *u, struct archive_entry *e, mode_t kind,
                        const char *name, struct err *err) {
    dev_t dev = 0;
    if (kind != S_IFIFO) {
        dev_t major = archive_entry_rdevmajor(e), minor = archive_entry_rdevminor(e);
        if (major > UINT32_MAX || minor > UINT32_MAX)
            return err_set(err, -EINVAL, "its device number is out of range");
        dev = makedev((unsigned) major, (unsigned) minor);
    }
    if (kind == S_IFCHR && dev == 0)
        return err_set(err, -EINVAL, "the character device 0/0 would be a whiteout");
    if (mknodat(u->parent, name, kind | 0600, dev) < 0)
        return err_set(err, -errno, "make the %s", kind == S_IFIFO ? "FIFO" : "device");
    return set_attributes_at(u->parent, name, e, err);
}

static int fill_dir(struct image_unpack *u, struct archive_entry *e, const char *name,
                    struct err *err) {
    auto_fd int fd = openat(u->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return err_set(err, -errno, "open the directory");
    return set_attributes(fd, e, err);
}

int image__unpack_node(struct image_unpack *u, struct image_tar *t, struct archive_entry *e,
                       const char *name, struct err *err) {
    switch (archive_entry_filetype(e)) {
    case AE_IFREG:
        return make_file(u, t, e, name, err);
    case AE_IFDIR:
        return fill_dir(u, e, name, err);
    case AE_IFLNK:
        return make_symlink(u, e, name, err);
    case AE_IFCHR:
        return make_special(u, e, S_IFCHR, name, err);
    case AE_IFBLK:
        return make_special(u, e, S_IFBLK, name, err);
    case AE_IFIFO:
        return make_special(u, e, S_IFIFO, name, err);
    default:
        return err_set(err, -EINVAL, "a kind of file that images do not have");
    }
}
