// SPDX-License-Identifier: Apache-2.0
/* A service's own seccomp profile, compiled. It comes over the wire: every word is looked up, what
 * has no meaning here is an error. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "manifest.pb-c.h"
#include "prepare.h"
#include "process.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "runtime/base/sys.h"
#include "runtime/base/words.h"

enum { ARGS = 6 };

/* --- words --- */

static int action_of(const char *word, uint32_t errno_ret, uint32_t *ret, struct err *err) {
    const uint16_t code = (uint16_t) (errno_ret ? errno_ret : EPERM);
    const struct {
        const char *word;
        uint32_t action;
    } t[] = {
        {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
        {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(code)},
        {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
        {"SCMP_ACT_LOG", SCMP_ACT_LOG},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        if (!str_eq(word, t[i].word)) continue;
        *ret = t[i].action;
        return 0;
    }
    return err_say(err, -EINVAL, "seccomp action %.60s is not known", word);
}

static int operator_of(const char *word, enum scmp_compare *ret, struct err *err) {
    static const struct {
        const char *word;
        enum scmp_compare op;
    } t[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
             {"SCMP_CMP_LT", SCMP_CMP_LT},
             {"SCMP_CMP_LE", SCMP_CMP_LE},
             {"SCMP_CMP_EQ", SCMP_CMP_EQ},
             {"SCMP_CMP_GE", SCMP_CMP_GE},
             {"SCMP_CMP_GT", SCMP_CMP_GT},
             {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
    for (size_t i = 0; i < array_len(t); i++) {
        if (!str_eq(word, t[i].word)) continue;
        *ret = t[i].op;
        return 0;
    }
    return err_say(err, -EINVAL, "seccomp operator %.60s is not known", word);
}

/* --- does a rule concern this machine and these capabilities? --- */

static const char *machine(void) {
    switch (seccomp_arch_native()) {
    case SCMP_ARCH_X86_64:
        return "amd64";
    case SCMP_ARCH_AARCH64:
        return "arm64";
    case SCMP_ARCH_RISCV64:
        return "riscv64";
    case SCMP_ARCH_PPC64LE:
        return "ppc64le";
    case SCMP_ARCH_S390X:
        return "s390x";
    default:
        return "";
    }
}

static uint32_t kernel(void) {
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) < 0 || sscanf(u.release, "%5u.%5u", &major, &minor) != 2) return 0;
    return major << 16 | minor;
}

static size_t how_many_held(const Orlop__SeccompCondition *c, uint64_t caps) {
    size_t n = 0;
    uint64_t bit;
    for (size_t i = 0; i < c->n_caps; i++)
        if (words_capability(c->caps[i], &bit, NULL) == 0 && (caps & bit) == bit) n++;
    return n;
}

static bool names_machine(const Orlop__SeccompCondition *c) {
    for (size_t i = 0; i < c->n_arches; i++)
        if (str_eq(c->arches[i], machine())) return true;
    return false;
}

static bool concerns(const Orlop__SeccompRule *u, uint64_t caps) {
    const Orlop__SeccompCondition *in = u->includes, *out = u->excludes;
    if (in && how_many_held(in, caps) < in->n_caps) return false;
    if (in && in->n_arches && !names_machine(in)) return false;
    if (in && in->min_kernel > kernel()) return false;
    if (!out) return true;
    bool old = !out->min_kernel || kernel() < out->min_kernel;
    return !how_many_held(out, caps) && !names_machine(out) && old;
}

/* --- rules --- */

/* Comparisons of one rule must all hold; of the same argument twice any one is enough, each a rule
 * of its own: as other runtimes read it. */
static bool has_repeats(const struct scmp_arg_cmp *cmp, size_t n) {
    unsigned seen = 0;
    for (size_t i = 0; i < n; i++) {
        if (seen >> cmp[i].arg & 1) return true;
        seen |= 1U << cmp[i].arg;
    }
    return false;
}

static int add_call(scmp_filter_ctx ctx, uint32_t action, int nr, const struct scmp_arg_cmp *cmp,
                    size_t n) {
    int r = 0;
    if (!has_repeats(cmp, n)) return seccomp_rule_add_array(ctx, action, nr, (unsigned) n, cmp);
    for (size_t i = 0; i < n && (r == 0 || r == -EEXIST); i++)
        r = seccomp_rule_add_array(ctx, action, nr, 1, &cmp[i]);
    return r;
}

static int compare(const Orlop__SeccompRule *u, struct scmp_arg_cmp cmp[static ARGS],
                   struct err *err) {
    if (u->n_args > ARGS) return err_say(err, -EINVAL, "a seccomp rule has too many arguments");
    for (size_t i = 0; i < u->n_args; i++) {
        const Orlop__SeccompArg *a = u->args[i];
        enum scmp_compare op = _SCMP_CMP_MIN;
        int r = operator_of(a->op, &op, err);
        if (r < 0) return r;
        if (a->index >= ARGS) return err_say(err, -EINVAL, "a seccomp argument has no such number");
        cmp[i] = (struct scmp_arg_cmp){a->index, op, a->value, a->value_two};
    }
    return 0;
}

static int add_rule(scmp_filter_ctx ctx, uint32_t usual, const Orlop__SeccompRule *u,
                    struct err *err) {
    struct scmp_arg_cmp cmp[ARGS] = {{0}};
    uint32_t action;
    int r = action_of(u->action, u->errno_ret, &action, err);
    if (r == 0) r = compare(u, cmp, err);
    if (r < 0 || action == usual) return r; /* libseccomp refuses what changes nothing */
    for (size_t i = 0; i < u->n_names; i++) {
        int nr = seccomp_syscall_resolve_name(u->names[i]);
        if (nr < 0) continue; /* not of this machine */
        r = add_call(ctx, action, nr, cmp, u->n_args);
        if (r < 0 && r != -EEXIST) return err_set(err, r, "seccomp rule for %.60s", u->names[i]);
    }
    return 0;
}

static int add_rules(scmp_filter_ctx ctx, uint32_t usual, const Orlop__SeccompProfile *p,
                     uint64_t caps, struct err *err) {
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0) r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r < 0) return err_set(err, r, "seccomp profile");
    for (size_t i = 0; i < p->n_rules && r == 0; i++)
        if (concerns(p->rules[i], caps)) r = add_rule(ctx, usual, p->rules[i], err);
    return r;
}

/* --- program --- */

static int write_program(scmp_filter_ctx ctx, struct err *err) {
    auto_fd int fd = sys_memfd_create("orlop-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return err_set(err, fd, "seccomp program");
    int r = seccomp_export_bpf(ctx, fd);
    if (r < 0) return err_set(err, r, "compile the seccomp profile");
    off_t size = lseek(fd, 0, SEEK_END);
    if (size > (off_t) (PROCESS_FILTER_MAX * sizeof(struct sock_filter)))
        return err_say(err, -E2BIG, "the seccomp profile is too large for the kernel");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        return err_set(err, -errno, "seal the seccomp program");
    return steal_fd(&fd);
}

int prepare_seccomp_profile(const Orlop__SeccompProfile *p, uint64_t capabilities,
                            struct err *err) {
    uint32_t usual;
    int r = action_of(p->default_action, p->default_errno, &usual, err);
    if (r < 0) return r;
    scmp_filter_ctx ctx = seccomp_init(usual);
    if (!ctx) return err_set(err, -ENOMEM, "seccomp profile");
    r = add_rules(ctx, usual, p, capabilities, err);
    if (r == 0) r = write_program(ctx, err);
    seccomp_release(ctx);
    return r;
}
