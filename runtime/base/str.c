// SPDX-License-Identifier: Apache-2.0
#include "str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

bool str_starts(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int str_to_u64(const char *s, uint64_t max, uint64_t *ret) {
    uint64_t v = 0;
    if (!*s) return -EINVAL;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return -EINVAL;
        uint64_t digit = (uint64_t) (*s - '0');
        if (__builtin_mul_overflow(v, (uint64_t) 10, &v) || __builtin_add_overflow(v, digit, &v))
            return -ERANGE;
    }
    if (v > max) return -ERANGE;
    *ret = v;
    return 0;
}

int str_to_u32(const char *s, uint32_t max, uint32_t *ret) {
    uint64_t v;
    int r = str_to_u64(s, max, &v);
    if (r == 0) *ret = (uint32_t) v;
    return r;
}

/* Length of the UTF-8 sequence at P, 0 if there is none within N bytes. */
static size_t utf8_len(const unsigned char *p, size_t n) {
    static const struct {
        unsigned char mask, lead;
        uint32_t min;
    } forms[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    if (p[0] < 0x80) return p[0] ? 1 : 0;
    for (size_t i = 0; i < array_len(forms); i++) {
        if ((p[0] & forms[i].mask) != forms[i].lead) continue;
        size_t len = i + 2;
        if (len > n) return 0;
        uint32_t c = p[0] & (unsigned char) ~forms[i].mask;
        for (size_t k = 1; k < len; k++) {
            if ((p[k] & 0xc0) != 0x80) return 0;
            c = c << 6 | (p[k] & 0x3fu);
        }
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        return c < forms[i].min || c > 0x10ffff || surrogate ? 0 : len;
    }
    return 0;
}

bool str_is_utf8(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *) s;
    while (n) {
        size_t len = utf8_len(p, n);
        if (!len) return false;
        p += len;
        n -= len;
    }
    return true;
}

void str_make_printable(char *s, const char *keep) {
    char *to = s;
    for (; *s; s++) {
        unsigned char c = (unsigned char) *s, next = (unsigned char) s[1];
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0; /* U+009B is ESC [ in one */
        bool plain = !c1 && c >= 0x20 && c != 0x7f;
        *to++ = plain || (!c1 && strchr(keep, *s)) ? *s : '?';
        s += c1;
    }
    if (*to) *to = 0; /* "" may be a constant: an unset text of a message is */
}

int str_to_ipv4(const char *s, uint32_t *ret) {
    uint32_t addr = 0;
    for (int i = 0; i < 4; i++) {
        unsigned v = 0;
        int digits = 0;
        for (; *s >= '0' && *s <= '9'; s++, digits++) {
            if (digits && v == 0) return -EINVAL;
            v = v * 10 + (unsigned) (*s - '0');
            if (v > 255) return -EINVAL;
        }
        if (!digits) return -EINVAL;
        addr = addr << 8 | v;
        if (*s != (i < 3 ? '.' : 0)) return -EINVAL;
        if (i < 3) s++;
    }
    *ret = addr;
    return 0;
}

const char *str_from_ipv4(uint32_t a, char buf[static STR_IPV4_MAX]) {
    snprintf(buf, STR_IPV4_MAX, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
    return buf;
}

int str_to_cidr4(const char *s, uint32_t *ret_addr, uint32_t *ret_prefix) {
    const char *slash = strchr(s, '/');
    char quad[STR_IPV4_MAX];
    uint32_t addr, prefix;
    if (!slash || (size_t) (slash - s) >= sizeof quad) return -EINVAL;
    memcpy(quad, s, (size_t) (slash - s));
    quad[slash - s] = 0;
    if (str_to_ipv4(quad, &addr) < 0 || str_to_u32(slash + 1, 32, &prefix) < 0) return -EINVAL;
    if (prefix < 32 && (addr & (UINT32_MAX >> prefix)) != 0) return -EINVAL;
    *ret_addr = addr;
    *ret_prefix = prefix;
    return 0;
}

void strv_fini(struct strv *l) {
    for (size_t i = 0; i < l->n; i++) mem_free(l->v[i]);
    mem_free(l->v);
    *l = (struct strv){0};
}

int strv_take(struct strv *l, char *s) {
    if (l->n + 1 >= l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        char **v = mem_resize(l->v, cap, sizeof *v);
        if (!v) return -ENOMEM;
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = s;
    l->v[l->n] = NULL;
    return 0;
}

int strv_add(struct strv *l, const char *s) {
    char *copy = mem_strdup(s);
    if (!copy) return -ENOMEM;
    int r = strv_take(l, copy);
    if (r < 0) mem_free(copy);
    return r;
}

bool strv_has(const struct strv *l, const char *s) {
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->v[i], s)) return true;
    return false;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *) a, *(char *const *) b);
}

void strv_sort(struct strv *l) {
    if (l->n) qsort(l->v, l->n, sizeof *l->v, compare);
}

uint64_t str_hash(const void *p, size_t n) {
    const unsigned char *s = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ s[i]) * 0x100000001b3u;
    return h;
}
