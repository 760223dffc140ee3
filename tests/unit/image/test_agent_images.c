// SPDX-License-Identifier: Apache-2.0
/* The IMAGE_* requests over a real connection: import with a slow thread, a sender that goes away,
 * and the simple ones. Callbacks record, test bodies assert. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/images.h"
#include "api.pb-c.h"
#include "archive.h"
#include "bus.pb-c.h"
#include "proto/arena.h"
#include "runtime/base/mem.h"

enum { DEADLINE_MS = 60000, CHUNK = 48 << 10 };

struct call {
    struct bus_stream *s; /* NULL once closed */
    struct err err;
    bool closed;
    struct buf answer;
    const char *body; /* still to be sent */
    size_t len;
    bool keep_open; /* no END behind it */
};

struct rig {
    uv_loop_t loop;
    struct test_store store;
    struct agent_images *images;
    struct bus *server, *client;
    struct bus_listener *listener;
    struct bus_conn *dialed;
    bool up, late;
    unsigned closed_buses;
    char used[IMAGE_DIGEST_MAX]; /* what in_use says */
};

static void in_use(void *ctx, struct strv *ret) {
    struct rig *r = ctx;
    if (*r->used) ensure(strv_add(ret, r->used) == 0);
}

static void on_request(void *ctx, struct bus_conn *c, struct bus_stream *s, uint32_t method,
                       const uint8_t *body, size_t len) {
    struct rig *r = ctx;
    (void) c;
    if (!agent_images_request(r->images, s, method, body, len)) bus_fail(s, ENOSYS, "not ours");
}

static void on_server(void *ctx, struct bus_conn *c) {
    (void) ctx;
    (void) c;
}

static void on_up(void *ctx, struct bus_conn *c) {
    struct rig *r = ctx;
    (void) c;
    r->up = true;
}

static void on_down(void *ctx, struct bus_conn *c, const struct err *why) {
    (void) ctx;
    (void) c;
    (void) why;
}

static const struct bus_conn_ops server_ops = {
    .up = on_server, .down = on_down, .request = on_request};
static const struct bus_conn_ops client_ops = {.up = on_up, .down = on_down};

static void pump(struct call *q) {
    while (q->s && q->len) {
        size_t n = q->len < CHUNK ? q->len : CHUNK;
        if (bus_send(q->s, q->body, n) < 0) return;
        q->body += n;
        q->len -= n;
    }
    if (q->s && !q->keep_open) bus_end(q->s);
}

static void on_data(void *ctx, struct bus_stream *s, const uint8_t *body, size_t len) {
    struct call *q = ctx;
    (void) s;
    buf_add(&q->answer, body, len);
}

static void on_end(void *ctx, struct bus_stream *s) {
    (void) ctx;
    bus_end(s);
}

static void on_writable(void *ctx, struct bus_stream *s) {
    (void) s;
    pump(ctx);
}

static void on_closed(void *ctx, struct bus_stream *s, const struct err *err) {
    struct call *q = ctx;
    (void) s;
    q->s = NULL;
    q->err = *err;
    q->closed = true;
}

static const struct bus_stream_ops call_ops = {on_data, on_end, on_writable, on_closed};

static void on_late(uv_timer_t *t) {
    *(bool *) t->data = true;
}

/* Run the loop until *FLAG, or fail. */
static void until(struct rig *r, const bool *flag) {
    uv_timer_t timer;
    uv_timer_init(&r->loop, &timer);
    timer.data = &r->late;
    uv_timer_start(&timer, on_late, DEADLINE_MS, 0);
    while (!*flag && !r->late) uv_run(&r->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *) &timer, NULL);
    uv_run(&r->loop, UV_RUN_NOWAIT);
    assert_false(r->late);
}

static int setup(void **state) {
    char url[128];
    if (geteuid() != 0) return 0;
    struct rig *r = mem_zalloc(sizeof *r);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    test_store_open(&r->store);
    assert_int_equal(agent_images_new(&r->loop, r->store.store, in_use, r, &r->images), 0);
    (void) snprintf(url, sizeof url, "ipc://%s/sock", r->store.dir);
    assert_int_equal(bus_new(&r->loop, &r->server), 0);
    assert_int_equal(bus_new(&r->loop, &r->client), 0);
    assert_int_equal(bus_listen(r->server, url, &server_ops, r, &r->listener, NULL), 0);
    assert_int_equal(bus_dial(r->client, url, &client_ops, r, &r->dialed, NULL), 0);
    until(r, &r->up);
    *state = r;
    return 0;
}

static void on_bus_closed(void *ctx) {
    ((struct rig *) ctx)->closed_buses++;
}

static int teardown(void **state) {
    struct rig *r = *state;
    if (!r) return 0;
    bus_close(r->client, on_bus_closed, r);
    bus_close(r->server, on_bus_closed, r);
    agent_images_free(r->images);
    assert_int_equal(uv_run(&r->loop, UV_RUN_DEFAULT), 0); /* everything under way ends by itself */
    assert_int_equal(r->closed_buses, 2);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    assert_int_equal(test_store_count(&r->store, "tmp"), 0);
    test_store_close(&r->store);
    mem_free(r);
    return 0;
}

