// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/dns_message.h"
#include "agent/dns_upstream.h"
#include "dns_wire.h"
#include "runtime/base/mem.h"

static void test_query_is_lower_cased_and_the_question_kept(void **state) {
    (void) state;
    uint8_t buf[DNS_QUERY_MAX];
    struct dns_query q;
    size_t n = wire_query(buf, 0x1234, "WeB.Shop.", DNS_A, 4096);
    assert_int_equal(dns_parse_query(buf, n, &q), 0);
    assert_string_equal(q.name, "web.shop");
    assert_int_equal(q.labels, 2);
    assert_true(q.plain && q.edns);
    assert_int_equal(q.udp_size, DNS_UDP_MAX);
    assert_memory_equal(q.question, "\3WeB\4Shop", 9);
    n = wire_query(buf, 1, ".", DNS_A, 0);
    assert_int_equal(dns_parse_query(buf, n, &q), 0);
    assert_string_equal(q.name, "");
    assert_int_equal(q.labels, 0);
    assert_int_equal(q.udp_size, DNS_UDP_MIN);
}

#define HEAD "\0\1\1\0\0\1\0\0\0\0\0\0"

static void test_broken_queries_get_the_right_answer_or_none(void **state) {
    (void) state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        int result;
    } cases[] = {
        {"empty", "", 0, -EBADMSG},
        {"short header", HEAD, 11, -EBADMSG},
        {"an answer", "\0\1\x81\0\0\1\0\0\0\0\0\0", 12, -EBADMSG},
        {"other opcode", "\0\1\x28\0\0\1\0\0\0\0\0\0", 12, DNS_NOTIMP},
        {"no question", "\0\1\1\0\0\0\0\0\0\0\0\0", 12, DNS_FORMERR},
        {"two questions", "\0\1\1\0\0\2\0\0\0\0\0\0\0\0\1\0\1\0\0\1\0\1", 22, DNS_FORMERR},
        {"no name", HEAD, 12, DNS_FORMERR},
        {"label beyond the end", HEAD "\77web", 16, DNS_FORMERR},
        {"name without end", HEAD "\3web", 16, DNS_FORMERR},
        {"compressed name", HEAD "\xc0\x0c\0\1\0\1", 18, DNS_FORMERR},
        {"type missing", HEAD "\3web\0\0\1", 19, DNS_FORMERR},
        {"other class", HEAD "\3web\0\0\1\0\3", 21, DNS_NOTIMP},
    };
    for (size_t i = 0; i < array_len(cases); i++) {
        struct dns_query q;
        int r = dns_parse_query((const uint8_t *) cases[i].bytes, cases[i].n, &q);
        if (r != cases[i].result) fail_msg("%s: %d", cases[i].name, r);
    }
}

static void test_name_of_255_bytes_is_the_longest(void **state) {
    (void) state;
    uint8_t buf[DNS_QUERY_MAX];
    char name[300];
    struct dns_query q;
    memset(name, 'a', sizeof name);
    for (size_t i = 49; i < 250; i += 50) name[i] = '.';
    name[253] = 0; /* 253 characters = 255 bytes */
    size_t n = wire_query(buf, 1, name, DNS_A, 0);
    assert_int_equal(dns_parse_query(buf, n, &q), 0);
    assert_string_equal(q.name, name);
    name[253] = 'a';
    name[254] = 0;
    n = wire_query(buf, 1, name, DNS_A, 0);
    assert_int_equal(dns_parse_query(buf, n, &q), DNS_FORMERR);
}

static void test_strange_bytes_in_a_label_make_it_not_plain(void **state) {
    (void) state;
    static const uint8_t bytes[] = HEAD "\5a.b\0c\0\0\1\0\1";
    struct dns_query q;
    assert_int_equal(dns_parse_query(bytes, sizeof bytes - 1, &q), 0);
    assert_false(q.plain);
    assert_int_equal(q.labels, 1);
}

static void test_relayed_query_carries_nothing_of_the_askers(void **state) {
    (void) state;
    uint8_t buf[DNS_QUERY_MAX], out[DNS_QUERY_MAX];
    struct dns_query q;
    size_t n = wire_query(buf, 7, "example.org", DNS_AAAA, 4096);
    memcpy(buf + n, "\1\2\3\4 cookie", 11);
    assert_int_equal(dns_parse_query(buf, n + 11, &q), 0);
    size_t m = dns_build_query(&q, 0xbeef, out);
    assert_int_equal(m, n);
    assert_int_equal(dns_get16(out), 0xbeef);
    assert_memory_equal(out + 12, buf + 12, q.question_len);
}

