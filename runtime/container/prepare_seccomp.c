// SPDX-License-Identifier: Apache-2.0
/* The default profile, compiled. An allow list: what is not in seccomp_table.c answers EPERM, what
 * is newer than all of it ENOSYS, so that a libc falls back to the older call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "prepare.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "seccomp_table.h"

enum { KEPT_MAX = 64, PROGRAM_MAX = 4096 * sizeof(struct sock_filter), X32_BIT = 0x40000000 };

#define NEW_NAMESPACES                                                                             \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)

/* --- rules --- */

struct profile {
    scmp_filter_ctx ctx;
    uint64_t caps;
    int newest; /* the highest number that has a rule */
};

/* -1 when this machine has no such call (or only by another one's number). */
static int number_of(const char *name) {
    int nr = seccomp_syscall_resolve_name(name);
    return nr < 0 ? -1 : nr;
}

static void saw(struct profile *p, int nr) {
    if (nr > p->newest) p->newest = nr;
}

static int allow_groups(struct profile *p) {
    int r = 0;
    for (unsigned i = 0; i < seccomp_n_groups; i++) {
        const struct seccomp_group *g = &seccomp_groups[i];
        for (size_t k = 0; g->names[k]; k++) {
            int nr = number_of(g->names[k]);
            if (nr < 0) continue;
            saw(p, nr);
            if (g->any_of && !(g->any_of & p->caps)) continue;
            r = seccomp_rule_add(p->ctx, SCMP_ACT_ALLOW, nr, 0);
            if (r < 0 && r != -EEXIST) return r; /* a call may be in several groups */
        }
    }
    return 0;
}

/* New namespaces need SYS_ADMIN. clone3 hides its flags behind a pointer: ENOSYS sends libc to
 * clone. */
static int allow_clone(struct profile *p) {
    if (p->caps >> CAP_SYS_ADMIN & 1) return 0; /* the table allows both */
    int nr = number_of("clone"), r = 0;
    if (nr >= 0)
        r = seccomp_rule_add(p->ctx, SCMP_ACT_ALLOW, nr, 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));
    nr = number_of("clone3");
    if (r == 0 && nr >= 0) r = seccomp_rule_add(p->ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
    return r;
}

/* Families below AF_ALG (38): that leaves out AF_VSOCK (40), which reaches the hypervisor, as well,
 * and some that no container has a use for. One comparison over all 64 bits, not two `!=`: those
 * would be joined by "and", and the kernel takes only the lower half for the family. */
static int allow_sockets(struct profile *p) {
    int nr = number_of("socket");
    if (nr < 0) return 0;
    return seccomp_rule_add(p->ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_LT, AF_ALG, 0));
}

static int allow_personality(struct profile *p) {
    static const scmp_datum_t harmless[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
    int nr = number_of("personality"), r = 0;
    for (size_t i = 0; r == 0 && nr >= 0 && i < array_len(harmless); i++)
        r = seccomp_rule_add(p->ctx, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_EQ, harmless[i], 0));
    return r;
}

static int add_rules(struct profile *p) {
    /* A foreign architecture has other numbers and other ways (socketcall): not for a container. */
    int r = seccomp_attr_set(p->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(p->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: loads faster */
    if (r == 0) r = allow_groups(p);
    if (r == 0) r = allow_clone(p);
    if (r == 0) r = allow_sockets(p);
    return r == 0 ? allow_personality(p) : r;
}

/* --- program --- */

/* libseccomp has no rule for "all above N"; this goes before its program. */
static int write_prefix(int fd, int newest) {
    const uint32_t nosys = SECCOMP_RET_ERRNO | ENOSYS;
    const struct sock_filter prefix[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0), /* x32: killed below */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t) newest, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, nosys),
    };
    return fd_write_all(fd, prefix, sizeof prefix);
}

static int write_program(const struct profile *p, int fd) {
    auto_fd int raw = sys_memfd_create("orlop-seccomp-raw", MFD_CLOEXEC);
    if (raw < 0) return raw;
    int r = seccomp_export_bpf(p->ctx, raw);
    if (r < 0) return r;
    if (lseek(raw, 0, SEEK_SET) < 0) return -errno;
    auto_free char *text = mem_alloc(PROGRAM_MAX);
    if (!text) return -ENOMEM;
    ssize_t n = fd_read_full(raw, text, PROGRAM_MAX);
    if (n < 0) return (int) n;
    r = write_prefix(fd, p->newest);
    return r < 0 ? r : fd_write_all(fd, text, (size_t) n);
}

static int compile(uint64_t caps, struct err *err) {
    struct profile p = {.ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM)), .caps = caps, .newest = 0};
    if (!p.ctx) return err_set(err, -ENOMEM, "seccomp profile");
    auto_fd int fd = sys_memfd_create("orlop-seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r = fd < 0 ? fd : add_rules(&p);
    if (r == 0) r = write_program(&p, fd);
    seccomp_release(p.ctx);
    if (r == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        r = -errno;
    return r < 0 ? err_set(err, r, "compile the seccomp profile") : steal_fd(&fd);
}

/* --- one program per set of capabilities that makes a difference --- */

static struct {
    pthread_mutex_t lock;
    size_t n;
    struct {
        uint64_t caps;
        int fd;
    } kept[KEPT_MAX];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t relevant(uint64_t caps) {
    uint64_t mask = 0;
    for (unsigned i = 0; i < seccomp_n_groups; i++) mask |= seccomp_groups[i].any_of;
    return caps & mask;
}

static int duplicate(int fd, struct err *err) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? err_set(err, -errno, "seccomp program") : copy;
}

static int find_or_compile(uint64_t caps, struct err *err) {
    for (size_t i = 0; i < cache.n; i++)
        if (cache.kept[i].caps == caps) return duplicate(cache.kept[i].fd, err);
    auto_fd int fd = compile(caps, err);
    if (fd < 0 || cache.n == KEPT_MAX) return steal_fd(&fd); /* many odd sets: compiled each time */
    int copy = duplicate(fd, err);
    if (copy < 0) return copy;
    cache.kept[cache.n].caps = caps;
    cache.kept[cache.n++].fd = steal_fd(&fd);
    return copy;
}

int prepare_seccomp(uint64_t capabilities, struct err *err) {
    (void) pthread_mutex_lock(&cache.lock);
    int r = find_or_compile(relevant(capabilities), err);
    (void) pthread_mutex_unlock(&cache.lock);
    return r;
}
