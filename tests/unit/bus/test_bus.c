// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <sys/stat.h>
#include <unistd.h>

static void test_request_is_answered(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec rec = {0};
    (void) rig_request(r, &rec, M_ECHO, "\1\2\3");
    rec.next_in = 1;
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.messages, 1);
    assert_int_equal(rec.bytes, 3);
    assert_false(rec.torn);
    assert_int_equal(rec.ends, 1);
    assert_int_equal(rec.closed, 1);
    assert_int_equal(rec.err.code, 0);
}

static void test_refused_request_brings_code_and_sentence(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec refused = {0}, ignored = {0};
    (void) rig_request(r, &refused, M_REFUSE, "db");
    (void) rig_request(r, &ignored, M_IGNORE, "");
    assert_true(rig_until_closed(r, &refused));
    assert_true(rig_until_closed(r, &ignored));
    assert_int_equal(refused.err.code, -ENOENT);
    assert_string_equal(refused.err.text, "no such thing as 'db'");
    assert_int_equal(ignored.err.code, -ENOSYS);
}

static void test_local_socket_is_private_and_names_the_peer(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    struct stat st;
    assert_int_equal(stat(r->url + strlen("ipc://"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(bus_conn_peer(r->accepted).uid, getuid());
    assert_int_equal(bus_conn_peer(r->accepted).pid, getpid());
}

static void test_both_sides_open_streams(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec up = {.next_in = 'u'}, down = {.next_in = 'd'};
    (void) rig_request(r, &up, M_ECHO, "u");
    assert_int_equal(bus_request(r->accepted, M_ECHO, "d", 1, &rec_ops, &down, &down.s), 0);
    assert_true(rig_until_closed(r, &up));
    assert_true(rig_until_closed(r, &down));
    assert_int_equal(up.bytes + down.bytes, 2);
    assert_false(up.torn || down.torn);
    assert_int_equal(down.err.code, 0);
}

static bool server_has(struct rig *r, void *arg) {
    return r->n_recs >= *(size_t *) arg;
}

static void take_one(struct rig *r) {
    size_t one = 1;
    assert_true(rig_until(r, server_has, &one));
}

static bool slow_is_full(struct rig *r, void *arg) {
    (void) arg;
    return r->recs[0].held > BUS_WINDOW / 2 + 4 * 100000;
}

static bool got_all(struct rig *r, void *arg) {
    (void) r;
    const struct rec *rec = arg;
    return rec->bytes == 100 * 100000;
}

/* The slow reader's stream stops at the window, another one on the same connection runs; then the
 * slow one takes everything in order. */
static void test_slow_reader_stops_its_own_stream_only(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec slow = {.to_send = 100, .size = 100000},
                      fast = {.to_send = 100, .size = 100000};
    (void) rig_request(r, &slow, M_TAKE_HOLD, "");
    (void) rig_request(r, &fast, M_TAKE, "");
    rec_pump(&slow);
    rec_pump(&fast);
    size_t two = 2;
    assert_true(rig_until(r, server_has, &two));
    assert_true(rig_until(r, got_all, &r->recs[1]));
    assert_true(rig_until(r, slow_is_full, NULL));
    assert_true(r->recs[0].bytes <= BUS_WINDOW + BUS_WINDOW / 2);
    assert_true(slow.to_send > 80);
    assert_int_equal(bus_send(slow.s, "x", BUS_WINDOW / 2), -EAGAIN);
    r->recs[0].hold = false;
    bus_consumed(r->recs[0].s, r->recs[0].held);
    assert_true(rig_until(r, got_all, &r->recs[0]));
    assert_false(r->recs[0].torn || r->recs[1].torn);
}

static void test_messages_of_every_size_arrive_whole(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static const size_t sizes[] = {
        0, 1, 4093, 65536, BUS_WINDOW / 2 + 1, BUS_WINDOW + 7, BUS_FRAME_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct rec rec = {0};
        r->push_messages = 3;
        r->push_size = sizes[i];
        (void) rig_request(r, &rec, M_PUSH, "");
        assert_true(rig_until_closed(r, &rec));
        assert_int_equal(rec.err.code, 0);
        assert_int_equal(rec.messages, 3);
        assert_int_equal(rec.bytes, 3 * sizes[i]);
        assert_false(rec.torn);
    }
}

static void test_send_limits(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec rec = {0};
    (void) rig_request(r, &rec, M_TAKE, "");
    assert_int_equal(bus_send(rec.s, "", (size_t) BUS_FRAME_MAX + 1), -EFBIG);
    bus_end(rec.s);
    bus_end(rec.s);
    assert_int_equal(bus_send(rec.s, "", 1), -EPIPE);
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.err.code, 0);
    struct bus_stream *s;
    assert_int_equal(
        bus_request(r->dialed, M_TAKE, "", (size_t) BUS_FRAME_MAX + 1, &rec_ops, &rec, &s), -EFBIG);
}

static void test_half_close_lets_the_other_side_go_on(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec rec = {0};
    (void) rig_request(r, &rec, M_TAKE, "");
    take_one(r);
    r->recs[0].to_send = 50; /* so that its end() does not end */
    r->recs[0].size = 1000;
    bus_end(rec.s);
    r->recs[0].end_after = true;
    rec_pump(&r->recs[0]);
    assert_true(rig_until_closed(r, &rec));
    assert_true(rig_until_closed(r, &r->recs[0]));
    assert_int_equal(rec.bytes, 50000);
    assert_int_equal(rec.err.code, 0);
    assert_int_equal(r->recs[0].err.code, 0);
    assert_int_equal(r->recs[0].ends, 1);
}

/* Who ends it, how, and after what. */
static void test_cancel_and_fail_at_every_stage(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    enum { AT_ONCE, ACCEPTED, AFTER_DATA, AFTER_END, STAGES };
    for (int stage = 0; stage < STAGES; stage++)
        for (int by_server = 0; by_server < 2; by_server++)
            for (int fail = 0; fail < 2; fail++) {
                if (by_server && stage == AT_ONCE) continue;
                struct rec rec = {0};
                r->n_recs = 0;
                memset(&r->recs[0], 0, sizeof r->recs[0]);
                (void) rig_request(r, &rec, M_TAKE, "");
                if (stage != AT_ONCE) take_one(r);
                /* to_send: so that their end() does not end */
                rec.to_send = r->recs[0].to_send = 1;
                rec.size = 10;
                if (stage == AFTER_DATA) rec_pump(&rec);
                struct bus_stream *s = by_server ? r->recs[0].s : rec.s;
                if (stage == AFTER_END) bus_end(s);
                if (fail)
                    bus_fail(s, EIO, "enough");
                else
                    bus_cancel(s);
                bus_cancel(s);
                assert_int_equal(rec.closed, 0);
                assert_true(rig_until_closed(r, &rec));
                assert_true(rig_until_closed(r, &r->recs[0]));
                assert_int_equal(rec.err.code, fail ? -EIO : -ECANCELED);
                assert_int_equal(r->recs[0].err.code, fail ? -EIO : -ECANCELED);
                if (fail) assert_string_equal(rec.err.text, "enough");
                assert_int_equal(rec.closed, 1);
            }
    assert_int_equal(r->downs, 0);
}

static void test_cancel_within_data(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    r->push_messages = 1000;
    r->push_size = 10000;
    static struct rec cancels = {.cancel_on_data = true}, fails = {.fail_on_data = true};
    (void) rig_request(r, &cancels, M_PUSH, "");
    (void) rig_request(r, &fails, M_PUSH, "");
    assert_true(rig_until_closed(r, &cancels));
    assert_true(rig_until_closed(r, &fails));
    assert_true(rig_until_closed(r, &r->recs[0]));
    assert_true(rig_until_closed(r, &r->recs[1]));
    assert_int_equal(cancels.messages, 1);
    assert_int_equal(r->recs[0].err.code, -ECANCELED);
    assert_int_equal(r->recs[1].err.code, -EIO);
}

static bool down_at_both(struct rig *r, void *arg) {
    (void) arg;
    return r->downs > 0 && r->accepted_downs > 0;
}

static void test_close_within_data_ends_all_streams_once(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    r->push_messages = 100;
    r->push_size = 10000;
    static struct rec closes = {.close_on_data = true}, other = {0};
    (void) rig_request(r, &closes, M_PUSH, "");
    (void) rig_request(r, &other, M_PUSH, "");
    assert_true(rig_until(r, down_at_both, NULL));
    assert_int_equal(closes.closed, 1);
    assert_int_equal(other.closed, 1);
    assert_int_equal(other.err.code, -ECONNRESET);
    assert_int_equal(r->recs[0].err.code, -ECONNRESET);
    assert_int_equal(r->downs, 1);
    assert_int_equal(r->down_err.code, -ECANCELED);
}

static bool up_again(struct rig *r, void *arg) {
    (void) arg;
    return r->ups >= 2 && r->accepted_ups >= 2;
}

static void test_broken_connection_ends_streams_and_comes_back(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    static struct rec recs[20] = {0};
    for (size_t i = 0; i < 20; i++) (void) rig_request(r, &recs[i], M_TAKE, "");
    size_t twenty = 20;
    assert_true(rig_until(r, server_has, &twenty));
    rig_close_server(r);
    for (size_t i = 0; i < 20; i++) {
        assert_true(rig_until_closed(r, &recs[i]));
        assert_int_equal(recs[i].err.code, -ECONNRESET);
        assert_int_equal(r->recs[i].closed, 1);
    }
    struct bus_stream *s;
    assert_int_equal(bus_request(r->dialed, M_ECHO, "x", 1, &rec_ops, &recs[0], &s), -ENOTCONN);
    rig_listen(r);
    assert_true(rig_until(r, up_again, NULL));
    assert_int_equal(r->downs, 1);
    static struct rec rec = {.next_in = 'x'};
    (void) rig_request(r, &rec, M_ECHO, "x");
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.err.code, 0);
}

static bool dial_failed(struct rig *r, void *arg) {
    return r->dial_failures >= *(unsigned *) arg;
}

static void test_dial_before_the_listener_is_there(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    rig_close_server(r);
    unsigned two = 2;
    assert_true(rig_until(r, dial_failed, &two));
    rig_listen(r);
    assert_true(rig_until(r, up_again, NULL));
}

static void test_listen_where_somebody_listens_is_refused(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    static const struct bus_conn_ops none = {0};
    struct err err = {0};
    struct bus_listener *l = NULL;
    assert_int_equal(bus_listen(r->server, r->url, &none, NULL, &l, &err), -EADDRINUSE);
    assert_non_null(strstr(err.text, "somebody listens on"));
    assert_null(l);
    assert_int_equal(bus_listen(r->server, "udp://x", &none, NULL, &l, &err), -EPROTONOSUPPORT);
    char url[128];
    snprintf(url, sizeof url, "ipc://%s", r->dir);
    assert_int_equal(bus_listen(r->server, url, &none, NULL, &l, &err), -EEXIST);
    snprintf(url, sizeof url, "ipc://%s/none/x", r->dir);
    assert_true(bus_listen(r->server, url, &none, NULL, &l, &err) < 0);
    rig_dial(r); /* the first one still works */
}

static void test_tcp(void **state) {
    struct rig *r = *state;
    snprintf(r->url, sizeof r->url, "tcp://127.0.0.1:0");
    rig_listen(r);
    int port = bus_listener_port(r->listener);
    assert_true(port > 0);
    snprintf(r->url, sizeof r->url, "tcp://127.0.0.1:%d", port);
    rig_dial(r);
    assert_int_equal(bus_conn_peer(r->accepted).uid, (uid_t) -1);
    r->push_messages = 200;
    r->push_size = 100000;
    static struct rec rec = {0};
    (void) rig_request(r, &rec, M_PUSH, "");
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.bytes, 200 * 100000);
    assert_false(rec.torn);
}

