// SPDX-License-Identifier: Apache-2.0
/* agent/dns_message.h - DNS messages: strict parsing of queries, bounded building of answers.
 *
 * Role     pure: bytes in, bytes out. The question is echoed as it came (its case too); for looking
 *          up it is lower-case text without the last dot.
 * Thread   [any]
 * Limits   a query is at most DNS_QUERY_MAX bytes; names as RFC 1035 (labels 63, 255 in all). Any
 *          bytes may be given to the parsers (tests/fuzz/fuzz_dns.c).
 */
#ifndef ORLOP_AGENT_DNS_MESSAGE_H
#define ORLOP_AGENT_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/err.h"

enum {
    DNS_HEADER = 12,
    DNS_NAME_MAX = 256, /* as text, with its NUL */
    DNS_QUERY_MAX = 512,
    DNS_UDP_MIN = 512,
    DNS_UDP_MAX = 1232, /* passes every link unfragmented */
    DNS_MESSAGE_MAX = 65535,
};

enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_OPT = 41, DNS_ANY = 255 };
enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
};

struct dns_query {
    uint16_t id, flags, type, class;
    uint8_t question[DNS_NAME_MAX + 4]; /* name, type, class: as on the wire */
    size_t question_len;
    char name[DNS_NAME_MAX]; /* lower case; "" = the root */
    unsigned labels;
    bool plain; /* only letters, digits, '-' and '_': otherwise the name is none of ours */
    bool edns;
    bool dnssec_ok;
    uint16_t udp_size; /* what the asker can take by UDP */
};

/* 0: *ret is filled. -EBADMSG: no query, say nothing. Positive: a dns_rcode to answer with; *ret
 * has the id, and the question when question_len > 0. */
must_use int dns_parse_query(const uint8_t *data, size_t n, struct dns_query *ret);

/* Is MESSAGE an answer to QUERY, asked under ID? Only header and question are looked at. */
bool dns_answers(const uint8_t *message, size_t n, const struct dns_query *query, uint16_t id);

/* QUERY once more, under ID, without anything that the asker had added: into BUF (DNS_QUERY_MAX).
 */
size_t dns_build_query(const struct dns_query *query, uint16_t id, uint8_t *buf);

struct dns_reply {
    uint8_t *buf;
    size_t len, cap;
    uint16_t answers;
    bool truncated;
    const struct dns_query *query;
    size_t reserved; /* for OPT */
};
/* An empty answer to QUERY with RCODE in BUF of CAP (at least DNS_UDP_MIN) bytes. */
void dns_reply_begin(struct dns_reply *r, const struct dns_query *query, enum dns_rcode rcode,
                     uint8_t *buf, size_t cap);
/* False: it did not fit, and the answer says so (TC). */
bool dns_reply_a(struct dns_reply *r, uint32_t ttl, uint32_t address);
bool dns_reply_ptr(struct dns_reply *r, uint32_t ttl, const char *name);
size_t dns_reply_end(struct dns_reply *r);

/* Make a relayed answer fit LIMIT: cut to header and question with TC. The new length. */
size_t dns_truncate(uint8_t *message, size_t n, const struct dns_query *query, size_t limit);

/* "4.3.2.1.in-addr.arpa" -> 1.2.3.4 */
bool dns_reverse(const char *name, uint32_t *ret_address);

static inline void dns_put16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
}
static inline uint16_t dns_get16(const uint8_t *p) {
    return (uint16_t) (p[0] << 8 | p[1]);
}

#endif
