// SPDX-License-Identifier: Apache-2.0
/* An image's /etc/passwd (which stands for /etc/group, too), and the user it was started with: the
 * first line of the input. What is found obeys the limits; digits are never looked up as a name. The
 * same bytes as what the kernel shows in /proc: mounts of cgroups, limits. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/container/cgroup_tree.h"
#include "runtime/container/limits.h"
#include "runtime/container/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/dev/shm/orlop-fuzz-user-XXXXXX";

static void clean_up(void) {
    if (fd_remove_tree(AT_FDCWD, dir) < 0) abort();
}

static int make_root(void) {
    ensure(mkdtemp(dir));
    atexit(clean_up);
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ensure(root >= 0 && mkdirat(root, "etc", 0700) == 0);
    ensure(symlinkat("passwd", root, "etc/group") == 0);
    return root;
}

static void proc(const uint8_t *data, size_t size) {
    auto_free char *text = mem_strndup((const char *) data, size);
    struct rlimit limits[RLIM_NLIMITS];
    struct cgroup_forest f;
    if (!text) return;
    (void) !limits_parse(text, limits);
    cgroup__parse_mountinfo(text, &f);
    for (size_t i = 0; i < f.n_v1; i++) ensure(memchr(f.v1[i].path, 0, sizeof f.v1[i].path));
    (void) cgroup__v1_with(&f, "memory");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    proc(data, size);
    static int root = -1;
    if (root < 0) root = make_root();
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    char user[600];
    if (!end || (size_t) (end - data) >= sizeof user) return 0;
    memcpy(user, data, (size_t) (end - data));
    user[end - data] = 0;
    int fd = openat(root, "etc/passwd", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ensure(fd >= 0 && fd_write_all(fd, end, size - (size_t) (end - data)) == 0);
    fd_close(&fd);
    struct user_identity id;
    struct err e;
    if (user_lookup(root, user, &id, &e) < 0) return 0;
    ensure(id.uid != UINT32_MAX && id.gid != UINT32_MAX && id.n_groups <= USER_GROUPS_MAX);
    ensure(id.home[0] == '/' && memchr(id.home, 0, sizeof id.home));
    uint32_t number;
    user[strcspn(user, ":")] = 0;
    if (words_uid(user, &number) == 0) ensure(id.uid == number);
    return 0;
}
