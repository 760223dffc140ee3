// SPDX-License-Identifier: Apache-2.0
/* A peer that does not keep to the protocol: a plain socket against the listener. */
#include "rig.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus.pb-c.h"
#include "proto/bus/frame.h"
#include "runtime/base/fd.h"

static bool accepted(struct rig *r, void *arg) {
    (void) arg;
    return r->accepted_ups == 1;
}

static int plain_connect(struct rig *r) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%.100s", r->url + strlen("ipc://"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *) &addr, sizeof addr), 0);
    assert_true(rig_until(r, accepted, NULL));
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void put(int fd, const struct frame *f) {
    uint8_t head[FRAME_HEAD_MAX];
    size_t n = frame_head(f, head);
    assert_int_equal(write(fd, head, n), n);
    if (f->len) assert_int_equal(write(fd, f->body, f->len), f->len);
}

static bool gone(struct rig *r, void *arg) {
    (void) arg;
    return r->accepted_downs == 1;
}

static const uint8_t bulk[200000];

#define KIND(k) ORLOP__ENVELOPE__KIND__##k
static const struct {
    const char *name;
    struct frame frames[4];
} violations[] = {
    {"open of our own numbering", {{.kind = KIND(OPEN), .stream = 2, .method = M_TAKE}}},
    {"open of stream 0", {{.kind = KIND(OPEN), .method = M_TAKE}}},
    {"open twice",
     {{.kind = KIND(OPEN), .stream = 1, .method = M_TAKE}, {.kind = KIND(OPEN), .stream = 1}}},
    {"open backwards",
     {{.kind = KIND(OPEN), .stream = 5, .method = M_TAKE}, {.kind = KIND(OPEN), .stream = 3}}},
    {"data of a stream never opened", {{.kind = KIND(DATA), .stream = 7}}},
    {"data of a stream we never opened", {{.kind = KIND(DATA), .stream = 2}}},
    {"credit above the window",
     {{.kind = KIND(OPEN), .stream = 1, .method = M_TAKE},
      {.kind = KIND(CREDIT), .stream = 1, .credit = 1}}},
    {"credit near 2^64",
     {{.kind = KIND(OPEN), .stream = 1, .method = M_TAKE},
      {.kind = KIND(CREDIT), .stream = 1, .credit = UINT64_MAX}}},
    {"end twice",
     {{.kind = KIND(OPEN), .stream = 1, .method = M_PUSH},
      {.kind = KIND(END), .stream = 1},
      {.kind = KIND(END), .stream = 1}}},
    {"data after end",
     {{.kind = KIND(OPEN), .stream = 1, .method = M_PUSH},
      {.kind = KIND(END), .stream = 1},
      {.kind = KIND(DATA), .stream = 1, .body = bulk, .len = 1}}},
    {"unknown kind",
     {{.kind = KIND(OPEN), .stream = 1, .method = M_TAKE}, {.kind = 77, .stream = 1}}},
};

static void test_violation_ends_the_connection(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof violations / sizeof *violations; i++) {
        void *s;
        assert_int_equal(rig_setup(&s), 0);
        struct rig *r = s;
        r->push_messages = 1000; /* a M_PUSH never ends: nobody gives credit */
        r->push_size = 100000;
        rig_listen(r);
        auto_fd int fd = plain_connect(r);
        for (size_t k = 0; k < 4 && violations[i].frames[k].kind; k++)
            put(fd, &violations[i].frames[k]);
        if (!rig_until(r, gone, NULL)) fail_msg("%s", violations[i].name);
        for (size_t k = 0; k < r->n_recs; k++) assert_int_equal(r->recs[k].closed, 1);
        assert_int_equal(rig_teardown(&s), 0);
    }
}

static bool bytes_came(struct rig *r, void *arg) {
    return r->n_recs > 0 && r->recs[0].bytes >= *(size_t *) arg;
}

static void test_data_without_credit_ends_the_connection(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    auto_fd int fd = plain_connect(r);
    put(fd, &(struct frame){.kind = KIND(OPEN), .stream = 1, .method = M_TAKE_HOLD});
    struct frame data = {.kind = KIND(DATA), .stream = 1, .body = bulk, .len = 100000};
    for (size_t sent = 0; sent < 1000000; sent += data.len) {
        put(fd, &data);
        size_t want = sent + data.len;
        assert_true(rig_until(r, bytes_came, &want));
    }
    put(fd, &data);
    assert_true(rig_until(r, gone, NULL));
    assert_int_equal(r->recs[0].bytes, 1000000);
    assert_int_equal(r->recs[0].err.code, -ECONNRESET);
}

