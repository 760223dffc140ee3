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

enum { ANY = -1, RULE_INSNS_MAX = 9, HEAD_INSNS = 6 };

struct device_rule {
    char type; /* 'c', 'b' */
    int major, minor;
    const char *access;
};

/* Making any node is harmless, opening it is not. */
static const struct device_rule rules[] = {
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

int cgroup__v1_devices(int dir, struct err *err) {
    int r = cgroup__write(dir, "devices.deny", err, "a");
    for (size_t i = 0; r == 0 && i < array_len(rules); i++) {
        char major[12], minor[12];
        number(major, rules[i].major);
        number(minor, rules[i].minor);
        r = cgroup__write(dir, "devices.allow", err, "%c %s:%s %s", rules[i].type, major, minor,
                          rules[i].access);
    }
    return r;
}

/* --- v2 --- */

struct program {
    struct bpf_insn insns[HEAD_INSNS + RULE_INSNS_MAX * array_len(rules) + 2];
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

static void emit_rule(struct program *p, const struct device_rule *r) {
    uint32_t first = p->n;
    int32_t denied = 7 & ~access_bits(r->access);
    emit_unless(p, R_TYPE, r->type == 'c' ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK);
    if (r->major != ANY) emit_unless(p, R_MAJOR, r->major);
    if (r->minor != ANY) emit_unless(p, R_MINOR, r->minor);
    if (denied) { /* asked for more than this rule gives? */
        emit(p, BPF_ALU | BPF_MOV | BPF_X, R0, R_ACCESS, 0, 0);
        emit(p, BPF_ALU | BPF_AND | BPF_K, R0, 0, 0, denied);
        emit_unless(p, R0, 0);
    }
    emit_return(p, 1);
    for (uint32_t i = first; i < p->n; i++)
        if (p->insns[i].code == (BPF_JMP32 | BPF_JNE | BPF_K))
            p->insns[i].off = (int16_t) (p->n - i - 1);
}

/* The context: u32 access << 16 | type, u32 major, u32 minor. */
static void build(struct program *p) {
    p->n = 0;
    emit(p, BPF_LDX | BPF_MEM | BPF_W, R_TYPE, R1, 0, 0);
    emit(p, BPF_ALU | BPF_MOV | BPF_X, R_ACCESS, R_TYPE, 0, 0);
    emit(p, BPF_ALU | BPF_AND | BPF_K, R_TYPE, 0, 0, 0xffff);
    emit(p, BPF_ALU | BPF_RSH | BPF_K, R_ACCESS, 0, 0, 16);
    emit(p, BPF_LDX | BPF_MEM | BPF_W, R_MAJOR, R1, 4, 0);
    emit(p, BPF_LDX | BPF_MEM | BPF_W, R_MINOR, R1, 8, 0);
    for (size_t i = 0; i < array_len(rules); i++) emit_rule(p, &rules[i]);
    emit_return(p, 0);
}

static int loaded = -EBADF;

static void load_once(void) {
    struct program p;
    build(&p);
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    a.insns = (uint64_t) (uintptr_t) p.insns;
    a.insn_cnt = p.n;
    a.license = (uint64_t) (uintptr_t) "Apache-2.0";
    memcpy(a.prog_name, "orlop_dev", sizeof "orlop_dev");
    long r = syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a);
    loaded = (int) (r < 0 ? -errno : r); /* the kernel made it CLOEXEC */
}

int cgroup__bpf_devices(int dir, struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void) pthread_once(&once, load_once);
    if (loaded < 0) return err_set(err, loaded, "load the device program");
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.target_fd = (uint32_t) dir;
    a.attach_bpf_fd = (uint32_t) loaded;
    a.attach_type = BPF_CGROUP_DEVICE;
    a.attach_flags = BPF_F_ALLOW_MULTI;
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof a) < 0)
        return err_set(err, -errno, "attach the device program");
    return 0;
}