static bool all_closed(struct rig *r, void *arg) {
    (void) r;
    const struct rec *recs = arg;
    for (size_t i = 0; i < 1000; i++)
        if (!recs[i].closed) return false;
    return true;
}

static void test_thousand_streams(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    r->push_messages = 20;
    r->push_size = 1000;
    struct rec *recs = mem_array(1000, sizeof *recs);
    for (size_t i = 0; i < 1000; i++) (void) rig_request(r, &recs[i], M_PUSH, "");
    assert_true(rig_until(r, all_closed, recs));
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(recs[i].bytes, 20000);
        assert_int_equal(recs[i].err.code, 0);
        assert_false(recs[i].torn);
    }
    mem_free(recs);
}

/* client == accepted -> (relay) -> accepted -> client: both hops over the same pair of buses. */
static void relay_to_client(struct rig *r) {
    rig_listen(r);
    rig_dial(r);
    r->relay_to = r->accepted;
}

static void test_relay_passes_data_and_end(void **state) {
    struct rig *r = *state;
    relay_to_client(r);
    r->push_messages = 500;
    r->push_size = 50000;
    static struct rec rec = {0};
    char body[2] = {M_PUSH, 0};
    (void) rig_request(r, &rec, M_RELAY, body);
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.err.code, 0);
    assert_int_equal(rec.bytes, 500 * 50000);
    assert_false(rec.torn);
    assert_true(rig_until_closed(r, &r->recs[0]));
    assert_int_equal(r->recs[0].err.code, 0);
}

