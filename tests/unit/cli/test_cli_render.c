// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cli/render.h"
#include "runtime/base/clock.h"
#include "runtime/base/mem.h"

static char web[] = "web", name[] = "shop-web-1", reason[] = "exec /x: No such file",
            ip[] = "127.0.0.1", ip6[] = "::1", waiting[] = "waits for db to be healthy";

static void expect_status(const Orlop__TaskInfo *t, const char *want) {
    struct buf b;
    buf_init(&b, 4096);
    render_status(t, &b);
    assert_string_equal(buf_str(&b), want);
    buf_fini(&b);
}

static void test_status_says_what_a_user_wants_to_know(void **state) {
    (void) state;
    Orlop__TaskInfo t = ORLOP__TASK_INFO__INIT;
    expect_status(&t, "Pending");
    t.waiting = waiting;
    expect_status(&t, "Pending: waits for db to be healthy");
    Orlop__TaskStatus s = ORLOP__TASK_STATUS__INIT;
    t.status = &s;
    s.state = ORLOP__TASK_STATE__RUNNING;
    s.started_unix_ms = clock_unix_ms() - 10 * 60000;
    expect_status(&t, "Up 10 minutes");
    s.health = ORLOP__HEALTH__HEALTH_HEALTHY;
    s.restarts = 1;
    expect_status(&t, "Up 10 minutes (healthy), 1 restart");
    s.state = ORLOP__TASK_STATE__FAILED;
    s.exit_known = true;
    s.exit_code = 137;
    s.oom = true;
    s.restarts = 0;
    expect_status(&t, "Exited (137), out of memory");
    s.oom = false;
    s.exit_known = false;
    s.reason = reason;
    expect_status(&t, "Ended (code unknown): exec /x: No such file");
    s.state = ORLOP__TASK_STATE__REJECTED;
    expect_status(&t, "Rejected: exec /x: No such file");
}

static void test_ports_as_compose_writes_them(void **state) {
    (void) state;
    Orlop__Port a = ORLOP__PORT__INIT, b = ORLOP__PORT__INIT, c = ORLOP__PORT__INIT,
                d = ORLOP__PORT__INIT;
    a.target = 80, a.published = 8080, a.host_ip = ip, a.protocol = ORLOP__PORT__PROTOCOL__TCP;
    b.target = 53, b.published = 53, b.protocol = ORLOP__PORT__PROTOCOL__UDP;
    c.target = 81, c.published = 81, c.host_ip = ip6, c.protocol = ORLOP__PORT__PROTOCOL__TCP;
    d.target = 9;
    Orlop__Port *ports[] = {&a, &b, &c, &d};
    Orlop__TaskInfo t = ORLOP__TASK_INFO__INIT;
    t.ports = ports;
    t.n_ports = array_len(ports);
    struct buf out;
    buf_init(&out, 4096);
    render_ports(&t, &out);
    assert_string_equal(buf_str(&out),
                        "127.0.0.1:8080->80/tcp, 0.0.0.0:53->53/udp, [::1]:81->81/tcp, 9/tcp");
    buf_fini(&out);
}

static void test_json_of_any_message(void **state) {
    (void) state;
    Orlop__TaskAddress addr = ORLOP__TASK_ADDRESS__INIT;
    addr.address = 0x0a500002;
    Orlop__TaskAddress *addrs[] = {&addr};
    Orlop__TaskStatus s = ORLOP__TASK_STATUS__INIT;
    s.state = ORLOP__TASK_STATE__RUNNING;
    s.boot = UINT64_MAX;
    Orlop__TaskInfo t = ORLOP__TASK_INFO__INIT;
    t.name = name;
    t.status = &s;
    t.addresses = addrs;
    t.n_addresses = 1;
    json_t *j = render_json_of(&t.base);
    assert_string_equal(json_string_value(json_object_get(j, "name")), "shop-web-1");
    json_t *status = json_object_get(j, "status");
    assert_string_equal(json_string_value(json_object_get(status, "state")), "running");
    assert_string_equal(json_string_value(json_object_get(status, "boot")), "18446744073709551615");
    json_t *a = json_array_get(json_object_get(j, "addresses"), 0);
    assert_string_equal(json_string_value(json_object_get(a, "address")), "10.80.0.2");
    assert_true(json_is_false(json_object_get(j, "current")));
    json_decref(j);
    Orlop__NodeInfo n = ORLOP__NODE_INFO__INIT;
    j = render_json_of(&n.base);
    assert_null(json_object_get(j, "inventory"));
    json_decref(j);
    Orlop__ExecInput in = ORLOP__EXEC_INPUT__INIT;
    in.what_case = ORLOP__EXEC_INPUT__WHAT_DATA;
    in.data = (ProtobufCBinaryData){2, (uint8_t[]){0x0f, 0xa0}};
    j = render_json_of(&in.base);
    assert_string_equal(json_string_value(json_object_get(j, "data")), "0fa0");
    assert_int_equal(json_object_size(j), 1);
    json_decref(j);
}

static void test_task_is_a_flat_object(void **state) {
    (void) state;
    Orlop__TaskStatus s = ORLOP__TASK_STATUS__INIT;
    Orlop__TaskInfo t = ORLOP__TASK_INFO__INIT;
    t.name = name;
    t.service = web;
    json_t *j = render_task(&t);
    assert_string_equal(json_string_value(json_object_get(j, "state")), "pending");
    assert_true(json_is_null(json_object_get(j, "exit_code")));
    json_decref(j);
    t.status = &s;
    s.state = ORLOP__TASK_STATE__FAILED;
    s.exit_known = true;
    s.exit_code = 42;
    s.pid = 7;
    j = render_task(&t);
    assert_int_equal(json_integer_value(json_object_get(j, "exit_code")), 42);
    assert_int_equal(json_integer_value(json_object_get(j, "pid")), 7);
    json_decref(j);
}

static void test_bytes(void **state) {
    (void) state;
    char b[RENDER_BYTES_MAX];
    assert_string_equal(render_bytes(0, b), "0 B");
    assert_string_equal(render_bytes(1023, b), "1023 B");
    assert_string_equal(render_bytes(1536, b), "1.5 KiB");
    assert_string_equal(render_bytes(UINT64_C(200) << 20, b), "200 MiB");
    assert_string_equal(render_bytes(UINT64_MAX, b), "16.0 EiB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_says_what_a_user_wants_to_know),
        cmocka_unit_test(test_ports_as_compose_writes_them),
        cmocka_unit_test(test_json_of_any_message),
        cmocka_unit_test(test_task_is_a_flat_object),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
