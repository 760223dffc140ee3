// SPDX-License-Identifier: Apache-2.0
/* hostile_api RUN: A6 straight through the scheduler's socket, as the command line would never send it:
 * manifests out of bounds by protobuf, requests that blow up, frames that are none. After each the
 * scheduler must still answer. Prints what was accepted although it should not have been; 0 when
 * nothing was. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/client.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"

enum { MANY = 1500, HUGE_BYTES = 6 << 20 };

static struct client *client;
static int bad;

/* --- a manifest that is in order, and the ways to break it --- */

struct sound {
    Orlop__App app;
    Orlop__Service a, b, *services[MANY];
    Orlop__Service many[MANY];
    char names[MANY][16];
    Orlop__Dependency deps[MANY], *dep_list[MANY];
    Orlop__Port port, *ports[MANY];
    Orlop__Mount mount, *mounts[MANY];
    Orlop__KeyValue env, *envs[MANY];
    Orlop__Network network, *networks[MANY];
    Orlop__Volume volume, *volumes[MANY];
    Orlop__Content secret, *secrets[MANY];
    Orlop__ContentUse use, *uses[MANY];
    Orlop__Resources resources;
    Orlop__Ulimit ulimit, *ulimits[MANY];
    Orlop__Healthcheck health;
    Orlop__RestartPolicy restart;
    Orlop__Logging logging;
    Orlop__ServiceNetwork joins, *join_list[MANY];
    char *words[MANY];
};

static char text[HUGE_BYTES + 1];
static char *str(const char *s) {
    return (char *) (uintptr_t) s;
}

#define LIST(owner, field, n_field, list, item)                                                    \
    for (size_t i__ = 0; i__ < MANY; i__++) s->list[i__] = &s->item;                               \
    s->owner.field = s->list;                                                                      \
    s->owner.n_field = 0

static void make(struct sound *s) {
    memset(s, 0, sizeof *s);
    orlop__app__init(&s->app);
    orlop__service__init(&s->a);
    orlop__service__init(&s->b);
    orlop__port__init(&s->port);
    orlop__mount__init(&s->mount);
    orlop__key_value__init(&s->env);
    orlop__network__init(&s->network);
    orlop__volume__init(&s->volume);
    orlop__content__init(&s->secret);
    orlop__content_use__init(&s->use);
    orlop__resources__init(&s->resources);
    orlop__ulimit__init(&s->ulimit);
    orlop__healthcheck__init(&s->health);
    orlop__restart_policy__init(&s->restart);
    orlop__logging__init(&s->logging);
    orlop__service_network__init(&s->joins);
    s->app.name = str("hostile");
    s->a.name = str("a");
    s->b.name = str("b");
    s->a.image = s->b.image = str("none");
    s->a.replicas = s->b.replicas = 0; /* an accepted one must not start anything */
    s->services[0] = &s->a;
    s->services[1] = &s->b;
    s->app.services = s->services;
    s->app.n_services = 2;
    s->port.protocol = ORLOP__PORT__PROTOCOL__TCP;
    s->port.target = 80;
    s->mount.kind = ORLOP__MOUNT__KIND__TMPFS;
    s->mount.target = str("/m");
    s->env.key = str("K");
    s->network.key = s->network.name = str("n");
    s->volume.key = s->volume.name = str("v");
    s->secret.name = s->use.source = str("s");
    s->use.target = str("/s");
    s->ulimit.name = str("nofile");
    s->joins.network = str("n");
    LIST(a, ports, n_ports, ports, port);
    LIST(a, mounts, n_mounts, mounts, mount);
    LIST(a, environment, n_environment, envs, env);
    LIST(app, networks, n_networks, networks, network);
    LIST(app, volumes, n_volumes, volumes, volume);
    LIST(app, secrets, n_secrets, secrets, secret);
    LIST(a, secrets, n_secrets, uses, use);
    LIST(a, ulimits, n_ulimits, ulimits, ulimit);
    LIST(a, networks, n_networks, join_list, joins);
    for (size_t i = 0; i < MANY; i++) {
        s->dep_list[i] = &s->deps[i];
        s->words[i] = str("w");
    }
}

/* N services of which each depends on the next, the last on the first when CIRCLE. */
static void chain(struct sound *s, size_t n, bool circle) {
    for (size_t i = 0; i < n; i++) {
        orlop__service__init(&s->many[i]);
        orlop__dependency__init(&s->deps[i]);
        snprintf(s->names[i], sizeof s->names[i], "s%zu", i);
        s->many[i].name = s->names[i];
        s->many[i].image = str("none");
        s->services[i] = &s->many[i];
    }
    for (size_t i = 0; i < n; i++) {
        s->deps[i].service = s->names[(i + 1) % n];
        s->deps[i].condition = ORLOP__DEPENDENCY__CONDITION__STARTED;
        s->many[i].depends_on = &s->dep_list[i];
        s->many[i].n_depends_on = i + 1 < n || circle;
    }
    s->app.n_services = n;
}

