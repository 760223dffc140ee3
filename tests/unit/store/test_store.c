// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"
#include "scheduler/raft/snapshot_frame.h"
#include "scheduler/raft/store.h"

/* A state machine that is a sum and a count; each entry is one uint64. */
struct machine {
    uv_loop_t loop;
    struct store *store;
    uint64_t sum, count, bytes, last_idx;
    int acked, failed;
    bool leading, closed;
    bool restored;
};

static void apply(void *ctx, uint64_t idx, const uint8_t *data, size_t len) {
    struct machine *m = ctx;
    uint64_t v = 0;
    memcpy(&v, data, len < sizeof v ? len : sizeof v);
    m->sum += v;
    m->bytes += len;
    m->count++;
    m->last_idx = idx;
}

static int snapshot(void *ctx, uint8_t **ret, size_t *ret_len) {
    struct machine *m = ctx;
    uint64_t words[2] = {m->sum, m->count};
    *ret = mem_dup(words, sizeof words);
    *ret_len = sizeof words;
    return *ret ? 0 : -ENOMEM;
}

static int restore(void *ctx, uint64_t idx, const uint8_t *data, size_t len) {
    struct machine *m = ctx;
    uint64_t words[2];
    if (len != sizeof words) return -EBADMSG;
    memcpy(words, data, sizeof words);
    m->sum = words[0];
    m->count = words[1];
    m->last_idx = idx;
    m->restored = true;
    return 0;
}

static void leading(void *ctx, bool is, uint64_t term) {
    struct machine *m = ctx;
    (void) term;
    m->leading = is;
}

static const struct store_ops ops = {apply, snapshot, restore, leading};

static char dir[64];

static int fresh_dir(void **state) {
    (void) state;
    snprintf(dir, sizeof dir, "/tmp/orlop-test-store-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
    (void) state;
    return fd_remove_tree(AT_FDCWD, dir);
}

static int open_machine(struct machine *m, struct err *err) {
    *m = (struct machine){0};
    uv_loop_init(&m->loop);
    int r = store_open(&m->loop, dir, &ops, m, &m->store, err);
    if (r < 0) {
        uv_run(&m->loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&m->loop), 0);
        return r;
    }
    while (!m->leading) uv_run(&m->loop, UV_RUN_NOWAIT); /* a blocking turn is one of 500 ms */
    return 0;
}

static void on_closed(void *ctx) {
    ((struct machine *) ctx)->closed = true;
}

static void close_machine(struct machine *m) {
    store_close(m->store, on_closed, m);
    while (!m->closed) uv_run(&m->loop, UV_RUN_ONCE);
    uv_run(&m->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&m->loop), 0);
}

static void on_done(void *ctx, int status, uint64_t idx) {
    struct machine *m = ctx;
    if (status == 0) {
        assert_int_equal(idx, m->last_idx);
        m->acked++;
    } else {
        m->failed++;
    }
}

static void propose(struct machine *m, uint64_t v) {
    assert_int_equal(store_propose(m->store, (const uint8_t *) &v, sizeof v, on_done, m), 0);
}

static void wait_acked(struct machine *m, int n) {
    while (m->acked + m->failed < n) uv_run(&m->loop, UV_RUN_ONCE);
    assert_int_equal(m->acked, n);
}

static void test_store_reopen_has_what_was_acknowledged(void **state) {
    (void) state;
    struct machine m;
    struct err err = {0};
    assert_int_equal(open_machine(&m, &err), 0);
    for (uint64_t v = 1; v <= 700; v++) propose(&m, v);
    wait_acked(&m, 700);
    close_machine(&m);
    assert_int_equal(open_machine(&m, &err), 0);
    assert_int_equal(m.sum, 700 * 701 / 2);
    propose(&m, 5);
    wait_acked(&m, 1);
    close_machine(&m);
}

/* raft 0.15 writes each entry in whole words, but reads back its exact length: what follows an odd
 * one would be taken for a torn write and dropped without a word. */
static void test_store_reopen_keeps_entries_of_any_length(void **state) {
    (void) state;
    enum { N = 200 };
    struct machine m;
    struct err err = {0};
    uint64_t bytes = 0;
    assert_int_equal(open_machine(&m, &err), 0);
    for (size_t i = 0; i < N; i++) {
        uint8_t data[64] = {1};
        size_t len = 1 + i % 60;
        bytes += len;
        assert_int_equal(store_propose(m.store, data, len, on_done, &m), 0);
        if (i % 3 == 0) wait_acked(&m, (int) i + 1); /* batches of one and of several */
    }
    wait_acked(&m, N);
    assert_int_equal(m.bytes, bytes);
    close_machine(&m);
    assert_int_equal(open_machine(&m, &err), 0);
    assert_int_equal(m.count, N);
    assert_int_equal(m.sum, N);
    assert_int_equal(m.bytes, bytes);
    close_machine(&m);
}

static void test_store_compacts_and_restores_from_snapshot(void **state) {
    (void) state;
    struct machine m;
    struct err err = {0};
    assert_int_equal(open_machine(&m, &err), 0);
    enum { N = STORE_SNAPSHOT_ENTRIES * 2 };
    for (int i = 0; i < N; i++) {
        propose(&m, 1);
        if (i % 256 == 255) wait_acked(&m, i + 1);
    }
    wait_acked(&m, N);
    close_machine(&m);
    assert_int_equal(open_machine(&m, &err), 0);
    assert_true(m.restored);
    assert_int_equal(m.count, N);
    assert_int_equal(m.sum, N);
    close_machine(&m);
}

