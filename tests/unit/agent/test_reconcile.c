// SPDX-License-Identifier: Apache-2.0
/* Scenarios of the node's reconciler: the expected lines are the specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/mem.h"
#include "world.h"

#define ALWAYS ORLOP__RESTART_POLICY__CONDITION__ALWAYS
#define ON_FAILURE ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE
#define WANT(x) ORLOP__WANT__WANT_##x
enum { EXIT_1 = 0x100, EXIT_0 = 0, BY_KILL = 9 };

static struct world w;

static int setup(void **state) {
    (void) state;
    world_init(&w, 1);
    return 0;
}
static int teardown(void **state) {
    (void) state;
    mem_fail_after(0);
    world_fini(&w);
    return 0;
}

static void test_task_wanted_is_started(void **state) {
    (void) state;
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "web"});
    world_expect(&w, ""); /* nothing before the keeper's list: it might live */
    world_list(&w, NULL, 0);
    world_expect(&w, "1.1.0 new>waiting\n"
                     "1.1.0 waiting>preparing\n"
                     "1.1.0 ! prepare\n"
                     "1.1.0 = 1.1 PREPARING\n");
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_expect(&w, "1.1.0 preparing>starting\n"
                     "1.1.0 = 1.1 STARTING\n"
                     "1.1.0 ! start\n");
    world_started(&w, "1.1.0", 1);
    world_expect(&w, "1.1.0 starting>running\n"
                     "1.1.0 ! watch\n"
                     "1.1.0 = 1.1 RUNNING\n");
}

static void test_task_stop_drains_signals_closes_and_is_gone(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    struct world_task t = {.id = "1.1.0", .service = "web", .address = 10};
    world_run(&w, &t);
    t.want = WANT(DRAIN);
    world_want(&w, &t);
    world_expect(&w, "1.1.0 ! forget\n");
    t.want = WANT(STOP);
    world_want(&w, &t);
    world_expect(&w, "1.1.0 running>draining wanted=stop\n"
                     "1.1.0 ! unwatch\n"
                     "1.1.0 = 1.1 STOPPING\n"
                     "1.1.0 ! drain?\n");
    world_simple(&w, REC_EV_DRAINED, "1.1.0");
    world_expect(&w, "1.1.0 draining>stopping drained\n"
                     "1.1.0 ! signal\n");
    world_exited(&w, "1.1.0", 1, EXIT_0);
    world_expect(&w, "1.1.0 stopping>closing ended\n"
                     "1.1.0 ! forget 1\n"
                     "1.1.0 ! close\n");
    world_simple(&w, REC_EV_CLOSED, "1.1.0");
    world_expect(&w, "1.1.0 closing>saving closed\n"
                     "1.1.0 ! save\n");
    world_simple(&w, REC_EV_SAVED, "1.1.0");
    world_expect(&w, "1.1.0 saving>final saved\n"
                     "1.1.0 = 1.1 SHUTDOWN\n"
                     "1.1.0 ! clean 1\n");
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    world_expect(&w, "1.1.0 final>releasing\n"
                     "1.1.0 ! save 1\n");
    world_simple(&w, REC_EV_SAVED, "1.1.0");
    world_expect(&w, "1.1.0 releasing>gone saved\n"
                     "1.1.0 = 1.1 SHUTDOWN gone\n");
    world_gone(&w, "1.1.0");
    world_expect(&w, ""); /* records stay until the scheduler has committed the end */
    world_event(&w, (struct rec_event){.kind = REC_EV_COMMITTED,
                                       .task = "1.1.0",
                                       .gone = true,
                                       .state = ORLOP__TASK_STATE__SHUTDOWN});
    world_expect(&w, "1.1.0 gone>deleting\n"
                     "1.1.0 ! delete\n");
    world_simple(&w, REC_EV_DELETED, "1.1.0");
    assert_null(rec_task(&w.rec, "1.1.0"));
}

