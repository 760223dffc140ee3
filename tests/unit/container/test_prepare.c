// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <seccomp.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/base/words.h"
#include "runtime/container/prepare.h"

#define MS_PRIVATE_REC ((1u << 14) | (1u << 18))
#define CAP(name) (UINT64_C(1) << CAP_##name)
static const uint64_t docker14 = 0xa80425fb;

/* --- names --- */

static uint64_t caps_of(const char *const *add, const char *const *drop, int *ret) {
    char *a[4] = {NULL}, *d[4] = {NULL};
    size_t na = 0, nd = 0;
    for (; add && add[na]; na++) a[na] = strdup(add[na]);
    for (; drop && drop[nd]; nd++) d[nd] = strdup(drop[nd]);
    uint64_t caps = 0;
    *ret = prepare_caps(a, na, d, nd, &caps, NULL);
    while (na) free(a[--na]);
    while (nd) free(d[--nd]);
    return caps;
}

#define L(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_caps_lists_give_sets(void **state) {
    (void) state;
    const struct {
        const char *const *add, *const *drop;
        int result;
        uint64_t caps;
    } t[] = {
        {NULL, NULL, 0, docker14},
        {NULL, L("ALL"), 0, 0},
        {NULL, L("CHOWN", "CAP_MKNOD"), 0, docker14 & ~(CAP(CHOWN) | CAP(MKNOD))},
        {L("NET_ADMIN"), NULL, 0, docker14 | CAP(NET_ADMIN)},
        {L("cap_net_admin"), NULL, 0, docker14 | CAP(NET_ADMIN)},
        {L("CHOWN"), L("ALL"), 0, CAP(CHOWN)},
        {L("NET_ADMIN"), L("NET_ADMIN"), 0, docker14},
        {L("NOT_THERE"), NULL, -EINVAL, 0},
        {NULL, L("CAP_"), -EINVAL, 0},
        {L(""), NULL, -EINVAL, 0},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        int r;
        uint64_t caps = caps_of(t[i].add, t[i].drop, &r);
        if (r != t[i].result || caps != t[i].caps) print_message("case %zu\n", i);
        assert_int_equal(r, t[i].result);
        assert_true(caps == t[i].caps);
    }
    int r;
    uint64_t all = caps_of(L("ALL"), L("SYS_ADMIN"), &r);
    assert_int_equal(r, 0);
    assert_true(all & CAP(NET_ADMIN));
    assert_false(all & CAP(SYS_ADMIN));
}

static void test_signal_names_give_numbers(void **state) {
    (void) state;
    static const struct {
        const char *name;
        int number;
    } t[] = {{"SIGTERM", SIGTERM}, {"TERM", SIGTERM}, {"sigquit", SIGQUIT},
             {"15", 15},           {"9", SIGKILL},    {"WINCH", SIGWINCH},
             {"64", 64},           {"0", -EINVAL},    {"65", -EINVAL},
             {"", -EINVAL},        {"SIG", -EINVAL},  {"SIGSIGTERM", -EINVAL},
             {"-9", -EINVAL},      {"0x9", -EINVAL},  {"TERM ", -EINVAL},
             {"IOT", SIGABRT},     {"POLL", SIGIO}};
    for (size_t i = 0; i < array_len(t); i++) {
        if (words_signal(t[i].name, NULL) != t[i].number) print_message("\"%s\"\n", t[i].name);
        assert_int_equal(words_signal(t[i].name, NULL), t[i].number);
    }
    assert_int_equal(words_signal("SIGRTMIN+3", NULL), SIGRTMIN + 3);
    assert_int_equal(words_signal("RTMAX-1", NULL), SIGRTMAX - 1);
    assert_int_equal(words_signal("RTMIN+99", NULL), -EINVAL);
    assert_int_equal(words_rlimit("nofile", NULL), RLIMIT_NOFILE);
    assert_int_equal(words_rlimit("memlock", NULL), RLIMIT_MEMLOCK);
    assert_int_equal(words_rlimit("NOFILE", NULL), -EINVAL);
}

/* --- seccomp: the program is run here, not in the kernel --- */

static struct sock_filter program[4096];
static size_t n_program;

static void load_program(uint64_t caps) {
    struct err e = {.code = 0};
    auto_fd int fd = prepare_seccomp(caps, &e);
    if (fd < 0) print_message("%s\n", e.text);
    assert_true(fd >= 0);
    ssize_t n = pread(fd, program, sizeof program, 0);
    assert_true(n > 0 && (size_t) n % sizeof *program == 0);
    n_program = (size_t) n / sizeof *program;
    assert_true(n_program < 4096);
}

static uint32_t answer(uint32_t arch, int nr, uint64_t a0) {
    struct seccomp_data d = {.nr = nr, .arch = arch, .args = {a0}};
    uint32_t a = 0;
    for (size_t pc = 0; pc < n_program; pc++) {
        const struct sock_filter *f = &program[pc];
        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *) &d + f->k, 4);
            break;
        case BPF_RET | BPF_K:
            return f->k;
        case BPF_JMP | BPF_JA:
            pc += f->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= f->k ? f->jt : f->jf;
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f->k;
            break;
        default:
            fail();
        }
    }
    fail();
    return 0;
}

