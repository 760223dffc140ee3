// SPDX-License-Identifier: Apache-2.0
/* agent/etc.h - the texts of /etc/hosts, hostname and resolv.conf of a task.
 *
 * Thread   [any] pure, but for the node's own resolv.conf, which the caller reads.
 */
#ifndef ORLOP_AGENT_ETC_H
#define ORLOP_AGENT_ETC_H

#include "agent/prepare_task.h"
#include "runtime/base/buf.h"

void etc_hosts(const struct prepare_input *in, const char *hostname, struct buf *b);
/* OF_NODE: the text of the node's resolv.conf, of which a task in the node's network has all that its
 * service does not say otherwise; NULL for the others. */
void etc_resolv_conf(const struct prepare_input *in, const char *of_node, struct buf *b);

#endif
