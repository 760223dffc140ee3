// SPDX-License-Identifier: Apache-2.0
#include "arena.h"

#include <string.h>

#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum { CHUNK_BYTES = 4096, ALIGNMENT = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, cap;
    _Alignas(ALIGNMENT) unsigned char data[];
};

static void *take_from(struct arena *a, size_t n) {
    size_t want = (n + ALIGNMENT - 1) & ~(size_t) (ALIGNMENT - 1);
    if (want < n || want > a->budget - a->used) return NULL;
    struct arena_chunk *c = a->chunks;
    if (!c || c->cap - c->used < want) {
        size_t cap = want > CHUNK_BYTES ? want : CHUNK_BYTES;
        c = mem_alloc(sizeof *c + cap);
        if (!c) return NULL;
        c->next = a->chunks;
        c->used = 0;
        c->cap = cap;
        a->chunks = c;
    }
    void *p = c->data + c->used;
    c->used += want;
    a->used += want;
    return p;
}

static void *take(void *ctx, size_t n) {
    struct arena *a = ctx;
    void *p = take_from(a, n);
    if (!p) a->exhausted = true;
    return p;
}

static void give_back(void *ctx, void *p) {
    (void) ctx;
    (void) p; /* freed together with the arena */
}

void arena_init(struct arena *a, size_t budget_bytes) {
    *a = (struct arena){.allocator = {take, give_back, a}, .budget = budget_bytes};
}

void arena_fini(struct arena *a) {
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        mem_free(a->chunks);
        a->chunks = next;
    }
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n) {
    void *p = take(a, n);
    if (p) memset(p, 0, n);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
    char *p = n < SIZE_MAX ? take(a, n + 1) : NULL;
    if (!p) return NULL;
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *arena_strdup(struct arena *a, const char *s) {
    return arena_strndup(a, s, strlen(s));
}

static bool message_ok(const ProtobufCMessage *m);

static bool value_ok(const ProtobufCFieldDescriptor *f, const void *value) {
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *s = *(const char *const *) value;
        return !s || str_is_utf8(s, strlen(s));
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *sub = *(const ProtobufCMessage *const *) value;
        return !sub || message_ok(sub);
    }
    return true;
}

/* No message type of ours is recursive, so neither is this beyond the depth of the schema. A field
 * of number 0, which protobuf-c takes when it is written in more bytes than needed, is packed into
 * bytes that nobody can read: an entry of the log would be one that does nothing. */
static bool message_ok(const ProtobufCMessage *m) {
    const char *base = (const char *) m;
    for (unsigned i = 0; i < m->n_unknown_fields; i++)
        if (m->unknown_fields[i].tag == 0) return false;
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const char *at = base + f->offset;
        if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n;
            memcpy(&n, base + f->quantifier_offset, sizeof n);
            const char *const *v = *(const char *const *const *) (const void *) at;
            for (size_t k = 0; k < n; k++)
                if (!value_ok(f, &v[k])) return false;
            continue;
        }
        if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            uint32_t which;
            memcpy(&which, base + f->quantifier_offset, sizeof which);
            if (which != f->id) continue;
        }
        if (!value_ok(f, at)) return false;
    }
    return true;
}

void *arena_unpack(struct arena *a, const ProtobufCMessageDescriptor *desc, const void *data,
                   size_t len) {
    ProtobufCMessage *m = protobuf_c_message_unpack(desc, &a->allocator, len, data);
    return m && message_ok(m) ? m : NULL;
}

void *arena_copy(struct arena *a, const ProtobufCMessage *m) {
    size_t len;
    auto_free uint8_t *data = pb_pack(m, &len);
    return data ? arena_unpack(a, m->descriptor, data, len) : NULL;
}

uint8_t *pb_pack(const ProtobufCMessage *m, size_t *ret_len) {
    size_t len = protobuf_c_message_get_packed_size(m);
    uint8_t *data = mem_alloc(len);
    if (!data) return NULL;
    protobuf_c_message_pack(m, data);
    *ret_len = len;
    return data;
}
