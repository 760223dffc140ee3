// SPDX-License-Identifier: Apache-2.0
/* The whole scheduler: process, log on disk, api.sock, a client and a pretending agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "rig.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/api/api.h"
#include "tests/lib/manifest_text.h"

static int setup(void **state) {
    static struct rig r;
    rig_start(&r);
    *state = &r;
    return 0;
}

static int teardown(void **state) {
    rig_stop(*state);
    return 0;
}

/* --- requests -------------------------------------------------------------------------------- */

static void apply_shop(struct rig *r, const char *replicas, uint64_t number, struct err *err,
                       uint64_t *ret_revision) {
    struct manifest_text m;
    manifest_text_init(&m);
    char rep[32];
    snprintf(rep, sizeof rep, "replicas=%s", replicas);
    char net[] = "network", key[] = "default", vol[] = "volume", data[] = "data";
    char *n[] = {net, key}, *v[] = {vol, data};
    manifest_text_add(&m, n, 2);
    manifest_text_add(&m, v, 2);
    char s1[] = "service", db[] = "db", dbnet[] = "net=default", mount[] = "mount=data:/data";
    char *d[] = {s1, db, dbnet, mount};
    manifest_text_add(&m, d, 4);
    char s2[] = "service", web[] = "web", webnet[] = "net=default", needs[] = "needs=db:started";
    char *w[] = {s2, web, rep, webnet, needs};
    manifest_text_add(&m, w, 5);
    Orlop__AppApplyRequest q = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__RequestId id = rig_request_id(r);
    if (number) id.number = number;
    q.request = &id;
    q.app = manifest_text_app(&m, "shop");
    q.remove_orphans = true;
    struct arena a;
    arena_init(&a, 1 << 20);
    *err = (struct err){0};
    Orlop__AppApplyAnswer *ans = rig_call(r, ORLOP__METHOD__APP_APPLY, &q.base,
                                          &orlop__app_apply_answer__descriptor, &a, err);
    if (ans) *ret_revision = ans->revision;
    arena_fini(&a);
    manifest_text_fini(&m);
}

/* Of the shop: services settled, exists. */
static bool shop_is(struct rig *r, bool exists, size_t settled) {
    struct arena a;
    arena_init(&a, 4 << 20);
    Orlop__AppStatusRequest q = ORLOP__APP_STATUS_REQUEST__INIT;
    q.app = "shop";
    Orlop__AppStatusAnswer *s = rig_call(r, ORLOP__METHOD__APP_STATUS, &q.base,
                                         &orlop__app_status_answer__descriptor, &a, NULL);
    size_t n = 0;
    for (size_t i = 0; s && i < s->n_services; i++) n += s->services[i]->settled ? 1 : 0;
    bool is = s && s->exists == (protobuf_c_boolean) exists && n == settled;
    arena_fini(&a);
    return is;
}

static bool wait_shop(struct rig *r, bool exists, size_t settled) {
    uint64_t until = uv_hrtime() + (uint64_t) RIG_DEADLINE_MS * 1000000;
    while (!shop_is(r, exists, settled))
        if (uv_hrtime() > until) return false;
    return true;
}

static bool web_serves_three(struct rig *r) {
    return (uintptr_t) map_get(&r->services, "web") == 4;
}