static void test_garbage_ends_the_connection(void **state) {
    (void) state;
    static const struct {
        const char *name, *bytes;
        size_t n;
    } cases[] = {
        {"http", "GET / HTTP/1.1\r\n\r\n", 18},
        {"length of 4 GiB", "\xff\xff\xff\xff", 4},
        {"malformed envelope", "\0\0\0\2\x08\x80", 6},
        {"empty envelope of kind 0", "\0\0\0\0", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *s;
        assert_int_equal(rig_setup(&s), 0);
        struct rig *r = s;
        rig_listen(r);
        auto_fd int fd = plain_connect(r);
        assert_int_equal(write(fd, cases[i].bytes, cases[i].n), cases[i].n);
        if (!rig_until(r, gone, NULL)) fail_msg("%s", cases[i].name);
        assert_int_equal(rig_teardown(&s), 0);
    }
}

static bool bytes_back(struct rig *r, void *arg) {
    const int *fd = arg;
    char c;
    (void) r;
    return recv(*fd, &c, 1, MSG_PEEK) == 1;
}

/* A PING is answered byte by byte as well; an unknown stream of the past is nobody's. */
static void test_frames_in_single_bytes_are_understood(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    auto_fd int fd = plain_connect(r);
    uint8_t head[FRAME_HEAD_MAX];
    struct frame ping = {.kind = KIND(PING)};
    size_t n = frame_head(&ping, head);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(write(fd, head + i, 1), 1);
        uv_run(&r->loop, UV_RUN_NOWAIT);
    }
    assert_true(rig_until(r, bytes_back, &fd));
    uint8_t in[64];
    ssize_t got = read(fd, in, sizeof in);
    struct frame f;
    assert_true(got > FRAME_PREFIX);
    assert_int_equal(frame_decode(in + FRAME_PREFIX, (size_t) got - FRAME_PREFIX, &f), 0);
    assert_int_equal(f.kind, KIND(PONG));
}

/* Announces 8 MiB on many streams of bytes and sends little: no memory may be taken for it; the
 * silence then ends it. */
static void test_silent_peer_is_closed(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    auto_fd int fd = plain_connect(r);
    assert_int_equal(write(fd, "\0\x80\0\0", 4), 4);
    assert_true(rig_until(r, gone, NULL));
}

/* Floods with requests and never reads: its connection waits, others are served. */
static void test_flood_that_never_reads_costs_its_own_connection(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    auto_fd int fd = plain_connect(r);
    struct frame open = {.kind = KIND(OPEN), .method = M_ECHO, .body = bulk, .len = sizeof bulk};
    uint8_t head[FRAME_HEAD_MAX];
    bool full = false;
    for (uint64_t id = 1; id < 4001 && !full; id += 2) {
        open.stream = id;
        size_t n = frame_head(&open, head);
        struct iovec iov[2] = {{head, n}, {(void *) (uintptr_t) bulk, sizeof bulk}};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
        size_t sent = 0;
        for (int tries = 0; sent < n + sizeof bulk && tries < 200; tries++) {
            ssize_t k = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (k < 0) {
                uv_run(&r->loop, UV_RUN_NOWAIT);
                continue;
            }
            sent += (size_t) k;
            for (size_t left = (size_t) k, i = 0; i < 2 && left; i++) {
                size_t part = left < iov[i].iov_len ? left : iov[i].iov_len;
                iov[i].iov_base = (char *) iov[i].iov_base + part;
                iov[i].iov_len -= part;
                left -= part;
            }
        }
        full = sent < n + sizeof bulk;
    }
    r->accepted_ups = 0;
    rig_dial(r);
    static struct rec rec = {.next_in = 'x'};
    (void) rig_request(r, &rec, M_ECHO, "x");
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.err.code, 0);
    assert_true(full);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_violation_ends_the_connection),
        cmocka_unit_test(test_garbage_ends_the_connection),
        T(test_data_without_credit_ends_the_connection),
        T(test_frames_in_single_bytes_are_understood),
        T(test_silent_peer_is_closed),
        T(test_flood_that_never_reads_costs_its_own_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