enum {
    ALLOW = (int) SECCOMP_RET_ALLOW,
    NOSYS = (int) (SECCOMP_RET_ERRNO | ENOSYS),
    PERM = (int) (SECCOMP_RET_ERRNO | EPERM)
};

static void test_seccomp_answers_of_the_default_set_r12(void **state) {
    (void) state;
    static const struct {
        const char *name;
        uint64_t a0;
        int answer;
    } t[] = {
        {"read", 0, ALLOW},
        {"execve", 0, ALLOW},
        {"futex", 0, ALLOW},
        {"chroot", 0, ALLOW},
        {"socket", AF_INET, ALLOW},
        {"socket", AF_UNIX, ALLOW},
        {"socket", AF_NETLINK, ALLOW},
        {"socket", AF_PACKET, ALLOW},
        {"socket", AF_ALG, PERM},
        {"socket", AF_VSOCK, PERM},
        {"socket", UINT64_C(0x100000000) | AF_ALG, PERM},
        {"socket", UINT64_C(0x100000000) | AF_VSOCK, PERM},
        {"clone", SIGCHLD, ALLOW},
        {"clone", 0x3d0f00, ALLOW},
        {"clone", CLONE_NEWUSER | SIGCHLD, PERM},
        {"clone", CLONE_NEWNS, PERM},
        {"clone", CLONE_NEWCGROUP, PERM},
        {"clone", UINT64_C(0xffffffff00000000) | CLONE_NEWUSER, PERM},
        {"clone3", 0, NOSYS},
        {"unshare", CLONE_NEWUSER, PERM},
        {"setns", 0, PERM},
        {"mount", 0, PERM},
        {"fsopen", 0, PERM},
        {"open_tree", 0, PERM},
        {"move_mount", 0, PERM},
        {"bpf", 0, PERM},
        {"perf_event_open", 0, PERM},
        {"io_uring_setup", 0, PERM},
        {"io_uring_enter", 0, PERM},
        {"keyctl", 0, PERM},
        {"add_key", 0, PERM},
        {"userfaultfd", 0, PERM},
        {"kexec_load", 0, PERM},
        {"init_module", 0, PERM},
        {"reboot", 0, PERM},
        {"settimeofday", 0, PERM},
        {"open_by_handle_at", 0, PERM},
        {"syslog", 0, PERM},
        {"personality", 0, ALLOW},
        {"personality", 0x40000, PERM},
        {"swapon", 0, PERM},
        {"ptrace", 0, ALLOW},
    };
    load_program(docker14);
    uint32_t arch = seccomp_arch_native();
    for (size_t i = 0; i < array_len(t); i++) {
        int nr = seccomp_syscall_resolve_name(t[i].name);
        if (nr < 0) continue; /* not on this machine */
        int got = (int) answer(arch, nr, t[i].a0);
        if (got != t[i].answer)
            print_message("%s(%#llx)\n", t[i].name, (unsigned long long) t[i].a0);
        assert_int_equal(got, t[i].answer);
    }
    assert_int_equal((int) answer(arch, 1000, 0), NOSYS);
    assert_int_equal((int) answer(arch, 462, 0), NOSYS); /* mseal: newer than the list */
#ifdef __x86_64__
    assert_int_equal((int) answer(AUDIT_ARCH_I386, 102, 0), (int) SECCOMP_RET_KILL_PROCESS);
    assert_int_equal((int) answer(arch, 0x40000000, 0), (int) SECCOMP_RET_KILL_PROCESS);
#endif
}

static void test_seccomp_capabilities_open_their_calls(void **state) {
    (void) state;
    static const struct {
        uint64_t caps;
        const char *name;
        uint64_t a0;
    } t[] = {
        {CAP(SYS_ADMIN), "mount", 0},
        {CAP(SYS_ADMIN), "clone3", 0},
        {CAP(SYS_ADMIN), "unshare", CLONE_NEWUSER},
        {CAP(SYS_ADMIN), "clone", CLONE_NEWUSER},
        {CAP(BPF), "bpf", 0},
        {CAP(SYS_TIME), "settimeofday", 0},
        {CAP(SYS_PTRACE), "kcmp", 0},
        {CAP(DAC_READ_SEARCH), "open_by_handle_at", 0},
        {CAP(SYS_NICE), "mbind", 0},
    };
    for (size_t i = 0; i < array_len(t); i++) {
        load_program(docker14 | t[i].caps);
        int nr = seccomp_syscall_resolve_name(t[i].name);
        assert_int_equal((int) answer(seccomp_arch_native(), nr, t[i].a0), ALLOW);
        load_program(docker14);
        assert_int_not_equal((int) answer(seccomp_arch_native(), nr, t[i].a0), ALLOW);
    }
    load_program(docker14 & ~CAP(SYS_CHROOT));
    assert_int_equal((int) answer(seccomp_arch_native(), seccomp_syscall_resolve_name("chroot"), 0),
                     PERM);
}

