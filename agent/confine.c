// SPDX-License-Identifier: Apache-2.0
#include "agent/confine.h"

#include "runtime/base/mem.h"
#include "runtime/container/prepare.h"

/* Privileged is all that this machine can give, less what the service itself drops. */
int confine_caps(const Orlop__Service *s, uint64_t *ret, struct err *err) {
    static char all[] = "ALL";
    char *every[] = {all};
    char *const *add = s->privileged ? every : s->cap_add;
    return prepare_caps(add, s->privileged ? 1 : s->n_cap_add, s->cap_drop, s->n_cap_drop, ret,
                        err);
}

int confine_filter(const Orlop__Service *s, uint64_t capabilities, int *ret, struct err *err) {
    *ret = -1;
    if (s->seccomp_unconfined || (s->privileged && !s->seccomp_profile)) return 0;
    int fd = s->seccomp_profile ? prepare_seccomp_profile(s->seccomp_profile, capabilities, err)
                                : prepare_seccomp(capabilities, err);
    if (fd < 0) return err_wrap(err, fd, "seccomp profile");
    *ret = fd;
    return 0;
}

bool confine_no_new_privs(const Orlop__Service *s) {
    return !s->new_privileges && !s->privileged;
}
