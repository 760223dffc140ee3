// SPDX-License-Identifier: Apache-2.0
/* Each case is a sound app with one thing broken: the code and the sentence must say what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "proto/arena.h"
#include "proto/check.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

struct sound {
    Orlop__App app;
    Orlop__Service web, db;
    Orlop__Service *services[2];
    Orlop__Network net;
    Orlop__Network *networks[1];
    Orlop__Volume volume;
    Orlop__Volume *volumes[1];
    Orlop__Content secret;
    Orlop__Content *secrets[1];
    Orlop__ServiceNetwork join;
    Orlop__ServiceNetwork *joins[1];
    Orlop__Port port;
    Orlop__Port *ports[1];
    Orlop__Mount mount;
    Orlop__Mount *mounts[1];
    Orlop__Dependency needs, back;
    Orlop__Dependency *need_list[1], *back_list[1];
    Orlop__ContentUse use;
    Orlop__ContentUse *uses[1];
    Orlop__Healthcheck health;
    char *test[2];
    Orlop__Resources resources;
    Orlop__RestartPolicy restart;
    Orlop__KeyValue env;
    Orlop__KeyValue *envs[1];
};

static void make_web(struct sound *s) {
    orlop__service__init(&s->web);
    s->web.name = "web";
    s->web.image = "image:1";
    s->web.replicas = 2;
    orlop__service_network__init(&s->join);
    s->join.network = "default";
    s->joins[0] = &s->join;
    s->web.networks = s->joins;
    s->web.n_networks = 1;
    orlop__port__init(&s->port);
    s->port = (Orlop__Port){s->port.base, ORLOP__PORT__PROTOCOL__TCP, 80, 8080, "127.0.0.1"};
    s->ports[0] = &s->port;
    s->web.ports = s->ports;
    s->web.n_ports = 1;
    orlop__mount__init(&s->mount);
    s->mount.kind = ORLOP__MOUNT__KIND__VOLUME;
    s->mount.source = "data";
    s->mount.target = "/data";
    s->mounts[0] = &s->mount;
    s->web.mounts = s->mounts;
    s->web.n_mounts = 1;
    orlop__dependency__init(&s->needs);
    s->needs.service = "db";
    s->needs.condition = ORLOP__DEPENDENCY__CONDITION__HEALTHY;
    s->need_list[0] = &s->needs;
    s->web.depends_on = s->need_list;
    s->web.n_depends_on = 1;
}

static void make_db(struct sound *s) {
    orlop__service__init(&s->db);
    s->db.name = "db";
    s->db.image = "image:1";
    s->db.replicas = 1;
    orlop__content_use__init(&s->use);
    s->use.source = "key";
    s->use.target = "/run/secrets/key";
    s->uses[0] = &s->use;
    s->db.secrets = s->uses;
    s->db.n_secrets = 1;
    orlop__healthcheck__init(&s->health);
    s->test[0] = "CMD-SHELL";
    s->test[1] = "true";
    s->health.test = s->test;
    s->health.n_test = 2;
    s->db.healthcheck = &s->health;
    orlop__resources__init(&s->resources);
    s->db.resources = &s->resources;
    orlop__restart_policy__init(&s->restart);
    s->db.restart = &s->restart;
    orlop__key_value__init(&s->env);
    s->env.key = "A";
    s->envs[0] = &s->env;
    s->db.environment = s->envs;
    s->db.n_environment = 1;
    orlop__dependency__init(&s->back);
    s->back.service = "web";
    s->back.condition = ORLOP__DEPENDENCY__CONDITION__STARTED;
    s->back_list[0] = &s->back;
    s->db.depends_on = s->back_list; /* n_depends_on stays 0 */
}

static void make(struct sound *s) {
    *s = (struct sound){.app = ORLOP__APP__INIT};
    make_web(s);
    make_db(s);
    orlop__network__init(&s->net);
    s->net.key = "default";
    s->net.name = "a_default";
    orlop__volume__init(&s->volume);
    s->volume.key = "data";
    s->volume.name = "a_data";
    orlop__content__init(&s->secret);
    s->secret.name = "key";
    s->services[0] = &s->web;
    s->services[1] = &s->db;
    s->networks[0] = &s->net;
    s->volumes[0] = &s->volume;
    s->secrets[0] = &s->secret;
    s->app.name = "a";
    s->app.services = s->services;
    s->app.n_services = 2;
    s->app.networks = s->networks;
    s->app.n_networks = 1;
    s->app.volumes = s->volumes;
    s->app.n_volumes = 1;
    s->app.secrets = s->secrets;
    s->app.n_secrets = 1;
}

static void test_check_app_accepts_a_sound_one(void **state) {
    (void) state;
    struct sound s;
    struct err err = {0};
    make(&s);
    int r = check_app(&s.app, &err);
    if (r < 0) print_error("%s\n", err.text);
    assert_int_equal(r, 0);
}

static char long_text[(96 << 10) + 1];

/* One statement that breaks S, and how the sentence begins. */
#define BREAK(name, statement)                                                                     \
    static void name(struct sound *s) {                                                            \
        statement;                                                                                 \
    }
