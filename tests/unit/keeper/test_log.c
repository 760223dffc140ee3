// SPDX-License-Identifier: Apache-2.0
/* Log files: what sink.c writes, logfile.c reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/logfile.h"
#include "runtime/keeper/sink.h"

#define MS INT64_C(1000000)

static struct {
    char base[64], dir[80];
    int pipe[2];
    struct sink sink;
    int64_t now;
} env;

static void open_log(uint64_t max_bytes, uint32_t max_files) {
    assert_int_equal(sink_open(&env.sink, env.dir, max_bytes, max_files, NULL), 0);
}

static int set_up(void **state) {
    (void) state;
    snprintf(env.base, sizeof env.base, "/tmp/orlop-log-test-XXXXXX");
    if (!mkdtemp(env.base) || pipe2(env.pipe, O_CLOEXEC | O_NONBLOCK) < 0) return -1;
    snprintf(env.dir, sizeof env.dir, "%s/log", env.base);
    env.now = 1000 * MS;
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    sink_close(&env.sink);
    close(env.pipe[0]);
    close(env.pipe[1]);
    return fd_remove_tree(AT_FDCWD, env.base);
}

/* TEXT on STREAM, STEP_MS after what was before. */
static void put(unsigned stream, const char *text, int64_t step_ms) {
    env.now += step_ms * MS;
    size_t len = strlen(text);
    for (size_t done = 0; done < len;) {
        size_t n = len - done < 65536 ? len - done : 65536;
        assert_int_equal(write(env.pipe[1], text + done, n), n);
        assert_int_equal(sink_move(&env.sink, env.pipe[0], stream, 65536, env.now), n);
        done += n;
    }
}

static struct log_reader *reader(int64_t since, int64_t tail) {
    struct log_reader *r;
    assert_int_equal(log_reader_open(env.dir, since, tail, &r, NULL), 0);
    return r;
}

/* All lines as "STREAM@MS TEXT|", partial ones with a '~'. */
static void drain(struct log_reader *r, bool flush, struct buf *out) {
    struct log_line l;
    int n;
    while ((n = log_reader_next(r, flush, &l, NULL)) == 1)
        buf_printf(out, "%u@%lld%s %.*s|", l.stream, (long long) (l.time_unix_ns / MS - 1000),
                   l.partial ? "~" : "", (int) l.len, l.text);
    assert_int_equal(n, 0);
}

static void expect(int64_t since, int64_t tail, const char *want) {
    struct log_reader *r = reader(since, tail);
    struct buf out;
    buf_init(&out, 1 << 20);
    drain(r, true, &out);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
    log_reader_free(r);
}

static void test_lines_of_two_streams_keep_time_and_stream(void **state) {
    (void) state;
    open_log(0, 0);
    put(LOG_STDOUT, "one\ntw", 0);
    put(LOG_STDERR, "oops\n", 5);
    put(LOG_STDOUT, "o\nthree", 5);
    expect(0, -1, "1@0 one\n|2@5 oops\n|1@0 two\n|1@10~ three|");
    expect(1000 * MS + 1, -1, "2@5 oops\n|1@10~ three|");
}

static void test_records_of_one_stream_within_a_millisecond_merge(void **state) {
    (void) state;
    open_log(0, 0);
    for (int i = 0; i < 100; i++) put(LOG_STDOUT, "x\n", 0);
    assert_int_equal(env.sink.records, 1);
    put(LOG_STDOUT, "y\n", 2);
    put(LOG_STDERR, "z\n", 0);
    assert_int_equal(env.sink.records, 3);
    expect(0, 2, "1@2 y\n|2@2 z\n|");
}

static void test_tail_counts_over_streams_and_files(void **state) {
    (void) state;
    open_log(SINK_BYTES_MIN, 5);
    char line[64];
    for (int i = 0; i < 400; i++) {
        snprintf(line, sizeof line, "line %d of some length, to fill files\n", i);
        put(i % 3 ? LOG_STDOUT : LOG_STDERR, line, 1);
    }
    assert_true(env.sink.number > 2);
    expect(0, 2,
           "1@399 line 398 of some length, to fill files\n|"
           "2@400 line 399 of some length, to fill files\n|");
    expect(0, 0, "");
    struct log_reader *r = reader(0, 250);
    struct log_line l;
    int n = 0, first = -1, v;
    while (log_reader_next(r, false, &l, NULL) == 1) {
        assert_int_equal(sscanf(l.text, "line %d", &v), 1);
        if (first < 0) first = v;
        assert_int_equal(v, first + n);
        n++;
    }
    assert_int_equal(n, 250);
    assert_int_equal(first, 150);
    log_reader_free(r);
}

