// SPDX-License-Identifier: Apache-2.0
/* Every byte of a log's index cut off, every bit flipped: all bytes of the log come, and either as
 * they were or with a sentence that names the file; the writer goes on in a new file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/buf.h"
#include "runtime/base/fd.h"
#include "runtime/base/log.h"
#include "runtime/base/mem.h"
#include "runtime/keeper/logfile.h"
#include "runtime/keeper/sink.h"
#include "tests/lib/damage.h"

#define MS INT64_C(1000000)
enum { RECORDS = 5 };

static char dir[64];
static struct damage damage;
static int fifo[2];
static struct buf whole;

static void put(struct sink *s, unsigned stream, const char *text, int64_t ms) {
    ssize_t n = (ssize_t) strlen(text);
    assert_int_equal(write(fifo[1], text, (size_t) n), n);
    assert_int_equal(sink_move(s, fifo[0], stream, 65536, ms * MS), n);
}

struct seen {
    struct buf text;
    size_t bytes;
    bool damaged;
    char what[160];
};

static void read_all(int64_t tail, struct seen *ret) {
    struct log_reader *r;
    struct log_line l;
    *ret = (struct seen){0};
    buf_init(&ret->text, 1 << 16);
    assert_int_equal(log_reader_open(dir, 0, tail, &r, NULL), 0);
    while (log_reader_next(r, true, &l, NULL) == 1) {
        buf_printf(&ret->text, "%u@%lld %.*s|", l.stream, (long long) (l.time_unix_ns / MS),
                   (int) l.len, l.text);
        ret->bytes += l.len;
    }
    const char *what = log_reader_damage(r);
    ret->damaged = what;
    snprintf(ret->what, sizeof ret->what, "%s", what ? what : "");
    log_reader_free(r);
}

static void append(const char *text) {
    struct sink s;
    assert_int_equal(sink_open(&s, dir, 0, 0, NULL), 0);
    put(&s, LOG_STDOUT, text, 1000);
    sink_close(&s);
}

static int set_up(void **state) {
    (void) state;
    struct sink s;
    struct seen seen;
    log_set_level(LOG_ERROR); /* the writer says each time that it goes on elsewhere */
    damage_temp_dir(dir);
    if (pipe2(fifo, O_CLOEXEC | O_NONBLOCK) < 0) return -1;
    assert_int_equal(sink_open(&s, dir, 0, 0, NULL), 0);
    for (int i = 0; i < RECORDS; i++)
        put(&s, i % 2 ? LOG_STDERR : LOG_STDOUT, i % 3 ? "line\n" : "a longer line\n", 5 + i * 5);
    sink_close(&s);
    damage_take(&damage, dir);
    read_all(-1, &seen);
    assert_false(seen.damaged);
    whole = seen.text;
    return 0;
}

static int tear_down(void **state) {
    (void) state;
    buf_fini(&whole);
    damage_free(&damage);
    close(fifo[0]);
    close(fifo[1]);
    return fd_remove_tree(AT_FDCWD, dir);
}

static void expect_named(const char *file, const char *what, size_t where) {
    size_t bytes = damage_file(&damage, "1.log")->size;
    struct seen seen;
    read_all(-1, &seen);
    bool same = strcmp(buf_str(&seen.text), buf_str(&whole)) == 0;
    if (seen.bytes != bytes) fail_msg("%s %s %zu: %zu bytes", file, what, where, seen.bytes);
    if (!same && !seen.damaged) fail_msg("%s %s %zu: nothing is said", file, what, where);
    if (seen.damaged && !strstr(seen.what, file))
        fail_msg("%s %s %zu: said '%s'", file, what, where, seen.what);
    buf_fini(&seen.text);
    append("more\n");
    read_all(where % 2 ? -1 : 100, &seen); /* from the end back, too */
    if (seen.bytes != bytes + 5 || (!same && !seen.damaged))
        fail_msg("%s %s %zu: %zu bytes with the next line", file, what, where, seen.bytes);
    buf_fini(&seen.text);
    damage_undo(&damage);
}

static void test_each_cut_of_an_index_is_named(void **state) {
    (void) state;
    const struct damaged_file *f = damage_file(&damage, "1.idx");
    for (size_t size = 0; size < f->size; size += size < f->used + 32 ? 1 : 211) {
        damage_cut(&damage, "1.idx", size);
        expect_named("1.idx", "cut at", size);
    }
}

static void test_each_flip_in_an_index_is_named(void **state) {
    (void) state;
    for (size_t bit = 0; bit < (damage_file(&damage, "1.idx")->used + 16) * 8; bit++) {
        damage_flip(&damage, "1.idx", bit);
        expect_named("1.idx", "flipped at bit", bit);
    }
}

/* Within the bytes of the last record nobody can tell. */
static void test_a_cut_of_the_bytes_is_named(void **state) {
    (void) state;
    size_t size = damage_file(&damage, "1.log")->size;
    for (size_t at = 0; at < size - strlen("a longer line\n"); at++) {
        struct seen seen;
        damage_cut(&damage, "1.log", at);
        read_all(-1, &seen);
        if (seen.bytes != at || !seen.damaged || !strstr(seen.what, "1.log"))
            fail_msg("cut at %zu: %zu bytes, '%s'", at, seen.bytes, seen.what);
        buf_fini(&seen.text);
        append("more\n");
        read_all(-1, &seen);
        assert_int_equal(seen.bytes, at + 5);
        buf_fini(&seen.text);
        damage_undo(&damage);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_each_cut_of_an_index_is_named),
        T(test_each_flip_in_an_index_is_named),
        T(test_a_cut_of_the_bytes_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
