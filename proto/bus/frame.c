// SPDX-License-Identifier: Apache-2.0
#include "frame.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Fields of Envelope, by number (bus.proto). */
enum field { KIND = 1, STREAM, METHOD, BODY, CREDIT, ERROR, TEXT };
enum wire_type { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { VARINT_MAX = 10, FIELD_MAX = (1 << 29) - 1 };

struct cursor {
    const uint8_t *p, *end;
};

int frame_length(const uint8_t p[static FRAME_PREFIX], size_t *ret) {
    uint32_t n = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
    if (n > FRAME_MAX) return -EMSGSIZE;
    *ret = n;
    return 0;
}

static bool get_varint(struct cursor *c, uint64_t *ret) {
    uint64_t v = 0;
    for (unsigned i = 0; i < VARINT_MAX && c->p < c->end; i++) {
        uint8_t b = *c->p++;
        v |= (uint64_t) (b & 0x7f) << (7 * i);
        if (b & 0x80) continue;
        *ret = v;
        return true;
    }
    return false;
}

static bool skip(struct cursor *c, size_t n) {
    if (n > (size_t) (c->end - c->p)) return false;
    c->p += n;
    return true;
}

static bool get_bytes(struct cursor *c, const uint8_t **ret, size_t *ret_len) {
    uint64_t n;
    if (!get_varint(c, &n) || n > (size_t) (c->end - c->p)) return false;
    *ret = c->p;
    *ret_len = (size_t) n;
    c->p += n;
    return true;
}

static void set_number(struct frame *f, uint64_t field, uint64_t v) {
    switch (field) {
    case KIND:
        f->kind = (uint32_t) v;
        break;
    case STREAM:
        f->stream = v;
        break;
    case METHOD:
        f->method = (uint32_t) v;
        break;
    case CREDIT:
        f->credit = v;
        break;
    case ERROR:
        f->error = (int32_t) (uint32_t) v;
        break;
    default:
        break; /* a later version's field */
    }
}

static bool is_number(uint64_t field) {
    return field == KIND || field == STREAM || field == METHOD || field == CREDIT || field == ERROR;
}

static bool get_field(struct cursor *c, struct frame *f) {
    uint64_t key, v;
    if (!get_varint(c, &key)) return false;
    uint64_t field = key >> 3;
    if (field == 0 || field > FIELD_MAX) return false;
    const uint8_t *bytes;
    size_t n;
    switch (key & 7) {
    case VARINT:
        if (!get_varint(c, &v) || field == BODY || field == TEXT) return false;
        set_number(f, field, v);
        return true;
    case BYTES:
        if (!get_bytes(c, &bytes, &n) || is_number(field)) return false;
        if (field == BODY) {
            f->body = bytes;
            f->len = n;
        } else if (field == TEXT) {
            f->text = (const char *) bytes;
            f->text_len = n;
        }
        return true;
    case FIXED64:
        return field > TEXT && skip(c, 8);
    case FIXED32:
        return field > TEXT && skip(c, 4);
    default:
        return false; /* groups */
    }
}

int frame_decode(const uint8_t *p, size_t n, struct frame *ret) {
    struct cursor c = {p, p + n};
    *ret = (struct frame){.text = ""};
    while (c.p < c.end)
        if (!get_field(&c, ret)) return -EBADMSG;
    return 0;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v) {
    for (; v >= 0x80; v >>= 7) *p++ = (uint8_t) (v | 0x80);
    *p++ = (uint8_t) v;
    return p;
}

static uint8_t *put_number(uint8_t *p, enum field field, uint64_t v) {
    if (v == 0) return p;
    *p++ = (uint8_t) (field << 3 | VARINT);
    return put_varint(p, v);
}

static uint8_t *put_length(uint8_t *p, enum field field, size_t n) {
    *p++ = (uint8_t) (field << 3 | BYTES);
    return put_varint(p, n);
}

size_t frame_head(const struct frame *f, uint8_t out[static FRAME_HEAD_MAX]) {
    uint8_t *p = out + FRAME_PREFIX;
    p = put_number(p, KIND, f->kind);
    p = put_number(p, STREAM, f->stream);
    p = put_number(p, METHOD, f->method);
    p = put_number(p, CREDIT, f->credit);
    p = put_number(p, ERROR, (uint64_t) (int64_t) f->error);
    size_t text = f->text_len < ERR_TEXT_MAX ? f->text_len : ERR_TEXT_MAX;
    if (text) {
        p = put_length(p, TEXT, text);
        memcpy(p, f->text, text);
        p += text;
    }
    if (f->len) p = put_length(p, BODY, f->len); /* last, so that the body can follow */
    size_t head = (size_t) (p - out);
    size_t n = head - FRAME_PREFIX + f->len;
    for (unsigned i = 0; i < FRAME_PREFIX; i++) out[i] = (uint8_t) (n >> (8 * (3 - i)));
    return head;
}