static void test_task_stop_every_wait_has_its_bound(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    struct world_task t = {.id = "1.1.0", .service = "web", .address = 10};
    world_run(&w, &t);
    t.want = WANT(STOP);
    world_want(&w, &t);
    world_forget(&w);
    assert_int_equal(rec_next_ms(&w.rec), w.now_ms + REC_DRAIN_CHECK_MS);
    world_tick(&w, REC_DRAIN_MS);
    world_expect(&w, "1.1.0 draining>stopping forced\n"
                     "1.1.0 ! signal\n");
    assert_int_equal(rec_next_ms(&w.rec), w.now_ms + REC_GRACE_MS);
    world_tick(&w, REC_GRACE_MS);
    world_expect(&w, "1.1.0 stopping>closing grace over\n"
                     "1.1.0 ! close\n");
    world_tick(&w, REC_KILL_MS);
    world_expect(
        &w, "1.1.0 = 1.1 STOPPING: cannot be killed: a process of it does not end after SIGKILL\n");
    assert_int_equal(rec_next_ms(&w.rec), INT64_MAX);
    world_exited(&w, "1.1.0", 1, BY_KILL);
    world_simple(&w, REC_EV_CLOSED, "1.1.0");
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_SAVING);
}

/* The answer to CLOSE alone may become "stopped". */
static void test_task_stopped_before_its_start_is_closed_first(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    struct world_task t = {.id = "1.1.0", .service = "web"};
    world_want(&w, &t);
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_forget(&w);
    t.want = WANT(STOP);
    world_want(&w, &t);
    world_expect(&w, "1.1.0 starting>closing wanted=stop\n"
                     "1.1.0 ! discard\n"
                     "1.1.0 = 1.1 STOPPING\n"
                     "1.1.0 ! close\n");
    world_started(&w, "1.1.0", 1);
    world_expect(&w, "");
    world_simple(&w, REC_EV_CLOSED, "1.1.0");
    world_expect(&w, "1.1.0 closing>saving closed\n"
                     "1.1.0 ! save\n");
}

static void test_task_stop_while_preparing_waits_for_the_job(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    struct world_task t = {.id = "1.1.0", .service = "web"};
    world_want(&w, &t);
    t.want = WANT(STOP);
    world_want(&w, &t);
    world_simple(&w, REC_EV_CLOSED, "1.1.0");
    world_simple(&w, REC_EV_SAVED, "1.1.0");
    world_forget(&w);
    world_tick(&w, 1000);
    world_expect(&w, ""); /* its mounts are being made: not gone */
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_expect(&w, "1.1.0 ! discard\n"
                     "1.1.0 ! clean 1\n");
}

static void test_restart_always_backs_off_and_window_resets(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    static const int64_t delays[] = {100, 200, 400, 800};
    for (uint32_t n = 1; n <= array_len(delays); n++) {
        world_exited(&w, "1.1.0", n, EXIT_1);
        world_forget(&w);
        world_simple(&w, REC_EV_CLEANED, "1.1.0");
        world_expect(&w, "");
        assert_int_equal(rec_next_ms(&w.rec), w.now_ms + delays[n - 1]);
        world_tick(&w, delays[n - 1]);
        world_simple(&w, REC_EV_PREPARED, "1.1.0");
        world_started(&w, "1.1.0", n + 1);
    }
    assert_int_equal(rec_task(&w.rec, "1.1.0")->restarts, 4);
    world_forget(&w);
    world_tick(&w, REC_WINDOW_MS);
    world_exited(&w, "1.1.0", 5, EXIT_1);
    world_expect(&w, "1.1.0 running>waiting again\n"
                     "1.1.0 ! forget 1\n"
                     "1.1.0 ! unwatch\n"
                     "1.1.0 = 1.6 PREPARING: exited with code 1; starts again in 100 ms\n"
                     "1.1.0 ! clean 5\n");
}

static void test_restart_back_off_ends_at_a_minute(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    rec_task(&w.rec, "1.1.0")->failures = 40;
    world_exited(&w, "1.1.0", 1, EXIT_1);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    assert_int_equal(rec_next_ms(&w.rec), w.now_ms + REC_BACKOFF_MAX_MS);
}