BREAK(app_name, s->app.name = "Big")
BREAK(no_services, s->app.n_services = 0)
BREAK(twice, s->db.name = "web")
BREAK(service_name, s->db.name = "-db")
BREAK(no_image, s->db.image = "")
BREAK(digest, s->db.image_digest = "sha256:12")
BREAK(replicas, s->db.replicas = 10001)
BREAK(all_replicas, (s->db.replicas = 6000, s->web.replicas = 6000))
BREAK(port_range, s->port.target = 70000)
BREAK(port_protocol, s->port.protocol = 9)
BREAK(host_ip, s->port.host_ip = "example.org")
BREAK(internal, s->net.internal = true)
BREAK(no_network, s->join.network = "x")
BREAK(static_replicas, s->join.ipv4_address = "10.0.0.2")
BREAK(subnet, s->net.subnet = "10.0.0.1/24")
BREAK(pool, s->net.subnet = "192.168.7.0/24")
BREAK(pool_wide, s->net.subnet = "10.80.0.0/11")
BREAK(gateway, (s->net.subnet = "10.0.0.0/24", s->net.gateway = "10.0.1.1"))
BREAK(no_volume, s->mount.source = "x")
BREAK(relative, s->mount.target = "data")
BREAK(dots, s->mount.target = "/data/../etc")
BREAK(subpath, s->mount.subpath = "../x")
BREAK(bind_source, (s->mount.kind = ORLOP__MOUNT__KIND__BIND, s->mount.source = "./x"))
BREAK(mount_kind, s->mount.kind = 77)
BREAK(no_dependency, s->needs.service = "x")
BREAK(itself, s->needs.service = "web")
BREAK(condition, s->needs.condition = 0)
BREAK(circle, s->db.n_depends_on = 1)
BREAK(no_secret, s->use.source = "x")
BREAK(secret_mode, s->use.mode = 010000)
BREAK(secret_size, s->secret.data.len = 1 << 20)
BREAK(health_test, s->test[0] = "SHELL")
BREAK(health_time, s->health.interval_ms = UINT64_MAX)
BREAK(reservation, (s->resources.memory_limit_bytes = 1, s->resources.memory_reservation_bytes = 2))
BREAK(memory, s->resources.memory_reservation_bytes = UINT64_MAX)
BREAK(cpu, s->resources.cpu_limit_millis = UINT64_MAX / 100000 + 1)
BREAK(pids, s->resources.pids_limit = UINT64_C(1) << 32)
BREAK(policy, s->restart.condition = 99)
BREAK(env_name, s->env.key = "A=B")
BREAK(working_dir, s->db.working_dir = "x")
BREAK(hostname, s->db.hostname = "a\n10.0.0.1 b")
BREAK(volume_name, s->volume.name = "../x")
BREAK(image, s->db.image = "No/Upper")
BREAK(user, s->db.user = "a b")
BREAK(stop_signal, s->db.stop_signal = "SIGFOO")
BREAK(secret_over_mount,
      (s->db.mounts = s->web.mounts, s->db.n_mounts = 1, s->use.target = s->mount.target))
BREAK(long_command, s->env.value = long_text)
BREAK(tenant_privileged, (s->app.tenant = "t", s->db.privileged = true))
BREAK(tenant_bind,
      (s->app.tenant = "t", s->mount.kind = ORLOP__MOUNT__KIND__BIND, s->mount.source = "/"))
BREAK(tenant_pid, (s->app.tenant = "t", s->db.pid_mode = "host"))
BREAK(tenant_ipc, (s->app.tenant = "t", s->db.ipc_mode = "host"))
BREAK(tenant_filter, (s->app.tenant = "t", s->db.seccomp_unconfined = true))
#undef BREAK

