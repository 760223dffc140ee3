// SPDX-License-Identifier: Apache-2.0
/* The proxy, run as it is, in a network namespace of its own. The test's sockets are the tasks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/fd.h"
#include "runtime/base/paths.h"
#include "runtime/keeper/client.h"

enum { PUBLISHED = 8080, WAIT_MS = 20000 };

static struct {
    bool possible;
    char dir[64];
    pid_t pid;
    struct keeper_client *client;
    uint64_t id;
} env;

static int own_network(void) {
    if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) return -1;
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    auto_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &lo);
}

static void spawn_proxy(void) {
    env.pid = fork();
    if (env.pid) return;
    char log[128];
    snprintf(log, sizeof log, "%s/proxy.log", env.dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execl(KEEPER_UNDER_TEST, "orlop-keeper", "proxy", "--run-dir", env.dir, (char *) NULL);
    _exit(127);
}

static int set_up(void **state) {
    (void) state;
    snprintf(env.dir, sizeof env.dir, "/tmp/orlop-proxy-test-XXXXXX");
    env.possible = own_network() == 0 && mkdtemp(env.dir);
    if (!env.possible) return 0;
    spawn_proxy();
    char path[128];
    snprintf(path, sizeof path, "%s/proxy.sock", env.dir);
    for (int64_t end = clock_mono_ms() + WAIT_MS; clock_mono_ms() < end; (void) poll(NULL, 0, 2))
        if (keeper_client_open(path, &env.client, NULL) == 0) return 0;
    return -1;
}

static int tear_down(void **state) {
    (void) state;
    if (!env.possible) return 0;
    keeper_client_free(env.client);
    kill(env.pid, SIGTERM);
    int status = -1;
    waitpid(env.pid, &status, 0);
    return status != 0 || fd_remove_tree(AT_FDCWD, env.dir) < 0 ? -1 : 0;
}

struct want {
    uint32_t protocol;
    const char *host_ip;
    uint32_t port, target_port;
};

/* The list, sent and answered; how many were refused, the first one's errno in *ret_error. */
static size_t apply(const struct want *w, size_t n, int *ret_error) {
    Orlop__ProxyWant want = ORLOP__PROXY_WANT__INIT;
    Orlop__ProxyPort ports[8], *pp[8];
    Orlop__ProxyTarget targets[8], *tp[8];
    for (size_t i = 0; i < n; i++) {
        orlop__proxy_port__init(&ports[i]);
        orlop__proxy_target__init(&targets[i]);
        targets[i].address = INADDR_LOOPBACK;
        targets[i].port = w[i].target_port;
        tp[i] = &targets[i];
        ports[i].protocol = w[i].protocol;
        ports[i].host_ip = strdup(w[i].host_ip);
        ports[i].port = w[i].port;
        ports[i].n_targets = w[i].target_port ? 1 : 0;
        ports[i].targets = &tp[i];
        pp[i] = &ports[i];
    }
    want.id = ++env.id;
    want.n_ports = n;
    want.ports = pp;
    assert_int_equal(proxy_client_send(env.client, &want, NULL), 0);
    for (size_t i = 0; i < n; i++) free(ports[i].host_ip);
    struct pollfd p = {.fd = keeper_client_fd(env.client), .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    Orlop__ProxyReply *reply;
    assert_int_equal(proxy_client_read(env.client, &reply, NULL), 0);
    assert_int_equal(reply->id, want.id);
    size_t refused = reply->n_refused;
    if (refused && ret_error) *ret_error = reply->refused[0]->error;
    proxy_reply_free(reply);
    return refused;
}

/* A socket on loopback; *PORT 0 = any, filled in. */
static int serve(int type, uint16_t *port) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof a), 0);
    if (type == SOCK_STREAM) assert_int_equal(listen(fd, 16), 0);
    getsockname(fd, (struct sockaddr *) &a, &len);
    *port = ntohs(a.sin_port);
    return fd;
}

static int dial4(int type, uint16_t port) {
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *) &a, sizeof a) == 0) return fd;
    close(fd);
    return -errno;
}

