// SPDX-License-Identifier: Apache-2.0
/* runtime/net/rules.h - states as nft commands. Pure: text into a buffer, numbers and checked names
 * only.
 *
 * Role     net__rules_whole() makes both tables anew in one transaction; net__rules_delta() goes
 *          from one state to the next, leaving stale slots; net__rules_trim() removes those.
 * Thread   [any]
 * See      README.md for what the chains do, tests/unit/net/test_rules.c
 */
#ifndef ORLOP_NET_RULES_H
#define ORLOP_NET_RULES_H

#include "runtime/base/buf.h"
#include "state.h"

enum { NET__RULES_MAX = 64 * 1024 * 1024 };

/* The tables as an earlier agent left them are kept; ours is made beside them, empty. */
void net__rules_hold(struct buf *out, const struct net_config *cfg);

/* Everything of S but its stale slots. The chains that this makes are marked in S. */
void net__rules_whole(struct buf *out, const struct net_config *cfg, struct net__state *s);

/* From LOADED to WANTED, which net__state_settle() has put in order. Empty text: nothing to do. */
void net__rules_delta(struct buf *out, const struct net__state *loaded, struct net__state *wanted);

/* Remove the stale slots that are due. */
void net__rules_trim(struct buf *out, const struct net__state *s, int64_t now_mono_ms);

void net__rules_remove(struct buf *out);

#endif