static void test_restart_policy_decides_the_end(void **state) {
    (void) state;
    static const struct {
        const char *name;
        Orlop__RestartPolicy__Condition condition;
        uint32_t max;
        int status;
        enum task_state state;
        Orlop__TaskState end;
    } cases[] = {
        {"no, 0", 0, 0, EXIT_0, TASK_SAVING, ORLOP__TASK_STATE__COMPLETE},
        {"no, 1", 0, 0, EXIT_1, TASK_SAVING, ORLOP__TASK_STATE__FAILED},
        {"no, killed", 0, 0, BY_KILL, TASK_SAVING, ORLOP__TASK_STATE__FAILED},
        {"on-failure, 0", ON_FAILURE, 0, EXIT_0, TASK_SAVING, ORLOP__TASK_STATE__COMPLETE},
        {"on-failure, 1", ON_FAILURE, 3, EXIT_1, TASK_WAITING, 0},
        {"always, 0", ALWAYS, 0, EXIT_0, TASK_WAITING, 0},
    };
    world_list(&w, NULL, 0);
    for (size_t i = 0; i < array_len(cases); i++) {
        char id[16];
        snprintf(id, sizeof id, "1.%zu.0", i + 1);
        world_run(&w, &(struct world_task){.id = id,
                                           .service = "web",
                                           .restart = cases[i].condition,
                                           .max_attempts = cases[i].max});
        world_exited(&w, id, 1, cases[i].status);
        const struct task *t = rec_task(&w.rec, id);
        if (t->state != (int) cases[i].state || t->end != cases[i].end)
            fail_msg("%s", cases[i].name);
    }
}

static void test_restart_on_failure_gives_up_after_max(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){
                      .id = "1.1.0", .service = "job", .restart = ON_FAILURE, .max_attempts = 1});
    world_exited(&w, "1.1.0", 1, EXIT_1);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    world_tick(&w, 100);
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_started(&w, "1.1.0", 2);
    world_forget(&w);
    world_exited(&w, "1.1.0", 2, EXIT_1);
    world_expect(&w, "1.1.0 running>saving\n"
                     "1.1.0 ! forget 1\n"
                     "1.1.0 ! unwatch\n"
                     "1.1.0 = 1.2 STOPPING: exited with code 1\n"
                     "1.1.0 ! save\n"); /* the end is told only when it is on disk */
}

static void test_prepare_failure_rejects_or_is_tried_again(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "web"});
    world_forget(&w);
    world_event(
        &w, (struct rec_event){
                .kind = REC_EV_PREPARE_FAILED, .task = "1.1.0", .retry = true, .text = "no space"});
    world_expect(&w, "1.1.0 preparing>waiting retry\n"
                     "1.1.0 = 1.1 ASSIGNED: no space\n"
                     "1.1.0 ! clean 1\n");
    assert_int_equal(rec_next_ms(&w.rec), w.now_ms + REC_RETRY_MS);
    world_tick(&w, REC_RETRY_MS);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    world_forget(&w);
    world_event(&w, (struct rec_event){.kind = REC_EV_PREPARE_FAILED,
                                       .task = "1.1.0",
                                       .text = "image x is not here"});
    world_simple(&w, REC_EV_SAVED, "1.1.0");
    world_expect(&w, "1.1.0 preparing>saving\n"
                     "1.1.0 ! save\n"
                     "1.1.0 saving>final saved\n"
                     "1.1.0 = 1.1 REJECTED: image x is not here\n"
                     "1.1.0 ! close\n");
}

static void test_command_that_does_not_exist_fails_at_once(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_event(&w, (struct rec_event){.kind = REC_EV_START_FAILED,
                                       .task = "1.1.0",
                                       .error = -ENOENT,
                                       .phase = "exec",
                                       .text = "/bin/nope: No such file"});
    const struct task *t = rec_task(&w.rec, "1.1.0");
    assert_int_equal(t->state, TASK_SAVING);
    assert_int_equal(t->exit_code, 127);
    assert_string_equal(t->reason, "exec: /bin/nope: No such file");
}

static void test_start_timeout_closes_before_it_fails(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_forget(&w);
    world_tick(&w, REC_START_MS);
    world_expect(&w, "1.1.0 starting>closing\n"
                     "1.1.0 ! discard\n"
                     "1.1.0 ! close\n");
    world_simple(&w, REC_EV_CLOSED, "1.1.0");
    assert_int_equal(rec_task(&w.rec, "1.1.0")->end, ORLOP__TASK_STATE__FAILED);
}