static void test_answer_must_match_id_and_question(void **state) {
    (void) state;
    uint8_t buf[DNS_QUERY_MAX];
    struct dns_query q;
    size_t n = wire_query(buf, 7, "example.org", DNS_A, 0);
    assert_int_equal(dns_parse_query(buf, n, &q), 0);
    assert_false(dns_answers(buf, n, &q, 7)); /* a question */
    n = wire_answer_a(buf, n, 1);
    assert_true(dns_answers(buf, n, &q, 7));
    assert_false(dns_answers(buf, n, &q, 8));
    assert_false(dns_answers(buf, 20, &q, 7));
    buf[13] = 'E'; /* another case is the same name */
    assert_true(dns_answers(buf, n, &q, 7));
    buf[13] = 'x';
    assert_false(dns_answers(buf, n, &q, 7));
}

static void test_reply_that_does_not_fit_says_so(void **state) {
    (void) state;
    uint8_t buf[DNS_UDP_MAX];
    struct dns_query q;
    struct dns_reply r;
    struct wire_answer *a = mem_zalloc(sizeof *a);
    const uint16_t edns[] = {0, 1232};
    const unsigned fit[] = {30, 74};
    for (int i = 0; i < 2; i++) {
        size_t n = wire_query(buf, 7, "tasks.web", DNS_A, edns[i]);
        assert_int_equal(dns_parse_query(buf, n, &q), 0);
        dns_reply_begin(&r, &q, DNS_NOERROR, buf, q.udp_size);
        for (uint32_t k = 0; k < 100 && dns_reply_a(&r, 5, k);) k++;
        n = dns_reply_end(&r);
        assert_true(n <= q.udp_size);
        assert_true(wire_parse(buf, n, a));
        assert_true(a->truncated);
        assert_true(a->n >= fit[i]);
        assert_int_equal(a->ttl, 5);
    }
    mem_free(a);
}

static void test_reverse_names(void **state) {
    (void) state;
    uint32_t a = 1;
    assert_true(dns_reverse("4.3.80.10.in-addr.arpa", &a));
    assert_int_equal(a, 10u << 24 | 80 << 16 | 3 << 8 | 4);
    const char *bad[] = {
        "in-addr.arpa",           "3.80.10.in-addr.arpa",   "04.3.80.10.in-addr.arpa",
        "1.2.3.4.5.in-addr.arpa", "256.1.1.1.in-addr.arpa", "4.3.80.10.in-addr.arpa.x"};
    for (size_t i = 0; i < array_len(bad); i++) assert_false(dns_reverse(bad[i], &a));
}

static bool own(void *arg, uint32_t address) {
    (void) arg;
    return address == (10u << 24 | 80u << 16 | 1);
}

static void test_resolv_conf_gives_servers_that_are_not_ours(void **state) {
    (void) state;
    struct sockaddr_storage s[DNS_SERVERS_MAX];
    assert_int_equal(
        dns_upstream_servers("# c\nsearch lan\nnameserver 10.80.0.1\nnameserver\t9.9.9.9 # x\n"
                             "nameserver fe80::1%1\nnameserver bad\n nameserver 1.1.1.1\n"
                             "nameservers 1.1.1.1\nnameserver 8.8.8.8",
                             s, own, NULL),
        3);
    assert_int_equal(s[0].ss_family, AF_INET);
    assert_int_equal(s[1].ss_family, AF_INET6);
    assert_int_equal(dns_upstream_servers("", s, own, NULL), 0);
    assert_int_equal(dns_upstream_servers("nameserver", s, own, NULL), 0);
    assert_int_equal(dns_upstream_servers("nameserver \n", s, own, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_is_lower_cased_and_the_question_kept),
        cmocka_unit_test(test_broken_queries_get_the_right_answer_or_none),
        cmocka_unit_test(test_name_of_255_bytes_is_the_longest),
        cmocka_unit_test(test_strange_bytes_in_a_label_make_it_not_plain),
        cmocka_unit_test(test_relayed_query_carries_nothing_of_the_askers),
        cmocka_unit_test(test_answer_must_match_id_and_question),
        cmocka_unit_test(test_reply_that_does_not_fit_says_so),
        cmocka_unit_test(test_reverse_names),
        cmocka_unit_test(test_resolv_conf_gives_servers_that_are_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