static void expect(int fd, const char *text) {
    char buf[64] = "";
    struct timeval t = {WAIT_MS / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    assert_int_equal(recv(fd, buf, strlen(text), MSG_WAITALL), strlen(text));
    assert_string_equal(buf, text);
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void test_tcp_goes_both_ways_with_half_close(void **state) {
    (void) state;
    if (!env.possible) skip();
    uint16_t target = 0;
    int server = serve(SOCK_STREAM, &target);
    struct want w[] = {{IPPROTO_TCP, "", PUBLISHED, target}};
    assert_int_equal(apply(w, 1, NULL), 0);
    int c = dial4(SOCK_STREAM, PUBLISHED);
    int s = accept(server, NULL, NULL);
    say(c, "question");
    shutdown(c, SHUT_WR);
    expect(s, "question");
    char end;
    assert_int_equal(recv(s, &end, 1, 0), 0);
    say(s, "answer");
    close(s);
    expect(c, "answer");
    assert_int_equal(recv(c, &end, 1, 0), 0);
    close(c);
    close(server);
}

static void test_tcp_connection_outlives_its_port_and_the_agent(void **state) {
    (void) state;
    if (!env.possible) skip();
    uint16_t target = 0;
    int server = serve(SOCK_STREAM, &target);
    struct want w[] = {{IPPROTO_TCP, "127.0.0.1", PUBLISHED, target}};
    assert_int_equal(apply(w, 1, NULL), 0);
    int c = dial4(SOCK_STREAM, PUBLISHED);
    int s = accept(server, NULL, NULL);
    assert_int_equal(apply(NULL, 0, NULL), 0);
    assert_int_equal(dial4(SOCK_STREAM, PUBLISHED), -ECONNREFUSED);
    say(c, "still");
    expect(s, "still");
    say(s, "here");
    expect(c, "here");
    close(c);
    close(s);
    close(server);
}

static void test_port_in_use_is_refused_by_name(void **state) {
    (void) state;
    if (!env.possible) skip();
    uint16_t taken = 0, udp = 0;
    int other = serve(SOCK_STREAM, &taken), other_udp = serve(SOCK_DGRAM, &udp);
    int error = 0;
    struct want w[] = {{IPPROTO_TCP, "", taken, 1},
                       {IPPROTO_TCP, "127.0.0.1", PUBLISHED, 1},
                       {IPPROTO_UDP, "", udp, 1},
                       {IPPROTO_TCP, "203.0.113.7", PUBLISHED, 1}};
    assert_int_equal(apply(w, 1, &error), 1);
    assert_int_equal(error, EADDRINUSE);
    assert_int_equal(apply(w, 4, NULL), 3);
    assert_int_equal(apply(w + 3, 1, &error), 1);
    assert_int_equal(error, EADDRNOTAVAIL);
    close(other);
    close(other_udp);
    assert_int_equal(apply(w, 3, &error), 0); /* free now */
}

static void test_no_target_ends_the_connection(void **state) {
    (void) state;
    if (!env.possible) skip();
    struct want w[] = {{IPPROTO_TCP, "", PUBLISHED, 0}};
    assert_int_equal(apply(w, 1, NULL), 0);
    int c = dial4(SOCK_STREAM, PUBLISHED);
    char end;
    assert_true(recv(c, &end, 1, 0) <= 0);
    close(c);
}

static void test_ipv6_loopback_reaches_an_ipv4_task(void **state) {
    (void) state;
    if (!env.possible) skip();
    uint16_t target = 0;
    int server = serve(SOCK_STREAM, &target);
    struct want w[] = {{IPPROTO_TCP, "", PUBLISHED, target}};
    assert_int_equal(apply(w, 1, NULL), 0);
    struct sockaddr_in6 a = {
        .sin6_family = AF_INET6, .sin6_port = htons(PUBLISHED), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int c = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c, (struct sockaddr *) &a, sizeof a) == 0) {
        int s = accept(server, NULL, NULL);
        say(c, "six");
        expect(s, "six");
        close(s);
    } else {
        assert_int_equal(errno, EADDRNOTAVAIL); /* a host without IPv6 */
    }
    close(c);
    close(server);
}

static void test_udp_has_a_session_per_client(void **state) {
    (void) state;
    if (!env.possible) skip();
    uint16_t target = 0;
    int server = serve(SOCK_DGRAM, &target);
    struct want w[] = {{IPPROTO_UDP, "", PUBLISHED, target}};
    assert_int_equal(apply(w, 1, NULL), 0);
    int a = dial4(SOCK_DGRAM, PUBLISHED), b = dial4(SOCK_DGRAM, PUBLISHED);
    struct sockaddr_in from[2];
    socklen_t len = sizeof from[0];
    char buf[8];
    say(a, "a");
    assert_int_equal(recvfrom(server, buf, sizeof buf, 0, (struct sockaddr *) &from[0], &len), 1);
    say(b, "b");
    assert_int_equal(recvfrom(server, buf, sizeof buf, 0, (struct sockaddr *) &from[1], &len), 1);
    assert_int_not_equal(from[0].sin_port, from[1].sin_port);
    assert_int_equal(sendto(server, "B", 1, 0, (struct sockaddr *) &from[1], len), 1);
    assert_int_equal(sendto(server, "A", 1, 0, (struct sockaddr *) &from[0], len), 1);
    expect(a, "A");
    expect(b, "B");
    close(a);
    close(b);
    close(server);
}

static void test_much_data_arrives_whole(void **state) {
    (void) state;
    if (!env.possible) skip();
    enum { TOTAL = 8 << 20, CHUNK = 64 * 1024 };
    uint16_t target = 0;
    int server = serve(SOCK_STREAM, &target);
    struct want w[] = {{IPPROTO_TCP, "", PUBLISHED, target}};
    assert_int_equal(apply(w, 1, NULL), 0);
    int c = dial4(SOCK_STREAM, PUBLISHED);
    int s = accept(server, NULL, NULL);
    pid_t writer = fork();
    if (writer == 0) {
        static uint32_t words[CHUNK / 4];
        for (uint32_t n = 0; n < TOTAL / 4; n += CHUNK / 4) {
            for (uint32_t i = 0; i < CHUNK / 4; i++) words[i] = n + i;
            if (fd_write_all(c, words, sizeof words) < 0) _exit(1);
        }
        _exit(0);
    }
    close(c);
    static uint32_t got[CHUNK / 4];
    uint32_t n = 0;
    for (; n < TOTAL / 4; n += CHUNK / 4) {
        assert_int_equal(fd_read_full(s, got, sizeof got), sizeof got);
        for (uint32_t i = 0; i < CHUNK / 4; i++)
            if (got[i] != n + i) fail();
    }
    char end;
    assert_int_equal(recv(s, &end, 1, 0), 0);
    waitpid(writer, NULL, 0);
    close(s);
    close(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_goes_both_ways_with_half_close),
        cmocka_unit_test(test_tcp_connection_outlives_its_port_and_the_agent),
        cmocka_unit_test(test_port_in_use_is_refused_by_name),
        cmocka_unit_test(test_no_target_ends_the_connection),
        cmocka_unit_test(test_ipv6_loopback_reaches_an_ipv4_task),
        cmocka_unit_test(test_udp_has_a_session_per_client),
        cmocka_unit_test(test_much_data_arrives_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