#define BREAK(name, what)                                                                          \
    static void name(struct sound *s) {                                                            \
        what;                                                                                      \
    }
BREAK(no_services, s->app.n_services = 0)
BREAK(many_services, chain(s, MANY, false))
BREAK(long_circle, chain(s, 1000, true))
BREAK(twice, s->b.name = s->a.name)
BREAK(app_climbs, s->app.name = str("../../etc"))
BREAK(app_newline, s->app.name = str("a\n\033[2J"))
BREAK(app_long, s->app.name = text)
BREAK(tenant, s->app.tenant = str("a/b"))
BREAK(service_climbs, s->a.name = str(".."))
BREAK(service_slash, s->a.name = str("a/b"))
BREAK(no_image, s->a.image = str(""))
BREAK(digest,
      s->a.image_digest = str("sha256:../../../../../../../../../../../../../etc/passwd0000000000"))
BREAK(replicas, s->a.replicas = UINT32_MAX)
BREAK(replicas_in_all, (s->a.replicas = 9000, s->b.replicas = 9000))
BREAK(port_zero, (s->a.n_ports = 1, s->port.target = 0))
BREAK(port_high, (s->a.n_ports = 1, s->port.target = 70000))
BREAK(port_published, (s->a.n_ports = 1, s->port.published = UINT32_MAX))
BREAK(port_protocol, (s->a.n_ports = 1, s->port.protocol = 99))
BREAK(port_address, (s->a.n_ports = 1, s->port.host_ip = str("1.2.3.4; flush ruleset")))
BREAK(ports_many, s->a.n_ports = MANY)
BREAK(mount_relative, (s->a.n_mounts = 1, s->mount.target = str("m")))
BREAK(mount_climbs, (s->a.n_mounts = 1, s->mount.target = str("/a/../../etc")))
BREAK(mount_root, (s->a.n_mounts = 1, s->mount.target = str("/")))
BREAK(mount_kind, (s->a.n_mounts = 1, s->mount.kind = 77))
BREAK(mount_mode, (s->a.n_mounts = 1, s->mount.tmpfs_mode = UINT32_MAX))
BREAK(mount_size, (s->a.n_mounts = 1, s->mount.tmpfs_size_bytes = UINT64_MAX))
BREAK(bind_climbs, (s->a.n_mounts = 1, s->mount.kind = ORLOP__MOUNT__KIND__BIND,
                    s->mount.source = str("/var/../../etc/shadow")))
BREAK(subpath_climbs, (s->a.n_mounts = 1, s->mount.subpath = str("../../other")))
BREAK(volume_climbs, (s->app.n_volumes = 1, s->volume.name = str("../../../etc")))
BREAK(volume_unknown, (s->a.n_mounts = 1, s->mount.kind = ORLOP__MOUNT__KIND__VOLUME,
                       s->mount.source = str("nowhere")))
BREAK(secret_large,
      (s->app.n_secrets = 1, s->secret.data = (ProtobufCBinaryData){600000, (uint8_t *) text}))
BREAK(secret_climbs, (s->app.n_secrets = 1, s->secret.name = str("../s")))
BREAK(secret_target, (s->app.n_secrets = 1, s->a.n_secrets = 1, s->use.target = str("../x")))
BREAK(secret_unknown, s->a.n_secrets = 1)
BREAK(secret_owner, (s->app.n_secrets = 1, s->a.n_secrets = 1, s->use.uid = UINT32_MAX))
BREAK(env_name, (s->a.n_environment = 1, s->env.key = str("A=B")))
BREAK(env_empty, (s->a.n_environment = 1, s->env.key = str("")))
BREAK(env_many, s->a.n_environment = MANY)
BREAK(workdir, s->a.working_dir = str("relative"))
BREAK(hostname, s->a.hostname = str("a\n10.0.0.1 bank"))
BREAK(grace, s->a.stop_grace_ms = UINT64_MAX)
BREAK(drain, s->a.drain_ms = UINT64_MAX)
BREAK(health, (s->a.healthcheck = &s->health, s->health.interval_ms = UINT64_MAX))
BREAK(retries, (s->a.healthcheck = &s->health, s->health.retries = UINT32_MAX))
BREAK(restart, (s->a.restart = &s->restart, s->restart.delay_ms = UINT64_MAX))
BREAK(memory, (s->a.resources = &s->resources, s->resources.memory_limit_bytes = UINT64_MAX))
BREAK(reserved,
      (s->a.resources = &s->resources, s->resources.memory_reservation_bytes = UINT64_MAX))