static void test_rotation_keeps_the_count_and_whole_lines(void **state) {
    (void) state;
    open_log(SINK_BYTES_MIN, 2);
    char line[1001];
    memset(line, 'a', sizeof line);
    line[999] = '\n';
    line[1000] = 0;
    for (int i = 0; i < 20; i++) put(LOG_STDOUT, line, 1);
    assert_int_equal(env.sink.number, 4);
    char path[128];
    struct stat st;
    for (unsigned n = 1; n <= 4; n++) {
        snprintf(path, sizeof path, "%s/%u.log", env.dir, n);
        assert_int_equal(stat(path, &st), n > 2 ? 0 : -1);
        if (n > 2) assert_int_equal(st.st_size % 1000, 0);
    }
}

static void test_line_over_a_rotation_is_joined(void **state) {
    (void) state;
    open_log(SINK_BYTES_MIN, 9);
    size_t n = SINK_BYTES_MIN + SINK_OVER_MAX + 10;
    char *big = mem_alloc(n + 1);
    memset(big, 'b', n);
    big[n] = 0;
    put(LOG_STDOUT, big, 0); /* too long for its file: rotated in the middle of the line */
    put(LOG_STDOUT, "end\n", 1);
    assert_int_equal(env.sink.number, 2);
    struct log_reader *r = reader(0, -1);
    struct log_line l;
    size_t total = 0;
    bool last_partial = true;
    while (log_reader_next(r, false, &l, NULL) == 1) {
        total += l.len;
        last_partial = l.partial;
        assert_true(l.len <= LOGFILE_LINE_MAX);
    }
    assert_int_equal(total, n + 4);
    assert_false(last_partial);
    log_reader_free(r);
    mem_free(big);
}

static void test_boundary_ends_the_open_line_of_an_earlier_attempt(void **state) {
    (void) state;
    open_log(0, 0);
    put(LOG_STDOUT, "cut of", 0);
    sink_close(&env.sink);
    open_log(0, 0);
    assert_int_equal(sink_boundary(&env.sink, env.now), 0);
    put(LOG_STDOUT, "new\n", 1);
    expect(0, -1, "1@0 cut of|1@1 new\n|");
}

static void test_writer_goes_on_after_a_kill_at_any_write(void **state) {
    (void) state;
    open_log(0, 0);
    put(LOG_STDOUT, "a\n", 0);
    /* killed between record and bytes: the record covers nothing and is written over */
    struct log_record stray = log_record_make(env.now, env.sink.size, LOG_STDERR);
    assert_int_equal(pwrite(env.sink.index, &stray, sizeof stray, sizeof stray), sizeof stray);
    sink_close(&env.sink);
    open_log(0, 0);
    put(LOG_STDOUT, "b\n", 1);
    /* a torn record */
    assert_int_equal(pwrite(env.sink.index, "xyz", 3, (off_t) (env.sink.records * 16)), 3);
    sink_close(&env.sink);
    open_log(0, 0);
    put(LOG_STDERR, "c\n", 1);
    expect(0, -1, "1@0 a\n|1@1 b\n|2@2 c\n|");
}

static void test_follow_gives_what_came(void **state) {
    (void) state;
    open_log(SINK_BYTES_MIN, 3);
    struct log_reader *r = reader(0, -1);
    struct buf out;
    buf_init(&out, 1 << 20);
    drain(r, false, &out);
    put(LOG_STDOUT, "first\n", 0);
    drain(r, false, &out);
    put(LOG_STDOUT, "half", 1);
    drain(r, false, &out);
    put(LOG_STDOUT, " whole\n", 1);
    char line[1001];
    memset(line, 'a', sizeof line);
    line[999] = '\n';
    line[1000] = 0;
    for (int i = 0; i < 8; i++) { /* over a rotation */
        put(LOG_STDERR, line, 1);
        struct log_line l;
        if (i == 0) drain(r, false, &out);
        if (i > 0) assert_int_equal(log_reader_next(r, false, &l, NULL), 1);
    }
    put(LOG_STDOUT, "last\n", 1);
    assert_non_null(strstr(buf_str(&out), "1@0 first\n|1@1 half whole\n|"));
    buf_reset(&out);
    drain(r, false, &out);
    assert_non_null(strstr(buf_str(&out), "last\n|"));
    buf_fini(&out);
    log_reader_free(r);
}

