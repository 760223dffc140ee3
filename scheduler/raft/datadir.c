// SPDX-License-Identifier: Apache-2.0
#include "datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

#define MARKER "orlop-log"
#define MARKER_NEW "new\n"
#define MARKER_READY "ready\n"

/* Delete all but the marker: what a bootstrap left that never was complete. WIPE false: only count.
 */
static int other_files(int dirfd, bool wipe) {
    int dup = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    if (dup < 0) return -errno;
    DIR *d = fdopendir(dup);
    if (!d) {
        int e = -errno;
        fd_close(&dup);
        return e;
    }
    rewinddir(d);
    int count = 0;
    for (struct dirent *e = readdir(d); e && count >= 0; e = readdir(d)) {
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || str_starts(e->d_name, MARKER))
            continue;
        count++;
        if (wipe && unlinkat(dirfd, e->d_name, 0) < 0) count = -errno;
    }
    closedir(d);
    return count;
}

static int make_new(int dirfd, const char *dir, struct err *err) {
    int others = other_files(dirfd, false);
    if (others < 0) return err_set(err, others, "read %s", dir);
    if (others > 0)
        return err_say(
            err, -EEXIST,
            "%s has files but no '" MARKER "' marker: it is not an Orlop log, or the marker was "
            "deleted; move the directory away, or put the marker back with the word 'ready'",
            dir);
    int r = fd_replace_file(dirfd, MARKER, MARKER_NEW, sizeof MARKER_NEW - 1, 0600);
    return r < 0 ? err_set(err, r, "write %s/" MARKER, dir) : 0;
}

int datadir_open(const char *dir, bool *ret_bootstrap, struct err *err) {
    int r = fd_mkdirs(AT_FDCWD, dir, 0700);
    if (r < 0) return err_set(err, r, "make %s", dir);
    auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_set(err, -errno, "open %s", dir);
    auto_free char *text = NULL;
    r = fd_read_file(fd, MARKER, 64, &text, NULL);
    if (r == 0 && str_eq(text, MARKER_READY)) {
        *ret_bootstrap = false;
        return steal_fd(&fd);
    }
    if (r == 0 && !str_eq(text, MARKER_NEW))
        return err_say(err, -EBADMSG, "%s/" MARKER " is damaged: it should say 'ready'", dir);
    if (r < 0 && r != -ENOENT) return err_set(err, r, "read %s/" MARKER, dir);
    /* "new": nothing was ever acknowledged from here, the half-made log can go. */
    r = r == 0 ? other_files(fd, true) : make_new(fd, dir, err);
    if (r < 0) return err && err->code ? r : err_set(err, r, "empty %s", dir);
    *ret_bootstrap = true;
    return steal_fd(&fd);
}

int datadir_ready(int dirfd, struct err *err) {
    int r = fd_replace_file(dirfd, MARKER, MARKER_READY, sizeof MARKER_READY - 1, 0600);
    return r < 0 ? err_set(err, r, "write " MARKER) : 0;
}
