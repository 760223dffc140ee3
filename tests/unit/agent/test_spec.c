// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent/health.h"
#include "agent/spec.h"
#include "runtime/base/mem.h"

static char *text(const char *s) {
    return (char *) (uintptr_t) s;
}

struct fixture {
    struct arena arena;
    Orlop__TaskSpec task;
    Orlop__Service service;
    struct image_config image;
    struct spec_merged merged;
    struct err err;
};

static void init(struct fixture *f) {
    memset(f, 0, sizeof *f);
    arena_init(&f->arena, 1 << 20);
    orlop__task_spec__init(&f->task);
    orlop__service__init(&f->service);
    f->task.app = text("shop");
    f->task.service = text("web");
    f->task.slot = 2;
    f->task.spec = &f->service;
    f->image.user = f->image.working_dir = f->image.stop_signal = text("");
}

static struct strv list(struct fixture *f, const char *words) {
    struct strv l = {0};
    char *copy = arena_strdup(&f->arena, words), *save = NULL;
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        assert_int_equal(strv_add(&l, w), 0);
    return l;
}

static void join(char *const *v, size_t n, char *ret) {
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (i) strncat(ret, " ", 2);
        strncat(ret, v[i], 100);
    }
}

static void test_argv_follows_dockers_rules(void **state) {
    (void) state;
    static const struct {
        const char *name, *image_entry, *image_cmd;
        bool has_entry, has_cmd;
        const char *entry, *cmd, *want; /* NULL: refused */
    } cases[] = {
        {"image alone", "/e", "a b", false, false, "", "", "/e a b"},
        {"command replaces the image's", "/e", "a", false, true, "", "x", "/e x"},
        {"entrypoint hides the image's command", "/e", "a", true, false, "/mine", "", "/mine"},
        {"both", "/e", "a", true, true, "/mine", "x y", "/mine x y"},
        {"empty entrypoint, command", "/e", "a", true, true, "", "x", "x"},
        {"empty command clears it", "/e", "a", false, true, "", "", "/e"},
        {"no entrypoint", "", "a", false, false, "", "", "a"},
        {"nothing at all", "", "", false, false, "", "", NULL},
        {"everything cleared", "/e", "a", true, false, "", "", NULL},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        struct fixture f;
        init(&f);
        struct strv entry = list(&f, cases[i].entry), cmd = list(&f, cases[i].cmd);
        f.image.entrypoint = list(&f, cases[i].image_entry);
        f.image.cmd = list(&f, cases[i].image_cmd);
        f.service.has_entrypoint = cases[i].has_entry;
        f.service.entrypoint = entry.v;
        f.service.n_entrypoint = entry.n;
        f.service.has_command = cases[i].has_cmd;
        f.service.command = cmd.v;
        f.service.n_command = cmd.n;
        int r = spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err);
        char got[256] = "";
        if (r == 0) join(f.merged.argv, f.merged.n_argv, got);
        if (!cases[i].want && (r != -EINVAL || !strstr(f.err.text, "nothing to run")))
            fail_msg("%s: %d %s", cases[i].name, r, f.err.text);
        if (cases[i].want && (r != 0 || !str_eq(got, cases[i].want)))
            fail_msg("%s: %s", cases[i].name, got);
        strv_fini(&entry);
        strv_fini(&cmd);
        strv_fini(&f.image.entrypoint);
        strv_fini(&f.image.cmd);
        arena_fini(&f.arena);
    }
}

static void test_environment_of_the_service_wins(void **state) {
    (void) state;
    struct fixture f;
    init(&f);
    f.image.cmd = list(&f, "run");
    f.image.env = list(&f, "PATH=/bin A=image BROKEN =x");
    Orlop__KeyValue a = ORLOP__KEY_VALUE__INIT, b = ORLOP__KEY_VALUE__INIT, *env[] = {&a, &b};
    a.key = text("A");
    a.value = text("service=1");
    b.key = text("AB");
    b.value = text("");
    f.service.environment = env;
    f.service.n_environment = 2;
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), 0);
    char got[256];
    join(f.merged.env, f.merged.n_env, got);
    assert_string_equal(got, "HOSTNAME=shop-web-2 PATH=/bin A=service=1 AB=");
    strv_fini(&f.image.cmd);
    strv_fini(&f.image.env);
    arena_fini(&f.arena);
}