static void remove_shop(struct rig *r) {
    struct arena a;
    arena_init(&a, 1 << 20);
    Orlop__AppRemoveRequest q = ORLOP__APP_REMOVE_REQUEST__INIT;
    Orlop__RequestId id = rig_request_id(r);
    q.request = &id;
    q.app = "shop";
    q.volumes = true;
    assert_non_null(rig_call(r, ORLOP__METHOD__APP_REMOVE, &q.base,
                             &orlop__write_answer__descriptor, &a, NULL));
    arena_fini(&a);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_app_runs_and_goes(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    rig_dial_agent(r);
    apply_shop(r, "3", 0, &err, &revision);
    assert_int_equal(err.code, 0);
    assert_int_equal(revision, 1);
    assert_true(wait_shop(r, true, 2));
    assert_true(rig_until(r, web_serves_three));
    assert_int_equal(map_len(&r->tasks), 4);
    assert_int_equal(r->fulls, 1);
    assert_true(r->commits > 0);
    remove_shop(r);
    assert_true(wait_shop(r, false, 0));
    assert_int_equal(map_len(&r->tasks), 0);
    assert_non_null(map_get(&r->volumes_gone, "shop_data"));
}

static size_t task_ids(const struct rig *r, char ids[4][64]) {
    size_t n = 0;
    const char *id;
    for (size_t i = 0; n < 4 && map_next(&r->tasks, &i, &id, NULL); n++)
        snprintf(ids[n], 64, "%s", id);
    return n;
}

static void test_kill_loses_nothing_acknowledged(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    rig_dial_agent(r);
    apply_shop(r, "3", 0, &err, &revision);
    assert_true(wait_shop(r, true, 2));
    assert_true(rig_until(r, web_serves_three));
    char ids[4][64];
    size_t n = task_ids(r, ids);
    rig_kill_scheduler(r);
    rig_run_scheduler(r);
    assert_true(shop_is(r, true, 2)); /* before anybody asks for anything */
    /* The same request again: the same answer, nothing done twice. */
    revision = 0;
    apply_shop(r, "3", r->requests, &err, &revision);
    assert_int_equal(err.code, 0);
    assert_int_equal(revision, 1);
    assert_true(wait_shop(r, true, 2));
    assert_int_equal(map_len(&r->tasks), 4);
    for (size_t i = 0; i < n; i++) assert_non_null(map_get(&r->tasks, ids[i]));
    apply_shop(r, "1", 0, &err, &revision);
    assert_int_equal(revision, 2);
    assert_true(wait_shop(r, true, 2));
}

static void test_broken_app_is_refused_with_a_sentence(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    apply_shop(r, "10001", 0, &err, &revision);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "service web: 10001 replicas; at most 10000");
    assert_int_equal(revision, 0);
}

static void test_why_without_a_node_says_so(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    apply_shop(r, "2", 0, &err, &revision);
    struct arena a;
    arena_init(&a, 1 << 20);
    Orlop__WhyRequest q = ORLOP__WHY_REQUEST__INIT;
    q.app = "shop";
    q.subject = "web";
    Orlop__WhyAnswer *w;
    do w = rig_call(r, ORLOP__METHOD__WHY, &q.base, &orlop__why_answer__descriptor, &a, &err);
    while (w && w->n_lines < 4); /* until the plan has made the tasks */
    assert_non_null(w);
    if (!w) return; /* for the compiler: the assertion jumps */
    assert_false(w->healthy);
    assert_string_equal(w->lines[0], "shop-db-1: no node has joined yet: is an agent running?");
    assert_string_equal(w->lines[2], "web waits for db to start: it is pending");
    arena_fini(&a);
}

/* The last line but one that `why` says of an app of one task that ends as ENDS says. */
static void why_of_end(struct rig *r, const char *app, Orlop__RestartPolicy *policy,
                       Orlop__TaskStatus *ends, char ret[256]) {
    struct manifest_text m;
    struct arena a;
    struct err err;
    manifest_text_init(&m);
    arena_init(&a, 4 << 20);
    char s[] = "service", web[] = "web";
    char *words[] = {s, web};
    manifest_text_add(&m, words, 2);
    Orlop__AppApplyRequest q = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__RequestId id = rig_request_id(r);
    q.request = &id;
    q.app = manifest_text_app(&m, app);
    q.app->services[0]->restart = policy;
    r->ends = ends;
    assert_non_null(rig_call(r, ORLOP__METHOD__APP_APPLY, &q.base,
                             &orlop__app_apply_answer__descriptor, &a, &err));
    Orlop__WhyRequest wq = ORLOP__WHY_REQUEST__INIT;
    wq.app = (char *) (uintptr_t) app;
    Orlop__WhyAnswer *w;
    do w = rig_call(r, ORLOP__METHOD__WHY, &wq.base, &orlop__why_answer__descriptor, &a, &err);
    while (w && (w->n_lines < 3 || !strstr(w->lines[0], ends->reason)));
    assert_non_null(w);
    if (w) snprintf(ret, 256, "%s", w->lines[w->n_lines - 2]);
    arena_fini(&a);
    manifest_text_fini(&m);
}

