// SPDX-License-Identifier: Apache-2.0
#include "dns_wire.h"

#include <string.h>

static size_t put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
    return 2;
}

static unsigned get16(const uint8_t *p) {
    return (unsigned) p[0] << 8 | p[1];
}

size_t wire_query(uint8_t *buf, uint16_t id, const char *name, uint16_t type, uint16_t edns_size) {
    memset(buf, 0, 12);
    put16(buf, id);
    buf[2] = 1; /* RD */
    buf[5] = 1;
    buf[11] = edns_size ? 1 : 0;
    size_t n = 12;
    while (*name && *name != '.') {
        size_t label = strcspn(name, ".");
        buf[n++] = (uint8_t) label;
        memcpy(buf + n, name, label);
        n += label;
        name += label;
        if (*name == '.') name++;
    }
    buf[n++] = 0;
    n += put16(buf + n, type);
    n += put16(buf + n, 1);
    if (edns_size) {
        static const uint8_t opt[11] = {0, 0, 41};
        memcpy(buf + n, opt, sizeof opt);
        put16(buf + n + 3, edns_size);
        n += sizeof opt;
    }
    return n;
}

/* Length of the name at AT (a pointer ends it), 0 = malformed. */
static size_t name_length(const uint8_t *buf, size_t n, size_t at) {
    size_t start = at;
    while (at < n) {
        if (buf[at] >= 0xc0) return at + 2 <= n ? at + 2 - start : 0;
        if (buf[at] == 0) return at + 1 - start;
        at += buf[at] + 1u;
    }
    return 0;
}

static void text_of(const uint8_t *p, size_t n, char *out) {
    size_t len = 0;
    for (size_t at = 0; at < n && p[at] && len + p[at] + 2u < 256; at += p[at] + 1u) {
        if (len) out[len++] = '.';
        memcpy(out + len, p + at + 1, p[at]);
        len += p[at];
    }
    out[len] = 0;
}

bool wire_parse(const uint8_t *buf, size_t n, struct wire_answer *ret) {
    memset(ret, 0, sizeof *ret);
    if (n < 12 || !(buf[2] & 0x80)) return false;
    ret->id = (uint16_t) get16(buf);
    ret->flags = (uint16_t) get16(buf + 2);
    ret->rcode = buf[3] & 15;
    ret->truncated = buf[2] & 2;
    size_t at = 12;
    if (get16(buf + 4) == 1) {
        size_t name = name_length(buf, n, at);
        if (name == 0 || at + name + 4 > n) return false;
        at += name + 4;
    }
    unsigned records = get16(buf + 6) + get16(buf + 8) + get16(buf + 10);
    for (unsigned i = 0; i < records; i++) {
        size_t name = name_length(buf, n, at);
        if (name == 0 || at + name + 10 > n) return false;
        const uint8_t *r = buf + at + name;
        size_t size = get16(r + 8);
        if (at + name + 10 + size > n) return false;
        if (get16(r) == 1 && size == 4 && ret->n < WIRE_ADDRESSES)
            ret->addresses[ret->n++] = get16(r + 10) << 16 | get16(r + 12);
        if (get16(r) == 12) text_of(r + 10, size, ret->ptr);
        if (get16(r) != 41) ret->ttl = get16(r + 4) << 16 | get16(r + 6);
        at += name + 10 + size;
    }
    return at == n;
}

size_t wire_answer_a(uint8_t *buf, size_t n, uint32_t address) {
    buf[2] |= 0x80;
    buf[7] = 1;
    buf[11] = 0;
    n = 12 + name_length(buf, n, 12) + 4;
    memcpy(buf + n, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4", 12);
    put16(buf + n + 12, address >> 16);
    put16(buf + n + 14, address & 0xffff);
    return n + 16;
}
