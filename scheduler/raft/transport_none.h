// SPDX-License-Identifier: Apache-2.0
/* scheduler/raft/transport_none.h - a raft_uv transport for a Raft of one: there is nobody to talk
 * to. The transport between members (mutual TLS, chunked) takes its place.
 *
 * Thread   [loop].
 */
#ifndef ORLOP_SCHEDULER_TRANSPORT_NONE_H
#define ORLOP_SCHEDULER_TRANSPORT_NONE_H

#include <raft.h>
#include <raft/uv.h>

void transport_none_init(struct raft_uv_transport *t);

#endif
