// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/image/import.h"
#include "runtime/image/stream.h"

enum { TAIL_MAX = 16 << 20 }; /* padding behind the end of a tar */

static int unpack_into(int root, int blob, struct image_budget *budget, const char *diff_hex,
                       struct err *err) {
    auto_stream struct image_stream *stream = NULL;
    auto_tar struct image_tar *t = NULL;
    struct image_unpacked got;
    char hex[IMAGE_HEX_MAX];
    int r = image__stream_new(blob, budget, &stream, err);
    if (r == 0) r = image__tar_from_stream(stream, &t, err);
    if (r == 0) r = image__unpack(root, t, budget, &got, err);
    if (r == 0) r = image__stream_end(stream, TAIL_MAX, hex, err);
    if (r < 0) return r;
    if (!str_eq(hex, diff_hex)) return err_set(err, -EBADMSG, "its content is sha256:%s", hex);
    return 0;
}

int image__layer_unpack(struct image_stage *g, struct image_budget *budget, const char *blob_hex,
                        const char *diff_hex, struct err *err) {
    if (image__stage_has_layer(g, diff_hex)) return 0;
    auto_fd int blob = image__stage_blob(g, blob_hex);
    if (blob < 0) return err_set(err, blob, "blob sha256:%s", blob_hex);
    auto_fd int root = image__stage_layer(g, diff_hex, err);
    if (root < 0) return root;
    int r = unpack_into(root, blob, budget, diff_hex, err);
    return r < 0 ? err_wrap(err, r, "layer sha256:%.12s", diff_hex) : 0;
}
