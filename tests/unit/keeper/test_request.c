// SPDX-License-Identifier: Apache-2.0
/* The edge: what request_decode lets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/keeper/request.h"

static struct budget budget;
static uint8_t bytes[1 << 20];
static char text[8][128];
static char *argv[2], *envp[1], *masked[1];
static Orlop__SandboxSpec spec;
static Orlop__SandboxMount mount, *mounts[1] = {&mount};
static Orlop__SandboxLink link, *links[1] = {&link};
static Orlop__SandboxLimit limit, *limits[1] = {&limit};
static Orlop__LogOptions log_options;

static char *word(size_t i, const char *s) {
    snprintf(text[i], sizeof text[i], "%s", s);
    return text[i];
}

static void good_spec(void) {
    orlop__sandbox_spec__init(&spec);
    orlop__sandbox_mount__init(&mount);
    orlop__sandbox_link__init(&link);
    orlop__sandbox_limit__init(&limit);
    orlop__log_options__init(&log_options);
    argv[0] = word(0, "/bin/true");
    envp[0] = word(1, "A=1");
    masked[0] = word(2, "/proc/x");
    spec.task = word(3, "1.2.3");
    spec.boot = spec.attempt = 1;
    spec.argv = argv;
    spec.n_argv = 1;
    spec.env = envp;
    spec.n_env = 1;
    spec.fd_seccomp = -1;
    spec.cgroup = word(4, "1.2.3-1.1");
    mount.kind = ORLOP__SANDBOX_MOUNT__KIND__DETACHED;
    mount.target = word(5, "/data");
    mount.fd = 1;
    spec.mounts = mounts;
    spec.n_mounts = 1;
    link.host_name = word(6, "olv123");
    link.name = word(7, "eth0");
    link.address = 0x0a500002;
    link.prefix_len = 22;
    spec.links = links;
    spec.n_links = 1;
    limit.resource = 7;
    limit.soft = 1;
    limit.hard = 2;
    spec.limits = limits;
    spec.n_limits = 1;
    spec.masked_paths = masked;
    spec.n_masked_paths = 1;
    spec.log = &log_options;
}

static int decode(uint64_t id) {
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT;
    r.id = id;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_START;
    r.start = &spec;
    size_t n = orlop__keeper_request__pack(&r, bytes);
    Orlop__KeeperRequest *got = NULL;
    struct err err = {0};
    budget_reset(&budget);
    int e = request_decode(&budget, bytes, n, 2, &got, &err);
    if (e == -EINVAL || e == -EOPNOTSUPP) {
        assert_non_null(got);
        assert_true(err.text[0]);
    }
    return e;
}

static void test_start_good_is_accepted(void **state) {
    (void) state;
    good_spec();
    assert_int_equal(decode(1), 0);
    assert_int_equal(decode(0), -EINVAL);
}

/* Every sandbox begins as a copy of the keeper's memory: nothing of another's request is in it. */
static void test_reset_wipes_what_was_decoded_r10(void **state) {
    (void) state;
    static char canary[] = "PASSWORD=canary-4711", *env[] = {canary};
    good_spec();
    spec.env = env;
    spec.n_env = 1;
    assert_int_equal(decode(1), 0);
    size_t used = budget.used;
    assert_non_null(memmem(budget.memory, used, canary, sizeof canary));
    budget_reset(&budget);
    assert_null(memmem(budget.memory, used, canary, sizeof canary));
}