static void test_why_of_an_end_says_what_comes_next(void **state) {
    struct rig *r = *state;
    Orlop__RestartPolicy never = ORLOP__RESTART_POLICY__INIT, always = never, thrice = never;
    never.condition = ORLOP__RESTART_POLICY__CONDITION__NO;
    always.condition = ORLOP__RESTART_POLICY__CONDITION__UNLESS_STOPPED;
    thrice.condition = ORLOP__RESTART_POLICY__CONDITION__ON_FAILURE;
    thrice.max_attempts = 3;
    Orlop__TaskStatus missing = ORLOP__TASK_STATUS__INIT, ended = missing, rejected = missing;
    missing.state = ended.state = ORLOP__TASK_STATE__FAILED;
    missing.exit_known = ended.exit_known = true;
    missing.exit_code = 127;
    missing.reason = "exec: nope: not found";
    ended.exit_code = 1;
    ended.started_unix_ms = 1;
    ended.restarts = 3;
    ended.reason = "exit code 1";
    rejected.state = ORLOP__TASK_STATE__REJECTED;
    rejected.reason = "port 80 is taken";
    const struct {
        const char *app;
        Orlop__RestartPolicy *policy;
        Orlop__TaskStatus *ends;
        const char *says;
    } cases[] = {
        {"a", &never, &missing, "a-web-1: its restart policy says not to start it again"},
        {"b", &always, &missing,
         "b-web-1: such a start is not tried again, whatever its restart policy says"},
        {"c", &thrice, &missing,
         "c-web-1: such a start is not tried again, whatever its restart policy says"},
        {"d", &thrice, &ended, "d-web-1: its restart policy says not to start it again"},
        {"e", &always, &rejected, "e-web-1: that was attempt 1; the next one follows in "},
    };
    rig_dial_agent(r);
    for (size_t i = 0; i < array_len(cases); i++) {
        char line[256] = "";
        why_of_end(r, cases[i].app, cases[i].policy, cases[i].ends, line);
        if (!str_starts(line, cases[i].says)) assert_string_equal(line, cases[i].says);
    }
    r->ends = NULL;
}

static void test_exec_and_logs_reach_the_agent(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    rig_dial_agent(r);
    apply_shop(r, "3", 0, &err, &revision);
    assert_true(wait_shop(r, true, 2));
    struct arena a;
    arena_init(&a, 1 << 20);
    Orlop__ExecRequest e = ORLOP__EXEC_REQUEST__INIT;
    e.app = "shop";
    e.service = "web";
    e.slot = 2;
    Orlop__ExecOutput *out =
        rig_call(r, ORLOP__METHOD__EXEC, &e.base, &orlop__exec_output__descriptor, &a, &err);
    assert_non_null(out);
    assert_int_equal(out->exit->code, 42);
    struct fake_task *t = map_get(&r->tasks, r->exec_task);
    assert_non_null(t);
    assert_int_equal(t->slot, 2);
    Orlop__LogsRequest l = ORLOP__LOGS_REQUEST__INIT;
    l.app = "shop";
    l.tail = -1;
    Orlop__LogBatch *b =
        rig_call(r, ORLOP__METHOD__LOGS, &l.base, &orlop__log_batch__descriptor, &a, &err);
    assert_non_null(b);
    assert_int_equal(r->asked_logs, 4);
    assert_true(str_starts(b->lines[0]->name, "shop-"));
    arena_fini(&a);
}

/* --- readers of logs, up to the limit --- */

static struct {
    unsigned ended;
    struct err last;
} readers;

static void reader_ended(void *ctx, struct bus_stream *s, const struct err *err) {
    (void) ctx;
    (void) s;
    readers.ended++;
    readers.last = *err;
}

static bool reader_has_ended(struct rig *r) {
    (void) r;
    return readers.ended > 0;
}

static struct bus_stream *follow_shop(struct rig *r) {
    static const struct bus_stream_ops ops = {.closed = reader_ended};
    struct bus_stream *s = NULL;
    Orlop__LogsRequest l = ORLOP__LOGS_REQUEST__INIT;
    l.app = "shop";
    l.follow = true;
    l.tail = -1;
    assert_int_equal(bus_request_pb(r->client, ORLOP__METHOD__LOGS, &l.base, &ops, r, &s), 0);
    return s;
}

