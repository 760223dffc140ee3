// SPDX-License-Identifier: Apache-2.0
/* Whatever both decoders of an Envelope accept they must read alike, and ours writes what ours
 * reads. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bus.pb-c.h"
#include "proto/arena.h"
#include "proto/bus/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct frame *f, const Orlop__Envelope *e) {
    ensure(f->kind == (uint32_t) e->kind && f->stream == e->stream && f->method == e->method);
    ensure(f->credit == e->credit && f->error == e->error && f->len == e->body.len);
    ensure(f->len == 0 || memcmp(f->body, e->body.data, f->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct frame f, again;
    uint8_t head[FRAME_HEAD_MAX];
    size_t n;
    if (size >= FRAME_PREFIX && frame_length(data, &n) == 0) ensure(n <= FRAME_MAX);
    if (frame_decode(data, size, &f) < 0) return 0;
    struct arena a;
    arena_init(&a, 1 << 20);
    const Orlop__Envelope *e = arena_unpack(&a, &orlop__envelope__descriptor, data, size);
    if (e) compare(&f, e);
    arena_fini(&a);
    n = frame_head(&f, head);
    ensure(n <= sizeof head);
    if (f.len > 0) return 0;
    ensure(frame_decode(head + FRAME_PREFIX, n - FRAME_PREFIX, &again) == 0);
    ensure(again.kind == f.kind && again.stream == f.stream && again.error == f.error);
    return 0;
}
