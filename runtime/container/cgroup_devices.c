// SPDX-License-Identifier: Apache-2.0
/* Which devices a sandbox may open: the harmless ones. On v1 a list of text lines; on v2 the same
 * list as a BPF program, built by hand (six instructions and a few per rule), loaded once and
 * attached to every group. It stays attached when we end. */
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup_ops.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { ANY = -1, RULE_INSNS_MAX = 7, HEAD_INSNS = 6 };

/* Making any node is harmless, opening it is not. */
static const struct cgroup_device rules[] = {
    {'c', ANY, ANY, "m"},
    {'b', ANY, ANY, "m"},
    {'c', 1, 3, "rwm"} /* null */,
    {'c', 1, 5, "rwm"} /* zero */,
    {'c', 1, 7, "rwm"} /* full */,
    {'c', 1, 8, "rwm"} /* random */,
    {'c', 1, 9, "rwm"} /* urandom */,
    {'c', 5, 0, "rwm"} /* tty */,
    {'c', 5, 2, "rwm"} /* ptmx */,
    {'c', 136, ANY, "rwm"} /* pts */,
};

/* --- v1 --- */

static void number(char text[static 12], int n) {
    if (n == ANY)
        memcpy(text, "*", 2);
    else
        snprintf(text, 12, "%d", n);
}

/* The kernel reads "a" as everything, whatever the numbers and letters behind it say. */
static int allow(int dir, const struct cgroup_device *d, struct err *err) {
    char major[12], minor[12];
    int r = 0;
    number(major, d->major);
    number(minor, d->minor);
    for (const char *type = "bc"; r == 0 && *type; type++)
        if (d->type == 'a' || d->type == *type)
            r = cgroup__write(dir, "devices.allow", err, "%c %s:%s %s", *type, major, minor,
                              d->access);
    return r;
}

int cgroup__v1_devices(int dir, const struct cgroup_device *more, size_t n, struct err *err) {
    int r = cgroup__write(dir, "devices.deny", err, "a");
    for (size_t i = 0; r == 0 && i < array_len(rules); i++) r = allow(dir, &rules[i], err);
    for (size_t i = 0; r == 0 && i < n; i++) r = allow(dir, &more[i], err);
    return r;
}

/* --- v2 --- */

struct program {
    struct bpf_insn
        insns[HEAD_INSNS + RULE_INSNS_MAX * (array_len(rules) + CGROUP_DEVICES_MAX) + 2];
    uint32_t n;
};

enum { R0, R1, R_TYPE, R_ACCESS, R_MAJOR, R_MINOR };

static void emit(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int16_t off,
                 int32_t imm) {
    ensure(p->n < array_len(p->insns));
    struct bpf_insn *i = &p->insns[p->n++];
    *i = (struct bpf_insn){.code = code, .off = off, .imm = imm};
    i->dst_reg = dst & 15u;
    i->src_reg = src & 15u;
}

static void emit_return(struct program *p, int32_t value) {
    emit(p, BPF_ALU | BPF_MOV | BPF_K, R0, 0, 0, value);
    emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Go to the next rule unless REG is VALUE; the way is not known yet. */
static void emit_unless(struct program *p, uint8_t reg, int32_t value) {
    emit(p, BPF_JMP32 | BPF_JNE | BPF_K, reg, 0, 0, value);
}

static int32_t access_bits(const char *access) {
    int32_t bits = 0;
    for (; *access; access++)
        bits |= *access == 'm'   ? BPF_DEVCG_ACC_MKNOD
                : *access == 'r' ? BPF_DEVCG_ACC_READ
                                 : BPF_DEVCG_ACC_WRITE;
    return bits;
}

/* Rules add up, as they do on v1: each takes what it gives off what was asked for, and when nothing
 * is left all of it is allowed. */
static void emit_rule(struct program *p, const struct cgroup_device *r) {
    uint32_t first = p->n;
    int32_t rest = 7 & ~access_bits(r->access);
    if (r->type != 'a')
        emit_unless(p, R_TYPE, r->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK);
    if (r->major != ANY) emit_unless(p, R_MAJOR, r->major);
    if (r->minor != ANY) emit_unless(p, R_MINOR, r->minor);
    if (rest) {
        emit(p, BPF_ALU | BPF_AND | BPF_K, R_ACCESS, 0, 0, rest);
        emit_unless(p, R_ACCESS, 0);
    }
    emit_return(p, 1);
    for (uint32_t i = first; i < p->n; i++)
        if (p->insns[i].code == (BPF_JMP32 | BPF_JNE | BPF_K))
            p->insns[i].off = (int16_t) (p->n - i - 1);
}

/* The context: u32 access << 16 | type, u32 major, u32 minor. */
static void build(struct program *p, const struct cgroup_device *more, size_t n) {
    p->n = 0;
    emit(p, BPF_LDX | BPF_MEM | BPF_W, R_TYPE, R1, 0, 0);
    emit(p, BPF_ALU | BPF_MOV | BPF_X, R_ACCESS, R_TYPE, 0, 0);
    emit(p, BPF_ALU | BPF_AND | BPF_K, R_TYPE, 0, 0, 0xffff);
    emit(p, BPF_ALU | BPF_RSH | BPF_K, R_ACCESS, 0, 0, 16);
    emit(p, BPF_LDX | BPF_MEM | BPF_W, R_MAJOR, R1, 4, 0);
    emit(p, BPF_LDX | BPF_MEM | BPF_W, R_MINOR, R1, 8, 0);
    for (size_t i = 0; i < array_len(rules); i++) emit_rule(p, &rules[i]);
    for (size_t i = 0; i < n; i++) emit_rule(p, &more[i]);
    emit_return(p, 0);
}

/* A descriptor, or a negative errno. */
static int load(const struct cgroup_device *more, size_t n) {
    struct program p;
    build(&p, more, n);
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    a.insns = (uint64_t) (uintptr_t) p.insns;
    a.insn_cnt = p.n;
    a.license = (uint64_t) (uintptr_t) "Apache-2.0";
    memcpy(a.prog_name, "orlop_dev", sizeof "orlop_dev");
    long r = syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a);
    return (int) (r < 0 ? -errno : r); /* the kernel made it CLOEXEC */
}

static int usual = -EBADF; /* of the default rules: one for all */

static void load_usual(void) {
    usual = load(NULL, 0);
}

int cgroup__bpf_devices(int dir, const struct cgroup_device *more, size_t n, struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (n > CGROUP_DEVICES_MAX) return err_set(err, -E2BIG, "devices");
    (void) pthread_once(&once, load_usual);
    auto_fd int own = n ? load(more, n) : -1;
    int program = n ? own : usual;
    if (program < 0) return err_set(err, program, "load the device program");
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.target_fd = (uint32_t) dir;
    a.attach_bpf_fd = (uint32_t) program;
    a.attach_type = BPF_CGROUP_DEVICE;
    a.attach_flags = BPF_F_ALLOW_MULTI;
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof a) < 0)
        return err_set(err, -errno, "attach the device program");
    return 0;
}