static void test_view_comes_before_the_start(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.7.0", .service = "web", .assigned_idx = 7});
    world_expect(&w, "1.7.0 new>waiting\n"
                     "1.7.0 = 1.1 ASSIGNED: waits for the network of its assignment\n");
    world_event(&w, (struct rec_event){.kind = REC_EV_VIEW, .idx = 7});
    world_expect(&w, "1.7.0 waiting>preparing\n"
                     "1.7.0 ! prepare\n"
                     "1.7.0 = 1.1 PREPARING: waits for the network of its assignment\n");
}

static void test_interlock_waits_until_the_holder_is_gone(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    struct world_task old = {.id = "1.1.0", .service = "db", .address = 10, .volume = "data"};
    world_run(&w, &old);
    world_want(&w, &(struct world_task){.id = "1.2.0", .service = "db", .address = 10});
    world_want(
        &w, &(struct world_task){.id = "1.3.0", .service = "db", .address = 11, .volume = "data"});
    assert_int_equal(rec_task(&w.rec, "1.2.0")->state, TASK_WAITING);
    assert_int_equal(rec_task(&w.rec, "1.3.0")->state,
                     TASK_PREPARING); /* replicas may share a volume */
    old.want = WANT(STOP);
    world_want(&w, &old);
    world_want(
        &w, &(struct world_task){.id = "1.4.0", .service = "db", .address = 12, .volume = "data"});
    assert_int_equal(rec_task(&w.rec, "1.4.0")->state, TASK_WAITING); /* a successor may not */
    world_exited(&w, "1.1.0", 1, EXIT_0);
    world_simple(&w, REC_EV_CLOSED, "1.1.0");
    world_simple(&w, REC_EV_SAVED, "1.1.0");
    assert_int_equal(rec_task(&w.rec, "1.4.0")->state, TASK_WAITING); /* stopped is not gone */
    world_forget(&w);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    assert_int_equal(rec_task(&w.rec, "1.2.0")->state, TASK_PREPARING);
    assert_int_equal(rec_task(&w.rec, "1.4.0")->state, TASK_PREPARING);
}

static void test_agent_restart_adopts_what_runs(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_event(&w, (struct rec_event){.kind = REC_EV_HEALTH,
                                       .task = "1.1.0",
                                       .attempt = 1,
                                       .health = ORLOP__HEALTH__HEALTH_HEALTHY});
    world_restart(&w, 1);
    world_forget(&w);
    struct rec_entry e = {.task = "1.1.0", .boot = 1, .attempt = 1, .pid = 42};
    world_list(&w, &e, 1);
    world_expect(&w, "1.1.0 new>running\n"
                     "1.1.0 ! watch\n"
                     "1.1.0 = 1.1 RUNNING\n");
    assert_int_equal(rec_task(&w.rec, "1.1.0")->health, ORLOP__HEALTH__HEALTH_HEALTHY);
}

static void test_an_oom_of_a_child_is_told_once_for_each_kill(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_forget(&w);
    struct rec_event oom = {.kind = REC_EV_OOM, .task = "1.1.0", .attempt = 1, .idx = 1};
    world_event(&w, oom);
    world_event(&w, oom);
    oom.idx = 3;
    world_event(&w, oom);
    oom.attempt = 2; /* not this one */
    world_event(&w, oom);
    world_expect(&w, "1.1.0 = 1.1 RUNNING: out of memory: the kernel killed 1 process of it\n"
                     "1.1.0 = 1.1 RUNNING: out of memory: the kernel killed 3 processes of it\n");
    assert_true(rec_task(&w.rec, "1.1.0")->oom);
}

static void test_agent_restart_handles_an_exit_meanwhile(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "job"});
    world_restart(&w, 1);
    world_forget(&w);
    struct rec_entry e = {.task = "1.1.0",
                          .boot = 1,
                          .attempt = 1,
                          .ended = true,
                          .exit_known = true,
                          .wait_status = 0x700};
    world_list(&w, &e, 1);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_SAVING);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->exit_code, 7);
}