/* A writer that writes a line for each that is read, over rotations. */
static void test_reader_that_stops_here_ends_though_the_log_grows(void **state) {
    (void) state;
    open_log(SINK_BYTES_MIN, 3);
    put(LOG_STDOUT, "first\nsecond\nha", 0);
    struct log_reader *r = reader(0, -1);
    log_reader_stop_here(r);
    char line[1001];
    memset(line, 'a', sizeof line);
    line[999] = '\n';
    line[1000] = 0;
    struct log_line l;
    int n = 0;
    while (n < 100 && log_reader_next(r, true, &l, NULL) == 1) {
        n++;
        for (int i = 0; i < 5; i++) put(LOG_STDOUT, line, 1);
    }
    assert_int_equal(n, 3);
    assert_int_equal(l.len, 1002); /* the line that was open ends as it did end */
    assert_int_equal(log_reader_next(r, true, &l, NULL), 0);
    log_reader_free(r);
}

static void test_tail_of_a_log_that_grows_is_no_longer_than_asked_for(void **state) {
    (void) state;
    open_log(0, 0);
    put(LOG_STDOUT, "a\nb\nc\n", 0);
    struct log_reader *r = reader(0, 2);
    put(LOG_STDOUT, "d\ne\n", 1);
    log_reader_stop_here(r);
    struct buf out;
    buf_init(&out, 1 << 16);
    drain(r, true, &out);
    assert_string_equal(buf_str(&out), "1@0 b\n|1@0 c\n|");
    buf_fini(&out);
    log_reader_free(r);
}

static void test_reader_of_a_lying_index_only_gives_wrong_lines(void **state) {
    (void) state;
    open_log(0, 0);
    put(LOG_STDOUT, "some\nbytes\n", 0);
    uint64_t words[] = {7, UINT64_MAX, 1, 0, 9, 40 << 2 | 1, 9, 2, 0, 0, 3, 3, 4, 8 << 2 | 3};
    assert_int_equal(pwrite(env.sink.index, words, sizeof words, 0), sizeof words);
    struct log_reader *r = reader(0, 5);
    struct buf out;
    buf_init(&out, 1 << 16);
    drain(r, true, &out);
    buf_fini(&out);
    log_reader_free(r);
}

static void test_full_disk_keeps_the_bytes_in_the_pipe(void **state) {
    (void) state;
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        skip();
    assert_int_equal(mkdir(env.dir, 0700), 0);
    assert_int_equal(mount("orlop-test", env.dir, "tmpfs", 0, "size=64k"), 0);
    open_log(0, 0);
    char path[128], line[1001];
    memset(line, 'a', sizeof line);
    line[999] = '\n';
    line[1000] = 0;
    snprintf(path, sizeof path, "%s/ballast", env.dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    put(LOG_STDOUT, "before\n", 1);
    assert_int_equal(posix_fallocate(fd, 0, 48 * 1024), 0);
    int64_t sent = 0, moved = 0, n = 0;
    while (n >= 0 && sent < 40) {
        assert_int_equal(write(env.pipe[1], line, 1000), 1000);
        sent++;
        n = sink_move(&env.sink, env.pipe[0], LOG_STDOUT, 65536, env.now += MS);
        if (n > 0) moved += n;
    }
    assert_int_equal(n, -ENOSPC);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    while ((n = sink_move(&env.sink, env.pipe[0], LOG_STDOUT, 65536, env.now += MS)) > 0)
        moved += n;
    assert_int_equal(moved, sent * 1000);
    struct log_reader *r = reader(0, -1);
    struct log_line l;
    int64_t lines = 0;
    while (log_reader_next(r, false, &l, NULL) == 1) lines += l.len == 1000;
    assert_int_equal(lines, sent);
    log_reader_free(r);
    sink_close(&env.sink);
    assert_int_equal(umount2(env.dir, MNT_DETACH), 0);
}

static void test_driver_none_swallows_bytes(void **state) {
    (void) state;
    assert_int_equal(sink_open(&env.sink, NULL, 0, 0, NULL), 0);
    assert_int_equal(write(env.pipe[1], "gone\n", 5), 5);
    assert_int_equal(sink_move(&env.sink, env.pipe[0], LOG_STDOUT, 100, env.now), 5);
    struct log_reader *r;
    assert_int_equal(log_reader_open(env.dir, 0, -1, &r, NULL), -2 /* ENOENT */);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_lines_of_two_streams_keep_time_and_stream),
        T(test_records_of_one_stream_within_a_millisecond_merge),
        T(test_tail_counts_over_streams_and_files),
        T(test_rotation_keeps_the_count_and_whole_lines),
        T(test_line_over_a_rotation_is_joined),
        T(test_boundary_ends_the_open_line_of_an_earlier_attempt),
        T(test_writer_goes_on_after_a_kill_at_any_write),
        T(test_follow_gives_what_came),
        T(test_reader_that_stops_here_ends_though_the_log_grows),
        T(test_tail_of_a_log_that_grows_is_no_longer_than_asked_for),
        T(test_reader_of_a_lying_index_only_gives_wrong_lines),
        T(test_full_disk_keeps_the_bytes_in_the_pipe),
        T(test_driver_none_swallows_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
