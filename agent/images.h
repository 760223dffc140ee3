// SPDX-License-Identifier: Apache-2.0
/* agent/images.h - the IMAGE_* requests of the bus on this node's image store.
 *
 * Role     list, inspect, remove, resolve run in libuv's pool; an import has a thread of its own,
 *          because it waits for its sender as long as that takes.
 * Thread   [loop] for everything here; IN_USE is called on the loop, before the work begins.
 * Limits   AGENT_IMAGES_IMPORTS_MAX imports at a time; bytes under way to an import: a socket's
 *          buffer and the stream's window (credit is given as the import takes them).
 * See      runtime/image/image.h, proto/api.proto, tests/unit/image/test_agent_images.c
 */
#ifndef ORLOP_AGENT_IMAGES_H
#define ORLOP_AGENT_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/bus/bus.h"
#include "runtime/base/str.h"
#include "runtime/image/image.h"

enum { AGENT_IMAGES_IMPORTS_MAX = 4 };

struct agent_images;

/* STORE is borrowed. IN_USE adds the manifest digests of all tasks that run, stop or are prepared;
 * what it adds is never removed. */
must_use int agent_images_new(uv_loop_t *loop, struct image_store *store,
                              void (*in_use)(void *ctx, struct strv *ret), void *ctx,
                              struct agent_images **ret);

/* A stream that was just opened. false: METHOD is none of these, nothing was done. */
bool agent_images_request(struct agent_images *a, struct bus_stream *s, uint32_t method,
                          const uint8_t *body, size_t len);

/* No more requests. Those under way end by themselves and keep the loop alive until then (an import
 * when its stream is closed): free the store only after the loop has run out. NULL allowed. */
void agent_images_free(struct agent_images *a);

#endif
