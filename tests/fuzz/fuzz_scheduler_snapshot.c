// SPDX-License-Identifier: Apache-2.0
/* A snapshot that decodes is a state one can plan on, encode and decode again. */
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/mem.h"
#include "scheduler/plan/plan.h"
#include "scheduler/state/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan_all(const struct state *s) {
    static struct plan p;
    void *a;
    plan_init(&p, s, s->now_ms, UINT64_MAX);
    for (size_t i = 0; map_next(&s->apps, &i, NULL, &a);) ensure(plan_app(&p, a) == 0);
    plan_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct state s, again;
    struct err err = {0};
    state_init(&s);
    if (snapshot_decode(&s, data, size, &err) == 0) {
        uint8_t *bytes;
        size_t len;
        plan_all(&s);
        ensure(snapshot_encode(&s, &bytes, &len) == 0);
        state_init(&again);
        ensure(snapshot_decode(&again, bytes, len, &err) == 0);
        state_fini(&again);
        mem_free(bytes);
    }
    state_fini(&s);
    return 0;
}
