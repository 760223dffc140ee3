// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "bus.pb-c.h"
#include "proto/bus/frame.h"

static const struct frame cases[] = {
    {.kind = ORLOP__ENVELOPE__KIND__PING},
    {.kind = ORLOP__ENVELOPE__KIND__OPEN,
     .stream = 1,
     .method = 22,
     .body = (const uint8_t *) "xyz",
     .len = 3},
    {.kind = ORLOP__ENVELOPE__KIND__DATA,
     .stream = UINT64_MAX,
     .body = (const uint8_t *) "\0\1",
     .len = 2},
    {.kind = ORLOP__ENVELOPE__KIND__CREDIT, .stream = 300, .credit = 1 << 20},
    {.kind = ORLOP__ENVELOPE__KIND__ERROR,
     .stream = 5,
     .error = 2,
     .text = "no file",
     .text_len = 7},
    {.kind = ORLOP__ENVELOPE__KIND__ERROR, .stream = 5, .error = -1},
};

static size_t encode(const struct frame *f, uint8_t *out) {
    size_t n = frame_head(f, out);
    if (f->len) memcpy(out + n, f->body, f->len);
    return n + f->len;
}

static void test_frame_written_is_what_protobuf_reads(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct frame *f = &cases[i];
        uint8_t out[FRAME_HEAD_MAX + 16];
        size_t n = encode(f, out), announced;
        assert_int_equal(frame_length(out, &announced), 0);
        assert_int_equal(announced, n - FRAME_PREFIX);
        Orlop__Envelope *e = orlop__envelope__unpack(NULL, announced, out + FRAME_PREFIX);
        assert_non_null(e);
        assert_int_equal(e->kind, f->kind);
        assert_true(e->stream == f->stream && e->credit == f->credit);
        assert_int_equal(e->method, f->method);
        assert_int_equal(e->error, f->error);
        assert_int_equal(e->body.len, f->len);
        if (f->len) assert_memory_equal(e->body.data, f->body, f->len);
        assert_int_equal(strlen(e->text), f->text_len);
        orlop__envelope__free_unpacked(e, NULL);
    }
}

static void test_frame_read_is_what_protobuf_writes(void **state) {
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t mine[FRAME_HEAD_MAX + 16], theirs[FRAME_HEAD_MAX + 16];
        size_t n = encode(&cases[i], mine);
        Orlop__Envelope *e = orlop__envelope__unpack(NULL, n - FRAME_PREFIX, mine + FRAME_PREFIX);
        assert_non_null(e);
        size_t m = orlop__envelope__pack(e, theirs);
        struct frame f;
        assert_int_equal(frame_decode(theirs, m, &f), 0);
        assert_int_equal(f.kind, cases[i].kind);
        assert_true(f.stream == cases[i].stream && f.credit == cases[i].credit);
        assert_int_equal(f.error, cases[i].error);
        assert_int_equal(f.len, cases[i].len);
        assert_int_equal(f.text_len, cases[i].text_len);
        orlop__envelope__free_unpacked(e, NULL);
    }
}

static void test_frame_unknown_fields_are_skipped(void **state) {
    (void) state;
    static const uint8_t in[] = {0x08, 3,                              /* kind */
                                 0x40, 0xff, 0x01,                     /* 8: varint */
                                 0x4a, 2,    'h',  'i',                /* 9: bytes */
                                 0x51, 1,    2,    3,   4, 5, 6, 7, 8, /* 10: fixed64 */
                                 0x5d, 1,    2,    3,   4,             /* 11: fixed32 */
                                 0x10, 9};                             /* stream */
    struct frame f;
    assert_int_equal(frame_decode(in, sizeof in, &f), 0);
    assert_int_equal(f.kind, 3);
    assert_int_equal(f.stream, 9);
}

static void test_frame_malformed_is_refused(void **state) {
    (void) state;
    static const struct {
        const char *name;
        uint8_t in[16];
        size_t n;
    } bad[] = {
        {"key cut", {0x80}, 1},
        {"no value", {0x08}, 1},
        {"field 0", {0x00, 0x01}, 2},
        {"body longer than the frame", {0x22, 5, 'x'}, 3},
        {"body of 2^63", {0x22, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, 11},
        {"varint of 11 bytes",
         {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
         12},
        {"kind as bytes", {0x0a, 1, 'x'}, 3},
        {"body as number", {0x20, 1}, 2},
        {"stream as fixed64", {0x11, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {"group", {0x43, 0x44}, 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct frame f;
        if (frame_decode(bad[i].in, bad[i].n, &f) != -EBADMSG) fail_msg("%s", bad[i].name);
    }
}

static void test_frame_length_above_the_limit_is_refused(void **state) {
    (void) state;
    size_t n = 77;
    assert_int_equal(frame_length((const uint8_t[]){0xff, 0xff, 0xff, 0xff}, &n), -EMSGSIZE);
    uint32_t over = FRAME_MAX + 1;
    uint8_t p[4] = {(uint8_t) (over >> 24), (uint8_t) (over >> 16), (uint8_t) (over >> 8),
                    (uint8_t) over};
    assert_int_equal(frame_length(p, &n), -EMSGSIZE);
    assert_int_equal(n, 77);
}

static void test_frame_long_text_is_cut(void **state) {
    (void) state;
    char text[1000];
    memset(text, 'a', sizeof text);
    struct frame f = {.kind = 5, .stream = 1, .error = 5, .text = text, .text_len = sizeof text},
                 got;
    uint8_t out[FRAME_HEAD_MAX];
    size_t n = frame_head(&f, out);
    assert_true(n <= FRAME_HEAD_MAX);
    assert_int_equal(frame_decode(out + FRAME_PREFIX, n - FRAME_PREFIX, &got), 0);
    assert_int_equal(got.text_len, ERR_TEXT_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_written_is_what_protobuf_reads),
        cmocka_unit_test(test_frame_read_is_what_protobuf_writes),
        cmocka_unit_test(test_frame_unknown_fields_are_skipped),
        cmocka_unit_test(test_frame_malformed_is_refused),
        cmocka_unit_test(test_frame_length_above_the_limit_is_refused),
        cmocka_unit_test(test_frame_long_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
