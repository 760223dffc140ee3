// SPDX-License-Identifier: Apache-2.0
/* scheduler/state/spec.h - one revision of an app: immutable, shared by reference count.
 *
 * Role     holds the unpacked App in an arena and, for each service, the hash that decides whether
 *          its tasks must be replaced: over the packed Service without replicas, and over the
 *          definitions of the networks, volumes, secrets and configs that it uses.
 * Thread   [loop].
 */
#ifndef ORLOP_SCHEDULER_STATE_SPEC_H
#define ORLOP_SCHEDULER_STATE_SPEC_H

#include "manifest.pb-c.h"
#include "proto/arena.h"
#include "runtime/base/err.h"
#include "runtime/base/map.h"

/* The budget is above what decoding an entry (APPLY_BUDGET_BYTES) and merging it with an older
 * revision can come to: a copy of what was decoded never fails for its size. */
enum { SPEC_HASH_MAX = 33, SPEC_BUDGET_BYTES = 512 << 20 };

struct spec_service {
    const Orlop__Service *def;
    char hash[SPEC_HASH_MAX];
};

struct spec {
    unsigned refs;
    uint64_t revision;
    struct arena arena;
    Orlop__App *app;               /* mutable only between spec_copy and spec_seal */
    struct spec_service *services; /* app->n_services of them, in the manifest's order */
    struct map by_name;            /* -> struct spec_service */
};

/* A deep copy of APP (borrowed) that may still be changed; spec_seal computes hashes and index and
 * ends that. *ret has one reference. -ENOMEM. */
must_use int spec_copy(const Orlop__App *app, uint64_t revision, struct spec **ret);
must_use int spec_seal(struct spec *p);
struct spec *spec_ref(struct spec *p);
void spec_unref(struct spec *p); /* NULL allowed */

const struct spec_service *spec_find(const struct spec *p, const char *service);
const Orlop__Network *spec_network(const struct spec *p, const char *key);
const Orlop__Volume *spec_volume(const struct spec *p, const char *key);
const Orlop__Content *spec_secret(const struct spec *p, const char *name);
const Orlop__Content *spec_config(const struct spec *p, const char *name);

#endif