static void test_start_bad_field_is_refused(void **state) {
    (void) state;
#define BAD(change)                                                                                \
    do {                                                                                           \
        good_spec();                                                                               \
        change;                                                                                    \
        if (decode(1) != -EINVAL) fail_msg("accepted: %s", #change);                               \
    } while (0)
    BAD(spec.task = word(3, "../../etc"));
    BAD(spec.boot = 0);
    BAD(spec.attempt = 0);
    BAD(spec.n_argv = 0);
    BAD(argv[0] = word(0, ""));
    BAD(envp[0] = word(1, "novalue"));
    BAD(envp[0] = word(1, "=x"));
    BAD(spec.fd_root = 2);
    BAD(spec.fd_root = -1);
    BAD(spec.fd_seccomp = -2);
    BAD(spec.cgroup = word(4, ".."));
    BAD(spec.cgroup = word(4, "a/b"));
    BAD(spec.cgroup = word(4, ""));
    BAD(mount.target = word(5, "data"));
    BAD(mount.fd = 7);
    BAD(mount.kind = ORLOP__SANDBOX_MOUNT__KIND__KIND_UNSET);
    BAD(mount.mode = 010000);
    BAD(link.host_name = word(6, "longer-than-fifteen"));
    BAD(link.name = word(7, "../x"));
    BAD(link.prefix_len = 33);
    BAD(link.mtu = 5);
    BAD(limit.resource = 16);
    BAD(limit.soft = 3);
    BAD(masked[0] = word(2, "proc"));
    BAD(spec.cwd = word(5, "relative"));
    BAD(spec.oom_score_adj = 1001);
    BAD(spec.user_namespace = true);
    BAD(log_options.max_files = 100000);
    good_spec();
    spec.tty = true;
    assert_int_equal(decode(1), -EOPNOTSUPP);
}

static void test_other_requests_are_checked(void **state) {
    (void) state;
    Orlop__KeeperRequest r = ORLOP__KEEPER_REQUEST__INIT, *got;
    Orlop__KeeperExec x = ORLOP__KEEPER_EXEC__INIT;
    Orlop__KeeperSignal s = ORLOP__KEEPER_SIGNAL__INIT;
    r.id = 1;
    assert_int_equal(
        request_decode(&budget, bytes, orlop__keeper_request__pack(&r, bytes), 0, &got, NULL),
        -EOPNOTSUPP);
    good_spec();
    x.task = spec.task;
    x.argv = argv;
    x.n_argv = 1;
    x.fd_seccomp = -1;
    x.fd_stdout = 1;
    x.fd_stderr = 2;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_EXEC;
    r.exec = &x;
    size_t n = orlop__keeper_request__pack(&r, bytes);
    assert_int_equal(request_decode(&budget, bytes, n, 3, &got, NULL), 0);
    assert_int_equal(request_decode(&budget, bytes, n, 2, &got, NULL), -EINVAL);
    s.task = spec.task;
    s.signal = 65;
    r.what_case = ORLOP__KEEPER_REQUEST__WHAT_SIGNAL;
    r.signal = &s;
    n = orlop__keeper_request__pack(&r, bytes);
    assert_int_equal(request_decode(&budget, bytes, n, 0, &got, NULL), -EINVAL);
}

/* Two bytes of input ask for a whole message in memory each: the budget ends it. */
static void test_amplification_ends_at_the_budget(void **state) {
    (void) state;
    enum { INNER = 150000 };
    size_t n = 0;
    bytes[n++] = 0x12; /* start, length in three bytes */
    bytes[n++] = (INNER & 0x7f) | 0x80;
    bytes[n++] = ((INNER >> 7) & 0x7f) | 0x80;
    bytes[n++] = INNER >> 14;
    for (size_t i = 0; i < INNER / 2; i++) { /* 13: mounts, empty */
        bytes[n++] = 0x6a;
        bytes[n++] = 0;
    }
    Orlop__KeeperRequest *got;
    budget_reset(&budget);
    assert_int_equal(request_decode(&budget, bytes, n, 0, &got, NULL), -EBADMSG);
    assert_null(got);
    budget_reset(&budget);
    assert_int_equal(request_decode(&budget, "\xff\xff", 2, 0, &got, NULL), -EBADMSG);
}

static int set_up(void **state) {
    (void) state;
    return budget_init(&budget);
}
static int tear_down(void **state) {
    (void) state;
    budget_fini(&budget);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_good_is_accepted),
        cmocka_unit_test(test_reset_wipes_what_was_decoded_r10),
        cmocka_unit_test(test_start_bad_field_is_refused),
        cmocka_unit_test(test_other_requests_are_checked),
        cmocka_unit_test(test_amplification_ends_at_the_budget),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