static void test_relay_passes_errors_both_ways(void **state) {
    struct rig *r = *state;
    relay_to_client(r);
    static struct rec refused = {0}, cancelled = {0};
    char body[3] = {M_REFUSE, 'x', 0};
    (void) rig_request(r, &refused, M_RELAY, body);
    assert_true(rig_until_closed(r, &refused));
    assert_int_equal(refused.err.code, -ENOENT);
    assert_string_equal(refused.err.text, "no such thing as 'x'");
    body[0] = M_TAKE;
    (void) rig_request(r, &cancelled, M_RELAY, body);
    take_one(r);
    bus_cancel(cancelled.s);
    assert_true(rig_until_closed(r, &r->recs[0]));
    assert_int_equal(r->recs[0].err.code, -ECANCELED);
}

enum { RELAYS = 40, RELAYS_KEPT = BUS_RELAY_BYTES / BUS_WINDOW };

static bool relay_is_full(struct rig *r, void *arg) {
    size_t *seen = arg;
    bool stuck = r->recs[0].bytes > 0 && *seen == r->recs[0].bytes;
    *seen = r->recs[0].bytes;
    return stuck && *seen > BUS_WINDOW / 2;
}

static void test_relay_stops_the_sender_of_a_slow_reader(void **state) {
    struct rig *r = *state;
    relay_to_client(r);
    static struct rec rec = {.to_send = 100, .size = 100000, .end_after = true};
    char body[2] = {M_TAKE_HOLD, 0};
    (void) rig_request(r, &rec, M_RELAY, body);
    take_one(r);
    rec_pump(&rec);
    size_t seen = 0;
    assert_true(rig_until(r, relay_is_full, &seen));
    assert_true(rec.to_send > 60);              /* a window on each hop */
    static struct rec other = {.next_in = 'o'}; /* the connection is free for others */
    (void) rig_request(r, &other, M_ECHO, "o");
    assert_true(rig_until_closed(r, &other));
    r->recs[0].hold = false;
    bus_consumed(r->recs[0].s, r->recs[0].held);
    assert_true(rig_until_closed(r, &rec));
    assert_int_equal(rec.err.code, 0);
    assert_int_equal(r->recs[0].bytes, 100 * 100000);
    assert_false(r->recs[0].torn);
}

