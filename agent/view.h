// SPDX-License-Identifier: Apache-2.0
/* agent/view.h - the network view of the stored set, into the kernel, the names and the proxy.
 *
 * Role     after each change of the store's tables: net_apply, DNS, published ports; then the
 *          reconciler may start what was assigned with it, and the scheduler is told Applied. A
 *          view that cannot be applied is tried again each VIEW_RETRY_MS: nothing starts meanwhile,
 *          Applied lags, the scheduler sees it.
 * Thread   [loop]
 * Owns     polling of the network library's descriptors.
 */
#ifndef ORLOP_AGENT_VIEW_H
#define ORLOP_AGENT_VIEW_H

#include "agent/agent.h"
#include "agent/prepare_task.h"

enum { VIEW_RETRY_MS = 1000 };

must_use int aview_new(struct agent *a, struct aview **ret);
void aview_changed(struct aview *v);
uint64_t aview_applied_idx(const struct aview *v); /* 0 = none in this process yet */
/* Do links of the attempt SANDBOX still exist? */
bool aview_links_exist(const Orlop__TaskSpec *task, const char *sandbox);
bool aview_all_links_exist(const Orlop__TaskSpec *task, const char *sandbox);
/* The networks of TASK with its addresses in them, in the order of its addresses, without those that
 * the view does not have. How many. */
size_t aview_task_networks(const struct aview *v, const Orlop__TaskSpec *task,
                           struct prepare_network ret[static PREPARE_NETWORKS_MAX]);
const Orlop__ViewNetwork *aview_network(const struct aview *v, uint32_t id);
void aview_close(struct aview *v);

#endif