static void test_stop_signal_and_identity(void **state) {
    (void) state;
    struct fixture f;
    init(&f);
    f.image.cmd = list(&f, "run");
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), 0);
    assert_int_equal(f.merged.stop_signal, SIGTERM);
    assert_string_equal(f.merged.cwd, "/");
    f.image.stop_signal = text("SIGQUIT");
    f.image.user = text("app");
    f.image.working_dir = text("/srv");
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), 0);
    assert_int_equal(f.merged.stop_signal, SIGQUIT);
    assert_string_equal(f.merged.user, "app");
    assert_string_equal(f.merged.cwd, "/srv");
    f.service.stop_signal = text("SIGNOPE");
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), -EINVAL);
    assert_non_null(strstr(f.err.text, "stop signal"));
    strv_fini(&f.image.cmd);
    arena_fini(&f.arena);
}

static void test_healthcheck_is_merged_and_can_be_switched_off(void **state) {
    (void) state;
    struct fixture f;
    init(&f);
    f.image.cmd = list(&f, "run");
    f.image.health_test = list(&f, "CMD-SHELL check");
    f.image.health_interval_ms = 700;
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), 0);
    char got[64];
    join(f.merged.health.test, f.merged.health.n_test, got);
    assert_string_equal(got, "/bin/sh -c check");
    assert_int_equal(f.merged.health.interval_ms, 700);
    assert_int_equal(f.merged.health.retries, 3);
    Orlop__Healthcheck own = ORLOP__HEALTHCHECK__INIT; /* only the times: the image's test stays */
    own.interval_ms = 50;
    f.service.healthcheck = &own;
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), 0);
    assert_true(f.merged.health.enabled);
    assert_int_equal(f.merged.health.interval_ms, 50);
    own.disable = true;
    assert_int_equal(spec_merge(&f.arena, &f.task, &f.image, &f.merged, &f.err), 0);
    assert_false(f.merged.health.enabled);
    strv_fini(&f.image.cmd);
    strv_fini(&f.image.health_test);
    arena_fini(&f.arena);
}

static void test_hostname_is_cut_from_the_left(void **state) {
    (void) state;
    struct fixture f;
    init(&f);
    char host[SPEC_HOSTNAME_MAX], app[64];
    memset(app, 'a', 63);
    app[63] = 0;
    f.task.app = app;
    spec_hostname(&f.task, host);
    assert_int_equal(strlen(host), SPEC_HOSTNAME_MAX - 2);
    assert_true(str_ends(host, "a-web-2")); /* replicas stay apart */
    f.service.hostname = text("own.name");
    assert_string_equal(spec_hostname(&f.task, host), "own.name");
    arena_fini(&f.arena);
}

/* ---- when to probe, and what a result means ---- */

static void test_health_state_by_dockers_rules(void **state) {
    (void) state;
    const struct spec_health spec = {.enabled = true,
                                     .interval_ms = 1000,
                                     .timeout_ms = 100,
                                     .start_period_ms = 5000,
                                     .start_interval_ms = 200,
                                     .retries = 2};
    struct health_state s;
    health_state_init(&s, &spec, ORLOP__HEALTH__HEALTH_STARTING, 0);
    assert_int_equal(s.next_ms, 200);
    for (int64_t now = 200; now < 5000; now += 200)
        assert_false(health_state_result(&s, false, now)); /* does not count while it starts */
    assert_false(health_state_result(&s, false, 5000));
    assert_int_equal(s.next_ms, 6000);
    assert_true(health_state_result(&s, false, 6000));
    assert_int_equal(s.health, ORLOP__HEALTH__HEALTH_UNHEALTHY);
    assert_true(health_state_result(&s, true, 7000));
    assert_int_equal(s.health, ORLOP__HEALTH__HEALTH_HEALTHY);
    assert_false(health_state_result(&s, false, 8000)); /* one failure is none */
    assert_false(health_state_result(&s, true, 9000));
    assert_false(health_state_result(&s, false, 10000));
    assert_true(health_state_result(&s, false, 11000));
}

static void test_health_state_adopted_keeps_its_verdict(void **state) {
    (void) state;
    const struct spec_health spec = {.enabled = true,
                                     .interval_ms = 1000,
                                     .retries = 1,
                                     .start_period_ms = 60000,
                                     .start_interval_ms = 10};
    struct health_state s;
    health_state_init(&s, &spec, ORLOP__HEALTH__HEALTH_HEALTHY, 0);
    assert_int_equal(s.next_ms, 1000);
    assert_false(health_state_result(&s, true, 1000));
    assert_true(health_state_result(&s, false, 2000)); /* no second start period */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_argv_follows_dockers_rules),
        cmocka_unit_test(test_environment_of_the_service_wins),
        cmocka_unit_test(test_stop_signal_and_identity),
        cmocka_unit_test(test_healthcheck_is_merged_and_can_be_switched_off),
        cmocka_unit_test(test_hostname_is_cut_from_the_left),
        cmocka_unit_test(test_health_state_by_dockers_rules),
        cmocka_unit_test(test_health_state_adopted_keeps_its_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
