// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"

/* A session keyring of its own, else the workload could read what ours holds. A kernel without
 * keys, or one that is out of quota, has nothing to leak or denies keyctl by the filter anyway. */
int confine__keyring(struct err *err) {
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0) return 0;
    int e = errno;
    if (e == ENOSYS || e == EDQUOT || e == EPERM || e == EACCES) return 0;
    return err_set(err, -e, "make a session keyring");
}

int confine__filter(const struct process *p, struct err *err) {
    if (p->seccomp_fd < 0) return 0;
    struct stat st;
    if (fstat(p->seccomp_fd, &st) < 0) return err_set(err, -errno, "seccomp program");
    size_t n = (size_t) st.st_size / sizeof(struct sock_filter);
    if (st.st_size <= 0 || (size_t) st.st_size % sizeof(struct sock_filter) ||
        n > PROCESS_FILTER_MAX)
        return err_say(err, -EBADMSG, "the seccomp program has %lld bytes", (long long) st.st_size);
    struct sock_filter *f =
        mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, p->seccomp_fd, 0);
    if (f == MAP_FAILED) return err_set(err, -errno, "map the seccomp program");
    struct sock_fprog prog = {.len = (unsigned short) n, .filter = f};
    int r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0 ? -errno : 0;
    (void) munmap(f, (size_t) st.st_size); /* gone with the exec in any case */
    return r < 0 ? err_set(err, r, "load the seccomp program") : 0;
}