static struct rig *rig_of(void **state) {
    if (!*state) {
        print_message("needs root\n");
        skip();
    }
    return *state;
}

static void call_start(struct rig *r, struct call *q, uint32_t method, const ProtobufCMessage *m,
                       const struct buf *data) {
    buf_init(&q->answer, 16 << 20);
    if (data) {
        q->body = data->data;
        q->len = data->len;
    }
    assert_int_equal(bus_request_pb(r->dialed, method, m, &call_ops, q, &q->s), 0);
    pump(q);
}

/* A call to its end; the code. */
static int call(struct rig *r, struct call *q, uint32_t method, const ProtobufCMessage *m,
                const struct buf *data) {
    call_start(r, q, method, m, data);
    until(r, &q->closed);
    return q->err.code;
}

static int import(struct rig *r, struct call *q, char *name, const struct buf *tar) {
    Orlop__ImageImportRequest m = ORLOP__IMAGE_IMPORT_REQUEST__INIT;
    m.name = name;
    return call(r, q, ORLOP__METHOD__IMAGE_IMPORT, &m.base, tar);
}

static int ref_call(struct rig *r, struct call *q, uint32_t method, char *name, bool force) {
    Orlop__ImageRef m = ORLOP__IMAGE_REF__INIT;
    m.name = name;
    m.force = force;
    return call(r, q, method, &m.base, NULL);
}

static void rootfs(struct buf *tar, size_t bytes) {
    buf_init(tar, 256 << 20);
    auto_free char *data = mem_alloc(bytes);
    for (size_t i = 0; i < bytes; i++) data[i] = (char) (i * 2654435761u >> 13);
    archive_add_data(tar, "file", data, bytes);
    archive_end(tar);
}

/* Larger than window, socket and chunk by far: goes through by back-pressure alone. */
static void test_import_large_then_list_inspect_resolve(void **state) {
    struct rig *r = rig_of(state);
    struct buf tar;
    struct call q = {0}, l = {0}, i = {0}, v = {0};
    struct arena a;
    rootfs(&tar, 20 << 20);
    if (import(r, &q, (char[]){"big"}, &tar) != 0) fail_msg("%s", q.err.text);
    arena_init(&a, 1 << 20);
    const Orlop__ImageInfo *info =
        arena_unpack(&a, &orlop__image_info__descriptor, q.answer.data, q.answer.len);
    assert_non_null(info);
    assert_string_equal(info->names[0], "big:latest");
    assert_true(info->size_bytes > 20 << 20);
    memcpy(r->used, info->digest, strlen(info->digest) + 1);
    Orlop__Empty none = ORLOP__EMPTY__INIT;
    assert_int_equal(call(r, &l, ORLOP__METHOD__IMAGE_LIST, &none.base, NULL), 0);
    const Orlop__ImageListAnswer *list =
        arena_unpack(&a, &orlop__image_list_answer__descriptor, l.answer.data, l.answer.len);
    assert_int_equal(list->n_images, 1);
    assert_true(list->images[0]->in_use);
    assert_string_equal(list->images[0]->config_json, "");
    assert_int_equal(ref_call(r, &i, ORLOP__METHOD__IMAGE_INSPECT, (char[]){"big"}, false), 0);
    info = arena_unpack(&a, &orlop__image_info__descriptor, i.answer.data, i.answer.len);
    assert_non_null(strstr(info->config_json, "diff_ids"));
    assert_int_equal(
        ref_call(r, &v, ORLOP__METHOD__IMAGE_RESOLVE, (char[]){"docker.io/big"}, false), 0);
    arena_fini(&a);
    buf_fini(&tar);
    buf_fini(&q.answer);
    buf_fini(&l.answer);
    buf_fini(&i.answer);
    buf_fini(&v.answer);
}

static void test_import_of_rubbish_fails_while_it_comes(void **state) {
    struct rig *r = rig_of(state);
    struct buf junk;
    struct call q = {0};
    rootfs(&junk, 4 << 20);
    memset(junk.data, 'x', 1024); /* no tar any more */
    assert_int_equal(import(r, &q, (char[]){"x"}, &junk), -EBADMSG);
    assert_true(str_starts(q.err.text, "import: "));
    buf_fini(&junk);
    buf_fini(&q.answer);
}

static void test_import_name_that_is_none_fails_before_the_data(void **state) {
    struct rig *r = rig_of(state);
    struct buf tar;
    struct call q = {0};
    rootfs(&tar, 8 << 20);
    assert_int_equal(import(r, &q, (char[]){"Not A Name"}, &tar), -EINVAL);
    buf_fini(&tar);
    buf_fini(&q.answer);
}