BREAK(cpu, (s->a.resources = &s->resources, s->resources.cpu_reservation_millis = UINT64_MAX))
BREAK(pids, (s->a.resources = &s->resources, s->resources.pids_limit = UINT64_MAX))
BREAK(ulimit, (s->a.n_ulimits = 1, s->ulimit.soft = 2, s->ulimit.hard = 1))
BREAK(ulimit_name, (s->a.n_ulimits = 1, s->ulimit.name = str("no file\n")))
BREAK(log_size, (s->a.logging = &s->logging, s->logging.max_size_bytes = UINT64_MAX))
BREAK(log_files, (s->a.logging = &s->logging, s->logging.max_files = UINT32_MAX))
BREAK(log_driver, (s->a.logging = &s->logging, s->logging.driver = str("syslog")))
BREAK(subnet, (s->app.n_networks = 1, s->network.subnet = str("0.0.0.0/0")))
BREAK(subnet_prefix, (s->app.n_networks = 1, s->network.subnet = str("10.0.0.0/33")))
BREAK(gateway, (s->app.n_networks = 1, s->network.gateway = str("8.8.8.8")))
BREAK(network_name, (s->app.n_networks = 1, s->network.name = str("a b; drop")))
BREAK(networks_many, s->app.n_networks = MANY)
BREAK(network_unknown, s->a.n_networks = 1)
BREAK(words_many, (s->a.command = s->words, s->a.n_command = MANY, s->a.has_command = true))
BREAK(app_large, (s->a.n_environment = 1, s->env.value = text, s->a.command = s->words,
                  s->words[0] = text, s->a.n_command = 1, s->a.has_command = true))