static void test_seccomp_same_set_is_compiled_once(void **state) {
    (void) state;
    auto_fd int a = prepare_seccomp(docker14, NULL);
    auto_fd int b = prepare_seccomp(docker14 | CAP(NET_ADMIN), NULL); /* opens no call */
    struct stat sa, sb;
    assert_int_equal(fstat(a, &sa), 0);
    assert_int_equal(fstat(b, &sb), 0);
    assert_true(sa.st_ino == sb.st_ino && a != b);
    assert_int_equal(write(a, "x", 1), -1); /* sealed */
    assert_int_equal(errno, EPERM);
}

/* --- mounts --- */

static char top[64];
static bool mounts_work;

static int set_up_mounts(void **state) {
    (void) state;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0) return 0;
    if (sys_mount(NULL, "/", NULL, MS_PRIVATE_REC, NULL) < 0) return 0;
    snprintf(top, sizeof top, "/tmp/orlop-prepare-XXXXXX");
    if (!mkdtemp(top) || sys_mount("orlop-test", top, "tmpfs", 0, "mode=755") < 0) return 0;
    mounts_work = chdir(top) == 0;
    return 0;
}

static int tear_down_mounts(void **state) {
    (void) state;
    if (!top[0]) return 0;
    if (chdir("/") < 0) return -1;
    (void) sys_umount2(top, 2);
    return rmdir(top);
}

static void need_mounts(void) {
    if (mounts_work) return;
    print_message("skipped: needs root and a mount namespace\n");
    skip();
}

static void path_of(char *buf, size_t n, const char *name) {
    snprintf(buf, n, "%s/%s", top, name);
}

static void make_file(const char *path, const char *text) {
    auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void test_overlay_of_many_layers_shows_the_top_one(void **state) {
    (void) state;
    need_mounts();
    enum { LAYERS = 300 };
    static char names[LAYERS][96];
    static const char *layers[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "lay:er,%d", i);
        path_of(names[i], sizeof names[i], name);
        assert_int_equal(mkdir(name, 0755), 0);
        layers[i] = names[i];
    }
    make_file("lay:er,0/who", "top");
    make_file("lay:er,299/who", "bottom");
    make_file("lay:er,299/below", "x");
    char upper[96], work[96], scratch[96];
    path_of(upper, sizeof upper, "upper");
    path_of(work, sizeof work, "work");
    path_of(scratch, sizeof scratch, "scratch");
    assert_int_equal(mkdir("upper", 0755) | mkdir("work", 0755) | mkdir("scratch", 0755), 0);
    struct err e = {.code = 0};
    auto_fd int root = prepare_overlay(layers, LAYERS, upper, work, scratch, &e);
    if (root < 0) print_message("%s\n", e.text);
    assert_true(root >= 0);
    auto_free char *text = NULL;
    assert_int_equal(fd_read_file(root, "who", 16, &text, NULL), 0);
    assert_string_equal(text, "top");
    assert_int_equal(faccessat(root, "below", F_OK, 0), 0);
    auto_fd int made = openat(root, "made", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(made >= 0);
    assert_int_equal(access("upper/made", F_OK), 0);
    assert_int_equal(access("scratch/who", F_OK), -1); /* nothing is left at the scratch place */
    char at[96];
    assert_non_null(getcwd(at, sizeof at));
    assert_string_equal(at, top);
}

static void test_overlay_missing_layer_is_named(void **state) {
    (void) state;
    need_mounts();
    const char *layers[] = {"/nowhere/at/all"};
    struct err e = {.code = 0};
    assert_int_equal(prepare_overlay(layers, 1, top, top, top, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nowhere/at/all"));
    assert_int_equal(prepare_overlay(layers, 501, top, top, top, &e), -EINVAL);
}

static void test_bind_of_file_and_folder(void **state) {
    (void) state;
    need_mounts();
    make_file("source", "s");
    char path[96];
    path_of(path, sizeof path, "source");
    bool file = false;
    auto_fd int m = prepare_bind(path, false, true, &file, NULL);
    assert_true(m >= 0 && file);
    auto_fd int dir = prepare_bind(top, true, false, &file, NULL);
    assert_true(dir >= 0 && !file);
    auto_fd int ro = prepare_bind(top, true, true, &file, NULL);
    assert_int_equal(openat(ro, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
    assert_int_equal(errno, EROFS);
    struct err e = {.code = 0};
    assert_int_equal(prepare_bind("/no/such", true, false, &file, &e), -ENOENT);
    assert_int_equal(prepare_bind("/proc/self/root", true, false, &file, &e), -ELOOP);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caps_lists_give_sets),
        cmocka_unit_test(test_signal_names_give_numbers),
        cmocka_unit_test(test_seccomp_answers_of_the_default_set_r12),
        cmocka_unit_test(test_seccomp_capabilities_open_their_calls),
        cmocka_unit_test(test_seccomp_same_set_is_compiled_once),
        cmocka_unit_test(test_overlay_of_many_layers_shows_the_top_one),
        cmocka_unit_test(test_overlay_missing_layer_is_named),
        cmocka_unit_test(test_bind_of_file_and_folder),
    };
    return cmocka_run_group_tests(tests, set_up_mounts, tear_down_mounts);
}
