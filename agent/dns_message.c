// SPDX-License-Identifier: Apache-2.0
#include "dns_message.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "runtime/base/str.h"

enum {
    QR = 0x8000,
    OPCODE = 0x7800,
    AA = 0x0400,
    TC = 0x0200,
    RD = 0x0100,
    RA = 0x0080,
    CD = 0x0010,
    CLASS_IN = 1,
    OPT_LEN = 11,
    DO_BIT = 0x8000,
};

/* --- parsing --- */

static char lower(uint8_t c) {
    return (char) (c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool plain_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The name at *AT; queries have no reason to compress theirs. */
static int parse_name(const uint8_t *data, size_t n, size_t *at, struct dns_query *q) {
    size_t pos = *at, len = 0;
    q->plain = true;
    for (;;) {
        if (pos >= n) return -EBADMSG;
        size_t label = data[pos++];
        if (label == 0) break;
        if (label > 63 || label > n - pos || len + label + 1 >= DNS_NAME_MAX - 1) return -EBADMSG;
        if (len > 0) q->name[len++] = '.';
        for (size_t i = 0; i < label; i++, pos++) {
            q->name[len] = lower(data[pos]);
            q->plain = q->plain && plain_byte(q->name[len]);
            len++;
        }
        q->labels++;
    }
    q->name[len] = 0;
    if (pos - *at > 255) return -EBADMSG;
    *at = pos;
    return 0;
}

static int parse_question(const uint8_t *data, size_t n, size_t *at, struct dns_query *q) {
    size_t start = *at;
    int r = parse_name(data, n, at, q);
    if (r < 0) return r;
    if (n - *at < 4) return -EBADMSG;
    q->type = dns_get16(data + *at);
    q->class = dns_get16(data + *at + 2);
    *at += 4;
    memcpy(q->question, data + start, *at - start);
    q->question_len = *at - start;
    return 0;
}

/* The OPT record, if the one additional record is one. Others are ignored, broken ones too. */
static void parse_opt(const uint8_t *p, size_t n, struct dns_query *q) {
    if (n < OPT_LEN || p[0] != 0 || dns_get16(p + 1) != DNS_OPT) return;
    uint16_t size = dns_get16(p + 3);
    q->edns = true;
    q->dnssec_ok = (dns_get16(p + 7) & DO_BIT) != 0;
    if (size > DNS_UDP_MIN) q->udp_size = size < DNS_UDP_MAX ? size : DNS_UDP_MAX;
}

int dns_parse_query(const uint8_t *data, size_t n, struct dns_query *ret) {
    memset(ret, 0, sizeof *ret);
    if (n < DNS_HEADER) return -EBADMSG;
    ret->id = dns_get16(data);
    ret->flags = dns_get16(data + 2);
    ret->udp_size = DNS_UDP_MIN;
    if (ret->flags & QR) return -EBADMSG; /* an answer: two servers must never talk to each other */
    if (ret->flags & OPCODE) return DNS_NOTIMP;
    if (n > DNS_QUERY_MAX || dns_get16(data + 4) != 1 || dns_get16(data + 6) != 0)
        return DNS_FORMERR;
    size_t at = DNS_HEADER;
    if (parse_question(data, n, &at, ret) < 0) {
        ret->question_len = 0;
        return DNS_FORMERR;
    }
    if (ret->class != CLASS_IN) return DNS_NOTIMP;
    if (dns_get16(data + 8) == 0 && dns_get16(data + 10) > 0) parse_opt(data + at, n - at, ret);
    return 0;
}

bool dns_answers(const uint8_t *message, size_t n, const struct dns_query *query, uint16_t id) {
    size_t name = query->question_len - 4;
    if (n < DNS_HEADER + query->question_len || dns_get16(message) != id) return false;
    if (!(dns_get16(message + 2) & QR) || dns_get16(message + 4) != 1) return false;
    const uint8_t *q = message + DNS_HEADER;
    for (size_t i = 0; i < name; i++)
        if (lower(q[i]) != lower(query->question[i])) return false;
    return memcmp(q + name, query->question + name, 4) == 0;
}

bool dns_reverse(const char *name, uint32_t *ret_address) {
    static const char suffix[] = ".in-addr.arpa";
    char quad[STR_IPV4_MAX];
    size_t n = strlen(name);
    uint32_t a;
    if (!str_ends(name, suffix) || n - (sizeof suffix - 1) >= sizeof quad) return false;
    n -= sizeof suffix - 1;
    memcpy(quad, name, n);
    quad[n] = 0;
    if (str_to_ipv4(quad, &a) < 0) return false;
    *ret_address = __builtin_bswap32(a);
    return true;
}

/* --- building --- */

static size_t put_opt(uint8_t *p, bool dnssec_ok) {
    memset(p, 0, OPT_LEN);
    dns_put16(p + 1, DNS_OPT);
    dns_put16(p + 3, DNS_UDP_MAX);
    if (dnssec_ok) dns_put16(p + 7, DO_BIT);
    return OPT_LEN;
}

size_t dns_build_query(const struct dns_query *query, uint16_t id, uint8_t *buf) {
    memset(buf, 0, DNS_HEADER);
    dns_put16(buf, id);
    dns_put16(buf + 2, query->flags & (RD | CD));
    dns_put16(buf + 4, 1);
    memcpy(buf + DNS_HEADER, query->question, query->question_len);
    size_t n = DNS_HEADER + query->question_len;
    if (query->edns) {
        dns_put16(buf + 10, 1);
        n += put_opt(buf + n, query->dnssec_ok);
    }
    return n;
}

void dns_reply_begin(struct dns_reply *r, const struct dns_query *query, enum dns_rcode rcode,
                     uint8_t *buf, size_t cap) {
    ensure(cap >= DNS_UDP_MIN);
    *r = (struct dns_reply){.buf = buf, .cap = cap, .query = query};
    memset(buf, 0, DNS_HEADER);
    dns_put16(buf, query->id);
    uint16_t flags = (uint16_t) (QR | RA | (query->flags & (OPCODE | RD | CD)) | rcode);
    if (rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN) flags |= AA;
    dns_put16(buf + 2, flags);
    dns_put16(buf + 4, query->question_len ? 1 : 0);
    memcpy(buf + DNS_HEADER, query->question, query->question_len);
    r->len = DNS_HEADER + query->question_len;
    r->reserved = query->edns ? OPT_LEN : 0;
}

/* Header of a record about the name that was asked for, with room for SIZE bytes of data. */
static uint8_t *put_record(struct dns_reply *r, uint16_t type, uint32_t ttl, size_t size) {
    if (r->cap - r->reserved - r->len < 12 + size) {
        r->truncated = true;
        return NULL;
    }
    uint8_t *p = r->buf + r->len;
    dns_put16(p, 0xc000 | DNS_HEADER);
    dns_put16(p + 2, type);
    dns_put16(p + 4, CLASS_IN);
    dns_put16(p + 6, (uint16_t) (ttl >> 16));
    dns_put16(p + 8, (uint16_t) ttl);
    dns_put16(p + 10, (uint16_t) size);
    r->len += 12 + size;
    r->answers++;
    return p + 12;
}

bool dns_reply_a(struct dns_reply *r, uint32_t ttl, uint32_t address) {
    uint8_t *p = put_record(r, DNS_A, ttl, 4);
    if (!p) return false;
    dns_put16(p, (uint16_t) (address >> 16));
    dns_put16(p + 2, (uint16_t) address);
    return true;
}

/* NAME on the wire: labels of 1 to 63. 0 = it is none. */
static size_t encode_name(const char *name, uint8_t out[static DNS_NAME_MAX]) {
    size_t n = 0;
    for (const char *p = name; *p;) {
        size_t label = strcspn(p, ".");
        if (label == 0 || label > 63 || n + label + 2 > 255) return 0;
        out[n++] = (uint8_t) label;
        memcpy(out + n, p, label);
        n += label;
        p += label;
        if (*p == '.') p++;
    }
    out[n++] = 0;
    return n;
}

bool dns_reply_ptr(struct dns_reply *r, uint32_t ttl, const char *name) {
    uint8_t wire[DNS_NAME_MAX];
    size_t n = encode_name(name, wire);
    uint8_t *p = n > 1 ? put_record(r, DNS_PTR, ttl, n) : NULL;
    if (!p) return false;
    memcpy(p, wire, n);
    return true;
}

size_t dns_reply_end(struct dns_reply *r) {
    dns_put16(r->buf + 6, r->answers);
    if (r->truncated) dns_put16(r->buf + 2, dns_get16(r->buf + 2) | TC);
    if (r->reserved) {
        dns_put16(r->buf + 10, 1);
        r->len += put_opt(r->buf + r->len, r->query->dnssec_ok);
    }
    return r->len;
}

size_t dns_truncate(uint8_t *message, size_t n, const struct dns_query *query, size_t limit) {
    if (n <= limit) return n;
    dns_put16(message + 2, dns_get16(message + 2) | TC);
    memset(message + 6, 0, 6);
    return DNS_HEADER + query->question_len;
}