/* What was asked before it has been heard. */
static void ask_for_nodes(struct rig *r) {
    struct arena a;
    struct err err;
    arena_init(&a, 1 << 20);
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    assert_non_null(rig_call(r, ORLOP__METHOD__NODE_LIST, &q.base,
                             &orlop__node_list_answer__descriptor, &a, &err));
    arena_fini(&a);
}

static void test_one_reader_of_logs_too_many_is_refused(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    apply_shop(r, "1", 0, &err, &revision);
    memset(&readers, 0, sizeof readers);
    struct bus_stream *first = follow_shop(r);
    for (int i = 1; i < API_LOGS_MAX; i++) (void) follow_shop(r);
    ask_for_nodes(r);
    assert_int_equal(readers.ended, 0);
    (void) follow_shop(r);
    assert_true(rig_until(r, reader_has_ended));
    assert_int_equal(readers.last.code, -EBUSY);
    assert_string_equal(readers.last.text,
                        "256 clients read logs already, which is as many as there may be");
    readers.ended = 0;
    bus_cancel(first);
    assert_true(rig_until(r, reader_has_ended));
    ask_for_nodes(r); /* the scheduler has let go of it */
    (void) follow_shop(r);
    ask_for_nodes(r);
    assert_int_equal(readers.ended, 1); /* that was the first one */
}

static bool node_down_seen(struct rig *r) {
    struct arena a;
    arena_init(&a, 4 << 20);
    Orlop__Empty q = ORLOP__EMPTY__INIT;
    Orlop__NodeListAnswer *n = rig_call(r, ORLOP__METHOD__NODE_LIST, &q.base,
                                        &orlop__node_list_answer__descriptor, &a, NULL);
    bool down = n && n->n_nodes == 1 && str_eq(n->nodes[0]->state, "down");
    arena_fini(&a);
    return down;
}

static void lose_node(struct rig *r) {
    uint64_t until = uv_hrtime() + (uint64_t) RIG_DEADLINE_MS * 1000000;
    rig_hang_up_agent(r);
    while (!node_down_seen(r)) assert_true(uv_hrtime() < until);
}

static void test_logs_of_a_node_that_is_away_are_said_to_be_missing(void **state) {
    struct rig *r = *state;
    struct err err;
    struct arena a;
    uint64_t revision = 0;
    rig_dial_agent(r);
    apply_shop(r, "1", 0, &err, &revision);
    assert_true(wait_shop(r, true, 2));
    lose_node(r);
    arena_init(&a, 1 << 20);
    Orlop__LogsRequest l = ORLOP__LOGS_REQUEST__INIT;
    l.app = "shop";
    l.tail = -1;
    assert_null(rig_call(r, ORLOP__METHOD__LOGS, &l.base, &orlop__log_batch__descriptor, &a, &err));
    assert_int_equal(err.code, -ENOTCONN);
    assert_string_equal(err.text, "node n1 is not connected: its tasks' lines are missing");
    arena_fini(&a);
}

static void test_silent_node_is_down_and_comes_back_with_its_tasks(void **state) {
    struct rig *r = *state;
    struct err err;
    uint64_t revision = 0;
    rig_dial_agent(r);
    apply_shop(r, "3", 0, &err, &revision);
    assert_true(wait_shop(r, true, 2));
    lose_node(r);
    assert_true(wait_shop(r, true, 0));
    rig_dial_agent(r);
    assert_true(wait_shop(r, true, 2));
    assert_int_equal(map_len(&r->tasks), 4);
    assert_int_equal(r->web_when_full, 4); /* the first set after it: all three serve */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_app_runs_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_loses_nothing_acknowledged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_app_is_refused_with_a_sentence, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_why_without_a_node_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(test_why_of_an_end_says_what_comes_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exec_and_logs_reach_the_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_logs_of_a_node_that_is_away_are_said_to_be_missing,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_reader_of_logs_too_many_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_silent_node_is_down_and_comes_back_with_its_tasks,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