/* Killed between start record and go byte: the keeper's list knows an attempt that never ran. */
static void test_start_cut_off_by_the_keepers_death_is_no_end(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "job"});
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_simple(&w, REC_EV_KEEPER_LOST, NULL);
    struct rec_entry e = {.task = "1.1.0",
                          .boot = 1,
                          .attempt = 1,
                          .ended = true,
                          .exit_known = true,
                          .never_ran = true,
                          .wait_status = 127 << 8};
    world_list(&w, &e, 1);
    const struct task *t = rec_task(&w.rec, "1.1.0");
    assert_int_equal(t->attempt, 2);
    assert_int_equal(t->restarts, 0);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_started(&w, "1.1.0", 2);
    assert_int_equal(t->state, TASK_RUNNING);
}

/* A START that a dead agent left behind has the same id as the repeated one. */
static void test_agent_restart_repeats_the_same_attempt(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_simple(&w, REC_EV_PREPARED, "1.1.0"); /* noted, START sent, agent dies */
    world_restart(&w, 1);
    world_list(&w, NULL, 0);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->attempt, 1);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    world_simple(&w, REC_EV_PREPARED, "1.1.0");
    world_forget(&w);
    world_event(&w, (struct rec_event){.kind = REC_EV_START_FAILED,
                                       .task = "1.1.0",
                                       .error = -EALREADY,
                                       .phase = "start",
                                       .text = "there is such an attempt"});
    world_expect(&w, "- ! relist\n");
    struct rec_entry e = {.task = "1.1.0", .boot = 1, .attempt = 1, .pid = 42};
    world_list(&w, &e, 1);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_RUNNING);
}

static void test_agent_restart_after_close_never_starts_again(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_restart(&w, 1);
    struct rec_entry e = {.task = "1.1.0", .boot = 1, .attempt = 1, .ended = true, .closed = true};
    world_list(&w, &e, 1);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_CLOSING);
}

static void test_reboot_starts_again_in_order_without_a_scheduler(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0",
                                       .service = "web",
                                       .restart = ALWAYS,
                                       .depends = "db",
                                       .condition = ORLOP__DEPENDENCY__CONDITION__HEALTHY});
    world_run(&w, &(struct world_task){.id = "1.2.0", .service = "db", .restart = ALWAYS});
    world_restart(&w, 2);
    world_list(&w, NULL, 0);
    world_expect(&w, "1.1.0 new>waiting reboot\n"
                     "1.2.0 new>waiting reboot\n"
                     "1.2.0 waiting>preparing\n"
                     "1.1.0 = 2.1 ASSIGNED: waits for service db, at most 30 s\n"
                     "1.2.0 ! prepare\n"
                     "1.2.0 = 2.1 PREPARING: starts again after a reboot\n");
    world_event(&w, (struct rec_event){.kind = REC_EV_PREPARED,
                                       .task = "1.2.0",
                                       .health = ORLOP__HEALTH__HEALTH_STARTING});
    world_started(&w, "1.2.0", 1);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_WAITING);
    world_event(&w, (struct rec_event){.kind = REC_EV_HEALTH,
                                       .task = "1.2.0",
                                       .attempt = 1,
                                       .health = ORLOP__HEALTH__HEALTH_HEALTHY});
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_PREPARING);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->restarts, 1);
}

static void test_reboot_dependency_wait_ends_after_30_s(void **state) {
    (void) state;
    world_want(&w, &(struct world_task){.id = "1.1.0",
                                        .service = "web",
                                        .restart = ALWAYS,
                                        .depends = "db",
                                        .condition = ORLOP__DEPENDENCY__CONDITION__STARTED});
    world_restart(&w, 2);
    world_list(&w, NULL, 0);
    world_forget(&w);
    assert_int_equal(rec_next_ms(&w.rec), w.now_ms + REC_DEPENDS_MS);
    world_tick(&w, REC_DEPENDS_MS);
    world_expect(&w,
                 "1.1.0 waiting>preparing\n"
                 "1.1.0 = 2.1 PREPARING: starts although service db is not ready: waited 30 s\n"
                 "1.1.0 ! prepare\n"
                 "1.1.0 = 2.1 PREPARING: starts although service db is not ready: waited 30 s\n");
}

