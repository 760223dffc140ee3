// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#include "prepare.h"
#include "runtime/base/words.h"

#define CAP(name) (UINT64_C(1) << CAP_##name)
static const uint64_t default_caps = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FSETID) | CAP(FOWNER) |
                                     CAP(MKNOD) | CAP(NET_RAW) | CAP(SETGID) | CAP(SETUID) |
                                     CAP(SETFCAP) | CAP(SETPCAP) | CAP(NET_BIND_SERVICE) |
                                     CAP(SYS_CHROOT) | CAP(KILL) | CAP(AUDIT_WRITE);

/* What this machine lets us give away: a nested or hardened host may lack some. */
static uint64_t available_caps(void) {
    uint64_t caps = 0;
    for (unsigned long i = 0; i <= CAP_LAST_CAP; i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) caps |= UINT64_C(1) << i;
    return caps;
}

static int collect(char *const *names, size_t n, uint64_t *ret, struct err *err) {
    uint64_t bits, all = 0;
    for (size_t i = 0; i < n; i++) {
        int r = words_capability(names[i], &bits, err);
        if (r < 0) return r;
        all |= bits;
    }
    *ret = all;
    return 0;
}

/* The usual reading of add and drop: ALL in one of them is the base that the other's names change.
 */
int prepare_caps(char *const *add, size_t n_add, char *const *drop, size_t n_drop, uint64_t *ret,
                 struct err *err) {
    uint64_t plus, minus, have = available_caps();
    int r = collect(add, n_add, &plus, err);
    if (r == 0) r = collect(drop, n_drop, &minus, err);
    if (r < 0) return r;
    const uint64_t all = ~UINT64_C(0);
    for (unsigned i = 0; plus != all && i <= CAP_LAST_CAP; i++)
        if ((plus & ~have) >> i & 1)
            return err_say(err, -EINVAL, "this machine cannot give the capability %s",
                           words_of_capability(i));
    if (minus == all)
        *ret = plus & have;
    else
        *ret = (default_caps | plus) & ~minus & have;
    return 0;
}
