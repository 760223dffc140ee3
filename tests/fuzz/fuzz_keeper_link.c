// SPDX-License-Identifier: Apache-2.0
/* The agent's end of keeper.sock against a keeper that lies: the input is cut into packets (a length
 * byte, then the message's bytes). Some with a descriptor, which must not stay open. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "agent/keeper_link.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/client.h"
#include "runtime/keeper/outq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TURNS = 4, FD_BIT = 0x80 };

static char dir[] = "/tmp/orlop-fuzz-link-XXXXXX", path[64];
static struct klink *klink;
static int null = -1, asked, answered, execs, exec_ends;

static void clean_up(void) {
    if (fd_remove_tree(AT_FDCWD, dir) < 0) abort();
}

static int make_listener(void) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    ensure(mkdtemp(dir));
    atexit(clean_up);
    snprintf(path, sizeof path, "%s/keeper.sock", dir);
    memcpy(sun.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ensure(fd >= 0 && bind(fd, (void *) &sun, sizeof sun) == 0 && listen(fd, 4) == 0);
    log_set_level(LOG_ERROR);
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return fd;
}

static void check_entry(const Orlop__SandboxEntry *e) {
    ensure(e && e->task && strlen(e->task) < (size_t) KEEPER_PACKET_MAX);
}
static void on_done(void *ctx, int status) {
    (void) ctx, (void) status;
    answered++;
}
static void exec_started(void *ctx, int32_t pid, int master) {
    (void) ctx, (void) pid;
    fd_close(&master);
}
static void exec_closed(void *ctx, int status, int32_t wait_status, const struct err *err) {
    (void) ctx, (void) status, (void) wait_status, (void) err;
    exec_ends++;
}
static const struct klink_exec_ops exec_ops = {exec_started, exec_closed, NULL};

/* Up: there are requests whose answers the input may hold. */
static void on_listed(void *ctx, Orlop__SandboxEntry *const *entries, size_t n) {
    (void) ctx;
    for (size_t i = 0; i < n; i++) check_entry(entries[i]);
    char task[] = "1.2.3", word[] = "sh", *argv[] = {word};
    Orlop__KeeperExec e = ORLOP__KEEPER_EXEC__INIT;
    uint64_t id;
    e.task = task;
    e.argv = argv;
    e.n_argv = 1;
    if (asked++ > 2) return;
    if (klink_forget(klink, task, on_done, NULL) < 0) answered++;
    if (klink_exec(klink, &e, NULL, 0, &exec_ops, NULL, &id) == 0) execs++;
}
static void on_lost(void *ctx, const struct err *why) {
    (void) ctx;
    ensure(why->text[0]);
}
static void on_entry(void *ctx, const Orlop__SandboxEntry *e) {
    (void) ctx;
    check_entry(e);
}
static void on_failed(void *ctx, const char *task, uint32_t attempt,
                      const Orlop__KeeperFailure *f) {
    (void) ctx, (void) attempt;
    ensure(task && f);
}
static void on_closed(void *ctx, const char *task) {
    (void) ctx;
    ensure(task);
}
static const struct klink_ops ops = {on_listed, on_lost, on_entry, on_failed, on_entry, on_closed};

static void turn(uv_loop_t *loop) {
    for (int i = 0; i < TURNS; i++) uv_run(loop, UV_RUN_NOWAIT);
}

static void feed(uv_loop_t *loop, int conn, const uint8_t *data, size_t size) {
    while (size > 1) {
        size_t n = (size_t) (data[0] & ~FD_BIT);
        if (n > size - 1) n = size - 1;
        if (packet_send(conn, data + 1, n, &null, data[0] & FD_BIT ? 1 : 0) < 0) return;
        data += 1 + n;
        size -= 1 + n;
        turn(loop);
    }
}

static void drain(int conn) {
    static char packet[KEEPER_PACKET_MAX];
    while (recv(conn, packet, sizeof packet, MSG_DONTWAIT) > 0) {
    }
}

static int lowest_free_fd(void) {
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int listener = -1;
    static bool first = true;
    int before = lowest_free_fd();
    if (listener < 0) listener = make_listener();
    uv_loop_t loop;
    asked = answered = execs = exec_ends = 0;
    ensure(uv_loop_init(&loop) == 0);
    if (klink_new(&loop, path, &ops, NULL, &klink) < 0) return 0;
    turn(&loop);
    auto_fd int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn >= 0) {
        feed(&loop, conn, data, size);
        drain(conn);
    }
    klink_close(klink);
    while (uv_run(&loop, UV_RUN_NOWAIT)) {
    }
    fd_close(&conn);
    for (int more; (more = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) close(more);
    ensure(uv_loop_close(&loop) == 0);
    if (!first) ensure(lowest_free_fd() == before); /* uv keeps some of its own from then on */
    first = false;
    return 0;
}