static bool closed_enough(struct rig *r, void *arg) {
    const struct rec *recs = arg;
    size_t n = 0;
    (void) r;
    for (size_t i = 0; i < RELAYS; i++) n += recs[i].closed;
    return n >= RELAYS - RELAYS_KEPT;
}

/* Each keeps a window of 1 MiB; those that find no room in BUS_RELAY_BYTES are ended with a
 * sentence, the others are whole. */
static void test_relays_together_keep_no_more_than_their_bound(void **state) {
    struct rig *r = *state;
    relay_to_client(r);
    static struct rec recs[RELAYS];
    char body[2] = {M_TAKE_HOLD, 0};
    for (size_t i = 0; i < RELAYS; i++) {
        recs[i] = (struct rec){.to_send = 30, .size = 100000, .end_after = true};
        (void) rig_request(r, &recs[i], M_RELAY, body);
        rec_pump(&recs[i]);
    }
    assert_true(rig_until(r, closed_enough, recs));
    for (size_t i = 0; i < r->n_recs; i++) {
        r->recs[i].hold = false;
        if (r->recs[i].s) bus_consumed(r->recs[i].s, r->recs[i].held);
    }
    size_t ended = 0;
    for (size_t i = 0; i < RELAYS; i++) {
        assert_true(rig_until_closed(r, &recs[i]));
        ended += recs[i].err.code == -EBUSY && strstr(recs[i].err.text, "too slowly");
        if (recs[i].err.code == 0) assert_int_equal(recs[i].to_send, 0);
    }
    assert_int_equal(ended, RELAYS - RELAYS_KEPT);
    for (size_t i = 0; i < r->n_recs; i++) {
        assert_true(rig_until_closed(r, &r->recs[i]));
        assert_false(r->recs[i].torn);
        if (r->recs[i].err.code == 0) assert_int_equal(r->recs[i].bytes, 30 * 100000);
    }
}

