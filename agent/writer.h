// SPDX-License-Identifier: Apache-2.0
/* agent/writer.h - the store's writes from the loop: fsync in the pool, one at a time, repeated
 * until done.
 *
 * Role     stage with astore_stage_*, then writer_kick(): the callback comes when everything that
 *          was staged up to then is on disk and in the tables.
 * Thread   [loop]
 * Owns     one write in flight; what is staged meanwhile is the next one. A failed write (full
 *          disk) is tried again each WRITER_RETRY_MS, said once: nothing is acted on or reported
 *          before.
 */
#ifndef ORLOP_AGENT_WRITER_H
#define ORLOP_AGENT_WRITER_H

#include <uv.h>

#include "agent/store.h"

enum { WRITER_RETRY_MS = 1000 };

struct writer;
typedef void (*writer_cb)(void *ctx);
/* Memory is behind the disk: the process must end, the next one loads what was written. */
typedef void (*writer_fatal_cb)(void *ctx, const struct err *err);

must_use int writer_new(uv_loop_t *loop, struct astore *s, writer_fatal_cb fatal, void *ctx,
                        struct writer **ret);
/* CB NULL: nobody waits. Never called inside. -ENOMEM: CB is not called; the change stays staged.
 */
must_use int writer_kick(struct writer *w, writer_cb cb, void *ctx);
/* No write is in flight and none is due. */
bool writer_idle(const struct writer *w);
void writer_close(struct writer *w); /* it is idle; freed in a later loop turn */

#endif
