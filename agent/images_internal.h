// SPDX-License-Identifier: Apache-2.0
/* agent/images_internal.h - shared by images.c and images_import.c. [loop] */
#ifndef ORLOP_AGENT_IMAGES_INTERNAL_H
#define ORLOP_AGENT_IMAGES_INTERNAL_H

#include "agent/images.h"
#include "api.pb-c.h"
#include "proto/arena.h"

enum { AGENT_IMAGES_ANSWER_MAX = BUS_FRAME_MAX, AGENT_IMAGES_REQUEST_MAX = 64 << 10 };

struct agent_images {
    uv_loop_t *loop;
    struct image_store *store;
    void (*in_use)(void *ctx, struct strv *ret);
    void *ctx;
    unsigned refs; /* the user's, and one for every request under way */
    unsigned imports;
};

void agent_images__unref(struct agent_images *a);

/* Answer S with INFO, or with the failure R and its sentence. S is NULL when its sender is gone. */
void agent_images__answer_info(struct bus_stream *s, int r, const struct err *err,
                               const struct image_info *info, const struct strv *in_use);

/* False and a failed stream when there is no memory. */
void agent_images__import(struct agent_images *a, struct bus_stream *s, const char *name);

#endif