static size_t images_in(struct rig *r) {
    struct image_info *list = NULL;
    size_t n = 0;
    assert_int_equal(image_list(r->store.store, &list, &n, NULL), 0);
    for (size_t i = 0; i < n; i++) image_info_fini(&list[i]);
    mem_free(list);
    return n;
}

/* All bytes came, but no END: an image that looks whole is not taken. */
static void test_import_sender_gone_before_end_leaves_nothing(void **state) {
    struct rig *r = rig_of(state);
    struct buf tar;
    struct call q = {.keep_open = true};
    Orlop__ImageImportRequest m = ORLOP__IMAGE_IMPORT_REQUEST__INIT;
    m.name = (char[]){"gone"};
    rootfs(&tar, 100000);
    call_start(r, &q, ORLOP__METHOD__IMAGE_IMPORT, &m.base, &tar);
    bus_cancel(q.s);
    until(r, &q.closed);
    assert_int_equal(q.err.code, -ECANCELED);
    buf_fini(&tar);
    buf_fini(&q.answer);
    /* The next import ends after it: the store is asked when both are over. */
    rootfs(&tar, 1000);
    struct call second = {0};
    assert_int_equal(import(r, &second, (char[]){"here"}, &tar), 0);
    assert_int_equal(images_in(r), 1);
    buf_fini(&tar);
    buf_fini(&second.answer);
}

static void test_imports_beyond_the_limit_are_refused(void **state) {
    struct rig *r = rig_of(state);
    struct call open[AGENT_IMAGES_IMPORTS_MAX] = {0}, more = {0};
    struct buf none = {0};
    Orlop__ImageImportRequest m = ORLOP__IMAGE_IMPORT_REQUEST__INIT;
    m.name = (char[]){"n"};
    for (size_t i = 0; i < AGENT_IMAGES_IMPORTS_MAX; i++) {
        open[i].keep_open = true;
        call_start(r, &open[i], ORLOP__METHOD__IMAGE_IMPORT, &m.base, &none);
    }
    assert_int_equal(import(r, &more, (char[]){"n"}, &none), -EBUSY);
    for (size_t i = 0; i < AGENT_IMAGES_IMPORTS_MAX; i++) bus_cancel(open[i].s);
    for (size_t i = 0; i < AGENT_IMAGES_IMPORTS_MAX; i++) until(r, &open[i].closed);
}

static void test_remove_respects_use(void **state) {
    struct rig *r = rig_of(state);
    struct buf tar;
    struct call q = {0}, busy = {0}, ok = {0}, gone = {0};
    struct arena a;
    rootfs(&tar, 1000);
    assert_int_equal(import(r, &q, (char[]){"a"}, &tar), 0);
    arena_init(&a, 1 << 20);
    const Orlop__ImageInfo *info =
        arena_unpack(&a, &orlop__image_info__descriptor, q.answer.data, q.answer.len);
    memcpy(r->used, info->digest, strlen(info->digest) + 1);
    assert_int_equal(ref_call(r, &busy, ORLOP__METHOD__IMAGE_REMOVE, (char[]){"a"}, false), -EBUSY);
    *r->used = 0;
    assert_int_equal(ref_call(r, &ok, ORLOP__METHOD__IMAGE_REMOVE, (char[]){"a"}, false), 0);
    const Orlop__ImageRemoveAnswer *out =
        arena_unpack(&a, &orlop__image_remove_answer__descriptor, ok.answer.data, ok.answer.len);
    assert_int_equal(out->n_untagged, 1);
    assert_int_equal(out->n_deleted, 1);
    assert_true(out->freed_bytes > 0);
    assert_int_equal(ref_call(r, &gone, ORLOP__METHOD__IMAGE_RESOLVE, (char[]){"a"}, false),
                     -ENOENT);
    arena_fini(&a);
    buf_fini(&tar);
    buf_fini(&q.answer);
    buf_fini(&ok.answer);
}

static void test_malformed_and_foreign_requests_are_refused(void **state) {
    struct rig *r = rig_of(state);
    struct call bad = {0}, foreign = {0};
    buf_init(&bad.answer, 1024);
    assert_int_equal(bus_request(r->dialed, ORLOP__METHOD__IMAGE_INSPECT, "\xff\xff", 2, &call_ops,
                                 &bad, &bad.s),
                     0);
    until(r, &bad.closed);
    assert_int_equal(bad.err.code, -EBADMSG);
    assert_int_equal(ref_call(r, &foreign, ORLOP__METHOD__LOGS, (char[]){"a"}, false), -ENOSYS);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_import_large_then_list_inspect_resolve),
        T(test_import_of_rubbish_fails_while_it_comes),
        T(test_import_name_that_is_none_fails_before_the_data),
        T(test_import_sender_gone_before_end_leaves_nothing),
        T(test_imports_beyond_the_limit_are_refused),
        T(test_remove_respects_use),
        T(test_malformed_and_foreign_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