static void test_check_app_refuses_with_a_sentence(void **state) {
    (void) state;
    static const struct {
        void (*broken)(struct sound *s);
        const char *says;
    } cases[] = {
        {app_name, "app name \"Big\""},
        {no_services, "0 services"},
        {twice, "service web is there twice"},
        {service_name, "service name \"-db\""},
        {no_image, "service db: there is no image"},
        {digest, "service db: \"sha256:12\" is no digest"},
        {replicas, "service db: 10001 replicas"},
        {all_replicas, "12000 replicas in all"},
        {port_range, "service web: port 70000 is not"},
        {port_protocol, "service web: port 80: unknown protocol"},
        {host_ip, "service web: port 80: \"example.org\" is no IP address"},
        {internal, "service web: it publishes ports, but"},
        {no_network, "service web: network x is not defined"},
        {static_replicas, "service web: ipv4_address is for one replica"},
        {pool, "network default: subnet 192.168.7.0/24 is not in 10.80.0.0/12"},
        {pool_wide, "network default: subnet"},
        {subnet, "network default: subnet \"10.0.0.1/24\""},
        {gateway, "network default: gateway 10.0.1.1 is not in"},
        {no_volume, "service web: volume x is not defined"},
        {relative, "service web: mount target: \"data\""},
        {dots, "service web: mount target: \"/data/../etc\""},
        {subpath, "service web: mount /data: subpath \"../x\""},
        {bind_source, "service web: bind source \"./x\""},
        {mount_kind, "service web: mount /data: unknown kind 77"},
        {no_dependency, "service web: it depends on service x, which is not"},
        {itself, "service web: it depends on itself"},
        {condition, "service web: depends_on db: unknown condition"},
        {circle, "service db depends on web, which depends on it: a circle"},
        {no_secret, "service db: secret x is not defined"},
        {secret_mode, "service db: secret key: mode 10000"},
        {secret_size, "secret key has 1048576 bytes"},
        {health_test, "service db: healthcheck: test is"},
        {health_time, "service db: healthcheck: a time above a day"},
        {reservation, "service db: the memory reservation is above"},
        {memory, "service db: memory reservation 18446744073709551615; at most"},
        {cpu, "service db: CPU limit in thousandths 184467440737096; at most 1000000000"},
        {pids, "service db: process limit 4294967296; at most 4194304"},
        {policy, "service db: restart policy"},
        {env_name, "service db: environment: \"A=B\""},
        {working_dir, "service db: working_dir: \"x\""},
        {hostname, "service db: hostname \"a\n10.0.0.1 b\""},
        {image, "service db: \"No/Upper\" is no image name"},
        {user, "service db: user \"a b\" is not NAME, UID"},
        {stop_signal, "service db: there is no signal \"SIGFOO\""},
        {secret_over_mount, "service db: /data is mounted twice"},
        {long_command, "service db: command and environment have more than 96 KiB"},
        {volume_name, "volume data: name \"../x\""},
        {tenant_privileged, "service db: tenant t must not have privileged"},
        {tenant_bind, "service web: tenant t must not have a bind mount"},
        {tenant_pid, "service db: tenant t must not have the host's PID namespace"},
        {tenant_ipc, "service db: tenant t must not have the host's IPC namespace"},
        {tenant_filter, "service db: tenant t must not have another seccomp profile"},
    };
    memset(long_text, 'x', sizeof long_text - 1);
    for (size_t i = 0; i < array_len(cases); i++) {
        struct sound s;
        struct err err = {0};
        make(&s);
        cases[i].broken(&s);
        assert_int_equal(check_app(&s.app, &err), -EINVAL);
        if (!str_starts(err.text, cases[i].says))
            fail_msg("wanted \"%s\", got \"%s\"", cases[i].says, err.text);
    }
}

static void test_check_words(void **state) {
    (void) state;
    assert_true(check_is_task_id("1.23.4"));
    static const char *const no_ids[] = {"", "1.2", "1..2", ".1.2.3", "1.2.3.", "1.2.x", "1.2.3.4"};
    for (size_t i = 0; i < array_len(no_ids); i++) assert_false(check_is_task_id(no_ids[i]));
    assert_true(check_is_abs_path("/"));
    assert_true(check_is_abs_path("/a/b/"));
    static const char *const no_paths[] = {"", "a", "//", "/a//b", "/./a", "/a/..", "/.."};
    for (size_t i = 0; i < array_len(no_paths); i++) assert_false(check_is_abs_path(no_paths[i]));
    assert_true(check_is_name("A.b-c_d", 63));
    assert_false(check_is_name("a/b", 63));
    assert_false(check_is_name("..", 63));
    assert_false(check_is_name("abcd", 3));
}

static void test_check_statuses_refuses_what_is_out_of_range(void **state) {
    (void) state;
    Orlop__TaskStatus st = ORLOP__TASK_STATUS__INIT, *list[] = {&st};
    struct err err = {0};
    st.task = "1.2.3";
    st.state = ORLOP__TASK_STATE__RUNNING;
    assert_int_equal(check_statuses(list, 1, &err), 0);
    st.state = 99;
    assert_int_equal(check_statuses(list, 1, &err), -EINVAL);
    st.state = ORLOP__TASK_STATE__RUNNING;
    st.health = (Orlop__Health) -1;
    assert_int_equal(check_statuses(list, 1, &err), -EINVAL);
    st.health = 0;
    st.task = "../x";
    assert_int_equal(check_statuses(list, 1, &err), -EINVAL);
    assert_int_equal(check_statuses(list, CHECK_REPORT_TASKS_MAX + 1, &err), -EINVAL);
}

/* protobuf-c reads it and writes it so that it cannot read it any more. */
static void test_unpack_refuses_a_field_of_number_0(void **state) {
    (void) state;
    static const uint8_t sound[] = {0xf8, 0x7f, 0x01}, zero[] = {0x80, 0x00, 0x01};
    struct arena a;
    arena_init(&a, 4096);
    assert_non_null(arena_unpack(&a, &orlop__app__descriptor, sound, sizeof sound));
    assert_null(arena_unpack(&a, &orlop__app__descriptor, zero, sizeof zero));
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack_refuses_a_field_of_number_0),
        cmocka_unit_test(test_check_app_accepts_a_sound_one),
        cmocka_unit_test(test_check_app_refuses_with_a_sentence),
        cmocka_unit_test(test_check_words),
        cmocka_unit_test(test_check_statuses_refuses_what_is_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