static void test_relay_broken_connection_ends_both(void **state) {
    struct rig *r = *state;
    relay_to_client(r);
    static struct rec rec = {0};
    char body[2] = {M_TAKE, 0};
    (void) rig_request(r, &rec, M_RELAY, body);
    take_one(r);
    bus_conn_close(r->accepted);
    assert_true(rig_until_closed(r, &rec));
    assert_true(rig_until_closed(r, &r->recs[0]));
    assert_int_equal(rec.err.code, -ECONNRESET);
    r->relay_to = NULL;
}

static bool request_is_over(struct rig *r, void *arg) {
    const struct rec *rec = arg;
    (void) r;
    return rec->closed > 0;
}

static bool is_up(struct rig *r, void *arg) {
    (void) arg;
    return bus_conn_is_up(r->dialed);
}

/* One request and a stream of messages while one allocation fails: all of it ends, with or without
 * success, exactly once. */
static bool run_with_failure(struct rig *r, unsigned long nth) {
    struct err err = {0};
    struct rec rec = {0};
    mem_fail_after(nth);
    r->push_messages = 3;
    r->push_size = 100000;
    if (bus_new(&r->loop, &r->server) < 0 || bus_new(&r->loop, &r->client) < 0) return false;
    if (!rig_try_listen(r, &err) || !rig_try_dial(r, &err)) return false;
    if (!rig_until(r, is_up, NULL)) fail_msg("allocation %lu: never up", nth);
    int e = bus_request(r->dialed, M_PUSH, "x", 1, &rec_ops, &rec, &rec.s);
    if (e < 0) {
        assert_int_equal(rec.closed, 0);
        return false;
    }
    if (!rig_until(r, request_is_over, &rec)) fail_msg("allocation %lu: no end", nth);
    assert_int_equal(rec.closed, 1);
    return rec.err.code == 0 && rec.bytes == 300000;
}

static void test_failing_allocations_end_streams_and_nothing_else(void **state) {
    (void) state;
    enum { ALLOCATIONS_MAX = 200 };
    unsigned long nth = 1, survived = 0;
    for (; nth < ALLOCATIONS_MAX && survived < 5; nth++) {
        void *s;
        assert_int_equal(rig_setup(&s), 0);
        bool ok = run_with_failure(s, nth);
        mem_fail_after(0);
        survived = ok ? survived + 1 : 0;
        assert_int_equal(rig_teardown(&s), 0);
    }
    assert_true(survived == 5); /* the last ones came after all allocations */
}

static void test_close_with_everything_under_way(void **state) {
    struct rig *r = *state;
    rig_listen(r);
    rig_dial(r);
    r->push_messages = 1000;
    r->push_size = 100000;
    static struct rec recs[10];
    memset(recs, 0, sizeof recs);
    for (size_t i = 0; i < 10; i++) (void) rig_request(r, &recs[i], M_PUSH, "");
    assert_true(rig_until(r, server_has, &(size_t){10}));
    /* the teardown closes both buses now */
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        T(test_request_is_answered),
        T(test_refused_request_brings_code_and_sentence),
        T(test_local_socket_is_private_and_names_the_peer),
        T(test_both_sides_open_streams),
        T(test_slow_reader_stops_its_own_stream_only),
        T(test_messages_of_every_size_arrive_whole),
        T(test_send_limits),
        T(test_half_close_lets_the_other_side_go_on),
        T(test_cancel_and_fail_at_every_stage),
        T(test_cancel_within_data),
        T(test_close_within_data_ends_all_streams_once),
        T(test_broken_connection_ends_streams_and_comes_back),
        T(test_dial_before_the_listener_is_there),
        T(test_listen_where_somebody_listens_is_refused),
        T(test_tcp),
        T(test_thousand_streams),
        T(test_relay_passes_data_and_end),
        T(test_relay_passes_errors_both_ways),
        T(test_relay_stops_the_sender_of_a_slow_reader),
        T(test_relays_together_keep_no_more_than_their_bound),
        T(test_relay_broken_connection_ends_both),
        cmocka_unit_test(test_failing_allocations_end_streams_and_nothing_else),
        T(test_close_with_everything_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
