// SPDX-License-Identifier: Apache-2.0
#include "words.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "mem.h"
#include "str.h"

/* --- signals --- */

int words_signal(const char *name, struct err *err) {
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

const char *words_of_capability(unsigned number) {
    return cap_names[number];
}

int words_capability(const char *name, uint64_t *ret, struct err *err) {
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

/* --- resource limits --- */

const char *words_of_rlimit(unsigned resource) {
    static const char *const names[RLIM_NLIMITS] = {
        [RLIMIT_AS] = "as",           [RLIMIT_CORE] = "core",
        [RLIMIT_CPU] = "cpu",         [RLIMIT_DATA] = "data",
        [RLIMIT_FSIZE] = "fsize",     [RLIMIT_LOCKS] = "locks",
        [RLIMIT_MEMLOCK] = "memlock", [RLIMIT_MSGQUEUE] = "msgqueue",
        [RLIMIT_NICE] = "nice",       [RLIMIT_NOFILE] = "nofile",
        [RLIMIT_NPROC] = "nproc",     [RLIMIT_RSS] = "rss",
        [RLIMIT_RTPRIO] = "rtprio",   [RLIMIT_RTTIME] = "rttime",
        [RLIMIT_STACK] = "stack",     [RLIMIT_SIGPENDING] = "sigpending",
    };
    return resource < RLIM_NLIMITS ? names[resource] : "unknown";
}

int words_rlimit(const char *name, struct err *err) {
    for (unsigned i = 0; i < RLIM_NLIMITS; i++)
        if (str_eq(name, words_of_rlimit(i))) return (int) i;
    return err_say(err, -EINVAL, "there is no resource limit \"%.64s\"", name);
}

/* --- users --- */

int words_uid(const char *text, uint32_t *ret) {
    return str_to_u32(text, UINT32_MAX - 1,
                      ret); /* 4294967295 means "leave as it is" to setresuid */
}

bool words_is_number(const char *s) {
    return *s && s[strspn(s, "0123456789")] == 0;
}

/* The first character keeps numbers with a sign out. */
bool words_is_user_name(const char *s) {
    if (!*s || strchr("-+~", *s)) return false;
    for (; *s; s++)
        if ((unsigned char) *s <= ' ' || *s == 127 || strchr(":,/", *s)) return false;
    return true;
}

static int split_word(const char *from, size_t n, char to[static WORDS_USER_MAX]) {
    if (n == 0 || n >= WORDS_USER_MAX) return -EINVAL;
    memcpy(to, from, n);
    to[n] = 0;
    uint32_t id;
    if (words_is_number(to)) return words_uid(to, &id) < 0 ? -EINVAL : 0;
    return words_is_user_name(to) ? 0 : -EINVAL;
}

int words_user(const char *text, struct words_user *ret, struct err *err) {
    struct words_user w = {.user = ""};
    const char *colon = strchr(text, ':');
    size_t n = strcspn(text, ":");
    int r = n ? split_word(text, n, w.user) : 0;
    if (r == 0 && colon) r = split_word(colon + 1, strlen(colon + 1), w.group);
    if (r < 0)
        return err_say(err, -EINVAL, "user \"%.64s\" is not NAME, UID, NAME:GROUP or UID:GID",
                       text);
    *ret = w;
    return 0;
}
