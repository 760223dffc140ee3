// SPDX-License-Identifier: Apache-2.0
/* R12: a kernel bug behind a rare system call, family or architecture (CVE-2022-0185,
 * CVE-2026-31431). The program that a default sandbox gets is asked for every number of every
 * architecture, and the answers are those of syscalls.golden; then the doors that matter are tried
 * for real, in a start and in an exec. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <seccomp.h>

#include "common.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/container/prepare.h"

enum { NUMBERS = 512, X32_BIT = 0x40000000, PROGRAM_MAX = 4096 };

static struct sock_filter program[PROGRAM_MAX];
static size_t n_program;

static void load(void) {
    struct err e = {.code = 0};
    auto_fd int fd = prepare_seccomp(caps_default, &e);
    if (fd < 0) fail_msg("%s", e.text);
    ssize_t n = pread(fd, program, sizeof program, 0);
    assert_true(n > 0 && (size_t) n % sizeof *program == 0);
    n_program = (size_t) n / sizeof *program;
}

static uint32_t step(const struct sock_filter *f, uint32_t a, size_t *pc) {
    switch (BPF_OP(f->code)) {
    case BPF_JA:
        *pc += f->k;
        break;
    case BPF_JEQ:
        *pc += a == f->k ? f->jt : f->jf;
        break;
    case BPF_JGT:
        *pc += a > f->k ? f->jt : f->jf;
        break;
    case BPF_JGE:
        *pc += a >= f->k ? f->jt : f->jf;
        break;
    default:
        fail_msg("an instruction that this test does not know: %#x", f->code);
    }
    return a;
}

/* What the kernel would do with NR and all arguments A0. */
static uint32_t answer(uint32_t arch, int nr, uint64_t a0) {
    const struct seccomp_data d = {.nr = nr, .arch = arch, .args = {a0}};
    uint32_t a = 0;
    for (size_t pc = 0; pc < n_program; pc++) {
        const struct sock_filter *f = &program[pc];
        if (f->code == (BPF_RET | BPF_K)) return f->k;
        if (f->code == (BPF_LD | BPF_W | BPF_ABS))
            memcpy(&a, (const char *) &d + f->k, sizeof a);
        else if (f->code == (BPF_ALU | BPF_AND | BPF_K))
            a &= f->k;
        else
            a = step(f, a, &pc);
    }
    fail_msg("the program has no end");
    return 0;
}

static const char *name_of(uint32_t a) {
    switch (a) {
    case SECCOMP_RET_ALLOW:
        return "allowed";
    case SECCOMP_RET_ERRNO | EPERM:
        return "EPERM";
    case SECCOMP_RET_ERRNO | ENOSYS:
        return "ENOSYS";
    case SECCOMP_RET_KILL_PROCESS:
        return "killed";
    default:
        return "?";
    }
}

/* One line a number: its name, its answer without and with all argument bits. */
static void print_all(FILE *to) {
    for (int nr = 0; nr < NUMBERS; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), nr);
        uint32_t none = answer(AUDIT_ARCH_X86_64, nr, 0);
        uint32_t all = answer(AUDIT_ARCH_X86_64, nr, UINT64_MAX);
        fprintf(to, "%d %s %s", nr, name ? name : "-", name_of(none));
        fprintf(to, none == all ? "\n" : " %s\n", name_of(all));
        free(name);
    }
}

static void test_every_number_is_as_written_down(void **state) {
    (void) state;
#ifndef __x86_64__
    skip(); /* the list is that machine's */
#endif
    load();
    auto_free char *got = NULL, *want = NULL;
    size_t n;
    FILE *to = open_memstream(&got, &n);
    print_all(to);
    assert_int_equal(fclose(to), 0);
    assert_int_equal(fd_read_file(AT_FDCWD, GOLDEN, 1 << 20, &want, NULL), 0);
    for (char *g = got, *w = want; *g || *w;) {
        size_t gn = strcspn(g, "\n"), wn = strcspn(w, "\n");
        if (gn != wn || memcmp(g, w, gn) != 0)
            fail_msg("%.*s, but " GOLDEN " says %.*s", (int) gn, g, (int) wn, w);
        g += gn + (g[gn] != 0);
        w += wn + (w[wn] != 0);
    }
}

