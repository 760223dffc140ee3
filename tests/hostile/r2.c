// SPDX-License-Identifier: Apache-2.0
/* R2: a descriptor of ours, or a working directory outside of the root (CVE-2024-21626). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { LEAKS = 40, HIGH = 1000, CWD_MAX = 1024, SPAWN_CWD_MAX = 128 };

static char outside[192];
static const char *const shows_descriptors[] = {"/bin/attack", "descriptors", NULL};

/* The canary's folder, as a careless library would leave it open: not CLOEXEC, low and high. */
static void leak(int fds[static LEAKS + 1]) {
    for (int i = 0; i < LEAKS; i++)
        fds[i] = open(outside, O_RDONLY | O_DIRECTORY); /* NOLINT: the point of it */
    fds[LEAKS] = fcntl(fds[0], F_DUPFD, HIGH);
    assert_true(fds[LEAKS] >= HIGH);
}

static void unleak(int fds[static LEAKS + 1]) {
    for (int i = 0; i <= LEAKS; i++) fd_close(&fds[i]);
}

static void set_up_canary(void) {
    char path[192];
    hostile_path(outside, "outside");
    if (mkdir(outside, 0755) < 0) return; /* by the test before */
    hostile_put(hostile_path(path, "outside/CANARY"), "of the host");
}

static void test_no_descriptor_of_ours(void **state) {
    (void) state;
    set_up_canary();
    int fds[LEAKS + 1];
    struct rig_spec s;
    struct container_process p;
    leak(fds);
    rig_spec_init(&rig, &s, shows_descriptors);
    hostile_add_attack(&s);
    hostile_run(&s);
    assert_int_equal(res.failed, 0);
    assert_string_equal(res.out, "0 1 2\n");
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    hostile_add_attack(&s);
    hostile_start(&s, &p);
    hostile_exec(&p, &(struct hostile_exec){.argv = shows_descriptors, .extra = fds[0]}, &res);
    assert_string_equal(res.out, "0 1 2\n");
    hostile_end(&s, &p);
    unleak(fds);
}

/* One descriptor of the canary's folder goes along with the request, so the child has it until the
 * exec: only the look at the working directory is in the way. */
static void test_workdir_is_no_descriptor(void **state) {
    (void) state;
    set_up_canary();
    unsigned refused = 0;
    for (int fd = 0; fd < SPAWN_CWD_MAX; fd++) {
        struct rig_spec s;
        char cwd[40];
        snprintf(cwd, sizeof cwd, "/proc/self/fd/%d", fd);
        rig_spec_init(&rig, &s, SH("ls; cat CANARY; touch DONE"));
        s.fds[s.n_fds++] = open(outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        s.spec.cwd = cwd;
        hostile_run(&s);
        assert_not(res.out, "CANARY");
        refused += strstr(res.text, "outside the container") != NULL;
    }
    assert_true(refused >= 1); /* the descriptor was met */
    char path[192];
    assert_int_equal(access(hostile_path(path, "outside/DONE"), F_OK), -1);
}

static void test_exec_workdir_is_no_descriptor(void **state) {
    (void) state;
    set_up_canary();
    int fds[LEAKS + 1];
    struct rig_spec s;
    struct container_process p;
    static struct rig_result got;
    unsigned refused = 0;
    rig_spec_init(&rig, &s, SH("sleep 1000"));
    hostile_start(&s, &p);
    leak(fds);
    for (int fd = 0; fd < CWD_MAX; fd++) {
        char cwd[40];
        snprintf(cwd, sizeof cwd, "/proc/self/fd/%d", fd);
        struct hostile_exec x = {.argv = SH("ls; touch DONE"), .cwd = cwd, .extra = fds[0]};
        hostile_exec(&p, &x, &got);
        assert_not(got.out, "CANARY");
        refused += strstr(got.text, "outside the container") != NULL;
    }
    assert_true(refused >= 1);
    unleak(fds);
    hostile_end(&s, &p);
    char path[192];
    assert_int_equal(access(hostile_path(path, "outside/DONE"), F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_descriptor_of_ours),
        cmocka_unit_test(test_workdir_is_no_descriptor),
        cmocka_unit_test(test_exec_workdir_is_no_descriptor),
    };
    return hostile_main(tests, array_len(tests));
}
