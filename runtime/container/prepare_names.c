// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "limits.h"
#include "prepare.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

/* --- capabilities --- */

static const char *const cap_names[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};
_Static_assert(array_len(cap_names) == CAP_LAST_CAP + 1, "one name per capability");

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

/* The bits of a name: one, or all of them for ALL. */
static int cap_bits(const char *name, uint64_t *ret, struct err *err) {
    if (strcasecmp(name, "ALL") == 0) {
        *ret = ~UINT64_C(0);
        return 0;
    }
    const char *bare = strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;
    for (size_t i = 0; i < array_len(cap_names); i++) {
        if (strcasecmp(bare, cap_names[i]) != 0) continue;
        *ret = UINT64_C(1) << i;
        return 0;
    }
    return err_say(err, -EINVAL, "there is no capability \"%.64s\"", name);
}

static int collect(char *const *names, size_t n, uint64_t *ret, struct err *err) {
    uint64_t bits, all = 0;
    for (size_t i = 0; i < n; i++) {
        int r = cap_bits(names[i], &bits, err);
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
                           cap_names[i]);
    if (minus == all)
        *ret = plus & have;
    else
        *ret = (default_caps | plus) & ~minus & have;
    return 0;
}

/* --- signals --- */

int prepare_signal(const char *name, struct err *err) {
    uint32_t n;
    if (str_to_u32(name, (uint32_t) SIGRTMAX, &n) == 0 && n > 0) return (int) n;
    const char *bare = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
    for (int i = 1; i < SIGRTMIN; i++) {
        const char *abbrev = sigabbrev_np(i);
        if (abbrev && strcasecmp(bare, abbrev) == 0) return i;
    }
    if (strcasecmp(bare, "IOT") == 0) return SIGIOT;
    if (strcasecmp(bare, "CLD") == 0) return SIGCHLD;
    if (strcasecmp(bare, "POLL") == 0 || strcasecmp(bare, "IO") == 0) return SIGIO;
    uint32_t span = (uint32_t) (SIGRTMAX - SIGRTMIN);
    if (strcasecmp(bare, "RTMIN") == 0) return SIGRTMIN;
    if (strcasecmp(bare, "RTMAX") == 0) return SIGRTMAX;
    if (strncasecmp(bare, "RTMIN+", 6) == 0 && str_to_u32(bare + 6, span, &n) == 0)
        return SIGRTMIN + (int) n;
    if (strncasecmp(bare, "RTMAX-", 6) == 0 && str_to_u32(bare + 6, span, &n) == 0)
        return SIGRTMAX - (int) n;
    return err_say(err, -EINVAL, "there is no signal \"%.64s\"", name);
}

/* --- resource limits --- */

int prepare_rlimit(const char *name, struct err *err) {
    for (unsigned i = 0; i < RLIM_NLIMITS; i++)
        if (str_eq(name, limits_name(i))) return (int) i;
    return err_say(err, -EINVAL, "there is no resource limit \"%.64s\"", name);
}