static void test_other_architectures_are_killed(void **state) {
    (void) state;
    static const uint32_t foreign[] = {AUDIT_ARCH_I386, AUDIT_ARCH_ARM, AUDIT_ARCH_AARCH64 ^ 1u, 0,
                                       0xffffffff};
    load();
    for (int nr = 0; nr < NUMBERS; nr++) {
        for (size_t i = 0; i < array_len(foreign); i++)
            assert_string_equal(name_of(answer(foreign[i], nr, 0)), "killed");
        assert_string_equal(name_of(answer(seccomp_arch_native(), nr | X32_BIT, 0)), "killed");
    }
    assert_string_equal(name_of(answer(seccomp_arch_native(), -1, 0)), "EPERM");
}

/* Families by number: what no sandbox needs is refused, also when the upper half of the argument,
 * which the kernel does not look at, hides it. */
static void test_families_of_sockets(void **state) {
    (void) state;
    load();
    int nr = seccomp_syscall_resolve_name("socket");
    for (uint64_t family = 0; family < 64; family++) {
        const char *want = family < 38 ? "allowed" : "EPERM";
        assert_string_equal(name_of(answer(seccomp_arch_native(), nr, family)), want);
        if (family >= 38)
            assert_string_equal(
                name_of(answer(seccomp_arch_native(), nr, UINT64_C(1) << 32 | family)), "EPERM");
    }
}

static const char tried[] = "getpid by int 0x80: killed\n"
                            "socketcall by int 0x80: killed\n"
                            "getpid of x32: killed\n"
                            "io_uring_setup of x32: killed\n"
                            "socket AF_ALG: EPERM\n"
                            "socket AF_VSOCK: EPERM\n"
                            "io_uring_setup: EPERM\n"
                            "clone NEWUSER: EPERM\n"
                            "clone NEWNS: EPERM\n"
                            "clone3 NEWUSER: ENOSYS\n"
                            "unshare NEWUSER: EPERM\n"
                            "setns: EPERM\n"
                            "mount: EPERM\n"
                            "fsopen: EPERM\n"
                            "open_tree: EPERM\n"
                            "bpf: EPERM\n"
                            "perf_event_open: EPERM\n"
                            "userfaultfd: EPERM\n"
                            "keyctl: EPERM\n"
                            "add_key: EPERM\n"
                            "open_by_handle_at: EPERM\n"
                            "kexec_load: EPERM\n"
                            "init_module: EPERM\n"
                            "personality 0x40000: EPERM\n"
                            "number 1000: ENOSYS\n"
                            "clone: fine\n"
                            "socket AF_INET: fine\n"
                            "ptrace: fine\n";

static void test_doors_are_closed(void **state) {
    (void) state;
#ifndef __x86_64__
    skip();
#endif
    static const char *const argv[] = {"/bin/attack", "syscalls", NULL};
    static struct rig_result got;
    struct rig_spec s;
    struct container_process p;
    for (int no_new_privs = 0; no_new_privs < 2; no_new_privs++) {
        rig_spec_init(&rig, &s, argv);
        hostile_add_attack(&s);
        s.spec.no_new_privs = no_new_privs;
        s.spec.fd_seccomp = 1;
        s.fds[s.n_fds++] = prepare_seccomp(caps_default, NULL);
        hostile_run(&s);
        assert_string_equal(res.out, tried);
    }
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    hostile_add_attack(&s);
    hostile_start(&s, &p);
    auto_fd int filter = prepare_seccomp(caps_default, NULL);
    struct hostile_exec x = {.argv = argv, .extra = filter, .extra_is_filter = true};
    hostile_exec(&p, &x, &got);
    assert_string_equal(got.out, tried);
    hostile_end(&s, &p);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "print") == 0) { /* how syscalls.golden is made anew */
        load();
        print_all(stdout);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number_is_as_written_down),
        cmocka_unit_test(test_other_architectures_are_killed),
        cmocka_unit_test(test_families_of_sockets),
        cmocka_unit_test(test_doors_are_closed),
    };
    return hostile_main(tests, array_len(tests));
}
