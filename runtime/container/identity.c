// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process.h"

int identity__lookup(struct process *p, int root, struct err *err) {
    int r = user_lookup(root, p->user ? p->user : "", &p->who, err);
    if (r < 0) return r;
    for (size_t i = 0; i < p->n_extra_groups; i++) {
        if (p->who.n_groups == USER_GROUPS_MAX)
            return err_say(err, -E2BIG, "more than %d groups", USER_GROUPS_MAX);
        p->who.groups[p->who.n_groups++] = p->extra_groups[i];
    }
    return 0;
}

/* Bits above what this kernel knows end the loop: EINVAL. */
static int drop_bounding(uint64_t keep, struct err *err) {
    for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (keep >> cap & 1) continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return err_set(err, -errno, "drop capability %lu", cap);
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return err_set(err, -errno, "clear the ambient capabilities");
    return 0;
}

static int set_capabilities(uint64_t caps, struct err *err) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t) caps, .permitted = (uint32_t) caps},
        {.effective = (uint32_t) (caps >> 32), .permitted = (uint32_t) (caps >> 32)},
    };
    if (syscall(SYS_capset, &head, data) < 0)
        return err_set(err, -errno,
                       "set the capabilities %#llx (does this machine give them to us?)",
                       (unsigned long long) caps);
    return 0;
}

int identity__switch(struct process *p, struct err *err) {
    int r = drop_bounding(p->capabilities, err);
    if (r < 0) return r;
    if (!p->no_new_privs && (r = confine__filter(p, err)) < 0) return r;
    if (setgroups(p->who.n_groups, p->who.groups) < 0)
        return err_set(err, -errno, "set %zu supplementary groups", p->who.n_groups);
    if (setresgid(p->who.gid, p->who.gid, p->who.gid) < 0)
        return err_set(err, -errno, "become group %u", p->who.gid);
    /* The kernel clears the permitted set on the way from root unless told; capset comes after. */
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return err_set(err, -errno, "keep capabilities");
    if (setresuid(p->who.uid, p->who.uid, p->who.uid) < 0)
        return err_set(err, -errno, "become user %u", p->who.uid);
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) return err_set(err, -errno, "keep capabilities");
    if ((r = set_capabilities(p->capabilities, err)) < 0) return r;
    if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set(err, -errno, "set no_new_privs");
    /* A change of ids may have made it dumpable again. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return err_set(err, -errno, "become undumpable");
    return 0;
}