/* Whatever is under way then: a write, the making of the next segment, the end of the last one. */
static void test_store_closes_at_any_moment(void **state) {
    (void) state;
    enum { ROUNDS = 40 };
    struct machine m;
    struct err err = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        assert_int_equal(open_machine(&m, &err), 0);
        unsigned turns = round % 7;
        for (unsigned i = 0; i < round % 5; i++) propose(&m, 1);
        while (turns-- > 0) uv_run(&m.loop, UV_RUN_NOWAIT);
        close_machine(&m);
    }
}

/* kill -9 in the middle of a stream of writes: everything that was acknowledged is there. */
static void test_store_killed_keeps_the_acknowledged(void **state) {
    (void) state;
    for (int round = 0; round < 5; round++) {
        int p[2];
        assert_int_equal(pipe2(p, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct machine m;
            if (open_machine(&m, NULL) < 0) _exit(1);
            for (int n = 0;; n++) {
                propose(&m, 1);
                while (m.acked + m.failed <= n) uv_run(&m.loop, UV_RUN_ONCE);
                if (m.failed || write(p[1], &m.count, sizeof m.count) < 0) _exit(2);
            }
        }
        close(p[1]);
        uint64_t acked = 0;
        for (int i = 0; i < 20 + 13 * round; i++)
            assert_int_equal(fd_read_full(p[0], &acked, sizeof acked), sizeof acked);
        kill(pid, SIGKILL);
        while (fd_read_full(p[0], &acked, sizeof acked) == sizeof acked) {
        }
        waitpid(pid, NULL, 0);
        close(p[0]);
        struct machine m;
        struct err err = {0};
        assert_int_equal(open_machine(&m, &err), 0);
        assert_true(m.count >= acked);
        assert_true(m.count <= acked + 1);
        close_machine(&m);
    }
}

static void test_store_refuses_a_directory_that_is_no_log(void **state) {
    (void) state;
    struct machine m;
    struct err err = {0};
    auto_fd int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fd_replace_file(d, "precious", "x", 1, 0600), 0);
    assert_int_equal(open_machine(&m, &err), -EEXIST);
    assert_non_null(strstr(err.text, "no 'orlop-log' marker"));
}

static void delete_files(const char *prefix) {
    DIR *list = opendir(dir);
    for (struct dirent *e = readdir(list); e; e = readdir(list))
        if (e->d_name[0] != '.' && !str_eq(e->d_name, "orlop-log") && str_starts(e->d_name, prefix))
            unlinkat(dirfd(list), e->d_name, 0);
    closedir(list);
}

/* Deleted segments and metadata must never lead to a second bootstrap. */
static void test_store_refuses_a_log_that_lost_its_files(void **state) {
    (void) state;
    struct machine m;
    struct err err = {0};
    assert_int_equal(open_machine(&m, &err), 0);
    propose(&m, 1);
    wait_acked(&m, 1);
    close_machine(&m);
    delete_files("0");
    assert_int_equal(open_machine(&m, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "is empty now"));
    delete_files("");
    assert_int_equal(open_machine(&m, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "damaged or gone"));
}

static void test_store_names_a_corrupt_segment(void **state) {
    (void) state;
    struct machine m;
    struct err err = {0};
    assert_int_equal(open_machine(&m, &err), 0);
    for (int i = 0; i < 50; i++) propose(&m, 1);
    wait_acked(&m, 50);
    close_machine(&m);
    DIR *list = opendir(dir);
    int damaged = 0;
    for (struct dirent *e = readdir(list); e; e = readdir(list)) {
        if (!strchr(e->d_name, '-') || !str_starts(e->d_name, "0000")) continue;
        auto_fd int fd = openat(dirfd(list), e->d_name, O_RDWR | O_CLOEXEC);
        char byte;
        off_t middle = lseek(fd, 0, SEEK_END) / 2;
        assert_int_equal(pread(fd, &byte, 1, middle), 1);
        byte = (char) (byte ^ 0x40);
        assert_int_equal(pwrite(fd, &byte, 1, middle), 1);
        damaged++;
    }
    closedir(list);
    assert_true(damaged > 0);
    assert_int_equal(open_machine(&m, &err), -EBADMSG);
    assert_non_null(strstr(err.text, dir));
}

static void test_snapshot_frame_detects_each_flipped_bit(void **state) {
    (void) state;
    uint8_t buf[sizeof(struct snapshot_frame) + 5];
    struct snapshot_frame f, got;
    snapshot_frame_fill(&f, 42, (const uint8_t *) "hello", 5);
    memcpy(buf, &f, sizeof f);
    memcpy(buf + sizeof f, "hello", 5);
    assert_int_equal(snapshot_frame_check(buf, sizeof buf, &got), 0);
    assert_int_equal(got.idx, 42);
    for (size_t bit = 0; bit < sizeof buf * 8; bit++) {
        buf[bit / 8] ^= (uint8_t) (1u << bit % 8);
        assert_int_equal(snapshot_frame_check(buf, sizeof buf, &got), -EBADMSG);
        buf[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
    for (size_t n = 0; n < sizeof buf; n++)
        assert_int_equal(snapshot_frame_check(buf, n, &got), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_dir, drop_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_store_reopen_has_what_was_acknowledged),
        TEST(test_store_reopen_keeps_entries_of_any_length),
        TEST(test_store_closes_at_any_moment),
        TEST(test_store_compacts_and_restores_from_snapshot),
        TEST(test_store_killed_keeps_the_acknowledged),
        TEST(test_store_refuses_a_directory_that_is_no_log),
        TEST(test_store_refuses_a_log_that_lost_its_files),
        TEST(test_store_names_a_corrupt_segment),
        cmocka_unit_test(test_snapshot_frame_detects_each_flipped_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