#define CASE(name)                                                                                 \
    { #name, name }
static const struct {
    const char *name;
    void (*hurt)(struct sound *s);
} cases[] = {
    CASE(no_services),    CASE(many_services),   CASE(long_circle),   CASE(twice),
    CASE(app_climbs),     CASE(app_newline),     CASE(app_long),      CASE(tenant),
    CASE(service_climbs), CASE(service_slash),   CASE(no_image),      CASE(digest),
    CASE(replicas),       CASE(replicas_in_all), CASE(port_zero),     CASE(port_high),
    CASE(port_published), CASE(port_protocol),   CASE(port_address),  CASE(ports_many),
    CASE(mount_relative), CASE(mount_climbs),    CASE(mount_root),    CASE(mount_kind),
    CASE(mount_mode),     CASE(mount_size),      CASE(bind_climbs),   CASE(subpath_climbs),
    CASE(volume_climbs),  CASE(volume_unknown),  CASE(secret_large),  CASE(secret_climbs),
    CASE(secret_target),  CASE(secret_unknown),  CASE(secret_owner),  CASE(env_name),
    CASE(env_empty),      CASE(env_many),        CASE(workdir),       CASE(hostname),
    CASE(grace),          CASE(drain),           CASE(health),        CASE(retries),
    CASE(restart),        CASE(memory),          CASE(reserved),      CASE(cpu),
    CASE(pids),           CASE(ulimit),          CASE(ulimit_name),   CASE(log_size),
    CASE(log_files),      CASE(log_driver),      CASE(subnet),        CASE(subnet_prefix),
    CASE(gateway),        CASE(network_name),    CASE(networks_many), CASE(network_unknown),
    CASE(words_many),     CASE(app_large),
};

/* --- asking --- */

static int ask(uint32_t method, const ProtobufCMessage *request,
               const ProtobufCMessageDescriptor *answer, struct err *err) {
    struct arena a;
    void *got;
    arena_init(&a, CLIENT_ARENA_MAX);
    int r = client_try(client, method, request, answer, &a, &got, err);
    arena_fini(&a);
    return r;
}

static void must_be_alive(const char *after) {
    if (getenv("ORLOP_HOSTILE_VERBOSE")) printf("%s\n", after);
    Orlop__AppListRequest q = ORLOP__APP_LIST_REQUEST__INIT;
    struct err err = {0};
    int r = ask(ORLOP__METHOD__APP_LIST, &q.base, &orlop__app_list_answer__descriptor, &err);
    if (r == 0) return;
    printf("after %s it does not answer: %s\n", after, err.text);
    exit(1);
}

static void apply(const char *name, Orlop__App *app) {
    Orlop__AppApplyRequest q = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__RequestId id;
    struct err err = {0};
    client_request_id(client, &id);
    q.request = &id;
    q.app = app;
    int r = ask(ORLOP__METHOD__APP_APPLY, &q.base, &orlop__app_apply_answer__descriptor, &err);
    if (r == 0) printf("accepted: %s\n", name);
    if (r < 0 && !err.text[0]) printf("no sentence: %s\n", name);
    bad |= r == 0 || !err.text[0];
    must_be_alive(name);
}

static void try_manifests(void) {
    struct sound *s = calloc(1, sizeof *s);
    ensure(s != NULL);
    for (size_t i = 0; i < array_len(cases); i++) {
        make(s);
        cases[i].hurt(s);
        apply(cases[i].name, &s->app);
    }
    free(s);
}

static void refused(const char *name, uint32_t method, const ProtobufCMessage *q) {
    struct err err = {0};
    if (ask(method, q, &orlop__write_answer__descriptor, &err) == 0) {
        printf("accepted: %s\n", name);
        bad = 1;
    }
    must_be_alive(name);
}

static void try_requests(void) {
    static uint8_t id_bytes[1 << 20];
    static char *many[200000];
    Orlop__RequestId id = ORLOP__REQUEST_ID__INIT;
    Orlop__AppApplyRequest apply_q = ORLOP__APP_APPLY_REQUEST__INIT;
    Orlop__AppScaleRequest scale = ORLOP__APP_SCALE_REQUEST__INIT;
    Orlop__ScaleTo to = ORLOP__SCALE_TO__INIT, *list[] = {&to};
    refused("apply of nothing", ORLOP__METHOD__APP_APPLY, &apply_q.base);
    id.client = (ProtobufCBinaryData){sizeof id_bytes, id_bytes};
    apply_q.request = &id;
    refused("a large client id", ORLOP__METHOD__APP_APPLY, &apply_q.base);
    /* Two bytes a name go over the wire, sixteen and more would be allocated. */
    for (size_t i = 0; i < array_len(many); i++) many[i] = str("");
    apply_q.only = many;
    apply_q.n_only = array_len(many);
    refused("many empty names", ORLOP__METHOD__APP_APPLY, &apply_q.base);
    client_request_id(client, &id);
    scale.request = &id;
    scale.app = str("nothing");
    to.service = str("a");
    to.replicas = UINT32_MAX;
    scale.services = list;
    scale.n_services = 1;
    refused("scale without end", ORLOP__METHOD__APP_SCALE, &scale.base);
    refused("no such method", 9999, &scale.base);
    refused("another message's body", ORLOP__METHOD__APP_STATUS, &scale.base);
}

/* --- frames that are none --- */

static void try_frame(const char *run, const char *name, const void *data, size_t n) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/api.sock", run);
    auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = {.tv_sec = 1};
    char answer[4096];
    ensure(fd >= 0 && connect(fd, (const struct sockaddr *) &a, sizeof a) == 0);
    (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void) send(fd, data, n, MSG_NOSIGNAL);
    (void) shutdown(fd, SHUT_WR);
    while (recv(fd, answer, sizeof answer, 0) > 0) {
    }
    must_be_alive(name);
}

static void try_frames(const char *run) {
    static const unsigned char huge[] = {0xff, 0xff, 0xff, 0xff, 8, 1}, none[4],
                               cut[] = {0, 0, 0, 100, 8, 1},
                               deep[] = {0, 0, 0, 4, 0x0b, 0x0b, 0x0b, 0x0b},
                               varint[] = {0,   0,   0,   11,  8,   255, 255, 255,
                                           255, 255, 255, 255, 255, 255, 255};
    static unsigned char noise[1 << 16];
    unsigned state = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char) ((state = state * 1103515245 + 12345) >> 16);
    try_frame(run, "a frame of 4 GiB", huge, sizeof huge);
    try_frame(run, "an empty frame", none, sizeof none);
    try_frame(run, "a frame that is cut off", cut, sizeof cut);
    try_frame(run, "groups", deep, sizeof deep);
    try_frame(run, "a number without end", varint, sizeof varint);
    try_frame(run, "noise", noise, sizeof noise);
    noise[0] = noise[1] = 0;
    try_frame(run, "noise in a frame", noise, sizeof noise);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct cli cli = {.run_dir = argv[1]};
    struct err err = {0};
    (void) setvbuf(stdout, NULL, _IOLBF, 0);
    memset(text, 'x', HUGE_BYTES);
    ensure(paths_init(&cli.paths, "/nowhere", argv[1], &err) == 0);
    if (client_open(&cli, &client) != 0) return 1;
    client_set_patience(client, 0);
    try_manifests();
    try_requests();
    client_close(client);
    if (client_open(&cli, &client) != 0) return 1;
    try_frames(argv[1]);
    client_close(client);
    return bad;
}
