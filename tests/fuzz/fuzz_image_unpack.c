// SPDX-License-Identifier: Apache-2.0
/* A layer, compressed or not, into an empty directory of a file system of its own; beside it a
 * canary. Needs root; makes a mount namespace. */
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/sys.h"
#include "runtime/image/unpack.h"

static const char base[] = "/mnt";

static int setup(void) {
    ensure(unshare(CLONE_NEWNS) == 0);
    ensure(sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    ensure(sys_mount("fuzz", base, "tmpfs", 0, "size=64m") == 0);
    int dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ensure(dir >= 0 && fd_replace_file(dir, "canary", "alive", 5, 0644) == 0);
    return dir;
}

static void check_canary(int dir) {
    struct stat st;
    char text[6] = "";
    auto_fd int fd = openat(dir, "canary", O_RDONLY | O_CLOEXEC);
    ensure(fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink == 1 && (st.st_mode & 07777) == 0644);
    ensure(fd_read_full(fd, text, sizeof text) == 5 && text[0] == 'a');
}

static void unpack(int root, int in) {
    auto_stream struct image_stream *s = NULL;
    auto_tar struct image_tar *t = NULL;
    struct image_limits small = {.bytes = 8 << 20, .entries = 1000, .ratio = 100};
    struct image_budget budget;
    struct image_unpacked got;
    char hex[IMAGE_HEX_MAX];
    image__budget_init(&budget, &small, root);
    int r = image__stream_new(in, &budget, &s, NULL);
    if (r == 0) r = image__tar_from_stream(s, &t, NULL);
    if (r == 0) r = image__unpack(root, t, &budget, &got, NULL);
    if (r == 0) r = image__stream_end(s, 1 << 20, hex, NULL);
    (void) r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static int dir = -1;
    if (dir < 0) dir = setup();
    if (n > 1 << 16) return 0;
    auto_fd int in = memfd_create("layer", MFD_CLOEXEC);
    ensure(in >= 0 && fd_write_all(in, data, n) == 0 && lseek(in, 0, SEEK_SET) == 0);
    ensure(mkdirat(dir, "root", 0755) == 0);
    auto_fd int root = openat(dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unpack(root, in);
    check_canary(dir);
    ensure(fd_remove_tree(dir, "root") == 0);
    return 0;
}