/* Whether it ran cannot be known. */
static void test_reboot_ends_restart_no(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "job"});
    world_restart(&w, 2);
    world_forget(&w);
    world_list(&w, NULL, 0);
    world_simple(&w, REC_EV_SAVED, "1.1.0");
    world_expect(&w, "1.1.0 new>saving\n"
                     "1.1.0 = 2.0 STOPPING: ended by reboot, exit unknown\n"
                     "1.1.0 ! save\n"
                     "1.1.0 saving>final saved\n"
                     "1.1.0 = 2.0 FAILED: ended by reboot, exit unknown\n"
                     "1.1.0 ! close\n");
}

static void test_keeper_restart_sends_again_what_was_not_answered(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_want(&w, &(struct world_task){.id = "1.1.0", .service = "a"});
    world_simple(&w, REC_EV_PREPARED, "1.1.0"); /* START under way */
    world_run(&w,
              &(struct world_task){.id = "1.2.0", .service = "b"}); /* its exit record is lost */
    struct world_task c = {.id = "1.3.0", .service = "c"};
    world_run(&w, &c);
    c.want = WANT(STOP);
    world_want(&w, &c); /* signal sent */
    world_simple(&w, REC_EV_KEEPER_LOST, NULL);
    world_forget(&w);
    struct rec_entry e = {.task = "1.3.0", .boot = 1, .attempt = 1, .pid = 44};
    world_list(&w, &e, 1);
    world_expect(&w, "1.2.0 running>saving\n"
                     "1.2.0 ! forget 1\n"
                     "1.2.0 ! unwatch\n"
                     "1.2.0 = 1.1 STOPPING: ended, exit unknown: nobody was there to record it\n"
                     "1.1.0 ! start\n"
                     "1.2.0 ! save\n"
                     "1.3.0 ! signal\n");
}

static void test_stray_is_killed_and_deleted_in_silence(void **state) {
    (void) state;
    struct rec_entry e = {.task = "7.7.7", .boot = 3, .attempt = 2, .pid = 42};
    world_list(&w, &e, 1);
    assert_int_equal(rec_strays(&w.rec), 1);
    world_exited(&w, "7.7.7", 2, BY_KILL);
    world_simple(&w, REC_EV_CLOSED, "7.7.7");
    world_simple(&w, REC_EV_CLEANED, "7.7.7");
    world_simple(&w, REC_EV_DELETED, "7.7.7");
    world_expect(&w, "7.7.7 new>closing stray\n"
                     "7.7.7 ! close\n"
                     "7.7.7 closing>saving closed\n"
                     "7.7.7 saving>final stray\n"
                     "7.7.7 ! clean 2\n"
                     "7.7.7 final>releasing\n"
                     "7.7.7 releasing>gone stray\n"
                     "7.7.7 gone>deleting\n"
                     "7.7.7 ! delete\n");
    assert_int_equal(rec_strays(&w.rec), 0);
}

static void test_halt_while_waiting_to_start_again_tells_no_stop(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "web", .restart = ALWAYS});
    world_exited(&w, "1.1.0", 1, EXIT_1);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    world_simple(&w, REC_EV_HALT, NULL);
    const struct task *t = rec_task(&w.rec, "1.1.0");
    assert_int_equal(t->state, TASK_HALTED);
    assert_int_equal(t->attempt, 2);
    /* attempt 2 is started by the next agent, so 2 must not have been told as stopping */
    assert_int_equal(task_wire_state(t), ORLOP__TASK_STATE__PREPARING);
}

static void test_halt_stops_dependants_first_and_keeps_tasks(void **state) {
    (void) state;
    world_list(&w, NULL, 0);
    world_run(&w, &(struct world_task){.id = "1.1.0", .service = "db", .restart = ALWAYS});
    world_run(&w, &(struct world_task){.id = "1.2.0",
                                       .service = "web",
                                       .restart = ALWAYS,
                                       .depends = "db",
                                       .condition = ORLOP__DEPENDENCY__CONDITION__STARTED});
    world_simple(&w, REC_EV_HALT, NULL);
    world_expect(&w, "1.2.0 running>stopping node stops\n"
                     "1.2.0 ! unwatch\n"
                     "1.2.0 ! signal\n");
    world_tick(&w, REC_GRACE_MS);
    world_expect(&w, "1.2.0 ! signal 9\n");
    world_exited(&w, "1.2.0", 1, BY_KILL);
    world_expect(&w, "1.2.0 stopping>halted node stops\n"
                     "1.1.0 running>stopping node stops\n"
                     "1.2.0 ! forget 1\n"
                     "1.2.0 = 1.1 STOPPING: the node was stopped\n"
                     "1.2.0 ! note\n"
                     "1.1.0 ! unwatch\n"
                     "1.1.0 ! signal\n"
                     "1.2.0 ! clean 1\n");
    world_exited(&w, "1.1.0", 1, EXIT_0);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    assert_false(rec_halted(&w.rec));
    world_simple(&w, REC_EV_CLEANED, "1.2.0");
    assert_true(rec_halted(&w.rec));
    world_restart(&w, 1); /* `orlop dev` again, in the same boot */
    world_forget(&w);
    world_list(&w, NULL, 0);
    assert_int_equal(rec_task(&w.rec, "1.1.0")->attempt, 2);
    world_simple(&w, REC_EV_CLEANED, "1.1.0");
    assert_int_equal(rec_task(&w.rec, "1.1.0")->state, TASK_PREPARING);
}

/* Whichever allocation fails: -ENOMEM, nothing happened, and the same event again gives the same
 * lines. */
static void test_step_nth_allocation_fails_and_nothing_happened(void **state) {
    (void) state;
    for (unsigned long n = 1; n < 20; n++) {
        struct world a;
        world_init(&a, 1);
        struct rec_entry e = {.task = "7.7.7", .boot = 3, .attempt = 2, .pid = 42};
        mem_fail_after(n);
        world_list(&a, &e, 1);
        mem_fail_after(0);
        bool failed = a.step_error < 0;
        if (failed) {
            assert_int_equal(a.step_error, -ENOMEM);
            world_expect(&a, "");
            assert_false(a.rec.keeper_up);
            world_list(&a, &e, 1);
        }
        world_expect(&a, "7.7.7 new>closing stray\n"
                         "7.7.7 ! close\n");
        world_fini(&a);
        if (!failed) return;
    }
    fail();
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_task_wanted_is_started),
        T(test_task_stop_drains_signals_closes_and_is_gone),
        T(test_task_stop_every_wait_has_its_bound),
        T(test_task_stopped_before_its_start_is_closed_first),
        T(test_task_stop_while_preparing_waits_for_the_job),
        T(test_restart_always_backs_off_and_window_resets),
        T(test_restart_back_off_ends_at_a_minute),
        T(test_restart_policy_decides_the_end),
        T(test_restart_on_failure_gives_up_after_max),
        T(test_prepare_failure_rejects_or_is_tried_again),
        T(test_command_that_does_not_exist_fails_at_once),
        T(test_start_timeout_closes_before_it_fails),
        T(test_view_comes_before_the_start),
        T(test_interlock_waits_until_the_holder_is_gone),
        T(test_agent_restart_adopts_what_runs),
        T(test_an_oom_of_a_child_is_told_once_for_each_kill),
        T(test_agent_restart_handles_an_exit_meanwhile),
        T(test_agent_restart_repeats_the_same_attempt),
        T(test_start_cut_off_by_the_keepers_death_is_no_end),
        T(test_agent_restart_after_close_never_starts_again),
        T(test_reboot_starts_again_in_order_without_a_scheduler),
        T(test_reboot_dependency_wait_ends_after_30_s),
        T(test_reboot_ends_restart_no),
        T(test_keeper_restart_sends_again_what_was_not_answered),
        T(test_stray_is_killed_and_deleted_in_silence),
        T(test_halt_while_waiting_to_start_again_tells_no_stop),
        T(test_halt_stops_dependants_first_and_keeps_tasks),
        T(test_step_nth_allocation_fails_and_nothing_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
